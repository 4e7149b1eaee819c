//! The pot: what everybody shares. The pool behind its lock, the donors' cards, the store, the origin, the metrics.
//!
//! Edges ask the pot; the pot asks the pure pool, and makes durable what it decided. Nothing here awaits while holding
//! a lock.

mod account;
mod attempt;
mod booking;
mod books;
mod card;
mod choosing;
mod clients;
mod donate;
mod guest;
mod limits;
mod members;
mod operate;
mod overshoot;
mod prices;
pub(crate) mod questions;
mod quiet;
mod revocation;
mod seat;
mod tab;
#[cfg(test)]
mod tests;
mod verdicts;
mod view;
mod waiting;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use foldhash::HashMap;
use http::{HeaderMap, header};
use tokio::sync::Notify;

use members::Clients;
use quiet::{Asked, Ends};
use waiting::Waiting;

pub use account::Account;
pub use attempt::{Attempt, Begun, Call, Progress};
pub use card::Card;
pub use clients::{ClientError, ClientView};
pub use guest::{Guest, Issued, LastGuest, NotIssued, TokenTerms, Turned};
pub use prices::{Expected, Known, Prices};
pub use revocation::Revocation;
pub use seat::{Denied, Seat};
pub(crate) use tab::HELD_PATIENCE;
pub use tab::TabView;
pub use view::{
    AdminError, CapView, DonateError, Donated, Donation, KeyMoney, KeyRef, KeyView, Overview, Readiness, SettleError,
    Withdrawn,
};
pub use waiting::Place;

use crate::clients::line::Bounds;
use crate::clock::{Clock, Tick, Timestamp};
use crate::origin::Origin;
use crate::pool::{Health, KeyId, Policy, Pool, Rotation};
use crate::store::{Loaded, NewKey, Store, StoredKey};
use crate::telemetry::Metrics;

/// How long the successor of this process waits for changes that are under way. The first look at a donated key takes longest.
const CHANGES_END: Duration = Duration::from_secs(5);

/// The shared state of one potluck.
#[derive(Debug)]
pub struct Pot {
    clock: Clock,
    /// One plain mutex: every use is a few hundred nanoseconds, never across an await.
    pool: Mutex<Pool>,
    cards: RwLock<HashMap<KeyId, Arc<Card>>>,
    clients: Clients,
    store: Store,
    prices: Arc<Prices>,
    origin: Arc<Origin>,
    metrics: Metrics,
    rotation: Rotation,
    salt: u64,
    probe_wanted: Notify,
    settle_wanted: Notify,
    lease_wanted: Notify,
    waiting: Waiting,
    /// Held by whoever changes which keys there are and what their donors allow.
    changes: tokio::sync::RwLock<()>,
    /// Held while it is written down which keys' books are sound, and until the pool knows.
    soundness: tokio::sync::Mutex<()>,
    /// Changes of limits, one after the other.
    changing_limits: tokio::sync::Mutex<()>,
    /// Held while a cost in suspense is settled in the store and in the pool: whoever compares the two waits.
    books: tokio::sync::Mutex<()>,
    /// Keys that were paused because a cost was above its hold, and the store does not know it yet.
    overshot: Mutex<BTreeSet<KeyId>>,
    /// Keys whose money the pool may know otherwise than the store.
    out_of_step: Mutex<BTreeSet<KeyId>>,
    /// Since when nobody else works with the store.
    alone_since: Mutex<Option<Tick>>,
    requests: AtomicU32,
    draining: AtomicBool,
}

/// What a pot is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where the time comes from.
    pub clock: Clock,
    /// How keys are chosen, and when they come back.
    pub policy: Policy,
    /// The opened store.
    pub store: Store,
    /// What the store held.
    pub loaded: Loaded,
    /// The upstream.
    pub origin: Arc<Origin>,
    /// The metrics to keep.
    pub metrics: Metrics,
    /// How many requests may wait.
    pub line: Bounds,
    /// How soon a key must be back to be waited for.
    pub wait_for_key: Duration,
}

impl Pot {
    /// Put the parts together: every stored key goes back into the pool in the state it was in.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { clock, policy, store, loaded, origin, metrics, line, wait_for_key } = parts;
        let rotation = policy.rotation;
        let pot = Self {
            pool: Mutex::new(Pool::new(policy)),
            rotation,
            cards: RwLock::default(),
            clients: Clients::new(store.key_hasher().clone(), loaded.clients, loaded.client_money, loaded.signing_keys),
            store,
            prices: Arc::new(Prices::new(Arc::clone(&origin))),
            origin,
            metrics,
            salt: rand::random(),
            probe_wanted: Notify::new(),
            settle_wanted: Notify::new(),
            lease_wanted: Notify::new(),
            waiting: Waiting::new(line, wait_for_key),
            changes: tokio::sync::RwLock::default(),
            soundness: tokio::sync::Mutex::default(),
            changing_limits: tokio::sync::Mutex::default(),
            books: tokio::sync::Mutex::default(),
            overshot: Mutex::default(),
            out_of_step: Mutex::default(),
            alone_since: Mutex::default(),
            requests: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            clock,
        };
        pot.clients.ids().into_iter().for_each(|client| pot.metrics.clients().remember(client));
        let now = pot.clock.now();
        for stored in loaded.keys {
            pot.seat(stored, now);
        }
        Arc::new(pot)
    }

    fn seat(&self, stored: StoredKey, now: Timestamp) {
        let StoredKey { id, key, spent, purse, usage, unsound } = stored;
        let NewKey { credential, label, donor_id, donor_name, account, limits, state, added_at } = key;
        let card = Card {
            masked: credential.masked(),
            fingerprint: credential.fingerprint(),
            label,
            donor_id,
            donor_name,
            added_at,
            check: Mutex::new(usage),
            drawing: tokio::sync::Mutex::default(),
            ends: Ends::default(),
            asked: Asked::default(),
            used_unbounded: AtomicBool::new(false),
            told: AtomicUsize::new(Health::ALL.iter().position(|h| *h == state.health).unwrap_or_default()),
        };
        self.cards.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(card));
        self.metrics.remember(id);
        if let Some(check) = &usage {
            self.metrics.checked(id, check);
        }
        let mut pool = self.pool();
        pool.insert(id, credential, account, state, spent, now);
        if usage.is_none() {
            // What was spent before it came here is only told from our own spending before that begins.
            pool.ask_now(id, now);
        }
        if pool.set_limits(id, Arc::new(limits), now) {
            pool.sync_purse(id, purse, now);
        }
        if unsound {
            pool.set_unsound(id, true, now);
        }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn card(&self, key: KeyId) -> Option<Arc<Card>> {
        self.cards.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// The clock everybody here goes by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The upstream.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// An answer's head tells what time it is for the upstream.
    pub(crate) fn heard_time(&self, headers: &HeaderMap) {
        // An answer with an age comes out of somebody's cache and tells what time it was.
        let is_fresh = || !headers.contains_key(header::AGE);
        let date = || headers.get(header::DATE).filter(|_| is_fresh())?.to_str().ok();
        if let Some(skew) = self.clock.check(date) {
            self.metrics.alarm("clock_skewed");
            tracing::error!(?skew, "the system's clock and the upstream's differ; caps turn with the later midnight");
        }
    }

    /// What models cost.
    pub fn prices(&self) -> &Arc<Prices> {
        &self.prices
    }

    /// A random number of this process, for hashing conversations: their hashes mean nothing outside it.
    pub fn salt(&self) -> u64 {
        self.salt
    }

    /// Wakes when a cost is to be looked up.
    pub fn settle_wanted(&self) -> &Notify {
        &self.settle_wanted
    }

    /// A client request begins; it is under way until the value is dropped.
    pub fn request(self: &Arc<Self>) -> Underway {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Underway(Arc::clone(self))
    }

    /// Client requests now under way.
    pub fn requests_underway(&self) -> u32 {
        self.requests.load(Ordering::Acquire)
    }

    /// Shutting down: readiness says so.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Wait a little until nobody is changing anything that a successor has to know. None begins any more ([`Pot::drain`]).
    pub(crate) async fn changes_end(&self) {
        if tokio::time::timeout(CHANGES_END, self.changes.write()).await.is_err() {
            tracing::warn!(
                "a change to a key is still under way: the successor may learn of it at its next start only"
            );
        }
    }

    /// Whether potluck is shutting down.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// A client request under way.
#[derive(Debug)]
pub struct Underway(Arc<Pot>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}
