//! The thread that writes. It owns the only connection that does, gathers what waits into one transaction and one
//! sync, and is the last thing to stop; it needs no runtime.
//!
//! A commit that fails is undone and its entries stay in memory, in their reserved places. Before the next try the file
//! is opened anew: after a failed sync the system may have dropped what it could not write, so nothing that SQLite
//! believes about the file counts any more. Should the failed transaction have reached the disk after all, the ledger
//! finds its entries by request and attempt and books none of them twice. Calls are not tried again: they fail, and
//! who waited decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::clock::{Clock, Tick};
use crate::money::Entry;
use crate::pool::{KeyId, KeyState};

use super::command::{Answer, Command};
use super::connection::{Database, empty_log};
use super::error::StoreError;
use super::queue::{Patience, Queue, Work, report_lost};
use super::seal::Sealer;
use super::{keys, ledger};

/// Pauses between tries of a failed commit: each twice the one before.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What the thread works with.
pub(super) struct Writer {
    pub queue: Arc<Queue>,
    /// Commits that failed.
    pub failures: Arc<AtomicU64>,
    pub database: Database,
    pub sealer: Sealer,
    /// `None` after a failure, until the file is opened anew.
    pub connection: Option<Connection>,
    pub commit_gather: Duration,
    pub first_lookup: Duration,
    /// After closing: how long to wait for places that are still reserved, and to try again what cannot be written.
    pub close_patience: Duration,
    pub kept: Kept,
}

/// What is not durable yet.
#[derive(Default)]
pub(super) struct Kept {
    entries: Vec<Entry>,
    states: HashMap<KeyId, KeyState>,
    /// Something was deleted and its bytes may still stand in the log.
    wipe: bool,
    /// The pause before the next try, while commits fail.
    pause: Option<Duration>,
}

/// Whatever ends the thread, a panic included: nobody may go on reserving places, and nothing is lost in silence.
struct LastWord(Arc<Queue>);

impl Drop for LastWord {
    fn drop(&mut self) {
        if self.0.abandon() > 0 || std::thread::panicking() {
            tracing::error!("the ledger's writer is gone with work left to do");
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.entries.iter().for_each(report_lost);
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
            let since = *closing.get_or_insert_with(|| Clock::system().tick());
            let left = self.close_patience.saturating_sub(since.elapsed());
            let done = self.queue.taken() == 0 && self.kept.pause.is_none();
            if done || left.is_zero() {
                break;
            }
            if self.kept.pause.is_none() {
                self.queue.wait_for_last(left);
            }
        }
        if let Some(connection) = &self.connection
            && let Err(error) = empty_log(connection)
        {
            tracing::warn!(%error, "the database's log could not be emptied; it is read at the next start");
        }
        self.kept.entries.len()
    }

    fn write(&mut self, work: Work) {
        let Work { entries, states, commands } = work;
        self.kept.entries.extend(entries);
        // A newer state of a key replaces one that could not be written.
        self.kept.states.extend(states);
        let wipes = commands.iter().any(Command::wipes);
        match self.commit(commands) {
            Ok(answers) => {
                self.queue.report(None);
                self.queue.release(self.kept.entries.len());
                self.kept.entries.clear();
                self.kept.states.clear();
                self.kept.pause = None;
                self.kept.wipe |= wipes;
                self.wipe();
                answers.into_iter().for_each(|answer| answer());
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.connection = None;
                self.kept.pause = Some(self.kept.pause.map_or(RETRY.0, |pause| (pause * 2).min(RETRY.1)));
                self.queue.report(Some(&error));
            }
        }
    }

    /// One transaction for everything. The commands' answers are for after the commit; on an error they are dropped,
    /// which their callers hear of as a failed write.
    fn commit(&mut self, commands: Vec<Command>) -> Result<Vec<Answer>, StoreError> {
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
        ledger::book(&transaction, &self.kept.entries, self.first_lookup).map_err(unwritable)?;
        for (key, state) in &self.kept.states {
            keys::save_state(&transaction, *key, state).map_err(unwritable)?;
        }
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            answers.push(command.run(&mut transaction, &self.sealer).map_err(unwritable)?);
        }
        transaction.commit().map_err(unwritable)?;
        Ok(answers)
    }

    /// Get deleted bytes out of the log too. When a reader is in the way, at the next commit.
    fn wipe(&mut self) {
        if let (true, Some(connection)) = (self.kept.wipe, &self.connection) {
            self.kept.wipe = !empty_log(connection).unwrap_or(false);
        }
    }
}
