//! What waits in the queue, under its lock.

use std::collections::HashMap;
use std::sync::Arc;

use crate::money::{Entry, RequestId, Usd};
use crate::pool::{KeyId, KeyState};

use super::command::Command;
use super::intents::{Intended, Intents, Which, Written};
use super::queue::WORTH_A_COMMIT;
use super::record::{Holder, Refused};

/// The queue's contents.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub entries: Vec<Booking>,
    pub intents: Intents,
    /// Attempts that are over without an entry, and were written.
    pub forgotten: Vec<(RequestId, u16)>,
    pub states: HashMap<KeyId, KeyState>,
    /// Leases that are given back.
    pub returned: HashMap<Holder, Usd>,
    /// What was refused to clients.
    pub refused: HashMap<Refused, u64>,
    pub commands: Vec<Command>,
    pub writer: WriterIs,
    /// Why the last failed commit failed.
    pub trouble: Option<Arc<str>>,
}

/// What the writer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum WriterIs {
    #[default]
    Busy,
    /// Waiting for anything at all.
    Idle,
    /// Waiting for anything, and until an attempt has been under way for long.
    Watching,
    /// Waiting for more entries to go with those that are there.
    Gathering,
    Gone,
}

/// An entry, and the row that its attempt had while it was under way.
#[derive(Debug)]
pub(super) struct Booking {
    pub entry: Entry,
    pub written: Written,
}

/// What the writer is given to write.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub intents: Vec<Intended>,
    pub entries: Vec<Booking>,
    pub forgotten: Vec<(RequestId, u16)>,
    pub states: HashMap<KeyId, KeyState>,
    pub returned: HashMap<Holder, Usd>,
    /// What was refused to clients.
    pub refused: HashMap<Refused, u64>,
    pub commands: Vec<Command>,
}

impl Waiting {
    /// Whether there is nothing to write, but for attempts under way.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.forgotten.is_empty()
            && self.states.is_empty()
            && self.returned.is_empty()
            && self.refused.is_empty()
            && self.commands.is_empty()
    }

    /// Hand out everything, but of attempts under way only `which`.
    pub(super) fn take(&mut self, which: Which) -> Work {
        let room = Vec::with_capacity(self.entries.len().min(WORTH_A_COMMIT));
        Work {
            intents: self.intents.take(which),
            entries: std::mem::replace(&mut self.entries, room),
            forgotten: std::mem::take(&mut self.forgotten),
            states: std::mem::take(&mut self.states),
            returned: std::mem::take(&mut self.returned),
            refused: std::mem::take(&mut self.refused),
            commands: std::mem::take(&mut self.commands),
        }
    }
}
