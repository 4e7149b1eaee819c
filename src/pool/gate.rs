//! Whether a key may serve by its donor's limits and its books, and what of its money a request can have.

use crate::clock::Timestamp;
use crate::money::{Hold, Purse, Usd};

use super::accounts::{Accounts, Outlay};
use super::slot::Slot;
use super::{Left, Want, Worst};

/// Whether donor and books let a key serve at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// They do.
    #[default]
    Open,
    /// Paused by the donor or an operator.
    Paused,
    /// Past the date the donor has set.
    Expired,
    /// The books of this key do not follow from its entries: nothing is spent on it until they do again.
    Unsound,
    /// Its caps leave nothing, or what OpenRouter says is left is the owner's reserve.
    Spent {
        /// When a window turns that brings it back; `None` when only other events do.
        until: Option<Timestamp>,
    },
}

/// Whether a key can take a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It can.
    Fits,
    /// Not with what is under way on it: later.
    Busy,
    /// Its limits leave so much, which is less than the request may cost.
    Dear { leaves: Usd },
    /// Its limits need a bound that the request does not have.
    Unbounded,
    /// The donor does not allow the model.
    Barred,
}

impl Slot {
    /// What OpenRouter says is left for this key, of its own limit and of its account's credit, less what each has lost since
    /// that figure was learned: what the key has paid, and of the credit what the account's other keys take.
    pub(super) fn left(&self, others: Usd) -> Option<Usd> {
        let left = |left: Left| less(left.amount, self.paid_since(left.paid));
        let credit = self.state.credit.map(|credit| less(left(credit), others));
        [self.state.limit.map(left), credit].into_iter().flatten().min()
    }

    /// [`Slot::left`], or less, when a refusal has said so.
    pub(super) fn ceiling(&self, others: Usd) -> Option<Usd> {
        let refused = self.affords.map(|(left, paid)| less(left, self.paid_since(paid)));
        [self.left(others), refused].into_iter().flatten().min()
    }

    pub(super) fn strict_purse(&self) -> Option<&Purse> {
        self.purse.as_deref().filter(|_| self.limits.are_strict())
    }

    /// What the next request may cost, where money is limited.
    pub(super) fn headroom(&self, others: Outlay, now: Timestamp) -> Option<Usd> {
        self.strict_purse().map(|purse| purse.headroom(self.ceiling(others.all()), now))
    }

    /// Whether this key can take such a request.
    pub(super) fn fit(&self, want: &Want<'_>, accounts: &Accounts, now: Timestamp) -> Fit {
        if !self.limits.models.allow_request(want.model, want.fallbacks) {
            return Fit::Barred;
        }
        if self.limits.concurrency.is_some_and(|most| self.in_flight >= most) {
            return Fit::Busy;
        }
        let Some(purse) = self.strict_purse() else { return Fit::Fits };
        let Worst::Cost(cost) = want.worst else { return Fit::Unbounded };
        let others = accounts.others(self.account, self.counted);
        if purse.headroom(self.ceiling(others.all()), now) >= cost {
            return Fit::Fits;
        }
        match purse.spendable(self.ceiling(others.paid), now) {
            leaves if leaves >= cost => Fit::Busy,
            leaves => Fit::Dear { leaves },
        }
    }

    /// Begin an attempt: count it, and hold its worst cost where money is limited.
    pub(super) fn begin(&mut self, want: &Want<'_>, accounts: &Accounts, now: Timestamp) -> Option<Hold> {
        self.in_flight += 1;
        self.begun += 1;
        let strict = self.limits.are_strict();
        // Keys that have never had limits need not know what the others of their account take.
        let ceiling = self.purse.as_ref().and_then(|_| self.ceiling(accounts.others(self.account, self.counted).all()));
        let purse = self.purse.as_deref_mut()?;
        match want.worst {
            Worst::Cost(cost) if strict => purse.hold(cost, ceiling, now),
            _ => {
                purse.begin_unbounded();
                None
            }
        }
    }

    pub(super) fn on_purse(&mut self, change: impl FnOnce(&mut Purse)) {
        if let Some(purse) = &mut self.purse {
            change(purse);
        }
    }

    /// Whether [`Slot::regate`] would change anything.
    pub(super) fn gate_turns(&self, others: Outlay, now: Timestamp) -> bool {
        self.is_past_end(now) != self.expired || self.find_gate(others, now) != self.gate
    }

    /// Find out whether donor and books let the key serve. Returns whether that has changed.
    pub(super) fn regate(&mut self, others: Outlay, now: Timestamp) -> bool {
        self.expired = self.is_past_end(now);
        let gate = self.find_gate(others, now);
        if matches!((self.gate, gate), (Gate::Open, Gate::Spent { until: None })) {
            // Only OpenRouter or a settled suspense brings it back: ask, and not for each request.
            self.state.probe_at = self.state.probe_at.map(|at| at.min(now));
        }
        std::mem::replace(&mut self.gate, gate) != gate
    }

    fn is_past_end(&self, now: Timestamp) -> bool {
        self.limits.expires_at.is_some_and(|at| at <= now)
    }

    fn find_gate(&self, others: Outlay, now: Timestamp) -> Gate {
        match &self.limits {
            _ if self.unsound => return Gate::Unsound,
            limits if limits.paused => return Gate::Paused,
            _ if self.is_past_end(now) => return Gate::Expired,
            _ => {}
        }
        match self.strict_purse() {
            Some(purse) if purse.spendable(self.ceiling(others.paid), now) <= Usd::ZERO => {
                Gate::Spent { until: purse.turns_at(now) }
            }
            _ => Gate::Open,
        }
    }

    /// The next time at which the gate may change by itself.
    pub(super) fn gate_turns_at(&self) -> Option<Timestamp> {
        let expires = self.limits.expires_at.filter(|_| !self.expired);
        let turns = match self.gate {
            Gate::Spent { until } => until,
            _ => None,
        };
        [expires, turns].into_iter().flatten().min()
    }

    pub(super) fn lease_wish(&mut self, permille: u32, others: Outlay, now: Timestamp) -> Usd {
        let (ceiling, strict) = (self.ceiling(others.all()), self.limits.are_strict());
        let Some(purse) = self.purse.as_deref_mut() else { return Usd::ZERO };
        let wish = purse.lease_wish(if strict { permille } else { 0 }, ceiling, now);
        if wish.is_negative() {
            purse.give_back(Usd::ZERO.checked_sub(wish).unwrap_or_default());
        }
        wish
    }
}

/// The difference, held at the smallest amount on overflow: less room is the safe side.
fn less(from: Usd, amount: Usd) -> Usd {
    from.checked_sub(amount).unwrap_or(Usd::from_pico(i64::MIN))
}
