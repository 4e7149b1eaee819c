//! What survives the death of a process.

use potluck::simulator::{Pico, Play, Script};
use rustix::process::Signal;

use crate::support::{Ask, CHAT, MODEL, Place, chat, chat_stream, simulator, with_patience};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_key_no_state_and_no_booked_cost() {
    let (simulator, keys) = simulator(3).await;
    let place = Place::new(&simulator, "[ledger]\nreconcile_schedule_ms = [300, 600, 1200, 2400]\n").keys(&keys[..1]);
    let mut running = place.start().await;
    for (key, name) in keys[1..].iter().zip(["bob", "charlie"]) {
        let offer = serde_json::json!({"key": key.text, "label": name, "donorName": name}).to_string();
        let answer = Ask::post("/keys/openrouter", offer).send(place.admin).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for _ in 0..3 {
        assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    }
    // A cost that is unknown when the process dies: the client has hung up.
    let mut stream = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(place.proxy).await;
    stream.chunk().await.expect("not at its end").expect("a chunk");
    drop(stream);
    place.status_when("the cost is unknown", |status| status["suspense"]["entries"] == 1).await;
    let word = r#"{"id":"k3","status":"failed","error":"seen by hand"}"#;
    assert_eq!(Ask::post("/health/openrouter", word).send(place.admin).await.status, 200);
    let before = place.status().await;
    running.signal(Signal::KILL);
    assert_eq!(running.end().await, -9);

    let running = place.start().await;
    let after = place.status().await;
    for member in ["totalKeys", "health"] {
        assert_eq!(after[member], before[member]);
    }
    assert_eq!(after["stats"]["totalRequests"], 4);
    for (key, before) in after["keys"].as_array().expect("keys").iter().zip(before["keys"].as_array().expect("keys")) {
        for member in ["id", "key", "label", "donorName", "addedAt", "requests"] {
            assert_eq!(key[member], before[member], "{member}");
        }
        assert_eq!(key["health"]["status"], before["health"]["status"]);
        assert_eq!(key["health"]["note"], before["health"]["note"]);
    }
    place.assert_books_balance(&simulator).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_when_the_process_dies_leaves_the_pool_usable() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let mut running = place.start().await;
    let mut stream = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(place.proxy).await;
    stream.chunk().await.expect("not at its end").expect("a chunk");
    running.signal(Signal::KILL);
    running.end().await;
    assert!(!stream.rest().await.whole, "a stream that broke looks broken");

    let running = place.start().await;
    let answer = place.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(place.status().await["health"]["healthy"], 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_forget_that_a_key_is_depleted() {
    let (simulator, keys) = simulator(2).await;
    let place = Place::new(&simulator, "").keys(&keys);
    let running = place.start().await;
    simulator.script(Script::always(Play::refuse("402-credits")).on_key(0));
    simulator.edit_account(keys[0].account, |account| account.credits_usd = Pico::ZERO);
    for _ in 0..4 {
        let answer = place.ask(&Ask::post(CHAT, chat(MODEL))).await;
        assert_eq!(answer.status, 200, "no client sees another key's 402: {}", answer.text());
    }
    let depleted = place.status_when("one is depleted", |status| status["health"]["depleted"] == 1).await;
    running.stop().await;

    simulator.clear_log();
    let running = place.start().await;
    let restarted = place.status().await;
    assert_eq!(restarted["health"], depleted["health"], "{restarted:#}");
    assert_eq!(restarted["keys"][0]["health"], depleted["keys"][0]["health"]);
    for _ in 0..4 {
        assert_eq!(place.ask(&Ask::post(CHAT, chat(MODEL))).await.status, 200);
    }
    let paid = simulator.log().into_iter().filter(|entry| entry.method == "POST");
    assert!(paid.map(|entry| entry.key).all(|key| key == Some(1)), "the depleted key is left alone");

    // Nor does it forget over a crash, nor when the environment offers the key anew.
    drop(running);
    let running = place.start().await;
    assert_eq!(place.status().await["health"], depleted["health"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_withdrawn_while_it_serves_is_gone_after_the_restart_and_its_stream_was_not_cut() {
    let (simulator, keys) = simulator(1).await;
    let place = Place::new(&simulator, "");
    let running = place.start().await;
    let offer = format!(r#"{{"key":"{}"}}"#, keys[0].text);
    assert_eq!(Ask::post("/keys/openrouter", offer).send(place.admin).await.status, 200);
    let mut stream = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(place.proxy).await;
    stream.chunk().await.expect("not at its end").expect("a chunk");
    let gone = Ask::new("DELETE", "/keys/openrouter").header("content-type", "application/json").body(r#"{"id":"k1"}"#);
    assert_eq!(gone.send(place.admin).await.status, 200);
    simulator.release();
    assert!(stream.rest().await.whole);
    running.stop().await;

    let running = place.start().await;
    assert_eq!(place.status().await["totalKeys"], 0);
    let refused = place.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    with_patience("its cost stays in the books", async || {
        let status = place.status().await;
        (status["stats"]["totalCost"] != "$0").then_some(())
    })
    .await;
    running.stop().await;
}
