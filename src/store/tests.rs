//! Whole stores, on real files.

mod budgets;
mod caps;
mod chain;
mod durability;
mod epochs;
mod figures;
mod full;
mod intents;
mod leases;
mod pages;
mod rolled;
mod secrecy;
mod settlement;
mod slices;
mod upgraded;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use rusqlite::Connection;

use crate::clock::{Day, Timestamp};
use crate::money::{Basis, Caps, Cost, Entry, GenerationId, Intent, Limits, Outcome, RequestId, Tokens, Usd, Window};
use crate::secret::Credential;
use crate::upstream::Endpoint;

const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);
const FIRST_LOOKUP: Duration = Duration::from_secs(2);

fn options(directory: &Path) -> StoreOptions {
    StoreOptions {
        path: directory.join("data").join("potluck.db"),
        master_key: None,
        master_key_file: directory.join("data").join("master.key"),
        queue_max_entries: 1000,
        commit_gather: Duration::ZERO,
        first_lookup: FIRST_LOOKUP,
        close_patience: Duration::from_secs(5),
        reserve_bytes: 0,
    }
}

fn open(directory: &Path) -> (Store, Loaded) {
    Store::open(options(directory), &Clock::manual(NOON)).expect("opens")
}

fn credential(number: u32) -> Arc<Credential> {
    Arc::new(Credential::parse(&format!("sk-or-v1-{number:064x}")).expect("well formed"))
}

fn new_key(number: u32) -> NewKey {
    NewKey {
        credential: credential(number),
        label: Some(format!("label {number}")),
        donor_id: None,
        donor_name: Some(format!("donor {number}")),
        account: None,
        limits: Limits::default(),
        state: KeyState::fresh(NOON),
        added_at: NOON,
    }
}

fn request(number: u128) -> RequestId {
    RequestId(uuid::Uuid::from_u128(number))
}

/// An answered attempt of `request` that cost so many pico-dollars.
fn entry(number: u128, key: KeyId, pico: i64) -> Entry {
    Entry {
        at: NOON,
        request: request(number),
        attempt: 1,
        key,
        account: None,
        client: None,
        endpoint: Endpoint::ChatCompletions,
        model: Some("some/model".into()),
        generation: GenerationId::parse(format!("gen-{number}").as_bytes()),
        tokens: Tokens { prompt: Some(10), completion: Some(5), cached: None, reasoning: None },
        cost: Cost::Known(Usd::from_pico(pico)),
        held: None,
        byok: None,
        outcome: Outcome::Answered,
        status: Some(200),
        duration_ms: 12,
    }
}

fn unknown(number: u128, key: KeyId) -> Entry {
    Entry { cost: Cost::Unknown, tokens: Tokens::default(), outcome: Outcome::ClientGone, ..entry(number, key, 0) }
}

fn settlement(pico: i64) -> Settlement {
    Settlement {
        at: NOON.after(Duration::from_secs(60)),
        cost: Usd::from_pico(pico),
        byok: None,
        tokens: Tokens { prompt: Some(20), completion: Some(7), cached: Some(3), reasoning: None },
        model: None,
        basis: Basis::Upstream,
    }
}

fn usd(pico: i64) -> Usd {
    Usd::from_pico(pico)
}

/// A key that may spend so much in each of these windows.
fn capped(number: u32, caps: &[(Window, i64)]) -> NewKey {
    let caps: Caps = caps.iter().map(|(window, cap)| (*window, usd(*cap))).collect();
    NewKey { limits: Limits { caps, ..Limits::default() }, ..new_key(number) }
}

/// What is known of the attempt of [`entry`] while it is under way.
fn intent(number: u128, key: KeyId, held: Option<i64>) -> Intent {
    Intent {
        at: NOON,
        request: request(number),
        attempt: 1,
        key,
        account: None,
        client: None,
        endpoint: Endpoint::ChatCompletions,
        model: Some("some/model".into()),
        held: held.map(usd),
    }
}

/// The database as somebody else would open it.
fn by_hand(place: &Path) -> Connection {
    let hand = Connection::open(options(place).path).expect("opens");
    hand.busy_timeout(Duration::from_secs(5)).expect("set");
    hand
}

/// One number out of the database.
fn number(place: &Path, sql: &str) -> i64 {
    by_hand(place).query_row(sql, [], |row| row.get(0)).expect("a number")
}

/// What a machine would find that lost its power now: the files as they are, while the process knows nothing of it.
fn crash(place: &Path) -> tempfile::TempDir {
    let found = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(found.path().join("data")).expect("made");
    for name in ["potluck.db", "potluck.db-wal", "master.key"] {
        std::fs::copy(place.join("data").join(name), found.path().join("data").join(name)).expect("copied");
    }
    found
}

fn book(store: &Store, entry: Entry) {
    store.slot().expect("room").book(entry);
}

/// The books must balance, in every figure of every day and key.
async fn balanced(store: &Store) {
    assert_eq!(store.verify_totals(None).await.expect("readable"), []);
}
