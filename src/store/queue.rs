//! What waits for the writer: entries in reserved places, attempts under way, the latest state of keys, and calls that
//! somebody waits for.
//!
//! A place is reserved before a request is sent on, so that what it costs can be written down whatever happens then:
//! booking never waits and never fails. The place is free again when its entry is durable, so memory stays bounded
//! while the disk is slow or full.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Tick;
use crate::money::{Entry, GenerationId, Intent, Usd};
use crate::pool::{KeyId, KeyState};

use super::command::Command;
use super::error::StoreError;
use super::intents::{Ticket, Which};
use super::record::{Holder, Refused};
use super::slot::{Slot, report_lost};
use super::waiting::{Booking, Waiting, Work, WriterIs};

/// Calls that may wait at a time. Each has a task that waits for it, so this is far beyond honest use.
const COMMANDS_MAX: usize = 4096;
/// So many entries are worth a commit of their own: the writer stops gathering.
pub(super) const WORTH_A_COMMIT: usize = 512;

/// Clients, days and reasons for which refusals wait to be written. Beyond it they are counted by the metrics only.
const REFUSED_MAX: usize = 65_536;

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Queue {
    places: usize,
    /// Places reserved, waiting or being written.
    taken: AtomicUsize,
    /// Whether the writer takes new work.
    open: AtomicBool,
    /// Whether the last commit went through.
    healthy: AtomicBool,
    /// One plain mutex, held for a push or a swap, never while anything is written.
    waiting: Mutex<Waiting>,
    work: Condvar,
    /// Whether the writer has ended by a panic.
    broken: watch::Sender<bool>,
}

/// How long the writer waits for work.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// Until there is some, and this long for more to go with it.
    Gather(Duration),
    /// This long: something is to be tried again then.
    Retry(Duration),
}

impl Queue {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places,
            taken: AtomicUsize::new(0),
            open: AtomicBool::new(true),
            healthy: AtomicBool::new(true),
            waiting: Mutex::default(),
            work: Condvar::new(),
            broken: watch::Sender::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserve a place; `None` when none is free, or when entries cannot be written at present.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Slot> {
        self.reserve_below(self.places)
    }

    /// Reserve a place while at least half of all are free.
    pub(super) fn reserve_of_strict(self: &Arc<Self>) -> Option<Slot> {
        self.reserve_below(self.places.div_ceil(2))
    }

    fn reserve_below(self: &Arc<Self>, places: usize) -> Option<Slot> {
        if !self.is_healthy() {
            return None;
        }
        let reserve = |taken: usize| (taken < places).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, reserve).ok()?;
        Some(Slot::new(Arc::clone(self)))
    }

    /// Give places back.
    pub(super) fn release(&self, places: usize) {
        self.taken.fetch_sub(places, Ordering::AcqRel);
        if !self.is_open() {
            // The writer may be waiting for exactly this.
            drop(self.lock());
            self.work.notify_all();
        }
    }

    /// Keep an entry for the writer, in the place that was reserved for it.
    pub(super) fn book(&self, entry: Entry, ticket: Option<Ticket>) {
        let mut waiting = self.lock();
        if waiting.writer == WriterIs::Gone {
            drop(waiting);
            report_lost(&entry);
            return self.release(1);
        }
        let written = ticket.and_then(|ticket| waiting.intents.over(ticket));
        waiting.entries.push(Booking { entry, written });
        let wanted = match waiting.writer {
            WriterIs::Idle | WriterIs::Watching => true,
            WriterIs::Gathering => waiting.entries.len() >= WORTH_A_COMMIT || !self.is_open(),
            WriterIs::Busy | WriterIs::Gone => false,
        };
        drop(waiting);
        if wanted {
            self.work.notify_all();
        }
    }

    /// A reserved place is used for this attempt, in the place of one that was sent before it.
    pub(super) fn sent(&self, intent: Intent, before: Option<Ticket>) -> Ticket {
        let now = Tick::now();
        let mut waiting = self.lock();
        let written = before.and_then(|ticket| waiting.intents.over(ticket));
        waiting.forgotten.extend(written);
        let ticket = waiting.intents.sent(intent, now);
        self.watch(waiting);
        ticket
    }

    /// The upstream has named what an attempt makes.
    pub(super) fn named(&self, ticket: Ticket, id: GenerationId) -> Ticket {
        let now = Tick::now();
        let mut waiting = self.lock();
        let ticket = waiting.intents.named(ticket, id, now);
        self.watch(waiting);
        ticket
    }

    /// A writer that sleeps without end is woken once, and sleeps until the oldest attempt is no longer short.
    fn watch(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.writer == WriterIs::Idle && !waiting.intents.is_quiet() {
            waiting.writer = WriterIs::Watching;
            drop(waiting);
            self.work.notify_all();
        }
    }

    /// An attempt ended without anything to book.
    pub(super) fn forget(&self, ticket: Ticket) {
        let mut waiting = self.lock();
        if let Some(written) = waiting.intents.over(ticket) {
            waiting.forgotten.push(written);
            self.wake(waiting);
        }
    }

    /// Let a writer that has nothing to do look at what there is.
    fn wake(&self, waiting: MutexGuard<'_, Waiting>) {
        let wanted = matches!(waiting.writer, WriterIs::Idle | WriterIs::Watching);
        drop(waiting);
        if wanted {
            self.work.notify_all();
        }
    }

    /// Keep the latest state of a key for the writer.
    pub(super) fn save_state(&self, key: KeyId, state: KeyState) {
        let mut waiting = self.lock();
        waiting.states.insert(key, state);
        self.wake(waiting);
    }

    /// Take what a process gives back off its lease.
    pub(super) fn give_back(&self, holder: Holder, amount: Usd) {
        let mut waiting = self.lock();
        let sum = waiting.returned.entry(holder).or_default();
        *sum = sum.saturating_add(amount.max(Usd::ZERO));
        self.wake(waiting);
    }

    /// Count what was refused to a client.
    pub(super) fn refused(&self, refused: Refused) {
        let mut waiting = self.lock();
        // Somebody who is refused all the time wakes nobody: it is written with what comes next, or within the second.
        let is_first = waiting.refused.is_empty();
        if waiting.refused.len() < REFUSED_MAX || waiting.refused.contains_key(&refused) {
            *waiting.refused.entry(refused).or_default() += 1;
        }
        if is_first {
            self.wake(waiting);
        }
    }

    /// Hand a call to the writer; with it, in the same transaction, a key's new state.
    pub(super) fn command(&self, command: Command, state: Option<(KeyId, KeyState)>) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.writer == WriterIs::Gone {
            return Err(StoreError::Closed);
        }
        if waiting.commands.len() >= COMMANDS_MAX {
            return Err(StoreError::Busy);
        }
        waiting.states.extend(state);
        waiting.commands.push(command);
        drop(waiting);
        self.work.notify_all();
        Ok(())
    }

    /// Take all work there is, waiting for it as told. A closed queue is not waited for, except for a retry's pause.
    pub(super) fn take(&self, patience: Patience) -> Work {
        let mut waiting = self.lock();
        match patience {
            Patience::Gather(gather) => {
                waiting = self.wait_for_work(waiting);
                waiting.writer = WriterIs::Gathering;
                let few = |w: &mut Waiting| w.commands.is_empty() && w.entries.len() < WORTH_A_COMMIT && self.is_open();
                waiting = self.work.wait_timeout_while(waiting, gather, few).unwrap_or_else(PoisonError::into_inner).0;
            }
            Patience::Retry(pause) => {
                waiting.writer = WriterIs::Gathering;
                let alone = |w: &mut Waiting| w.commands.is_empty();
                waiting = self.work.wait_timeout_while(waiting, pause, alone).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        waiting.writer = WriterIs::Busy;
        waiting.take(Which::Old)
    }

    /// Take all work there is at once; of attempts under way `which`.
    pub(super) fn take_now(&self, which: Which) -> Work {
        self.lock().take(which)
    }

    /// Whether anything waits to be written, but for attempts under way.
    pub(super) fn has_work(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Wait until there is something, or an attempt has been under way for long.
    fn wait_for_work<'w>(&self, mut waiting: MutexGuard<'w, Waiting>) -> MutexGuard<'w, Waiting> {
        let idle = |w: &mut Waiting| w.is_empty() && self.is_open();
        while idle(&mut waiting) {
            match waiting.intents.due_in() {
                Some(Duration::ZERO) => break,
                Some(due) => {
                    waiting.writer = WriterIs::Watching;
                    let wait = self.work.wait_timeout_while(waiting, due, idle);
                    waiting = wait.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    waiting.writer = WriterIs::Idle;
                    let asleep = |w: &mut Waiting| w.is_empty() && w.intents.is_quiet() && self.is_open();
                    waiting = self.work.wait_while(waiting, asleep).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        waiting
    }

    /// Everything that is left, attempts under way among it; and whether all places that are still reserved are theirs.
    pub(super) fn take_rest(&self) -> (Work, bool) {
        let mut waiting = self.lock();
        let work = waiting.take(Which::All);
        (work, waiting.intents.len() >= self.taken())
    }

    /// Closed: wait until something arrives, the last reserved place is given back, or `pause` is over.
    pub(super) fn wait_for_last(&self, pause: Duration) {
        let mut waiting = self.lock();
        waiting.writer = WriterIs::Gathering;
        let outstanding = |w: &mut Waiting| w.is_empty() && self.taken() > 0;
        waiting = self.work.wait_timeout_while(waiting, pause, outstanding).unwrap_or_else(PoisonError::into_inner).0;
        waiting.writer = WriterIs::Busy;
    }

    /// Take no more work; what is there, and what places are still reserved for, is written.
    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Release);
        drop(self.lock());
        self.work.notify_all();
    }

    /// The writer is gone: nothing will be written any more. What still waited is reported; how many entries it was.
    pub(super) fn abandon(&self) -> usize {
        self.open.store(false, Ordering::Release);
        let mut waiting = self.lock();
        waiting.writer = WriterIs::Gone;
        let left = waiting.take(Which::None);
        drop(waiting);
        left.entries.iter().for_each(|booking| report_lost(&booking.entry));
        left.entries.len()
    }

    /// The writer has ended by a panic.
    pub(super) fn broke(&self) {
        self.broken.send_replace(true);
    }

    /// Returns when the writer has ended by a panic.
    pub(super) async fn until_broken(&self) {
        // The other end is here, too: it is never gone while this waits.
        self.broken.subscribe().wait_for(|broken| *broken).await.ok();
    }

    /// A commit went through, or failed for this reason. Logs once when that is news.
    pub(super) fn report(&self, trouble: Option<&StoreError>) {
        if let Some(error) = trouble {
            self.lock().trouble = Some(error.to_string().into());
        }
        let healthy = trouble.is_none();
        match (self.healthy.swap(healthy, Ordering::AcqRel), trouble) {
            (true, Some(error)) => tracing::error!(%error, "the ledger cannot be written: requests are refused"),
            (false, None) => tracing::info!("the ledger can be written again"),
            _ => {}
        }
    }

    /// Why a call got no answer.
    pub(super) fn trouble(&self) -> StoreError {
        let waiting = self.lock();
        match (&waiting.trouble, waiting.writer) {
            (Some(why), _) => StoreError::Unwritable(Arc::clone(why)),
            (None, _) => StoreError::Closed,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Whether new entries can be booked.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire) && self.is_open()
    }

    /// Places reserved, waiting or being written.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Places nobody has taken.
    pub(super) fn free(&self) -> usize {
        self.places.saturating_sub(self.taken())
    }
}
