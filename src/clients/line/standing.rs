//! Where requests stand in the line: their lots, and what is known of their clients.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Weight;
use super::{Kind, Prospect, TicketId, Who};

/// Requests of which one looks for a key for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lot {
    /// Everybody's who wants the like.
    Alike(Kind),
    /// What else a client wants that wants a great many things.
    Rest(Who),
}

/// One client.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) weight: Weight,
    /// The round in which it owes nothing any more.
    pub(super) up_at: u128,
    /// Its tickets, in the order in which they came.
    pub(super) tickets: BTreeMap<Lot, BTreeSet<TicketId>>,
    pub(super) waiting: usize,
}

/// When somebody should look: who is up first; of those, who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) up_at: u128,
    pub(super) ticket: TicketId,
}

/// Those who stand in a lot: the first of each client.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) firsts: BTreeSet<(Turn, Who)>,
    pub(super) is_open: bool,
    pub(super) prospect: Prospect,
    pub(super) watch: TicketId,
}

impl Crowd {
    /// When the first of an open lot should look.
    pub(super) fn turn(&self) -> Option<Turn> {
        self.firsts.first().filter(|_| self.is_open).map(|(turn, _)| *turn)
    }
}

impl Account {
    /// When the first of its tickets in a lot should look.
    pub(super) fn first_of(&self, lot: Lot) -> Option<Turn> {
        let ticket = self.tickets.get(&lot)?.first().copied()?;
        Some(Turn { up_at: self.up_at, ticket })
    }

    pub(super) fn take(&mut self, lot: Lot, id: TicketId) {
        if let Some(own) = self.tickets.get_mut(&lot) {
            self.waiting -= usize::from(own.remove(&id));
            if own.is_empty() {
                self.tickets.remove(&lot);
            }
        }
    }
}
