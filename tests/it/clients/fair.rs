//! More requests than the pool can serve: clients take turns, the line is bounded, and so is the time in it.

use std::time::Duration;

use potluck::clock::Tick;
use potluck::pot::KeyRef;
use potluck::simulator::{Fault, Play, Script};
use tokio::task::{JoinHandle, JoinSet};

use super::*;

/// A pool whose only key serves one request at a time.
async fn narrow(settings: &str) -> House {
    let house = House::new(1, &format!("{REQUIRED}{settings}")).await;
    let key = house.overview().await.keys[0].id;
    house.pot.change_limits(KeyRef::Id(key), |limits| limits.concurrency = Some(1)).await.expect("set");
    house
}

/// A client's request that can be told from others' when it goes up.
fn marked(client: &Client, mark: &str) -> Ask {
    ask(&client.key).header("x-title", mark)
}

impl House {
    /// Have a request take up the only key until it is released.
    async fn occupy(&self, client: &Client) -> JoinHandle<Answer> {
        self.sim.script(Script::next(Play { fault: Some(Fault::StallBeforeHead), ..Play::default() }));
        let before = self.went_up().len();
        let asked = self.send(marked(client, "first"));
        self.so("it is under way", || self.went_up().len() > before).await;
        asked
    }

    fn send(&self, ask: Ask) -> JoinHandle<Answer> {
        let proxy = self.proxy;
        tokio::spawn(async move { ask.send(proxy).await })
    }

    async fn so(&self, what: &str, so: impl Fn() -> bool) {
        let begun = Tick::now();
        while !so() {
            assert!(begun.elapsed() < Duration::from_secs(20), "never happened: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// That many requests of a client join the line, one after the other.
    async fn crowd(&self, client: &Client, mark: &str, requests: usize) -> JoinSet<u16> {
        let mut crowd = JoinSet::new();
        let before = self.pot.waiting();
        for n in 1..=requests {
            let (ask, proxy) = (marked(client, mark), self.proxy);
            crowd.spawn(async move { ask.send(proxy).await.status });
            self.so("it is in line", || self.pot.waiting() == before + n).await;
        }
        crowd
    }

    /// The request that is under way is answered, and the next one goes up.
    async fn one_more(&self) {
        let before = self.went_up().len();
        self.sim.release();
        self.so("the next one goes up", || self.went_up().len() > before).await;
    }

    /// Whose requests went up, in their order.
    fn marks(&self) -> Vec<String> {
        self.went_up().iter().map(|entry| entry.header("x-title").concat()).collect()
    }
}

#[tokio::test]
async fn a_polite_client_is_served_next_however_many_requests_of_another_wait() {
    let house = narrow("").await;
    let (ann, bob) = (house.client(json!({"name": "ann"})).await, house.client(json!({"name": "bob"})).await);
    let first = house.occupy(&ann).await;
    let greedy = house.crowd(&ann, "greedy", 40).await;
    let polite = house.crowd(&bob, "polite", 1).await;
    house.sim.script(Script::always(Play { fault: Some(Fault::StallBeforeHead), ..Play::default() }));
    house.one_more().await;
    house.one_more().await;
    // Neither has had anything yet, so who came first is first.
    assert_eq!(house.marks(), ["first", "greedy", "polite"], "forty came before it, and one is served before it");
    house.one_more().await;
    assert_eq!(polite.join_all().await, [200]);
    // And so it goes on: each time it asks it has one before it at most, beside the one under way.
    for n in 1..4 {
        let (mark, asked) = (format!("polite {n}"), house.marks().len());
        let polite = house.crowd(&bob, &mark, 1).await;
        while !house.marks().contains(&mark) {
            assert!(house.marks().len() <= asked + 1, "more were served before it: {:?}", house.marks());
            house.one_more().await;
        }
        house.one_more().await;
        assert_eq!(polite.join_all().await, [200]);
    }
    house.sim.clear_scripts();
    house.sim.release();
    assert_eq!(greedy.join_all().await, [200; 40], "nobody is left out");
    assert_eq!(first.await.expect("no panic").status, 200);
    house.assert_books_balance().await;
}

#[tokio::test]
async fn shares_follow_weights() {
    let house = narrow("").await;
    let ann = house.client(json!({"name": "ann"})).await;
    let bob = house.client(json!({"name": "bob", "weight": 2})).await;
    let changed = house.operate("PATCH", &format!("/clients/{}", bob.id), &json!({"weight": 4})).await.json();
    assert_eq!(changed["weight"], 4);
    let _first = house.occupy(&ann).await;
    let anns = house.crowd(&ann, "ann", 20).await;
    let bobs = house.crowd(&bob, "bob", 20).await;
    house.sim.release();
    assert_eq!((anns.join_all().await, bobs.join_all().await), (vec![200; 20], vec![200; 20]));
    let of_bob = house.marks().iter().skip(1).take(20).filter(|mark| *mark == "bob").count();
    assert!((15..=17).contains(&of_bob), "{of_bob} of twenty are bob's");
}

#[tokio::test]
async fn a_line_that_is_full_says_so_in_every_dialect() {
    let house = narrow("queue_max = 3\nqueue_per_client_max = 2\n").await;
    let (ann, bob) = (house.client(json!({"name": "ann"})).await, house.client(json!({"name": "bob"})).await);
    let _first = house.occupy(&ann).await;
    let anns = house.crowd(&ann, "ann", 2).await;
    for (path, place, expected) in [
        (CHAT, "/error/code", "queue_full"),
        ("/v1/responses", "/error/code", "queue_full"),
        ("/v1/messages", "/error/type", "rate_limit_error"),
    ] {
        let answer = house.ask(&bearing(Ask::post(path, chat(MODEL)), &ann.key)).await;
        let code = answer.json().pointer(place).and_then(|code| code.as_str()).map(str::to_owned);
        assert_eq!((answer.status, code.as_deref()), (429, Some(expected)), "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.text().contains("of this client"), "{}", answer.text());
    }
    let bobs = house.crowd(&bob, "bob", 1).await;
    let refused = house.ask(&ask(&bob.key)).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (429, &json!("queue_full")));
    let metrics = Ask::get("/metrics").send(house.admin).await.text();
    for line in ["potluck_requests_waiting 3\n", "potluck_client_refusals_total{reason=\"queue_full\"} 4\n"] {
        assert!(metrics.contains(line), "{line}");
    }
    house.sim.release();
    assert_eq!((anns.join_all().await, bobs.join_all().await), (vec![200; 2], vec![200]));
    let metrics = Ask::get("/metrics").send(house.admin).await.text();
    for line in ["potluck_requests_waiting 0\n", "potluck_wait_seconds_count 3\n"] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn nobody_waits_in_line_for_longer_than_the_setting_says() {
    for (wait_ms, least) in [(0, Duration::ZERO), (400, Duration::from_millis(400))] {
        // For a key that rests it would wait much longer.
        let house = narrow(&format!("queue_wait_ms = {wait_ms}\n[upstream]\nwait_for_key_ms = 60000\n")).await;
        let ann = house.client(json!({"name": "ann"})).await;
        let _first = house.occupy(&ann).await;
        let begun = Tick::now();
        let answer = house.ask(&ask(&ann.key)).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("all_keys_busy")));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!((least..least + Duration::from_secs(3)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(house.pot.waiting(), 0);
        house.sim.release();
    }
}

#[tokio::test]
async fn a_client_that_leaves_the_line_or_is_revoked_in_it_costs_nothing() {
    let house = narrow("").await;
    let (ann, bob) = (house.client(json!({"name": "ann"})).await, house.client(json!({"name": "bob"})).await);
    let first = house.occupy(&ann).await;
    let leaving = house.crowd(&ann, "leaving", 5).await;
    let revoked = house.crowd(&bob, "revoked", 5).await;
    let staying = house.crowd(&ann, "staying", 1).await;
    drop(leaving);
    house.revoke(&bob).await;
    house.so("they are gone", || house.pot.waiting() == 1).await;
    assert_eq!(revoked.join_all().await, [0; 5], "closed without an answer");
    house.sim.release();
    assert_eq!((first.await.expect("no panic").status, staying.join_all().await), (200, vec![200]));
    assert_eq!(house.marks(), ["first", "staying"]);
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_request_for_a_key_that_nobody_waits_for_goes_up_at_once() {
    let house = narrow("").await;
    let ann = house.client(json!({"name": "ann"})).await;
    let key = house.overview().await.keys[0].id;
    let only = |patterns: [&'static str; 1]| potluck::money::ModelGlobs::new(patterns);
    house.pot.change_limits(KeyRef::Id(key), |limits| limits.models = only([MODEL])).await.expect("set");
    let (_, other) = house.donate(potluck::simulator::Pico::usd(10)).await;
    house.pot.change_limits(KeyRef::Id(other), |limits| limits.models = only(["google/*"])).await.expect("set");
    let _first = house.occupy(&ann).await;
    let crowd = house.crowd(&ann, "waiting", 10).await;
    for _ in 0..3 {
        let elsewhere = bearing(Ask::post(CHAT, chat("google/gemini-2.5-flash")), &ann.key);
        assert_eq!(house.ask(&elsewhere).await.status, 200);
    }
    assert_eq!(house.pot.waiting(), 10);
    house.sim.release();
    assert_eq!(crowd.join_all().await, [200; 10]);
}
