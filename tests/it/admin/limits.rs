//! What donors allow, over the wire: it holds at once, it is shown as it was set, and it survives a restart.

use std::time::Duration;

use potluck::money::Usd;
use potluck::simulator::{Pico, Play, Script};
use serde_json::{Value, json};

use super::{OFFER, call, get, status};
use crate::support::{Answer, Ask, House, MODEL, chat};

const CHAT: &str = "/api/v1/chat/completions";

async fn limit(house: &House, id: &str, limits: Value) -> Value {
    let answer = call(house, "PATCH", &format!("/keys/openrouter/{id}"), &json!({"limits": limits}).to_string()).await;
    assert_eq!(answer.status, 200, "{limits}: {}", answer.text());
    answer.json()
}

async fn ask(house: &House, model: &str) -> Answer {
    house.ask(&Ask::post(CHAT, chat(model))).await
}

/// Which keys served since the log was cleared.
fn served_by(house: &House) -> Vec<Option<usize>> {
    house.went_up().iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn limits_of_a_donation_are_shown_as_they_were_set_and_survive_a_restart() {
    let house = House::new(0, "").await;
    let key = house.sim.funded_key(Pico::usd(10));
    let limits = json!({
        "caps": {"day": 5, "week": 20.25, "month": 60, "total": 100}, "reserve": 1.5, "models": ["openai/*"],
        "concurrency": 4, "paused": false, "expiresAt": "2027-01-01T00:00:00Z",
    });
    let offer = json!({"key": key.text, "limits": limits}).to_string();
    assert_eq!(call(&house, "POST", OFFER, &offer).await.status, 200);
    let shown = get(&house, "/keys").await["keys"][0].take();
    let expected = json!({
        "caps": {"day": "$5.0000", "week": "$20.2500", "month": "$60.0000", "total": "$100.0000"}, "reserve": "$1.5000",
        "models": ["openai/*"], "concurrency": 4, "paused": false, "expiresAt": "2027-01-01T00:00:00Z",
    });
    assert_eq!(shown["limits"], expected);
    let turns: Vec<&Value> = shown["caps"].as_array().expect("caps").iter().map(|cap| &cap["turnsAt"]).collect();
    let midnight = |day: &str| Value::from(format!("{day}T00:00:00Z"));
    assert_eq!(turns, [&midnight("2026-11-25"), &midnight("2026-11-30"), &midnight("2026-12-01"), &Value::Null]);
    let house = house.restart().await;
    assert_eq!(get(&house, "/keys").await["keys"][0]["limits"], expected);
}

#[tokio::test]
async fn a_paused_key_serves_nobody_until_it_is_resumed() {
    let house = House::new(2, "").await;
    let paused = limit(&house, "k1", json!({"paused": true})).await;
    assert_eq!((&paused["gate"], &paused["limits"]["paused"]), (&"paused".into(), &true.into()));
    house.sim.clear_log();
    for _ in 0..4 {
        assert_eq!(ask(&house, MODEL).await.status, 200);
    }
    assert_eq!(served_by(&house), [Some(1); 4]);
    limit(&house, "k2", json!({"paused": true})).await;
    assert_eq!(ask(&house, MODEL).await.status, 503, "nobody is left");
    assert_eq!(limit(&house, "k1", json!({"paused": false})).await["gate"], "open");
    assert_eq!(ask(&house, MODEL).await.status, 200);
}

#[tokio::test]
async fn a_key_serves_the_models_its_donor_allows_and_no_others() {
    let house = House::new(2, "").await;
    limit(&house, "k1", json!({"models": ["anthropic/*"]})).await;
    house.sim.clear_log();
    for _ in 0..3 {
        assert_eq!(ask(&house, MODEL).await.status, 200);
    }
    assert_eq!(served_by(&house), [Some(1); 3]);
    limit(&house, "k1", json!({"models": null})).await;
    house.sim.clear_log();
    for _ in 0..2 {
        assert_eq!(ask(&house, MODEL).await.status, 200);
    }
    assert!(served_by(&house).contains(&Some(0)));
}

#[tokio::test]
async fn an_expired_key_serves_nobody() {
    let house = House::new(1, "").await;
    limit(&house, "k1", json!({"expiresAt": "2026-11-24T12:00:30Z"})).await;
    assert_eq!(ask(&house, MODEL).await.status, 200);
    house.pass(Duration::from_secs(30));
    assert_eq!(ask(&house, MODEL).await.status, 503);
    assert_eq!(get(&house, "/keys").await["keys"][0]["gate"], "expired");
}

#[tokio::test]
async fn a_used_up_cap_takes_a_key_out_until_its_window_turns() {
    let house = House::new(2, "").await;
    assert_eq!(ask(&house, MODEL).await.status, 200, "k1's turn");
    house.until("it is booked", |o| o.requests == 1 && o.in_flight == 0).await;
    let spent = get(&house, "/keys").await["keys"][0]["spentToday"].as_str().expect("an amount").to_owned();
    let amount: f64 = spent.trim_start_matches('$').parse().expect("a number");
    let key = limit(&house, "k1", json!({"caps": {"day": amount}})).await;
    let health = &key["health"];
    assert_eq!((&health["status"], &health["why"]), (&"depleted".into(), &"cap".into()), "{key:#}");
    assert_eq!((&health["until"], &key["gate"]), (&"2026-11-25T00:00:00Z".into(), &"spent".into()));
    let cap = &key["caps"][0];
    assert_eq!((&cap["spent"], &cap["left"]), (&spent.as_str().into(), &"$0.0000".into()));
    assert_eq!(status(&house).await["health"]["depleted"], 1);
    house.sim.clear_log();
    for _ in 0..3 {
        assert_eq!(ask(&house, MODEL).await.status, 200);
    }
    assert_eq!(served_by(&house), [Some(1); 3]);

    house.pass(Duration::from_secs(12 * 60 * 60));
    house
        .until("the window has turned", |o| o.keys.iter().all(|key| key.health == potluck::pool::Health::Healthy))
        .await;
    let key = get(&house, "/keys").await["keys"][0].take();
    assert_eq!((&key["gate"], &key["caps"][0]["left"]), (&"open".into(), &key["caps"][0]["cap"]));
    house.assert_books_balance().await;
}

#[tokio::test]
async fn what_is_under_way_is_held_against_the_cap() {
    let house = House::new(1, "").await;
    limit(&house, "k1", json!({"caps": {"day": 5}})).await;
    house.sim.script(Script::next(Play { delay_head_ms: Some(500), ..Play::default() }));
    let slow = tokio::spawn({
        let (ask, to) = (Ask::post(CHAT, chat(MODEL)), house.proxy);
        async move { ask.send(to).await.status }
    });
    let held = |key: &Value| key["held"] != "$0.0000";
    let mut key = Value::Null;
    for _ in 0..200 {
        key = get(&house, "/keys").await["keys"][0].take();
        if held(&key) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(held(&key), "{key:#}");
    assert_eq!(status(&house).await["held"], key["held"]);
    let dollars = |amount: &Value| Usd::parse(&amount.as_str().expect("an amount").as_bytes()[1..]).expect("exact");
    assert_eq!(dollars(&key["caps"][0]["left"]).saturating_add(dollars(&key["held"])).to_string(), "$5.0000");
    assert_eq!(slow.await.expect("no panic"), 200);
    house.until("it is over", |o| o.in_flight == 0).await;
    let key = get(&house, "/keys").await["keys"][0].take();
    assert_eq!((&key["held"], &key["suspenseMost"]), (&"$0.0000".into(), &"$0.0000".into()));
}

#[tokio::test]
async fn a_key_without_limits_serves_while_the_ledger_has_no_room_for_keys_with_them() {
    let house = House::new(3, "[store]\nqueue_max_entries = 64").await;
    limit(&house, "k1", json!({"caps": {"total": 5}})).await;
    limit(&house, "k3", json!({"caps": {"total": 5}})).await;
    assert_eq!(ask(&house, MODEL).await.status, 200);
    // An answer is booked a moment after its client has it.
    house.until("it is booked", |o| o.in_flight == 0).await;
    house.pot.store().flush().await.expect("durable");
    let half: Vec<_> = std::iter::from_fn(|| house.pot.store().slot_of_strict()).collect();
    assert_eq!(half.len(), 32);
    house.sim.clear_log();
    for _ in 0..4 {
        assert_eq!(ask(&house, MODEL).await.status, 200);
    }
    assert_eq!(served_by(&house), [Some(1); 4]);

    house.until("they are booked", |o| o.in_flight == 0).await;
    house.pot.store().flush().await.expect("durable");
    let rest: Vec<_> = std::iter::from_fn(|| house.pot.store().slot()).collect();
    let full = ask(&house, MODEL).await;
    assert_eq!((full.status, &full.json()["error"]["code"]), (503, &"ledger_full".into()), "nothing is left");
    drop(rest);
    limit(&house, "k2", json!({"paused": true})).await;
    let full = ask(&house, MODEL).await;
    assert_eq!((full.status, &full.json()["error"]["code"]), (503, &"ledger_full".into()), "nobody is left");
    drop(half);
    assert_eq!(ask(&house, MODEL).await.status, 200);
    house.assert_books_balance().await;
}
