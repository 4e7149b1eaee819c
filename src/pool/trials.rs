//! Keys on trial when nobody else can serve: others go up beside the request that decides.
//!
//! A key that came back gets one request, and while other keys are ready nothing more. In a small pool there is none: then
//! a trial whose first byte takes its time must not be an error to everybody else. They wait for the verdict first. OpenRouter
//! refuses at its door, within a fraction of a second, so that a trial which is still silent after that is most likely
//! being served. What goes up then is bounded all the same: a key that is still broken meets a handful, not hundreds. Who
//! finds no place among them waits on: one good answer lets everybody in, one bad answer turns everybody away.

use crate::clock::Timestamp;

use super::slot::{Slot, Trial};
use super::{Choice, Chosen, Lane, Pool, Unavailable, Want};

/// Requests on one key that nothing is known of yet, the one that began the trial among them.
const UNDECIDED_MAX: u32 = 8;
/// How many of the keys on trial are looked at for one request.
const LOOK_MAX: usize = 32;

/// The answer to a request that has waited for a key as long as it may.
#[derive(Clone, Debug)]
pub enum AtLast {
    /// Use this key.
    Key(Chosen),
    /// Keys that could serve this are on trial, with as many requests on them as may be: wait for a verdict.
    Full,
    /// No key can serve this now.
    None(Unavailable),
}

impl Pool {
    /// Whether a key that could serve this is out of reach only because its trial is running.
    pub fn on_trial(&self, want: &Want<'_>, now: Timestamp) -> bool {
        self.resting_until(now).is_none() && self.under_trial(want, now).next().is_some()
    }

    /// [`Pool::choose`] for a request that has waited for a verdict as long as it may: when no key is ready, one whose trial
    /// is running takes it, too.
    pub fn choose_at_last(&mut self, want: &Want<'_>, now: Timestamp, roll: u64) -> AtLast {
        let why = match self.choose(want, now, roll) {
            Choice::Key(chosen) => return AtLast::Key(chosen),
            Choice::None(why) => why,
        };
        if !self.on_trial(want, now) {
            return AtLast::None(why);
        }
        let least = self.under_trial(want, now).take(LOOK_MAX).min_by_key(|(_, undecided)| *undecided);
        let place = least.filter(|(_, undecided)| *undecided < UNDECIDED_MAX).map(|(place, _)| place);
        place.and_then(|place| self.take(place, want, now)).map_or(AtLast::Full, AtLast::Key)
    }

    /// The keys on a running trial that could serve this: their places, and how many requests are undecided on each.
    fn under_trial<'a>(&'a self, want: &'a Want<'_>, now: Timestamp) -> impl Iterator<Item = (usize, u32)> + 'a {
        let left_out = self.exclusions.of_model(want.model, now);
        self.index.running.from(0).filter_map(move |place| {
            let slot =
                self.slot(place).filter(|slot| !super::choose::skips(want, &left_out, &self.accounts, slot, now))?;
            let lane_open = want.lane == Lane::Paid || slot.state.free_until.is_none();
            let Trial::Running { undecided, .. } = slot.trial else { return None };
            lane_open.then_some((place, undecided))
        })
    }
}

impl Slot {
    /// A request goes up on a key that is on trial; the first one begins it.
    pub(super) fn join_trial(&mut self, until: Timestamp) {
        self.trial = match self.trial {
            Trial::None => Trial::None,
            Trial::Waiting => Trial::Running { until, undecided: 1 },
            Trial::Running { until, undecided } => Trial::Running { until, undecided: undecided.saturating_add(1) },
        };
    }

    /// A request on a key that is on trial ended without a verdict: when it was the last one, the next may try.
    pub(super) fn leave_trial(&mut self) {
        if let Trial::Running { undecided, .. } = &mut self.trial {
            *undecided = undecided.saturating_sub(1);
            if *undecided == 0 {
                self.trial = Trial::Waiting;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Effect, KeyId, NoKey, Policy};
    use super::*;

    /// A pool of so many keys, all of them on a running trial at second 60.
    fn all_on_trial(keys: u32) -> Pool {
        let mut pool = pool_of(keys);
        for id in 1..=keys {
            apply(&mut pool, id, Effect::AccountBusy { rest: secs(60) }, START);
        }
        for _ in 0..keys {
            assert!(chosen(pool.choose(&paid(), at(60), 0)).trial);
        }
        pool
    }

    fn key(last: AtLast) -> Option<u32> {
        match last {
            AtLast::Key(chosen) => {
                assert!(chosen.trial);
                Some(chosen.key.0)
            }
            AtLast::Full => None,
            AtLast::None(why) => panic!("a key was expected: {why:?}"),
        }
    }

    fn nobody(last: AtLast) -> Unavailable {
        match last {
            AtLast::None(why) => why,
            other => panic!("nobody was expected: {other:?}"),
        }
    }

    #[test]
    fn a_handful_goes_up_beside_a_trial_and_a_verdict_decides_for_all() {
        let mut pool = all_on_trial(1);
        assert!(pool.on_trial(&paid(), at(60)));
        none(pool.choose(&paid(), at(61), 0));
        for _ in 1..UNDECIDED_MAX {
            assert_eq!(key(pool.choose_at_last(&paid(), at(62), 0)), Some(1));
        }
        assert_eq!(key(pool.choose_at_last(&paid(), at(62), 0)), None, "full");
        pool.trial_over(KeyId(1));
        assert_eq!(key(pool.choose_at_last(&paid(), at(62), 0)), Some(1), "one has left without a verdict");
        pool.invariants();
        assert!(pool.succeeded(KeyId(1), at(63)));
        assert_eq!(series(&mut pool, &paid(), at(63), 20), [1; 20]);

        let mut pool = all_on_trial(1);
        key(pool.choose_at_last(&paid(), at(62), 0));
        apply(&mut pool, 1, Effect::AccountEmpty, at(63));
        assert_eq!(nobody(pool.choose_at_last(&paid(), at(63), 0)).reason, NoKey::AllDepleted);
    }

    #[test]
    fn the_load_is_spread_and_ready_keys_come_first() {
        let mut pool = all_on_trial(3);
        let turns: Vec<_> = (0..6).map(|_| key(pool.choose_at_last(&paid(), at(61), 0))).collect();
        assert_eq!(turns, [1, 2, 3, 1, 2, 3].map(Some));
        add(&mut pool, 4, None);
        let AtLast::Key(ready) = pool.choose_at_last(&paid(), at(61), 0) else { panic!("key 4 is ready") };
        assert_eq!((ready.key.0, ready.trial), (4, false));
    }

    #[test]
    fn only_keys_that_could_serve_it_count() {
        let mut pool = all_on_trial(2);
        apply(&mut pool, 1, Effect::FreeLaneLimited { until: at(600) }, at(61));
        let tried = k(&[2]);
        let want = Want { tried: &tried, ..free() };
        assert!(!pool.on_trial(&want, at(61)));
        nobody(pool.choose_at_last(&want, at(61), 0));
        pool.apply(KeyId(9), &Effect::EveryoneRests { rest: secs(30) }, at(61), 0);
        assert!(!pool.on_trial(&paid(), at(61)));
        nobody(pool.choose_at_last(&paid(), at(61), 0));
    }

    #[test]
    fn the_next_may_try_when_all_have_left_or_the_time_is_over() {
        let mut pool = all_on_trial(1);
        key(pool.choose_at_last(&paid(), at(61), 0));
        pool.trial_over(KeyId(1));
        none(pool.choose(&paid(), at(61), 0));
        pool.trial_over(KeyId(1));
        assert!(chosen(pool.choose(&paid(), at(61), 0)).trial);
        key(pool.choose_at_last(&paid(), at(61), 0));
        let over = at(61).after(Policy::default().trial_max);
        assert!(chosen(pool.choose(&paid(), over, 0)).trial, "whoever is still out is forgotten");
        for _ in 1..UNDECIDED_MAX {
            key(pool.choose_at_last(&paid(), over, 0));
        }
        assert_eq!(key(pool.choose_at_last(&paid(), over, 0)), None);
        pool.invariants();
    }
}
