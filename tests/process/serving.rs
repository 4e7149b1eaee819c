//! Starting and serving.

use crate::support::{Ask, CHAT, MODEL, Place, Running, chat, chat_stream, simulator};

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_the_environment_are_all_it_needs() {
    let (simulator, keys) = simulator(3).await;
    let place = Place::new(&simulator, "").keys(&keys);
    // No word and no file: what a newcomer types.
    let mut running = Running::spawn(&place, place.command(&[]));
    running.serving().await;
    for body in [chat(MODEL), chat_stream(MODEL), chat(MODEL)] {
        let answer = place.ask(&Ask::post(CHAT, body)).await;
        assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
    }
    let status = place.status_when("all are booked", |status| status["stats"]["totalRequests"] == 3).await;
    assert_eq!(status["totalKeys"], 3);
    for key in status["keys"].as_array().expect("keys") {
        assert_eq!(key["requests"], 1, "rotation uses each key once: {status:#}");
    }
    place.assert_books_balance(&simulator).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_at_the_start_delays_nothing_and_blames_nobody() {
    let (simulator, keys) = simulator(2).await;
    simulator.close_port(true).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let running = place.start().await;
    let down = place.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert!(matches!(down.status, 502 | 503), "{} {}", down.status, down.text());
    assert!(down.json()["error"]["message"].is_string(), "{}", down.text());
    let status = place.status().await;
    assert_eq!(status["health"]["healthy"], 2, "{status:#}");
    assert!(status["keys"].as_array().expect("keys").iter().all(|key| key["verified"] == false), "{status:#}");

    simulator.open_port().await;
    let up = place.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert_eq!(up.status, 200, "service is back by itself: {}", up.text());
    place.assert_books_balance(&simulator).await;
    running.stop().await;
}
