//! Streams of clients: how many at a time, and their end when the key is revoked.

use std::time::Duration;

use potluck::clock::Tick;
use serde_json::json;

use super::*;
use crate::support::{Reading, Wire, chat_stream};

/// Goes on for as long as it is listened to.
const ENDLESS: &str = "sim/play?gap_ms=20&output_tokens=5000&stops_on_cancel=true";

#[tokio::test]
async fn a_revoked_clients_streams_end_within_a_second_and_are_settled() {
    let house = House::new(1, PATIENT).await;
    let (ann, bob) = (house.client(json!({"name": "ann"})).await, house.client(json!({"name": "bob"})).await);
    let token = text(&house.token(&ann.key, None).await.json(), "token");
    let stream = |credential: &str, model: &str| bearing(Ask::post(CHAT, chat_stream(model)), credential);
    let mut by_key = stream(&ann.key, ENDLESS).open(house.proxy).await;
    let mut by_token = stream(&token, ENDLESS).open(house.proxy).await;
    // This one is not read: the answer waits in the sockets on the way.
    let unread = stream(&ann.key, "sim/echo?text_bytes=12000000&stops_on_cancel=true").open(house.proxy).await;
    let mut other = stream(&bob.key, ENDLESS).open(house.proxy).await;
    for reading in [&mut by_key, &mut by_token, &mut other] {
        assert_eq!(reading.status, 200);
        assert!(reading.chunk().await.is_some_and(|chunk| chunk.is_ok()));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(Ask::get("/clients/c1").send(house.admin).await.json()["inFlight"], 3);

    let revoked = Tick::now();
    house.revoke(&ann).await;
    for reading in [by_key, by_token] {
        assert!(!reading.rest().await.whole, "it looks broken");
    }
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    while clients_in_flight(&house).await + house.pot.requests_underway() > 2 {
        assert!(revoked.elapsed() < Duration::from_secs(1), "all of them");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!unread.rest().await.whole);
    for _ in 0..5 {
        assert!(other.chunk().await.is_some_and(|chunk| chunk.is_ok()), "others go on");
    }
    drop(other);
    house.booked().await;
    house.pass(Duration::from_secs(10));
    let lines = Ask::get("/ledger?client=c1&outcome=client_gone").send(house.admin).await.json();
    let attempts = lines["entries"].as_array().expect("lines").iter().filter(|line| line["kind"] == "attempt").count();
    assert_eq!(attempts, 3, "as when a client hangs up: {lines}");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_ends_as_well() {
    let house = House::new(1, PATIENT).await;
    let ann = house.client(json!({"name": "ann"})).await;
    let slow = bearing(Ask::post(CHAT, chat("sim/play?delay_head_ms=5000")), &ann.key);
    let proxy = house.proxy;
    let asked = tokio::spawn(async move { slow.open(proxy).await.status });
    while house.went_up().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let revoked = Tick::now();
    house.revoke(&ann).await;
    assert_eq!(asked.await.expect("no panic"), 0, "closed without an answer");
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    house.assert_books_balance().await;
}

/// A connection listens from its first request on: what was entered then counts for a later one, of the same client only.
#[tokio::test]
async fn a_later_request_of_a_connection_ends_as_well_and_nobody_elses_does() {
    let house = House::new(1, PATIENT).await;
    let (ann, bob) = (house.client(json!({"name": "ann"})).await, house.client(json!({"name": "bob"})).await);
    let (mut of_ann, mut of_bob) = (after(&house, &ann.key, &ann.key).await, after(&house, &ann.key, &bob.key).await);
    let revoked = Tick::now();
    house.revoke(&ann).await;
    while of_ann.chunk().await.is_some_and(|chunk| chunk.is_ok()) {}
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    for _ in 0..5 {
        assert!(of_bob.chunk().await.is_some_and(|chunk| chunk.is_ok()), "others go on");
    }
    drop((of_ann, of_bob));
    house.booked().await;
    house.pass(Duration::from_secs(10));
    house.assert_books_balance().await;
}

/// A stream with one key, on a connection that has served a request with another.
async fn after(house: &House, first: &str, then: &str) -> Reading {
    let whole = bearing(Ask::post(CHAT, chat("sim/play")), first).open(house.proxy).await;
    let (answer, wire) = whole.rest_and_wire().await;
    assert_eq!((answer.status, answer.whole), (200, true));
    let mut stream = wire.ask(&bearing(Ask::post(CHAT, chat_stream(ENDLESS)), then)).await;
    assert_eq!(stream.status, 200);
    assert!(stream.chunk().await.is_some_and(|chunk| chunk.is_ok()));
    stream
}

#[tokio::test]
async fn nothing_is_spent_for_a_client_revoked_while_its_body_comes_in() {
    let house = House::new(1, PATIENT).await;
    let ann = house.client(json!({"name": "ann"})).await;
    let body = chat(MODEL);
    let head =
        format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nx-api-key: {}\r\nContent-Length: {}\r\n\r\n", ann.key, body.len());
    let mut wire = Wire::connect(house.proxy).await;
    wire.write(&[head.as_bytes(), &body.as_bytes()[..20]].concat()).await;
    while clients_in_flight(&house).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.revoke(&ann).await;
    wire.write(&body.as_bytes()[20..]).await;
    assert_eq!(wire.until_closed().await, b"");
    assert!(house.went_up().is_empty());
}

#[tokio::test]
async fn a_client_has_so_many_requests_at_a_time() {
    let house = House::new(1, PATIENT).await;
    let ann = house.client(json!({"name": "ann", "concurrency": 2})).await;
    let bob = house.client(json!({"name": "bob"})).await;
    let token = text(&house.token(&ann.key, None).await.json(), "token");
    let stream = |credential: &str| bearing(Ask::post(CHAT, chat_stream(ENDLESS)), credential);
    let first = stream(&ann.key).open(house.proxy).await;
    let second = stream(&token).open(house.proxy).await;
    assert_eq!((first.status, second.status), (200, 200));
    for (path, place, expected) in [
        (CHAT, "/error/code", "client_busy"),
        ("/v1/responses", "/error/code", "client_busy"),
        ("/v1/messages", "/error/type", "rate_limit_error"),
    ] {
        for credential in [&ann.key, &token] {
            let answer = house.ask(&bearing(Ask::post(path, chat(MODEL)), credential)).await;
            let code = answer.json().pointer(place).and_then(|code| code.as_str()).map(str::to_owned);
            assert_eq!((answer.status, code.as_deref()), (429, Some(expected)), "{}", answer.text());
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    assert_eq!(house.ask(&bearing(Ask::get("/v1/models"), &ann.key)).await.status, 200, "lists are not counted");
    assert_eq!(house.ask(&ask(&bob.key)).await.status, 200);
    drop(first);
    let started = Tick::now();
    while house.ask(&ask(&ann.key)).await.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(5), "a place is free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Requests that clients have under way.
async fn clients_in_flight(house: &House) -> u32 {
    let clients = house.pot.clients().await.expect("readable");
    clients.iter().map(|client| client.tab.in_flight).sum()
}
