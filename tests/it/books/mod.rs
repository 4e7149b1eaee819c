//! The books: whatever happens, the ledger is the upstream's bill.

mod day;
mod outage;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use potluck::pool::Gate;
use potluck::simulator::{AccountSettings, KeySettings, Pico, Play, Script};

use crate::support::{Ask, Dice, House, MODEL, Reading, assert_no_panics, chat, chat_stream};
use traffic::{Call, Saw};

/// Unknown costs are looked up at once, as often as it takes.
const EAGER: &str = "[ledger]\nreconcile_schedule_ms = [1, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000]\n";
const SEED: u64 = 20_261_125;
const REQUESTS: usize = 2000;
/// The requests come in so many parts; between two of them potluck is started anew.
const PARTS: usize = 4;
const CLIENTS: usize = 8;

/// Refusals that say something about a key, its account or a provider. Each is given once in a part, to whichever
/// request is the next at its place.
const REFUSALS: [&str; 16] = [
    "402-credits",
    "402-in-flight",
    "402-afford-key-daily",
    "402-key-limit",
    "403-key-daily",
    "403-moderation",
    "404-endpoints",
    "400-context",
    "429-bare",
    "429-provider",
    "429-free-minute",
    "500",
    "502",
    "503-retry",
    "408",
    "529",
];

/// Twenty keys that are well, some that will run dry on the way, one capped, two that share an account, one that
/// uses its owner's provider.
async fn stock(house: &House) {
    for _ in 0..20 {
        house.donate(Pico::usd(50)).await;
    }
    for cents in [1, 2, 3, 8] {
        house.donate(Pico(cents * 10_000_000_000)).await;
    }
    let shared = house.sim.open_account(AccountSettings::with_balance(Pico::usd(50)));
    let capped = KeySettings { limit_usd: Some(Pico(20_000_000_000)), ..KeySettings::default() };
    for settings in [KeySettings::default(), capped] {
        let key = house.sim.make_key(shared, settings);
        house.donate_key(&key).await;
    }
    let own = AccountSettings { own_keys: vec!["OpenAI".to_owned()], own_key_fee_permille: 50, ..Default::default() };
    let own = house.sim.make_key(house.sim.open_account(own), KeySettings::default());
    house.donate_key(&own).await;
}

fn order_refusals(house: &House, dice: &mut Dice) {
    let refusals = REFUSALS.iter().map(|name| Play::refuse(name));
    let faults = ["reset@0", "cut@1", "stall@64"].map(|fault| Play { fault: fault.parse().ok(), ..Play::default() });
    for play in refusals.chain(faults) {
        let mut script = Script::next(play);
        script.skip = u32::try_from(dice.below(REQUESTS / PARTS / 2)).unwrap();
        house.sim.script(script);
    }
}

/// Make the calls, several clients at a time, each taking the next one.
async fn make(house: &House, calls: Vec<Call>) -> BTreeMap<Saw, usize> {
    let (calls, next, proxy) = (Arc::new(calls), Arc::new(AtomicUsize::new(0)), house.proxy);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let (calls, next) = (Arc::clone(&calls), Arc::clone(&next));
        clients.spawn(async move {
            let mut saw = BTreeMap::<Saw, usize>::new();
            while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                *saw.entry(call.make(proxy).await).or_default() += 1;
            }
            saw
        });
    }
    let mut all = BTreeMap::<Saw, usize>::new();
    while let Some(saw) = clients.join_next().await {
        saw.unwrap().into_iter().for_each(|(what, count)| *all.entry(what).or_default() += count);
    }
    all
}

/// Streams that are open and stay so.
async fn open_streams(house: &House) -> Vec<Reading> {
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut reading = Ask::post("/api/v1/chat/completions", chat_stream("sim/fixture-8")).open(house.proxy).await;
        assert_eq!(reading.status, 200);
        reading.chunk().await.unwrap().unwrap();
        open.push(reading);
    }
    open
}

#[tokio::test]
async fn the_ledger_of_two_thousand_mixed_requests_is_the_upstreams_bill_to_the_pico_dollar() {
    // What names no generation, as a refusal that cannot be read, is settled by its key's usage: after both times.
    let settings = format!(
        "{EAGER}usage_settle_after_ms = 500\n[upstream]\nidle_timeout_ms = 500\ntotal_timeout_ms = 3000\nwait_for_key_ms = 0\n"
    );
    let mut house = House::new(0, &settings).await;
    stock(&house).await;
    let mut dice = Dice::new(SEED);
    let mut saw = BTreeMap::new();
    for part in 0..PARTS {
        order_refusals(&house, &mut dice);
        let calls = (0..REQUESTS / PARTS).map(|n| Call::any(&mut dice, part * REQUESTS + n)).collect();
        for (what, count) in make(&house, calls).await {
            *saw.entry(what).or_insert(0) += count;
        }
        house.sim.clear_scripts();
        house.until("the last request is over", |o| o.in_flight == 0).await;
        if part + 1 < PARTS {
            let streams = open_streams(&house).await;
            house = house.restart().await;
            drop(streams);
            // Keys that were rested are back, those that ran dry are not.
            house.pass(Duration::from_secs(20 * 60));
        }
    }
    // What was broken off last is over by then, and looked at again.
    tokio::time::sleep(Duration::from_secs(4)).await;
    house.pass(Duration::from_secs(60));
    // Usage proves nothing until what was just told about a key is shown in it, and is asked for again a minute later.
    tokio::time::sleep(Duration::from_secs(3)).await;
    house.pass(Duration::from_secs(120));
    house.assert_books_balance().await;
    assert_eq!(house.pot.store().verify_totals(None).await.unwrap(), []);
    assert_no_panics();
    check_mix(&house, &saw).await;
}

/// The test is worth something only if all of it happened.
async fn check_mix(house: &House, saw: &BTreeMap<Saw, usize>) {
    let count = |what: fn(&Saw) -> bool| saw.iter().filter(|(s, _)| what(s)).map(|(_, n)| n).sum::<usize>();
    assert_eq!(saw.values().sum::<usize>(), REQUESTS, "{saw:?}");
    assert!(count(|s| *s == Saw::Whole(200)) > REQUESTS * 3 / 4, "{saw:?}");
    assert!(count(|s| *s == Saw::Cut) > 20 && count(|s| *s == Saw::Left) > 50, "{saw:?}");
    assert!(count(|s| matches!(s, Saw::Whole(400..))) > 10, "{saw:?}");
    let bill = house.sim.bill();
    assert_eq!(bill.running, 0);
    assert!(bill.total.0 > 0 && bill.accounts.iter().filter(|l| l.cost.0 > 0).count() > 20);
    assert!(bill.accounts.iter().any(|line| line.own_key_cost.0 > 0));
    let totals = house.pot.store().totals(house.clock.now().day()).await.unwrap();
    let [answered, inside, key_refused, refused, _, broken, gone] = totals.attempts;
    assert!(answered > 1000 && inside > 5 && key_refused > 5 && refused > 5 && broken > 20 && gone > 10, "{totals:?}");
    // A few lines more: attempts whose client left before the upstream had the whole request.
    let (lines, went_up) = (totals.attempts.iter().sum::<u64>(), house.went_up().len() as u64);
    assert!((went_up..went_up + gone).contains(&lines), "each attempt has its line: {lines}, {went_up}");
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_head_pays_all_the_same() {
    let house = House::new(2, EAGER).await;
    for (number, model) in [MODEL, "google/gemini-2.5-flash"].into_iter().enumerate() {
        let ask = Ask::post("/api/v1/chat/completions", chat_stream(&format!("{model}?delay_head_ms=150")));
        let sent = tokio::time::timeout(Duration::from_millis(40), ask.open(house.proxy)).await;
        assert!(sent.is_err(), "the head is late");
        house.until("it is booked", |o| o.in_flight == 0 && o.requests == number as u64 + 1).await;
        house.assert_books_balance().await;
    }
    let bill = house.sim.bill();
    assert_eq!((bill.generations.len(), bill.running), (2, 0));
    assert!(bill.generations.iter().all(|generation| generation.cost.0 > 0), "{:?}", bill.generations);
    assert_eq!(house.overview().await.suspense.exhausted, 0);
}

#[tokio::test]
async fn a_sum_that_was_changed_takes_its_key_out_also_when_it_is_not_of_this_day() {
    let house = House::new(2, "[ledger]\nverify_all_every_ms = 1000").await;
    assert_eq!(house.ask(&Ask::post("/api/v1/chat/completions", chat(MODEL))).await.status, 200);
    house.until("it is booked", |o| o.in_flight == 0 && o.requests == 1).await;
    let sound = house.overview().await;
    assert!(sound.keys.iter().all(|key| key.gate == Gate::Open));
    let hand = rusqlite::Connection::open(house.data_dir().join("potluck.db")).unwrap();
    assert_eq!(hand.execute("UPDATE key_totals SET pico = pico - 1 WHERE key = 1", []).unwrap(), 1);
    house.until("the key is out", |now| now.keys[0].gate == Gate::Unsound && now.keys[1].gate == Gate::Open).await;
    house.sim.clear_log();
    for _ in 0..2 {
        assert_eq!(house.ask(&Ask::post("/api/v1/chat/completions", chat(MODEL))).await.status, 200);
    }
    assert!(house.went_up().iter().all(|entry| entry.key == Some(1)));
}
