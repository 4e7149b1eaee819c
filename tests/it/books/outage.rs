//! An upstream that is away, or silent: quick answers, keys unharmed, and service again by itself.

use std::time::{Duration, Instant};

use potluck::pool::Health;
use potluck::simulator::{Play, Script};

use super::EAGER;
use crate::support::{Answer, Ask, House, MODEL, chat, chat_stream};

const CHAT: &str = "/api/v1/chat/completions";
/// Far more than any of these answers takes, far less than any default time limit.
const QUICKLY: Duration = Duration::from_secs(2);

async fn ask(house: &House, body: String) -> Answer {
    #[allow(clippy::disallowed_methods)] // how long a client really waits
    let begun = Instant::now();
    let answer = house.ask(&Ask::post(CHAT, body)).await;
    assert!(begun.elapsed() < QUICKLY, "{:?} {}", begun.elapsed(), answer.text());
    answer
}

async fn assert_keys_are_well(house: &House) {
    let overview = house.until("the request is over", |o| o.in_flight == 0).await;
    assert!(overview.keys.iter().all(|key| key.state.health == Health::Healthy), "{:?}", overview.keys);
}

#[tokio::test]
async fn an_upstream_that_is_down_harms_no_key_and_is_used_again_when_it_is_up() {
    let house = House::new(3, EAGER).await;
    assert_eq!(ask(&house, chat(MODEL)).await.status, 200);
    for round in 0..2 {
        house.sim.close_port(true).await;
        for body in [chat(MODEL), chat_stream(MODEL)] {
            let answer = ask(&house, body).await;
            assert_eq!(answer.status, 502, "round {round}: {}", answer.text());
            assert!(answer.json()["error"]["message"].is_string());
        }
        assert_keys_are_well(&house).await;
        house.sim.open_port().await;
        for _ in 0..4 {
            assert_eq!(ask(&house, chat(MODEL)).await.status, 200, "round {round}");
        }
    }
    house.assert_books_balance().await;
    let overview = house.overview().await;
    assert_eq!((overview.requests, overview.successes), (13, 9));
}

#[tokio::test]
async fn an_upstream_that_goes_away_in_mid_stream_looks_broken_and_harms_no_key() {
    let house = House::new(2, EAGER).await;
    let mut reading = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(house.proxy).await;
    reading.chunk().await.unwrap().unwrap();
    house.sim.close_port(true).await;
    assert!(!reading.rest().await.whole, "a stream that was cut must not look whole");
    assert_keys_are_well(&house).await;
    house.sim.open_port().await;
    assert_eq!(ask(&house, chat(MODEL)).await.status, 200);
    house.assert_books_balance().await;
    assert_eq!(house.overview().await.successes, 1);
}

#[tokio::test]
async fn a_donation_while_the_upstream_is_down_is_taken_and_checked_later() {
    let house = House::new(0, "").await;
    house.sim.close_port(true).await;
    let (_, id) = house.donate(potluck::simulator::Pico::usd(1)).await;
    assert!(!house.overview().await.keys[0].state.verified);
    house.sim.open_port().await;
    assert_eq!(ask(&house, chat(MODEL)).await.status, 200, "unverified keys serve");
    house.until("the key is verified", |o| o.keys[0].state.verified).await;
    assert_eq!(house.health(id).await, Health::Healthy);
}

#[tokio::test]
async fn a_silent_upstream_is_given_up_in_time() {
    let settings = format!("{EAGER}[upstream]\nfirst_byte_timeout_ms = 150\nidle_timeout_ms = 150\n");
    let house = House::new(2, &settings).await;
    // Silence instead of a head; nothing names what it may have cost, so that is left to the key's own usage.
    let play = Play { fault: "stall-before-head".parse().ok(), ..Play::default() };
    house.sim.script(Script::next(play));
    let answer = ask(&house, chat(MODEL)).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert_keys_are_well(&house).await;
    let overview = house.until("the key's own usage tells", |o| o.suspense.open == 0).await;
    assert_eq!(i128::from(overview.spent_total.as_pico()), house.sim.bill().total.0);
    assert_eq!(house.went_up().len(), 1, "what may have been billed is not sent again");

    // Silence in the middle of a body.
    for body in [chat_stream("sim/echo?fault=stall%40700"), chat("sim/echo?fault=stall%40300&chunk=10")] {
        let answer = ask(&house, body).await;
        assert_eq!((answer.status, answer.whole), (200, false));
        assert!(!answer.body.is_empty());
    }
    assert_keys_are_well(&house).await;
    let overview = house.until("both are found", |o| o.suspense.open == 0).await;
    assert_eq!(i128::from(overview.spent_total.as_pico()), house.sim.bill().total.0);
    assert_eq!(ask(&house, chat(MODEL)).await.status, 200);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_ended() {
    let settings =
        format!("{EAGER}[upstream]\ntotal_timeout_ms = 1000\nfirst_byte_timeout_ms = 1000\nidle_timeout_ms = 1000\n");
    let house = House::new(1, &settings).await;
    // Padding, byte by byte: no read ever times out.
    let answer = ask(&house, chat("sim/echo?padding=200&fault=slow%401/50")).await;
    assert!(!answer.whole && answer.body.iter().all(u8::is_ascii_whitespace), "{}", answer.text());
    assert_keys_are_well(&house).await;
    house.assert_books_balance().await;
    assert!(house.sim.bill().total.0 > 0);
}
