//! What clients get when no key can serve: at once, in their dialect, why and until when; or a short wait.

use std::time::Duration;

use potluck::pool::{Health, KeyId};
use potluck::pot::Overview;
use potluck::simulator::{Play, Script};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Answer, Ask, House, MODEL, chat};

const CHAT: &str = "/api/v1/chat/completions";

/// Whether an error is in the dialect.
type InDialect = fn(&Value) -> bool;

/// One request in each dialect.
fn asks() -> [(Ask, InDialect); 3] {
    let turns = json!([{"role": "user", "content": "hello"}]);
    let responses = json!({"model": MODEL, "input": "hello"}).to_string();
    let messages = json!({"model": MODEL, "max_tokens": 64, "messages": turns}).to_string();
    [
        (Ask::post(CHAT, chat(MODEL)), |body| body["error"]["type"] == "server_error"),
        (Ask::post("/v1/responses", responses), |body| body["metadata"].is_null() && body["error"]["type"].is_null()),
        (Ask::post("/v1/messages", messages), |body| {
            body["type"] == "error" && body["error"]["type"] == "overloaded_error"
        }),
    ]
}

/// Every dialect gets this refusal, without a byte sent up.
async fn check(house: &House, code: &str, says: &str, retry_after: Option<u64>) {
    let before = house.went_up().len();
    let mut quickest = Duration::MAX;
    for (ask, in_dialect) in asks() {
        let begun = Instant::now();
        let answer = house.ask(&ask).await;
        quickest = quickest.min(begun.elapsed());
        let body = answer.json();
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!((answer.status, &body["error"]["code"]), (503, &json!(code)), "{body}");
        assert!(message.contains(says) && in_dialect(&body), "{body}");
        assert_eq!(answer.header("retry-after").map(|s| s.parse().unwrap()), retry_after, "{body}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    assert!(quickest < Duration::from_millis(100), "within milliseconds: {quickest:?}");
    assert_eq!(house.went_up().len(), before);
}

async fn ids(house: &House) -> Vec<KeyId> {
    house.overview().await.keys.iter().map(|key| key.id).collect()
}

#[tokio::test]
async fn a_pool_without_keys_says_how_to_add_one() {
    let house = House::new(0, "").await;
    check(&house, "no_keys_added", "/keys/openrouter", None).await;
}

#[tokio::test]
async fn the_reason_follows_from_the_states_of_the_keys() {
    use Health::{Degraded, Depleted, Failed, RateLimited};
    let house = House::new(3, "").await;
    let keys = ids(&house).await;
    let back = "2026-11-24T12:05:00Z";
    let table: [([Health; 3], &str, &str, Option<u64>); 8] = [
        ([Depleted; 3], "all_keys_depleted", "out of credit", None),
        ([Depleted, Depleted, Failed], "all_keys_depleted", "out of credit", None),
        ([RateLimited, Degraded, RateLimited], "all_keys_limited", back, Some(300)),
        ([RateLimited; 3], "all_keys_limited", "2026-11-24T12:15:00Z", Some(900)),
        ([RateLimited, Failed, Failed], "all_keys_limited", "limited or resting", Some(900)),
        ([Depleted, RateLimited, Degraded], "no_key_available", back, Some(300)),
        ([Depleted, Failed, Degraded], "no_key_available", "some are out of credit", Some(300)),
        ([Failed; 3], "all_keys_failed", "accepts none", None),
    ];
    for (states, code, says, retry_after) in table {
        for (key, health) in keys.iter().zip(states) {
            house.say(*key, health).await;
        }
        check(&house, code, says, retry_after).await;
    }
}

#[tokio::test]
async fn a_model_no_account_may_use_is_said_so() {
    let house = House::new(2, "").await;
    for account in 0..2 {
        house.sim.edit_account(account, |a| a.region_blocked = vec![MODEL.to_owned()]);
    }
    let (ask, _) = &asks()[0];
    assert_eq!(house.ask(ask).await.status, 403, "the upstream's own word, as it is about the request");
    check(&house, "no_key_left", "may use this model", None).await;
    assert_eq!(house.ask(&Ask::post(CHAT, chat("google/gemini-2.5-flash"))).await.status, 200);
}

#[tokio::test]
async fn a_request_too_dear_for_every_key_harms_none_and_says_so() {
    let house = House::new(2, "").await;
    house.silence_probes();
    house.sim.script(Script::always(Play::refuse("402-afford")));
    let (ask, _) = &asks()[0];
    let answer = house.ask(ask).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (503, json!("no_key_left")));
    assert!(answer.text().contains("a smaller one"), "{}", answer.text());
    house.sim.clear_scripts();
    assert_eq!(house.ask(ask).await.status, 200);
}

/// The answer of an account that has too much under way, for so many seconds.
fn busy_for(secs: u64) -> Play {
    let headers = json!({"Retry-After": secs.to_string()}).as_object().cloned();
    let body = json!({"error": {"code": 402, "message": "busy", "metadata": {"reason": "in_flight_budget_exhausted"}}});
    Play { status: Some(402), body: Some(body.to_string()), headers, ..Play::default() }
}

/// A house whose only key is back in so many seconds.
async fn resting_for(secs: u64, settings: &str) -> House {
    const REST: u64 = 10;
    let house = House::new(1, settings).await;
    house.silence_probes();
    house.sim.script(Script::next(busy_for(REST)));
    let begun = Instant::now();
    let refused = house.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")), "{}", refused.text());
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for what is due back so much later");
    house.pass(Duration::from_secs(REST - secs));
    house
}

/// Ask, and let the clock go on while the request is waiting.
async fn ask_and_pass(house: &House, time: Duration) -> Answer {
    let (ask, proxy) = (Ask::post(CHAT, chat(MODEL)), house.proxy);
    let asked = tokio::spawn(async move { ask.send(proxy).await });
    house.until("the request is there", |o| o.in_flight == 1).await;
    // That it has looked for a key cannot be seen from outside. Should it not have, it simply need not wait.
    tokio::time::sleep(Duration::from_millis(50)).await;
    house.pass(time);
    asked.await.unwrap()
}

#[tokio::test]
async fn a_key_due_back_soon_is_waited_for() {
    let house = resting_for(1, "").await;
    let answer = ask_and_pass(&house, Duration::from_secs(1)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(house.went_up().len(), 2);
}

#[tokio::test]
async fn a_request_that_was_refused_waits_for_the_only_key_itself() {
    let house = House::new(1, "").await;
    house.silence_probes();
    house.sim.script(Script::next(busy_for(1)));
    let (ask, proxy) = (Ask::post(CHAT, chat(MODEL)), house.proxy);
    let asked = tokio::spawn(async move { ask.send(proxy).await });
    let limited = |o: &Overview| o.keys[0].state.health == Health::RateLimited;
    house.until("the account is busy", limited).await;
    house.pass(Duration::from_secs(1));
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(house.used(), [0, 0]);
}

#[tokio::test]
async fn one_patience_is_all_a_request_has() {
    // Each rest is short enough by itself, but all together they are not. The clock goes on like everybody's.
    let house = House::new(1, "[upstream]\nwait_for_key_ms = 2500\n").await;
    house.silence_probes();
    house.sim.script(Script::always(busy_for(1)));
    let (ask, proxy) = (Ask::post(CHAT, chat(MODEL)), house.proxy);
    let asked = tokio::spawn(async move { ask.send(proxy).await });
    let begun = Instant::now();
    while !asked.is_finished() && begun.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        house.pass(Duration::from_millis(20));
    }
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (503, json!("all_keys_limited")));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(house.used(), [0, 0], "its second rest is longer than what is left of the patience");
}

#[tokio::test]
async fn a_key_due_back_later_is_not_waited_for() {
    for (secs, settings) in [(3, ""), (1, "[upstream]\nwait_for_key_ms = 0\n")] {
        let house = resting_for(secs, settings).await;
        check(&house, "all_keys_limited", "due back", Some(secs)).await;
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_the_setting_says() {
    // The clock stands still, so the key never comes back.
    let house = resting_for(1, "[upstream]\nwait_for_key_ms = 1500\n").await;
    let begun = Instant::now();
    let answer = house.ask(&Ask::post(CHAT, chat(MODEL))).await;
    let took = begun.elapsed();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_client_that_leaves_while_waiting_costs_nothing() {
    let house = resting_for(2, "").await;
    let mut wire = crate::support::Wire::connect(house.proxy).await;
    let body = chat(MODEL);
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    wire.write(head.as_bytes()).await;
    house.until("the request is there", |o| o.in_flight == 1).await;
    drop(wire);
    house.until("it is noticed", |o| o.in_flight == 0).await;
    assert_eq!(house.went_up().len(), 1, "only the first one went up");
}
