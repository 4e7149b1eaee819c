//! What answers and probes say about keys: the pool decides, the store and the log are told.

use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::pool::{AccountId, Effect, Evidence, KeyId};
use crate::upstream::Verdict;

use super::Pot;

impl Pot {
    /// Apply what an answer says about a key.
    pub fn blame(&self, key: KeyId, verdict: &Verdict) {
        let reason = verdict.reason;
        if reason.alarm() {
            self.metrics.alarm(reason.name());
            tracing::error!(key = %key, reason = reason.name(), "upstream answer needs the operator's attention");
        }
        if verdict.effect == Effect::None {
            // A trial that says nothing about the key is over all the same: the next request tries.
            self.trial_over(key);
            return;
        }
        let now = self.clock.now();
        let mut pool = self.pool();
        let rested = pool.resting_until(now).is_some();
        let changed = pool.apply(key, &verdict.effect, now, rand::random());
        let silenced = !rested && pool.resting_until(now).is_some();
        drop(pool);
        if silenced && !reason.alarm() {
            self.metrics.alarm("everyone_limited");
            tracing::error!(
                reason = reason.name(),
                "most accounts in use are turned away at once: nobody is asked for a while"
            );
        }
        self.freed();
        self.saved(&changed, reason.name());
        self.probe_wanted.notify_one();
    }

    /// A probe, begun at `asked_at`, found something out. What is older than the key's present state is not listened to.
    pub fn evidence(&self, key: KeyId, evidence: &Evidence, asked_at: Timestamp) {
        let now = self.clock.now();
        let mut pool = self.pool();
        if pool.state(key).is_none_or(|state| state.since > asked_at) {
            return;
        }
        let changed = pool.evidence(key, evidence, now, rand::random());
        drop(pool);
        self.freed();
        self.saved(&changed, "evidence");
    }

    /// A key belongs to this account.
    pub fn assign_account(&self, key: KeyId, account: AccountId) {
        self.pool().assign_account(key, account);
    }

    /// Keys to ask about now, at most `limit`.
    pub fn due_probes(&self, limit: usize) -> Vec<KeyId> {
        let now = self.clock.now();
        let mut pool = self.pool();
        let turned = pool.tick(now);
        let due = pool.due_probes(now, limit, rand::random());
        let behind = if pool.was_set_back() { pool.keys_with_purse() } else { Vec::new() };
        drop(pool);
        self.out_of_step(behind);
        if !turned.is_empty() {
            self.freed();
        }
        self.saved(&turned, "timer");
        due
    }

    /// Wakes when a key should be asked about soon.
    pub fn probe_wanted(&self) -> &Notify {
        &self.probe_wanted
    }

    pub(super) fn key_succeeded(&self, key: KeyId) {
        let now = self.clock.now();
        if self.pool().succeeded(key, now) {
            self.freed();
            self.saved(&[key], "success");
        }
    }

    pub(super) fn trial_over(&self, key: KeyId) {
        self.pool().trial_over(key);
        self.freed();
    }

    /// Make changed states durable, and tell the operator. Never waits.
    pub(super) fn saved(&self, changed: &[KeyId], reason: &'static str) {
        for key in changed {
            // Handed over under the pool's lock, so that of two states the later one is also the last to be stored.
            let pool = self.pool();
            let Some(state) = pool.state(*key).cloned() else { continue };
            self.store.save_state(*key, state.clone());
            drop(pool);
            // A balance or a probe's time is news for the store, not for the operator.
            if self.card(*key).is_some_and(|card| card.tell(state.health)) {
                let until = state.until.map(|t| t.to_string());
                tracing::info!(key = %key, state = state.health.name(), until, reason, "key state changed");
            }
        }
    }
}
