//! The admin API from a terminal: one small request over a connection of its own.

use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::screen::plain;
use crate::admin::ErrorAnswer;
use crate::config::Config;
use crate::secret::Secret;

/// A donated key is asked about upstream before the answer comes, which may take a connect and an answer there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A list of 100,000 keys fits.
const ANSWER_MAX_BYTES: usize = 256 << 20;

/// Why an admin call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no potluck answers on {0}: start it with `potluck run`, or say where its admin API listens with --admin-listen"
    )]
    NotRunning(SocketAddr),
    /// It cannot be reached or does not speak HTTP.
    #[error("cannot talk to {0}")]
    Unreachable(SocketAddr, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is silent.
    #[error("{0} does not answer")]
    Silent(SocketAddr),
    /// It wants a token, or another one.
    #[error("{0} wants its admin token: set POTLUCK_ADMIN_TOKEN, or admin.token_file in the file given with -c")]
    Token(SocketAddr),
    /// It answers, but not as potluck does.
    #[error("what listens on {0} is no potluck admin API (it answered {1})")]
    Stranger(SocketAddr, StatusCode),
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// This machine has no threads or sockets left.
    #[error("cannot start")]
    Start(#[source] io::Error),
    /// It broke off in the middle of its answer.
    #[error("{0} broke off in the middle of its answer: what was written is not whole")]
    BrokeOff(SocketAddr),
    /// What it answers cannot be written down here.
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
}

/// Where the admin API is, and what opens it.
pub(super) struct AdminClient {
    address: SocketAddr,
    token: Option<Secret>,
}

impl AdminClient {
    /// The admin API that a potluck with these settings has on this machine.
    pub(super) fn new(config: &Config) -> Self {
        let mut address = config.admin.listen;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Self { address, token: config.admin.token.clone() }
    }

    /// Call, and wait for the answer.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ClientError> {
        let (status, body) = runtime()?.block_on(async {
            let answer = async {
                let answer = self.ask(method, path, body).await?;
                let status = answer.status();
                let body = to_bytes(answer.into_body(), ANSWER_MAX_BYTES).await.map_err(|why| self.unreachable(why))?;
                Ok((status, body))
            };
            timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| ClientError::Silent(self.address))?
        })?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| ClientError::Stranger(self.address, status));
        }
        Err(self.refused(status, &body))
    }

    /// Write an answer of any length to `to` as it comes. A reader there that has seen enough is no error.
    pub(super) fn copy(&self, path: &str, to: &mut impl Write) -> Result<(), ClientError> {
        runtime()?.block_on(async {
            let silent = |_| ClientError::Silent(self.address);
            let answer = timeout(ANSWER_TIMEOUT, self.ask(Method::GET, path, None)).await.map_err(silent)??;
            let (status, mut body) = (answer.status(), answer.into_body());
            if !status.is_success() {
                let body = to_bytes(body, ANSWER_MAX_BYTES).await.map_err(|why| self.unreachable(why))?;
                return Err(self.refused(status, &body));
            }
            while let Some(piece) = timeout(ANSWER_TIMEOUT, next_piece(&mut body)).await.map_err(silent)? {
                let piece = piece.map_err(|_| ClientError::BrokeOff(self.address))?;
                match piece.into_data().map_or(Ok(()), |data| to.write_all(&data)) {
                    Err(why) if why.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    written => written.map_err(ClientError::Output)?,
                }
            }
            Ok(())
        })
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<ErrorAnswer>(body) {
            _ if status == StatusCode::UNAUTHORIZED => ClientError::Token(self.address),
            Ok(answer) => ClientError::Refused(plain(&answer.error.message)),
            Err(_) => ClientError::Stranger(self.address, status),
        }
    }

    /// Send, and wait for the answer's head.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response<Body>, ClientError> {
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await;
        let stream = connecting.map_err(|_| ClientError::Silent(self.address))?.map_err(|why| match why.kind() {
            io::ErrorKind::ConnectionRefused => ClientError::NotRunning(self.address),
            _ => self.unreachable(why),
        })?;
        let request = self.request(method, path, body)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|why| self.unreachable(why))?;
        // It ends with the answer, and at the latest with the runtime.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|why| self.unreachable(why))?;
        Ok(answer.map(Body::new))
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Request<Body>, ClientError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.address.to_string());
        if let Some(token) = &self.token {
            let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            let mut bearer = bearer.map_err(|why| self.unreachable(why))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let body = match body {
            Some(value) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(value.to_string())
            }
            None => Body::empty(),
        };
        request.body(body).map_err(|why| self.unreachable(why))
    }

    fn unreachable(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Unreachable(self.address, why.into())
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Start)
}

async fn next_piece(body: &mut Body) -> Option<Result<Frame<Bytes>, axum::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// A path with a query of those that have a value.
pub(super) fn target(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let mut target = path.to_owned();
    for (name, value) in query.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        target.push(if target.contains('?') { '&' } else { '?' });
        target += &format!("{name}={}", escaped(value));
    }
    target
}

/// A text as it may stand in a query or between two slashes.
pub(super) fn escaped(text: &str) -> String {
    let kept = |b: u8| b.is_ascii_alphanumeric() || b"-._~:*".contains(&b);
    text.bytes().map(|b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Call a server that answers one request with these bytes, and give the request and what came of it.
    fn call(answer: &'static str) -> (String, Result<Value, ClientError>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let mut seen = Vec::new();
            let mut buffer = [0; 1024];
            while !seen.ends_with(b"}") {
                let read = stream.read(&mut buffer).expect("a request");
                seen.extend_from_slice(buffer.get(..read).expect("in bounds"));
            }
            stream.write_all(answer.as_bytes()).expect("written");
            String::from_utf8(seen).expect("text")
        });
        let client = AdminClient { address, token: Some(Secret::new("a-token-of-the-test")) };
        let result = client.call(Method::POST, "/x", Some(&serde_json::json!({"a": 1})));
        (server.join().expect("served"), result)
    }

    #[test]
    fn a_call_carries_token_type_and_host() {
        let (request, answer) = call("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"ok\":true}");
        assert!(answer.is_err(), "the length cuts it: {answer:?}");
        let (_, answer) = call("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"ok\":true}");
        assert_eq!(answer.expect("whole")["ok"], true);
        let request = request.to_lowercase();
        for part in
            ["post /x http/1.1", "host: 127.0.0.1:", "bearer a-token-of-the-test", "content-type: application/json"]
        {
            assert!(request.contains(part), "{part}: {request}");
        }
    }

    #[test]
    fn each_failure_says_how_to_get_on() {
        let check = |answer, part: &str| {
            let error = call(answer).1.expect_err(part).to_string();
            assert!(error.contains(part), "{answer}: {error}");
        };
        check("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}", "POTLUCK_ADMIN_TOKEN");
        check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "no potluck admin API");
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nhello", "no potluck admin API (it answered 404");
        check("SSH-2.0-OpenSSH_9.2\r\n", "cannot talk to 127.0.0.1:");
        check("", "cannot talk to 127.0.0.1:");
        check(
            "HTTP/1.1 409 Conflict\r\nconnection: close\r\n\r\n\
             {\"success\":false,\"error\":{\"code\":\"key_present\",\"message\":\"it is there \\u001b[2J as k1\"}}",
            "it is there \u{fffd}[2J as k1",
        );
    }

    #[test]
    fn queries_are_escaped() {
        let check = |query: &[(&str, Option<&str>)], expected: &str| assert_eq!(target("/ledger", query), expected);
        check(&[], "/ledger");
        check(&[("key", Some("k1")), ("model", None)], "/ledger?key=k1");
        check(
            &[("model", Some("openai/gpt-*")), ("from", Some("2026-11-24T12:00:00+01:00"))],
            "/ledger?model=openai%2Fgpt-*&from=2026-11-24T12:00:00%2B01:00",
        );
        check(&[("model", Some("a&b=c ä"))], "/ledger?model=a%26b%3Dc%20%C3%A4");
    }

    #[test]
    fn nobody_there_is_told_with_the_way_to_start() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let result: Result<Value, _> = AdminClient { address, token: None }.call(Method::GET, "/status", None);
        let error = result.expect_err("nobody").to_string();
        assert!(error.contains("potluck run") && error.contains("--admin-listen"), "{error}");
    }

    #[test]
    fn an_unspecified_listener_is_called_on_loopback() {
        let check = |listen: &str, called: &str| {
            let mut config = Config::default();
            config.admin.listen = listen.parse().expect("an address");
            assert_eq!(AdminClient::new(&config).address.to_string(), called);
        };
        check("0.0.0.0:8769", "127.0.0.1:8769");
        check("[::]:8769", "[::1]:8769");
        check("192.0.2.7:8769", "192.0.2.7:8769");
    }
}
