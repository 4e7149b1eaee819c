//! Donating keys: what is taken, what is not and why, and what happens while OpenRouter cannot be asked.

use std::time::Duration;

use potluck::pool::Health;
use potluck::simulator::{AccountSettings, KeySettings, Pico};
use serde_json::{Value, json};

use super::{OFFER, call, code, get, mask, status};
use crate::support::{Ask, House, MODEL, chat};

async fn donate(house: &House, offer: &Value) -> crate::support::Answer {
    call(house, "POST", OFFER, &offer.to_string()).await
}

#[tokio::test]
async fn a_donated_key_is_checked_for_free_masked_and_used() {
    let house = House::new(0, "").await;
    let key = house.sim.funded_key(Pico::usd(10));
    let offer = json!({"key": key.text, "donorId": "d-7", "donorName": "Ann", "label": "alice"});
    let answer = donate(&house, &offer).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!((&json["success"], &json["model"], &json["totalKeys"]), (&true.into(), &"openrouter".into(), &1.into()));
    assert_eq!((&json["id"], &json["key"], &json["verified"]), (&"k1".into(), &mask(&key.text).into(), &true.into()));
    assert!(json["message"].as_str().is_some_and(|text| text.contains("confirmed by OpenRouter")), "{json}");
    let asked: Vec<String> = house.sim.log().into_iter().map(|entry| entry.method).collect();
    assert!(!asked.is_empty() && asked.iter().all(|method| method == "GET"), "only free questions: {asked:?}");
    assert_eq!(house.sim.bill().total, Pico::ZERO);

    let listed = get(&house, "/keys").await;
    let shown = &listed["keys"][0];
    for (member, value) in [("label", "alice"), ("donorId", "d-7"), ("donorName", "Ann"), ("key", &mask(&key.text))] {
        assert_eq!(shown[member], value, "{member}");
    }
    assert_eq!(house.ask(&Ask::post("/api/v1/chat/completions", chat(MODEL))).await.status, 200);

    let again = donate(&house, &offer).await;
    assert_eq!((again.status, code(&again).as_str()), (409, "key_present"));
    assert_eq!((&again.json()["error"]["id"], &again.json()["success"]), (&"k1".into(), &false.into()));
    assert_eq!(status(&house).await["totalKeys"], 1);
    let everything = [answer.everything(), again.everything(), listed.to_string()].concat();
    for run in key.text.trim_start_matches("sk-or-v1-").as_bytes().windows(8) {
        let run = std::str::from_utf8(run).expect("hex");
        assert!(!everything.contains(run), "{run} of the key is in: {everything}");
    }
}

#[tokio::test]
async fn keys_that_cannot_serve_are_refused_with_the_reason() {
    let house = House::new(1, "").await;
    let account = house.sim.open_account(AccountSettings::default());
    let make = |settings: KeySettings| house.sim.make_key(account, settings).text;
    let long = format!("sk-or-v1-{}", "a".repeat(1000));
    let unknown = format!("sk-or-v1-{}", "0123456789abcdef".repeat(4));
    let before = get(&house, "/keys").await;
    // What is offered; the code, and a part of the reason.
    let table: Vec<(String, &str, &str)> = vec![
        (make(KeySettings { management: true, ..KeySettings::default() }), "key_manages", "ordinary API key"),
        (make(KeySettings { disabled: true, ..KeySettings::default() }), "key_rejected", "disabled"),
        (make(KeySettings { expires_at_ms: Some(1), ..KeySettings::default() }), "key_rejected", "expired"),
        (unknown, "key_rejected", "unknown"),
        ("sk-ant-api03-0123456789".into(), "key_malformed", "sk-or-v1-"),
        ("sk-proj-0123456789".into(), "key_malformed", "sk-or-v1-"),
        ("sk-or-v1-".into(), "key_malformed", ""),
        ("sk-or-v1-0123 456".into(), "key_malformed", ""),
        ("sk-or-v1-0123\r\nx: y".into(), "key_malformed", ""),
        (String::new(), "key_malformed", ""),
        (long, "key_malformed", ""),
    ];
    for (key, expected, reason) in table {
        house.sim.clear_log();
        let answer = donate(&house, &json!({"key": key})).await;
        assert_eq!((answer.status, code(&answer).as_str()), (400, expected), "{key}: {}", answer.text());
        let error = answer.json()["error"].take();
        assert_eq!(error["field"], "key");
        let message = error["message"].as_str().expect("a message");
        assert!(!message.is_empty() && message.contains(reason), "{expected}: {message}");
        assert!(key.len() < 20 || !answer.text().contains(&key[12..]), "{}", answer.text());
        if expected == "key_malformed" {
            assert_eq!(house.sim.log().len(), 0, "nothing that is no key goes up");
        }
    }
    let after = get(&house, "/keys").await;
    assert_eq!(after["totalKeys"], before["totalKeys"]);
}

#[tokio::test]
async fn while_openrouter_is_down_a_donation_is_taken_unverified_and_checked_later() {
    let house = House::new(0, "").await;
    let account = house.sim.open_account(AccountSettings::with_balance(Pico::usd(10)));
    let good = house.sim.make_key(account, KeySettings::default());
    let managing = house.sim.make_key(account, KeySettings { management: true, ..KeySettings::default() });
    let dead = house.sim.make_key(account, KeySettings { disabled: true, ..KeySettings::default() });
    house.sim.close_port(true).await;
    for (number, key) in [&good, &managing, &dead].into_iter().enumerate() {
        let answer = donate(&house, &json!({"key": key.text})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        assert_eq!((&json["verified"], &json["totalKeys"]), (&false.into(), &(number + 1).into()));
        assert!(json["message"].as_str().is_some_and(|text| text.contains("not confirmed yet")), "{json}");
    }
    assert!(get(&house, "/keys").await["keys"].as_array().expect("keys").iter().all(|key| key["verified"] == false));

    house.sim.open_port().await;
    // Questions without an answer are asked again at growing intervals.
    house.pass(Duration::from_secs(600));
    let of = |o: &potluck::pot::Overview, n: usize| (o.keys[n].state.verified, o.keys[n].state.health);
    house.until("the good one is confirmed", |o| of(o, 0) == (true, Health::Healthy)).await;
    house.until("the management key is taken out", |o| of(o, 1).1 == Health::Failed).await;
    house.until("the dead one is taken out", |o| of(o, 2).1 != Health::Healthy).await;
    let listed = get(&house, "/keys").await;
    assert_eq!(listed["keys"][0]["verified"], true);
    assert!(listed["keys"][0]["account"].is_string(), "{listed:#}");
    assert!(listed["keys"][1]["health"]["note"].as_str().is_some_and(|note| note.contains("management")), "{listed:#}");
    house.sim.clear_log();
    for _ in 0..3 {
        let answer = house.ask(&Ask::post("/api/v1/chat/completions", chat(MODEL))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(house.went_up().iter().all(|entry| entry.key == Some(good.index)));
}

#[tokio::test]
async fn the_same_key_donated_many_times_at_once_is_in_the_pool_once() {
    let house = House::new(0, "").await;
    let key = house.sim.funded_key(Pico::usd(10));
    let offer = Ask::post(OFFER, json!({"key": key.text}).to_string());
    let offers = (0..8).map(|_| {
        let (offer, to) = (offer.clone(), house.admin);
        tokio::spawn(async move { offer.send(to).await })
    });
    let mut statuses = Vec::new();
    for answer in offers.collect::<Vec<_>>() {
        statuses.push(answer.await.expect("no panic").status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(status(&house).await["totalKeys"], 1);
}
