//! The fixtures of `openrouter-api.md` section 12, over real sockets; 9 is in `blame`, 17 in `jobs`.

use std::time::Duration;

use potluck::pool::Health;
use potluck::pot::{KeyView, Overview};

use crate::support::{Answer, Ask, House, MODEL, NOON, chat, chat_stream};

const CHAT: &str = "/api/v1/chat/completions";
const MESSAGES: &str = "/api/v1/messages";
const RESPONSES: &str = "/api/v1/responses";
/// Unknown costs are looked up at once, as often as it takes.
const EAGER: &str = "[ledger]\nreconcile_schedule_ms = [1, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000]\n";

fn responses_stream(model: &str) -> String {
    serde_json::json!({"model": model, "stream": true, "input": "hello"}).to_string()
}

fn messages_stream(model: &str) -> String {
    let turn = serde_json::json!([{"role": "user", "content": "hello"}]);
    serde_json::json!({"model": model, "stream": true, "max_tokens": 64, "messages": turn}).to_string()
}

/// Ask through the pool and ask the upstream directly; the client must not be able to tell which was which.
async fn untouched(house: &House, target: &str, body: &str) -> Answer {
    let (twin, keys) = house.twin(1).await;
    let bearer = format!("Bearer {}", keys[0].text);
    let direct = Ask::post(target, body).header("authorization", &bearer).send(twin.addr()).await;
    let pooled = house.ask(&Ask::post(target, body)).await;
    assert_eq!(pooled.status, direct.status);
    assert_eq!(pooled.header("content-type"), direct.header("content-type"));
    assert_eq!(pooled.header("x-generation-id"), direct.header("x-generation-id"));
    assert!(pooled.body == direct.body, "{}\n--- directly ---\n{}", pooled.text(), direct.text());
    assert!(pooled.whole && direct.whole);
    pooled
}

/// The pool once every request is booked: a client has its last byte a moment before.
async fn booked(house: &House) -> Overview {
    house.until("every request is booked", |o| o.in_flight == 0).await
}

fn only(overview: &Overview) -> &KeyView {
    assert_eq!(overview.keys.len(), 1);
    &overview.keys[0]
}

/// The one key is well, and has paid exactly what the upstream billed, known at once.
async fn paid_at_once(house: &House) -> i64 {
    let overview = booked(house).await;
    let key = only(&overview);
    assert_eq!((key.state.health, overview.suspense.open), (Health::Healthy, 0));
    assert_eq!((key.totals.requests, key.totals.successes), (1, 1));
    let spent = key.totals.spent_total.as_pico();
    assert_eq!(i128::from(spent), house.sim.bill().total.0);
    spent
}

#[tokio::test]
async fn f01_comments_and_split_characters_pass_and_the_cost_is_booked_once() {
    let house = House::new(1, "").await;
    let answer = untouched(&house, CHAT, &chat_stream("sim/fixture-1")).await;
    assert!(answer.text().contains(": OPENROUTER PROCESSING"));
    assert!(paid_at_once(&house).await > 0);
}

#[tokio::test]
async fn f02_every_way_to_write_a_cost() {
    for (fixture, pico) in [("2", None), ("2-exponent", Some(766_900)), ("2-zero", Some(0))] {
        let house = House::new(1, "").await;
        untouched(&house, CHAT, &chat_stream(&format!("sim/fixture-{fixture}"))).await;
        let spent = paid_at_once(&house).await;
        assert!(pico.is_none_or(|pico| pico == spent), "fixture {fixture}: {spent}");
    }
}

#[tokio::test]
async fn f02_a_cost_of_null_is_unknown_until_it_is_found() {
    let house = House::new(1, EAGER).await;
    untouched(&house, CHAT, &chat_stream("sim/fixture-2-null")).await;
    let overview = booked(&house).await;
    assert_eq!((overview.suspense.open, only(&overview).totals.suspense), (1, 1));
    assert_eq!(overview.spent_total.as_pico(), 0);
    house.assert_books_balance().await;
    assert!(house.overview().await.spent_total.as_pico() > 0);
}

#[tokio::test]
async fn f03_a_line_of_two_megabytes() {
    let house = House::new(1, "").await;
    let answer = untouched(&house, RESPONSES, &responses_stream("sim/fixture-3")).await;
    let longest = answer.body.split(|b| *b == b'\n').map(<[u8]>::len).max();
    assert!(longest > Some(2_000_000), "{longest:?}");
    assert!(paid_at_once(&house).await > 0);
}

#[tokio::test]
async fn f04_messages_end_with_a_stray_event() {
    let house = House::new(1, "").await;
    let answer = untouched(&house, MESSAGES, &messages_stream("sim/fixture-4")).await;
    assert!(answer.text().ends_with("event: data\ndata: [DONE]\n\n"), "{}", answer.text());
    assert!(paid_at_once(&house).await > 0);
}

#[tokio::test]
async fn f05_padding_before_json() {
    let house = House::new(1, "").await;
    let answer = untouched(&house, CHAT, &chat("sim/fixture-5")).await;
    assert!(answer.text().starts_with("\n         \n"));
    assert!(paid_at_once(&house).await > 0);
}

#[tokio::test]
async fn f06_padding_and_nothing_or_an_error_behind_it() {
    for fixture in ["sim/fixture-6", "sim/fixture-6-error"] {
        let house = House::new(1, EAGER).await;
        let answer = house.ask(&Ask::post(CHAT, chat(fixture))).await;
        assert_eq!(answer.status, 200);
        let overview = booked(&house).await;
        let key = only(&overview);
        assert_eq!((key.totals.requests, key.totals.successes), (1, 0), "{fixture}");
        assert_eq!((key.state.health, overview.suspense.open), (Health::Healthy, 1), "{fixture}");
        assert_eq!(house.went_up().len(), 1, "an answer that began is not asked for again");
        house.assert_books_balance().await;
    }
}

#[tokio::test]
async fn f07_an_error_as_the_first_event_is_the_providers() {
    let house = House::new(2, EAGER).await;
    let answer = house.ask(&Ask::post(CHAT, chat_stream("sim/fixture-7"))).await;
    assert!(answer.text().contains("Provider returned error"), "{}", answer.text());
    assert_eq!(house.went_up().len(), 1);
    assert!(house.overview().await.keys.iter().all(|key| key.state.health == Health::Healthy));
    house.assert_books_balance().await;
}

#[tokio::test]
async fn f08_a_client_that_hangs_up_before_the_usage_pays_all_the_same() {
    let house = House::new(3, EAGER).await;
    let mut reading = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(house.proxy).await;
    assert_eq!(reading.status, 200);
    reading.chunk().await.unwrap().unwrap();
    drop(reading);
    house.until("the hang-up is noticed", |o| o.suspense.open == 1).await;
    house.assert_books_balance().await;
    assert!(house.sim.bill().total.0 > 0);
    let log = house.sim.log();
    let made_with = log.iter().find(|e| e.path() == CHAT).and_then(|e| e.key);
    let looked_up: Vec<_> = log.iter().filter(|e| e.path() == "/api/v1/generation").map(|e| e.key).collect();
    assert!(!looked_up.is_empty() && looked_up.iter().all(|key| *key == made_with), "{made_with:?} {looked_up:?}");
}

#[tokio::test]
async fn f10_a_prompt_that_speaks_of_limits_moves_nothing() {
    let house = House::new(2, "").await;
    let answer = house.ask(&Ask::post(CHAT, chat("sim/fixture-10"))).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("requires moderation"), "{}", answer.text());
    assert_eq!(house.went_up().len(), 1);
    assert!(house.overview().await.keys.iter().all(|key| key.state.health == Health::Healthy));
}

#[tokio::test]
async fn f11_an_account_with_too_much_in_flight_rests_and_another_serves() {
    let house = House::new(2, "").await;
    let answer = house.ask(&Ask::post(CHAT, chat("sim/fixture-11"))).await;
    assert_eq!((answer.status, house.went_up().len()), (200, 2));
    let overview = house.overview().await;
    let rested: Vec<_> = overview.keys.iter().filter(|k| k.state.health == Health::RateLimited).collect();
    assert_eq!(rested.len(), 1);
    assert_eq!(rested[0].state.until.unwrap().as_millis(), NOON + 120_000);
    house.assert_books_balance().await;
}

#[tokio::test]
async fn f12_the_free_lane_closes_and_the_paid_one_stays_open() {
    let house = House::new(1, "").await;
    let free = Ask::post(CHAT, chat("sim/fixture-12:free"));
    let limited = house.ask(&free).await;
    assert!(matches!(limited.status, 429 | 503), "{}", limited.text());
    assert!(limited.header("retry-after").is_some());
    assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    let overview = house.overview().await;
    let key = only(&overview);
    let midnight = NOON + 12 * 3_600_000;
    assert_eq!(key.state.health, Health::Healthy);
    assert_eq!(key.state.free_until.map(|t| t.as_millis()), Some(midnight));
    let before = house.went_up().len();
    assert_eq!(house.ask(&free).await.status, 503);
    assert_eq!(house.went_up().len(), before, "a closed lane is not knocked at");
    house.pass(Duration::from_secs(12 * 3600));
    assert_eq!(house.ask(&Ask::post(CHAT, chat("google/gemma-3-27b-it:free"))).await.status, 200);
}

#[tokio::test]
async fn f13_nothing_of_the_donor_is_in_an_error() {
    let house = House::new(2, "").await;
    let answer = house.ask(&Ask::post(CHAT, chat("sim/fixture-13"))).await;
    assert_eq!(house.went_up().len(), 2);
    let seen = answer.everything();
    for trace in ["user_", "openrouter.ai", "workspaces", "limit_usd", "24.875", "is_byok", "previous_errors"] {
        assert!(!seen.contains(trace), "{trace} in {seen}");
    }
    assert!(house.overview().await.keys.iter().all(|key| key.state.health == Health::Healthy));
}

#[tokio::test]
async fn f14_a_donors_own_provider_key_charges_nothing_and_is_on_record() {
    let house = House::new(1, "").await;
    untouched(&house, CHAT, &chat("sim/fixture-14")).await;
    assert_eq!(paid_at_once(&house).await, 0);
    assert_eq!(only(&house.overview().await).totals.byok_total.as_pico(), 1_970_000_000);
}

#[tokio::test]
async fn f15_audio_passes_and_its_cost_is_looked_up() {
    let house = House::new(1, EAGER).await;
    let body = r#"{"model":"sim/fixture-15","input":"Bring a dish.","voice":"alloy"}"#;
    let answer = untouched(&house, "/api/v1/audio/speech", body).await;
    assert!(answer.body.starts_with(b"ID3") && answer.body.len() >= 4096);
    assert!(answer.header("x-generation-id").unwrap().starts_with("gen-tts-"));
    assert_eq!(booked(&house).await.suspense.open, 1);
    house.assert_books_balance().await;
    assert!(house.sim.bill().total.0 > 0);
}

#[tokio::test]
async fn f16_the_upstream_is_asked_not_to_compress_and_its_bytes_pass_if_it_does() {
    for fixture in ["sim/fixture-16-gzip", "sim/fixture-16-br"] {
        let house = House::new(1, EAGER).await;
        let (twin, keys) = house.twin(1).await;
        let ask = Ask::post(CHAT, chat(fixture)).header("accept-encoding", "gzip, br");
        let bearer = format!("Bearer {}", keys[0].text);
        let direct = ask.clone().header("authorization", &bearer).send(twin.addr()).await;
        let pooled = house.ask(&ask).await;
        assert_eq!(pooled.header("content-encoding"), direct.header("content-encoding"));
        assert!(pooled.body == direct.body && pooled.header("content-encoding").is_some());
        assert_eq!(house.went_up()[0].header("accept-encoding"), ["identity"]);
        house.assert_books_balance().await;
        assert!(house.sim.bill().total.0 > 0);
    }
}

#[tokio::test]
async fn f18_one_pooled_credential_goes_up_and_none_of_the_clients() {
    let house = House::new(1, "").await;
    let ask = Ask::post(CHAT, chat("sim/fixture-18"))
        .header("authorization", "Bearer sk-client-own")
        .header("x-api-key", "sk-client-other")
        .header("cookie", "session=client")
        .header("proxy-authorization", "Basic Y2xpZW50")
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-openrouter-cache", "true")
        .header("http-referer", "https://app.example")
        .header("x-title", "An app");
    assert_eq!(house.ask(&ask).await.status, 200);
    let up = &house.went_up()[0];
    let bearers = up.header("authorization");
    assert_eq!(bearers.len(), 1);
    assert!(bearers[0].starts_with("Bearer sk-or-v1-") && up.key == Some(0));
    for name in ["x-api-key", "cookie", "proxy-authorization", "x-forwarded-for", "x-openrouter-cache"] {
        assert!(up.header(name).is_empty(), "{name} went up");
    }
    let everything = format!("{:?}", up.headers);
    assert!(!everything.contains("client"), "{everything}");
    assert_eq!((up.header("http-referer"), up.header("x-title")), (vec!["https://app.example"], vec!["An app"]));
}

#[tokio::test]
async fn f19_calls_into_the_donors_account_are_not_sent() {
    let house = House::new(1, "").await;
    house.until("the key has been asked about", |o| o.keys.iter().all(|k| k.state.remaining.is_some())).await;
    let before = house.sim.received();
    let preset = "/api/v1/presets/x/chat/completions";
    for ask in [
        Ask::get("/api/v1/credits"),
        Ask::post("/api/v1/auth/keys/code", r#"{"callback_url":"https://evil.example"}"#),
        Ask::post(preset, chat("sim/fixture-19")),
    ] {
        let answer = house.ask(&ask).await;
        assert!(answer.header("content-type").unwrap().starts_with("application/json"));
        let seen = answer.everything();
        assert!(!seen.contains("user_") && !seen.contains("sk-or-v1-"), "{seen}");
    }
    assert_eq!(house.ask(&Ask::post(preset, chat(MODEL))).await.status, 403);
    assert_eq!(house.sim.received(), before);
}
