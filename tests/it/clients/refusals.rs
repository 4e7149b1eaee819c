//! What a client is told that may not: always the same, in its own dialect, before a byte of its body is read.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::support::Wire;

/// The endpoints of each dialect, and where an error's words stand in it.
const DIALECTS: [(&str, &str); 3] = [
    ("/api/v1/chat/completions", "/error/code"),
    ("/api/v1/responses", "/error/code"),
    ("/api/v1/messages", "/error/type"),
];

/// An answer without what differs between any two.
fn told(answer: &crate::support::Answer) -> (u16, Vec<(String, String)>, String) {
    let own = ["x-request-id", "date"];
    let headers = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str())).cloned().collect();
    (answer.status, headers, answer.text())
}

#[tokio::test]
async fn unknown_malformed_expired_and_revoked_are_one_and_the_same() {
    let house = House::new(1, REQUIRED).await;
    let soon = house.clock.now().after(Duration::from_secs(1)).to_string();
    let (expired, revoked) =
        (house.client(json!({"name": "ann", "expiresAt": soon})).await, house.client(json!({"name": "bob"})).await);
    let stranger = potluck::clients::ClientKey::from_random([7; 32]).text();
    let dead = text(&house.token(&revoked.key, None).await.json(), "token");
    let over = text(&house.token(&expired.key, None).await.json(), "token");
    house.revoke(&revoked).await;
    house.pass(Duration::from_secs(1));
    let forged = format!("{}AAAA", &over[..over.len() - 4]);
    let bad = [
        stranger.expose(),
        &expired.key,
        &revoked.key,
        &expired.key[..75],
        "ptl-",
        "sk-or-v1-0011",
        &dead,
        &over,
        &forged,
    ];
    let before = house.sim.received();
    for (path, place) in DIALECTS {
        let body = chat(MODEL);
        let none = house.ask(&Ask::post(path, body.clone())).await;
        assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer realm=\"potluck\"")), "{path}");
        let code = none.json().pointer(place).and_then(|code| code.as_str()).map(str::to_owned);
        let expected = if place.ends_with("type") { "authentication_error" } else { "invalid_api_key" };
        assert_eq!(code.as_deref(), Some(expected), "{}", none.text());
        for credential in bad {
            let answer = house.ask(&bearing(Ask::post(path, body.clone()), credential)).await;
            assert_eq!(told(&answer), told(&none), "{path} {credential}");
            house.pass(Duration::from_secs(60));
        }
    }
    // A token is refused in the same words.
    for key in [stranger.expose(), &expired.key, &revoked.key, "ptl-", "", "sk-or-v1-0011"] {
        let answer = house.token(key, None).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &json!("invalid_api_key")), "{key}");
        house.pass(Duration::from_secs(60));
    }
    assert_eq!(house.sim.received(), before, "nothing went up");
    let metrics = Ask::get("/metrics").send(house.admin).await.text();
    for (reason, at_least) in [("missing", 6), ("malformed", 8), ("unknown", 8), ("expired", 7), ("revoked", 3)] {
        let line = format!("potluck_client_refusals_total{{reason=\"{reason}\"}} ");
        let count = metrics.split(&line).nth(1).and_then(|rest| rest.lines().next()?.parse::<u32>().ok());
        assert!(count.is_some_and(|count| count >= at_least), "{reason}: {count:?}");
    }
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let house = House::new(1, REQUIRED).await;
    let mut wire = Wire::connect(house.proxy).await;
    wire.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    let reading = wire.head().await;
    assert_eq!(reading.status, 401, "not 100");
}

#[tokio::test]
async fn public_lists_are_for_clients_and_preflights_for_everybody() {
    let house = House::new(1, REQUIRED).await;
    for path in ["/api/v1/models", "/v1/providers", "/v1/key", "/v1/credits", "/v1/generation?id=gen-1", "/v1/nowhere"]
    {
        assert_eq!(house.ask(&Ask::get(path)).await.status, 401, "{path}");
    }
    for path in ["/api/v1/models", CHAT, "/auth/token"] {
        assert_eq!(house.ask(&Ask::new("OPTIONS", path)).await.status, 204, "{path}");
    }
}

#[tokio::test]
async fn models_are_judged_as_for_donors() {
    let house = House::new(1, REQUIRED).await;
    let client = house.client(json!({"name": "ann", "models": ["openai/*", "anthropic/claude-sonnet-4.5"]})).await;
    let say = |model: serde_json::Value| {
        let mut body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "input": "hi"});
        body.as_object_mut().expect("an object").extend(model.as_object().expect("an object").clone());
        body.to_string()
    };
    for (model, allowed) in [
        (json!({"model": MODEL}), true),
        (json!({"model": MODEL, "models": ["openai/gpt-4o-mini"]}), true),
        (json!({"model": MODEL, "models": ["x-ai/grok-4"]}), false),
        (json!({"model": "x-ai/grok-4"}), false),
        (json!({"models": ["openai/gpt-4o-mini", "x-ai/grok-4"]}), false),
        (json!({}), false),
    ] {
        let answer = house.ask(&bearing(Ask::post(CHAT, say(model.clone())), &client.key)).await;
        assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{model}: {}", answer.text());
    }
    let before = house.went_up().len();
    for (path, place) in DIALECTS {
        let answer = house.ask(&bearing(Ask::post(path, say(json!({"model": "x-ai/grok-4"}))), &client.key)).await;
        let code = answer.json().pointer(place).and_then(|code| code.as_str()).map(str::to_owned);
        let expected = if place.ends_with("type") { "permission_error" } else { "client_model_not_allowed" };
        assert_eq!((answer.status, code.as_deref()), (403, Some(expected)), "{}", answer.text());
    }
    assert_eq!(house.went_up().len(), before);
    assert_eq!(house.operate("PATCH", "/clients/c1", &json!({"models": null})).await.status, 200);
    let answer = house.ask(&bearing(Ask::post(CHAT, say(json!({"models": [MODEL]}))), &client.key)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_call_for_a_token_says_what_it_wants_and_no_more() {
    let house = House::new(1, REQUIRED).await;
    let client = house.client(json!({"name": "ann"})).await;
    for body in [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        json!({"apiKey": 7}).to_string(),
        json!({"apiKey": client.key, "role": "admin"}).to_string(),
        json!({"apiKey": client.key, "userId": ""}).to_string(),
        json!({"apiKey": client.key, "userId": "a\nb"}).to_string(),
        json!({"apiKey": client.key, "userId": "x".repeat(129)}).to_string(),
    ] {
        let answer = Ask::post("/auth/token", body.clone()).send(house.proxy).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("bad_token_request")), "{body}");
        assert!(!answer.text().contains(&client.key[4..20]));
    }
    let huge = json!({"apiKey": client.key, "userId": "x".repeat(5000)}).to_string();
    assert_eq!(Ask::post("/auth/token", huge).send(house.proxy).await.status, 413);
    assert_eq!(house.ask(&bearing(Ask::get("/auth/token"), &client.key)).await.status, 405);
}
