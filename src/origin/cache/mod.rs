//! Public answers (model lists and the like), fetched without a key and kept as long as they say.
//!
//! Every target has one fetch under way at most; whoever asks meanwhile waits for it. A stale answer is given while a
//! newer one is fetched, and when none can be had, as far as the upstream's own `Cache-Control` allows. Requests carry
//! constant headers only, so answers vary with nothing but the target.

mod freshness;
mod shelf;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use shelf::Cached;
use shelf::{Flight, Look, Shelf};

use super::{AskError, Bounds, Origin};
use crate::clock::Clock;

/// The whole list of models has about a megabyte.
const BOUNDS: Bounds = Bounds { deadline: Duration::from_secs(30), body_max_bytes: 16 << 20 };
/// Different targets fetched at a time; clients choose targets, so they must not open connections without end.
const FLIGHTS_MAX: usize = 64;
/// After a failed fetch, a stale answer is given for so long without trying again.
const PAUSE: Duration = Duration::from_secs(5);

/// The cache of public answers.
pub struct PublicCache {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Arc<Origin>,
    shelf: Mutex<Shelf>,
}

impl PublicCache {
    /// An empty cache of at most `bytes_max` bytes; with 0 nothing is kept, but simultaneous requests still share a fetch.
    pub fn new(origin: Arc<Origin>, bytes_max: usize) -> Self {
        Self { shared: Arc::new(Shared { origin, shelf: Mutex::new(Shelf::new(bytes_max)) }) }
    }

    /// The answer for `target` (a route's target, as [`Origin::target`] takes it), from the cache or the upstream.
    /// Any status is an answer.
    ///
    /// # Errors
    /// [`AskError`] when the upstream gives none and nothing kept will do.
    pub async fn get(&self, target: &str, clock: &Clock) -> Result<Cached, AskError> {
        let (flight, fallback) = {
            let mut shelf = self.shared.shelf();
            match shelf.look(target, clock.now()) {
                Look::Give(answer) => return Ok(answer),
                Look::GiveAndFetch(answer) => {
                    // With too many fetches under way the next request will see to it.
                    let _later = self.shared.board(&mut shelf, target, clock);
                    return Ok(answer);
                }
                Look::FetchElse(answer) => (self.shared.board(&mut shelf, target, clock), Some(answer)),
                Look::Fetch => (self.shared.board(&mut shelf, target, clock), None),
            }
        };
        let fetched = match flight {
            Ok(flight) => land(flight).await,
            Err(busy) => Err(busy),
        };
        match (fetched, fallback) {
            (Err(_), Some(stale)) => Ok(stale),
            (Ok(answer), Some(stale)) if is_trouble(answer.status) => Ok(stale),
            (fetched, _) => fetched,
        }
    }
}

/// Wait for a fetch that is under way.
async fn land(mut flight: Flight) -> Result<Cached, AskError> {
    match flight.wait_for(Option::is_some).await {
        Ok(result) => result.clone().unwrap_or(Err(AskError::Busy)),
        // The fetch panicked or its runtime is gone.
        Err(_) => Err(AskError::Broken("fetching")),
    }
}

/// Whether a kept answer is better than this one.
const fn is_trouble(status: u16) -> bool {
    status >= 500 || status == 429
}

impl Shared {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fetch for `target` that is under way, or a new one: a task of its own, so that it goes on for the others
    /// when the client that caused it leaves.
    fn board(self: &Arc<Self>, shelf: &mut Shelf, target: &str, clock: &Clock) -> Result<Flight, AskError> {
        if let Some(flight) = shelf.flights.get(target) {
            return Ok(flight.clone());
        }
        if shelf.flights.len() >= FLIGHTS_MAX {
            return Err(AskError::Busy);
        }
        let (sender, flight) = watch::channel(None);
        shelf.flights.insert(target.into(), flight.clone());
        let ticket = Ticket { shared: Arc::clone(self), target: target.into() };
        let clock = clock.clone();
        tokio::spawn(async move {
            let result = ticket.fetch(&clock).await;
            drop(ticket);
            sender.send_replace(Some(result));
        });
        Ok(flight)
    }
}

/// A fetch under way; dropping it takes it off the list, whatever happened.
struct Ticket {
    shared: Arc<Shared>,
    target: Box<str>,
}

impl Ticket {
    async fn fetch(&self, clock: &Clock) -> Result<Cached, AskError> {
        let origin = &self.shared.origin;
        let result = origin.ask_within(&origin.target(&self.target), None, BOUNDS).await;
        let now = clock.now();
        let mut shelf = self.shared.shelf();
        match result {
            Ok(asked) if !is_trouble(asked.status) => Ok(shelf.keep(&self.target, asked, now)),
            trouble => {
                shelf.pause(&self.target, now.after(PAUSE), now);
                drop(shelf);
                let (status, error) = (trouble.as_ref().ok().map(|asked| asked.status), trouble.as_ref().err());
                tracing::warn!(target = %self.target, status, error = error.map(tracing::field::display), "public answer not fetched");
                trouble.map(Cached::of)
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.shelf().flights.remove(&self.target);
    }
}

impl fmt::Debug for PublicCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicCache({:?})", self.shared.origin)
    }
}

#[cfg(test)]
mod tests;
