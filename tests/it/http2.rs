//! HTTP/2 in clear text, with a client that knows beforehand (`proxy.http2`): the same answers, the same heads.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use potluck::simulator::{Framing, Play, Script};
use serde_json::{Value, json};

use crate::support::{Ask, House, MODEL, chat, chat_stream};

const SETTINGS: &str = "[proxy]\nhttp2 = true\nresponse_headers = [\"x-request-id\", \"x-potluck-attempts\", \"x-potluck-cost\"]\n\
                        [clients]\nmode = \"required\"\n";

/// A connection to the house.
async fn connect(house: &House) -> h2::client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(house.proxy).await.expect("connected");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    client
}

/// A whole answer.
async fn ask(
    client: &h2::client::SendRequest<Bytes>,
    path: &str,
    key: &str,
    body: Option<String>,
) -> (StatusCode, HeaderMap, Bytes) {
    let mut client = client.clone().ready().await.expect("ready");
    let method = if body.is_some() { "POST" } else { "GET" };
    let request = Request::builder().method(method).uri(format!("http://potluck{path}")).header("x-api-key", key);
    let request = request.header("content-type", "application/json").body(()).expect("a request");
    let (answer, mut sending) = client.send_request(request, body.is_none()).expect("sent");
    if let Some(body) = body {
        sending.send_data(body.into(), true).expect("sent");
    }
    let (head, mut reading) = answer.await.expect("an answer").into_parts();
    let mut whole = Vec::new();
    while let Some(part) = reading.data().await {
        let part = part.expect("in order");
        reading.flow_control().release_capacity(part.len()).expect("read");
        whole.extend_from_slice(&part);
    }
    (head.status, head.headers, whole.into())
}

#[tokio::test]
async fn lists_and_heads_are_the_same() {
    let house = House::new(1, SETTINGS).await;
    let added =
        Ask::post("/clients", json!({"name": "ann", "models": ["openai/*"]}).to_string()).send(house.admin).await;
    let key = added.json()["key"].as_str().expect("a key").to_owned();
    let client = connect(&house).await;
    let told = |headers: &HeaderMap| {
        ["x-potluck-attempts", "x-potluck-cost"]
            .map(|name| headers.get(name).map(|value| value.to_str().expect("text").to_owned()))
    };

    let (status, headers, body) = ask(&client, "/v1/models", &key, None).await;
    let plain = Ask::get("/v1/models").header("x-api-key", &key).send(house.proxy).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &plain.body[..]));
    assert_eq!(headers["cache-control"], "private, no-store");
    let list: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(
        list["data"]
            .as_array()
            .expect("models")
            .iter()
            .all(|model| model["id"].as_str().is_some_and(|id| id.starts_with("openai/")))
    );

    house.sim.script(Script::next(Play {
        cost: Some("0.25".into()),
        framing: Some(Framing::Length),
        ..Play::default()
    }));
    let (status, headers, body) = ask(&client, "/v1/chat/completions", &key, Some(chat(MODEL))).await;
    assert_eq!((status, told(&headers)), (StatusCode::OK, [Some("1".into()), Some("0.25".into())]));
    assert!(serde_json::from_slice::<Value>(&body).is_ok() && headers.contains_key("x-request-id"));
    let (status, headers, body) = ask(&client, "/v1/chat/completions", &key, Some(chat_stream(MODEL))).await;
    assert_eq!((status, told(&headers)), (StatusCode::OK, [Some("1".into()), None]));
    assert!(body.ends_with(b"data: [DONE]\n\n"));
    let (status, headers, _) = ask(&client, "/v1/chat/completions", &key, Some(chat("x-ai/grok-4"))).await;
    assert_eq!((status, told(&headers)), (StatusCode::FORBIDDEN, [Some("0".into()), Some("0".into())]));
    let (status, ..) = ask(&client, "/v1/models", "ptl-nobody", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_not_waited_for() {
    let house = House::new(1, "[proxy]\nhttp2 = true\nbody_timeout_ms = 100\n").await;
    let mut client = connect(&house).await.ready().await.expect("ready");
    let request = Request::builder().method("POST").uri("http://potluck/v1/chat/completions").body(());
    let (answer, mut sending) = client.send_request(request.expect("a request"), false).expect("sent");
    sending.send_data(Bytes::from_static(b"{"), false).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), StatusCode::REQUEST_TIMEOUT);
    assert!(house.went_up().is_empty(), "nothing of it went up");
}
