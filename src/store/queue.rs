//! What waits for the writer: entries in reserved places, the latest state of keys, and calls that somebody waits for.
//!
//! A place is reserved before a request is sent on, so that what it costs can be written down whatever happens then:
//! booking never waits and never fails. The place is free again when its entry is durable, so memory stays bounded
//! while the disk is slow or full.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::money::{Cost, Entry};
use crate::pool::{KeyId, KeyState};

use super::command::Command;
use super::error::StoreError;

/// Calls that may wait at a time. Each has a task that waits for it, so this is far beyond honest use.
const COMMANDS_MAX: usize = 4096;
/// So many entries are worth a commit of their own: the writer stops gathering.
const WORTH_A_COMMIT: usize = 512;

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
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    states: HashMap<KeyId, KeyState>,
    commands: Vec<Command>,
    writer: WriterIs,
    /// Why the last failed commit failed.
    trouble: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WriterIs {
    #[default]
    Busy,
    /// Waiting for anything at all.
    Idle,
    /// Waiting for more entries to go with those that are there.
    Gathering,
    Gone,
}

/// What the writer is given to write.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub entries: Vec<Entry>,
    pub states: HashMap<KeyId, KeyState>,
    pub commands: Vec<Command>,
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
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserve a place; `None` when none is free, or when entries cannot be written at present.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Slot> {
        if !self.is_healthy() {
            return None;
        }
        let reserve = |taken: usize| (taken < self.places).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, reserve).ok()?;
        Some(Slot { queue: Some(Arc::clone(self)) })
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

    fn book(&self, entry: Entry) {
        let mut waiting = self.lock();
        if waiting.writer == WriterIs::Gone {
            drop(waiting);
            report_lost(&entry);
            return self.release(1);
        }
        waiting.entries.push(entry);
        let wanted = match waiting.writer {
            WriterIs::Idle => true,
            WriterIs::Gathering => waiting.entries.len() >= WORTH_A_COMMIT || !self.is_open(),
            WriterIs::Busy | WriterIs::Gone => false,
        };
        drop(waiting);
        if wanted {
            self.work.notify_all();
        }
    }

    /// Keep the latest state of a key for the writer.
    pub(super) fn save_state(&self, key: KeyId, state: KeyState) {
        let mut waiting = self.lock();
        waiting.states.insert(key, state);
        let wanted = waiting.writer == WriterIs::Idle;
        drop(waiting);
        if wanted {
            self.work.notify_all();
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
                waiting.writer = WriterIs::Idle;
                let idle = |w: &mut Waiting| w.is_empty() && self.is_open();
                waiting = self.work.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
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
        waiting.take()
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
        let left = waiting.take();
        drop(waiting);
        left.entries.iter().for_each(report_lost);
        left.entries.len()
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

impl Waiting {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.states.is_empty() && self.commands.is_empty()
    }

    fn take(&mut self) -> Work {
        let room = Vec::with_capacity(self.entries.len().min(WORTH_A_COMMIT));
        Work {
            entries: std::mem::replace(&mut self.entries, room),
            states: std::mem::take(&mut self.states),
            commands: std::mem::take(&mut self.commands),
        }
    }
}

/// A reserved place in the ledger's queue. Dropped unused, it is given back.
#[derive(Debug)]
pub struct Slot {
    queue: Option<Arc<Queue>>,
}

impl Slot {
    /// Book what an attempt came to. Never waits, never fails; works in `Drop` and without a runtime.
    pub fn book(mut self, entry: Entry) {
        if let Some(queue) = self.queue.take() {
            queue.book(entry);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.release(1);
        }
    }
}

/// The last resort: an entry that can no longer be written goes into the log, with all it takes to book it by hand.
pub(super) fn report_lost(entry: &Entry) {
    let pico = match entry.cost {
        Cost::Known(amount) => Some(amount.as_pico()),
        Cost::Unknown => None,
    };
    let generation = entry.generation.as_ref().map(|id| id.as_str());
    tracing::error!(
        request = %entry.request,
        attempt = entry.attempt,
        at = %entry.at,
        key = %entry.key,
        endpoint = entry.endpoint.name(),
        generation,
        pico,
        outcome = entry.outcome.name(),
        "a ledger entry could not be written"
    );
}
