//! The store: keys, key states and the books, durable in one SQLite file.
//!
//! One thread writes ([`writer`](self)), gathering what waits into one transaction and one sync; one thread reads. A
//! request reserves a [`Slot`] before anything is sent, and books its outcome into it whatever happens, also from
//! `Drop` and after the last runtime is gone. Keys are sealed before they touch the file; the master key lies outside.
//!
//! A key's money ([`lending`](self)): what may be spent is leased durably first, an attempt's entry takes what it held off
//! the lease, and what a process leaves behind that ends without closing the store counts as spent until it is accounted
//! for. Each opening of the store is an *epoch* of its own.
//!
//! Reading order: [`record`](self) and `lines` say what is kept, `migrations/` how, `ledger` books it as `row`s in a `chain`,
//! `queue` and `writer` make it durable, `purse` leases, `epochs` buries, `listing`, `spans` and `summary` answer, `rollup`
//! forgets, `seal` and `master_key` keep it secret, `verify` and `links` check it.
//!
//! Threads are started by [`Store::open`]: a process that daemonises must open it afterwards.

mod allowance;
mod books;
mod budgets;
mod cells;
mod chain;
mod claim;
mod clients;
mod column;
mod command;
mod connection;
mod epochs;
mod error;
mod figures;
mod intents;
mod keys;
mod leases;
mod ledger;
mod lending;
mod limits;
mod lines;
mod links;
mod listing;
mod master_key;
mod open;
mod options;
mod purse;
mod query;
mod queue;
mod reader;
mod record;
mod reserve;
mod rollup;
mod row;
mod schema;
mod seal;
mod signing;
mod slot;
mod spans;
mod spenders;
mod start;
mod stepped;
mod summary;
mod users;
mod verify;
mod waiting;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use claim::Claim;
pub use clients::{NewClient, StoredClient};
pub use error::StoreError;
pub use lines::{
    Cursor, CursorError, LedgerFilter, LedgerLine, LedgerPage, LineKind, LineTokens, Receipt, SummaryLine, Sums,
};
pub use master_key::MasterKeyError;
pub use open::{OpenEntry, Standing};
pub use options::StoreOptions;
pub use record::{
    Buried, Finding, GenerationRecord, Grant, Holder, Imbalance, ImbalanceKind, Job, KeyTotals, Loaded, NewKey,
    PoolSpend, Recovered, Refused, RolledUp, Settlement, StaleLease, StoredKey, Suspense, SuspenseSummary, TokenTotals,
    Totals,
};
pub use slot::Slot;
pub use spenders::ClientSums;
pub use stepped::Stepper;
pub use users::UserSums;
pub use writer::Fault;

use crate::clients::KeyHasher;
use crate::clock::Clock;
use crate::money::UsageCheck;
use crate::pool::{AccountId, KeyId, KeyState};

use command::{Command, Reply};
use connection::Database;
use queue::Queue;
use reader::Reader;
use start::Tampered;

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
    hasher: KeyHasher,
    database: Database,
    /// Ends checks of the books early.
    stop: Arc<AtomicBool>,
    /// What those checks have found.
    tampered: Tampered,
    /// `None` when closed. The lock is held to clone or take, never while reading.
    reader: Mutex<Option<Reader>>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    writer: Option<JoinHandle<usize>>,
    others: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Keep a thread until it is waited for at the end; those that have ended are let go.
    fn add(&mut self, thread: JoinHandle<()>) {
        self.others.retain(|thread| !thread.is_finished());
        self.others.push(thread);
    }
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

    /// Open the store for a simulation: no threads are started, and nothing is written until the [`Stepper`] is told to.
    /// Everything else is as in [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_stepped(options: &StoreOptions, clock: &Clock) -> Result<(Self, Loaded, Stepper), StoreError> {
        start::open_stepped(Database::at(&options.path), options, clock)
    }

    /// What makes hashes of client keys as this store has them.
    pub fn key_hasher(&self) -> &KeyHasher {
        &self.shared.hasher
    }

    /// Reserve a place for one entry. `None` when too many entries wait, or when they cannot be written at present
    /// ([`Store::healthy`]): then nothing must be sent that would have to be booked.
    pub fn slot(&self) -> Option<Slot> {
        self.shared.queue.reserve()
    }

    /// Reserve a place for an entry on a key with limits: not when half of all places are taken. When the disk cannot keep
    /// up, donors who trusted us with a limit are the first whose money is not spent.
    pub fn slot_of_strict(&self) -> Option<Slot> {
        self.shared.queue.reserve_of_strict()
    }

    /// Places free at present.
    pub fn free_slots(&self) -> usize {
        self.shared.queue.free()
    }

    /// Whether the last commit went through. While it is `false` entries are kept in memory and tried again.
    pub fn healthy(&self) -> bool {
        self.shared.queue.is_healthy()
    }

    /// Returns when the thread that writes has ended by a panic. Nothing can be booked any more then: whoever serves should
    /// stop, and open the store anew in another process.
    pub async fn writer_broke(&self) {
        self.shared.queue.until_broken().await;
    }

    /// Have the thread that writes panic.
    #[cfg(test)]
    pub(crate) fn break_writer(&self) {
        self.shared.queue.command(Command::Panic, None).expect("a writer");
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
        self.add_key_with_usage(key, None).await
    }

    /// [`Store::add_key`], and with it what the key's own usage was when it came: both or neither.
    ///
    /// # Errors
    /// As [`Store::add_key`].
    pub async fn add_key_with_usage(&self, key: NewKey, usage: Option<UsageCheck>) -> Result<KeyId, StoreError> {
        let (key, at) = (Box::new(key), self.shared.clock.now());
        self.write(|reply| Command::AddKey { key, usage, at, reply }).await
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
        if matches!(answer, Err(StoreError::Unreadable(_))) {
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
