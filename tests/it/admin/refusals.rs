//! Calls that must change nothing: from foreign pages, without the token, not JSON, or not what is asked for.

use serde_json::{Value, json};

use super::{HEALTH, OFFER, SETTLE, call, code, get};
use crate::support::{Answer, Ask, House, Wire};

/// The pool as it is shown, without the moment.
async fn shown(house: &House) -> Value {
    get(house, "/keys").await
}

/// A call whose head is written out.
async fn raw(house: &House, head: &str, body: &str) -> Answer {
    let mut wire = Wire::connect(house.admin).await;
    wire.write(format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).as_bytes()).await;
    wire.head().await.rest().await
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_whatever_they_ask() {
    let house = House::new(1, "").await;
    let before = shown(&house).await;
    let json = "Content-Type: application/json\r\n";
    let port = house.admin.port();
    let ours = format!("Host: 127.0.0.1:{port}\r\n");
    let from = |origin: &str| format!("{ours}Origin: {origin}\r\n");
    let table: Vec<(String, u16, &str)> = vec![
        ("Host: evil.example\r\n".into(), 421, "host_foreign"),
        (format!("Host: localhost.evil.example:{port}\r\n"), 421, "host_foreign"),
        ("Host: 127.0.0.1.nip.io\r\n".into(), 421, "host_foreign"),
        (from("http://evil.example"), 403, "origin_foreign"),
        (from("null"), 403, "origin_foreign"),
        (from("http://localhost:3000"), 403, "origin_foreign"),
        (format!("{ours}Sec-Fetch-Site: cross-site\r\n"), 403, "origin_foreign"),
    ];
    let calls = [
        ("GET /status", ""),
        ("GET /keys", ""),
        ("GET /metrics", ""),
        ("POST /health/openrouter", r#"{"id":"k1","status":"failed"}"#),
        ("DELETE /keys/openrouter", r#"{"id":"k1"}"#),
        ("PATCH /keys/openrouter/k1", r#"{"limits":{"paused":true}}"#),
        ("GET /keys/openrouter/k1/receipt", ""),
        ("GET /ledger", ""),
        ("POST /ledger/settle", r#"{"entry":1,"cost":1}"#),
    ];
    for (headers, status, expected) in &table {
        for (line, body) in calls {
            let answer = raw(&house, &format!("{line} HTTP/1.1\r\n{headers}{json}"), body).await;
            assert_eq!((answer.status, code(&answer).as_str()), (*status, *expected), "{line} {headers}");
            assert!(!answer.everything().contains("access-control-allow"), "{}", answer.everything());
        }
    }
    let missing = raw(&house, "GET /status HTTP/1.1\r\n", "").await;
    assert!((400..500).contains(&missing.status), "no Host at all: {}", missing.status);
    assert_eq!(shown(&house).await, before, "nothing has changed");
    let own = raw(&house, &format!("GET /status HTTP/1.1\r\n{}", from(&format!("http://127.0.0.1:{port}"))), "").await;
    assert_eq!(own.status, 200, "its own pages may: {}", own.text());
}

#[tokio::test]
async fn writes_must_be_declared_as_json() {
    let house = House::new(1, "").await;
    let before = shown(&house).await;
    for (method, path, body) in [
        ("POST", OFFER, r#"{"key":"sk-or-v1-0123456789abcdef"}"#),
        ("DELETE", OFFER, r#"{"id":"k1"}"#),
        ("POST", HEALTH, r#"{"id":"k1","status":"failed"}"#),
        ("PATCH", "/keys/openrouter/k1", r#"{"limits":{"paused":true}}"#),
        ("POST", SETTLE, r#"{"entry":1,"cost":1}"#),
    ] {
        for form in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("text/json")] {
            let ask = Ask::new(method, path).body(body);
            let ask = form.map_or_else(|| ask.clone(), |form| ask.clone().header("content-type", form));
            let answer = ask.send(house.admin).await;
            assert_eq!((answer.status, code(&answer).as_str()), (415, "content_type"), "{method} {path} {form:?}");
        }
    }
    assert_eq!(shown(&house).await, before, "nothing has changed");
}

#[tokio::test]
async fn bad_bodies_are_4xx_naming_the_field_and_change_nothing() {
    let house = House::new(1, "").await;
    let before = shown(&house).await;
    let key = "sk-or-v1-c0ffeec0ffeec0ffeec0ffeec0ffee";
    let offer = |name: &str, value: Value| {
        let mut body = json!({"key": key});
        body[name] = value;
        body.to_string()
    };
    let word = |name: &str, value: Value| {
        let mut body = json!({"id": "k1", "status": "failed"});
        body[name] = value;
        body.to_string()
    };
    let huge = offer("label", "x".repeat(70_000).into());
    let deep = format!(r#"{{"key":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let table: Vec<(&'static str, &str, String, u16, Option<&str>)> = vec![
        ("POST", OFFER, "{".into(), 400, None),
        ("POST", OFFER, String::new(), 400, None),
        ("POST", OFFER, "[]".into(), 400, None),
        ("POST", OFFER, deep, 400, Some("key")),
        ("POST", OFFER, "{}".into(), 400, Some("key")),
        ("POST", OFFER, json!({"key": 5}).to_string(), 400, Some("key")),
        ("POST", OFFER, json!({"key": [key]}).to_string(), 400, Some("key")),
        ("POST", OFFER, offer("label", 7.into()), 400, Some("label")),
        ("POST", OFFER, offer("donorName", json!({})), 400, Some("donorName")),
        ("POST", OFFER, offer("donorId", "a\u{0}b".into()), 400, Some("donorId")),
        ("POST", OFFER, offer("label", "x".repeat(101).into()), 400, Some("label")),
        ("POST", OFFER, offer("limit", "5".into()), 400, Some("limit")),
        ("POST", OFFER, offer("limit", json!({"amount": 5, "window": "year"})), 400, Some("limit.window")),
        ("POST", OFFER, offer("limits", json!({"caps": {"day": -5}})), 400, Some("limits.caps.day")),
        ("POST", OFFER, offer("limits", json!({"caps": {"year": 5}})), 400, Some("limits.caps.year")),
        ("POST", OFFER, offer("limits", json!({"models": ["a[bc]"]})), 400, Some("limits.models")),
        ("POST", OFFER, offer("limits", json!({"expiresAt": "2026-11-24T11:59:59Z"})), 400, Some("limits.expiresAt")),
        (
            "PATCH",
            "/keys/openrouter/k1",
            json!({"limits": {"concurrency": 0}}).to_string(),
            400,
            Some("limits.concurrency"),
        ),
        ("PATCH", "/keys/openrouter/k1", json!({"limits": {"reserve": true}}).to_string(), 400, Some("limits.reserve")),
        (
            "PATCH",
            "/keys/openrouter/k1",
            json!({"limits": {"paused": true, "reserve": 0}}).to_string(),
            400,
            Some("limits.reserve"),
        ),
        ("PATCH", "/keys/openrouter/k1", json!({"label": "x"}).to_string(), 400, Some("label")),
        ("POST", SETTLE, json!({"entry": 1.5, "cost": 1}).to_string(), 400, Some("entry")),
        ("POST", OFFER, offer("lable", "alice".into()), 400, Some("lable")),
        ("POST", OFFER, format!(r#"{{"key":"{key}","key":"{key}"}}"#), 400, Some("key")),
        ("POST", OFFER, huge, 413, None),
        ("DELETE", OFFER, "{}".into(), 400, Some("key")),
        ("DELETE", OFFER, json!({"id": 1}).to_string(), 400, Some("id")),
        ("DELETE", OFFER, json!({"id": "k1", "key": key}).to_string(), 400, Some("key")),
        ("DELETE", OFFER, json!({"id": "one"}).to_string(), 400, Some("id")),
        ("POST", HEALTH, json!({"id": "k1"}).to_string(), 400, Some("status")),
        ("POST", HEALTH, word("status", "dead".into()), 400, Some("status")),
        ("POST", HEALTH, word("status", 1.into()), 400, Some("status")),
        ("POST", HEALTH, word("error", 1.into()), 400, Some("error")),
        ("POST", HEALTH, word("cost", "1".into()), 400, Some("cost")),
        ("POST", HEALTH, word("cost", (-1).into()), 400, Some("cost")),
        ("POST", HEALTH, word("until", "tomorrow".into()), 400, Some("until")),
    ];
    for (method, path, body, status, field) in &table {
        let answer = call(&house, method, path, body).await;
        let told = &body[..body.len().min(80)];
        assert_eq!(answer.status, *status, "{method} {path} {told}: {}", answer.text());
        let json = answer.json();
        assert_eq!((&json["success"], json["error"]["field"].as_str()), (&false.into(), *field), "{told}: {json}");
        assert!(json["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        assert!(field.is_none_or(|field| json["error"]["message"].as_str().is_some_and(|text| text.contains(field))));
        assert!(!answer.everything().contains("c0ffee"), "what was sent is not repeated: {}", answer.text());
    }
    assert_eq!(shown(&house).await, before, "nothing has changed");
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_off() {
    let house = House::new(1, "").await;
    let mut wire = Wire::connect(house.admin).await;
    let head = "POST /keys/openrouter HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    wire.write(head.as_bytes()).await;
    for _ in 0..20 {
        wire.write(format!("2000\r\n{}\r\n", "x".repeat(0x2000)).as_bytes()).await;
    }
    let answer = wire.head().await.rest().await;
    assert_eq!((answer.status, code(&answer).as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_told_in_json() {
    let house = House::new(1, "").await;
    for path in ["/", "/status/", "//status", "/api/v1/chat/completions", "/keys/openrouter/k1/x", "/..%2fstatus"] {
        let answer = Ask::get(path).send(house.admin).await;
        assert_eq!((answer.status, code(&answer).as_str()), (404, "path_unknown"), "{path}");
    }
    for (method, path, allow) in [
        ("PUT", OFFER, "POST,DELETE"),
        ("PATCH", "/status", "GET,HEAD"),
        ("GET", HEALTH, "POST"),
        ("GET", SETTLE, "POST"),
    ] {
        let answer = call(&house, method, path, "{}").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    // The proxy listener has none of it.
    for path in ["/status", "/keys", "/ledger", "/metrics", "/openapi.json", "/health"] {
        let answer = Ask::get(path).send(house.proxy).await;
        assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
    }
}
