//! One connection, many requests: each answer is the answer to its own request.

use super::{body, statuses};
use crate::support::{Ask, House, Wire, chat, chat_stream};
use potluck::simulator::{Fault, Play, Script};

const CHAT: &str = "/api/v1/chat/completions";

/// A price that tells answers apart.
fn priced(number: usize) -> String {
    chat(&format!("sim/echo?cost=0.00{number}7"))
}

#[tokio::test]
async fn after_each_refusal_the_next_answer_is_its_own() {
    let house = House::new(1, "").await;
    let refusals = [
        (Ask::get("/nowhere"), 404),
        (Ask::get("/api/v1/keys"), 403),
        (Ask::get(CHAT), 405),
        (Ask::get("/api/v1/generation?id=gen-unknown"), 404),
        (Ask::post("/api/v1/messages/count_tokens", body()), 404),
        (Ask::post(CHAT, "{"), 400),
        (Ask::post(CHAT, "[]"), 400),
        (Ask::post(CHAT, "").chunked(10), 400),
        (Ask::post("/nowhere", body()), 404),
        (Ask::post("/api/v1/presets/x/chat/completions", body()).chunked(7), 403),
        (Ask::post(CHAT, chat("sim/error-400-model")), 400),
        (Ask::post(CHAT, chat("sim/error-502-html")), 502),
    ];
    let mut reused = 0;
    for (number, (ask, status)) in refusals.into_iter().enumerate() {
        let (refused, wire) = Wire::connect(house.proxy).await.ask(&ask).await.rest_and_wire().await;
        assert_eq!((refused.status, refused.whole), (status, true), "{ask:?}: {}", refused.text());
        let next = wire.ask(&Ask::post(CHAT, priced(number + 100))).await;
        if next.status == 0 {
            // Closed instead: what the client had still to send cannot be taken for a request.
            continue;
        }
        let (answer, wire) = next.rest_and_wire().await;
        assert_eq!(answer.status, 200, "after {ask:?}: {}", answer.text());
        assert_eq!(answer.json()["usage"]["cost"].to_string(), format!("0.00{}7", number + 100), "after {ask:?}");
        let last = wire.ask(&Ask::get("/api/v1/models/count")).await.rest().await;
        assert!(last.status == 200 && last.json()["data"]["count"].is_number(), "after {ask:?}: {}", last.text());
        reused += 1;
    }
    assert!(reused >= 7, "connections are kept where that is safe: {reused}");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order_or_not_at_all() {
    let house = House::new(1, "").await;
    let post = |body: &str| format!("POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let get = "GET /api/v1/models/count HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    let lost = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned();
    for (requests, possible) in [
        ([post(&priced(101)), post(&priced(102)), lost.clone()], [200, 200, 404]),
        ([get.clone(), get.clone(), lost.clone()], [200, 200, 404]),
        ([post("{"), post(&priced(103)), lost.clone()], [400, 200, 404]),
        ([get, lost.clone(), lost], [200, 404, 404]),
    ] {
        let mut wire = Wire::connect(house.proxy).await;
        wire.write(requests.concat().as_bytes()).await;
        let seen = String::from_utf8(wire.until_closed().await).unwrap();
        let statuses = statuses(&seen);
        assert!(
            !statuses.is_empty() && possible.starts_with(&statuses),
            "{statuses:?} instead of {possible:?}: {seen}"
        );
        if let (Some(first), Some(second)) = (seen.find("0.001017"), seen.find("0.001027")) {
            assert!(first < second, "{seen}");
        }
    }
    let up = house.went_up().len();
    assert!((1..=3).contains(&up), "{up}");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_upstream_request() {
    let house = House::new(1, "").await;
    let mut reading = Ask::post(CHAT, chat_stream("sim/fixture-8")).open(house.proxy).await;
    reading.chunk().await.unwrap().unwrap();
    assert_eq!(house.sim.bill().running, 1);
    drop(reading);
    house.until("the request is over", |o| o.in_flight == 0).await;
    house.until("the upstream has noticed", |_| house.sim.bill().running == 0).await;
    let words = format!("{:?}", house.sim.bill().generations[0].status);
    assert_eq!(words, "Cancelled");
    house.assert_books_balance().await;
}

fn both() -> Vec<String> {
    vec![chat("sim/echo"), chat_stream("sim/echo")]
}

#[tokio::test]
async fn an_answer_that_was_cut_ends_the_connection() {
    let house = House::new(1, "").await;
    // Beyond the end of a stream is before its terminator; a length has none.
    for (at, bodies) in [(0, both()), (1, both()), (50, both()), (100_000, vec![chat_stream("sim/echo")])] {
        for body in bodies {
            house.sim.script(Script::next(Play { fault: Some(Fault::Cut { at }), ..Play::default() }));
            let (answer, wire) =
                Wire::connect(house.proxy).await.ask(&Ask::post(CHAT, body)).await.rest_and_wire().await;
            assert!(!answer.whole, "at {at}: {}", answer.text());
            let next = wire.ask(&Ask::get("/api/v1/models/count")).await;
            assert_eq!(next.status, 0, "whatever comes next would be read as a part of the answer");
        }
    }
    house.assert_books_balance().await;
}
