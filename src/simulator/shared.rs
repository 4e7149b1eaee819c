//! What all connections of one simulator share.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::fast::Bodies;
use super::world::{End, World};
use crate::clock::{Clock, Timestamp};

/// The state of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Connections are accepted.
    Open,
    /// They are refused; open ones go on.
    Closed,
    /// They are refused, and open ones are closed at once.
    ClosedAndDropped,
}

/// The world behind its lock, the time, and what stalled answers wait for.
#[derive(Debug)]
pub struct Shared {
    world: Mutex<World>,
    clock: Clock,
    offset_ms: AtomicI64,
    released: watch::Sender<u64>,
    /// What the port shall be; the listener follows.
    pub port: watch::Sender<Port>,
    /// `/generation` knows a call that many milliseconds after its end.
    pub generation_ms: i64,
    /// Answer everything fast.
    pub fast: bool,
    /// The big bodies of fast answers.
    pub bodies: Bodies,
    seed: u64,
}

impl Shared {
    /// A simulator without accounts.
    pub fn new(seed: u64, clock: Clock, generation_ms: i64, fast: bool) -> Self {
        Self {
            world: Mutex::new(World::new(seed)),
            clock,
            offset_ms: AtomicI64::new(0),
            released: watch::Sender::new(0),
            port: watch::Sender::new(Port::Open),
            generation_ms,
            fast,
            bodies: Bodies::default(),
            seed,
        }
    }

    /// The world, for a few lines; never held across an `.await`.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The simulator's time in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.now().as_millis() + self.offset_ms.load(Ordering::Relaxed)
    }

    /// How far the simulator's clock is ahead of its source.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Set the simulator's clock ahead of (or behind) its source.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Set the simulator's clock to that time.
    pub fn set_time(&self, to: Timestamp) {
        self.set_offset_ms(to.as_millis() - self.clock.now().as_millis());
    }

    /// Let every stalled answer go on.
    pub fn release(&self) {
        self.released.send_modify(|count| *count += 1);
    }

    /// Resolves at the next release.
    pub fn until_released(&self) -> impl Future<Output = ()> + use<> {
        let mut released = self.released.subscribe();
        async move {
            // The sender lives as long as the simulator; without it nobody can release any more.
            if released.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Begin again: no accounts, no keys, no bill, no log, no scripts.
    pub fn reset(&self) {
        *self.world() = World::new(self.seed);
        self.set_offset_ms(0);
        self.release();
    }
}

/// A running call; ends as cut off unless it is ended otherwise.
#[derive(Debug)]
pub struct Run {
    shared: Arc<Shared>,
    id: Option<String>,
    /// Output tokens made so far, as far as the bill of a call that is cut off goes.
    pub tokens: u64,
}

impl Run {
    /// Watch over the call of that id, if there is one.
    pub fn new(shared: &Arc<Shared>, id: Option<String>) -> Self {
        Self { shared: Arc::clone(shared), id, tokens: 0 }
    }

    /// It is over.
    pub fn end(&mut self, end: End) {
        if let Some(id) = self.id.take() {
            let now_ms = self.shared.now_ms();
            self.shared.world().end(&id, end, now_ms);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end(End::Cut { tokens: self.tokens });
    }
}
