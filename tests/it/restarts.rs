//! What survives a restart: every state and every figure, and above all that a key is depleted.

use std::time::Duration;

use potluck::money::Usd;
use potluck::pool::{Cause, Health, KeyState};
use potluck::pot::Overview;
use potluck::simulator::{AccountSettings, KeySettings, Pico, Play, Reset, Script};

use crate::support::{Ask, House, MODEL, chat};

const CHAT: &str = "/api/v1/chat/completions";

fn ask() -> Ask {
    Ask::post(CHAT, chat(MODEL))
}

/// Seven keys, each in a state of its own, by the upstream's own bookkeeping.
async fn all_states() -> House {
    let house = House::new(7, "").await;
    house.sim.edit_account(1, |account| account.credits_usd = Pico::ZERO);
    house.sim.edit_key(2, |key| (key.limit_usd, key.limit_reset) = (Some(Pico::ZERO), Some(Reset::Daily)));
    house.sim.edit_key(3, |key| key.disabled = true);
    house.sim.script(Script::next(Play::refuse("402-in-flight")).on_key(4));
    house.sim.edit_account(5, |account| account.ip_blocked = true);
    house.sim.edit_account(6, |account| account.free_per_day = Some(0));
    for model in [MODEL, "google/gemma-3-27b-it:free"] {
        let asks = house.ask_often(&Ask::post(CHAT, chat(model)), 7).await;
        assert!(asks.iter().all(|answer| answer.status == 200));
    }
    // Free questions about this one are answered, so that another request must confirm what it says, if none has yet.
    let cleared = |o: &Overview| matches!(o.keys[5].state.health, Health::Healthy | Health::Failed);
    house.until("a free question has cleared it", cleared).await;
    assert!(house.ask_often(&ask(), 7).await.iter().all(|answer| answer.status == 200));
    let confirmed = |o: &Overview| {
        let left = |key: usize| o.keys[key].state.remaining;
        o.keys[3].state.health == Health::Failed && left(1) == Some(Usd::ZERO) && left(2) == Some(Usd::ZERO)
    };
    house.until("free questions have confirmed it all", confirmed).await;
    house
}

#[tokio::test]
async fn a_restart_forgets_no_state_and_no_figure() {
    use Health::{Depleted, Failed, Healthy, RateLimited};
    let house = all_states().await;
    let before = house.booked().await;
    let health: Vec<Health> = before.keys.iter().map(|key| key.state.health).collect();
    assert_eq!(health, [Healthy, Depleted, Depleted, Failed, RateLimited, Failed, Healthy]);
    assert!(before.keys[6].state.free_until.is_some());
    let house = house.restart().await;
    let after = house.overview().await;
    for (before, after) in before.keys.iter().zip(&after.keys) {
        assert_eq!((after.id, after.fingerprint, after.account), (before.id, before.fingerprint, before.account));
        // When it is next asked about may have changed by a question that was on its way.
        let lasting = |state: &KeyState| KeyState { probe_at: None, ..state.clone() };
        assert_eq!((lasting(&after.state), after.totals), (lasting(&before.state), before.totals), "{}", before.id);
    }
    assert_eq!(after.keys.len(), 7);
    assert_eq!((after.requests, after.successes), (before.requests, before.successes));
    assert_eq!((after.spent_total, after.spent_today), (before.spent_total, before.spent_today));
    house.forget_log();
    let answers = house.ask_often(&ask(), 4).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let mut used = house.used();
    used.sort_unstable();
    assert_eq!(used, [0, 0, 6, 6], "nobody who is out is asked");
    house.assert_books_balance().await;
}

#[tokio::test]
async fn a_depleted_key_stays_so_over_many_restarts_and_comes_back_on_its_evidence() {
    let mut house = House::new(1, "").await;
    house.sim.edit_account(0, |account| account.credits_usd = Pico::ZERO);
    assert_eq!(house.ask(&ask()).await.status, 503);
    for _ in 0..3 {
        house = house.restart().await;
        assert_eq!(house.told().await, [(Health::Depleted, Cause::Credit, None)]);
        house.forget_log();
        assert_eq!(house.ask(&ask()).await.status, 503);
        assert!(house.went_up().is_empty());
    }
    house.sim.edit_account(0, |account| account.credits_usd = Pico::usd(5));
    house.pass(Duration::from_secs(900));
    house.until("it is back", |o| o.keys[0].state.health == Health::Healthy).await;
}

#[tokio::test]
async fn keys_of_one_account_stay_together_over_a_restart() {
    let house = House::new(0, "").await;
    let account = house.sim.open_account(AccountSettings::default());
    for _ in 0..2 {
        house.donate_key(&house.sim.make_key(account, KeySettings::default())).await;
    }
    let house = house.restart().await;
    house.sim.edit_account(account, |settings| settings.credits_usd = Pico::ZERO);
    assert_eq!(house.ask(&ask()).await.status, 503);
    assert_eq!(house.went_up().len(), 1);
    assert_eq!(house.told().await, [(Health::Depleted, Cause::Credit, None); 2]);
}
