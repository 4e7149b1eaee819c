//! The first contract, member by member.

use std::time::Duration;

use potluck::simulator::{Pico, Play, Script};
use serde_json::{Value, json};

use super::{HEALTH, OFFER, call, code, get, mask, status};
use crate::support::{Ask, House, MODEL, chat};

const CHAT: &str = "/api/v1/chat/completions";

#[tokio::test]
async fn the_status_is_the_contracts() {
    let house = House::new(3, "").await;
    for _ in 0..3 {
        assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    }
    house.sim.script(Script::next(Play { status: Some(400), ..Play::refuse("400-model") }));
    assert_eq!(house.ask(&Ask::post(CHAT, chat("no-such/model"))).await.status, 400);
    house.until("all is booked", |o| o.requests == 4 && o.in_flight == 0).await;
    call(&house, "POST", HEALTH, r#"{"id":"k2","status":"depleted"}"#).await;

    let whole = get(&house, "/status").await;
    assert_eq!(whole.as_object().expect("an object").keys().collect::<Vec<_>>(), ["openrouter"]);
    let pool = &whole["openrouter"];
    assert_eq!(pool["totalKeys"], 3);
    let health = json!({"healthy": 2, "depleted": 1, "degraded": 0, "failed": 0, "rate_limited": 0});
    assert_eq!(pool["health"], health);
    let billed = house.sim.bill().total;
    let shown = |text: &Value| text.as_str().expect("an amount").to_owned();
    let today = shown(&pool["stats"]["totalCostToday"]);
    assert_eq!(Pico::parse_usd(today.trim_start_matches('$')), Some(billed), "exact: {today}");
    assert!(today.starts_with('$') && today.split_once('.').is_some_and(|(_, digits)| digits.len() >= 4), "{today}");
    assert_eq!((&pool["stats"]["totalRequests"], &pool["stats"]["successRate"]), (&4.into(), &"75.00%".into()));
    assert_eq!(pool["stats"]["totalCost"], pool["stats"]["totalCostToday"]);

    // What needs to be seen of rotation: the next place, and the key of the latest choice, which was the fourth.
    assert_eq!((&pool["rotation"], &pool["lastKeyId"]), (&"round_robin".into(), &"k1".into()));
    assert_eq!(pool["rotationIndex"], 1);
    let keys = pool["keys"].as_array().expect("keys");
    let costs: Vec<Option<Pico>> =
        keys.iter().map(|key| Pico::parse_usd(shown(&key["spentToday"]).trim_start_matches('$'))).collect();
    assert_eq!(costs, house.sim.bill().keys.iter().map(|line| Some(line.cost)).collect::<Vec<_>>());
    for (key, line) in keys.iter().zip(house.sim.bill().keys) {
        assert_eq!(key["key"], mask(&line.name).as_str());
    }

    // Another day: what was spent today is gone, what was spent in all is not.
    house.pass(Duration::from_secs(24 * 60 * 60));
    let tomorrow = status(&house).await;
    assert_eq!(tomorrow["stats"]["totalCostToday"], "$0.0000");
    assert_eq!(tomorrow["stats"]["totalCost"], today.as_str());
}

#[tokio::test]
async fn all_five_states_can_be_said_and_end_as_the_contract_says() {
    let house = House::new(1, "").await;
    let key = house.sim.bill().keys[0].name.clone();
    let table: [(&str, Option<u64>); 5] =
        [("degraded", Some(5)), ("rate_limited", Some(15)), ("depleted", None), ("failed", None), ("healthy", None)];
    for (state, minutes) in table {
        for by in [json!({"key": key}), json!({"id": "k1"})] {
            let mut word = by;
            word["status"] = state.into();
            word["error"] = "seen by hand".into();
            let answer = call(&house, "POST", HEALTH, &word.to_string()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let answer = answer.json();
            for (member, value) in [("success", json!(true)), ("model", json!("openrouter")), ("status", json!(state))]
            {
                assert_eq!(answer[member], value, "{state}");
            }
            assert_eq!((&answer["key"], &answer["id"]), (&mask(&key).into(), &"k1".into()));
            assert_eq!(answer["health"]["note"], "seen by hand");
            let now = house.clock.now();
            let until = minutes.map(|m| now.after(Duration::from_secs(60 * m)).to_string());
            assert_eq!(answer["health"]["until"], json!(until), "{state}");
            assert_eq!(answer["health"]["since"], now.to_string().as_str());
        }
        let shown = status(&house).await;
        assert_eq!(shown["health"][state], 1, "{shown:#}");
        if let Some(minutes) = minutes {
            house.pass(Duration::from_secs(60 * minutes - 1));
            assert_eq!(status(&house).await["health"][state], 1, "{state} a second before its time");
            house.pass(Duration::from_secs(2));
            assert_eq!(status(&house).await["health"]["healthy"], 1, "{state} ends by itself");
        }
    }
}

#[tokio::test]
async fn failed_is_by_hand_only_and_serves_nobody() {
    let house = House::new(1, "").await;
    call(&house, "POST", HEALTH, r#"{"id":"k1","status":"failed"}"#).await;
    house.pass(Duration::from_secs(30 * 24 * 60 * 60));
    assert_eq!(status(&house).await["health"]["failed"], 1);
    let refused = house.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    call(&house, "POST", HEALTH, r#"{"id":"k1","status":"healthy"}"#).await;
    assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
}

#[tokio::test]
async fn a_cost_told_by_hand_weighs_in_fair_shares_and_never_enters_the_books() {
    let house = House::new(2, "[pool]\nrotation = \"least_spent\"\n").await;
    let told = call(&house, "POST", HEALTH, r#"{"id":"k1","status":"healthy","cost":2.5}"#).await;
    assert_eq!(told.status, 200, "{}", told.text());
    for _ in 0..3 {
        assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    }
    house.until("all is booked", |o| o.requests == 3 && o.in_flight == 0).await;
    let pool = status(&house).await;
    assert_eq!((&pool["keys"][0]["requests"], &pool["keys"][1]["requests"]), (&0.into(), &3.into()));
    assert_eq!(pool["keys"][0]["spentTotal"], "$0.0000");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn keys_are_withdrawn_by_key_and_by_id_and_are_gone_then() {
    let house = House::new(3, "").await;
    let keys: Vec<String> = house.sim.bill().keys.into_iter().map(|line| line.name).collect();
    let by = [json!({"key": keys[0]}), json!({"id": "k2"})];
    for (number, body) in by.iter().enumerate() {
        let answer = call(&house, "DELETE", OFFER, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        assert_eq!((&json["success"], &json["totalKeys"]), (&true.into(), &(2 - number).into()));
        assert_eq!((&json["id"], &json["key"]), (&format!("k{}", number + 1).into(), &mask(&keys[number]).into()));
        let again = call(&house, "DELETE", OFFER, &body.to_string()).await;
        assert_eq!((again.status, code(&again).as_str()), (404, "key_not_found"));
        let word = {
            let mut word = body.clone();
            word["status"] = "healthy".into();
            word
        };
        assert_eq!(call(&house, "POST", HEALTH, &word.to_string()).await.status, 404);
    }
    house.sim.clear_log();
    for _ in 0..3 {
        assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    }
    assert!(house.went_up().iter().all(|entry| entry.key == Some(2)), "the two others are not used any more");
    // Donated anew, a key is a new one: ids are never given twice.
    let again = call(&house, "POST", OFFER, &by[0].to_string()).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &"k4".into()), "{}", again.text());
    assert_eq!(get(&house, "/keys").await["totalKeys"], 2);
    let house = house.restart().await;
    let listed = get(&house, "/keys").await;
    let ids: Vec<&Value> = listed["keys"].as_array().expect("keys").iter().map(|key| &key["id"]).collect();
    assert_eq!(ids, ["k3", "k4"]);
}

#[tokio::test]
async fn liveness_and_readiness_answer_without_a_token_and_nothing_else_does() {
    let house = House::new(0, "").await;
    assert_eq!(get(&house, "/health").await, json!({"status": "ok"}));
    let ready = Ask::get("/ready").send(house.admin).await;
    assert_eq!((ready.status, ready.json()), (503, json!({"ready": false, "reason": "no_key"})));
    house.donate(Pico::usd(1)).await;
    assert_eq!(get(&house, "/ready").await, json!({"ready": true, "reason": null}));
    house.pot.drain();
    let ready = Ask::get("/ready").send(house.admin).await;
    assert_eq!((ready.status, ready.json()), (503, json!({"ready": false, "reason": "draining"})));
    let late = call(&house, "POST", HEALTH, r#"{"id":"k1","status":"failed"}"#).await;
    assert_eq!((late.status, code(&late).as_str()), (503, "draining"), "a successor would not hear of it");
    assert_eq!(late.header("retry-after"), Some("1"));
    assert_eq!(status(&house).await["health"]["healthy"], 1);
}
