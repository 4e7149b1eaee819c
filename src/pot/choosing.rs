//! A key for a request, and the beginning of an attempt with it.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::pool::{AtLast, Choice, Chosen, KeyId, Lane, Want};

use super::{Attempt, Begun, Call, Pot};

impl Pot {
    /// Choose a key.
    pub fn choose(&self, want: &Want<'_>) -> Choice {
        self.pool().choose(want, self.clock.now(), rand::random())
    }

    /// Whether a key that could serve such a request is out of reach only because its trial is running.
    pub fn on_trial(&self, want: &Want<'_>) -> bool {
        self.pool().on_trial(want, self.clock.now())
    }

    /// Choose a key for a request that has waited for a verdict as long as it may.
    pub fn choose_at_last(&self, want: &Want<'_>) -> AtLast {
        self.pool().choose_at_last(want, self.clock.now(), rand::random())
    }

    /// When the first key that could serve such a request is back, as far as that is known.
    pub fn due_back(&self, lane: Lane, model: Option<&str>) -> Option<Timestamp> {
        self.pool().due_back(lane, model, self.clock.now())
    }

    /// A certain key, whatever its health, while it is in the pool: for jobs and generations that belong to it.
    pub fn pinned(&self, key: KeyId) -> Option<Chosen> {
        self.pool().pinned(key)
    }

    /// Keys whose donors limit what may be spent.
    pub fn strict_keys(&self) -> Vec<KeyId> {
        self.pool().keys(self.clock.now()).filter(|key| key.limits.are_strict()).map(|key| key.id).collect()
    }

    /// Begin an attempt. Room in the ledger is taken before it is made: what cannot be booked is not spent.
    pub fn attempt(self: &Arc<Self>, call: &Arc<Call>, chosen: Chosen, number: u16) -> Begun {
        if self.card(chosen.key).is_none() {
            return Begun::KeyLeft;
        }
        let slot = match chosen.hold {
            Some(_) => self.store.slot_of_strict(),
            None => self.store.slot(),
        };
        let Some(slot) = slot else {
            self.unsent(&chosen);
            return Begun::LedgerFull;
        };
        Begun::Attempt(Box::new(Attempt::new(Arc::clone(self), Arc::clone(call), chosen, number, slot)))
    }
}
