//! A client's place among the requests under way, and what is held of its budgets for one of them.

mod places;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clients::{Allowance, ClientUser, Shortage, Tab};
use crate::clock::Timestamp;
use crate::money::{Charged, Cost, Ended, Entry, Outcome, Spender, Tokens, Usd};
use crate::store::{Refused, StoreError};
use crate::telemetry::ClientRefusal;

use super::Pot;
use super::guest::Guest;
use super::tab::Running;
use places::{Places, Short};

/// A request of a client. It is under way until this is dropped, by whichever of those that work for it is the last; then
/// what is still held for it is free again.
#[derive(Debug)]
pub struct Seat {
    pot: Arc<Pot>,
    places: Places,
    bill: Mutex<Bill>,
}

/// How far the money of a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bill {
    /// Nothing is held.
    None,
    /// Its worst cost is held, or nobody knows that; and so many tokens are taken.
    Open { held: Option<Usd>, tokens: u64 },
    /// An attempt has cost something, or may have.
    Paid,
}

/// Why a request may not begin or go on.
#[derive(Debug)]
pub enum Denied {
    /// What it may use is used up.
    Short {
        /// What of.
        of: Shortage,
        /// It is the user's share of it, not the client's.
        user: bool,
    },
    /// What is held is not to be had durably: the disk is slow or full, or another process has it.
    NotLeased,
    /// The store cannot tell what was used.
    Store(StoreError),
}

/// The money of a request is held at a place.
#[derive(Clone, Copy)]
struct Held {
    /// More must be leased before anything may be sent.
    is_missing: bool,
    /// Somebody should look at their leases.
    lease_off: bool,
}

/// Both tabs, locked while an entry goes into the ledger.
pub(super) struct Booking<'s> {
    whole: MutexGuard<'s, Tab>,
    user: Option<MutexGuard<'s, Tab>>,
}

impl Booking<'_> {
    /// Whether somebody should look at their leases.
    pub(super) fn is_lease_off(&self) -> bool {
        self.whole.is_lease_off() || self.user.as_ref().is_some_and(|tab| tab.is_lease_off())
    }
}

impl Pot {
    /// Begin a request for a guest. `None` of those who are not counted.
    ///
    /// # Errors
    /// [`Denied`], which is counted as a refusal.
    pub async fn take_seat(self: &Arc<Self>, guest: &Guest) -> Result<Option<Arc<Seat>>, Denied> {
        let Some(member) = guest.member() else { return Ok(None) };
        let user = match guest.user() {
            Some(ClientUser { id, .. }) => Some(self.tab_of_user(member, *id).await.map_err(Denied::Store)?),
            None => None,
        };
        let places = Places { member: Arc::clone(member), user };
        match places.sit(self.clock.now()) {
            Ok(()) => Ok(Some(Arc::new(Seat { pot: Arc::clone(self), places, bill: Mutex::new(Bill::None) }))),
            Err((of, user)) => Err(self.deny(places.spender(), of, user)),
        }
    }

    fn deny(&self, spender: Spender, of: Shortage, user: bool) -> Denied {
        self.refused_to(Some(spender), of.into());
        Denied::Short { of, user }
    }

    /// Count a refusal that is for who sent a request, or for what that client may do.
    pub fn refused_to(&self, spender: Option<Spender>, why: ClientRefusal) {
        self.metrics.clients().refused(spender.map(|spender| spender.client), why);
        if let Some(spender) = spender {
            self.store.refused(Refused { spender, day: self.clock.now().day(), reason: why.name() });
        }
    }
}

impl Seat {
    fn bill(&self) -> MutexGuard<'_, Bill> {
        self.bill.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who sits there.
    pub fn spender(&self) -> Spender {
        self.places.spender()
    }

    /// Whether a budget limits what the request may cost.
    pub fn has_budget(&self) -> bool {
        self.places.each().any(|(_, allowance)| !allowance.budgets.is_empty())
    }

    /// Whether a rate limits how many tokens it may use.
    pub fn has_token_rate(&self) -> bool {
        self.places.each().any(|(_, allowance)| allowance.tokens_per_minute.is_some())
    }

    /// Whether it matters what the request may cost or use.
    pub fn is_metered(&self) -> bool {
        self.has_budget() || self.has_token_rate()
    }

    /// Wakes when something that was held of this client's budgets is free again, or spent.
    pub fn freed(&self) -> &Notify {
        &self.places.member.live.freed
    }

    /// Hold the request's worst cost, and take the tokens that it is expected to use; in the place of what was held before.
    ///
    /// # Errors
    /// [`Denied`]; nothing is held then. Whether that is a refusal is for the caller to say ([`Seat::refused`]).
    pub async fn charge(&self, worst: Option<Usd>, tokens: u64) -> Result<(), Denied> {
        let short = |(of, user)| Denied::Short { of, user };
        let (whole, user) = self.open(worst, tokens, self.pot.clock.now()).map_err(short)?;
        let held = || std::iter::once(whole).chain(user);
        for ((running, _), _) in self.places.each().zip(held()).filter(|(_, held)| held.is_missing) {
            if !self.pot.draw_budget(running).await {
                self.give_up(&mut self.bill());
                return Err(Denied::NotLeased);
            }
        }
        if held().any(|held| held.lease_off) {
            self.look_at_leases();
        }
        Ok(())
    }

    /// What is held at the client's tab, and at its user's.
    fn open(&self, worst: Option<Usd>, tokens: u64, now: Timestamp) -> Result<(Held, Option<Held>), Short> {
        let mut bill = self.bill();
        self.give_up(&mut bill);
        if self.has_token_rate() {
            self.places.at_each(
                |tab, allowance| tab.take_tokens(allowance, tokens, now),
                |tab, allowance| tab.used_tokens(allowance, tokens, 0),
            )?;
        }
        let hold = |tab: &mut Tab, _: &Allowance| {
            let hold = tab.hold(worst, now)?;
            Ok(Held { is_missing: hold.missing > Usd::ZERO, lease_off: tab.is_lease_off() })
        };
        let give_up = |tab: &mut Tab, _: &Allowance| tab.end(worst, Ended::Unsent, now.day());
        match self.places.at_each(hold, give_up) {
            Ok(held) => {
                *bill = Bill::Open { held: worst, tokens };
                Ok(held)
            }
            Err(short) => {
                self.each(|running, allowance| running.tab().used_tokens(allowance, tokens, 0));
                Err(short)
            }
        }
    }

    fn each(&self, act: impl Fn(&Arc<Running>, &Allowance)) {
        self.places.each().for_each(|(running, allowance)| act(running, allowance));
    }

    /// Have somebody look at leases that may be too small or too large.
    fn look_at_leases(&self) {
        self.each(|running, _| {
            if running.tab().is_lease_off() {
                self.pot.look_at_lease(running);
            }
        });
    }

    /// What is held and not spent is free again.
    fn give_up(&self, bill: &mut Bill) {
        if let Bill::Open { held, tokens } = std::mem::replace(bill, Bill::None) {
            let day = self.pot.clock.now().day();
            self.each(|running, allowance| {
                let mut tab = running.tab();
                tab.end(held, Ended::Unsent, day);
                tab.used_tokens(allowance, tokens, 0);
            });
            self.look_at_leases();
            self.freed().notify_waiters();
        }
    }

    /// It was refused for this reason.
    pub fn refused(&self, why: ClientRefusal) {
        self.pot.refused_to(Some(self.spender()), why);
    }

    /// For whom an attempt is made that begins now, with what is held for it.
    pub(super) fn charged(&self) -> Charged {
        let held = match *self.bill() {
            Bill::Open { held, .. } => held,
            Bill::None | Bill::Paid => None,
        };
        Charged { spender: self.spender(), held }
    }

    /// An attempt is over, and its entry about to be written: until that is, nobody looks at the tabs.
    pub(super) fn book(&self, entry: &mut Entry) -> Booking<'_> {
        let mut bill = self.bill();
        let mut whole = self.places.member.live.whole.tab();
        let mut user = self.places.user.as_ref().map(|user| user.tab());
        let how = match entry.cost {
            Cost::Known(cost) => Ended::Cost(cost),
            Cost::Unknown => Ended::Suspended,
        };
        // A refusal that costs nothing leaves what is held for the next attempt.
        let pays = entry.outcome == Outcome::Answered || how != Ended::Cost(Usd::ZERO);
        let (day, mut held_for_it) = (entry.at.day(), None);
        let terms = &self.places.member.client.terms;
        let tabs =
            std::iter::once((&mut whole, &terms.allowance)).chain(user.iter_mut().map(|tab| (tab, &terms.per_user)));
        for (tab, allowance) in tabs {
            match *bill {
                _ if !pays => {}
                Bill::Open { held, tokens } => {
                    held_for_it = held;
                    tab.end(held, how, day);
                    // Where nobody knows, what was taken for it stays taken.
                    if let Some(used) = used(&entry.tokens) {
                        tab.used_tokens(allowance, tokens, used);
                    }
                }
                Bill::None | Bill::Paid => tab.end_extra(how, day),
            }
        }
        if pays {
            *bill = Bill::Paid;
        }
        entry.client = Some(Charged { spender: self.spender(), held: held_for_it });
        Booking { whole, user }
    }

    /// Count what an attempt has cost and used.
    pub(super) fn count(&self, entry: &Entry) {
        let Some(series) = self.places.member.series(&self.pot.metrics) else { return };
        if let Cost::Known(cost) = entry.cost {
            series.spent(cost);
        }
        series.used(&entry.tokens);
    }

    /// An attempt's entry is in the ledger's queue. `lease_off`: as its [`Booking`] said.
    pub(super) fn booked(&self, lease_off: bool) {
        if lease_off {
            self.look_at_leases();
        }
        self.freed().notify_waiters();
    }
}

/// Tokens of prompt and answer together, where the upstream has told any.
fn used(tokens: &Tokens) -> Option<u64> {
    match (tokens.prompt, tokens.completion) {
        (None, None) => None,
        (prompt, completion) => Some(prompt.unwrap_or(0).saturating_add(completion.unwrap_or(0))),
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let bill = self.bill.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut bill = std::mem::replace(bill, Bill::None);
        self.give_up(&mut bill);
        self.each(|running, _| running.tab().stand());
    }
}

#[cfg(test)]
mod tests;
