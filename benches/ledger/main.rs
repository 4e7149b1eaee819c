//! Question: does a start, a look at the status, a day's summary or a page of the ledger depend on how long the ledger is?
//!
//! `cargo bench --bench ledger` builds a ledger of 10 million lines in a temporary directory (`-- --rows N` for another
//! number, `-- --keys N` for more keys than 1,000, `-- --verify` to check all books as well) and asks it what operators and
//! donors ask. The lines are written past the store, which books one attempt at a time.

#![allow(clippy::indexing_slicing, clippy::large_futures, clippy::disallowed_methods)]

mod build;

use std::path::Path;
use std::time::{Duration, Instant};

use potluck::clock::{Clock, Day, Timestamp};
use potluck::money::{
    ClientId, Cost, Entry, GenerationId, Intent, Limits, ModelGlobs, Outcome, RequestId, Tokens, Usd, Window,
};
use potluck::pool::KeyId;
use potluck::store::{LedgerFilter, Store, StoreOptions};
use potluck::upstream::Endpoint;

/// The ledger's last day, at noon; the days before it go back from there.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAYS: i32 = 100;
const LOOKS: usize = 9;
/// Attempts booked in one go.
const BATCH: u32 = 2_000;

fn number(args: &[String], name: &str, usual: u64) -> u64 {
    let at = args.iter().position(|arg| arg == name);
    at.map_or(usual, |at| args[at + 1].parse().expect("a number"))
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --all-targets` runs benches too, to see that they work.
    let quick = args.iter().any(|arg| arg == "--test") || !args.iter().any(|arg| arg == "--bench");
    let rows = number(&args, "--rows", if quick { 5_000 } else { 10_000_000 });
    let keys = u32::try_from(number(&args, "--keys", if quick { 20 } else { 1_000 })).expect("few enough");
    let place = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let began = Instant::now();
    runtime.block_on(add_keys(place.path(), keys));
    build::fill(&options(place.path()).path, &build::Plan { rows, keys, days: DAYS, last: NOW.day() });
    let bytes = std::fs::metadata(options(place.path()).path).expect("there").len();
    println!("{rows} lines, {keys} keys, {DAYS} days: {} MB, built in {:.0?}", bytes >> 20, began.elapsed());
    runtime.block_on(ask(place.path(), keys, args.iter().any(|arg| arg == "--verify")));
}

fn options(place: &Path) -> StoreOptions {
    StoreOptions {
        path: place.join("data").join("potluck.db"),
        master_key: None,
        master_key_file: place.join("data").join("master.key"),
        queue_max_entries: 100_000,
        commit_gather: Duration::from_millis(5),
        first_lookup: Duration::from_secs(2),
        close_patience: Duration::from_secs(5),
        reserve_bytes: 0,
    }
}

fn open(place: &Path) -> Store {
    Store::open(options(place), &Clock::manual(NOW)).expect("opens").0
}

/// Every other key has caps: those are what a start reads the days of.
async fn add_keys(place: &Path, keys: u32) {
    let store = open(place);
    let mut adding = tokio::task::JoinSet::new();
    for number in 1..=keys {
        let mut limits = Limits { models: ModelGlobs::new(["acme/*"]), ..Limits::default() };
        if number % 2 == 0 {
            limits.caps.set(Window::Month, Some(Usd::from_pico(1_000_000_000_000_000)));
        }
        let key = build::new_key(number, limits, NOW);
        let store = store.clone();
        adding.spawn(async move { store.add_key(key).await.expect("added") });
        while adding.len() >= 1000 {
            adding.join_next().await;
        }
    }
    adding.join_all().await;
    store.close().expect("closed");
}

/// Tell how long something takes: the median, the longest, and what was aimed at.
fn tell(what: &str, mut took: Vec<Duration>, aim: Option<Duration>) {
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    let aim =
        aim.map_or_else(String::new, |aim| format!("aim < {aim:?}{}", if median < aim { "" } else { "  MISSED" }));
    println!("  {what:<44} {:>12} {:>12}  {aim}", format!("{median:.2?}"), format!("{longest:.2?}"));
}

async fn looks<F: Future>(what: &str, aim: Option<Duration>, mut look: impl FnMut() -> F) {
    let mut took = Vec::new();
    for _ in 0..LOOKS {
        let began = Instant::now();
        look().await;
        took.push(began.elapsed());
    }
    tell(what, took, aim);
}

async fn ask(place: &Path, keys: u32, verify: bool) {
    println!("  {:<44} {:>12} {:>12}", "", "median", "longest");
    let mut took = Vec::new();
    for _ in 0..LOOKS {
        let began = Instant::now();
        let store = open(place);
        took.push(began.elapsed());
        store.close().expect("closed");
    }
    tell("open to ready", took, Some(Duration::from_secs(1)));
    let store = open(place);
    // A start checks the books of its day: let it finish, so that nothing else is measured.
    store.verify_totals(Some(NOW.day())).await.expect("readable");
    let today = NOW.day();
    let aim = |ms| Some(Duration::from_millis(ms));
    looks("totals, for /status", aim(10), || async { drop(store.totals(today).await.expect("readable")) }).await;
    looks("the key pool's spend", aim(10), || async { store.spend(today).await.expect("readable") }).await;
    sums(&store, today).await;
    pages(&store, today).await;
    money(&store, keys, today).await;
    if verify {
        let began = Instant::now();
        let found = store.verify_totals(None).await.expect("readable");
        println!("  all books checked in {:.1?}: {} imbalances", began.elapsed(), found.len());
    }
    store.close().expect("closed");
}

fn of_day(day: Day) -> LedgerFilter {
    LedgerFilter { from: Some(day.start()), to: Some(day.start().next_midnight()), ..LedgerFilter::default() }
}

async fn sums(store: &Store, today: Day) {
    let old = Day::from_number(today.number() - DAYS / 2);
    for (what, day) in [("a day's summary, today's", today), ("a day's summary, an old day's", old)] {
        looks(what, Some(Duration::from_secs(1)), || async {
            assert!(!store.summary(of_day(day)).await.expect("readable").is_empty());
        })
        .await;
    }
    looks("a key's receipt for 30 days", Some(Duration::from_secs(1)), || async {
        let from = Day::from_number(today.number() - 30);
        assert!(store.receipt(KeyId(3), from, today).await.expect("readable").sums.attempts > 0);
    })
    .await;
}

async fn pages(store: &Store, today: Day) {
    let any = LedgerFilter::default();
    let filters = [
        ("the newest page of 100", any.clone()),
        ("a key's newest page", LedgerFilter { key: Some(KeyId(3)), ..any.clone() }),
        ("a client's newest page", LedgerFilter { client: Some(ClientId(2)), ..any.clone() }),
        ("what went wrong", LedgerFilter { outcome: Some(Outcome::Broken), ..any.clone() }),
        ("an old day's page", of_day(Day::from_number(today.number() - DAYS / 2))),
        ("a page of a model nobody asked for", LedgerFilter { model: Some("none/such".into()), ..any }),
    ];
    for (what, filter) in filters {
        looks(what, Some(Duration::from_millis(100)), || async {
            store.ledger(filter.clone(), None, 100).await.expect("readable")
        })
        .await;
    }
}

/// What the writer does: each of these ends with a commit.
async fn money(store: &Store, keys: u32, today: Day) {
    looks("a lease of a key with caps, durable", None, || async {
        let grant = store.draw(KeyId(2), Usd::from_pico(1), Usd::from_pico(1_000), today).await;
        assert!(grant.expect("answered").amount > Usd::ZERO);
    })
    .await;
    let mut booked = 0u32;
    for (what, told) in [("an attempt booked", false), ("an attempt sent, named and booked", true)] {
        let (mut asked, mut took) = (Vec::new(), Vec::new());
        for _ in 0..LOOKS {
            let began = Instant::now();
            for _ in 0..BATCH {
                booked += 1;
                book(store, entry(booked, KeyId(booked % keys + 1)), told);
            }
            asked.push(began.elapsed() / BATCH);
            store.flush().await.expect("durable");
            took.push(began.elapsed() / BATCH);
        }
        tell(&format!("{what}: what a request waits"), asked, None);
        tell(&format!("{what}: until durable, each"), took, None);
    }
}

fn book(store: &Store, entry: Entry, told: bool) {
    let mut slot = store.slot().expect("room");
    if told {
        slot.sent(Intent {
            at: entry.at,
            request: entry.request,
            attempt: entry.attempt,
            key: entry.key,
            account: None,
            client: entry.client,
            endpoint: entry.endpoint,
            model: entry.model.clone(),
            held: entry.held,
        });
        slot.named(entry.generation.clone().expect("named"));
    }
    slot.book(entry);
}

fn entry(number: u32, key: KeyId) -> Entry {
    Entry {
        at: NOW,
        request: RequestId(build::request(u64::from(number), NOW.as_millis() as u64)),
        attempt: 1,
        key,
        account: None,
        client: Some(ClientId(number % 7 + 1).into()),
        endpoint: Endpoint::ChatCompletions,
        model: Some("acme/large-4.5".into()),
        generation: GenerationId::parse(format!("gen-1800000000-{number:020x}").as_bytes()),
        tokens: Tokens { prompt: Some(1_000), completion: Some(200), cached: Some(0), reasoning: None },
        cost: Cost::Known(Usd::from_pico(1_234_567)),
        held: Some(Usd::ZERO),
        byok: None,
        outcome: Outcome::Answered,
        status: Some(200),
        duration_ms: 900,
    }
}
