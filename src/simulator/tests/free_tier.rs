//! Free requests: counted per account, minute and day.

use super::*;
use crate::simulator::{AccountSettings, KeySettings};

const CHAT: &str = "/api/v1/chat/completions";
const FREE: &str = "google/gemma-3-27b-it:free";

async fn used(simulator: &SimulatorHandle, key: &SimKey) -> Value {
    get(simulator, "/api/v1/key", &key.text).await.json()["data"]["free_model_daily_requests"].clone()
}

/// So many free requests, all served.
async fn served(simulator: &SimulatorHandle, key: &SimKey, times: u32) {
    let mut client = Client::connect(simulator.addr()).await;
    for n in 0..times {
        assert_eq!(client.post(CHAT, &key.text, &[], &chat(FREE, false)).await.status, 200, "{n}");
    }
}

/// The next free request is refused like that.
async fn refused(simulator: &SimulatorHandle, key: &SimKey, text: &str, limit: &str, source: &str, reset: &str) {
    let answer = post(simulator, CHAT, &key.text, &chat(FREE, false)).await;
    let reset = at(reset).as_millis().to_string();
    let headers = json!({"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset});
    let metadata = json!({"headers": headers, "provider_name": null, "limit_source": source});
    let error = json!({"message": format!("Rate limit exceeded: {text}"), "code": 429, "metadata": metadata});
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json(), json!({"error": error, "user_id": simulator.user_id(key.account)}));
    for (name, value) in headers.as_object().expect("headers") {
        assert_eq!(answer.header(&name.to_lowercase()), value.as_str(), "{name}");
    }
    assert_eq!(answer.header("x-generation-id"), None);
}

#[tokio::test]
async fn twenty_a_minute_whatever_the_account_has_bought() {
    let simulator = simulator_at("2026-11-25T12:00:10Z").await;
    let key = simulator.funded_key(Pico::usd(50));
    let sibling = simulator.make_key(key.account, KeySettings::default());
    let stranger = simulator.funded_key(Pico::usd(50));
    served(&simulator, &key, 12).await;
    served(&simulator, &sibling, 8).await;
    simulator.set_time(at("2026-11-25T12:00:59.999Z"));
    for key in [&key, &sibling] {
        let (text, source) = ("free-models-per-min. ", "openrouter_free_tier_per_minute");
        refused(&simulator, key, text, "20", source, "2026-11-25T12:01:00Z").await;
    }
    assert_eq!(used(&simulator, &key).await, json!({"used": 20, "limit": 1000, "remaining": 980}), "refusals are free");
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 200, "what is paid for is not counted");
    served(&simulator, &stranger, 1).await;
    simulator.set_time(at("2026-11-25T12:01:00Z"));
    served(&simulator, &sibling, 20).await;
}

#[tokio::test]
async fn fifty_a_day_or_a_thousand() {
    const SOURCE: &str = "openrouter_free_tier_daily";
    for (bought, per_day, text) in [
        ("0", 50, "free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"),
        ("8.99", 50, "free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"),
        ("9", 1000, "free-models-per-day-high-balance. "),
    ] {
        let simulator = simulator_at("2026-11-25T23:59:00Z").await;
        let account = simulator.open_account(AccountSettings {
            purchased_usd: usd(bought),
            free_per_minute: u32::MAX,
            ..AccountSettings::default()
        });
        let key = simulator.make_key(account, KeySettings::default());
        served(&simulator, &key, per_day).await;
        refused(&simulator, &key, text, &per_day.to_string(), SOURCE, "2026-11-26T00:00:00Z").await;
        assert_eq!(used(&simulator, &key).await, json!({"used": per_day, "limit": per_day, "remaining": 0}));
        assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 200, "the paid lane is open");

        simulator.set_time(at("2026-11-26T00:00:00Z"));
        assert_eq!(used(&simulator, &key).await["used"], 0);
        served(&simulator, &key, 1).await;
        assert_eq!(used(&simulator, &key).await["used"], 1);
        simulator.edit_account(account, |account| account.free_per_day = Some(0));
        refused(
            &simulator,
            &key,
            "free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
            "0",
            SOURCE,
            "2026-11-27T00:00:00Z",
        )
        .await;
    }
}

#[tokio::test]
async fn an_attempt_counts_once_a_provider_was_asked() {
    let (simulator, key) = simulator().await;
    for (model, status, so_far) in [
        ("sim/error-400-context:free", 400, 0),
        ("nobody/nothing:free", 400, 0),
        ("sim/error-502:free", 502, 1),
        ("sim/error-429-provider:free", 429, 2),
        ("sim/play:free?error=502&inside=0", 200, 3),
        ("sim/error-502", 502, 3),
        ("sim/echo", 200, 3),
    ] {
        assert_eq!(ask(&simulator, &key, model).await.0, status, "{model}");
        assert_eq!(used(&simulator, &key).await["used"], so_far, "{model}");
    }
}
