//! Every refusal, in the envelope of the endpoint that was called.

mod rows;

use super::*;
use crate::simulator::seed::sha256_hex;
use crate::simulator::{Play, Script, error_names};
use rows::{ANONYMOUS, BUSY, FORBIDDEN, MONEY, PAGES, PREVIOUS, REACHED, REQUEST, RETRY_AFTER};

const CHAT: &str = "/api/v1/chat/completions";
const RESPONSES: &str = "/api/v1/responses";
const MESSAGES: &str = "/api/v1/messages";
const MODEL: &str = "sim/echo";

/// One refusal as it is expected.
struct Expected {
    name: &'static str,
    status: u16,
    error_type: &'static str,
    message: String,
    metadata: Option<Value>,
}

/// All that have an envelope.
fn expected(key: &SimKey) -> impl Iterator<Item = Expected> {
    let hash = sha256_hex(key.text.as_bytes());
    [REQUEST, MONEY, FORBIDDEN, BUSY].into_iter().flatten().map(
        move |&(name, status, error_type, message, metadata)| {
            let metadata = metadata.replace("HASH", &hash).replace("PREVIOUS", PREVIOUS);
            let metadata = (!metadata.is_empty()).then(|| serde_json::from_str(&metadata).expect(name));
            Expected { name, status, error_type, message: message.replace("HASH", &hash), metadata }
        },
    )
}

/// One call that is refused like that.
async fn refused(simulator: &SimulatorHandle, key: &SimKey, path: &str, play: Play) -> Answer {
    simulator.script(Script::next(play));
    let mut body = chat(MODEL, false);
    body["input"] = "hello".into();
    post(simulator, path, &key.text, &body).await
}

async fn house() -> (SimulatorHandle, SimKey) {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let key = simulator.funded_key(Pico::usd(5));
    (simulator, key)
}

#[tokio::test]
async fn every_name_has_a_row() {
    let (_, key) = house().await;
    let mut rows: Vec<&str> = expected(&key).map(|row| row.name).chain(PAGES.map(|page| page.0)).collect();
    rows.extend(["400-zod", "402-nested"]);
    let mut names: Vec<&str> = error_names().collect();
    rows.sort_unstable();
    names.sort_unstable();
    assert_eq!(rows, names);
}

#[tokio::test]
async fn the_chat_envelope_has_everything() {
    let (simulator, key) = house().await;
    for path in [CHAT, "/api/v1/completions", "/api/v1/embeddings"] {
        for row in expected(&key) {
            let mut error = json!({"message": row.message, "code": row.status});
            if let Some(metadata) = row.metadata {
                error["metadata"] = metadata;
            }
            if row.name == "503-availability" {
                error["availability"] = json!({"code": "capacity_exhausted", "retryable": true, "retry_after": 9});
            }
            let mut body = json!({"error": error});
            if !ANONYMOUS.contains(&row.name) {
                body["user_id"] = json!(simulator.user_id(key.account));
            }
            let answer = refused(&simulator, &key, path, Play::refuse(row.name)).await;
            assert_eq!((answer.status, answer.json()), (row.status, body), "{path} {}", row.name);
            assert_eq!(answer.header("content-type"), Some("application/json"), "{}", row.name);
        }
    }
}

#[tokio::test]
async fn the_responses_envelope_reduces_the_cause_to_a_code() {
    let (simulator, key) = house().await;
    for row in expected(&key) {
        let code = match row.status {
            429 => "rate_limit_exceeded",
            500.. => "server_error",
            _ => "invalid_prompt",
        };
        let error = json!({"code": code, "message": row.message});
        let answer = refused(&simulator, &key, RESPONSES, Play::refuse(row.name)).await;
        let body = json!({"error": error, "metadata": null});
        assert_eq!((answer.status, answer.json()), (row.status, body), "{}", row.name);

        let full = Play { full_metadata: Some(true), ..Play::refuse(row.name) };
        let user = simulator.user_id(key.account).filter(|_| !ANONYMOUS.contains(&row.name));
        let body = json!({"error": error, "metadata": row.metadata.unwrap_or(json!({})),
            "error_type": row.error_type, "user_id": user});
        assert_eq!(refused(&simulator, &key, RESPONSES, full).await.json(), body, "{}", row.name);
    }
}

#[tokio::test]
async fn the_messages_envelope_has_anthropic_s_types_and_openrouter_s() {
    let (simulator, key) = house().await;
    for row in expected(&key) {
        let kind = match row.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 | 529 => "overloaded_error",
            504 => "timeout_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        let mut error = json!({"type": kind, "message": row.message, "error_type": row.error_type});
        let body = json!({"type": "error", "error": error, "request_id": null});
        let answer = refused(&simulator, &key, MESSAGES, Play::refuse(row.name)).await;
        assert_eq!((answer.status, answer.json()), (row.status, body), "{}", row.name);

        error["metadata"] = row.metadata.unwrap_or(json!({}));
        let full = Play { full_metadata: Some(true), ..Play::refuse(row.name) };
        let body = json!({"type": "error", "error": error, "request_id": null});
        assert_eq!(refused(&simulator, &key, MESSAGES, full).await.json(), body, "{}", row.name);
    }
}

#[tokio::test]
async fn pages_validation_and_the_nested_form_are_the_same_everywhere() {
    let (simulator, key) = house().await;
    for path in [CHAT, RESPONSES, MESSAGES] {
        for (name, status, text) in PAGES {
            let answer = refused(&simulator, &key, path, Play::refuse(name)).await;
            assert_eq!((answer.status, answer.header("content-type")), (status, Some("text/html; charset=utf-8")));
            let page = answer.text();
            assert!(page.starts_with('<') && page.contains(text) && !page.contains("user_"), "{name}: {page}");
        }
        let nested = refused(&simulator, &key, path, Play::refuse("402-nested")).await;
        let text = "Insufficient credits. Add more using https://openrouter.ai/settings/credits";
        let body = json!({"error": {"error": {"message": text, "code": 402}, "code": 402}});
        assert_eq!((nested.status, nested.json()), (402, body), "{path}");
        let zod = refused(&simulator, &key, path, Play::refuse("400-zod")).await;
        let issues = zod.json()["error"]["message"].as_str().map(str::to_owned).expect("issues as text");
        let parsed: Value = serde_json::from_str(&issues).expect("an array within the text");
        assert_eq!(parsed[0]["path"], json!(["messages"]));
        assert_eq!(zod.json(), json!({"success": false, "error": {"name": "ZodError", "message": issues}}));
        assert_eq!(zod.status, 400);
    }
}

#[tokio::test]
async fn headers_tell_when_to_come_again_and_whether_a_provider_was_asked() {
    let (simulator, key) = house().await;
    for path in [CHAT, RESPONSES, MESSAGES] {
        for name in error_names() {
            let calls = simulator.bill().generations.len();
            let answer = refused(&simulator, &key, path, Play::refuse(name)).await;
            let again = RETRY_AFTER.into_iter().find(|(known, _)| *known == name).map(|(_, seconds)| seconds);
            assert_eq!(answer.header("retry-after"), again, "{name}");
            let free = name.starts_with("429-free");
            assert_eq!(answer.header("x-ratelimit-remaining"), free.then_some("0"), "{name}");
            assert_eq!(answer.header("x-ratelimit-reset").map(str::len), free.then_some(13), "{name}: milliseconds");
            let reached = REACHED.contains(&name);
            assert_eq!(answer.header("x-generation-id").is_some(), reached, "{name}");
            assert_eq!(simulator.bill().generations.len() - calls, usize::from(reached), "{name}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{name}");
        }
    }
    assert_eq!(simulator.bill().total, Pico::ZERO, "no refusal costs anything");
}
