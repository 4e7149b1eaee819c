//! Keys come in and go out.

use std::sync::Arc;
use std::sync::PoisonError;

use crate::clock::Timestamp;
use crate::money::{Limits, PurseFigures, UsageCheck, Usd};
use crate::pool::{AccountId, Evidence, KeyId, KeyState};
use crate::secret::Credential;
use crate::store::{NewKey, StoreError, StoredKey};
use crate::upstream::account::KeyAnswer;

use super::questions::{ask_credits, ask_key};
use super::{AdminError, DonateError, Donated, Donation, KeyRef, Pot, Withdrawn};

/// What a first look at a donated key found.
#[derive(Default)]
struct FirstLook {
    verified: bool,
    evidence: Vec<Evidence>,
    account: Option<AccountId>,
}

impl FirstLook {
    /// The key's own usage against the ledger, which has nothing on it yet: all of it was spent before it came to us.
    fn usage_check(&self, now: Timestamp) -> Option<UsageCheck> {
        let usage = self.evidence.iter().find_map(|evidence| match evidence {
            Evidence::Key(facts) => facts.usage,
            _ => None,
        })?;
        let (none, before) = (Usd::ZERO, usage);
        Some(UsageCheck { at: now, usage, settled: none, before, elsewhere: none, drift: none })
    }
}

impl Pot {
    /// Take a key into the pool. It is asked about first, at no cost; when the upstream cannot be reached it is taken
    /// all the same, marked unverified, and asked about again soon.
    ///
    /// # Errors
    /// [`DonateError`] says why it was not taken; nothing has changed then.
    pub async fn donate(&self, donation: Donation) -> Result<Donated, DonateError> {
        let _changing = self.changes.read().await;
        if let Some(present) = self.pool().find(&donation.credential.fingerprint()) {
            return Err(DonateError::AlreadyPresent(present));
        }
        let look = self.first_look(&donation.credential).await?;
        self.admit(donation, look).await
    }

    /// Take a key into the pool without asking about it first: for keys given at start-up, which must not wait for
    /// the upstream. Returns `None` when the pool has it.
    ///
    /// # Errors
    /// [`DonateError::Store`] when it cannot be written down.
    pub async fn donate_unseen(&self, credential: Credential) -> Result<Option<Donated>, DonateError> {
        if self.pool().find(&credential.fingerprint()).is_some() {
            return Ok(None);
        }
        let donation =
            Donation { credential, label: None, donor_id: None, donor_name: None, limits: Limits::default() };
        self.admit(donation, FirstLook::default()).await.map(Some)
    }

    async fn first_look(&self, credential: &Credential) -> Result<FirstLook, DonateError> {
        match ask_key(&self.origin, credential, self.clock.now()).await {
            Ok(KeyAnswer::Rejected) => Err(DonateError::Rejected),
            Ok(KeyAnswer::Facts { management: true, .. }) => Err(DonateError::ManagementKey),
            Ok(KeyAnswer::Facts { facts, .. }) => {
                let account = match &facts.account {
                    Some(name) => Some(self.store.account(name).await?),
                    None => None,
                };
                let mut evidence = vec![Evidence::Key(facts)];
                // Not every account's ordinary keys may ask, so silence is normal here.
                if let Ok(remaining) = ask_credits(&self.origin, credential).await {
                    evidence.push(Evidence::Credits { remaining });
                }
                Ok(FirstLook { verified: true, evidence, account })
            }
            Ok(KeyAnswer::Silent) | Err(_) => Ok(FirstLook::default()),
        }
    }

    async fn admit(&self, donation: Donation, look: FirstLook) -> Result<Donated, DonateError> {
        let now = self.clock.now();
        let Donation { credential, label, donor_id, donor_name, limits } = donation;
        let state = KeyState { verified: look.verified, probe_at: Some(now), ..KeyState::fresh(now) };
        let key = NewKey {
            credential: Arc::new(credential),
            label,
            donor_id,
            donor_name,
            account: look.account,
            limits,
            state,
            added_at: now,
        };
        let usage = look.usage_check(now);
        let id = self.store.add_key_with_usage(key.clone(), usage).await.map_err(|error| match error {
            // Somebody else donated it in the same moment.
            StoreError::KeyPresent(present) => DonateError::AlreadyPresent(present),
            error => error.into(),
        })?;
        self.seat(StoredKey { id, key, spent: Usd::ZERO, purse: PurseFigures::default(), usage, unsound: false }, now);
        for evidence in &look.evidence {
            self.evidence(id, evidence, now);
        }
        self.freed();
        self.probe_wanted.notify_one();
        tracing::info!(key = %id, verified = look.verified, "key added to the pool");
        Ok(Donated { id, total_keys: self.total_keys(), verified: look.verified })
    }

    /// Take a key out of the pool, now and for good: its sealed text is wiped, its ledger stays. Requests under way
    /// with it finish.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn withdraw(&self, which: KeyRef) -> Result<Withdrawn, AdminError> {
        let _changing = self.changes.read().await;
        let id = self.resolve(which)?;
        let masked = self.card(id).map(|card| card.masked.clone()).ok_or(AdminError::NotFound)?;
        // The store first: what cannot be written down does not happen.
        match self.store.remove_key(id).await {
            // Gone there already: a try before this one was told that it failed, and was written after all.
            Ok(()) | Err(StoreError::NoSuchKey(_)) => {}
            Err(error) => {
                self.out_of_step([id]);
                return Err(error.into());
            }
        }
        self.left(id);
        Ok(Withdrawn { id, masked, total_keys: self.total_keys() })
    }

    /// A key is not in the store any more.
    pub(super) fn left(&self, id: KeyId) {
        self.pool().remove(id);
        self.cards.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.metrics.forget(id);
        self.freed();
        tracing::info!(key = %id, "key removed from the pool");
    }

    pub(super) fn resolve(&self, which: KeyRef) -> Result<KeyId, AdminError> {
        let id = match which {
            KeyRef::Id(id) => self.card(id).map(|_| id),
            KeyRef::Key(fingerprint) => self.pool().find(&fingerprint),
        };
        id.ok_or(AdminError::NotFound)
    }

    /// Keys in the pool.
    pub fn total_keys(&self) -> usize {
        self.cards.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
