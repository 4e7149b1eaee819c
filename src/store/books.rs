//! What the ledger says: sums, suspense, pages, receipts; and what is done to it later.

use std::sync::PoisonError;

use tokio::sync::oneshot;

use crate::clock::{Day, Timestamp};
use crate::money::{GenerationId, RequestId};
use crate::pool::KeyId;

use super::command::Command;
use super::error::StoreError;
use super::lines::{Cursor, LedgerFilter, LedgerPage, Receipt, SummaryLine};
use super::record::{
    GenerationRecord, Imbalance, Job, PoolSpend, RolledUp, Settlement, Suspense, SuspenseSummary, Totals,
};
use super::rollup::Step;
use super::spans::Made;
use super::{Shared, Store, keys, listing, query, start, summary};

impl Store {
    /// What keys and pool have done and paid in all, and on `today`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn totals(&self, today: Day) -> Result<Totals, StoreError> {
        self.read(move |connection| query::totals(connection, today)).await
    }

    /// [`Store::totals`] and [`Store::suspense_summary`] of one moment: a cost is in one of them or in the other.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn standing(&self, today: Day) -> Result<(Totals, SuspenseSummary), StoreError> {
        self.read(move |connection| Ok((query::totals(connection, today)?, query::suspense_summary(connection)?))).await
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

    /// Everything of a key that is in suspense, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn suspense_of_key(&self, key: KeyId) -> Result<Vec<Suspense>, StoreError> {
        self.read(move |connection| query::suspense_of_key(connection, key)).await
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

    /// Compare the sums of one day, or of all time, with the entries they are made of, and follow the chain through the
    /// entries. Empty when the books balance and nobody has changed them. In slices, so that it is in nobody's way; a look at
    /// all time rests between them, and so takes some times as long as it works.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`]; [`StoreError::Closed`] when the store is closed meanwhile.
    pub async fn verify_totals(&self, day: Option<Day>) -> Result<Vec<Imbalance>, StoreError> {
        let (reply, answer) = oneshot::channel();
        // On a thread and connection of its own: it may take as long as the ledger is big.
        let Shared { database, stop, tampered, .. } = &*self.shared;
        let thread = start::verifier(database, stop, day, tampered.clone(), |result| drop(reply.send(result)))?;
        self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner).add(thread);
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Keys whose books were found not to be sound, with the time of the last finding: also by processes before this one.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn unsound(&self) -> Result<Vec<(KeyId, Timestamp)>, StoreError> {
        self.read(|connection| Ok(keys::unsound(connection)?)).await
    }

    /// Write down that keys' books are not sound. Durable when it returns; nothing for a key that is gone.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub async fn set_unsound(&self, ids: Vec<KeyId>) -> Result<(), StoreError> {
        self.write(|reply| Command::SetUnsound { ids, reply }).await
    }

    /// Write down that they are again, but for those of which something was found since the time given. Which those are that
    /// are sound.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub async fn set_sound(&self, ids: Vec<(KeyId, Timestamp)>) -> Result<Vec<KeyId>, StoreError> {
        self.write(|reply| Command::SetSound { ids, reply }).await
    }

    /// Make spans of the lines of clients that an earlier potluck has written, which had an index of them. Until that is done,
    /// the index leads to them. Only for the process that alone has the [`Claim`](super::Claim).
    ///
    /// # Errors
    /// [`StoreError::Unwritable`]: what was made stays, and the rest is to be tried again.
    pub async fn make_spans(&self) -> Result<(), StoreError> {
        let mut made = Some(Made::NOTHING);
        while let Some(after) = made {
            made = self.write(|reply| Command::MakeSpans { after, reply }).await?;
        }
        Ok(())
    }

    /// Keys whose ledger entries or sums somebody has changed, as far as the check at the start and every
    /// [`Store::verify_totals`] of this process have found, whatever was found later.
    pub fn tampered(&self) -> Vec<KeyId> {
        self.shared.tampered.keys()
    }

    /// Lines of the ledger that `filter` means, the newest first, at most `limit` and a thousand; from the beginning, or
    /// after the place where another page ended.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn ledger(
        &self,
        filter: LedgerFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<LedgerPage, StoreError> {
        self.read(move |connection| listing::page(connection, &filter, after, limit)).await
    }

    /// What each model has cost on each key on each of these days, in that order.
    ///
    /// # Errors
    /// [`StoreError::TooMuch`], or [`StoreError::Unreadable`].
    pub async fn summary(&self, filter: LedgerFilter) -> Result<Vec<SummaryLine>, StoreError> {
        self.read(move |connection| summary::summary(connection, &filter)).await
    }

    /// What a key was used for from the first to the last of these days, for its donor.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn receipt(&self, key: KeyId, from: Day, to: Day) -> Result<Receipt, StoreError> {
        self.read(move |connection| summary::receipt(connection, key, from, to)).await
    }

    /// Let entries of days before `before` go; every sum stays as it is. Takes a while, in small steps between which
    /// everybody else has his turn. What is in suspense stays, and what follows on it in its key's chain. Generations of
    /// entries that are gone are not known any more.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`]; what is done by then is done.
    pub async fn roll_up(&self, before: Day) -> Result<RolledUp, StoreError> {
        let mut step = Step::first(before);
        while step.more {
            step = self.write(|reply| Command::RollUp { step, reply }).await?;
        }
        Ok(step.done)
    }
}
