//! Against small servers on loopback sockets.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use pingora::http::RequestHeader;

use super::*;
use crate::config::{BaseUrl, Config};
use crate::secret::Credential;

const KEY: &str = "sk-or-v1-0123456789abcdef";

fn settings(port: u16) -> Upstream {
    at(&format!("http://127.0.0.1:{port}/api/v1"))
}

fn at(base_url: &str) -> Upstream {
    let base_url = BaseUrl::parse(base_url).expect("a good address");
    Upstream { base_url, connect_timeout: Duration::from_secs(5), ..Config::default().upstream }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

fn credential() -> Credential {
    Credential::parse(KEY).expect("well formed")
}

/// The request heads a server has seen, with the number of the connection each came on.
type Seen = Arc<Mutex<Vec<(usize, String)>>>;

/// What a server does with a request head: answer these bytes, or (`None`) close.
type Script = fn(connection: usize, head: &str) -> Option<&'static str>;

async fn serve(script: Script) -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    tokio::spawn(async move {
        for connection in 0.. {
            let Ok((socket, _)) = listener.accept().await else { return };
            tokio::spawn(talk(socket, connection, script, Arc::clone(&record)));
        }
    });
    (port, seen)
}

async fn talk(mut io: impl AsyncRead + AsyncWrite + Unpin, connection: usize, script: Script, seen: Seen) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match io.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).expect("an ASCII head");
        seen.lock().expect("not poisoned").push((connection, head.clone()));
        match script(connection, &head) {
            Some(answer) => {
                io.write_all(answer.as_bytes()).await.expect("the client reads");
                io.flush().await.expect("the client reads");
            }
            None => return,
        }
    }
}

fn connections(seen: &Seen) -> Vec<usize> {
    seen.lock().expect("not poisoned").iter().map(|(connection, _)| *connection).collect()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_question_carries_the_key_and_nothing_unexpected() {
    let (port, seen) = serve(|_, _| Some(OK)).await;
    let origin = Origin::new(&settings(port)).expect("good settings");
    let asked = origin.ask("/api/v1/key", Some(&credential())).await.expect("an answer");
    assert_eq!((asked.status, &asked.body[..]), (200, &b"{}"[..]));
    assert_eq!(asked.headers["content-type"], "application/json");
    origin.ask("/api/v1/models?x=1", None).await.expect("an answer");

    let seen = seen.lock().expect("not poisoned");
    let [(_, with_key), (_, without)] = &seen[..] else { panic!("two requests: {seen:?}") };
    let common = format!(
        "host: 127.0.0.1:{port}\r\nuser-agent: potluck/{}\r\naccept: application/json\r\naccept-encoding: identity\r\n",
        env!("CARGO_PKG_VERSION")
    );
    let lower = |head: &String| head.to_ascii_lowercase();
    assert_eq!(lower(with_key), format!("get /api/v1/key http/1.1\r\n{common}authorization: bearer {KEY}\r\n\r\n"));
    assert_eq!(lower(without), format!("get /api/v1/models?x=1 http/1.1\r\n{common}\r\n"));
    assert!(with_key.contains(KEY), "the key's letters are not changed");
}

#[tokio::test]
async fn connections_are_kept_and_a_closed_one_is_replaced_once() {
    let (port, seen) = serve(|_, _| Some(OK)).await;
    let origin = Origin::new(&settings(port)).expect("good settings");
    for _ in 0..3 {
        origin.ask("/", None).await.expect("an answer");
    }
    assert_eq!(connections(&seen), [0, 0, 0]);
    // Traffic does not share the connections of potluck's own questions.
    let session = origin.connect().await.expect("a connection");
    assert!(!session.reused);

    // Closes when asked a second time, without having said so.
    fn forgetful(connection: usize, head: &str) -> Option<&'static str> {
        (connection > 0 || head.contains("/first")).then_some(OK)
    }
    let (port, seen) = serve(forgetful).await;
    let origin = Origin::new(&settings(port)).expect("good settings");
    origin.ask("/first", None).await.expect("an answer");
    origin.ask("/second", None).await.expect("an answer, on a fresh connection");
    assert_eq!(connections(&seen), [0, 0, 1]);
}

#[tokio::test]
async fn what_leads_to_an_address_that_failed_is_not_used_again() {
    let (port, seen) = serve(|_, _| Some(OK)).await;
    let origin = Origin::new(&settings(port)).expect("good settings");
    let kept = async |reuse| origin.connect_for(Purpose::Question, reuse).await.expect("a connection");
    for mut session in [kept(false).await, kept(false).await] {
        let question = RequestHeader::build("GET", b"/", None).expect("a request");
        session.http.write_request_header(Box::new(question)).await.expect("sent");
        session.http.finish_request_body().await.expect("sent");
        session.request_whole = true;
        session.http.read_response_header().await.expect("an answer");
        while session.http.read_response_body().await.expect("a body").is_some() {}
        origin.release(session).await;
    }
    assert_eq!(connections(&seen).len(), 2);
    let failed = kept(true).await;
    assert!(failed.reused);
    origin.distrust(&failed);
    assert!(!kept(true).await.reused, "the other one was not used");
}

#[tokio::test]
async fn redirects_are_answers() {
    let (port, seen) =
        serve(|_, _| Some("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/x\r\ncontent-length: 0\r\n\r\n")).await;
    let origin = Origin::new(&settings(port)).expect("good settings");
    assert_eq!(origin.ask("/", Some(&credential())).await.expect("an answer").status, 302);
    assert_eq!(connections(&seen).len(), 1);
}

#[tokio::test]
async fn broken_answers_are_errors_without_their_bytes() {
    async fn check(script: Script, expected: AskError) {
        let (port, _) = serve(script).await;
        let origin = Origin::new(&settings(port)).expect("good settings");
        let bounds = Bounds { deadline: Duration::from_millis(300), body_max_bytes: 4 };
        let error = origin.ask_within("/", None, bounds).await.expect_err("no answer");
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("user_"), "{error}");
    }
    check(|_, _| None, AskError::Broken("reading the head")).await;
    check(|_, _| Some("user_2 is not HTTP\r\n\r\n"), AskError::Broken("reading the head")).await;
    check(|_, _| Some("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nuser_"), AskError::TooLarge).await;
    check(
        |_, _| Some("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        AskError::Broken("reading the body"),
    )
    .await;
    check(|_, _| Some("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nus"), AskError::TimedOut).await;
    check(|_, _| Some(""), AskError::TimedOut).await;
}

#[tokio::test]
async fn failed_connections_say_why() {
    async fn check(settings: &Upstream, expected: ConnectFailure) {
        let origin = Origin::new(settings).expect("good settings");
        let error = origin.connect().await.err().expect("no connection");
        assert_eq!(error.kind, expected, "{error}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let closed = listener.local_addr().expect("bound").port();
    drop(listener);
    check(&settings(closed), ConnectFailure::Refused).await;
    check(&at("https://nowhere.invalid"), ConnectFailure::Unresolved).await;
}

#[test]
fn keys_cannot_travel_in_clear_text() {
    let check = |tls, host: &str, expected: Option<OriginError>| {
        let base_url = BaseUrl { tls, host: host.into(), port: 80, prefix: String::new() };
        assert_eq!(Origin::new(&Upstream { base_url, ..settings(80) }).err(), expected, "{host}");
    };
    check(false, "127.0.0.1", None);
    check(false, "::1", None);
    check(false, "localhost", None);
    check(false, "192.168.1.1", Some(OriginError::ClearText));
    check(false, "localhost.example", Some(OriginError::ClearText));
    check(true, "", Some(OriginError::NoHost));
    let no_file = Upstream { ca_file: Some("/nonexistent/ca.pem".into()), ..settings(80) };
    assert!(matches!(Origin::new(&no_file).err(), Some(OriginError::Trust(_))));
}

#[test]
fn targets_follow_the_base_url() {
    let check = |prefix: &str, route: &str, expected: &str| {
        let origin = Origin::new(&at(&format!("http://localhost{prefix}"))).expect("good settings");
        assert_eq!(origin.target(route), expected, "{prefix} {route}");
    };
    check("/api/v1", "/api/v1/chat/completions", "/api/v1/chat/completions");
    check("/api/v1", "/api/alpha/decisions", "/api/alpha/decisions");
    check("/or/api/v1", "/api/v1/key?x=1", "/or/api/v1/key?x=1");
    check("/or/api/v1", "/api/alpha/decisions", "/or/api/alpha/decisions");
    check("/v1", "/api/v1/key", "/v1/key");
    check("", "/api/v1/key", "/key");
    check("", "/api/v12/key", "/api/v12/key");
}

/// A TLS server with one of the test certificates, speaking through `talk`.
async fn serve_tls(certificate: &str) -> u16 {
    pingora::tls::install_default_crypto_provider();
    let text = |path: PathBuf| path.to_str().expect("an UTF-8 path").to_owned();
    let (chain, key) =
        pingora::tls::load_certs_and_key_files(&text(fixture(certificate)), &text(fixture("server.key")))
            .expect("readable")
            .expect("a certificate and a key");
    let config = pingora::tls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let acceptor = pingora::tls::TlsAcceptor::from(Arc::new(config.expect("a matching key")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(socket).await {
                    talk(stream, 0, |_, _| Some(OK), Seen::default()).await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn certificates_are_verified() {
    async fn check(certificate: &str, ca: Option<&str>, host: &str, good: bool) {
        let port = serve_tls(certificate).await;
        let settings = Upstream { ca_file: ca.map(fixture), ..at(&format!("https://{host}:{port}")) };
        let asked = Origin::new(&settings).expect("good settings").ask("/", Some(&credential())).await;
        match asked {
            Ok(asked) => assert!(good && asked.status == 200, "{certificate} {ca:?} {host}"),
            Err(AskError::Connect(error)) => {
                assert!(!good && error.kind == ConnectFailure::Tls, "{certificate} {ca:?} {host}: {error}");
            }
            Err(error) => panic!("{certificate} {ca:?} {host}: {error}"),
        }
    }
    check("good.pem", Some("trusted-ca.pem"), "localhost", true).await;
    check("good.pem", Some("trusted-ca.pem"), "127.0.0.1", true).await;
    check("good.pem", Some("stranger-ca.pem"), "localhost", false).await;
    check("expired.pem", Some("trusted-ca.pem"), "localhost", false).await;
    check("wrong-name.pem", Some("trusted-ca.pem"), "localhost", false).await;
    check("wrong-name.pem", Some("trusted-ca.pem"), "127.0.0.1", false).await;
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing() {
    let (port, seen) = serve(|_, _| Some(OK)).await;
    let settings = Upstream { ca_file: Some(fixture("trusted-ca.pem")), ..at(&format!("https://127.0.0.1:{port}")) };
    let origin = Origin::new(&settings).expect("good settings");
    let bounds = Bounds { deadline: Duration::from_millis(200), body_max_bytes: 4 };
    let asked = origin.ask_within("/", Some(&credential()), bounds).await;
    assert_eq!(asked.err(), Some(AskError::TimedOut));
    assert!(seen.lock().expect("not poisoned").is_empty());
}

/// Answers with the protocol version a request came by.
struct Version;

#[async_trait::async_trait]
impl pingora::apps::http_app::ServeHttp for Version {
    async fn response(&self, http: &mut pingora::protocols::http::ServerSession) -> http::Response<Vec<u8>> {
        http::Response::new(format!("{:?}", http.req_header().version).into_bytes())
    }
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_set() {
    use pingora::services::ServiceWithDependents;
    let text = |name| fixture(name).to_str().expect("an UTF-8 path").to_owned();
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let mut tls =
        pingora::listeners::tls::TlsSettings::intermediate(&text("good.pem"), &text("server.key")).expect("good");
    tls.enable_h2();
    let app = pingora::apps::http_app::HttpServer::new_app(Version);
    let mut service = pingora::services::listening::Service::new("version".into(), app);
    service.add_tls_with_settings(&format!("127.0.0.1:{port}"), None, tls);
    let (_stop, shutdown) = tokio::sync::watch::channel(false);
    let (ready, _) = tokio::sync::watch::channel(false);
    let ready = pingora::services::ServiceReadyNotifier::new(ready);
    let server = tokio::spawn(async move { service.start_service(None, shutdown, 1, ready).await });

    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }
    for (http2, version) in [(true, "HTTP/2.0"), (false, "HTTP/1.1")] {
        let settings =
            Upstream { http2, ca_file: Some(fixture("trusted-ca.pem")), ..at(&format!("https://127.0.0.1:{port}")) };
        let origin = Origin::new(&settings).expect("good settings");
        for _ in 0..2 {
            let asked = origin.ask("/", None).await.expect("an answer");
            assert_eq!(asked.body, version.as_bytes());
        }
    }
    server.abort();
}
