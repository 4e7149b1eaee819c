//! How keys come back: by their timers, on evidence, by an operator's word.

use std::time::Duration;

use potluck::money::Usd;
use potluck::pool::{Cause, Health, KeyId};
use potluck::pot::Overview;
use potluck::simulator::{Fault, Pico, Play, Reset, Script};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{Ask, House, MODEL, NOON, at, chat, chat_stream};

const CHAT: &str = "/api/v1/chat/completions";

fn ask() -> Ask {
    Ask::post(CHAT, chat(MODEL))
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// What the first key is known to have left.
fn left(overview: &Overview) -> Option<Usd> {
    overview.keys[0].state.remaining
}

impl House {
    /// Which keys the next two requests go up with.
    async fn next_two(&self) -> Vec<usize> {
        self.forget_log();
        let answers = self.ask_often(&ask(), 2).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        let mut used = self.used();
        used.sort_unstable();
        used
    }

    async fn ids(&self) -> Vec<KeyId> {
        self.overview().await.keys.iter().map(|key| key.id).collect()
    }
}

/// The key rests until so long after now, and is used again from then on.
async fn check_rest(house: &House, health: Health, rest: Duration) {
    let state = house.state(0).await;
    assert_eq!((state.health, state.until), (health, Some(house.clock.now().after(rest))));
    house.pass(rest - Duration::from_secs(1));
    assert_eq!(house.next_two().await, [1, 1], "{health:?} still");
    house.pass(Duration::from_secs(1));
    assert_eq!(house.next_two().await, [0, 1], "{health:?} no more");
    let state = house.state(0).await;
    assert_eq!((state.health, state.cause, state.strikes), (Health::Healthy, Cause::Fresh, 0), "it has served");
}

#[tokio::test]
async fn rests_set_by_hand_are_five_and_fifteen_minutes() {
    let house = House::new(2, "").await;
    let first = house.ids().await[0];
    for (health, rest) in [(Health::Degraded, minutes(5)), (Health::RateLimited, minutes(15))] {
        house.say(first, health).await;
        check_rest(&house, health, rest).await;
    }
}

#[tokio::test]
async fn a_doubted_key_rests_five_minutes_and_twice_as_long_when_it_fails_its_trial() {
    let house = House::new(2, "").await;
    house.silence_probes();
    let refuse = || house.sim.script(Script::next(Play::refuse("401-user")).on_key(0));
    refuse();
    assert_eq!(house.next_two().await, [0, 1, 1]);
    let state = house.state(0).await;
    assert_eq!((state.health, state.cause), (Health::Degraded, Cause::Doubted));
    house.pass(minutes(5));
    refuse();
    assert_eq!(house.next_two().await, [0, 1, 1]);
    check_rest(&house, Health::Degraded, minutes(10)).await;
}

#[tokio::test]
async fn an_account_with_too_much_in_flight_rests_as_long_as_it_is_told_to() {
    let house = House::new(2, "").await;
    // Room for one request of this model without `max_tokens`, not for two.
    house.sim.edit_account(0, |account| {
        account.in_flight_budget_usd = Pico::parse_usd("0.015");
        account.in_flight_retry_after_s = 45;
    });
    let held = Script::next(Play { hold_usage: Some(true), ..Play::default() }).on_key(0);
    house.sim.script(held);
    let open = Ask::post(CHAT, chat_stream(MODEL)).open(house.proxy).await;
    assert_eq!(open.status, 200);
    assert_eq!(house.next_two().await, [0, 1, 1]);
    house.sim.release();
    assert!(open.rest().await.whole);
    check_rest(&house, Health::RateLimited, Duration::from_secs(45)).await;
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_key_at_its_limit_is_back_when_the_limit_turns() {
    for (reset, back) in [(Reset::Daily, "2026-11-25"), (Reset::Weekly, "2026-11-30"), (Reset::Monthly, "2026-12-01")] {
        let back = at(&format!("{back}T00:00:00Z"));
        let house = House::new(2, "").await;
        house.sim.edit_key(0, |key| (key.limit_usd, key.limit_reset) = (Pico::parse_usd("0.02"), Some(reset)));
        house.sim.script(Script::next(Play { cost: Some("0.02".to_owned()), ..Play::default() }).on_key(0));
        assert_eq!(house.next_two().await, [0, 1]);
        assert_eq!(house.next_two().await, [0, 1, 1], "it is used up");
        let told = house.until("it is out", |o| o.keys[0].state.health == Health::Depleted).await;
        let state = &told.keys[0].state;
        assert_eq!((state.cause, state.until), (Cause::KeyLimit, Some(back)), "{reset:?}");
        house.pass(back.since(house.clock.now()) - Duration::from_secs(5));
        assert_eq!(house.next_two().await, [1, 1], "{reset:?}: not a moment early");
        house.pass(Duration::from_secs(5));
        assert_eq!(house.next_two().await, [0, 1], "{reset:?}");
    }
}

#[tokio::test]
async fn a_free_lane_opens_at_the_reset_the_upstream_names_in_milliseconds() {
    let house = House::new(1, "").await;
    house.sim.edit_account(0, |account| account.free_per_minute = 1);
    house.pass(Duration::from_millis(12_345));
    let free = Ask::post(CHAT, chat("google/gemma-3-27b-it:free"));
    assert_eq!(house.ask(&free).await.status, 200);
    let limited = house.ask(&free).await;
    let left = (NOON + 60_000 - house.clock.now().as_millis()) as u64;
    assert_eq!((limited.status, limited.header("retry-after")), (503, Some(&*left.div_ceil(1000).to_string())));
    assert_eq!(house.state(0).await.free_until.map(|t| t.as_millis()), Some(NOON + 60_000));
    house.pass(Duration::from_millis(left));
    assert_eq!(house.ask(&free).await.status, 200);
}

#[tokio::test]
async fn a_key_on_trial_gets_one_request_while_others_can_serve() {
    let house = House::new(2, "").await;
    house.say(house.ids().await[0], Health::Degraded).await;
    house.pass(minutes(5));
    let trial = house.stalled_trial().await;
    let others = house.ask_often(&ask(), 5).await;
    assert!(others.iter().all(|answer| answer.status == 200));
    assert_eq!(house.used(), [0, 1, 1, 1, 1, 1], "nobody else goes up with it meanwhile");
    house.sim.release();
    assert_eq!(trial.await.unwrap(), 200);
    assert_eq!(house.next_two().await, [0, 1]);
}

/// A pool of one key that has come back, a trial on it that is silent so far, and others that want it, too.
async fn crowd_behind_a_trial(settings: &str) -> (House, JoinHandle<u16>, JoinSet<u16>) {
    let house = House::new(1, settings).await;
    house.silence_probes();
    house.say(house.ids().await[0], Health::Degraded).await;
    house.pass(minutes(5));
    let trial = house.stalled_trial().await;
    let mut others = JoinSet::new();
    for _ in 0..30 {
        let (ask, proxy) = (ask(), house.proxy);
        others.spawn(async move { ask.send(proxy).await.status });
    }
    (house, trial, others)
}

impl House {
    /// A request that begins a key's trial and hears nothing until it is released.
    async fn stalled_trial(&self) -> JoinHandle<u16> {
        self.forget_log();
        self.sim.script(Script::next(Play { fault: Some(Fault::StallBeforeHead), ..Play::default() }));
        let (trial, proxy) = (ask(), self.proxy);
        let trial = tokio::spawn(async move { trial.send(proxy).await.status });
        self.until("the trial is under way", |_| self.went_up().len() == 1).await;
        trial
    }
}

#[tokio::test]
async fn a_slow_trial_of_the_only_key_is_nobodys_error() {
    for settings in ["[upstream]\nwait_for_key_ms = 300\n", "[upstream]\nwait_for_key_ms = 0\n"] {
        let waits = !settings.contains("= 0");
        let (house, trial, others) = crowd_behind_a_trial(settings).await;
        if waits {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(house.went_up().len(), 1, "the verdict is waited for");
            assert_eq!(others.join_all().await, [200; 30], "but not for ever");
        } else {
            // Who never waits may still find no place at the very first moment.
            assert!(others.join_all().await.contains(&200));
        }
        assert!(!trial.is_finished());
        house.sim.release();
        assert_eq!(trial.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_key_that_is_still_broken_meets_a_handful_of_requests_and_not_all() {
    let (house, trial, others) = crowd_behind_a_trial("[upstream]\nwait_for_key_ms = 300\n").await;
    house.sim.script(Script::always(Play { fault: Some(Fault::StallBeforeHead), ..Play::default() }));
    house.until("a handful is up", |_| house.went_up().len() == 8).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(house.went_up().len(), 8, "the rest waits on");
    assert_eq!(others.len(), 30);
    house.sim.edit_account(0, |account| account.credits_usd = Pico::ZERO);
    house.sim.release();
    assert_eq!(trial.await.unwrap(), 503);
    assert_eq!(others.join_all().await, [503; 30]);
    assert_eq!(house.went_up().len(), 8, "one answer was enough");
    assert_eq!(house.state(0).await.cause, Cause::Credit);
}

#[tokio::test]
async fn a_trial_that_brings_no_verdict_leaves_the_next_request_to_try() {
    let house = House::new(1, "[upstream]\nwait_for_key_ms = 0\n").await;
    house.say(house.ids().await[0], Health::Degraded).await;
    house.pass(minutes(5));
    house.sim.script(Script::next(Play::refuse("502")));
    assert_eq!(house.ask(&ask()).await.status, 502, "a provider's error says nothing about the key");
    assert_eq!(house.state(0).await.cause, Cause::Recovering);
    // Another key is tried after this one, but it blames nobody either.
    house.sim.script(Script::next(Play::refuse("403-injection")));
    assert_eq!(house.ask(&ask()).await.status, 403, "a guardrail's refusal is the request's");
    assert_eq!(house.ask(&ask()).await.status, 200);
    assert_eq!(house.state(0).await.cause, Cause::Fresh);
}

#[tokio::test]
async fn requests_wait_a_little_for_a_key_on_trial() {
    let house = House::new(1, "").await;
    house.say(house.ids().await[0], Health::Degraded).await;
    house.pass(minutes(5));
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let (ask, proxy) = (ask(), house.proxy);
        clients.spawn(async move { ask.send(proxy).await.status });
    }
    assert_eq!(clients.join_all().await, [200; 6]);
}

#[tokio::test]
async fn a_topped_up_account_is_found_by_a_free_question() {
    let house = House::new(1, "").await;
    house.sim.edit_account(0, |account| account.credits_usd = Pico::ZERO);
    assert_eq!(house.ask(&ask()).await.status, 503);
    house.until("a free question confirmed it", |o| left(o) == Some(Usd::ZERO)).await;
    let told = house.told().await;
    assert_eq!(told, [(Health::Depleted, Cause::Credit, None)]);
    house.sim.edit_account(0, |account| account.credits_usd = Pico::usd(5));
    house.forget_log();
    house.pass(minutes(9));
    assert!(house.pot.due_probes(9).is_empty(), "asked about slowly");
    assert_eq!(house.told().await, told);
    house.pass(minutes(3));
    house.until("it is back", |o| o.keys[0].state.health == Health::Healthy).await;
    assert!(house.went_up().is_empty(), "without a paid request");
    assert_eq!(house.state(0).await.cause, Cause::Evidence);
    assert_eq!(house.ask(&ask()).await.status, 200);
}

#[tokio::test]
async fn without_rechecks_only_an_operators_word_brings_an_account_back() {
    let house = House::new(1, "[pool]\ncredit_recheck = false\n").await;
    house.sim.edit_account(0, |account| account.credits_usd = Pico::ZERO);
    assert_eq!(house.ask(&ask()).await.status, 503);
    house.sim.edit_account(0, |account| account.credits_usd = Pico::usd(5));
    house.pass(minutes(7 * 60));
    house.until("it is known", |o| left(o) > Some(Usd::ZERO)).await;
    assert_eq!(house.told().await, [(Health::Depleted, Cause::Credit, None)]);
    house.say(house.ids().await[0], Health::Healthy).await;
    assert_eq!(house.ask(&ask()).await.status, 200);
}

#[tokio::test]
async fn a_key_is_failed_only_when_a_free_question_confirms_it() {
    let house = House::new(2, "").await;
    // An incident: a valid key is told that it is unknown.
    house.sim.script(Script::next(Play::refuse("401-user")).on_key(0));
    assert_eq!(house.ask(&ask()).await.status, 200);
    assert_eq!(house.used(), [0, 1]);
    house.until("it is cleared", |o| o.keys[0].state.health == Health::Healthy).await;
    assert_eq!(house.next_two().await, [0, 1]);
    // Revoked: both the request and the question say so.
    house.sim.edit_key(0, |key| key.disabled = true);
    house.next_two().await;
    let told = house.until("it is failed", |o| o.keys[0].state.health == Health::Failed).await;
    assert_eq!(told.keys[0].state.cause, Cause::Rejected);
    house.sim.edit_key(0, |key| key.disabled = false);
    house.pass(minutes(7 * 24 * 60));
    assert!(!house.pot.due_probes(9).contains(&house.ids().await[0]), "nobody asks any more");
    assert_eq!(house.state(0).await.health, Health::Failed, "by hand only");
    house.say(house.ids().await[0], Health::Healthy).await;
    assert_eq!(house.next_two().await, [0, 1]);
}

#[tokio::test]
async fn a_key_that_bars_our_address_is_failed_only_when_its_trial_confirms_it() {
    let house = House::new(2, "").await;
    let well = |o: &Overview| o.keys[0].state.health == Health::Healthy;
    let barred = async || {
        house.forget_log();
        assert_eq!(house.ask(&ask()).await.status, 200);
        assert_eq!(house.used(), [0, 1], "the other key serves");
    };
    // An incident: one answer says so, and nothing more.
    house.sim.script(Script::next(Play::refuse("403-ip")).on_key(0));
    barred().await;
    house.until("a free question has cleared it", well).await;
    assert_eq!(house.next_two().await, [0, 1]);
    assert_eq!(house.state(0).await.cause, Cause::Fresh);
    // In earnest: free questions are answered, requests are not.
    house.sim.script(Script::always(Play::refuse("403-ip")).on_key(0));
    barred().await;
    house.until("a free question has cleared it again", well).await;
    barred().await;
    house.sim.clear_scripts();
    house.pass(minutes(7 * 24 * 60));
    assert_eq!(house.told().await[0], (Health::Failed, Cause::Barred, None), "by hand only");
    assert_eq!(house.next_two().await, [1, 1]);
}

#[tokio::test]
async fn what_an_operator_says_stands_against_evidence() {
    let house = House::new(2, "").await;
    let first = house.ids().await[0];
    house.say(first, Health::Depleted).await;
    house.sim.edit_account(0, |account| account.credits_usd = Pico::usd(20));
    house.pass(minutes(24 * 60));
    house.until("its credit is known", |o| left(o) == Some("20".parse().unwrap())).await;
    assert_eq!(house.told().await[0], (Health::Depleted, Cause::Operator, None));
    assert_eq!(house.next_two().await, [1, 1]);
    house.say(first, Health::Failed).await;
    house.pass(minutes(24 * 60));
    assert_eq!(house.told().await[0], (Health::Failed, Cause::Operator, None));
    assert_eq!(house.next_two().await, [1, 1]);
    house.say(first, Health::Healthy).await;
    assert_eq!(house.next_two().await, [0, 1]);
}
