//! A store that writes when it is told to, for simulations: the very writer of a real one, without its thread and without
//! a moment of waiting.

use super::intents::Which;
use super::writer::{Fault, Writer};

/// Moves a store opened by [`Store::open_stepped`](super::Store::open_stepped). Calls to that store that are waited for are
/// answered by the turn that carries them out.
pub struct Stepper {
    writer: Writer,
}

impl Stepper {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer }
    }

    /// The number of this opening of the store.
    pub fn epoch(&self) -> u64 {
        u64::try_from(self.writer.leases.epoch()).unwrap_or_default()
    }

    /// Whether a turn would write something, attempts under way left aside.
    pub fn has_work(&self) -> bool {
        self.writer.queue.has_work() || !self.writer.kept.is_empty()
    }

    /// One turn of the writer: everything that waits, in one commit. Attempts under way are written, as if each had been
    /// for a while.
    pub fn step(&mut self) {
        self.turn(Which::All);
    }

    /// One turn of the writer before any attempt under way has been for long enough to be written.
    pub fn step_at_once(&mut self) {
        self.turn(Which::None);
    }

    /// [`Stepper::step`], and the commit fails.
    pub fn step_failing(&mut self, fault: Fault) {
        self.writer.fault = Some(fault);
        self.step();
        self.writer.fault = None;
    }

    /// Close the store as [`Store::close`](super::Store::close) does once nobody waits any longer for places that are still
    /// reserved. How many entries could not be written.
    pub fn close(mut self) -> usize {
        self.writer.queue.close();
        self.step();
        self.writer.end();
        self.writer.queue.abandon() + self.writer.kept.entries()
    }

    /// The process is gone: whatever was not committed is forgotten.
    pub fn crash(self) {
        self.writer.queue.abandon();
    }

    fn turn(&mut self, which: Which) {
        let work = self.writer.queue.take_now(which);
        self.writer.write(work);
    }
}

impl std::fmt::Debug for Stepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stepper(epoch {})", self.epoch())
    }
}
