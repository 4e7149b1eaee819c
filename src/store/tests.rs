//! Whole stores, on real files.

mod durability;
mod figures;
mod full;
mod secrecy;
mod settlement;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::money::{Cost, Entry, GenerationId, Outcome, RequestId, Tokens, Usd};
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
        endpoint: Endpoint::ChatCompletions,
        model: Some("some/model".into()),
        generation: GenerationId::parse(format!("gen-{number}").as_bytes()),
        tokens: Tokens { prompt: Some(10), completion: Some(5), cached: None, reasoning: None },
        cost: Cost::Known(Usd::from_pico(pico)),
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
    }
}

fn book(store: &Store, entry: Entry) {
    store.slot().expect("room").book(entry);
}

/// The books must balance, in every figure of every day and key.
async fn balanced(store: &Store) {
    assert_eq!(store.verify_totals(None).await.expect("readable"), []);
}
