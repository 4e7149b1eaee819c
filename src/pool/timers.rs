//! What happens as time goes by: rests that end, trials that were never settled, and clocks that jump.

use std::time::Duration;

use crate::clock::Timestamp;

use super::probes::spread_max;
use super::slot::{Slot, Trial};
use super::{Cause, Health, KeyId, KeyState, Policy, Pool};

/// Timers run per tick: what is left over is due at the next one, or at the choice that needs it.
const TIMERS_PER_TICK: usize = 10_000;
/// Readings taken by different threads come in out of order; a clock further back than this was set back.
const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// Free allowances turn by the minute and at UTC midnight (`openrouter-api.md` 6.5): no reset is further off than a
/// day, plus an hour for clocks that disagree.
pub(super) const FREE_REST_MAX: Duration = Duration::from_secs(25 * 3600);
/// Key limits turn monthly at the slowest: a reset further off is not believed.
pub(super) const RESET_MAX: Duration = Duration::from_secs(32 * 86_400);

impl Pool {
    /// Bring everything up to this time: keys whose rest is over, lanes that are open again, what can be forgotten.
    /// Returns the keys that timers changed since the last tick, to be saved. [`Pool::choose`] runs due timers, too.
    pub fn tick(&mut self, now: Timestamp) -> Vec<KeyId> {
        self.see(now);
        self.run_timers(now, TIMERS_PER_TICK);
        self.exclusions.expire(now);
        self.edge_rest = self.resting_until(now);
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// Whether the clock was set back since this was last asked. Purses then lack the days that are in their windows again.
    pub fn was_set_back(&mut self) -> bool {
        std::mem::take(&mut self.set_back)
    }

    /// Run timers that are due, at most so many; returns whether more are due.
    pub(super) fn run_timers(&mut self, now: Timestamp, limit: usize) -> bool {
        for _ in 0..limit {
            match self.index.wake.first() {
                Some((at, place)) if *at <= now => self.ring(*place, now),
                _ => return false,
            }
        }
        self.index.wake.first().is_some_and(|(at, _)| *at <= now)
    }

    fn ring(&mut self, place: usize, now: Timestamp) {
        let due = |time: Option<Timestamp>| time.is_some_and(|time| time <= now);
        if self.slot(place).is_some_and(|slot| due(slot.gate_turns_at())) {
            self.regate(place, now);
        }
        let changed = self.edit(place, |slot, _| {
            if let Trial::Running { until, .. } = slot.trial
                && until <= now
            {
                slot.trial = Trial::Waiting;
            }
            let lane_opens = due(slot.state.free_until);
            if lane_opens {
                slot.state.free_until = None;
            }
            let comes_back = !slot.is_well() && due(slot.state.until);
            if comes_back {
                slot.come_back(Cause::Recovering, now);
            }
            (lane_opens || comes_back).then_some(slot.id)
        });
        self.changed.extend(changed.flatten());
    }

    /// Take note of the time. A clock that was set back would leave keys waiting for times that are now far off:
    /// then every timer is cut to the length it was meant to have.
    pub(super) fn see(&mut self, now: Timestamp) {
        if now.after(CLOCK_SLACK) >= self.latest {
            self.latest = self.latest.max(now);
            return;
        }
        self.latest = now;
        self.set_back = true;
        self.edge_rest = None;
        self.crowd.clear();
        // Hints, learned again at the price of one more attempt.
        self.exclusions.clear();
        for place in 0..self.slots.len() {
            let changed = self.edit(place, |slot, policy| {
                let before = (slot.state.since, slot.state.until, slot.state.free_until);
                cut_timers(&mut slot.state, policy, now);
                if let Trial::Running { until, .. } = &mut slot.trial {
                    *until = (*until).min(now.after(policy.trial_max));
                }
                slot.asked_at = slot.asked_at.filter(|asked| *asked <= now);
                (before != (slot.state.since, slot.state.until, slot.state.free_until)).then_some(slot.id)
            });
            self.changed.extend(changed.flatten());
            self.regate(place, now);
        }
    }
}

impl Slot {
    /// Back in rotation, but on trial: strikes stay until a request has succeeded.
    pub(super) fn come_back(&mut self, cause: Cause, now: Timestamp) {
        self.state.health = Health::Healthy;
        self.state.cause = cause;
        self.state.since = now;
        self.state.until = None;
        self.state.note = None;
        self.state.strikes = self.state.strikes.max(1);
        self.trial = Trial::Waiting;
    }
}

/// Make a state from the store fit to live: what no timer would ever end is given one, and nothing else changes.
pub(super) fn restore(state: &mut KeyState, policy: &Policy, now: Timestamp) {
    match state.health {
        Health::Healthy | Health::Failed => state.until = None,
        Health::Degraded => state.until = state.until.or(Some(now.after(policy.degraded_rest))),
        Health::RateLimited => state.until = state.until.or(Some(now.after(policy.rate_limited_rest))),
        // A depleted key may well have no time: it waits for evidence or an operator.
        Health::Depleted => {}
    }
    if state.health != Health::Healthy {
        state.strikes = state.strikes.max(1);
    }
    cut_timers(state, policy, now);
}

/// No timer may be longer than it was meant to be, whatever the clock showed when it was set.
fn cut_timers(state: &mut KeyState, policy: &Policy, now: Timestamp) {
    if state.since > now {
        // Set by a clock that was ahead: the rest lasts as long as it was to last, from now.
        state.until = state.until.map(|until| now.after(until.since(state.since)));
        state.since = now;
    }
    state.until = state.until.map(|until| until.min(now.after(RESET_MAX)));
    state.free_until = state.free_until.map(|until| until.min(now.after(FREE_REST_MAX)));
    let probe_max = spread_max(policy.probe_interval.max(policy.credit_recheck_max));
    state.probe_at = state.probe_at.map(|at| at.min(now.after(probe_max)));
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Effect, Evidence};
    use super::*;

    fn stored(health: Health, cause: Cause, until: Option<Timestamp>) -> KeyState {
        KeyState { health, cause, until, strikes: 1, verified: true, ..KeyState::fresh(at(1_000)) }
    }

    /// A key saved in this state, in a pool started at second 5,000: its state there, and whether it is on trial.
    fn check_restart(saved: KeyState, health: Health, until: Option<Timestamp>, trial: bool) {
        let mut pool = pool_of(0);
        load(&mut pool, 1, None, saved.clone(), at(5_000));
        pool.tick(at(5_000));
        pool.invariants();
        let state = state(&pool, 1);
        assert_eq!((state.health, state.until), (health, until), "{saved:?}");
        let choice = pool.choose(&paid(), at(5_000), 0);
        assert_eq!(matches!(choice, super::super::Choice::Key(ref key) if key.trial), trial, "{saved:?}");
    }

    #[test]
    fn a_restart_forgets_nothing() {
        use Health::{Degraded, Depleted, Failed, Healthy, RateLimited};
        let (past, ahead) = (Some(at(4_000)), Some(at(9_000)));
        check_restart(stored(Depleted, Cause::Credit, None), Depleted, None, false);
        check_restart(stored(Depleted, Cause::Operator, None), Depleted, None, false);
        check_restart(stored(Depleted, Cause::KeyLimit, ahead), Depleted, ahead, false);
        check_restart(stored(Depleted, Cause::KeyLimit, past), Healthy, None, true);
        check_restart(stored(Degraded, Cause::Doubted, past), Healthy, None, true);
        check_restart(stored(Degraded, Cause::Doubted, ahead), Degraded, ahead, false);
        check_restart(stored(RateLimited, Cause::InFlight, past), Healthy, None, true);
        check_restart(stored(Failed, Cause::Rejected, None), Failed, None, false);
        check_restart(stored(Healthy, Cause::Recovering, None), Healthy, None, true);
        // States no version should have saved still end some day.
        check_restart(stored(Degraded, Cause::Doubted, None), Degraded, Some(at(5_300)), false);
        check_restart(stored(RateLimited, Cause::InFlight, None), RateLimited, Some(at(5_900)), false);
        check_restart(stored(Failed, Cause::Barred, past), Failed, None, false);
        check_restart(KeyState { strikes: 0, ..stored(Healthy, Cause::Fresh, ahead) }, Healthy, None, false);
        check_restart(KeyState { strikes: 0, ..stored(Depleted, Cause::Credit, None) }, Depleted, None, false);
    }

    #[test]
    fn questions_stay_spread_across_a_restart() {
        let asked_at = |id, probe_at| {
            let mut pool = pool_of(0);
            load(
                &mut pool,
                id,
                None,
                KeyState { probe_at: Some(probe_at), ..stored(Health::Healthy, Cause::Fresh, None) },
                at(5_000),
            );
            super::super::testing::state(&pool, id).probe_at
        };
        let interval = Policy::default().probe_interval;
        for spread in [1, 300, 2_700] {
            let at = at(5_000 + spread).after(interval);
            assert_eq!(asked_at(1, at), Some(at), "not all together");
        }
        assert!(asked_at(1, at(5_000).after(2 * interval)) < Some(at(5_000).after(2 * interval)));
    }

    #[test]
    fn a_doubt_is_confirmed_across_a_restart() {
        let mut pool = pool_of(0);
        load(&mut pool, 1, None, stored(Health::Degraded, Cause::Doubted, Some(at(9_000))), at(5_000));
        pool.evidence(KeyId(1), &Evidence::Rejected, at(5_001), 0);
        assert_eq!(health(&pool, 1), Health::Failed);
    }

    #[test]
    fn the_free_lane_opens_at_its_time_across_a_restart() {
        let saved = KeyState { free_until: Some(at(6_000)), ..KeyState::fresh(at(1_000)) };
        let mut pool = pool_of(0);
        load(&mut pool, 1, None, saved, at(5_000));
        assert_eq!(none(pool.choose(&free(), at(5_999), 0)).until, Some(at(6_000)));
        assert!(!chosen(pool.choose(&free(), at(6_000), 0)).trial, "a lane that opens needs no trial");
        assert_eq!((pool.tick(at(6_000)), state(&pool, 1).free_until), (k(&[1]), None));
    }

    #[test]
    fn what_timers_changed_is_reported_once() {
        let mut pool = pool_of(3);
        for id in [1, 2] {
            apply(&mut pool, id, Effect::AccountBusy { rest: secs(60) }, START);
        }
        assert_eq!(series(&mut pool, &paid(), at(60), 1), [1], "a choice runs timers, too");
        assert_eq!(pool.tick(at(60)), k(&[1, 2]));
        assert_eq!(pool.tick(at(61)), []);
        let back = state(&pool, 2);
        assert_eq!((back.health, back.cause, back.since), (Health::Healthy, Cause::Recovering, at(60)));
        assert_eq!((back.until, back.strikes), (None, 1));
    }

    #[test]
    fn a_clock_set_back_strands_no_key() {
        let mut pool = pool_of(5);
        let year = 365 * 86_400;
        apply(&mut pool, 1, Effect::AccountBusy { rest: secs(900) }, at(year));
        apply(&mut pool, 2, Effect::FreeLaneLimited { until: at(year + 600) }, at(year));
        apply(&mut pool, 3, Effect::KeyCapped { until: Some(at(year + 86_400)) }, at(year));
        apply(&mut pool, 4, Effect::AccountCannot { what: "acme/".into() }, at(year));
        apply(&mut pool, 5, Effect::AccountBusy { rest: secs(1) }, at(year));
        assert!(chosen(pool.choose(&super::super::Want { tried: &k(&[2, 4]), ..paid() }, at(year + 1), 0)).trial);
        pool.tick(at(100));
        pool.invariants();
        assert_eq!(state(&pool, 1).until, Some(at(1_000)), "rests as long as it was to rest");
        assert_eq!(state(&pool, 3).until, Some(at(86_500)));
        assert!(state(&pool, 2).free_until <= Some(at(100).after(FREE_REST_MAX)));
        assert_eq!(pool.tick(at(200)), [], "reported once");
        let probes_within = at(100).after(spread_max(Policy::default().probe_interval));
        assert!((1..=5).all(|id| state(&pool, id).probe_at <= Some(probes_within)));
        let mut trial = false;
        for _ in 0..3 {
            trial |= chosen(pool.choose(&paid(), at(160), 0)).trial;
        }
        assert!(trial, "the trial that was out is over");
    }

    #[test]
    fn small_steps_back_change_nothing() {
        let mut pool = pool_of(1);
        apply(&mut pool, 1, Effect::AccountBusy { rest: secs(60) }, at(100));
        none(pool.choose(&paid(), at(96), 0));
        assert_eq!((state(&pool, 1).since, state(&pool, 1).until), (at(100), Some(at(160))));
        assert!(chosen(pool.choose(&paid(), at(1_000_000_000), 0)).trial, "forwards is fine");
    }

    #[test]
    fn a_state_saved_by_a_clock_that_was_ahead_is_cut_to_its_length() {
        let saved = KeyState {
            health: Health::RateLimited,
            since: at(900_000),
            until: Some(at(900_900)),
            probe_at: Some(Timestamp::from_millis(i64::MAX)),
            ..stored(Health::RateLimited, Cause::InFlight, None)
        };
        let mut pool = pool_of(0);
        load(&mut pool, 1, None, saved, START);
        assert_eq!((state(&pool, 1).since, state(&pool, 1).until), (START, Some(at(900))));
        pool.invariants();
    }

    #[test]
    fn no_time_panics() {
        for now in [i64::MIN, -1, 0, i64::MAX].map(Timestamp::from_millis) {
            let mut pool = pool_of(2);
            for effect in [
                Effect::AccountBusy { rest: Duration::MAX },
                Effect::KeyDoubted,
                Effect::FreeLaneLimited { until: now },
                Effect::KeyCapped { until: Some(now) },
                Effect::EveryoneRests { rest: Duration::MAX },
            ] {
                pool.apply(KeyId(1), &effect, now, u64::MAX);
                pool.tick(now);
                pool.choose(&free(), now, u64::MAX);
                pool.due_probes(now, 2, u64::MAX);
                pool.evidence(KeyId(1), &Evidence::Silent, now, u64::MAX);
            }
        }
    }
}
