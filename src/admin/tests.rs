//! The router as a whole, over a pot of its own.

mod calls;
mod guards;
mod ledger;
mod limits;
mod schema;
mod specified;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Flags};
use crate::money::{Cost, Entry, Outcome, RequestId, Tokens, Usd};
use crate::pool::KeyId;
use crate::server::Potluck;
use crate::upstream::Endpoint;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const BODY_MAX: usize = 4096;
/// An upstream that refuses connections: nothing listens on port 1.
const NOBODY: &str = "http://127.0.0.1:1/api/v1";

/// A router over an empty pool whose upstream cannot be reached.
struct House {
    router: Router,
    pot: Arc<Pot>,
    clock: Clock,
    _data: tempfile::TempDir,
}

/// An answer, read.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn code(&self) -> String {
        self.json().pointer("/error/code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn field(&self) -> Option<String> {
        self.json().pointer("/error/field").and_then(Value::as_str).map(str::to_owned)
    }
}

impl House {
    fn new(token: Option<&str>) -> Self {
        let clock = Clock::manual(Timestamp::from_secs(1_795_489_200));
        let data = tempfile::tempdir().expect("a directory");
        let data_dir = data.path().to_string_lossy().into_owned();
        let env = |name: &str| match name {
            "POTLUCK_DATA_DIR" => Some(data_dir.clone()),
            "POTLUCK_UPSTREAM" => Some(NOBODY.to_owned()),
            _ => None,
        };
        let config = Config::from_parts(None, &env, &Flags::default()).expect("good settings");
        let potluck = Potluck::open_at(config, clock.clone()).expect("potluck opens");
        let pot = Arc::clone(potluck.pot());
        let listen: SocketAddr = "127.0.0.1:8769".parse().expect("an address");
        let options =
            Options { token: token.map(Secret::new), names: Names::new(listen, &[]), body_max_bytes: BODY_MAX };
        Self { router: router(Arc::clone(&pot), options), pot, clock, _data: data }
    }

    /// Call without a token, as JSON, from `localhost`.
    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_with(method, path, &[], body).await
    }

    async fn call_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let given = |name: &str| headers.iter().any(|(given, _)| *given == name);
        if !given("host") {
            request = request.header("host", "localhost:8769");
        }
        if !given("content-type") && !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("an answer in memory");
        let text = String::from_utf8(bytes.to_vec()).expect("answers are text");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Book an attempt with the first key, at this moment.
    fn book(&self, cost: Cost) {
        self.book_entry(|entry| entry.cost = cost);
    }

    fn book_entry(&self, change: impl FnOnce(&mut Entry)) {
        let mut entry = Entry {
            at: self.clock.now(),
            request: RequestId(uuid::Uuid::now_v7()),
            attempt: 1,
            key: KeyId(1),
            account: None,
            client: None,
            endpoint: Endpoint::ChatCompletions,
            model: Some("openai/gpt-4o-mini".into()),
            generation: None,
            tokens: Tokens { prompt: Some(30), completion: Some(5), cached: Some(10), reasoning: None },
            cost: Cost::Known(Usd::from_pico(11_850_000)),
            held: None,
            byok: None,
            outcome: Outcome::Answered,
            status: Some(200),
            duration_ms: 12,
        };
        change(&mut entry);
        self.pot.store().slot().expect("room").book(entry);
    }

    /// Donate the key with this number; its id.
    async fn donate(&self, number: u8) -> String {
        let answer = self.call("POST", "/keys/openrouter", &offer(number)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }
}

/// A well-formed key that stands nowhere else.
fn key(number: u8) -> String {
    format!("sk-or-v1-{}{number:04}", "c0ffee0123456789".repeat(4).get(..60).expect("60 characters"))
}

fn offer(number: u8) -> String {
    format!(r#"{{"key":"{}","label":"key {number}"}}"#, key(number))
}
