//! Guessing client keys: slow, heard of, and nobody else's trouble.

use std::time::Duration;

use potluck::clock::Tick;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;

fn guess(number: u16) -> String {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    potluck::clients::ClientKey::from_random(bytes).text().expose().to_owned()
}

#[tokio::test]
async fn guessing_is_slow_and_shuts_nobody_else_out() {
    let house = House::new(1, REQUIRED).await;
    let client = house.client(json!({"name": "ann"})).await;
    for n in 0..10 {
        assert_eq!(house.ask(&ask(&guess(n))).await.status, 401);
    }
    for answer in [house.ask(&ask(&guess(10))).await, house.token(&guess(11), None).await] {
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("6")), "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "too_many_wrong_keys");
    }
    let started = Tick::now();
    let reading = ask(&guess(12)).open(house.proxy).await;
    assert_eq!(reading.status, 429);
    assert!(started.elapsed() > Duration::from_millis(900), "{:?}", started.elapsed());
    assert_eq!(reading.header("connection"), Some("close"), "{:?}", reading.headers);
    assert_eq!(house.ask(&ask(&client.key)).await.status, 200, "who shares the address is not shut out");
    assert_eq!(house.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 401, "nothing presented is no guess");
    let metrics = Ask::get("/metrics").send(house.admin).await.text();
    assert!(metrics.contains("potluck_alarms_total{reason=\"client_key_guessing\"} 1"), "{metrics}");
    house.pass(Duration::from_secs(6));
    assert_eq!(house.ask(&ask(&guess(13))).await.status, 401, "one is forgotten");
}

#[tokio::test]
async fn hundreds_of_guesses_at_once_open_nothing_and_shut_nobody_out() {
    let house = House::new(1, REQUIRED).await;
    let ann = house.client(json!({"name": "ann"})).await;
    let token = text(&house.token(&ann.key, None).await.json(), "token");
    let mut guesses = JoinSet::new();
    for number in 0..400 {
        let proxy = house.proxy;
        let guess = guess(number);
        // Keys, tokens and what is like neither, where clients come in and where tokens are issued.
        let ask = match number % 4 {
            0 => ask(&guess),
            1 => Ask::get("/v1/models").header("x-api-key", &guess),
            2 => Ask::post("/auth/token", json!({"apiKey": guess}).to_string()),
            _ => ask(&format!("{token}{number}")),
        };
        guesses.spawn(async move { ask.send(proxy).await });
    }
    // While they wait for their answers, those who have a key come and go.
    for credential in [&ann.key, &token] {
        for _ in 0..10 {
            assert_eq!(house.ask(&ask(credential)).await.status, 200);
        }
    }
    let answers = guesses.join_all().await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(401) + count(429), count(401)), (400, 10), "after ten of them each is told to wait");
    for answer in answers.iter().filter(|answer| answer.status == 429) {
        assert!(answer.header("retry-after").is_some() && answer.header("connection") == Some("close"));
    }
    assert_eq!(house.went_up().len(), 20, "of guesses nothing");
    let metrics = Ask::get("/metrics").send(house.admin).await.text();
    assert!(metrics.contains("potluck_alarms_total{reason=\"client_key_guessing\"} 1\n"), "it rings, once: {metrics}");
    assert!(metrics.contains("potluck_client_refusals_total{reason=\"guessing\"} 390\n"), "{metrics}");
    house.assert_books_balance().await;
}
