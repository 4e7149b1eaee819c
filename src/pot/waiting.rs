//! Requests that wait for a key, in line. Whoever frees one serves them in their turn, then and there.
//!
//! A key is handed over, not called for: under the line's lock the pool is asked for one for whose turn it is, and only who
//! has got one is woken. So nobody races, nobody who comes new takes what was meant for somebody in line, a key that is free
//! wakes one request and not all of them, and nothing is lost between looking and waiting. A [`Place`] that is dropped leaves
//! the line, and gives a key back that it was handed meanwhile.
//!
//! Whoever is in line has looked since something changed last, or one that is alike has ([`Line`]): so a request that is
//! like none of them may look at once, and passes nobody who could have been served.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clients::line::{Bounds, Full, Kind, Line, Prospect, Share, TicketId, Who};
use crate::clock::Tick;
use crate::pool::{AccountId, Choice, Chosen, Conversation, KeyId, Lane, NoKey, Unavailable, Want, Worst};

use super::Pot;

/// How often who keeps watch looks, when nothing is known to happen sooner.
const LOOK: Duration = Duration::from_secs(1);
/// The least time until it looks: what is due now may be due in the same millisecond still.
const LOOK_SOONEST: Duration = Duration::from_millis(1);

/// Those who wait.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How many. Read without the lock by every request and by whoever ends one: a request that finds nobody here looks for
    /// a key before it joins and once more in the line, so that a key that is freed in between is seen by one of the two.
    count: AtomicUsize,
    /// A plain mutex, held for a look or a few, never across an await. The pool's is taken while it is held, never the other
    /// way round.
    hall: Mutex<Hall>,
    /// A key that is back within this is waited for.
    soon: Duration,
}

#[derive(Debug)]
struct Hall {
    line: Line,
    waiters: HashMap<TicketId, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    wish: Wish,
    bell: Arc<Bell>,
}

/// Rings for one request: it has a key, or should see for itself whether waiting is of any use still.
#[derive(Debug, Default)]
struct Bell {
    rings: Notify,
    key: Mutex<Option<Chosen>>,
}

/// What a request in line needs of a key: a [`Want`] of its own.
#[derive(Debug)]
struct Wish {
    lane: Lane,
    model: Option<Box<str>>,
    conversation: Option<Conversation>,
    tried: Box<[KeyId]>,
    avoid: Box<[AccountId]>,
    richest: bool,
    fallbacks: Box<[Box<str>]>,
    worst: Worst,
}

/// A place in the line.
#[derive(Debug)]
pub struct Place<'a> {
    pot: &'a Pot,
    ticket: TicketId,
    bell: Arc<Bell>,
    since: Tick,
}

impl Waiting {
    pub(super) fn new(bounds: Bounds, soon: Duration) -> Self {
        let hall = Hall { line: Line::new(bounds), waiters: HashMap::new() };
        Self { count: AtomicUsize::new(0), hall: Mutex::new(hall), soon }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted(&self, hall: &Hall) {
        self.count.store(hall.line.len(), Ordering::Release);
    }
}

impl Hall {
    fn ring(&self, ticket: TicketId) {
        if let Some(waiter) = self.waiters.get(&ticket) {
            waiter.bell.rings.notify_one();
        }
    }

    fn hand(&mut self, ticket: TicketId, chosen: Chosen) {
        let next_watch = self.line.served(ticket);
        if let Some(waiter) = self.waiters.remove(&ticket) {
            *waiter.bell.key() = Some(chosen);
            waiter.bell.rings.notify_one();
        }
        next_watch.into_iter().for_each(|ticket| self.ring(ticket));
    }

    fn leave(&mut self, ticket: TicketId) {
        self.waiters.remove(&ticket);
        let next_watch = self.line.leave(ticket);
        next_watch.into_iter().for_each(|ticket| self.ring(ticket));
    }
}

impl Bell {
    fn key(&self) -> MutexGuard<'_, Option<Chosen>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    fn of(want: &Want<'_>) -> Self {
        Self {
            lane: want.lane,
            model: want.model.map(Box::from),
            conversation: want.conversation,
            tried: want.tried.into(),
            avoid: want.avoid.into(),
            richest: want.richest,
            fallbacks: want.fallbacks.into(),
            worst: want.worst,
        }
    }

    fn want(&self) -> Want<'_> {
        Want {
            lane: self.lane,
            model: self.model.as_deref(),
            conversation: self.conversation,
            tried: &self.tried,
            avoid: &self.avoid,
            richest: self.richest,
            fallbacks: &self.fallbacks,
            worst: self.worst,
        }
    }
}

impl Pot {
    /// Choose a key for a request that comes new, unless others like it are in line already.
    pub fn choose_in_turn(&self, who: Who, want: &Want<'_>) -> Choice {
        if self.waiting.count() > 0 && self.waiting.hall().line.has_alike(who, self.kind(want)) {
            return Choice::None(self.outlook(want));
        }
        self.choose(want)
    }

    /// Why no key serves a request that is not to look for one before those in line.
    pub fn outlook(&self, want: &Want<'_>) -> Unavailable {
        self.pool().outlook(want, self.clock.now())
    }

    /// What a request that finds no key for that reason can wait for.
    pub fn prospect(&self, want: &Want<'_>, why: &Unavailable) -> Prospect {
        match why.reason {
            NoKey::AllBusy => Prospect::Busy,
            _ if self.on_trial(want) => Prospect::Trial,
            _ if why.until.is_some_and(|until| until <= self.clock.now().after(self.waiting.soon)) => Prospect::Due,
            _ => Prospect::Nothing,
        }
    }

    /// Join the line with a request that has found no key, and waits for this.
    ///
    /// # Errors
    /// [`Full`].
    pub fn line_up(&self, share: Share, want: &Want<'_>, prospect: Prospect) -> Result<Place<'_>, Full> {
        let (kind, bell) = (self.kind(want), Arc::new(Bell::default()));
        let cost = match want.worst {
            Worst::Cost(cost) => Some(cost),
            Worst::Unknown => None,
        };
        let mut hall = self.waiting.hall();
        let ticket = hall.line.join(share, kind, cost, prospect)?;
        hall.waiters.insert(ticket, Waiter { wish: Wish::of(want), bell: Arc::clone(&bell) });
        // Seen by others before the first look in the line: what is freed after it is told.
        self.waiting.counted(&hall);
        self.serve(&mut hall);
        drop(hall);
        Ok(Place { pot: self, ticket, bell, since: Tick::now() })
    }

    /// Requests in line.
    pub fn waiting(&self) -> usize {
        self.waiting.count()
    }

    /// Something may be served now that could not be before, or not be any more that could: who is in line looks, each in
    /// its turn. Costs nothing when nobody is.
    pub(super) fn freed(&self) {
        if self.waiting.count() == 0 {
            return;
        }
        let mut hall = self.waiting.hall();
        hall.line.reopen();
        self.serve(&mut hall);
    }

    /// Give keys to those in line whose turn it is, as long as there are any.
    fn serve(&self, hall: &mut Hall) {
        while let Some(ticket) = hall.line.next() {
            let Some(waiter) = hall.waiters.get(&ticket) else {
                debug_assert!(false, "each ticket is somebody's");
                hall.leave(ticket);
                continue;
            };
            let want = waiter.wish.want();
            match self.choose(&want) {
                Choice::Key(chosen) => hall.hand(ticket, chosen),
                Choice::None(why) => {
                    let prospect = self.prospect(&want, &why);
                    if hall.line.found_none(ticket, prospect) {
                        // How long one waits depends on what for, and on how long it has done so.
                        hall.line.alike(ticket).for_each(|ticket| hall.ring(ticket));
                    }
                }
            }
        }
        self.waiting.counted(hall);
    }

    /// Requests of one kind are alike to every key. What they cost matters by its size only: so nobody who asks for little
    /// waits behind somebody who asks for four times as much, and who asks for much is not passed by many who ask for a bit
    /// less.
    fn kind(&self, want: &Want<'_>) -> Kind {
        let Want { lane, model, tried, avoid, fallbacks, worst, conversation: _, richest: _ } = want;
        let size = match worst {
            Worst::Cost(cost) => Some(u64::try_from(cost.as_pico()).unwrap_or_default().checked_ilog2().map(|n| n / 2)),
            Worst::Unknown => None,
        };
        // Salted: nobody chooses a model's name so that it is alike to somebody else's.
        let mut hasher = DefaultHasher::new();
        (self.salt, lane, model, tried, avoid, fallbacks, size).hash(&mut hasher);
        Kind(hasher.finish())
    }
}

impl Place<'_> {
    /// Wait for a key, at most so long. `None` also earlier, where somebody should see whether waiting is of any use still: a
    /// key is `due`, or what is waited for has changed. May be dropped and called again at any time.
    pub async fn key(&self, most: Duration, due: Option<Duration>) -> Option<Chosen> {
        let watches = self.pot.waiting.hall().line.keeps_watch(self.ticket);
        let alarm = if watches { most.min(due.unwrap_or(LOOK)).clamp(LOOK_SOONEST, LOOK) } else { most };
        let slept = tokio::time::timeout(alarm, self.bell.rings.notified()).await.is_err();
        if slept && watches {
            let mut hall = self.pot.waiting.hall();
            hall.line.reopen_alike(self.ticket);
            self.pot.serve(&mut hall);
        }
        self.bell.key().take()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut hall = self.pot.waiting.hall();
        hall.leave(self.ticket);
        self.pot.waiting.counted(&hall);
        drop(hall);
        self.pot.metrics.waited(self.since.elapsed());
        // Handed over while its request was leaving.
        let unused = self.bell.key().take();
        unused.iter().for_each(|chosen| self.pot.unsent(chosen));
    }
}

#[cfg(test)]
mod tests;
