//! The books of keys: what is found out later is booked, and pool and store are kept in step.

use std::sync::PoisonError;

use crate::clock::{Tick, Timestamp};
use crate::money::{Basis, UsageCheck, Usd};
use crate::pool::KeyId;
use crate::store::{Finding, Recovered, Settlement, StoreError, Suspense};

use super::Pot;

impl Pot {
    /// Book what was found out about an entry in suspense, and let the pool know. Only the first to do so moves anything.
    /// Whoever calls this holds [`Pot::books`].
    pub(crate) async fn settle_suspense(&self, entry: &Suspense, found: Settlement) -> Result<bool, StoreError> {
        let (cost, basis) = (found.cost, found.basis);
        // What could not be written may be written after all, and then nobody ever settles it again.
        let settled = self.store.settle(entry.id, found).await.inspect_err(|_| self.may_be_settled(entry))?;
        if settled {
            self.settled(entry, cost);
            if basis == Basis::Upstream {
                self.held_enough_for(entry, cost);
                self.card(entry.key).iter().for_each(|card| card.ends.told(Tick::now()));
            }
        }
        Ok(settled)
    }

    /// It could not be written that a cost was found, or it was written after all.
    fn may_be_settled(&self, entry: &Suspense) {
        self.out_of_step([entry.key]);
        entry.client.into_iter().for_each(|charged| self.tabs_are_behind(charged));
    }

    /// The cost of an entry in suspense is booked.
    fn settled(&self, entry: &Suspense, cost: Usd) {
        if let Some(card) = self.card(entry.key) {
            card.ends.settled(entry);
        }
        let day = entry.opened_at.day();
        self.pool().found(entry.key, entry.held, cost, day, self.clock.now());
        if let Some(charged) = entry.client {
            self.found_for(charged, cost, day);
        }
        self.metrics.settled(entry.key, cost);
        self.freed();
        self.lease_wanted.notify_one();
    }

    /// Book what a comparison of a key's usage with its books has found, and let the pool know. `open` is what was in
    /// suspense. Whoever calls this holds [`Pot::books`].
    pub(crate) async fn reckon(&self, key: KeyId, open: &[Suspense], finding: Finding) -> Result<(), StoreError> {
        let Some(card) = self.card(key) else { return Ok(()) };
        // No grant tells meanwhile that others have nothing any more, before what they had spent is known here.
        let _drawing = card.drawing.lock().await;
        let absolved = self.store.reckon(key, finding.clone()).await.inspect_err(|_| {
            self.out_of_step([key]);
            open.iter().for_each(|entry| self.may_be_settled(entry));
        })?;
        for (id, found) in &finding.settle {
            if let Some(entry) = open.iter().find(|entry| entry.id == *id) {
                let cost = found.cost;
                self.settled(entry, cost);
                tracing::info!(%key, request = %entry.request, %cost, "an unknown cost was found in the key's own usage");
            }
        }
        if let Some(Recovered { amount, at, .. }) = finding.recovered.filter(|_| absolved) {
            self.absolved(key, amount, at);
            tracing::info!(%key, %amount, "what a process that is gone had spent is accounted for");
        }
        self.checked(key, &finding.check);
        Ok(())
    }

    /// Book the most that processes which are gone can have spent on a key, since nobody can tell any more.
    pub(crate) async fn estimate_the_lost(&self, key: KeyId, amount: Usd) -> Result<(), StoreError> {
        let _settling = self.books.lock().await;
        let card = self.card(key);
        let _drawing = match &card {
            Some(card) => Some(card.drawing.lock().await),
            None => None,
        };
        let at = self.clock.now();
        let found = Recovered { at, amount, day: at.day(), basis: Basis::Estimate };
        if self.store.absolve(key, Some(found)).await.inspect_err(|_| self.out_of_step([key]))? {
            self.absolved(key, amount, at);
            tracing::warn!(%key, %amount, "what a process that is gone may have spent is booked at the most it can be");
        }
        Ok(())
    }

    /// Take over from processes that ended without closing the store: what they had under way is in suspense, what they had
    /// leased counts as spent until it is accounted for.
    pub(crate) async fn bury(&self) -> Result<(), StoreError> {
        for buried in self.store.bury().await? {
            let (attempts, keys, since) = (buried.attempts, buried.keys.len(), buried.opened_at);
            self.metrics.alarm("unclean_end");
            tracing::warn!(%since, attempts, keys, "a potluck ended without closing its books; they are being completed");
        }
        // They have booked and settled since this process has read the books, and their attempts are in suspense now.
        let strict = self.pool().keys_with_purse();
        self.out_of_step(strict);
        self.clients.all_are_behind();
        self.catch_up().await;
        self.is_alone();
        self.settle_wanted.notify_one();
        Ok(())
    }

    /// The pool may know the money of these keys otherwise than the store.
    pub(crate) fn out_of_step(&self, keys: impl IntoIterator<Item = KeyId>) {
        self.out_of_step.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
    }

    /// Let the pool know what the store knows of keys for which it may not.
    pub(crate) async fn catch_up(&self) {
        let keys = std::mem::take(&mut *self.out_of_step.lock().unwrap_or_else(PoisonError::into_inner));
        for key in keys {
            self.sync_purse(key).await;
        }
        self.catch_up_tabs().await;
    }

    /// Find out whether what others had leased of keys is still out.
    pub(crate) async fn look_at_others(&self) -> Result<(), StoreError> {
        let keys = self.pool().keys_of_others();
        let settling = self.books.lock().await;
        for key in keys {
            match self.store.purse(key).await {
                Ok(figures) => self.pool().others_are(key, figures.others, figures.others_unbounded, self.clock.now()),
                Err(StoreError::NoSuchKey(_)) => {}
                Err(error) => return Err(error),
            }
        }
        drop(settling);
        self.others_may_be_done();
        Ok(())
    }

    /// The books of these keys are not to be relied on, and nothing is spent on them from here on; or they are again.
    pub(super) fn mark_unsound(&self, keys: impl IntoIterator<Item = KeyId>, unsound: bool) {
        let (mut pool, now) = (self.pool(), self.clock.now());
        keys.into_iter().for_each(|key| pool.set_unsound(key, unsound, now));
    }

    /// The books of these keys are not to be relied on, by this process and those to come.
    pub(super) async fn found_unsound(&self, keys: Vec<KeyId>) {
        self.mark_unsound(keys.iter().copied(), true);
        let _changing = self.changes.read().await;
        let _writing = self.soundness.lock().await;
        if let Err(error) = self.store.set_unsound(keys.clone()).await {
            tracing::error!(?keys, %error, "that the books of keys are not sound could not be written down");
        }
        // Whoever let one of them in again meanwhile did not know.
        self.mark_unsound(keys, true);
    }

    /// A look at all of the books has found nothing wrong with these keys, of which something was found at that time.
    pub(super) async fn found_sound(&self, keys: Vec<(KeyId, Timestamp)>) -> Result<(), StoreError> {
        let _changing = self.changes.read().await;
        let _writing = self.soundness.lock().await;
        let sound = self.store.set_sound(keys).await?;
        sound.iter().for_each(|key| tracing::warn!(%key, "the books of this key are sound again: it is back"));
        self.mark_unsound(sound, false);
        self.freed();
        Ok(())
    }

    /// Held while a cost in suspense is settled in the store and in the pool: whoever compares the two waits for it.
    pub(crate) async fn books(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.books.lock().await
    }

    /// What processes that are gone had spent on a key is booked.
    fn absolved(&self, key: KeyId, amount: Usd, at: Timestamp) {
        let mut pool = self.pool();
        pool.recovered(key, amount, at.day(), at);
        pool.others_are(key, Usd::ZERO, false, at);
        drop(pool);
        self.lease_wanted.notify_one();
    }

    /// A key's usage was compared with its books.
    fn checked(&self, key: KeyId, check: &UsageCheck) {
        self.metrics.checked(key, check);
        if let Some(card) = self.card(key) {
            *card.check.lock().unwrap_or_else(PoisonError::into_inner) = Some(*check);
        }
        if check.drift != Usd::ZERO {
            self.metrics.alarm("books_adrift");
            let UsageCheck { usage, settled, before, elsewhere, drift, .. } = check;
            tracing::error!(%key, %drift, %usage, %settled, %before, %elsewhere, "the ledger says more than the key's usage");
        }
    }
}
