//! A reserved place in the ledger's queue, and what is said of an attempt while it has one.

use std::sync::Arc;

use crate::money::{Cost, Entry, GenerationId, Intent, Usd};

use super::intents::Ticket;
use super::queue::Queue;

/// A reserved place in the ledger's queue. Dropped unused, it is given back.
#[derive(Debug)]
pub struct Slot {
    queue: Option<Arc<Queue>>,
    /// The attempt that it is used for.
    ticket: Option<Ticket>,
}

impl Slot {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue: Some(queue), ticket: None }
    }

    /// Say that an attempt is being sent. Never waits. When its process dies after a moment and before the attempt is
    /// booked, the next one books it with an unknown cost ([`Store::bury`](super::Store::bury)).
    pub fn sent(&mut self, intent: Intent) {
        if let Some(queue) = &self.queue {
            self.ticket = Some(queue.sent(intent, self.ticket));
        }
    }

    /// Say how the upstream calls what the attempt makes, so that its cost can be asked for. Never waits.
    pub fn named(&mut self, id: GenerationId) {
        if let (Some(queue), Some(ticket)) = (&self.queue, self.ticket) {
            self.ticket = Some(queue.named(ticket, id));
        }
    }

    /// Book what an attempt came to. Never waits, never fails; works in `Drop` and without a runtime.
    pub fn book(mut self, entry: Entry) {
        if let Some(queue) = self.queue.take() {
            queue.book(entry, self.ticket);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            if let Some(ticket) = self.ticket {
                queue.forget(ticket);
            }
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
        held = entry.held.map(Usd::as_pico),
        outcome = entry.outcome.name(),
        "a ledger entry could not be written"
    );
}
