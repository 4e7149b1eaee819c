//! When a key's own usage can prove something.
//!
//! It tells what everybody has spent on the key. What is ours of it is only told apart while nothing of ours is missing in it:
//! nothing is under way, by anybody, and the upstream has had the time to book what ended. That time is measured by a clock
//! that nobody can set: had the machine's clock jumped ahead, a cost that is billed a minute later would be taken for nothing,
//! and then for the owner's own spending.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Tick;
use crate::money::Cost;
use crate::pool::{Activity, KeyId};

use super::Pot;

/// A charge whose amount an answer has told shows in the key's usage by then. OpenRouter does not say how fresh that is.
const SHOWN_AFTER: Duration = Duration::from_secs(30);

/// When attempts on a key ended last, in this process.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<(Option<Tick>, Option<Tick>)>);

impl Ends {
    /// An attempt ends that cost so much.
    pub(super) fn note(&self, cost: Cost, now: Tick) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.0 = Some(now);
        if cost == Cost::Unknown {
            ends.1 = Some(now);
        }
    }

    /// Whether everything that ended is booked by the upstream and shown. What was broken off is booked `settles_after`
    /// its end at the latest.
    fn are_shown(&self, settles_after: Duration) -> bool {
        let (any, unknown) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ago = |end: Option<Tick>, at_least: Duration| end.is_none_or(|end| end.elapsed() >= at_least);
        ago(any, SHOWN_AFTER.min(settles_after)) && ago(unknown, settles_after)
    }
}

impl Pot {
    /// What is under way on a key, where its usage proves something when it is asked for now: nothing is, and everything
    /// that was is booked and shown `settles_after` its end. It still does while this stays the same.
    pub(crate) fn quiet(&self, key: KeyId, settles_after: Duration) -> Option<Activity> {
        let alone = *self.alone_since.lock().unwrap_or_else(PoisonError::into_inner);
        // Others have ended by then, and what they had under way is booked. Who drains may have a successor.
        if self.draining() || alone.is_none_or(|since| since.elapsed() < settles_after) {
            return None;
        }
        let activity = self.activity(key).filter(|activity| activity.in_flight == 0)?;
        self.card(key)?.ends.are_shown(settles_after).then_some(activity)
    }

    /// From now on nobody else works with the store.
    pub(super) fn is_alone(&self) {
        let mut alone = self.alone_since.lock().unwrap_or_else(PoisonError::into_inner);
        alone.get_or_insert_with(|| self.clock.tick());
    }
}
