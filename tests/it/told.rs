//! What the heads of answers tell of their requests (`proxy.response_headers`): id, attempts, and the cost where it is known
//! before the head must be written.

use std::time::Duration;

use potluck::clock::Tick;
use potluck::money::Usd;
use potluck::simulator::{Framing, Play, Script};
use serde_json::{Value, json};

use crate::support::{Answer, Ask, House, MODEL, chat, chat_stream};

const CHAT: &str = "/api/v1/chat/completions";
const ALL: &str = "[proxy]\nresponse_headers = [\"x-potluck-cost\", \"x-request-id\", \"x-potluck-attempts\"]\n";
const NAMES: [&str; 3] = ["x-request-id", "x-potluck-attempts", "x-potluck-cost"];

fn told(answer: &Answer) -> [Option<&str>; 3] {
    NAMES.map(|name| answer.header(name))
}

/// What the ledger says of the request that this is the answer to: its attempts, and what they cost together.
async fn booked(house: &House, answer: &Answer) -> (usize, Option<Usd>) {
    house.booked().await;
    let id = answer.header("x-request-id").expect("an id");
    let lines = Ask::get("/ledger?limit=1000").send(house.admin).await.json();
    let lines = lines["entries"].as_array().expect("lines").iter().filter(|line| line["request"] == id);
    let costs: Vec<Option<Usd>> =
        lines.map(|line| Some(line["cost"].as_str()?.replace('$', "").parse().expect("dollars"))).collect();
    (costs.len(), costs.into_iter().try_fold(Usd::ZERO, |sum, cost| sum.checked_add(cost?)))
}

fn of_length(play: Play) -> Script {
    Script::next(Play { framing: Some(Framing::Length), ..play })
}

#[tokio::test]
async fn id_and_attempts_are_told_unless_somebody_wants_it_otherwise() {
    let list = |names: &[&str]| format!("[proxy]\nresponse_headers = {names:?}\n");
    let wishes = [String::new(), list(&[]), list(&NAMES[..1]), list(&NAMES[1..2]), ALL.to_owned()];
    let shown = [[true, true, false], [false; 3], [true, false, false], [false, true, false], [true; 3]];
    for (settings, shown) in wishes.iter().zip(shown) {
        let house = House::new(1, settings).await;
        let asks = [
            Ask::post(CHAT, chat("no-such/model")),
            Ask::post(CHAT, "{"),
            Ask::get(CHAT),
            Ask::get("/nowhere"),
            Ask::get("/v1/models"),
            Ask::get("/v1/key"),
            Ask::get("/v1/keys"),
            Ask::get("/api/ai/categories"),
            Ask::post("/auth/token", "{}"),
            Ask::new("OPTIONS", CHAT),
        ];
        for ask in asks {
            let answer = house.ask(&ask).await;
            assert_eq!(told(&answer).map(|value| value.is_some()), shown, "{settings} {ask:?}");
            let exposed = answer.header("access-control-expose-headers").expect("for browsers").to_ascii_lowercase();
            assert!(NAMES.iter().all(|name| exposed.split(',').any(|exposed| exposed == *name)), "{exposed}");
        }
        for body in [chat(MODEL), chat_stream(MODEL)] {
            let answer = house.ask(&Ask::post(CHAT, body)).await;
            let [id, attempts, _] = told(&answer);
            assert_eq!([id.is_some(), attempts == Some("1")], shown[..2], "{settings}");
            assert!(id.is_none_or(|id| id.len() == 32));
        }
    }
}

#[tokio::test]
async fn a_cost_that_is_known_in_time_is_told_to_the_pico_dollar() {
    let house = House::new(1, ALL).await;
    for (cost, expected) in [("7.669e-7", "0.0000007669"), ("0", "0"), ("1.5", "1.5"), ("1e-12", "0.000000000001")] {
        for path in [CHAT, "/v1/completions", "/v1/messages", "/v1/responses"] {
            house.sim.script(of_length(Play { cost: Some(cost.to_owned()), ..Play::default() }));
            let body = json!({"model": MODEL, "max_tokens": 9, "prompt": "hi", "input": "hi",
                "messages": [{"role": "user", "content": "hi"}]});
            let answer = house.ask(&Ask::post(path, body.to_string())).await;
            assert_eq!((answer.status, answer.whole), (200, true));
            assert_eq!(told(&answer)[1..], [Some("1"), Some(expected)], "{path}: {}", answer.text());
            assert_eq!(booked(&house, &answer).await, (1, Some(expected.parse().expect("dollars"))));
        }
    }
    house.assert_books_balance().await;
}

#[tokio::test]
async fn what_others_refused_before_is_counted_and_was_free() {
    let house = House::new(3, ALL).await;
    for key in [0, 1] {
        house.sim.edit_account(key, |account| account.credits_usd = potluck::simulator::Pico::ZERO);
    }
    house.sim.script(of_length(Play { cost: Some("0.25".to_owned()), ..Play::default() }).on_key(2));
    let answer = house.ask(&Ask::post(CHAT, chat(MODEL))).await;
    assert_eq!((answer.status, &told(&answer)[1..]), (200, &[Some("3"), Some("0.25")][..]));
    assert_eq!(booked(&house, &answer).await.0, 3);
}

#[tokio::test]
async fn refusals_cost_nothing_or_nobody_knows() {
    let house = House::new(1, ALL).await;
    let ask = Ask::post(CHAT, chat(MODEL));
    for (play, status, attempts, cost) in [
        (Play { error: Some("429-provider".to_owned()), ..Play::default() }, 429, "1", Some("0")),
        // It may have been at work: what it cost is found later, if at all.
        (Play { error: Some("504".to_owned()), ..Play::default() }, 504, "1", None),
        (Play { error: Some("524".to_owned()), ..Play::default() }, 524, "1", None),
    ] {
        house.sim.script(Script::next(play.clone()));
        let answer = house.ask(&ask).await;
        assert_eq!(told(&answer)[1..], [Some(attempts), cost], "{play:?}: {} {}", answer.status, answer.text());
        assert!(answer.status == status || play.error.is_some(), "{}", answer.status);
    }
    let refused = house.ask(&Ask::post(CHAT, "{}x")).await;
    assert_eq!(told(&refused)[1..], [Some("0"), Some("0")]);
    house.sim.close_port(true).await;
    let unreachable = house.ask(&ask).await;
    assert_eq!((unreachable.status, &told(&unreachable)[1..]), (502, &[Some("1"), Some("0")][..]));
}

#[tokio::test]
async fn no_answer_waits_for_its_cost() {
    let house =
        House::new(1, &format!("{ALL}[upstream]\nfirst_byte_timeout_ms = 60000\ntotal_timeout_ms = 60000\n")).await;
    // Half a minute of padding before the document: the head and the first of it are here long before.
    let play = Play { padding: Some(60), gap_ms: Some(500), framing: Some(Framing::Chunked), ..Play::default() };
    house.sim.script(Script::next(play));
    let started = Tick::now();
    let mut reading = Ask::post(CHAT, chat(MODEL)).open(house.proxy).await;
    assert_eq!((reading.status, reading.header("x-potluck-cost")), (200, None));
    assert!(reading.chunk().await.is_some_and(|chunk| chunk.is_ok()));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(reading);
    // Streams do not tell, wherever their end is.
    for chunk in [0, 7] {
        house.sim.script(Script::next(Play { chunk: Some(chunk), ..Play::default() }));
        let answer = house.ask(&Ask::post(CHAT, chat_stream(MODEL))).await;
        assert_eq!((answer.whole, &told(&answer)[1..]), (true, &[Some("1"), None][..]));
    }
}

#[tokio::test]
async fn whatever_the_chunks_a_cost_that_is_told_is_the_one_that_is_booked() {
    let house = House::new(1, ALL).await;
    let plain = house.ask(&Ask::post(CHAT, chat(MODEL))).await.text();
    let mut said = 0;
    for chunk in [0, 1, 7, 100, 1000] {
        for (target, framing) in [
            (CHAT, Framing::Chunked),
            (CHAT, Framing::Length),
            ("/api/ai/completion", Framing::Chunked),
            ("/api/ai/completion", Framing::Length),
        ] {
            house.sim.script(Script::next(Play { chunk: Some(chunk), framing: Some(framing), ..Play::default() }));
            let answer = house.ask(&Ask::post(target, chat(MODEL))).await;
            assert!(answer.whole && answer.status == 200, "{target} {chunk} {framing:?}");
            let body: Value = answer.json();
            assert_eq!(body.get("_routing").is_some(), target != CHAT, "{body}");
            assert_eq!(body["usage"], serde_json::from_str::<Value>(&plain).expect("JSON")["usage"]);
            let cost = booked(&house, &answer).await.1.expect("known");
            if let Some(told) = answer.header("x-potluck-cost") {
                said += 1;
                assert_eq!(told.parse(), Ok(cost), "{target} {chunk} {framing:?}");
            }
        }
    }
    // Which come in one piece is the sockets' doing: on a busy machine a head may come by itself.
    assert!(said > 0, "those that come in one piece tell it");
    // One whose cost stays unknown, and one that breaks off.
    for play in [
        Play { cost: Some("null".to_owned()), ..Play::default() },
        Play { cost: Some("missing".to_owned()), ..Play::default() },
    ] {
        house.sim.script(of_length(play));
        let answer = house.ask(&Ask::post(CHAT, chat(MODEL))).await;
        assert_eq!((answer.status, answer.header("x-potluck-cost")), (200, None));
    }
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_job_is_not_paid_for_when_it_begins() {
    let house = House::new(1, ALL).await;
    let video = json!({"model": "google/veo-3.1", "prompt": "a pot of soup"}).to_string();
    let answer = house.ask(&Ask::post("/api/v1/videos", video)).await;
    assert!(answer.status < 300);
    assert_eq!(told(&answer)[1..], [Some("1"), None]);
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let poll = house.ask(&Ask::get(&format!("/v1/videos/{id}"))).await;
    assert_eq!(told(&poll)[1..], [Some("0"), Some("0")], "asking costs nothing");
}
