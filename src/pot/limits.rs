//! What donors allow, and the money of keys with limits: from the pure pool to the store and back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::money::{Limits, ModelGlobs, Purse, Usd, Window};
use crate::pool::{Activity, KeyId, PooledKey};
use crate::store::{Grant, StoreError};

use super::{AdminError, CapView, KeyMoney, KeyRef, KeyView, Pot};

/// How long a request waits for its hold to be durable.
pub(super) const DRAW_PATIENCE: Duration = Duration::from_secs(2);
/// How long a change of limits waits until the key's money is known to the pool; it goes on trying afterwards.
const SYNC_PATIENCE: Duration = Duration::from_secs(2);
/// The pause between reads of a key's money while something happens to it.
pub(super) const SYNC_PAUSE: Duration = Duration::from_millis(10);
/// Reads of a key's money in one go, before others have their turn.
pub(super) const SYNC_TRIES: u32 = 100;
/// Keys whose leases are looked at in one go.
const WISHES: usize = 256;

impl Pot {
    /// Change what a key's donor allows. Durable when it returns.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn change_limits(
        self: &Arc<Self>,
        which: KeyRef,
        change: impl FnOnce(&mut Limits) + Send,
    ) -> Result<KeyView, AdminError> {
        let _changing = self.changes.read().await;
        let id = self.resolve(which)?;
        // One change after the other: each starts from what the one before has made.
        let changing = self.changing_limits.lock().await;
        let mut limits = self.pool().limits(id).map(|limits| Limits::clone(&limits)).ok_or(AdminError::NotFound)?;
        change(&mut limits);
        // The store first: what cannot be written down does not happen.
        self.store.set_limits(id, limits.clone()).await.map_err(|error| match error {
            StoreError::NoSuchKey(_) => AdminError::NotFound,
            error => error.into(),
        })?;
        let now = self.clock.now();
        let strict = self.pool().set_limits(id, Arc::new(limits), now);
        drop(changing);
        if strict {
            let pot = Arc::clone(self);
            let syncing = tokio::spawn(async move { pot.sync_purse(id).await });
            // A key in heavy use may take longer; until then it spends nothing, or what the store leases.
            drop(tokio::time::timeout(SYNC_PATIENCE, syncing).await);
        }
        self.lease_wanted.notify_one();
        self.freed();
        tracing::info!(key = %id, "the key's limits were changed");
        let overview = self.overview().await?;
        overview.keys.into_iter().find(|key| key.id == id).ok_or(AdminError::NotFound)
    }

    /// Let the pool know what the store knows about a key's money. Tries until nothing is booked on it meanwhile; where that
    /// takes too long, as on a key in heavy use with a slow disk, it is left to the next look ([`Pot::catch_up`]).
    pub(crate) async fn sync_purse(&self, id: KeyId) {
        for _ in 0..SYNC_TRIES {
            let books = self.books.lock().await;
            let events = self.pool().purse_events(id);
            match self.store.purse(id).await {
                Ok(figures) => {
                    let mut pool = self.pool();
                    if pool.purse_events(id) == events {
                        return pool.sync_purse(id, figures, self.clock.now());
                    }
                }
                Err(StoreError::Closed) => return,
                // It was withdrawn, though whoever did it was told that this could not be written.
                Err(StoreError::NoSuchKey(_)) => return self.left(id),
                Err(error) => tracing::error!(key = %id, %error, "the key's money cannot be read"),
            }
            drop(books);
            tokio::time::sleep(SYNC_PAUSE).await;
        }
        self.out_of_step([id]);
    }

    /// See to it that everything held on a key is leased. `false`: it is not to be had, or not in time.
    pub(super) async fn draw(self: &Arc<Self>, key: KeyId) -> bool {
        let pot = Arc::clone(self);
        // On a task of its own: what is granted is counted on also when the request has gone.
        let drawing = tokio::spawn(async move {
            let Some(card) = pot.card(key) else { return false };
            let one_by_one = card.drawing.lock().await;
            // Another draw may have brought enough for all meanwhile.
            let Some(missing) = pot.pool().missing(key) else { return false };
            if missing <= Usd::ZERO {
                return true;
            }
            let grant = pot.ask_for_lease(key, missing, missing).await;
            let granted = grant.is_some_and(|grant| grant.amount >= missing);
            pot.pool().drawn(key, missing, granted);
            drop(one_by_one);
            if !granted {
                // Another process has spent or leased what was thought to be there.
                pot.sync_purse(key).await;
            }
            granted
        });
        matches!(tokio::time::timeout(DRAW_PATIENCE, drawing).await, Ok(Ok(true)))
    }

    /// See to it that the use of a key without holds is durable before it is used so. Waits the first time only. `false`: it
    /// could not be written, or not in time.
    pub(super) async fn use_unbounded(&self, key: KeyId) -> bool {
        let Some(card) = self.card(key) else { return false };
        if card.used_unbounded.load(Ordering::Acquire) {
            return true;
        }
        let used = tokio::time::timeout(DRAW_PATIENCE, self.store.use_unbounded(key)).await;
        let used = used.is_ok_and(|used| used.is_ok());
        card.used_unbounded.fetch_or(used, Ordering::AcqRel);
        used
    }

    /// Lease more of a key's headroom in advance, as much as is to be had.
    pub(crate) async fn lease(&self, key: KeyId, wish: Usd) {
        let Some(card) = self.card(key) else { return };
        let _one_by_one = card.drawing.lock().await;
        if let Some(grant) = self.ask_for_lease(key, Usd::ZERO, wish).await {
            self.pool().leased(key, grant.amount);
        }
    }

    async fn ask_for_lease(&self, key: KeyId, least: Usd, want: Usd) -> Option<Grant> {
        let now = self.clock.now();
        match self.store.draw(key, least, want, now.day()).await {
            Ok(grant) => {
                let figures = &grant.figures;
                self.pool().others_are(key, figures.others, figures.others_unbounded, now);
                Some(grant)
            }
            Err(StoreError::NoSuchKey(_)) => None,
            Err(error) => {
                tracing::error!(%key, %error, "nothing could be leased of the key's headroom");
                None
            }
        }
    }

    /// Keys of which more should be leased in advance, and how much, so that so many thousandths of a cap are. What is too
    /// much is given back here.
    pub(crate) fn lease_wishes(&self, permille: u32) -> Vec<(KeyId, Usd)> {
        let wishes = self.pool().lease_wishes(permille, WISHES, self.clock.now());
        let (back, more): (Vec<_>, Vec<_>) = wishes.into_iter().partition(|(_, wish)| wish.is_negative());
        for (key, wish) in back {
            self.store.give_back(key, Usd::ZERO.checked_sub(wish).unwrap_or_default());
        }
        more
    }

    /// A refusal has told how many tokens of a model's output a key can pay for: with a price that is money, and the key's
    /// ceiling until OpenRouter is next asked about it.
    pub fn affords(&self, key: KeyId, model: &str, tokens: u64) {
        let prices = self.prices.list();
        let rates =
            prices.find(model).into_iter().flat_map(|model| &model.prices).filter_map(|price| price.output_rate(0));
        let amount = rates.max().and_then(|rate| i64::try_from(tokens).ok()?.checked_mul(rate.as_pico()));
        if let Some(pico) = amount {
            self.pool().affords(key, Usd::from_pico(pico), self.clock.now());
        }
    }

    /// Whether any key's money is limited: only then a request's worst cost need be known.
    pub fn has_strict(&self) -> bool {
        self.pool().has_strict()
    }

    /// The models that some donor allows; all of them where there is no donor to ask.
    pub fn models(&self) -> Arc<ModelGlobs> {
        self.pool().models()
    }

    /// Whether a key is in the pool.
    pub(crate) fn has(&self, key: KeyId) -> bool {
        self.card(key).is_some()
    }

    /// Whether a key's usage was ever compared with its books.
    pub(crate) fn is_compared(&self, key: KeyId) -> bool {
        self.card(key).is_some_and(|card| card.check.lock().unwrap_or_else(PoisonError::into_inner).is_some())
    }

    /// What is under way on a key.
    pub(crate) fn activity(&self, key: KeyId) -> Option<Activity> {
        self.pool().activity(key)
    }

    /// Have these keys asked about soon.
    pub(crate) fn ask_about(&self, keys: &[KeyId]) {
        let now = self.clock.now();
        let mut pool = self.pool();
        keys.iter().for_each(|key| pool.ask_now(*key, now));
        drop(pool);
        if !keys.is_empty() {
            self.probe_wanted.notify_one();
        }
    }

    /// The money of a key, as it is shown; `None` while it has no limits on money.
    pub(super) fn money_of(key: &PooledKey<'_>, now: Timestamp) -> Option<KeyMoney> {
        let purse = key.purse.filter(|_| key.limits.are_strict())?;
        Some(KeyMoney {
            caps: caps_of(purse, now),
            held: purse.held(),
            suspense: purse.suspense(),
            stranded: purse.stranded(),
            unbounded: purse.has_unbounded(),
            lost: purse.others() > Usd::ZERO || purse.has_lost(),
            left: key.headroom.unwrap_or_default().max(Usd::ZERO),
        })
    }

    /// Wakes when a lease may be too small or too large.
    pub(crate) fn lease_wanted(&self) -> &Notify {
        &self.lease_wanted
    }

    /// Make durable that keys were paused because a bound was none. What could not be written is tried again.
    pub(crate) async fn keep_pauses(&self) {
        let paused = std::mem::take(&mut *self.overshot.lock().unwrap_or_else(PoisonError::into_inner));
        for key in paused {
            let _one = self.changing_limits.lock().await;
            let Some(limits) = self.pool().limits(key).filter(|limits| limits.paused) else { continue };
            match self.store.set_limits(key, Limits::clone(&limits)).await {
                Ok(_) | Err(StoreError::NoSuchKey(_)) => {}
                Err(error) => {
                    tracing::error!(%key, %error, "that the key is paused could not be stored");
                    self.overshot.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
                }
            }
        }
    }
}

/// Each cap of a purse, as it is shown.
pub(super) fn caps_of(purse: &Purse, now: Timestamp) -> Vec<CapView> {
    let out = [purse.held(), purse.suspense(), purse.others()];
    let view = |(window, cap): (Window, Usd)| {
        let spent = purse.settled(window, now);
        let gone = out.iter().fold(spent, |sum, amount| sum.saturating_add(*amount));
        let left = cap.checked_sub(gone).unwrap_or_default().max(Usd::ZERO);
        CapView { window, cap, spent, left, turns_at: window.turns_at(now) }
    };
    purse.caps().iter().map(view).collect()
}
