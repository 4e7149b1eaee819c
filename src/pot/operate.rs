//! What operators see and do.

use std::collections::{BTreeSet, HashMap};
use std::sync::PoisonError;

use crate::clock::Day;
use crate::money::{Basis, Cost, GenerationId, Tokens, Usd};
use crate::pool::Health;
use crate::store::{
    GenerationRecord, Imbalance, ImbalanceKind, Job, PoolSpend, Settlement, Standing, StoreError, Suspense,
};
use crate::telemetry::Snapshot;
use crate::upstream::{BodyShape, Endpoint, Reading, UsageReader};

use super::{AdminError, KeyRef, KeyView, Overview, Pot, Readiness, SettleError};

impl Pot {
    /// The pool as it is now, with figures from the ledger: every entry booked before this call is in them.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        // Read first: when it is zero, every request before this call is in the figures that follow.
        let in_flight = self.requests_underway();
        self.store.flush().await?;
        let now = self.clock.now();
        let (totals, suspense) = self.store.standing(now.day()).await?;
        let turned = self.pool().tick(now);
        self.saved(&turned, "timer");
        let cards = self.cards.read().unwrap_or_else(PoisonError::into_inner);
        let pool = self.pool();
        let keys = pool
            .keys(now)
            .filter_map(|key| {
                let card = cards.get(&key.id)?;
                Some(KeyView {
                    id: key.id,
                    masked: card.masked.clone(),
                    fingerprint: card.fingerprint,
                    label: card.label.clone(),
                    donor_id: card.donor_id.clone(),
                    donor_name: card.donor_name.clone(),
                    account: key.account,
                    added_at: card.added_at,
                    state: key.state.clone(),
                    totals: totals.per_key.get(&key.id).cloned().unwrap_or_default(),
                    in_flight: key.in_flight,
                    health: key.health,
                    limits: key.limits.clone(),
                    gate: key.gate,
                    money: Self::money_of(&key, now),
                    check: *card.check.lock().unwrap_or_else(PoisonError::into_inner),
                })
            })
            .collect();
        Ok(Overview {
            now,
            counts: pool.counts(),
            rotation: self.rotation,
            rotation_index: pool.rotation_index(),
            last_key: pool.last_key(),
            keys,
            requests: totals.requests,
            successes: totals.successes,
            spent_today: totals.spent_today,
            spent_total: totals.spent_total,
            suspense,
            in_flight,
        })
    }

    /// An operator's word about a key. `cost` is money that was spent on the key elsewhere: it counts where fair shares
    /// are weighed (`least_spent`), never in the books, which hold what the upstream billed through potluck.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_health(
        &self,
        which: KeyRef,
        health: Health,
        note: Option<String>,
        cost: Option<Usd>,
    ) -> Result<KeyView, AdminError> {
        let id = self.resolve(which)?;
        let state = self.pool().set_health(id, health, note.as_deref(), self.clock.now()).cloned();
        self.freed();
        self.store.set_state(id, state.ok_or(AdminError::NotFound)?).await?;
        if let Some(cost) = cost {
            self.pool().spent(id, cost);
        }
        if let Some(card) = self.card(id) {
            card.tell(health);
        }
        tracing::info!(key = %id, state = health.name(), "key state set by the operator");
        let overview = self.overview().await?;
        overview.keys.into_iter().find(|key| key.id == id).ok_or(AdminError::NotFound)
    }

    /// Whether traffic should be sent here.
    pub fn ready(&self) -> Readiness {
        if self.draining() {
            return Readiness::Draining;
        }
        if !self.store.healthy() {
            return Readiness::StoreUnwell;
        }
        let turned = self.pool().tick(self.clock.now());
        self.saved(&turned, "timer");
        let counts = self.pool().counts();
        let healthy = Health::ALL.iter().zip(counts).any(|(health, count)| *health == Health::Healthy && count > 0);
        if healthy { Readiness::Ready } else { Readiness::NoKey }
    }

    /// Bring the metrics that are derived from state up to date, before they are scraped.
    pub async fn refresh_metrics(&self) {
        let now = self.clock.now();
        let suspense = self.store.suspense_summary().await.unwrap_or_default();
        let turned = self.pool().tick(now);
        self.saved(&turned, "timer");
        let (keys, money) = {
            let pool = self.pool();
            (pool.counts(), pool.money())
        };
        let oldest = suspense.oldest.map_or(0.0, |opened| now.since(opened).as_secs_f64());
        self.metrics.refresh(&Snapshot {
            keys,
            suspense_entries: suspense.open,
            suspense_oldest_seconds: oldest,
            suspense: money.suspense,
            held: money.held,
            stranded: money.stranded,
            requests_in_flight: self.requests_underway(),
            requests_waiting: self.waiting(),
            ledger_queue_free: self.store.free_slots(),
            store_errors: self.store.failures(),
        });
    }

    /// What the pool has spent, in OpenRouter's windows.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub async fn spend(&self) -> Result<PoolSpend, StoreError> {
        self.store.flush().await?;
        self.store.spend(self.clock.now().day()).await
    }

    /// A generation that went through this pool.
    pub async fn known_generation(&self, id: &GenerationId) -> Option<GenerationRecord> {
        let found = match self.store.flush().await {
            Ok(()) => self.store.generation(id).await,
            Err(error) => Err(error),
        };
        found.inspect_err(|error| tracing::error!(%error, "the ledger cannot be read")).ok().flatten()
    }

    /// A job's description may tell what it cost: then its attempt leaves suspense.
    pub async fn settle_job(&self, job: &Job, description: &[u8]) {
        let mut reader = UsageReader::new(Endpoint::Videos, BodyShape::Json);
        reader.push(description);
        let Reading { cost: Cost::Known(cost), byok, tokens, model, .. } = reader.finish() else { return };
        let found = Settlement { at: self.clock.now(), cost, byok, tokens, model, basis: Basis::Upstream };
        if let Err(error) = self.settle_attempt(job, found).await {
            tracing::error!(%error, request = %job.request, "a job's cost could not be booked");
        }
    }

    async fn settle_attempt(&self, job: &Job, found: Settlement) -> Result<(), StoreError> {
        let Some(suspense) = self.store.suspense_of(job.request, job.attempt).await? else { return Ok(()) };
        let _settling = self.books().await;
        self.settle_suspense(&suspense, found).await.map(drop)
    }

    /// An operator's word on a cost that was not to be found out: the entry leaves suspense with it. The ledger tells
    /// what it rests on.
    ///
    /// # Errors
    /// [`SettleError`]; nothing has changed then.
    pub async fn settle_by_word(&self, entry: u64, cost: Usd) -> Result<Suspense, SettleError> {
        let _settling = self.books().await;
        self.store.flush().await?;
        let open = match self.store.suspense_entry(entry).await? {
            None => return Err(SettleError::NotFound),
            Some(Standing::Settled) => return Err(SettleError::Settled),
            Some(Standing::Open(open)) => open,
        };
        let at = self.clock.now();
        let found = Settlement { at, cost, byok: None, tokens: Tokens::default(), model: None, basis: Basis::Operator };
        if !self.settle_suspense(&open, found).await? {
            return Err(SettleError::Settled);
        }
        tracing::info!(entry, key = %open.key, request = %open.request, %cost, "a cost was settled by the operator");
        Ok(open)
    }

    /// Verify the books of a day, or all of them. Nothing is spent any more on a key whose lines do not follow from each
    /// other, or whose sums do not follow from its lines, until a look at all of them finds nothing wrong with it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(crate) async fn verify_books(&self, day: Option<Day>) -> Result<(), StoreError> {
        let is_whole = day.is_none();
        let (known, mut found) = (self.store.unsound().await?, BTreeSet::new());
        // A process before this one may have found something after this one began.
        self.mark_unsound(known.iter().map(|(key, _)| *key), true);
        for imbalance in self.store.verify_totals(day).await? {
            let Imbalance { kind, day, key, recorded, recomputed } = imbalance;
            let day = day.map(|day| day.to_string());
            self.metrics.alarm("books_unsound");
            match kind {
                ImbalanceKind::Chain { line } => {
                    tracing::error!(%key, line, "lines of this key's ledger were changed by somebody else: it is out");
                }
                kind => tracing::error!(day, %key, ?kind, %recorded, %recomputed, "the books do not balance"),
            }
            found.extend(imbalance.unsound_key());
        }
        let absolved: Vec<_> = known.into_iter().filter(|(key, _)| is_whole && !found.contains(key)).collect();
        if !found.is_empty() {
            self.found_unsound(found.into_iter().collect()).await;
        }
        if absolved.is_empty() { Ok(()) } else { self.found_sound(absolved).await }
    }

    /// What keys that can still pay are known to have left, less what they have paid since: each account counts once,
    /// unknown counts as nothing.
    pub fn remaining(&self) -> Usd {
        let pool = self.pool();
        let mut by_account: HashMap<_, Usd> = HashMap::new();
        for key in pool.keys(self.clock.now()).filter(|key| key.state.health != Health::Failed) {
            let most = by_account.entry(key.account.ok_or(key.id)).or_default();
            *most = (*most).max(key.left.unwrap_or_default());
        }
        by_account.into_values().fold(Usd::ZERO, Usd::saturating_add)
    }
}
