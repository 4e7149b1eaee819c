//! Against a server that counts.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::clock::Timestamp;
use crate::config::{BaseUrl, Config, Upstream};

const START: Timestamp = Timestamp::from_secs(1_000_000);

/// Answers each request on a connection of its own, once `gate` lets it, with the next of `answers` (the last again
/// and again); an empty answer closes.
struct Server {
    port: u16,
    requests: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

async fn serve(answers: Vec<String>, open: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let server = Server {
        port: listener.local_addr().expect("bound").port(),
        requests: Arc::default(),
        gate: Arc::new(Semaphore::new(open)),
    };
    let (requests, gate) = (Arc::clone(&server.requests), Arc::clone(&server.gate));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let Ok(1..) = socket.read(&mut head).await else { continue };
            let number = requests.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.expect("never closed").forget();
            let answer = answers.get(number).or(answers.last()).expect("an answer");
            socket.write_all(answer.as_bytes()).await.expect("the client reads");
        }
    });
    server
}

impl Server {
    fn cache(&self) -> PublicCache {
        let base_url = BaseUrl::parse(&format!("http://127.0.0.1:{}/api/v1", self.port)).expect("a good address");
        let upstream = Upstream { base_url, ..Config::default().upstream };
        PublicCache::new(Origin::new(&upstream).expect("good settings"), 1 << 20)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn ok(body: &str, control: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncache-control: {control}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

const ERROR: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

async fn check(cache: &PublicCache, clock: &Clock, second: u64, expected: Result<&str, ()>) {
    clock.set(START.after(Duration::from_secs(second)));
    let got = cache.get("/api/v1/models", clock).await;
    let got = got.as_ref().map(|answer| std::str::from_utf8(&answer.body).expect("UTF-8")).map_err(drop);
    assert_eq!(got, expected, "at {second}");
}

#[tokio::test]
async fn requests_that_come_together_share_a_fetch() {
    let server = serve(vec![ok("list", "max-age=60")], 0).await;
    let (cache, clock) = (Arc::new(server.cache()), Clock::manual(START));
    let ask = || {
        let (cache, clock) = (Arc::clone(&cache), clock.clone());
        tokio::spawn(async move { cache.get("/api/v1/models", &clock).await.expect("an answer").body })
    };
    let asking: Vec<_> = (0..20).map(|_| ask()).collect();
    // The client that caused the fetch leaves; the others get the answer all the same.
    tokio::task::yield_now().await;
    let mut asking = asking.into_iter();
    asking.next().expect("one of 20").abort();
    while server.requests() == 0 {
        tokio::task::yield_now().await;
    }
    server.gate.add_permits(10);
    for one in asking {
        assert_eq!(one.await.expect("no panic"), "list");
    }
    assert_eq!(ask().await.expect("no panic"), "list");
    assert_eq!(server.requests(), 1);
    assert!(cache.shared.shelf().flights.is_empty());
}

#[tokio::test]
async fn stale_answers_are_renewed_behind_the_clients_back() {
    let control = "max-age=60, stale-while-revalidate=30";
    let server = serve(vec![ok("one", control), ok("two", control)], 100).await;
    let (cache, clock) = (server.cache(), Clock::manual(START));
    check(&cache, &clock, 0, Ok("one")).await;
    check(&cache, &clock, 59, Ok("one")).await;
    check(&cache, &clock, 60, Ok("one")).await;
    while !cache.shared.shelf().flights.is_empty() {
        tokio::task::yield_now().await;
    }
    check(&cache, &clock, 61, Ok("two")).await;
    assert_eq!(server.requests(), 2);
    check(&cache, &clock, 151, Ok("two")).await;
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn stale_answers_help_out_while_the_upstream_is_down() {
    let control = "max-age=60, stale-if-error=600";
    let answers = vec![ok("one", control), ERROR.into(), String::new(), String::new(), ok("two", control)];
    let server = serve(answers, 100).await;
    let (cache, clock) = (server.cache(), Clock::manual(START));
    check(&cache, &clock, 0, Ok("one")).await;
    check(&cache, &clock, 60, Ok("one")).await;
    check(&cache, &clock, 64, Ok("one")).await;
    assert_eq!(server.requests(), 2);
    check(&cache, &clock, 65, Ok("one")).await;
    check(&cache, &clock, 660, Err(())).await;
    check(&cache, &clock, 661, Ok("two")).await;
    assert_eq!(server.requests(), 5);
}

#[tokio::test]
async fn answers_without_a_lifetime_pass_through() {
    let server = serve(vec![ok("one", "no-store"), ok("two", "no-store"), ERROR.into()], 100).await;
    let (cache, clock) = (server.cache(), Clock::manual(START));
    check(&cache, &clock, 0, Ok("one")).await;
    check(&cache, &clock, 0, Ok("two")).await;
    let error = cache.get("/api/v1/models", &clock).await.expect("an answer");
    assert_eq!(error.status, 503);
}
