//! The control calls: what they do, and what they refuse.

use std::time::Duration;

use super::*;
use crate::simulator::{FIXTURES, error_names};

const CHAT: &str = "/api/v1/chat/completions";

/// One control call on a connection of its own.
async fn control(simulator: &SimulatorHandle, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut client = Client::connect(simulator.addr()).await;
    let answer = client.request(method, &format!("/_sim/{path}"), &[], body.as_bytes()).await;
    (answer.status, answer.json())
}

/// The same, which must go well.
async fn done(simulator: &SimulatorHandle, method: &str, path: &str, body: &str) -> Value {
    let (status, value) = control(simulator, method, path, body).await;
    assert_eq!(status, 200, "{method} {path} {body}: {value}");
    value
}

#[tokio::test]
async fn accounts_and_keys_are_opened_changed_and_listed() {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let opened = done(&simulator, "POST", "accounts", r#"{"credits_usd":"2.5","free_per_day":7}"#).await;
    assert_eq!(opened, json!({"account": 0, "user_id": simulator.user_id(0)}));
    assert_eq!(done(&simulator, "POST", "accounts", "").await["account"], 1, "no body is no wishes");
    let settings = done(&simulator, "PATCH", "accounts/0", r#"{"banned_authors":["openai"]}"#).await;
    assert_eq!((&settings["credits_usd"], &settings["purchased_usd"]), (&json!("2.5"), &json!("2.5")));
    assert_eq!((&settings["free_per_day"], &settings["banned_authors"]), (&json!(7), &json!(["openai"])));
    assert_eq!(done(&simulator, "POST", "accounts/0", r#"{"free_per_day":null}"#).await["free_per_day"], Value::Null);
    assert_eq!(done(&simulator, "GET", "accounts/", "").await[0]["settings"]["banned_authors"], json!(["openai"]));

    let made = done(&simulator, "POST", "keys", r#"{"account":0,"limit_usd":1,"limit_reset":"daily"}"#).await;
    let key = SimKey { index: 0, account: 0, text: made["key"].as_str().expect("a key").to_owned() };
    assert_eq!(made, json!({"index": 0, "account": 0, "key": key.text}));
    assert!(key.text.starts_with("sk-or-v1-") && key.text.len() == 73, "{}", key.text);
    assert_eq!(ask(&simulator, &key, "sim/play?cost=0.25").await.0, 200);
    assert_eq!(ask(&simulator, &key, "openai/gpt-4o-mini").await.1, "Author openai is banned");
    let mut shown = done(&simulator, "GET", "keys", "").await[0].take();
    assert_eq!(shown["settings"].take()["limit_reset"], "daily");
    let expected = json!({"index": 0, "account": 0, "key": key.text, "settings": null, "used_usd": "0.25",
        "remaining_usd": "0.75", "generations": 1});
    assert_eq!(shown, expected);
    let shown = done(&simulator, "GET", "accounts", "").await[0].clone();
    assert_eq!(["balance_usd", "used_usd", "held_usd"].map(|name| &shown[name]), ["2.25", "0.25", "0"]);
    assert_eq!(shown["running"], 0);
    done(&simulator, "PATCH", "keys/0", r#"{"disabled":true}"#).await;
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 401);
}

#[tokio::test]
async fn a_running_call_is_shown_and_released() {
    let (simulator, key) = simulator().await;
    let mut client = Client::connect(simulator.addr()).await;
    let body = chat("sim/play?hold_usage=true", true);
    client.send_post(CHAT, &key.text, &[], &body).await;
    client.head().await.expect("a head");
    let account = done(&simulator, "GET", "accounts", "").await[0].clone();
    let estimate = Pico(127_037) * (body.to_string().len() as u64 / 4) + Pico(390_001) * 50;
    assert_eq!((&account["running"], &account["held_usd"]), (&json!(1), &json!(estimate.to_string())));
    assert_eq!(done(&simulator, "GET", "bill", "").await["running"], 1);
    assert_eq!(done(&simulator, "POST", "release", "").await, json!({"released": true}));
    client.last_chunk().await;
    let account = done(&simulator, "GET", "accounts", "").await[0].clone();
    assert_eq!((&account["running"], &account["held_usd"]), (&json!(0), &json!("0")));
}

#[tokio::test]
async fn scripts_are_ordered_listed_used_up_and_withdrawn() {
    let (simulator, key) = simulator().await;
    let other = simulator.funded_key(Pico::usd(1));
    for (order, count) in [
        (r#"{"model":"sim/echo","skip":1,"play":{"error":"500"}}"#, 1),
        (r#"{"account":1,"times":0,"play":{"error":"503"}}"#, 2),
        (r#"{"path":"/api/v1/key","key":0,"play":{"error":"401-user"}}"#, 3),
    ] {
        assert_eq!(done(&simulator, "POST", "scripts", order).await, json!({"scripts": count}));
    }
    let listed = done(&simulator, "GET", "scripts", "").await;
    assert_eq!((&listed[0]["skip"], &listed[0]["times"]), (&json!(1), &json!(1)));
    assert_eq!((&listed[1]["times"], &listed[1]["play"]["error"]), (&json!(0), &json!("503")));

    let mut got = Vec::new();
    for (key, model) in [(&key, "sim/echo"), (&key, "sim/play"), (&key, "sim/echo"), (&key, "sim/echo")] {
        got.push(ask(&simulator, key, model).await.0);
    }
    for _ in 0..3 {
        got.push(ask(&simulator, &other, "sim/play").await.0);
    }
    assert_eq!(got, [200, 200, 500, 200, 503, 503, 503]);
    assert_eq!(get(&simulator, "/api/v1/key", &other.text).await.status, 200);
    assert_eq!(get(&simulator, "/api/v1/key", &key.text).await.status, 401);
    assert_eq!(get(&simulator, "/api/v1/key", &key.text).await.status, 200);
    assert_eq!(done(&simulator, "DELETE", "scripts", "").await, json!({"scripts": 0}));
    assert_eq!(ask(&simulator, &other, "sim/play").await.0, 200);
}

#[tokio::test]
async fn the_log_holds_every_request_and_no_control_call() {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let key = simulator.funded_key(Pico::usd(1));
    assert_eq!(ask(&simulator, &key, "sim/error-402-credits").await.0, 402);
    let mut client = Client::connect(simulator.addr()).await;
    client.request("GET", "/api/v1/models?limit=1", &[("X-Twice", "a"), ("x-twice", "b")], b"").await;
    done(&simulator, "GET", "clock", "").await;
    let log = done(&simulator, "GET", "log", "").await;
    assert_eq!(done(&simulator, "GET", "log", "").await, log, "looking changes nothing");
    let names = ["number", "method", "target", "key", "status", "at_ms"];
    let now = at("2026-11-25T12:00:00Z").as_millis();
    let entries: Vec<Value> = log.as_array().expect("a log").iter().map(|e| json!(names.map(|n| &e[n]))).collect();
    let expected = [json!([0, "POST", CHAT, 0, 402, now]), json!([1, "GET", "/api/v1/models?limit=1", null, 200, now])];
    assert_eq!(entries, expected);
    assert_ne!(log[0]["connection"], log[1]["connection"]);
    let twice = json!([["host", "sim"], ["content-length", "0"], ["x-twice", "a"], ["x-twice", "b"]]);
    assert_eq!(log[1]["headers"], twice);
    assert_eq!(log[0]["body_len"], chat("sim/error-402-credits", false).to_string().len());
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(log[1]["body_sha256"], nothing);

    assert_eq!(done(&simulator, "DELETE", "log", "").await, json!({"received": 2}));
    assert_eq!(done(&simulator, "GET", "log", "").await, json!([]));
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 200);
    assert_eq!(done(&simulator, "GET", "log", "").await[0]["number"], 2);
}

#[tokio::test]
async fn the_bill_is_in_whole_pico_dollars() {
    let (simulator, key) = simulator().await;
    assert_eq!(ask(&simulator, &key, "sim/play?cost=7.669e-7").await.0, 200);
    assert_eq!(ask(&simulator, &key, "sim/play?cost=0&own_key_cost=0.00197").await.0, 200);
    let bill = done(&simulator, "GET", "bill", "").await;
    let line = |name: &str| json!({"index": 0, "name": name, "generations": 2, "cost_pico": "766900", "own_key_cost_pico": "1970000000"});
    assert_eq!(bill["keys"], json!([line(&key.text)]));
    assert_eq!(bill["accounts"], json!([line(&simulator.user_id(0).expect("a user"))]));
    assert_eq!((&bill["total_pico"], &bill["running"]), (&json!("766900"), &json!(0)));
    let names = ["key", "api", "status", "cost_pico", "own_key_cost_pico"];
    let calls = bill["generations"].as_array().expect("calls").iter();
    let calls: Vec<Value> = calls.map(|call| json!(names.map(|name| &call[name]))).collect();
    let expected = [json!([0, "chat", "complete", "766900", null]), json!([0, "chat", "complete", "0", "1970000000"])];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn the_clock_is_set_three_ways() {
    let simulator = simulator_at("2026-11-25T12:00:00Z").await;
    let start = at("2026-11-25T12:00:00Z").as_millis();
    for (method, body, offset) in [
        ("GET", "", 0),
        ("POST", r#"{"advance_ms":1500}"#, 1500),
        ("POST", r#"{"advance_ms":-500}"#, 1000),
        ("POST", r#"{"offset_ms":-7}"#, -7),
        ("POST", r#"{"now_ms":1795996799999}"#, 1_795_996_799_999 - start),
        ("GET", "", 1_795_996_799_999 - start),
    ] {
        let clock = done(&simulator, method, "clock", body).await;
        assert_eq!(clock, json!({"now_ms": start + offset, "offset_ms": offset}), "{body}");
    }
    let date = get(&simulator, "/api/v1/models", "").await;
    assert_eq!(date.header("date"), Some("Sun, 29 Nov 2026 23:59:59 GMT"));
}

#[tokio::test]
async fn the_port_closes_for_as_long_as_it_is_told() {
    let (simulator, key) = simulator().await;
    for (drop, survives) in [(false, true), (true, false)] {
        let mut open = Client::connect(simulator.addr()).await;
        assert_eq!(open.request("GET", "/api/v1/models", &[], b"").await.status, 200);
        let order = json!({"up": false, "drop": drop, "for_ms": 60_000}).to_string();
        assert_eq!(done(&simulator, "POST", "listener", &order).await, json!({"up": false}));
        while tokio::net::TcpStream::connect(simulator.addr()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(open.request("GET", "/api/v1/models", &[], b"").await.status == 200, survives, "drop: {drop}");
        if survives {
            assert_eq!(open.request("POST", "/_sim/listener", &[], br#"{"up":true}"#).await.status, 200);
        }
        simulator.open_port().await;
    }
    let mut open = Client::connect(simulator.addr()).await;
    done(&simulator, "POST", "listener", r#"{"up":false,"drop":true,"for_ms":5}"#).await;
    assert!(!open.fill().await, "dropped");
    while tokio::net::TcpStream::connect(simulator.addr()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 200, "it came back by itself");
}

#[tokio::test]
async fn a_reset_forgets_everything_and_the_seed_repeats_the_keys() {
    let (simulator, key) = simulator().await;
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 200);
    done(&simulator, "POST", "scripts", r#"{"play":{"error":"500"}}"#).await;
    done(&simulator, "POST", "clock", r#"{"offset_ms":86400000}"#).await;
    assert_eq!(done(&simulator, "POST", "reset", "").await, json!({"reset": true}));
    for list in ["accounts", "keys", "scripts", "log"] {
        assert_eq!(done(&simulator, "GET", list, "").await, json!([]), "{list}");
    }
    assert_eq!(done(&simulator, "GET", "bill", "").await["total_pico"], "0");
    assert_eq!(done(&simulator, "GET", "clock", "").await["offset_ms"], 0);
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 401);
    assert_eq!(simulator.funded_key(Pico::usd(5)), key);
}

#[tokio::test]
async fn errors_and_fixtures_are_listed() {
    let (simulator, _) = simulator().await;
    let errors = done(&simulator, "GET", "errors", "").await;
    assert_eq!(errors, json!(error_names().collect::<Vec<_>>()));
    assert_eq!(errors[0], "400-model");
    let fixtures = done(&simulator, "GET", "fixtures", "").await;
    assert_eq!(fixtures.as_object().map(serde_json::Map::len), Some(FIXTURES.len()));
    assert_eq!(fixtures["sim/fixture-16-gzip"], "gzip");
}

#[tokio::test]
async fn wrong_input_is_refused_with_the_reason() {
    let (simulator, key) = simulator().await;
    let before = done(&simulator, "GET", "accounts", "").await;
    for (method, path, body, status, reason) in [
        ("POST", "accounts", "{", 400, "EOF while parsing"),
        ("POST", "accounts", "[]", 400, "invalid type: sequence"),
        ("POST", "accounts", r#"{"credit":1}"#, 400, "unknown field `credit`"),
        ("POST", "accounts", r#"{"credits_usd":"five"}"#, 400, "not an amount in dollars: five"),
        (
            "POST",
            "accounts",
            r#"{"workspace_budget":{"limit_usd":1,"reset":"hourly"}}"#,
            400,
            "unknown variant `hourly`",
        ),
        ("PATCH", "accounts/0", r#"{"colour":1}"#, 400, "unknown field `colour`"),
        ("PATCH", "accounts/0", r#"{"free_per_minute":null}"#, 400, "invalid type: null"),
        ("PATCH", "accounts/x", "{}", 400, "not an index"),
        ("PATCH", "accounts/1", "{}", 404, "no such account"),
        ("POST", "keys", "{}", 400, "account is missing"),
        ("POST", "keys", r#"{"account":"0"}"#, 400, "account is missing"),
        ("POST", "keys", r#"{"account":1}"#, 404, "no such account"),
        ("POST", "keys", r#"{"account":0,"limit":1}"#, 400, "unknown field `limit`"),
        ("PATCH", "keys/1", "{}", 404, "no such key"),
        ("POST", "scripts", r#"{"play":{"gap":1}}"#, 400, "unknown field `gap`"),
        ("POST", "scripts", r#"{"play":{"fault":"fire"}}"#, 400, "fire: no such fault"),
        ("POST", "scripts", r#"{"play":{"error":"402-money"}}"#, 400, "no error is called 402-money"),
        ("POST", "clock", "{}", 400, "invalid value: map, expected map with a single key"),
        ("POST", "clock", r#"{"now_ms":1,"advance_ms":1}"#, 400, "invalid value: map, expected map with a single key"),
        ("POST", "clock", r#"{"now":1}"#, 400, "unknown variant `now`"),
        ("POST", "clock", r#"{"now_ms":"noon"}"#, 400, "invalid type: string \"noon\""),
        ("POST", "clock", r#"{"advance_ms":9223372036854775807}"#, 400, "not a time from 1970 to 9999"),
        ("POST", "clock", r#"{"now_ms":-1}"#, 400, "not a time from 1970 to 9999"),
        ("POST", "listener", "{}", 400, "missing field `up`"),
        ("POST", "listener", r#"{"up":"no"}"#, 400, "invalid type: string \"no\""),
        ("POST", "listener", r#"{"up":false}"#, 400, "for_ms is missing"),
        ("POST", "listener", r#"{"up":false,"for":5}"#, 400, "unknown field `for`"),
        ("GET", "reset", "", 404, "no such control call"),
        ("DELETE", "accounts/0", "", 404, "no such control call"),
        ("GET", "", "", 404, "no such control call"),
        ("GET", "../_simulate", "", 404, "no such control call"),
    ] {
        let (got, value) = control(&simulator, method, path, body).await;
        let message = value["error"]["message"].as_str().unwrap_or_default();
        assert!(got == status && message.starts_with(reason), "{method} {path} {body}: {got} {value}");
    }
    let mut client = Client::connect(simulator.addr()).await;
    assert_eq!(client.request("GET", "/_simaccounts", &[], b"").await.status, 404);
    assert_eq!(done(&simulator, "GET", "accounts", "").await, before, "nothing of it was done");
    assert_eq!(ask(&simulator, &key, "sim/echo").await.0, 200);
}

#[tokio::test]
async fn orders_in_requests_that_make_no_sense_are_told_apart_from_openrouter_s_answers() {
    let (simulator, key) = simulator().await;
    for (model, reason) in [
        ("sim/error-402-money", "simulator: no error is called 402-money"),
        ("sim/fixture-99", "simulator: no fixture is called 99"),
        ("sim/play?gap=1", "simulator: unknown field `gap`"),
        ("sim/play?gap_ms=soon", "simulator: invalid type: string \"soon\""),
    ] {
        let (status, message) = ask(&simulator, &key, model).await;
        assert!(status == 400 && message.starts_with(reason), "{model}: {status} {message}");
    }
    let script = crate::simulator::Script::next(crate::simulator::Play::refuse("402-money"));
    simulator.script(script.on_path("/api/v1/key"));
    let answer = get(&simulator, "/api/v1/key", &key.text).await;
    assert_eq!(answer.json()["error"]["message"], "simulator: no error is called 402-money");
    assert!(simulator.bill().generations.is_empty());
}
