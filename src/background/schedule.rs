//! When an unknown cost is asked about again. Pure.

use std::time::Duration;

use crate::clock::Timestamp;

/// After the schedule's last time it is asked once a day: records of interrupted requests turn up late.
const AFTERWARDS: Duration = Duration::from_secs(24 * 60 * 60);
/// An entry this old is given up and stays in suspense for a person to settle.
const GIVE_UP: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Bounds of the pause after a question that got no statement. Within them the pause is as long as the entry is old,
/// so that pauses double by themselves, after a restart too.
const SILENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10 * 60));

/// What a question about a generation came to, when it did not bring its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The upstream says that it has no record, or one without a price, yet.
    NotYet,
    /// No statement: unreachable, an error of its own, a key it does not accept now.
    Silent,
    /// It can never be asked about: no generation id, or its key has left the pool.
    Nothing,
}

/// When to ask again about an entry opened at `opened_at`; `None` when it is given up.
///
/// The schedule's times count from the opening, not from the last question: what fell into a time without network or
/// without potluck is not made up for, and a question without a statement uses none of them up.
pub(super) fn next_try(opened_at: Timestamp, found: Found, schedule: &[Duration], now: Timestamp) -> Option<Timestamp> {
    let age = now.since(opened_at);
    if age >= GIVE_UP {
        return None;
    }
    match found {
        Found::Nothing => None,
        Found::Silent => Some(now.after(age.clamp(SILENCE.0, SILENCE.1))),
        Found::NotYet => {
            let scheduled = schedule.iter().map(|step| opened_at.after(*step)).filter(|at| *at > now).min();
            scheduled.or_else(|| Some(now.after(AFTERWARDS)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: Timestamp = Timestamp::from_secs(1_000_000);
    const DAY: u64 = 24 * 60 * 60;

    #[test]
    fn next_tries() {
        let schedule = [2, 10, 60, 600, 3600].map(Duration::from_secs);
        let check = |found, age: u64, expected: Option<u64>| {
            let at = |secs| OPENED.after(Duration::from_secs(secs));
            assert_eq!(next_try(OPENED, found, &schedule, at(age)), expected.map(at), "{found:?} at {age}");
        };
        for (age, expected) in [(0, 2), (1, 2), (2, 10), (9, 10), (10, 60), (60, 600), (601, 3600), (3600, 3600 + DAY)]
        {
            check(Found::NotYet, age, Some(expected));
        }
        check(Found::NotYet, 7 * DAY - 1, Some(8 * DAY - 1));
        check(Found::NotYet, 7 * DAY, None);
        for (age, expected) in [(0, 2), (2, 4), (100, 200), (600, 1200), (5000, 5600)] {
            check(Found::Silent, age, Some(expected));
        }
        check(Found::Silent, 7 * DAY, None);
        check(Found::Nothing, 0, None);
    }

    #[test]
    fn a_clock_set_back_delays_nothing() {
        let before = Timestamp::from_secs(999_000);
        assert_eq!(next_try(OPENED, Found::Silent, &[], before), Some(before.after(SILENCE.0)));
    }
}
