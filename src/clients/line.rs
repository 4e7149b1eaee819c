//! The line of requests that wait for a key: whose turn it is when there are more than the pool can serve. Pure.
//!
//! **Deficit round robin over clients**, in the form that pays afterwards (surplus round robin). Whoever is served owes
//! what the request counts as; in each round every client is forgiven one pico-dollar for each unit of its weight; a
//! client that owes nothing is up. With rounds as short as that nobody ever has a burst, and nothing is walked through: in
//! which round a client is up follows from what it owes, so that the rounds in which nobody is are skipped. A client that
//! comes owes nothing and is up at once, however many requests of another are waiting: of that one's it lets one
//! pass, at most. While it does not wait it saves nothing up. When the line is empty, all debts are forgiven.
//!
//! Requests that are **alike** (any key that can take one can take the other) stand in one **lot**. When the first of a lot
//! has found no key, the others need not look: the lot is shut until something has changed. So what must be looked at
//! after a key is free are as many requests as there are lots, not as many as there are requests, and no request that
//! cannot be served is in the way of one that can. One of each lot **keeps watch**: keys come back by the clock, too.

mod standing;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::money::{ClientId, Usd};

use standing::{Account, Crowd, Lot, Turn};

use super::Weight;

/// Lots of its own that a client may stand in; whatever else it waits for is one more lot, in which nobody passes anybody.
/// It bounds how many looks in vain one client can cause for each key that is free.
const LOTS_PER_CLIENT: usize = 16;
/// What a request counts as of whose cost nothing is known.
const UNKNOWN_COST: Usd = Usd::from_pico(10_000_000_000);
/// The least that a request counts as: what costs nothing takes up a key all the same.
const LEAST_COST: Usd = Usd::from_pico(1_000_000_000);

/// Who waits. Guests of whom nothing is known are one client together.
pub type Who = Option<ClientId>;

/// Whose requests these are, and what share of the pool that client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The client.
    pub client: Who,
    /// How much more it is served than one of weight 1.
    pub weight: Weight,
}

/// How many requests may wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All together.
    pub places: usize,
    /// Of one client.
    pub per_client: usize,
}

/// Why there is no place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many wait as may.
    Line,
    /// As many of this client's wait as may.
    Client,
}

/// A place in the line; the smaller came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketId(u64);

/// Requests that are alike have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u64);

/// What those of a lot wait for, as it was when the first of them looked last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// For something that is under way on a key to end.
    Busy,
    /// For a key that is back soon.
    Due,
    /// For the verdict on a key that is on trial.
    Trial,
    /// For nothing that could be waited for.
    Nothing,
}

/// Those who wait.
#[derive(Debug)]
pub struct Line {
    bounds: Bounds,
    issued: u64,
    /// The round that service has come to.
    round: u128,
    tickets: HashMap<TicketId, Ticket>,
    clients: HashMap<Who, Account>,
    lots: HashMap<Lot, Crowd>,
    /// The lots that may hold somebody who can be served, in the order in which they should look.
    open: BTreeSet<(Turn, Lot)>,
    shut: BTreeSet<Lot>,
    /// Clients that wait for nothing and still owe, by the round in which they do not any more.
    debtors: BTreeSet<(u128, Who)>,
}

#[derive(Clone, Copy, Debug)]
struct Ticket {
    who: Who,
    lot: Lot,
    cost: Usd,
}

impl Line {
    /// Nobody waits.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            issued: 0,
            round: 0,
            tickets: HashMap::new(),
            clients: HashMap::new(),
            lots: HashMap::new(),
            open: BTreeSet::new(),
            shut: BTreeSet::new(),
            debtors: BTreeSet::new(),
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Whether somebody waits whom another request of this kind must not pass.
    pub fn has_alike(&self, who: Who, kind: Kind) -> bool {
        self.lots.contains_key(&Lot::Alike(kind)) || self.lots.contains_key(&Lot::Rest(who))
    }

    /// Join the line with a request that may cost so much and has found no key.
    ///
    /// # Errors
    /// [`Full`].
    pub fn join(&mut self, share: Share, kind: Kind, cost: Option<Usd>, prospect: Prospect) -> Result<TicketId, Full> {
        let who = share.client;
        if self.clients.get(&who).is_some_and(|account| account.waiting >= self.bounds.per_client) {
            return Err(Full::Client);
        }
        if self.tickets.len() >= self.bounds.places {
            return Err(Full::Line);
        }
        self.issued += 1;
        let (ticket, round) = (TicketId(self.issued), self.round);
        let new = || Account { weight: share.weight, up_at: round, tickets: BTreeMap::new(), waiting: 0 };
        let account = self.clients.entry(who).or_insert_with(new);
        self.debtors.remove(&(account.up_at, who));
        account.weight = share.weight;
        account.waiting += 1;
        let alike = Lot::Alike(kind);
        let has_room = account.tickets.len() < LOTS_PER_CLIENT || account.tickets.contains_key(&alike);
        let lot = if has_room { alike } else { Lot::Rest(who) };
        let own = account.tickets.entry(lot).or_default();
        let is_first = own.is_empty();
        own.insert(ticket);
        let up_at = account.up_at;
        self.tickets.insert(ticket, Ticket { who, lot, cost: cost.unwrap_or(UNKNOWN_COST).max(LEAST_COST) });
        let crowd = Crowd { firsts: BTreeSet::new(), is_open: true, prospect, watch: ticket };
        self.lots.entry(lot).or_insert(crowd);
        if is_first {
            self.on_lot(lot, |crowd| crowd.firsts.extend([(Turn { up_at, ticket }, who)]));
        }
        self.invariants();
        Ok(ticket)
    }

    /// Whose turn it is to look for a key.
    pub fn next(&self) -> Option<TicketId> {
        self.open.first().map(|(turn, _)| turn.ticket)
    }

    /// Whose turn it was has found no key: nobody like it needs to look before something changes. `true` when they wait for
    /// something else now than before.
    pub fn found_none(&mut self, ticket: TicketId, prospect: Prospect) -> bool {
        let Some(lot) = self.tickets.get(&ticket).map(|ticket| ticket.lot) else { return false };
        let mut is_news = false;
        self.on_lot(lot, |crowd| {
            crowd.is_open = false;
            is_news = std::mem::replace(&mut crowd.prospect, prospect) != prospect;
        });
        self.shut.insert(lot);
        self.invariants();
        is_news
    }

    /// Something has changed: everybody may look again, each in its turn.
    pub fn reopen(&mut self) {
        for lot in std::mem::take(&mut self.shut) {
            self.on_lot(lot, |crowd| crowd.is_open = true);
        }
        self.invariants();
    }

    /// For those who are like this one something has changed.
    pub fn reopen_alike(&mut self, ticket: TicketId) {
        if let Some(lot) = self.tickets.get(&ticket).map(|ticket| ticket.lot) {
            self.shut.remove(&lot);
            self.on_lot(lot, |crowd| crowd.is_open = true);
        }
    }

    /// It has its key, leaves the line, and its client owes what it counts as. Whoever is to keep watch in its stead is told.
    pub fn served(&mut self, ticket: TicketId) -> Option<TicketId> {
        self.remove(ticket, true)
    }

    /// It does not wait any more. Whoever is to keep watch in its stead is told.
    pub fn leave(&mut self, ticket: TicketId) -> Option<TicketId> {
        self.remove(ticket, false)
    }

    /// Whether this one keeps watch for those who are like it.
    pub fn keeps_watch(&self, ticket: TicketId) -> bool {
        let crowd = self.tickets.get(&ticket).and_then(|ticket| self.lots.get(&ticket.lot));
        crowd.is_some_and(|crowd| crowd.watch == ticket)
    }

    /// Everybody who waits for the like.
    pub fn alike(&self, ticket: TicketId) -> impl Iterator<Item = TicketId> + '_ {
        let found = self.tickets.get(&ticket).and_then(|ticket| Some((ticket.lot, self.lots.get(&ticket.lot)?)));
        found.into_iter().flat_map(move |(lot, crowd)| {
            let own = move |(_, who): &(Turn, Who)| self.clients.get(who)?.tickets.get(&lot);
            crowd.firsts.iter().filter_map(own).flatten().copied()
        })
    }

    fn remove(&mut self, id: TicketId, served: bool) -> Option<TicketId> {
        let Ticket { who, lot, cost } = self.tickets.remove(&id)?;
        let mut account = self.clients.remove(&who)?;
        // A debt changes the turn of all that its client waits for; otherwise only this lot is looked at.
        let touched: Vec<Lot> = if served { account.tickets.keys().copied().collect() } else { vec![lot] };
        for lot in &touched {
            self.on_lot(*lot, |crowd| {
                account.first_of(*lot).map(|turn| crowd.firsts.remove(&(turn, who)));
            });
        }
        account.take(lot, id);
        if served {
            // A client that could not be served for a long time has not saved up what others got meanwhile.
            let begins = account.up_at.max(self.round);
            account.up_at = begins + account.weight.rounds(cost);
            self.round = begins;
        }
        for lot in &touched {
            self.on_lot(*lot, |crowd| crowd.firsts.extend(account.first_of(*lot).map(|turn| (turn, who))));
        }
        if account.waiting > 0 {
            self.clients.insert(who, account);
        } else if account.up_at > self.round {
            self.debtors.insert((account.up_at, who));
            self.clients.insert(who, account);
        }
        let watch = self.tidy(lot, id);
        self.invariants();
        watch
    }

    /// `id` has left `lot`: see to it that nothing is kept that is over, and that somebody keeps watch.
    fn tidy(&mut self, lot: Lot, id: TicketId) -> Option<TicketId> {
        while let Some((_, who)) = self.debtors.first().copied().filter(|(up_at, _)| *up_at <= self.round) {
            self.debtors.pop_first();
            self.clients.remove(&who);
        }
        if self.tickets.is_empty() {
            *self = Self { issued: self.issued, ..Self::new(self.bounds) };
            return None;
        }
        let crowd = self.lots.get_mut(&lot)?;
        let Some((_, last)) = crowd.firsts.last() else {
            self.lots.remove(&lot);
            self.shut.remove(&lot);
            return None;
        };
        if crowd.watch != id {
            return None;
        }
        // Who will be there for the longest: the watch changes seldom.
        crowd.watch = self.clients.get(last)?.tickets.get(&lot)?.last().copied()?;
        Some(crowd.watch)
    }

    /// Change a lot, and its place among the others.
    fn on_lot(&mut self, lot: Lot, change: impl FnOnce(&mut Crowd)) {
        let Some(crowd) = self.lots.get_mut(&lot) else { return };
        let before = crowd.turn();
        change(crowd);
        let after = crowd.turn();
        if before != after {
            before.map(|turn| self.open.remove(&(turn, lot)));
            self.open.extend(after.map(|turn| (turn, lot)));
        }
    }

    fn invariants(&self) {
        debug_assert!(self.tickets.len() <= self.bounds.places, "the line is bounded");
        debug_assert_eq!(self.lots.len(), self.open.len() + self.shut.len(), "each lot is open or shut");
        debug_assert!(self.clients.len() <= self.tickets.len() + self.debtors.len(), "nobody else is remembered");
    }
}

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
