//! The store: keys, key states and the books, durable in one SQLite file.
//!
//! One thread writes ([`writer`](self)), gathering what waits into one transaction and one sync; one thread reads. A
//! request reserves a [`Slot`] before anything is sent, and books its outcome into it whatever happens, also from
//! `Drop` and after the last runtime is gone. Keys are sealed before they touch the file; the master key lies outside.
//!
//! Reading order: [`record`](self) says what is kept, `migrations/` how, `ledger` books it, `queue` and `writer` make
//! it durable, `seal` and `master_key` keep it secret, `verify` checks the sums.
//!
//! Threads are started by [`Store::open`]: a process that daemonises must open it afterwards.

mod claim;
mod column;
mod command;
mod connection;
mod error;
mod figures;
mod keys;
mod ledger;
mod master_key;
mod options;
mod query;
mod queue;
mod reader;
mod record;
mod schema;
mod seal;
mod start;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use claim::Claim;
pub use error::StoreError;
pub use master_key::MasterKeyError;
pub use options::StoreOptions;
pub use queue::Slot;
pub use record::{
    GenerationRecord, Imbalance, Job, KeyTotals, Loaded, NewKey, PoolSpend, Settlement, StoredKey, Suspense,
    SuspenseSummary, TokenTotals, Totals,
};

use crate::clock::{Clock, Day, Timestamp};
use crate::money::{GenerationId, RequestId};
use crate::pool::{AccountId, KeyId, KeyState};

use command::{Command, Reply};
use connection::Database;
use queue::Queue;
use reader::Reader;

/// A handle to the store; clones share it. The last one dropped closes it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Arc<Queue>,
    /// Commits and queries that failed.
    failures: Arc<AtomicU64>,
    clock: Clock,
    database: Database,
    /// Ends checks of the sums early.
    stop: Arc<AtomicBool>,
    /// `None` when closed. The lock is held to clone or take, never while reading.
    reader: Mutex<Option<Reader>>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    writer: Option<JoinHandle<usize>>,
    others: Vec<JoinHandle<()>>,
}

impl Store {
    /// Open the store: make the file when there is none, bring it up to date, open the keys, start the threads. The
    /// sums of the current day are checked in the background, and what does not balance is logged.
    ///
    /// # Errors
    /// [`StoreError`] says what is in the way and, for the master key, how to put it right. Nothing is overwritten.
    pub fn open(options: StoreOptions, clock: &Clock) -> Result<(Self, Loaded), StoreError> {
        start::open(Database::at(&options.path), options, clock)
    }

    /// Reserve a place for one entry. `None` when too many entries wait, or when they cannot be written at present
    /// ([`Store::healthy`]): then nothing must be sent that would have to be booked.
    pub fn slot(&self) -> Option<Slot> {
        self.shared.queue.reserve()
    }

    /// Places free at present.
    pub fn free_slots(&self) -> usize {
        self.shared.queue.free()
    }

    /// Whether the last commit went through. While it is `false` entries are kept in memory and tried again.
    pub fn healthy(&self) -> bool {
        self.shared.queue.is_healthy()
    }

    /// Commits and queries that have failed since the store was opened.
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Make a key's state durable soon. Never waits, and only the latest state of a key is written.
    pub fn save_state(&self, key: KeyId, state: KeyState) {
        self.shared.queue.save_state(key, state);
    }

    /// Write an operator's word about a key, and that it was said. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`]; the state is then tried again like any other.
    pub async fn set_state(&self, id: KeyId, state: KeyState) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::NoteHealth { id, health: state.health, at: self.shared.clock.now(), reply };
        self.shared.queue.command(command, Some((id, state)))?;
        self.answer(answer).await
    }

    /// Store a key, and that it was added. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::KeyPresent`], or [`StoreError::Unwritable`].
    pub async fn add_key(&self, key: NewKey) -> Result<KeyId, StoreError> {
        let at = self.shared.clock.now();
        self.write(|reply| Command::AddKey { key: Box::new(key), at, reply }).await
    }

    /// Wipe a key and what donors said about it; its ledger entries stay. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], or [`StoreError::Unwritable`].
    pub async fn remove_key(&self, id: KeyId) -> Result<(), StoreError> {
        let at = self.shared.clock.now();
        self.write(|reply| Command::RemoveKey { id, at, reply }).await
    }

    /// The account of that name, made when there is none.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub async fn account(&self, name: &str) -> Result<AccountId, StoreError> {
        self.write(|reply| Command::Account { name: name.to_owned(), reply }).await
    }

    /// Write down which account a key spends from.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], or [`StoreError::Unwritable`].
    pub async fn set_account(&self, id: KeyId, account: AccountId) -> Result<(), StoreError> {
        self.write(|reply| Command::SetAccount { id, account, reply }).await
    }

    /// Returns when everything booked and saved before is durable.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`]; what was to be written is kept and tried again.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.write(|reply| Command::Flush { reply }).await
    }

    /// What keys and pool have done and paid in all, and on `today`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn totals(&self, today: Day) -> Result<Totals, StoreError> {
        self.read(move |connection| query::totals(connection, today)).await
    }

    /// What the pool has spent in OpenRouter's windows that hold `today`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn spend(&self, today: Day) -> Result<PoolSpend, StoreError> {
        self.read(move |connection| query::spend(connection, today)).await
    }

    /// Entries in suspense whose lookup is due, at most `limit`, the longest due first.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn suspense_due(&self, now: Timestamp, limit: usize) -> Result<Vec<Suspense>, StoreError> {
        self.read(move |connection| query::suspense_due(connection, now, limit)).await
    }

    /// An attempt's place in suspense; `None` when its cost is known.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn suspense_of(&self, request: RequestId, attempt: u16) -> Result<Option<Suspense>, StoreError> {
        self.read(move |connection| query::suspense_of(connection, request, attempt)).await
    }

    /// How much is in suspense.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn suspense_summary(&self) -> Result<SuspenseSummary, StoreError> {
        self.read(query::suspense_summary).await
    }

    /// Book what was found out about an entry in suspense, as a correction on the attempt's day, and close it: both or
    /// neither, and once. `false` when it was closed before; nothing changes then. Works for exhausted entries too.
    ///
    /// # Errors
    /// [`StoreError::NoSuchSuspense`], or [`StoreError::Unwritable`]: to be tried again.
    pub async fn settle(&self, id: u64, found: Settlement) -> Result<bool, StoreError> {
        self.write(|reply| Command::Settle { id, found: Box::new(found), reply }).await
    }

    /// A lookup was in vain: ask again at `due_at`, or, with `None`, not by ourselves. The entry stays in suspense.
    ///
    /// # Errors
    /// [`StoreError::NoSuchSuspense`], or [`StoreError::Unwritable`].
    pub async fn retry_later(&self, id: u64, due_at: Option<Timestamp>) -> Result<(), StoreError> {
        self.write(|reply| Command::RetryLater { id, due_at, reply }).await
    }

    /// The attempt that made a generation, when it went through this pool.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn generation(&self, id: &GenerationId) -> Result<Option<GenerationRecord>, StoreError> {
        let id = id.clone();
        self.read(move |connection| query::generation(connection, &id)).await
    }

    /// Bind a job to the key that started it. A job that is bound already stays as it is. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub async fn add_job(&self, job: Job) -> Result<(), StoreError> {
        self.write(|reply| Command::AddJob { job, reply }).await
    }

    /// The job of that id, when it was started through this pool.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| query::job(connection, &id)).await
    }

    /// Compare the sums of one day, or of all time, with the entries they are made of. Empty when the books balance.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`]; [`StoreError::Closed`] when the store is closed meanwhile.
    pub async fn verify_totals(&self, day: Option<Day>) -> Result<Vec<Imbalance>, StoreError> {
        let (reply, answer) = oneshot::channel();
        // On a thread and connection of its own: it may take as long as the ledger is big.
        let thread = start::verifier(&self.shared.database, &self.shared.stop, day, |result| drop(reply.send(result)))?;
        self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner).others.push(thread);
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Write everything that was booked or saved, wait a little for places that are still reserved, and stop. Blocks.
    /// Later calls fail; entries booked later go to the log. Does nothing the second time.
    ///
    /// # Errors
    /// [`StoreError::Unwritten`] when entries could not be written; each of them is in the log.
    pub fn close(&self) -> Result<(), StoreError> {
        self.shared.close()
    }

    async fn write<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.queue.command(command(reply), None)?;
        self.answer(answer).await
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        answer.await.unwrap_or_else(|_| Err(self.shared.queue.trouble()))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reader = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = reader.ok_or(StoreError::Closed)?.ask(query).await;
        if answer.is_err() {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

impl Shared {
    fn close(&self) -> Result<(), StoreError> {
        self.stop.store(true, Ordering::Relaxed);
        self.queue.close();
        drop(self.reader.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads.others {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        match threads.writer.map(JoinHandle::join) {
            None | Some(Ok(0)) => Ok(()),
            Some(Ok(left)) => Err(StoreError::Unwritten(left)),
            Some(Err(_)) => Err(StoreError::Closed),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store was not closed in order");
        }
    }
}
