//! What accounts and keys show of themselves: `/key`, `/credits`, `/generation`.

use super::*;
use crate::simulator::{AccountSettings, KeySettings, Play, Reset, Script};

const CHAT: &str = "/api/v1/chat/completions";

#[tokio::test]
async fn key_shows_everything_and_no_balance() {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let key = simulator.funded_key(Pico::usd(7));
    assert_eq!(ask(&simulator, &key, "sim/play?cost=0.25").await.0, 200);
    assert_eq!(ask(&simulator, &key, "sim/play?cost=0&own_key_cost=0.5").await.0, 200);
    simulator.edit_key(key.index, |key| {
        key.limit_usd = Some(Pico::usd(2));
        key.limit_reset = Some(Reset::Weekly);
        key.expires_at_ms = Some(at("2026-12-24T18:00:00Z").as_millis());
    });
    let answer = get(&simulator, "/api/v1/key", &key.text).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private, no-store")));
    let data = answer.json()["data"].clone();
    let secret = key.text.strip_prefix("sk-or-v1-").expect("a key");
    let workspace = data["workspace_id"].clone();
    let expected = json!({
        "label": format!("sk-or-v1-{}...{}", &secret[..3], &secret[61..]),
        "limit": 2, "limit_remaining": 1.75, "limit_reset": "weekly", "include_byok_in_limit": false,
        "is_free_tier": false, "is_management_key": false, "is_provisioning_key": false,
        "creator_user_id": simulator.user_id(key.account), "workspace_id": workspace, "organization_id": null,
        "expires_at": "2026-12-24T18:00:00.000Z",
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
        "allowed_data_regions": ["global"], "budgets": [],
        "usage": 0.25, "usage_daily": 0.25, "usage_weekly": 0.25, "usage_monthly": 0.25,
        "byok_usage": 0.5, "byok_usage_daily": 0.5, "byok_usage_weekly": 0.5, "byok_usage_monthly": 0.5,
        "free_model_daily_requests": {"used": 0, "limit": 50, "remaining": 50},
    });
    assert_eq!(data, expected);
    assert_eq!(workspace.as_str().map(str::len), Some(36));
    let alias = get(&simulator, "/api/v1/auth/key", &key.text).await.json();
    assert_eq!(alias["data"], expected);
}

#[tokio::test]
async fn usage_is_that_of_the_day_the_week_and_the_month() {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let key = simulator.funded_key(Pico::usd(7));
    // Wednesday, Sunday, Monday; then Tuesday the first.
    for (day, cost, figures) in [
        ("2026-11-25T12:00:00Z", "0.5", [0.5, 0.5, 0.5, 0.5]),
        ("2026-11-29T12:00:00Z", "0.25", [0.75, 0.25, 0.75, 0.75]),
        ("2026-11-30T12:00:00Z", "0.125", [0.875, 0.125, 0.125, 0.875]),
        ("2026-12-01T12:00:00Z", "0.0625", [0.9375, 0.0625, 0.1875, 0.0625]),
    ] {
        simulator.set_time(at(day));
        assert_eq!(ask(&simulator, &key, &format!("sim/play?cost={cost}&own_key_cost={cost}")).await.0, 200);
        let data = get(&simulator, "/api/v1/key", &key.text).await.json()["data"].clone();
        for prefix in ["usage", "byok_usage"] {
            let shown = ["", "_daily", "_weekly", "_monthly"].map(|window| data[format!("{prefix}{window}")].clone());
            assert_eq!(shown, figures.map(|figure| json!(figure)), "{prefix} on {day}");
        }
    }
}

#[tokio::test]
async fn keys_that_are_off_or_past_their_time_open_nothing() {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let key = simulator.funded_key(Pico::usd(1));
    let gone = json!({"error": {"message": "User not found.", "code": 401}});
    let check = async |works: bool| {
        for path in ["/api/v1/key", "/api/v1/credits"] {
            let answer = get(&simulator, path, &key.text).await;
            assert_eq!(answer.status, if works { 200 } else { 401 }, "{path}");
            assert!(works || answer.json() == gone, "{}", answer.text());
        }
        assert_eq!(ask(&simulator, &key, "sim/echo").await.0, if works { 200 } else { 401 });
    };
    simulator.edit_key(key.index, |key| key.expires_at_ms = Some(at("2026-11-25T13:00:00Z").as_millis()));
    simulator.set_time(at("2026-11-25T12:59:59.999Z"));
    check(true).await;
    simulator.set_time(at("2026-11-25T13:00:00Z"));
    check(false).await;
    simulator.edit_key(key.index, |key| (key.expires_at_ms, key.disabled) = (None, true));
    check(false).await;
    simulator.edit_key(key.index, |key| key.disabled = false);
    check(true).await;
}

#[tokio::test]
async fn credits_are_the_account_s_and_can_be_closed_to_keys() {
    let (simulator, key) = simulator().await;
    let sibling = simulator.make_key(key.account, KeySettings::default());
    assert_eq!(ask(&simulator, &sibling, "sim/play?cost=1.25").await.0, 200);
    let credits = async || get(&simulator, "/api/v1/credits", &key.text).await;
    assert_eq!(credits().await.text(), r#"{"data":{"total_credits":5,"total_usage":1.25}}"#);
    simulator.edit_account(key.account, |account| account.credits_usd += usd("0.5"));
    assert_eq!(credits().await.text(), r#"{"data":{"total_credits":5.5,"total_usage":1.25}}"#);
    simulator.edit_account(key.account, |account| account.credits_forbidden = true);
    let answer = credits().await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["error"]["message"], "Only management keys can perform this operation");
    let new = simulator.make_key(simulator.open_account(AccountSettings::never_purchased()), KeySettings::default());
    let data = get(&simulator, "/api/v1/credits", &new.text).await.json()["data"].clone();
    assert_eq!(data, json!({"total_credits": 0, "total_usage": 0}));
    assert_eq!(get(&simulator, "/api/v1/key", &new.text).await.json()["data"]["is_free_tier"], true);
}

#[tokio::test]
async fn generation_tells_all_about_a_call() {
    let simulator = simulator_at("2026-11-25T12:00:00.250Z").await;
    let key = simulator.funded_key(Pico::usd(1));
    let body = chat("sim/play?output_tokens=7&hold_usage=true", true);
    let mut client = Client::connect(simulator.addr()).await;
    let headers = [("user-agent", "soup/1"), ("http-referer", "https://soup.example")];
    client.send_post(CHAT, &key.text, &headers, &body).await;
    let (_, headers) = client.head().await.expect("a head");
    let id = headers.iter().find(|(name, _)| name == "x-generation-id").map(|(_, id)| id.clone()).expect("an id");
    assert!(id.starts_with("gen-1795608000-"), "{id}");
    let path = format!("/api/v1/generation?id={id}");
    assert_eq!(get(&simulator, &path, &key.text).await.status, 404, "it still runs");
    simulator.set_time(at("2026-11-25T12:00:01Z"));
    simulator.release();
    client.last_chunk().await;

    simulator.advance(std::time::Duration::from_millis(299));
    assert_eq!(get(&simulator, &path, &key.text).await.status, 404, "300 ms after its end");
    simulator.advance(std::time::Duration::from_millis(1));
    let answer = get(&simulator, &path, &key.text).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private, no-store")));
    let mut data = answer.json()["data"].clone();
    let prompt = body.to_string().len() / 4;
    let cost = (Pico(127_037) * prompt as u64 + Pico(390_001) * 7).to_json();
    for (name, expected) in [
        ("id", json!(id)),
        ("total_cost", cost.clone()),
        ("usage", cost),
        ("is_byok", json!(false)),
        ("created_at", json!("2026-11-25T12:00:00.250Z")),
        ("model", json!("sim/play")),
        ("provider_name", json!("Simulated")),
        ("api_type", json!("chat")),
        ("streamed", json!(true)),
        ("cancelled", json!(false)),
        ("latency", json!(750)),
        ("generation_time", json!(750)),
        ("finish_reason", json!("stop")),
        ("http_referer", json!("https://soup.example")),
        ("user_agent", json!("soup/1")),
        ("tokens_prompt", json!(prompt)),
        ("native_tokens_completion", json!(7)),
        ("upstream_inference_cost", Value::Null),
        ("cache_discount", Value::Null),
    ] {
        assert_eq!(data[name].take(), expected, "{name}");
    }
}

#[tokio::test]
async fn generation_knows_a_call_late_or_never() {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let key = simulator.funded_key(Pico::usd(1));
    for (generation_ms, waits) in [(0, Some(0)), (5000, Some(5000)), (-1, None)] {
        simulator.script(Script::next(Play { generation_ms: Some(generation_ms), ..Play::default() }));
        let answer = post(&simulator, CHAT, &key.text, &chat("sim/echo", true)).await;
        let path = format!("/api/v1/generation?id={}", answer.header("x-generation-id").expect("an id"));
        let known = async || get(&simulator, &path, &key.text).await.status;
        if let Some(waits @ 1..) = waits {
            simulator.advance(std::time::Duration::from_millis(waits - 1));
            assert_eq!(known().await, 404, "{generation_ms}");
        }
        simulator.advance(std::time::Duration::from_millis(if waits == Some(0) { 0 } else { 1 }));
        assert_eq!(known().await, if waits.is_some() { 200 } else { 404 }, "{generation_ms}");
        simulator.advance(std::time::Duration::from_hours(24));
        assert_eq!(known().await, if waits.is_some() { 200 } else { 404 }, "{generation_ms}");
    }
    assert_eq!(get(&simulator, "/api/v1/generation", &key.text).await.status, 404);
    assert_eq!(get(&simulator, "/api/v1/generation?id=gen-1", "sk-or-v1-x").await.status, 401);
}

#[tokio::test]
async fn generation_tells_how_a_call_ended_and_who_paid() {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let key = simulator.funded_key(Pico::usd(1));
    for (model, figures) in [
        ("sim/play?cost=0.125&finish=tool_calls", json!([0.125, false, null, false, "tool_calls"])),
        ("sim/play?cost=0&own_key_cost=0.5", json!([0, true, 0.5, false, "stop"])),
        ("sim/play?cost=0.125&fault=cut%40500", json!([0.125, false, null, true, "stop"])),
        ("sim/error-502", json!([0, false, null, false, "error"])),
        ("sim/play?cost=0.125&error=502&inside=1", json!([0, false, null, false, "error"])),
    ] {
        let answer = post(&simulator, CHAT, &key.text, &chat(model, true)).await;
        let id = answer.header("x-generation-id").expect("an id").to_owned();
        last_call(&simulator).await;
        simulator.advance(std::time::Duration::from_secs(1));
        let data = get(&simulator, &format!("/api/v1/generation?id={id}"), &key.text).await.json()["data"].clone();
        let names = ["total_cost", "is_byok", "upstream_inference_cost", "cancelled", "finish_reason"];
        assert_eq!(json!(names.map(|name| data[name].clone())), figures, "{model}");
    }
}
