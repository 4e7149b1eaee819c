//! Bodies of any size through several keys, byte for byte; bounds on bodies; answers without delay.

use std::fmt::Write as _;

use potluck::pool::Health;
use potluck::simulator::{Fault, Play, Script};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{Answer, Ask, House, MODEL, Wire, chat, chat_stream};

const CHAT: &str = "/api/v1/chat/completions";
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A chat request of about that size, in which no part is like another.
fn big_chat(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 64);
    let mut number = 0u64;
    while text.len() < bytes {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        write!(text, "{number:016x}\\né").unwrap();
    }
    format!(r#"{{"model":"{MODEL}", "max_tokens":16,  "messages":[{{"role":"user","content":"{text}"}}] }}"#)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// Through three keys, the first two of which refuse.
async fn through_three_keys(size: usize, chunk: Option<usize>) {
    let house = House::new(3, "").await;
    for key in [0, 1] {
        house.sim.edit_account(key, |account| account.credits_usd = potluck::simulator::Pico::ZERO);
    }
    let body = big_chat(size);
    let plain = Ask::post(CHAT, body.clone());
    let ask = match chunk {
        Some(chunk) => plain.chunked(chunk),
        None => plain,
    };
    let answer = house.ask(&ask).await;
    assert_eq!((answer.status, answer.whole), (200, true), "{size} {chunk:?}: {}", answer.text());
    let up: Vec<_> = house.went_up().into_iter().map(|e| (e.key, e.body_len, e.body_sha256, e.status)).collect();
    let sent = |key, status| (Some(key), body.len() as u64, sha256(body.as_bytes()), Some(status));
    assert_eq!(up, [sent(0, 402), sent(1, 402), sent(2, 200)], "{size} {chunk:?}");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn bodies_of_100_kb_go_through_three_keys_byte_for_byte() {
    for chunk in [None, Some(64 * KIB), Some(1000)] {
        through_three_keys(100 * KIB, chunk).await;
    }
}

#[tokio::test]
async fn bodies_of_2_mb_go_through_three_keys_byte_for_byte() {
    for chunk in [None, Some(16 * KIB), Some(3 * MIB)] {
        through_three_keys(2 * MIB, chunk).await;
    }
}

#[tokio::test]
async fn bodies_of_20_mb_go_through_three_keys_byte_for_byte() {
    through_three_keys(20 * MIB, None).await;
}

#[tokio::test]
async fn chunked_bodies_of_20_mb_go_through_three_keys_byte_for_byte() {
    through_three_keys(20 * MIB, Some(256 * KIB)).await;
}

#[tokio::test]
async fn a_refusal_that_comes_while_the_body_is_still_being_sent_is_understood() {
    let house = House::new(3, "").await;
    for key in [0, 1] {
        let early = Play { early: Some(true), ..Play::refuse("402-credits") };
        house.sim.script(Script::always(early).on_key(key));
    }
    house.silence_probes();
    let body = big_chat(8 * MIB);
    let answer = house.ask(&Ask::post(CHAT, body.clone())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(house.used(), [0, 1, 2]);
    assert_eq!(house.went_up()[2].body_sha256, sha256(body.as_bytes()));
    let health: Vec<_> = house.told().await.into_iter().map(|told| told.0).collect();
    assert_eq!(health, [Health::Depleted, Health::Depleted, Health::Healthy]);
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_connection_with_half_a_body_in_it_is_not_used_again() {
    let house = House::new(2, "").await;
    let early = Play { early: Some(true), early_keeps: Some(true), ..Play::refuse("402-credits") };
    house.sim.script(Script::next(early).on_key(0));
    house.silence_probes();
    let body = big_chat(8 * MIB);
    assert_eq!(house.ask(&Ask::post(CHAT, body.clone())).await.status, 200);
    let went_up = house.went_up();
    assert_eq!(went_up.len(), 2);
    assert_ne!(went_up[0].connection, went_up[1].connection, "the rest of the first body is still due there");
    assert_eq!(went_up[1].body_sha256, sha256(body.as_bytes()));
    assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
}

#[tokio::test]
async fn a_body_that_no_key_can_pay_for_is_refused_once_and_held_no_longer() {
    // Twice the body is more than the budget: each must give back what it held.
    let house = House::new(1, "[proxy]\nbody_budget_bytes = 3145728\nbody_max_bytes = 3145728\n").await;
    house.silence_probes();
    house.sim.script(Script::always(Play::refuse("402-afford")));
    for _ in 0..4 {
        let answer = house.ask(&Ask::post(CHAT, big_chat(2 * MIB))).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].clone()), (503, json!("no_key_left")));
    }
}

const SMALL: &str = "[proxy]\nbody_max_bytes = 65536\n";

fn check_too_large(answer: &Answer, kind: &str) {
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]["code"]), (413, &json!("body_too_large")), "{body}");
    assert_eq!(body["error"]["type"], kind, "in the endpoint's dialect");
    assert!(body["error"]["message"].as_str().unwrap().contains("65536"), "{body}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_never_sent_up() {
    let house = House::new(1, SMALL).await;
    for size in [64 * KIB + 1, 2 * MIB] {
        let body = "x".repeat(size);
        for ask in [Ask::post(CHAT, body.clone()), Ask::post(CHAT, body.clone()).chunked(KIB * 10)] {
            check_too_large(&house.ask(&ask).await, "invalid_request_error");
        }
        check_too_large(&house.ask(&Ask::post("/v1/messages", body)).await, "request_too_large");
    }
    let fits = big_chat(60 * KIB);
    assert!(fits.len() < 64 * KIB);
    assert_eq!(house.ask(&Ask::post(CHAT, fits)).await.status, 200);
    assert_eq!(house.went_up().len(), 1);
}

#[tokio::test]
async fn a_body_announced_too_large_is_refused_before_it_is_sent() {
    let house = House::new(1, SMALL).await;
    let mut wire = Wire::connect(house.proxy).await;
    wire.write(format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n").as_bytes()).await;
    check_too_large(&wire.head().await.rest().await, "invalid_request_error");
}

#[tokio::test]
async fn bodies_together_are_bounded_and_give_back_what_they_held() {
    let house = House::new(1, "[proxy]\nbody_budget_bytes = 262144\nbody_max_bytes = 262144\n").await;
    house.sim.script(Script::next(Play { fault: Some(Fault::StallBeforeHead), ..Play::default() }));
    let big = Ask::post(CHAT, big_chat(150 * KIB));
    let (first, proxy) = (big.clone(), house.proxy);
    let first = tokio::spawn(async move { first.send(proxy).await });
    house.until("the first is up, and kept for another try", |_| house.went_up().len() == 1).await;
    let second = house.ask(&big).await;
    assert_eq!((second.status, second.header("retry-after")), (503, Some("1")), "{}", second.text());
    assert_eq!(second.json()["error"]["code"], "body_budget_exhausted");
    assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200, "small ones pass all the same");
    house.sim.release();
    assert_eq!(first.await.unwrap().status, 200);
    house.booked().await;
    assert_eq!(house.ask(&big).await.status, 200);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let house = House::new(1, SMALL).await;
    let body = chat(MODEL);
    let head =
        |length| format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n");
    let mut wire = Wire::connect(house.proxy).await;
    wire.write(head(body.len()).as_bytes()).await;
    assert_eq!(wire.interim().await, "HTTP/1.1 100 Continue");
    wire.write(body.as_bytes()).await;
    assert_eq!(wire.head().await.rest().await.status, 200);
    assert!(house.went_up()[0].header("expect").is_empty(), "what was said between client and potluck stays there");
    let mut wire = Wire::connect(house.proxy).await;
    wire.write(head(65_537).as_bytes()).await;
    let text = String::from_utf8(wire.until_closed().await).unwrap();
    assert!(text.starts_with("HTTP/1.1 413"), "no invitation for what is not wanted: {text}");
}

#[tokio::test]
async fn the_first_chunk_is_there_before_the_second_is_made() {
    let house = House::new(1, "").await;
    let (twin, keys) = house.twin(1).await;
    let ask = Ask::post(CHAT, chat_stream(MODEL));
    let direct = ask.clone().header("authorization", &format!("Bearer {}", keys[0].text)).send(twin.addr()).await;
    // Behind the first event, and a cut inside a later one.
    let first = memchr::memmem::find(&direct.body, b"\n\n").unwrap() as u64 + 2;
    for at in [first, first + 1, 700] {
        let play = Play { fault: Some(Fault::Stall { at }), ..Play::default() };
        house.sim.script(Script::next(play));
        let mut reading = ask.open(house.proxy).await;
        let mut seen = Vec::new();
        while seen.len() < at as usize {
            seen.extend(reading.chunk().await.unwrap().unwrap());
        }
        assert_eq!(seen.len(), at as usize, "nothing more is made until it is released");
        house.sim.release();
        let rest = reading.rest().await;
        assert!(rest.whole);
        seen.extend(rest.body);
        if at == first {
            assert!(seen == direct.body, "{}", String::from_utf8_lossy(&seen));
        }
        assert!(seen.ends_with(b"data: [DONE]\n\n"));
    }
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_part_of_the_first_event_comes_when_it_is_whole() {
    let house = House::new(1, "").await;
    house.sim.script(Script::next(Play { fault: Some(Fault::Stall { at: 40 }), comments: Some(1), ..Play::default() }));
    let mut reading = Ask::post(CHAT, chat_stream(MODEL)).open(house.proxy).await;
    let comment = b": OPENROUTER PROCESSING\n\n";
    assert_eq!(reading.chunk().await.unwrap().unwrap(), comment, "it might be an error; the comment before it is none");
    house.sim.release();
    let rest = reading.rest().await;
    assert!(rest.whole && rest.text().starts_with("data: {\"id\":\"gen-"), "{}", rest.text());
}

#[tokio::test]
async fn the_head_of_an_answer_is_there_before_its_body() {
    let house = House::new(1, "").await;
    house.sim.script(Script::next(Play { fault: Some(Fault::Stall { at: 0 }), ..Play::default() }));
    let reading = Ask::post(CHAT, chat_stream(MODEL)).open(house.proxy).await;
    assert_eq!((reading.status, reading.header("content-type")), (200, Some("text/event-stream")));
    house.sim.release();
    assert!(reading.rest().await.whole);
}
