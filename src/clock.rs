//! The only file that reads a clock.
//!
//! Everything that decides takes a [`Timestamp`] as an argument; edges hold a [`Clock`] and pass its reading on, so a
//! test can move time by hand and two readings never disagree within one decision.

#![allow(clippy::disallowed_methods)]

mod checked;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use checked::Checked;
pub use checked::Skew;

/// A point in wall-clock time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

const DAY_MS: i64 = 86_400_000;

impl Timestamp {
    /// The time so many milliseconds after the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// The time so many seconds after the Unix epoch; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `by`; saturates.
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time minus `by`; saturates.
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long from `earlier` until this time; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The UTC day this time falls on.
    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(DAY_MS)).unwrap_or(i32::MAX))
    }

    /// The next UTC midnight, strictly later than this time.
    pub fn next_midnight(self) -> Self {
        Self((self.0.div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS))
    }

    /// The next Monday 00:00 UTC, strictly later than this time. OpenRouter's weekly limits turn then.
    pub fn next_monday(self) -> Self {
        // 1970-01-01 was a Thursday: day 4 was the first Monday.
        let day = self.0.div_euclid(DAY_MS);
        let until_monday = 7 - (day - 4).rem_euclid(7);
        Self((day + until_monday).saturating_mul(DAY_MS))
    }

    /// The first day of the next month, 00:00 UTC. OpenRouter's monthly limits turn then.
    pub fn next_month(self) -> Self {
        let Ok(at) = jiff::Timestamp::from_millisecond(self.0) else { return self.next_midnight() };
        let date = at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        let first = date.last_of_month().tomorrow().and_then(|d| d.to_zoned_datetime(jiff::tz::TimeZone::UTC));
        first.map_or_else(|_| self.next_midnight(), |z| Self(z.timestamp().as_millisecond()))
    }

    /// Parse an RFC 3339 time.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, millisecond precision where there are milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A UTC calendar day, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(i32);

impl Day {
    /// The day so many days after 1970-01-01.
    pub const fn from_number(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The Monday of this day's week. Day 4 was the first Monday.
    pub const fn monday(self) -> Self {
        Self(self.0.saturating_sub(self.0.saturating_sub(4).rem_euclid(7)))
    }

    /// The first day of this day's month.
    pub fn first_of_month(self) -> Self {
        let Ok(at) = jiff::Timestamp::from_millisecond(self.start().0) else { return self };
        let of_month = at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date().day();
        Self(self.0.saturating_sub(i32::from(of_month) - 1))
    }

    /// Midnight UTC at which this day begins.
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0 as i64 * DAY_MS)
    }
}

impl fmt::Display for Day {
    /// `YYYY-MM-DD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.start().0) {
            Ok(t) => write!(f, "{}", t.to_zoned_datetime(jiff::tz::TimeZone::UTC).date()),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

/// Where edges get the time from: the system, or a hand-moved clock in tests. Clones share what the upstream told.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicI64>>,
    checked: Arc<Checked>,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `start` until [`Clock::set`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self { manual: Some(Arc::new(AtomicI64::new(start.0))), checked: Arc::default() }
    }

    /// The wall-clock time, but on no later day than the upstream has come to ([`Clock::check`]).
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(ms) => Timestamp(ms.load(Ordering::Relaxed)),
            None => self.checked.time(wall(), Instant::now),
        }
    }

    /// An answer's `Date`: what time it is for the upstream. Looked at twice a minute at most. How wrong the system's clock
    /// is, when it is; a hand-moved one is always right.
    pub fn check<'a>(&self, date: impl FnOnce() -> Option<&'a str>) -> Option<Skew> {
        let wall = wall();
        if self.manual.is_some() || !self.checked.is_due(wall) {
            return None;
        }
        let upstream = jiff::fmt::rfc2822::parse(date()?).ok()?;
        self.checked.tell(Timestamp(upstream.timestamp().as_millisecond()), wall, Instant::now())
    }

    /// Move a manual clock; no effect on the system's.
    pub fn set(&self, to: Timestamp) {
        if let Some(ms) = &self.manual {
            ms.store(to.0, Ordering::Relaxed);
        }
    }
}

/// The time of the kernel's last tick, mostly some milliseconds ago. A request asks for it seven to ten times, and a precise
/// reading takes seven times as long.
#[cfg(target_os = "linux")]
fn wall() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    Timestamp(now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000))
}

#[cfg(not(target_os = "linux"))]
fn wall() -> Timestamp {
    let now = std::time::SystemTime::now();
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timestamp(now.duration_since(std::time::UNIX_EPOCH).map_or_else(|before| -ms(before.duration()), ms))
}

/// A monotonic reading of the system's clock. Only good for differences.
#[derive(Clone, Copy, Debug)]
pub struct Tick(Instant);

impl Tick {
    /// A reading, for measuring how long something took. No test moves this clock, so it is everybody's.
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// Time since this reading.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Time from `earlier` to this reading; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_the_upstream_checks_the_systems_clock() {
        let (clock, now) = (Clock::system(), wall());
        assert_eq!(clock.check(|| None), None);
        assert_eq!(clock.check(|| Some("yesterday")), None);
        let skew = clock.check(|| Some("Sun, 29 Nov 2020 23:59:59 GMT"));
        assert!(matches!(skew, Some(Skew::Ahead(_))), "{skew:?}");
        assert_eq!(clock.now().day(), at("2020-11-30T00:00:00Z").before(Duration::from_secs(1)).day());
        assert_eq!(clock.check(|| Some("Sun, 29 Nov 2020 23:59:59 GMT")), None, "it was looked at just now");
        let by_hand = Clock::manual(now);
        assert_eq!(by_hand.check(|| Some("Sun, 29 Nov 2020 23:59:59 GMT")), None);
        assert_eq!(by_hand.now(), now);
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a valid time")
    }

    #[test]
    fn windows_turn_at_utc_boundaries() {
        let sunday = at("2026-11-29T23:59:59.999Z");
        assert_eq!(sunday.next_midnight(), at("2026-11-30T00:00:00Z"));
        assert_eq!(sunday.next_monday(), at("2026-11-30T00:00:00Z"));
        assert_eq!(at("2026-11-30T00:00:00Z").next_monday(), at("2026-12-07T00:00:00Z"));
        assert_eq!(sunday.next_month(), at("2026-12-01T00:00:00Z"));
        assert_eq!(at("2026-12-31T12:00:00Z").next_month(), at("2027-01-01T00:00:00Z"));
        assert_eq!(at("2028-02-29T12:00:00Z").next_month(), at("2028-03-01T00:00:00Z"));
    }

    #[test]
    fn days_count_and_print() {
        let t = at("2026-11-24T03:00:00Z");
        assert_eq!(t.day().to_string(), "2026-11-24");
        assert_eq!(t.day().start(), at("2026-11-24T00:00:00Z"));
        assert_eq!(Timestamp::from_millis(-1).day().to_string(), "1969-12-31");
    }
}
