//! What would reach into a donor's account is refused here: not a byte of it goes up, and browsers may read why.

use crate::support::{Ask, House, MODEL, chat};

use super::{CHAT, PREFIXES, assert_open_to_browsers, assert_preflight};

/// `openrouter-api.md` 1.3, less what potluck answers itself, and 1.4; with the methods they have there.
const ACCOUNT_CALLS: [(&str, &str); 47] = [
    ("GET", "generation/content?id=gen-1"),
    ("GET", "models/user"),
    ("GET", "presets"),
    ("GET", "presets/x"),
    ("GET", "presets/x/versions"),
    ("GET", "presets/x/versions/1"),
    ("POST", "presets/x/chat/completions"),
    ("POST", "presets/x/responses"),
    ("POST", "presets/x/messages"),
    ("POST", "auth/keys/code"),
    ("POST", "auth/keys"),
    ("GET", "files"),
    ("POST", "files"),
    ("GET", "files/file-1"),
    ("DELETE", "files/file-1"),
    ("GET", "files/file-1/content"),
    ("GET", "containers/c-1/files"),
    ("GET", "containers/c-1/files/f-1/content"),
    ("GET", "keys"),
    ("POST", "keys"),
    ("GET", "keys/0a1b2c"),
    ("PATCH", "keys/0a1b2c"),
    ("DELETE", "keys/0a1b2c"),
    ("GET", "activity"),
    ("GET", "analytics/meta"),
    ("POST", "analytics/query"),
    ("GET", "byok"),
    ("POST", "byok"),
    ("DELETE", "byok/1"),
    ("GET", "guardrails"),
    ("POST", "guardrails"),
    ("PATCH", "guardrails/1"),
    ("GET", "observability/destinations"),
    ("POST", "observability/destinations"),
    ("GET", "organization"),
    ("GET", "organization/members"),
    ("GET", "scim/v2/Users"),
    ("POST", "scim/v2/Users"),
    ("GET", "workspaces"),
    ("POST", "workspaces"),
    ("GET", "workspaces/w/members"),
    ("POST", "generation/feedback"),
    ("POST", "credits/coinbase"),
    ("GET", "benchmarks"),
    ("GET", "classifications/task"),
    ("GET", "datasets/app-rankings"),
    ("GET", "datasets/session-cost"),
];

fn call(method: &'static str, target: &str) -> Ask {
    match method {
        "POST" => Ask::post(target, chat(MODEL)),
        method => Ask::new(method, target),
    }
}

#[tokio::test]
async fn calls_into_a_donors_account_are_refused_with_the_reason() {
    let house = House::new(1, "").await;
    let before = house.sim.received();
    for (method, path) in ACCOUNT_CALLS {
        for prefix in PREFIXES {
            let target = format!("{prefix}/{path}");
            let answer = house.ask(&call(method, &target)).await;
            let error = &answer.json()["error"];
            assert_eq!((answer.status, &error["code"]), (403, &"blocked_path".into()), "{method} {target}");
            assert!(error["message"].as_str().unwrap().contains("shared pool"), "{target}: {error}");
            assert_open_to_browsers(&answer, &target);
        }
    }
    assert_eq!(house.sim.received(), before, "not a byte upstream");
}

#[tokio::test]
async fn spellings_of_these_paths_are_refused_too() {
    let house = House::new(1, "").await;
    let before = house.sim.received();
    let spellings = [
        "/api/v1/chat/../keys",
        "/api/v1/chat/completions/../../keys",
        "/api/v1//keys",
        "/api/v1/%6beys",
        "/api/v1/keys%2f",
        "/api/v1/./keys",
        "/api/v1/KEYS",
        "/api/v1/keys/",
        "/api/v2/keys",
        "/v1/v1/chat/completions",
        "/api/v1/chat/completions/",
        "/api/v1/chat%2fcompletions",
        "/keys",
        "/",
        "/auth",
        "/settings/keys",
        "/api/frontend/user",
        "/status",
        "/metrics",
        "http://openrouter.ai/api/v1/keys",
        "*",
    ];
    for target in spellings {
        for method in ["GET", "POST", "OPTIONS"] {
            let answer = house.ask(&call(method, target)).await;
            assert!(
                (400..500).contains(&answer.status) || answer.status == 204,
                "{method} {target}: {}",
                answer.status
            );
            assert!(answer.status != 204 || method == "OPTIONS", "{method} {target}");
        }
    }
    assert_eq!(house.sim.received(), before);
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_allowed() {
    let house = House::new(1, "").await;
    let before = house.sim.received();
    let table = [
        ("GET", CHAT, "POST, OPTIONS"),
        ("DELETE", CHAT, "POST, OPTIONS"),
        ("TRACE", CHAT, "POST, OPTIONS"),
        ("PUT", "/v1/messages", "POST, OPTIONS"),
        ("POST", "/api/v1/models", "GET, HEAD, OPTIONS"),
        ("PATCH", "/api/v1/key", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/credits", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/videos/job-1", "GET, OPTIONS"),
    ];
    for (method, target, allow) in table {
        let answer = house.ask(&call(method, target)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
    }
    assert_eq!(house.sim.received(), before);
}

#[tokio::test]
async fn bodies_that_reach_into_an_account_are_refused_naming_the_field() {
    let house = House::new(1, "").await;
    let before = house.sim.received();
    let table = [
        ("/v1/chat/completions", r#"{"model":"@preset/x","messages":[]}"#, "model"),
        ("/v1/chat/completions", r#"{"model":"a/b","preset":"x","messages":[]}"#, "preset"),
        ("/v1/responses", r#"{"model":"a/b","store":true,"input":"x"}"#, "store"),
        ("/v1/responses", r#"{"model":"a/b","previous_response_id":"gen-1","input":"x"}"#, "previous_response_id"),
        ("/v1/chat/completions", r#"{"model":"a/b","tools":[{"type":"openrouter:files"}],"messages":[]}"#, "tools"),
        ("/v1/videos", r#"{"model":"a/b","prompt":"x","callback_url":"https://evil.example"}"#, "callback_url"),
        ("/v1/messages", r#"{"model":"a/b","container":"c-1","messages":[]}"#, "container"),
        ("/v1/chat/completions", "{", "body"),
    ];
    for (target, body, field) in table {
        let answer = house.ask(&Ask::post(target, body)).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{field}:")), "{body}: {message}");
    }
    assert_eq!(house.sim.received(), before);
}

#[tokio::test]
async fn preflights_are_answered_here_and_errors_carry_cors_too() {
    let house = House::new(1, "").await;
    let before = house.sim.received();
    for target in [CHAT, "/v1/messages?beta=true", "/v1/responses", "/api/v1/models", "/v1/key", "/v1/videos/job-1"] {
        let ask = Ask::new("OPTIONS", target)
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        let answer = house.ask(&ask).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{target}");
        assert_preflight(&answer, target);
    }
    for (ask, status) in [(Ask::get("/nowhere"), 404), (Ask::get(CHAT), 405), (Ask::post(CHAT, "{"), 400)] {
        let answer = house.ask(&ask).await;
        assert_eq!(answer.status, status);
        assert_open_to_browsers(&answer, "an error of ours");
    }
    assert_eq!(house.sim.received(), before);
    let answer = house.ask(&Ask::post(CHAT, chat("sim/error-429-provider"))).await;
    assert_eq!(answer.status, 429);
    assert_open_to_browsers(&answer, "an error of the upstream's");
}
