//! When an unknown cost is asked about again. Pure.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::Suspense;
use crate::upstream::Endpoint;

/// Bounds of the pause after a question that got no statement. Within them the pause is as long as the entry is old,
/// so that pauses double by themselves, after a restart too.
const SILENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10 * 60));

/// Bounds of the pause between comparisons of the key's usage, which wait for a moment with nothing under way on the key.
/// They cost nothing, and until one succeeds the money is in suspense.
const USAGE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// How long is waited for better proof of a cost.
#[derive(Clone, Debug)]
pub struct Patience {
    /// When a generation is asked about, counted from the attempt's end (`ledger.reconcile_schedule_ms`).
    pub schedule: Arc<[Duration]>,
    /// Then the key's own usage may settle what nobody can be asked about (`ledger.usage_settle_after_ms`).
    pub usage: Duration,
    /// So long the upstream may work on an attempt from its beginning on, whether anybody listens or not
    /// (`upstream.total_timeout_ms`).
    pub work: Duration,
    /// Then the worst cost that was held is booked as an estimate (`ledger.estimate_after_ms`).
    pub estimate: Duration,
}

impl Patience {
    /// When the key's usage settles a cost, counted from the attempt's end: a generation that can be asked about is given
    /// its whole schedule first, and a job all the time there is, since nobody knows how long it takes. What may go on besides
    /// must also be over ([`Patience::until_over`]).
    pub fn until_usage(&self, entry: &Suspense) -> Duration {
        let silent = self.until_silent(entry.generation.is_some());
        if entry.endpoint == Endpoint::Videos { silent.max(self.estimate) } else { silent }
    }

    /// When an attempt that was broken off is certainly over at the upstream, and what it cost shown in the key's usage,
    /// counted from its beginning.
    pub fn until_over(&self) -> Duration {
        self.work.saturating_add(self.usage)
    }

    fn until_silent(&self, has_generation: bool) -> Duration {
        let asked = self.schedule.iter().max().copied().filter(|_| has_generation);
        asked.map_or(self.usage, |last| last.max(self.usage))
    }
}

/// What a question about a generation came to, when it did not bring its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The upstream says that it has no record, or one without a price, yet.
    NotYet,
    /// No statement: unreachable, an error of its own, a key it does not accept now.
    Silent,
    /// It can never be asked about: it has no generation id.
    Nothing,
    /// Its key has left the pool, so that not even its usage will tell.
    Gone,
}

/// When to ask again about an entry opened at `opened_at`; `None` when it is time for an estimate.
///
/// The schedule's times count from the opening, not from the last question: what fell into a time without network or
/// without potluck is not made up for, and a question without a statement uses none of them up.
pub fn next_try(opened_at: Timestamp, found: Found, patience: &Patience, now: Timestamp) -> Option<Timestamp> {
    let age = now.since(opened_at);
    if age >= patience.estimate || found == Found::Gone {
        return None;
    }
    let usage = now.after(age.clamp(USAGE.0, USAGE.1));
    if age >= patience.until_silent(found != Found::Nothing) {
        return Some(usage);
    }
    match found {
        Found::Nothing | Found::Gone => Some(usage),
        Found::Silent => Some(now.after(age.clamp(SILENCE.0, SILENCE.1))),
        Found::NotYet => {
            let scheduled = patience.schedule.iter().map(|step| opened_at.after(*step)).filter(|at| *at > now).min();
            scheduled.or(Some(usage))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: Timestamp = Timestamp::from_secs(1_000_000);
    const DAY: u64 = 24 * 60 * 60;

    fn patience() -> Patience {
        Patience {
            schedule: [2, 10, 60, 600, 3600].map(Duration::from_secs).into(),
            usage: Duration::from_secs(120),
            work: Duration::from_secs(1800),
            estimate: Duration::from_secs(7 * DAY),
        }
    }

    #[test]
    fn usage_settles_what_nobody_can_be_asked_about_sooner() {
        assert_eq!(patience().until_silent(false), Duration::from_secs(120));
        assert_eq!(patience().until_silent(true), Duration::from_secs(3600));
    }

    #[test]
    fn next_tries() {
        let patience = patience();
        let check = |found, age: u64, expected: Option<u64>| {
            let at = |secs| OPENED.after(Duration::from_secs(secs));
            assert_eq!(next_try(OPENED, found, &patience, at(age)), expected.map(at), "{found:?} at {age}");
        };
        for (age, expected) in [(0, 2), (1, 2), (2, 10), (9, 10), (10, 60), (60, 600), (601, 3600), (3600, 3660)] {
            check(Found::NotYet, age, Some(expected));
        }
        check(Found::NotYet, 7 * DAY - 1, Some(7 * DAY + 59));
        check(Found::NotYet, 7 * DAY, None);
        for (age, expected) in [(0, 2), (2, 4), (100, 200), (600, 1200), (5000, 5060)] {
            check(Found::Silent, age, Some(expected));
        }
        check(Found::Silent, 7 * DAY, None);
        for (age, expected) in [(0, 5), (50, 100), (100, 160), (5000, 5060)] {
            check(Found::Nothing, age, Some(expected));
        }
        check(Found::Nothing, 7 * DAY, None);
        check(Found::Gone, 0, None);
    }

    #[test]
    fn a_clock_set_back_delays_nothing() {
        let before = Timestamp::from_secs(999_000);
        assert_eq!(next_try(OPENED, Found::Silent, &patience(), before), Some(before.after(SILENCE.0)));
    }
}
