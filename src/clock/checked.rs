//! The wall clock, checked against the upstream's.
//!
//! Caps turn at UTC midnight. A clock that was set ahead would open the next day's cap early and let a donor's money be
//! spent twice on one day. So a midnight counts only when the time that the upstream last told, and what has passed since
//! by the monotonic clock, has come near it; until then it is as late as the upstream says. A clock set back needs no
//! check: windows that have turned never turn back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Timestamp;

/// How far clocks may differ without a word. Good ones differ by milliseconds; `Date` has whole seconds, and an answer may
/// have been on its way for a while.
const TOLERANCE: Duration = Duration::from_secs(60);
/// The upstream's clock is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What the upstream has told about the time.
#[derive(Debug)]
pub(super) struct Checked {
    /// Readings of the wall clock before this are taken as they are.
    midnight: AtomicI64,
    /// The next look, and not before this reading of the wall clock.
    look_at: AtomicI64,
    told: Mutex<Option<(Timestamp, Instant)>>,
}

impl Default for Checked {
    /// The wall clock is all there is.
    fn default() -> Self {
        let (midnight, look_at) = (AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN));
        Self { midnight, look_at, told: Mutex::default() }
    }
}

impl Checked {
    /// The time, when the wall clock shows `wall`.
    pub(super) fn time(&self, wall: Timestamp, tick: impl FnOnce() -> Instant) -> Timestamp {
        match wall.0 < self.midnight.load(Ordering::Relaxed) {
            true => wall,
            false => self.after_midnight(wall, tick()),
        }
    }

    /// The wall clock shows a day that the upstream has not told of.
    fn after_midnight(&self, wall: Timestamp, tick: Instant) -> Timestamp {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((told, at)) = told else { return wall };
        let upstream = told.after(tick.saturating_duration_since(at));
        if wall > upstream.after(TOLERANCE) {
            return upstream;
        }
        self.midnight.store(wall.next_midnight().0, Ordering::Relaxed);
        wall
    }

    /// Whether it is time for another look at the upstream's clock.
    pub(super) fn is_due(&self, wall: Timestamp) -> bool {
        let look_at = Timestamp(self.look_at.load(Ordering::Relaxed));
        wall >= look_at || wall.after(LOOK_EVERY * 2) < look_at
    }

    /// The upstream's clock shows `upstream`. By how much the wall clock is wrong, if by more than may be.
    pub(super) fn tell(&self, upstream: Timestamp, wall: Timestamp, tick: Instant) -> Option<Skew> {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((upstream, tick));
        self.midnight.store(upstream.next_midnight().0, Ordering::Relaxed);
        self.look_at.store(wall.after(LOOK_EVERY).0, Ordering::Relaxed);
        let (ahead, behind) = (wall.since(upstream), upstream.since(wall));
        match ahead.max(behind) > TOLERANCE {
            true if ahead > behind => Some(Skew::Ahead(ahead)),
            true => Some(Skew::Behind(behind)),
            false => None,
        }
    }
}

/// By how much the system's clock differs from the upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// The system's is later.
    Ahead(Duration),
    /// The system's is earlier.
    Behind(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a valid time")
    }

    #[test]
    fn a_midnight_counts_when_the_upstream_has_it_too() {
        let (start, begun) = (at("2026-11-24T22:00:00Z"), Instant::now());
        let checked = Checked::default();
        let read = |wall, passed| checked.time(wall, || begun + passed);
        assert_eq!(read(at("2027-01-01T00:00:00Z"), HOUR), at("2027-01-01T00:00:00Z"), "nobody has told better");
        assert_eq!(checked.tell(start, start.after(Duration::from_secs(59)), begun), None);
        // Within the day the wall clock is taken as it is, right or wrong.
        assert_eq!(read(at("2026-11-24T23:59:59Z"), HOUR), at("2026-11-24T23:59:59Z"));
        assert_eq!(read(at("2026-11-23T09:00:00Z"), HOUR), at("2026-11-23T09:00:00Z"));
        // Set ahead by a day, or by a year: it is an hour later than it was.
        for wall in ["2026-11-25T23:00:00Z", "2027-11-24T23:00:00Z", "2026-11-25T00:00:00Z"] {
            assert_eq!(read(at(wall), HOUR), at("2026-11-24T23:00:00Z"), "{wall}");
        }
        // Midnight comes by itself, also while nobody asks the upstream, and for several days.
        assert_eq!(read(at("2026-11-25T00:00:01Z"), 2 * HOUR), at("2026-11-25T00:00:01Z"));
        assert_eq!(read(at("2026-11-26T00:00:01Z"), 26 * HOUR), at("2026-11-26T00:00:01Z"));
        assert_eq!(read(at("2026-11-27T00:00:01Z"), 26 * HOUR), at("2026-11-26T00:00:00Z"));
    }

    #[test]
    fn a_wrong_clock_is_told_and_looked_at_again() {
        let (wall, tick) = (at("2026-11-24T12:00:00Z"), Instant::now());
        let checked = Checked::default();
        assert!(checked.is_due(wall));
        for (upstream, skew) in [
            (wall.after(2 * HOUR), Some(Skew::Behind(2 * HOUR))),
            (wall.before(2 * HOUR), Some(Skew::Ahead(2 * HOUR))),
            (wall.after(TOLERANCE), None),
            (wall.before(TOLERANCE), None),
        ] {
            assert_eq!(checked.tell(upstream, wall, tick), skew);
        }
        assert!(!checked.is_due(wall) && checked.is_due(wall.after(LOOK_EVERY)));
        assert!(checked.is_due(wall.before(HOUR)), "a clock set back does not put the next look off");
    }
}
