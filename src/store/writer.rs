//! The thread that writes. It owns the only connection that does, gathers what waits into one transaction and one
//! sync, and is the last thing to stop; it needs no runtime.
//!
//! A commit that fails is undone and its entries stay in memory, in their reserved places. Before the next try the file
//! is opened anew: after a failed sync the system may have dropped what it could not write, so nothing that SQLite
//! believes about the file counts any more. Should the failed transaction have reached the disk after all, the ledger
//! finds its entries by request and attempt and books none of them twice, and what is leased is set to what was told
//! ([`leases`](super::leases)). Calls are not tried again: they fail, and who waited decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::clock::{Clock, Tick};
use crate::money::{Charged, RequestId, Usd};
use crate::pool::{KeyId, KeyState};

use super::command::{Answer, Command, Desk};
use super::connection::{Database, empty_log};
use super::error::StoreError;
use super::intents::Intended;
use super::leases::Leases;
use super::queue::{Patience, Queue};
use super::record::{Holder, Refused};
use super::reserve::Reserve;
use super::seal::Sealer;
use super::slot::report_lost;
use super::waiting::{Booking, Work};
use super::{epochs, intents, keys, ledger, spenders};

/// Pauses between tries of a failed commit: each twice the one before.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What the thread works with.
pub(super) struct Writer {
    pub queue: Arc<Queue>,
    /// Commits that failed.
    pub failures: Arc<AtomicU64>,
    pub database: Database,
    pub sealer: Sealer,
    pub leases: Leases,
    pub clock: Clock,
    /// `None` after a failure, until the file is opened anew.
    pub connection: Option<Connection>,
    pub commit_gather: Duration,
    pub first_lookup: Duration,
    /// After closing: how long to wait for places that are still reserved, and to try again what cannot be written.
    pub close_patience: Duration,
    pub kept: Kept,
    pub reserve: Reserve,
    /// What becomes of the next commit, in simulations.
    pub fault: Option<Fault>,
}

/// How a commit fails in simulations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of it is on the disk.
    Undone,
    /// It failed, and everything is on the disk after all.
    Durable,
}

/// What is not durable yet.
#[derive(Default)]
pub(super) struct Kept {
    intents: Vec<Intended>,
    entries: Vec<Booking>,
    forgotten: Vec<(RequestId, u16)>,
    states: HashMap<KeyId, KeyState>,
    returned: HashMap<Holder, Usd>,
    refused: HashMap<Refused, u64>,
    /// Something was deleted and its bytes may still stand in the log.
    wipe: bool,
    /// The pause before the next try, while commits fail.
    pause: Option<Duration>,
}

/// Whatever ends the thread, a panic included: nobody may go on reserving places, and nothing is lost in silence.
struct LastWord(Arc<Queue>);

impl Drop for LastWord {
    fn drop(&mut self) {
        let (left, panicked) = (self.0.abandon(), std::thread::panicking());
        if left > 0 || panicked {
            tracing::error!(left, panicked, "the ledger's writer is gone with work left to do");
        }
        if panicked {
            self.0.broke();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.entries.iter().for_each(|booking| report_lost(&booking.entry));
    }
}

impl Writer {
    /// Write until the queue is closed and empty. How many entries could not be written.
    pub(super) fn run(mut self) -> usize {
        let _last_word = LastWord(Arc::clone(&self.queue));
        let mut closing: Option<Tick> = None;
        loop {
            let patience = self.kept.pause.map_or(Patience::Gather(self.commit_gather), Patience::Retry);
            let work = self.queue.take(patience);
            self.write(work);
            if self.queue.is_open() {
                continue;
            }
            let since = *closing.get_or_insert_with(Tick::now);
            let left = self.close_patience.saturating_sub(since.elapsed());
            let done = self.queue.taken() == 0 && self.kept.pause.is_none();
            if done || left.is_zero() {
                break;
            }
            if self.kept.pause.is_none() {
                self.queue.wait_for_last(left);
            }
        }
        self.end();
        if let Some(connection) = &self.connection
            && let Err(error) = empty_log(connection)
        {
            tracing::warn!(%error, "the database's log could not be emptied; it is read at the next start");
        }
        self.kept.entries.len()
    }

    /// Give back what was leased, unless something is still under way: then the next process finds out what became of it.
    pub(super) fn end(&mut self) {
        let (rest, all_told) = self.queue.take_rest();
        self.write(rest);
        let (epoch, now) = (self.leases.epoch(), self.clock.now());
        let taken = self.queue.taken();
        let Some(connection) = self.connection.as_mut().filter(|_| self.kept.pause.is_none()) else { return };
        let ended = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            match taken {
                0 => epochs::close(&transaction, epoch, now)?,
                _ => epochs::abandon(&transaction, epoch, all_told)?,
            }
            transaction.commit()
        });
        if let Err(error) = ended {
            tracing::error!(%error, "what was leased could not be given back; it counts as spent until it is looked after");
        }
    }

    pub(super) fn write(&mut self, work: Work) {
        let wipes = work.commands.iter().any(Command::wipes);
        let commands = self.kept.add(work);
        if commands.is_empty() && self.kept.is_empty() {
            return;
        }
        // Who waits hears of a failure by these being dropped, and then asks why: not before that is on record.
        let (mut commands, mut answers) = (commands.into_iter(), Vec::new());
        match self.commit(&mut commands, &mut answers) {
            Ok(()) => {
                self.leases.committed();
                self.queue.release(self.kept.entries.len());
                self.kept.written();
                self.keep_reserve();
                self.kept.wipe |= wipes;
                self.wipe();
                answers.into_iter().for_each(|answer| answer());
            }
            Err(error) => {
                self.leases.failed();
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.connection = None;
                if matches!(error, StoreError::DiskFull) {
                    self.reserve.give_up();
                }
                self.pause(&error);
            }
        }
    }

    /// Nothing new is let in; what is kept is tried again after a pause.
    fn pause(&mut self, why: &StoreError) {
        self.kept.pause = Some(self.kept.pause.map_or(RETRY.0, |pause| (pause * 2).min(RETRY.1)));
        self.queue.report(Some(why));
    }

    /// The disk takes what it is given. That is well only if there is room for those of all that may begin from now on.
    pub(super) fn keep_reserve(&mut self) {
        match self.reserve.keep() {
            Ok(()) => {
                self.kept.pause = None;
                self.queue.report(None);
            }
            Err(error) => {
                tracing::error!(%error, "no disk space can be kept for the ledger");
                self.pause(&StoreError::DiskFull);
            }
        }
    }

    /// One transaction for everything. The commands' answers are for after the commit.
    fn commit(
        &mut self,
        commands: &mut impl Iterator<Item = Command>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), StoreError> {
        let unwritable = |error| StoreError::unwritable(&error);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            missing => missing.insert(self.database.writer()?),
        };
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unwritable)?;
        if self.kept.pause.is_some() {
            // Health is only believed of a disk that has just taken something.
            transaction
                .execute("REPLACE INTO meta (name, value) VALUES ('write_probe', randomblob(8))", [])
                .map_err(unwritable)?;
        }
        self.kept.write(&transaction, &mut self.leases, self.first_lookup).map_err(unwritable)?;
        let mut desk = Desk {
            sealer: &self.sealer,
            leases: &mut self.leases,
            now: self.clock.now(),
            first_lookup: self.first_lookup,
        };
        for command in commands {
            answers.push(command.run(&mut transaction, &mut desk).map_err(unwritable)?);
        }
        self.leases.write(&transaction).map_err(unwritable)?;
        let fault = self.fault.take();
        if fault != Some(Fault::Undone) {
            transaction.commit().map_err(unwritable)?;
        }
        fault.map_or(Ok(()), |_| Err(StoreError::Unwritable("simulated".into())))
    }

    /// Get deleted bytes out of the log too. When a reader is in the way, at the next commit.
    fn wipe(&mut self) {
        if let (true, Some(connection)) = (self.kept.wipe, &self.connection) {
            self.kept.wipe = !empty_log(connection).unwrap_or(false);
        }
    }
}

impl Kept {
    /// Take work in; the commands are the caller's, who does not keep them.
    fn add(&mut self, work: Work) -> Vec<Command> {
        let Work { intents, entries, forgotten, states, returned, refused, commands } = work;
        self.intents.extend(intents);
        self.entries.extend(entries);
        self.forgotten.extend(forgotten);
        // A newer state of a key replaces one that could not be written.
        self.states.extend(states);
        for (holder, amount) in returned {
            let sum = self.returned.entry(holder).or_default();
            *sum = sum.saturating_add(amount);
        }
        refused.into_iter().for_each(|(refused, count)| *self.refused.entry(refused).or_default() += count);
        commands
    }

    /// Whether there is nothing to write or to see to.
    pub(super) fn is_empty(&self) -> bool {
        let Self { intents, entries, forgotten, states, returned, refused, wipe, pause } = self;
        intents.is_empty()
            && entries.is_empty()
            && forgotten.is_empty()
            && states.is_empty()
            && returned.is_empty()
            && refused.is_empty()
            && !wipe
            && pause.is_none()
    }

    /// Write it all. Attempts under way come first: some of them are over by now.
    fn write(&self, connection: &Connection, leases: &mut Leases, first_lookup: Duration) -> rusqlite::Result<()> {
        for open in &self.intents {
            intents::write(connection, leases.epoch(), open)?;
        }
        ledger::book(connection, self.entries.iter().map(|booking| &booking.entry), first_lookup)?;
        let over = self.entries.iter().filter_map(|booking| booking.written);
        for (request, attempt) in over.chain(self.forgotten.iter().copied()) {
            intents::forget(connection, request, attempt)?;
        }
        for Booking { entry, .. } in &self.entries {
            leases.take_off(entry.key, entry.held.unwrap_or_default());
            if let Some(charged @ Charged { held: Some(held), .. }) = entry.client {
                charged.spenders().for_each(|spender| leases.take_off(spender, held));
            }
        }
        self.returned.iter().for_each(|(holder, amount)| leases.take_off(*holder, *amount));
        for (Refused { spender, day, reason }, count) in &self.refused {
            spenders::refused(connection, *spender, *day, reason, *count)?;
        }
        for (key, state) in &self.states {
            keys::save_state(connection, *key, state)?;
        }
        Ok(())
    }

    /// Entries that are not durable.
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// It is durable.
    fn written(&mut self) {
        self.intents.clear();
        self.entries.clear();
        self.forgotten.clear();
        self.states.clear();
        self.returned.clear();
        self.refused.clear();
        self.pause = None;
    }
}
