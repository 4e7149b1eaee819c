//! When a key's own usage can prove something.
//!
//! It tells what everybody has spent on the key. What is ours of it is only told apart while nothing of ours is missing in it:
//! nothing is under way, by anybody, and the upstream has had the time to book what ended and to show it; and what was broken
//! off may go on without us, and be billed long after. Both times are measured by a clock that nobody can set: had the machine's clock jumped ahead, a cost that is billed a minute later would be taken for nothing,
//! and then for the owner's own spending.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Tick;
use crate::money::{Cost, Entry, RequestId};
use crate::pool::{Activity, KeyId};
use crate::store::Suspense;

use super::{Card, Pot};

/// The longest pause between questions about a key whose answers prove nothing.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(6 * 3600);
/// Keys that are asked about together.
const ASK_TOGETHER: usize = 64;

/// Ends of attempts on a key, in this process.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<Ended>);

#[derive(Debug, Default)]
struct Ended {
    /// The last one.
    last: Option<Tick>,
    /// Attempts in suspense: when each ended, and how long it had taken by then.
    open: HashMap<(RequestId, u16), (Tick, Duration)>,
}

impl Ends {
    /// An attempt ends.
    pub(super) fn note(&self, entry: &Entry, now: Tick) {
        let mut ends = self.lock();
        ends.last = Some(now);
        if entry.cost == Cost::Unknown {
            let taken = Duration::from_millis(entry.duration_ms.into());
            ends.open.insert((entry.request, entry.attempt), (now, taken));
        }
    }

    /// The upstream has told what an attempt cost. It may have ended there just before, long after it ended here.
    pub(super) fn told(&self, now: Tick) {
        self.lock().last = Some(now);
    }

    /// What an attempt cost is known.
    pub(super) fn settled(&self, entry: &Suspense) {
        self.lock().open.remove(&(entry.request, entry.attempt));
    }

    /// How long ago an attempt in suspense began; `None` when it was not in this process.
    fn age(&self, entry: &Suspense) -> Option<Duration> {
        let (end, taken) = *self.lock().open.get(&(entry.request, entry.attempt))?;
        Some(end.elapsed().saturating_add(taken))
    }

    /// Whether what ended is shown in the key's usage, however it ended. OpenRouter does not say how fresh that is.
    fn are_shown(&self, settles_after: Duration) -> bool {
        self.lock().last.is_none_or(|end| end.elapsed() >= settles_after)
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let now = Tick::now();
        new.into_iter()
            .filter(|(id, card)| self.quiet(*id, settles_after).is_some() && card.asked.again(settles_after, now))
            .map(|(id, _)| id)
            .take(ASK_TOGETHER)
            .collect()
    }

    /// What is under way on a key, where its usage proves something when it is asked for now: nothing is, and everything
    /// that was is booked and shown `settles_after` its end. It still does while this stays the same.
    pub(crate) fn quiet(&self, key: KeyId, settles_after: Duration) -> Option<Activity> {
        // Others have ended by then, and what they had under way is booked. Who drains may have a successor.
        if self.draining() || !self.others_are_over(settles_after) {
            return None;
        }
        let activity = self.activity(key).filter(|activity| activity.in_flight == 0)?;
        self.card(key)?.ends.are_shown(settles_after).then_some(activity)
    }

    /// What is under way on a key that this process has not used yet: nothing.
    pub(crate) fn unused(&self, key: KeyId) -> Option<Activity> {
        self.activity(key).filter(|activity| activity.in_flight == 0 && activity.begun == 0)
    }

    /// Whether the key's usage shows all that an attempt in suspense will ever be billed: `over` after its beginning, where
    /// the upstream may have gone on with it. When others began theirs, and by which clock, is not relied on.
    pub(crate) fn is_over(&self, entry: &Suspense, over: Duration) -> bool {
        let Some(card) = self.card(entry.key) else { return false };
        let is_old = || card.ends.age(entry).map_or_else(|| self.others_are_over(over), |age| age >= over);
        !entry.may_go_on() || is_old()
    }

    /// Whether everybody else has ended so long ago.
    pub(crate) fn others_are_over(&self, since: Duration) -> bool {
        let alone = *self.alone_since.lock().unwrap_or_else(PoisonError::into_inner);
        alone.is_some_and(|alone| alone.elapsed() >= since)
    }

    /// From now on nobody else works with the store.
    pub(super) fn is_alone(&self) {
        let mut alone = self.alone_since.lock().unwrap_or_else(PoisonError::into_inner);
        alone.get_or_insert_with(Tick::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;

    #[test]
    fn a_key_that_proves_nothing_is_asked_about_again_after_a_pause() {
        let (asked, hour) = (Asked::default(), Duration::from_secs(3600));
        let now = Tick::now();
        assert!(asked.again(Duration::ZERO, now), "never asked");
        assert!(asked.again(hour, now), "the pause is over");
        let asked = Asked::default();
        assert!(asked.again(hour, now) && !asked.again(hour, now));
    }

    #[test]
    fn an_end_that_the_upstream_tells_of_later_is_not_shown_in_its_usage_yet() {
        let (ends, hour) = (Ends::default(), Duration::from_secs(3600));
        assert!(ends.are_shown(hour));
        ends.told(Tick::now());
        assert!(!ends.are_shown(hour) && ends.are_shown(Duration::ZERO));
    }
}
