//! The application over a connection.

use std::task::{Context, Poll};

use axum::extract::Path;
use axum::routing::{get, post};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

const BODY_MAX: usize = 1000;
const SHORT: Patience = Patience {
    head: Duration::from_millis(50),
    idle: Duration::from_millis(50),
    body: Duration::from_millis(50),
    write: Duration::from_secs(10),
    linger: Duration::from_millis(50),
};

/// A body of so many pieces, which ends well or breaks off.
struct Pieces(usize, bool);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::fmt::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(left) = self.0.checked_sub(1) else {
            return Poll::Ready((!self.1).then_some(Err(std::fmt::Error)));
        };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a piece\n")))))
    }
}

/// A connection to an application whose router tells what it got.
struct Connection {
    client: DuplexStream,
    served: JoinHandle<()>,
    shutdown: watch::Sender<bool>,
}

fn connect(patience: Patience) -> Connection {
    let echo = |method: Method, uri: Uri, body: Bytes| async move { format!("{method} {uri} {}", body.len()) };
    let router = Router::new()
        .route("/echo", get(echo).post(echo))
        .route(
            "/panic",
            post(|| async {
                if BODY_MAX > 0 {
                    panic!("a canary")
                }
            }),
        )
        .route("/pieces/{n}", get(|n: Path<usize>| async move { Body::new(Pieces(n.0, true)) }))
        .route("/break", get(|| async { Body::new(Pieces(2, false)) }))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX));
    let app = Arc::new(AdminApp::over(router, BODY_MAX, patience));
    let (client, server) = duplex(64 * 1024);
    let (shutdown, watch) = watch::channel(false);
    let served = tokio::spawn(async move {
        assert!(app.process_new(Box::new(server), &watch).await.is_none());
    });
    Connection { client, served, shutdown }
}

impl Connection {
    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.expect("the connection is open");
    }

    /// Read until the connection is closed.
    async fn rest(mut self) -> String {
        let mut text = String::new();
        self.client.read_to_string(&mut text).await.expect("answers are text");
        self.served.await.expect("no panic reaches the connection");
        text
    }

    /// Read one answer whose body ends in `last`.
    async fn answer(&mut self, last: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(last.as_bytes()) {
            text.push(self.client.read_u8().await.expect("more of the answer"));
        }
        String::from_utf8(text).expect("answers are text")
    }
}

fn post_of(length: usize) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{}", "a".repeat(length))
}

#[tokio::test]
async fn requests_follow_one_another_on_a_connection() {
    let mut connection = connect(PATIENCE);
    connection.send(&post_of(10)).await;
    let first = connection.answer("POST /echo 10").await;
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
    assert!(first.to_ascii_lowercase().contains("content-length: 13\r\n"), "{first}");
    connection.send("HEAD /echo?a=b HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let head = connection.answer("\r\n\r\n").await;
    assert!(head.to_ascii_lowercase().contains("content-length: 16\r\n"), "{head}");
    connection.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    connection.answer("POST /echo 3").await;
    connection.send("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(connection.rest().await.ends_with("GET /echo 0"));
}

#[tokio::test]
async fn answers_of_unknown_length_are_written_piece_by_piece() {
    let mut connection = connect(PATIENCE);
    connection.send("GET /pieces/3 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = connection.answer("\r\n0\r\n\r\n").await.to_ascii_lowercase();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
    assert_eq!(body.matches("a piece\n").count(), 3, "{body}");
    connection.send("GET /pieces/0 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    connection.answer("\r\n\r\n0\r\n\r\n").await;
    connection.send("HEAD /pieces/3 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    connection.answer("\r\n\r\n").await;
    connection.send("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(connection.rest().await.ends_with("GET /echo 0"), "the connection went on");
    let mut connection = connect(PATIENCE);
    connection.send("GET /pieces/2 HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").await;
    let old = connection.rest().await;
    assert!(old.ends_with("\r\n\r\na piece\na piece\n") && !old.contains("chunked"), "{old}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_looks_broken() {
    let mut connection = connect(PATIENCE);
    connection.send("GET /break HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = connection.rest().await;
    assert_eq!(answer.matches("a piece\n").count(), 2, "{answer}");
    assert!(!answer.contains("\r\n0\r\n"), "no proper end: {answer}");
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_by_the_router_and_ends_the_connection() {
    let mut connection = connect(PATIENCE);
    connection.send(&post_of(BODY_MAX)).await;
    connection.answer("POST /echo 1000").await;
    connection.send(&post_of(BODY_MAX + 1)).await;
    assert!(connection.rest().await.starts_with("HTTP/1.1 413 "));
    let mut connection = connect(PATIENCE);
    connection.send(&post_of(60_000)).await;
    assert!(connection.rest().await.starts_with("HTTP/1.1 413 "), "the answer is seen though the body was not wanted");
}

#[tokio::test]
async fn ambiguous_heads_are_refused() {
    for head in [
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /echo HTTP/1.1\nHost: x\n\n",
        "GET /echo HTTP/1.1\r\n\r\n",
    ] {
        let mut connection = connect(PATIENCE);
        connection.send(head).await;
        let answer = connection.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("head_malformed"), "{head:?}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("cache-control: no-store\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn ambiguous_chunks_are_refused() {
    let head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in ["3;a\nb\r\nabc\r\n0\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n", "3\nabc\r\n0\r\n\r\n"] {
        for together in [true, false] {
            let mut connection = connect(PATIENCE);
            connection.send(head).await;
            if !together {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            connection.send(body).await;
            let answer = connection.rest().await;
            assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("head_malformed"), "{body:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn slow_callers_are_let_go() {
    let mut connection = connect(SHORT);
    connection.send("GET /echo HTTP/1.1\r\nHost:").await;
    assert_eq!(connection.rest().await, "", "no head, no answer");
    let mut connection = connect(SHORT);
    connection.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na").await;
    let answer = connection.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_incomplete"), "{answer}");
    let mut connection = connect(SHORT);
    connection.send("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(connection.rest().await.ends_with("GET /echo 0"), "an idle connection is closed after its answer");
}

#[tokio::test]
async fn shutdown_ends_idle_connections() {
    let mut connection = connect(PATIENCE);
    connection.send("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").await;
    connection.answer("GET /echo 0").await;
    connection.shutdown.send_replace(true);
    assert_eq!(connection.rest().await, "");
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let mut connection = connect(PATIENCE);
    connection.send("POST /panic HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    let answer = connection.answer("}}").await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("\"internal\""), "{answer}");
    assert!(!answer.contains("canary"), "{answer}");
}
