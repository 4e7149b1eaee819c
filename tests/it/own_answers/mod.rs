//! What potluck answers itself: the pool's own figures, generations of its own, public lists, CORS, refused paths.

mod lists;
mod refused;

use std::time::Duration;

use potluck::simulator::{Pico, Play, Script};
use serde_json::{Value, json};

use crate::support::{Answer, Ask, House, MODEL, chat};

const CHAT: &str = "/api/v1/chat/completions";
/// The prefix of every path, and what OpenAI's clients use instead.
const PREFIXES: [&str; 2] = ["/api/v1", "/v1"];

/// What browsers need, which stands on every answer.
fn assert_open_to_browsers(answer: &Answer, what: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{what}");
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
    assert!(exposed.contains("X-Generation-Id"), "{what}: {exposed}");
    assert_eq!(answer.header("access-control-allow-credentials"), None, "{what}");
    assert_eq!(answer.header("access-control-max-age"), None, "{what}");
}

/// What a browser needs to know before it calls.
fn assert_preflight(answer: &Answer, what: &str) {
    assert_open_to_browsers(answer, what);
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET,OPTIONS,PATCH,DELETE,POST,PUT"), "{what}");
    let allowed = answer.header("access-control-allow-headers").unwrap_or_default().to_ascii_lowercase();
    for name in ["authorization", "content-type", "x-api-key", "http-referer", "anthropic-version"] {
        assert!(allowed.split(',').any(|header| header == name), "{what}: {name}");
    }
}

/// Two keys that have served: $0.25 by the first, $0.0625 by the second.
async fn spent() -> House {
    let house = House::new(2, "").await;
    for (key, cost) in [(0, "0.25"), (1, "0.0625")] {
        house.sim.script(Script::next(Play { cost: Some(cost.to_owned()), ..Play::default() }).on_key(key));
    }
    for answer in house.ask_often(&Ask::post(CHAT, chat(MODEL)), 2).await {
        assert_eq!(answer.status, 200);
    }
    house.booked().await;
    house
}

/// An answer about the pool, without a byte sent up and without anything of a donor's.
async fn about_the_pool(house: &House, ask: &Ask) -> Value {
    let before = house.sim.received();
    let answer = house.ask(ask).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{ask:?}");
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    assert_open_to_browsers(&answer, "about the pool");
    assert_eq!(house.sim.received(), before);
    let seen = answer.everything();
    for secret in [house.sim.user_id(0).unwrap().as_str(), "workspace", "creator", "sk-or-v1-"] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
    answer.json()["data"].clone()
}

#[tokio::test]
async fn the_key_that_clients_ask_about_is_the_pool() {
    let house = spent().await;
    for path in ["key", "auth/key"] {
        for prefix in PREFIXES {
            let data = about_the_pool(&house, &Ask::get(&format!("{prefix}/{path}"))).await;
            for window in ["usage", "usage_daily", "usage_weekly", "usage_monthly"] {
                assert_eq!(data[window], json!(0.3125), "{window} of {path}: {data}");
            }
            assert_eq!((&data["limit"], &data["is_free_tier"]), (&Value::Null, &json!(false)));
            assert_eq!((&data["is_management_key"], &data["label"]), (&json!(false), &json!("potluck")));
        }
    }
    // Over midnight: Wednesday the 25th, still the same week and month.
    house.pass(Duration::from_secs(12 * 3600));
    let data = about_the_pool(&house, &Ask::get("/v1/key")).await;
    assert_eq!(
        [&data["usage_daily"], &data["usage_weekly"], &data["usage"]],
        [&json!(0), &json!(0.3125), &json!(0.3125)]
    );
    house.pass(Duration::from_secs(7 * 86_400));
    let data = about_the_pool(&house, &Ask::get("/v1/key")).await;
    assert_eq!([&data["usage_weekly"], &data["usage_monthly"], &data["usage"]], [&json!(0), &json!(0), &json!(0.3125)]);
}

#[tokio::test]
async fn the_credits_are_what_the_pool_has_spent_and_has_left() {
    let house = spent().await;
    for prefix in PREFIXES {
        let data = about_the_pool(&house, &Ask::get(&format!("{prefix}/credits"))).await;
        assert_eq!(data["total_usage"], json!(0.3125));
        let left = data["total_credits"].as_f64().unwrap() - 0.3125;
        // What the upstream told at donation, less what went through here since.
        assert!((left - 19.6875).abs() < 1e-9, "{data}");
    }
    let empty = House::new(0, "").await;
    let answer = empty.ask(&Ask::get("/api/v1/credits")).await;
    assert_eq!(answer.json(), json!({"data": {"total_credits": 0, "total_usage": 0}}));
}

#[tokio::test]
async fn a_head_request_about_the_pool_has_no_body() {
    let house = House::new(1, "").await;
    for path in ["/v1/key", "/v1/credits"] {
        let mut wire = crate::support::Wire::connect(house.proxy).await;
        wire.write(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await;
        let text = String::from_utf8(wire.until_closed().await).unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("\r\n\r\n"), "{text}");
    }
}

#[tokio::test]
async fn a_generation_is_looked_up_with_the_key_that_made_it() {
    let house = House::new(3, "").await;
    let mut made = Vec::new();
    for answer in house.ask_often(&Ask::post(CHAT, chat(MODEL)), 3).await {
        made.push((answer.header("x-generation-id").unwrap().to_owned(), answer.json()));
    }
    house.pass(Duration::from_secs(5));
    house.forget_log();
    for (key, (id, answer)) in made.iter().enumerate() {
        for prefix in PREFIXES {
            let looked_up = house.ask(&Ask::get(&format!("{prefix}/generation?id={id}"))).await;
            assert_eq!(looked_up.status, 200, "{}", looked_up.text());
            assert_open_to_browsers(&looked_up, "generation");
            let data = &looked_up.json()["data"];
            assert_eq!((&data["id"], &data["total_cost"]), (&json!(id), &answer["usage"]["cost"]));
            assert_eq!(data["tokens_completion"], answer["usage"]["completion_tokens"]);
            for private in ["http_referer", "user_agent", "workspace_id", "external_user", "session_id", "app_id"] {
                assert!(data.get(private).is_none(), "{private} in {data}");
            }
        }
        let asked: Vec<_> = house.sim.log().iter().map(|entry| entry.key).collect();
        assert_eq!(asked, [Some(key); 2]);
        house.forget_log();
    }
}

#[tokio::test]
async fn a_generation_of_somebody_else_is_not_found_and_not_asked_for() {
    let house = House::new(1, "").await;
    // On the very account of the pooled key, but not through the pool.
    let sibling = house.sim.make_key(0, potluck::simulator::KeySettings::default());
    let bearer = format!("Bearer {}", sibling.text);
    let theirs = Ask::post(CHAT, chat(MODEL)).header("authorization", &bearer).send(house.sim.addr()).await;
    let theirs = theirs.header("x-generation-id").unwrap().to_owned();
    house.pass(Duration::from_secs(5));
    let before = house.sim.received();
    for id in [&*theirs, "gen-1795521600-neverheardofit", "gen-tts-1"] {
        let answer = house.ask(&Ask::get(&format!("/api/v1/generation?id={id}"))).await;
        let expected = json!({"error": {"message": format!("Generation {id} not found"), "code": 404}});
        assert_eq!((answer.status, answer.json()), (404, expected), "OpenRouter's own words");
    }
    for query in ["", "?id=", "?id=gen-1&id=gen-2", "?id=..%2Fkey"] {
        assert_eq!(house.ask(&Ask::get(&format!("/api/v1/generation{query}"))).await.status, 400, "{query}");
    }
    assert_eq!(house.sim.received(), before);
}

#[tokio::test]
async fn a_generation_the_upstream_does_not_know_yet_is_not_found() {
    let house = House::new(1, "").await;
    house.sim.script(Script::next(Play { generation_ms: Some(60_000), ..Play::default() }));
    let answer = house.ask(&Ask::post(CHAT, chat(MODEL))).await;
    let look_up = Ask::get(&format!("/v1/generation?id={}", answer.header("x-generation-id").unwrap()));
    // Until then it is not known here, either.
    house.booked().await;
    assert_eq!(house.ask(&look_up).await.status, 404);
    house.pass(Duration::from_secs(61));
    assert_eq!(house.ask(&look_up).await.status, 200);
}

#[tokio::test]
async fn counting_tokens_is_answered_as_openrouter_does() {
    let house = House::new(1, "").await;
    let before = house.sim.received();
    for target in ["/api/v1/messages/count_tokens?beta=true", "/v1/messages/count_tokens"] {
        let answer = house.ask(&Ask::post(target, chat(MODEL))).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["type"]), (404, &json!("error")), "{body}");
        assert_eq!(body["error"]["type"], "not_found_error");
    }
    assert_eq!(house.sim.received(), before);
}

#[tokio::test]
async fn an_answer_of_our_own_leaves_the_connection_usable() {
    let house = House::new(1, "").await;
    let mut wire = crate::support::Wire::connect(house.proxy).await;
    let asks = [
        (Ask::get("/v1/key"), 200),
        (Ask::get("/api/v1/models"), 200),
        (Ask::get("/api/v1/keys"), 403),
        (Ask::post(CHAT, chat(MODEL)), 200),
        (Ask::get("/v1/credits"), 200),
    ];
    for (ask, status) in asks {
        let (answer, again) = wire.ask(&ask).await.rest_and_wire().await;
        assert_eq!(answer.status, status, "{ask:?}");
        wire = again;
    }
}

#[tokio::test]
async fn both_prefixes_reach_the_same_calls() {
    let house = House::new(1, "").await;
    let turns = json!([{"role": "user", "content": "hello"}]);
    let messages = json!({"model": MODEL, "max_tokens": 9, "messages": turns}).to_string();
    let calls = [
        ("chat/completions", chat(MODEL)),
        ("completions", json!({"model": MODEL, "prompt": "hello"}).to_string()),
        ("responses", json!({"model": MODEL, "input": "hello"}).to_string()),
        ("messages?beta=true", messages.clone()),
        ("messages", messages),
        ("embeddings", r#"{"model":"openai/text-embedding-3-small","input":"hello"}"#.to_owned()),
    ];
    for (path, body) in &calls {
        for prefix in PREFIXES {
            let answer = house.ask(&Ask::post(&format!("{prefix}/{path}"), body.clone())).await;
            assert_eq!(answer.status, 200, "{prefix}/{path}: {}", answer.text());
            assert_open_to_browsers(&answer, path);
        }
    }
    let up: Vec<String> = house.went_up().into_iter().map(|entry| entry.target).collect();
    let expected: Vec<String> = calls.iter().flat_map(|(path, _)| vec![format!("/api/v1/{path}"); 2]).collect();
    assert_eq!(up, expected);
    assert!(house.sim.bill().total > Pico::ZERO);
    house.assert_books_balance().await;
}
