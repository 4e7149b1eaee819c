//! A true cost above its hold: the bound was not one.
//!
//! It is booked in full all the same. Whoever holds by a wrong bound may pass the next cap, too: so the key is paused until a
//! person has looked (`reliability.md` M3).

use std::sync::{Arc, PoisonError};

use crate::money::{Cost, Entry, Limits, RequestId, Usd};
use crate::pool::KeyId;
use crate::store::Suspense;

use super::Pot;

/// What was held for one request, and what it cost.
struct Overshoot<'a> {
    request: RequestId,
    key: KeyId,
    model: Option<&'a str>,
    held: Usd,
    cost: Usd,
}

impl Pot {
    /// An attempt ends. Nothing is done where enough was held for it.
    pub(super) fn held_enough(&self, entry: &Entry) {
        let of_client = entry.client.and_then(|charged| charged.held);
        if let (Cost::Known(cost), Some(held)) = (entry.cost, entry.held.or(of_client))
            && cost > held
        {
            let model = entry.model.as_deref();
            let overshoot = Overshoot { request: entry.request, key: entry.key, model, held, cost };
            self.overshot(&overshoot, entry.held.is_some());
        }
    }

    /// The upstream has told the cost of an attempt that was in suspense.
    pub(super) fn held_enough_for(&self, entry: &Suspense, cost: Usd) {
        if let Some(held) = entry.held.filter(|held| cost > *held) {
            self.overshot(&Overshoot { request: entry.request, key: entry.key, model: None, held, cost }, true);
        }
    }

    fn overshot(&self, what: &Overshoot<'_>, pauses: bool) {
        let Overshoot { request, key, model, held, cost } = what;
        self.metrics.alarm("cost_above_hold");
        tracing::error!(%request, %key, model, %cost, %held, "a request cost more than was held for it");
        if pauses {
            self.pause_for_a_look(*key);
        }
    }

    /// Nothing more is spent on a key from here on; that it is so is written down a moment later ([`Pot::keep_pauses`]).
    fn pause_for_a_look(&self, key: KeyId) {
        let now = self.clock.now();
        let mut pool = self.pool();
        let Some(limits) = pool.limits(key).filter(|limits| !limits.paused) else { return };
        pool.set_limits(key, Arc::new(Limits { paused: true, ..Limits::clone(&limits) }), now);
        drop(pool);
        self.overshot.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.lease_wanted.notify_one();
        tracing::warn!(%key, "the key is paused until somebody has looked: potluck keys resume");
    }
}
