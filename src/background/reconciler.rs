//! Finds out what attempts cost whose answer did not say.
//!
//! Such an attempt is in suspense: neither free nor forgotten. Its generation is asked about with the key that made it,
//! well or not, on the schedule of `ledger.reconcile_schedule_ms`; the times stand in the store, so a restart loses
//! nothing. The cost found is booked as a correction, once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::rounds::{at_most, until_stopped};
use super::schedule::{Found, Patience, next_try};
use crate::clock::Timestamp;
use crate::money::{Basis, Tokens};
use crate::pot::Pot;
use crate::pot::questions::ask_generation;
use crate::store::{Settlement, StoreError, Suspense};
use crate::upstream::account::{GenerationAnswer, Settled};

/// Entries taken from the store at a time.
const BATCH: usize = 64;
/// Questions open at a time.
const AT_A_TIME: usize = 8;
/// The longest time without a look at the store.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// The service that settles unknown costs.
pub struct Reconciler {
    pot: Arc<Pot>,
    patience: Patience,
}

/// What became of an entry.
enum Done {
    /// Its cost is booked.
    Settled,
    /// To be asked about again then.
    Later(Timestamp),
    /// It stays in suspense; nobody will ask again.
    GivenUp,
    /// The store failed; nothing has changed.
    Unwritten,
}

impl Reconciler {
    /// A reconciler for this pot.
    pub fn new(pot: Arc<Pot>, patience: Patience) -> Self {
        Self { pot, patience }
    }

    async fn rounds(&self) {
        loop {
            let next = self.round().await;
            self.wait(next).await;
        }
    }

    /// Go through what is due. When to look again.
    async fn round(&self) -> Timestamp {
        let due = match self.due().await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "the suspense account cannot be read");
                return self.pot.clock().now().after(STORE_PAUSE);
            }
        };
        let more = due.len() >= BATCH;
        let ask = |entry| resolve(Arc::clone(&self.pot), self.patience.clone(), entry);
        let done = at_most(AT_A_TIME, due, ask).await;
        let now = self.pot.clock().now();
        if done.iter().any(|done| matches!(done, Done::Unwritten)) {
            return now.after(STORE_PAUSE);
        }
        if more {
            return now;
        }
        let later = done.iter().filter_map(|done| if let Done::Later(at) = done { Some(*at) } else { None });
        later.min().map_or(now.after(LOOK_EVERY), |at| at.min(now.after(LOOK_EVERY)))
    }

    /// What is due now. Entries that are booked but still on their way to the disk are waited for: the wake-up that came
    /// with them comes only once.
    async fn due(&self) -> Result<Vec<Suspense>, StoreError> {
        self.pot.store().flush().await?;
        self.pot.store().suspense_due(self.pot.clock().now(), BATCH).await
    }

    /// Wait until `next`, or until the first scheduled time of an entry that is opened meanwhile.
    async fn wait(&self, mut next: Timestamp) {
        let first = self.patience.schedule.iter().min().copied().unwrap_or(LOOK_EVERY);
        loop {
            let now = self.pot.clock().now();
            tokio::select! {
                () = tokio::time::sleep(next.since(now)) => return,
                () = self.pot.settle_wanted().notified() => next = next.min(now.after(first)),
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Reconciler {
    async fn start(&self, shutdown: ShutdownWatch) {
        until_stopped(shutdown, self.rounds()).await;
    }
}

async fn resolve(pot: Arc<Pot>, patience: Patience, entry: Suspense) -> Done {
    // What was true when it was asked: a time of the schedule that passes while the answer is awaited is not used up.
    let asked_at = pot.clock().now();
    let found = match look_up(&pot, &entry).await {
        Ok(settled) => return written(&entry, book(&pot, &entry, settled).await, Done::Settled),
        Err(found) => found,
    };
    let next = next_try(entry.opened_at, found, &patience, asked_at);
    if next.is_none() {
        match estimate(&pot, &entry).await {
            Ok(true) => return Done::Settled,
            Ok(false) => {}
            error => return written(&entry, error.map(drop), Done::Unwritten),
        }
        tracing::error!(request = %entry.request, key = %entry.key, ?found, "this attempt's cost stays unknown");
    }
    let is_ripe = asked_at.since(entry.opened_at) >= patience.until_usage(&entry);
    if is_ripe && pot.is_over(&entry, patience.until_over()) {
        pot.ask_about(&[entry.key]);
    }
    let done = next.map_or(Done::GivenUp, Done::Later);
    written(&entry, pot.store().retry_later(entry.id, next).await, done)
}

fn written(entry: &Suspense, result: Result<(), StoreError>, done: Done) -> Done {
    match result {
        Ok(()) => done,
        Err(error) => {
            tracing::error!(request = %entry.request, %error, "what was found about a cost could not be stored");
            Done::Unwritten
        }
    }
}

async fn look_up(pot: &Pot, entry: &Suspense) -> Result<Settled, Found> {
    let chosen = pot.pinned(entry.key).ok_or(Found::Gone)?;
    let id = entry.generation.as_ref().ok_or(Found::Nothing)?;
    match ask_generation(pot.origin(), &chosen.credential, id).await {
        Ok(GenerationAnswer::Settled(settled)) => Ok(settled),
        Ok(GenerationAnswer::NotYet) => Err(Found::NotYet),
        Ok(GenerationAnswer::Silent) => Err(Found::Silent),
        Err(silence) => {
            tracing::warn!(request = %entry.request, key = %entry.key, reason = %silence, "no statement about a cost");
            Err(Found::Silent)
        }
    }
}

/// Nothing was to be learned in all the time: the worst cost that was held is booked in place of the true one. `false`
/// where none was held, since unknown is never a number of our own making.
async fn estimate(pot: &Pot, entry: &Suspense) -> Result<bool, StoreError> {
    let Some(cost) = entry.held else { return Ok(false) };
    let (at, tokens) = (pot.clock().now(), Tokens::default());
    let found = Settlement { at, cost, byok: None, tokens, model: None, basis: Basis::Estimate };
    let _settling = pot.books().await;
    pot.settle_suspense(entry, found).await?;
    tracing::warn!(request = %entry.request, key = %entry.key, %cost, "an unknown cost is booked at the most it can be");
    Ok(true)
}

/// Book what was found. Settling twice is harmless: the store takes the first one only, and only then do figures move.
async fn book(pot: &Pot, entry: &Suspense, settled: Settled) -> Result<(), StoreError> {
    let Settled { cost, byok, tokens, model } = settled;
    let found = Settlement { at: pot.clock().now(), cost, byok, tokens, model, basis: Basis::Upstream };
    let _settling = pot.books().await;
    if pot.settle_suspense(entry, found).await? {
        tracing::info!(request = %entry.request, key = %entry.key, %cost, "an unknown cost was found");
    }
    Ok(())
}
