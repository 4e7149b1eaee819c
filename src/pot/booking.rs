//! The end of an attempt: what it cost is booked, and everything that is kept in memory follows.

use crate::clock::Tick;
use crate::money::{Cost, Ended, Entry, Outcome};
use crate::pool::Chosen;
use crate::store::Slot;
use crate::upstream::Reason;

use super::{Pot, Seat};

impl Pot {
    /// A choice was not used: what was taken for it is given back.
    pub(super) fn unsent(&self, chosen: &Chosen) {
        if chosen.trial {
            self.trial_over(chosen.key);
        }
        let held = chosen.hold.map(|hold| hold.amount);
        self.pool().ended(chosen.key, held, Ended::Unsent, self.clock.now());
        self.freed();
    }

    /// Book an attempt; the figures that are kept in memory follow.
    pub(super) fn book(&self, mut entry: Entry, reason: Option<Reason>, slot: Slot, seat: Option<&Seat>) {
        // From here until the entry is in the queue nobody looks at the client's tabs: they and the ledger tell the same.
        let booking = seat.map(|seat| seat.book(&mut entry));
        self.metrics.attempt(&entry, reason);
        Self::tell_broken(&entry);
        if let Some(seat) = seat {
            seat.count(&entry);
        }
        let how = match entry.cost {
            Cost::Known(amount) => Ended::Cost(amount),
            Cost::Unknown => Ended::Suspended,
        };
        self.held_enough(&entry);
        let (strict, unknown) = (entry.held.is_some(), entry.cost == Cost::Unknown);
        // Before it is not under way any more: whoever finds nothing under way sees when that was.
        if let Some(card) = self.card(entry.key) {
            card.ends.note(&entry, Tick::now());
        }
        // Under one lock, so that whoever compares pool and ledger finds an attempt in both or in neither.
        let mut pool = self.pool();
        pool.ended(entry.key, entry.held, how, entry.at);
        // Most requests leave a lease that will do for many more: waking somebody to find that costs more than to ask here.
        let lease_off = strict && pool.is_lease_off(entry.key);
        slot.book(entry);
        drop(pool);
        let budget_off = booking.is_some_and(|booking| booking.is_lease_off());
        if let Some(seat) = seat {
            seat.booked(budget_off);
        }
        self.freed();
        if unknown {
            self.settle_wanted.notify_one();
        }
        if lease_off {
            self.lease_wanted.notify_one();
        }
    }

    fn tell_broken(entry: &Entry) {
        if entry.outcome == Outcome::Broken {
            let (key, endpoint) = (entry.key, entry.endpoint.name());
            tracing::warn!(request = %entry.request, key = %key, endpoint, status = entry.status, "attempt broke off");
        }
    }
}
