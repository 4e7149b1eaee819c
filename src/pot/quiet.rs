//! When a key's own usage can prove something.
//!
//! It tells what everybody has spent on the key. What is ours of it is only told apart while nothing of ours is missing in it:
//! nothing is under way, by anybody, and the upstream has had the time to book what ended. That time is measured by a clock
//! that nobody can set: had the machine's clock jumped ahead, a cost that is billed a minute later would be taken for nothing,
//! and then for the owner's own spending.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Tick;
use crate::money::Cost;
use crate::pool::{Activity, KeyId};

use super::{Card, Pot};

/// A charge whose amount an answer has told shows in the key's usage by then. OpenRouter does not say how fresh that is.
const SHOWN_AFTER: Duration = Duration::from_secs(30);

/// The longest pause between questions about a key whose answers prove nothing.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(6 * 3600);
/// Keys that are asked about together.
const ASK_TOGETHER: usize = 64;

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

/// When a key was last asked about to have its usage compared for the first time, and the pause until the next question.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<Option<(Tick, Duration)>>);

impl Asked {
    /// Whether to ask now; if so, it counts as asked. The pause doubles, since an answer may always lack the usage.
    fn again(&self, first_pause: Duration, now: Tick) -> bool {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = match *asked {
            Some((at, pause)) if at.elapsed() < pause => return false,
            Some((_, pause)) => pause.saturating_mul(2).min(ASK_AGAIN_MAX),
            None => first_pause,
        };
        *asked = Some((now, pause));
        true
    }
}

impl Pot {
    /// Keys whose usage was never compared with their books and proves something when it is asked for now. The first
    /// question about a key comes when it is added or the process starts, too early to prove anything.
    pub(crate) fn never_compared(&self, settles_after: Duration) -> Vec<KeyId> {
        let is_compared = |card: &Card| card.check.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let cards = self.cards.read().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> =
            cards.iter().filter(|(_, card)| !is_compared(card)).map(|(id, card)| (*id, Arc::clone(card))).collect();
        drop(cards);
        let now = self.clock.tick();
        new.into_iter()
            .filter(|(id, card)| self.quiet(*id, settles_after).is_some() && card.asked.again(settles_after, now))
            .map(|(id, _)| id)
            .take(ASK_TOGETHER)
            .collect()
    }

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

    /// What is under way on a key that this process has not used yet: nothing.
    pub(crate) fn unused(&self, key: KeyId) -> Option<Activity> {
        self.activity(key).filter(|activity| activity.in_flight == 0 && activity.begun == 0)
    }

    /// From now on nobody else works with the store.
    pub(super) fn is_alone(&self) {
        let mut alone = self.alone_since.lock().unwrap_or_else(PoisonError::into_inner);
        alone.get_or_insert_with(|| self.clock.tick());
    }
}
