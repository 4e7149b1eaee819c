//! What takes a key out of rotation and for how long; what a success and a settled trial mean.
//!
//! Troubles are ranked. A lesser one never replaces a graver one: a depleted key must not come back because an
//! answer that was under way says "busy", nor a failed one because its account is empty, too.

use std::time::Duration;

use crate::clock::Timestamp;

use super::exclusions::Holder;
use super::slot::{Slot, Trial};
use super::timers::{FREE_REST_MAX, RESET_MAX};
use super::{Cause, Effect, Health, KeyId, Policy, Pool};

/// The longest rest an answer can ask for; in-flight budgets ask for two minutes (`openrouter-api.md` 5.2).
const REST_MAX: Duration = Duration::from_secs(86_400);
/// The shortest: `Retry-After: 0` must not turn into a loop.
const REST_MIN: Duration = Duration::from_secs(1);
/// The longest rest of the whole proxy: a client may have provoked the block, and must not silence the others.
const EDGE_REST_MAX: Duration = Duration::from_secs(300);
/// A free lane whose reset lies in the past: the per-minute allowance, most likely.
const FREE_REST_UNKNOWN: Duration = Duration::from_secs(60);
/// A rest doubles with each failed trial, up to three times.
const DOUBLINGS_MAX: u32 = 3;

/// What takes a key out of rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Busy {
        rest: Duration,
    },
    Doubted,
    /// It said for the first time that it takes no calls from our address.
    BarDoubted,
    KeyLimit {
        until: Option<Timestamp>,
    },
    Budget {
        until: Option<Timestamp>,
    },
    Credit,
    Barred,
    Rejected,
    Expired,
}

impl Trouble {
    const fn health(self) -> Health {
        match self {
            Self::Busy { .. } => Health::RateLimited,
            Self::Doubted | Self::BarDoubted => Health::Degraded,
            Self::KeyLimit { .. } | Self::Budget { .. } | Self::Credit => Health::Depleted,
            Self::Barred | Self::Rejected | Self::Expired => Health::Failed,
        }
    }

    const fn cause(self) -> Cause {
        match self {
            Self::Busy { .. } => Cause::InFlight,
            Self::Doubted => Cause::Doubted,
            Self::KeyLimit { .. } => Cause::KeyLimit,
            Self::Budget { .. } => Cause::Budget,
            Self::Credit => Cause::Credit,
            Self::BarDoubted | Self::Barred => Cause::Barred,
            Self::Rejected => Cause::Rejected,
            Self::Expired => Cause::Expired,
        }
    }

    /// When a key with so many strikes is back from it by itself.
    fn until(self, strikes: u32, policy: &Policy, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Busy { rest } => {
                let rest = rest.clamp(REST_MIN, REST_MAX);
                Some(now.after(grown(rest, strikes, policy.rate_limited_rest.max(rest))))
            }
            Self::Doubted | Self::BarDoubted => Some(now.after(grown(policy.degraded_rest, strikes, Duration::MAX))),
            Self::KeyLimit { until } => believable(until, now),
            // No free call tells about a budget: without a reset time, a trial now and then has to find out.
            Self::Budget { until } => believable(until, now)
                .or_else(|| Some(now.after(grown(policy.key_cap_recheck, strikes, policy.credit_recheck_max)))),
            Self::Credit | Self::Barred | Self::Rejected | Self::Expired => None,
        }
    }
}

/// `base`, doubled for each strike but the first, and not beyond `max` (nor below `base`).
pub(super) fn grown(base: Duration, strikes: u32, max: Duration) -> Duration {
    let doublings = strikes.saturating_sub(1).min(DOUBLINGS_MAX);
    base.saturating_mul(1 << doublings).min(max.max(base))
}

/// A reset time that lies ahead, and not beyond what any limit's window allows.
fn believable(until: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    until.filter(|until| *until > now && *until <= now.after(RESET_MAX))
}

/// How grave a state is: a trouble may only replace one of its own rank or below.
const fn rank(health: Health, cause: Cause) -> u8 {
    match (health, cause) {
        (Health::Healthy, _) => 0,
        (Health::Degraded, Cause::Doubted | Cause::Barred) => 2,
        (Health::RateLimited | Health::Degraded, _) => 1,
        // An empty account outlasts any limit's reset, and an operator's word outlasts both.
        (Health::Depleted, Cause::Operator) => 5,
        (Health::Depleted, Cause::Credit) => 4,
        (Health::Depleted, _) => 3,
        (Health::Failed, _) => 6,
    }
}

impl Slot {
    /// Let trouble take the key out of rotation. Returns whether anything changed.
    pub(super) fn strike(&mut self, trouble: Trouble, policy: &Policy, now: Timestamp) -> bool {
        let (health, cause) = (trouble.health(), trouble.cause());
        let state = &self.state;
        // Many answers may bring the same news at once: only the one that ends a key's service counts.
        let strikes = if self.is_well() { state.strikes.saturating_add(1) } else { state.strikes.max(1) };
        let until = trouble.until(strikes, policy, now);
        let (old, new) = (rank(state.health, state.cause), rank(health, cause));
        let until = match (old, new) {
            _ if new < old || (new == old && state.health == Health::Failed) => return false,
            // A key that rests for two reasons rests for the longer one.
            (1 | 2, 1 | 2) => until.max(state.until),
            (3, 3) if state.cause == cause => until.or(state.until),
            // Two limits at once: the one that lasts longer counts; unknown is longest.
            (3, 3) if until.is_some() && (state.until.is_none() || until <= state.until) => return false,
            _ => until,
        };
        if old == new && old == 1 && until == state.until {
            return false;
        }
        if (health, cause, until) == (state.health, state.cause, state.until) {
            return false;
        }
        self.settle_into(health, cause, until, now);
        self.state.strikes = strikes;
        true
    }

    fn settle_into(&mut self, health: Health, cause: Cause, until: Option<Timestamp>, now: Timestamp) {
        let state = &mut self.state;
        if (state.health, state.cause) != (health, cause) {
            state.since = now;
            state.note = None;
        }
        state.health = health;
        state.cause = cause;
        state.until = until;
        if health == Health::Failed {
            state.probe_at = None;
        }
        self.trial = Trial::None;
    }
}

impl Pool {
    /// Apply what an answer did to the key that was used, and through it to its account. `roll` spreads the questions
    /// that follow. Returns the keys whose state changed, to be saved.
    ///
    /// This also ends the key's trial: an effect that does not take it out of rotation was no verdict.
    pub fn apply(&mut self, id: KeyId, effect: &Effect, now: Timestamp, roll: u64) -> Vec<KeyId> {
        self.see(now);
        if let Effect::EveryoneRests { rest } = effect {
            self.rest_everyone(*rest, now);
        }
        let Some(place) = self.places.get(&id).copied() else { return Vec::new() };
        self.answered(place, matches!(effect, Effect::TurnedAway { .. }), now);
        let changed = match effect {
            Effect::None | Effect::EveryoneRests { .. } => Vec::new(),
            Effect::TurnedAway { rest } => {
                if self.crowd.is_turned_away(now) {
                    self.rest_everyone(*rest, now);
                    self.crowd.clear();
                }
                Vec::new()
            }
            Effect::KeyCapped { until } => self.afflict(&[place], Trouble::KeyLimit { until: *until }, now, roll),
            Effect::AccountCapped { until } => {
                self.afflict(&self.siblings(place), Trouble::Budget { until: *until }, now, roll)
            }
            Effect::AccountEmpty => self.afflict(&self.siblings(place), Trouble::Credit, now, roll),
            Effect::AccountBusy { rest } => {
                self.afflict(&self.siblings(place), Trouble::Busy { rest: *rest }, now, roll)
            }
            Effect::FreeLaneLimited { until } => self.close_free_lane(place, *until, now),
            Effect::KeyDoubted => self.doubt(place, now, roll),
            Effect::KeyBarred => self.bar(place, now, roll),
            Effect::Affords { tokens: _ } => {
                self.ask_soon(place, now);
                Vec::new()
            }
            Effect::AccountCannot { what } => self.leave_out(place, what, self.policy.exclusion_rest, now),
            Effect::AccountRests { what, rest } => self.leave_out(place, what, (*rest).clamp(REST_MIN, REST_MAX), now),
        };
        self.trial_over(id);
        changed
    }

    /// The key has answered a request with a 2xx. Ends its trial and clears its strikes. Returns whether its state
    /// changed and is to be saved. A key out of rotation stays out: that answer belongs to an older request.
    pub fn succeeded(&mut self, id: KeyId, now: Timestamp) -> bool {
        let Some(place) = self.places.get(&id).copied() else { return false };
        self.answered(place, false, now);
        let Some(slot) = self.slot(place) else { return false };
        let proven = slot.state.strikes == 0 && slot.state.verified;
        if proven || !slot.is_well() {
            return false;
        }
        self.see(now);
        self.edit(place, |slot, _| {
            if slot.trial != Trial::None {
                slot.state.cause = Cause::Fresh;
                slot.state.since = now;
            }
            slot.trial = Trial::None;
            slot.state.strikes = 0;
            slot.state.verified = true;
            slot.rejections = 0;
            slot.barred = false;
        });
        true
    }

    /// A request on a key on trial ended without a verdict (client gone, provider's error): the next one may try.
    pub fn trial_over(&mut self, id: KeyId) {
        let Some(place) = self.places.get(&id).copied() else { return };
        if self.slot(place).is_some_and(|slot| matches!(slot.trial, Trial::Running { .. })) {
            self.edit(place, |slot, _| slot.leave_trial());
        }
    }

    /// Nobody is chosen for so long.
    fn rest_everyone(&mut self, rest: Duration, now: Timestamp) {
        let until = now.after(rest.clamp(REST_MIN, EDGE_REST_MAX));
        self.edge_rest = self.edge_rest.max(Some(until));
    }

    /// An answer has come on this key.
    fn answered(&mut self, place: usize, turned_away: bool, now: Timestamp) {
        if let Some(slot) = self.slot(place) {
            let holder = slot.account.map_or(Holder::Key(slot.id), Holder::Account);
            self.crowd.note(holder, turned_away, now);
        }
    }

    /// Strike these keys, the first of which is the one that was used, and see to it that they are asked about.
    pub(super) fn afflict(&mut self, places: &[usize], trouble: Trouble, now: Timestamp, roll: u64) -> Vec<KeyId> {
        let mut changed = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let struck = self.edit(*place, |slot, policy| slot.strike(trouble, policy, now).then_some(slot.id));
            if let Some(id) = struck.flatten() {
                changed.push(id);
                self.ask_after_trouble(*place, at == 0, now, roll);
            }
        }
        changed
    }

    /// The places of all keys of this key's account, its own first; only its own when the account is unknown.
    pub(super) fn siblings(&self, place: usize) -> Vec<usize> {
        let account = self.slot(place).and_then(|slot| slot.account);
        let members = account.into_iter().flat_map(|account| self.accounts.members(account));
        let others = members.filter_map(|id| self.places.get(&id).copied()).filter(|other| *other != place);
        std::iter::once(place).chain(others).collect()
    }

    /// The upstream does not know this key, it says: out, and to be asked about at once.
    fn doubt(&mut self, place: usize, now: Timestamp, roll: u64) -> Vec<KeyId> {
        let changed = self.afflict(&[place], Trouble::Doubted, now, roll);
        self.edit(place, |slot, _| {
            slot.rejections = slot.rejections.max(1);
            slot.ask_at_once(now);
        });
        changed
    }

    /// The key takes no calls from our address, it says. Said once that is a doubt; said again by the request that was to
    /// prove the key, it is final. Other answers that say so were under way when the first one came.
    fn bar(&mut self, place: usize, now: Timestamp, roll: u64) -> Vec<KeyId> {
        let on_trial = self.slot(place).is_some_and(|slot| matches!(slot.trial, Trial::Running { .. }));
        let confirmed = on_trial && self.slot(place).is_some_and(|slot| slot.barred);
        let trouble = if confirmed { Trouble::Barred } else { Trouble::BarDoubted };
        let changed = self.afflict(&[place], trouble, now, roll);
        self.edit(place, |slot, _| {
            slot.barred = true;
            slot.ask_at_once(now);
        });
        changed
    }

    fn close_free_lane(&mut self, place: usize, until: Timestamp, now: Timestamp) -> Vec<KeyId> {
        let until = if until > now { until.min(now.after(FREE_REST_MAX)) } else { now.after(FREE_REST_UNKNOWN) };
        let close = |slot: &mut Slot, _: &Policy| {
            let later = slot.state.free_until < Some(until);
            if later {
                slot.state.free_until = Some(until);
            }
            later.then_some(slot.id)
        };
        self.siblings(place).into_iter().filter_map(|place| self.edit(place, close).flatten()).collect()
    }

    fn leave_out(&mut self, place: usize, what: &str, rest: Duration, now: Timestamp) -> Vec<KeyId> {
        if let Some(slot) = self.slot(place) {
            let holder = slot.account.map_or(Holder::Key(slot.id), Holder::Account);
            self.exclusions.add(what, holder, now.after(rest));
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{AccountId, Evidence};
    use super::*;

    /// Keys 1 and 2 share account 1, key 3 has account 2, keys 4 and 5 have none.
    fn accounts() -> Pool {
        let mut pool = Pool::new(Policy::default());
        for (id, account) in [(1, Some(1)), (2, Some(1)), (3, Some(2)), (4, None), (5, None)] {
            add(&mut pool, id, account);
        }
        pool
    }

    type Expected = (Health, Cause, Option<Timestamp>);

    fn check(effect: Effect, used: u32, hit: &[u32], expected: Expected) {
        let mut pool = accounts();
        assert_eq!(apply(&mut pool, used, effect.clone(), at(10)), k(hit), "{effect:?}");
        for id in 1..=5 {
            let state = state(&pool, id);
            let wanted = if hit.contains(&id) { expected } else { (Health::Healthy, Cause::Fresh, None) };
            assert_eq!((state.health, state.cause, state.until), wanted, "{effect:?} on k{id}");
            assert_eq!(state.strikes, u32::from(hit.contains(&id)));
        }
        assert_eq!(apply(&mut pool, used, effect.clone(), at(10)), [], "{effect:?}: the same news again");
    }

    #[test]
    fn effects_reach_the_key_or_its_account() {
        use Health::{Degraded, Depleted, RateLimited};
        let reset = Some(at(5_000));
        let busy = || Effect::AccountBusy { rest: secs(120) };
        check(Effect::KeyCapped { until: reset }, 1, &[1], (Depleted, Cause::KeyLimit, reset));
        check(Effect::KeyCapped { until: None }, 1, &[1], (Depleted, Cause::KeyLimit, None));
        check(Effect::AccountCapped { until: reset }, 1, &[1, 2], (Depleted, Cause::Budget, reset));
        check(Effect::AccountCapped { until: None }, 4, &[4], (Depleted, Cause::Budget, Some(at(3_610))));
        check(Effect::AccountEmpty, 2, &[1, 2], (Depleted, Cause::Credit, None));
        check(Effect::AccountEmpty, 4, &[4], (Depleted, Cause::Credit, None));
        check(busy(), 1, &[1, 2], (RateLimited, Cause::InFlight, Some(at(130))));
        check(busy(), 5, &[5], (RateLimited, Cause::InFlight, Some(at(130))));
        check(Effect::KeyDoubted, 1, &[1], (Degraded, Cause::Doubted, Some(at(310))));
        check(Effect::KeyBarred, 1, &[1], (Degraded, Cause::Barred, Some(at(310))));
        let nobody = (Health::Healthy, Cause::Fresh, None);
        check(Effect::None, 1, &[], nobody);
        check(Effect::Affords { tokens: Some(9) }, 1, &[], nobody);
        check(Effect::AccountCannot { what: "acme/".into() }, 1, &[], nobody);
        check(Effect::AccountRests { what: "acme/".into(), rest: secs(9) }, 1, &[], nobody);
        check(Effect::EveryoneRests { rest: secs(9) }, 1, &[], nobody);
        check(Effect::TurnedAway { rest: secs(9) }, 1, &[], nobody);
    }

    #[test]
    fn the_free_lane_closes_for_the_account_and_leaves_health_alone() {
        let mut pool = accounts();
        let limited = |until| Effect::FreeLaneLimited { until };
        assert_eq!(apply(&mut pool, 1, limited(at(600)), START), k(&[1, 2]));
        assert_eq!(apply(&mut pool, 2, limited(at(60)), START), [], "the longer closure stays");
        assert_eq!(state(&pool, 2).free_until, Some(at(600)));
        assert_eq!((state(&pool, 2).strikes, pool.counts()), (0, [5, 0, 0, 0, 0]));
        apply(&mut pool, 3, limited(Timestamp::from_secs(0)), START);
        assert_eq!(state(&pool, 3).free_until, Some(at(60)), "a reset in the past: a minute");
        apply(&mut pool, 4, limited(Timestamp::from_millis(i64::MAX)), START);
        assert_eq!(state(&pool, 4).free_until, Some(START.after(FREE_REST_MAX)), "and none is further than a day");
    }

    #[test]
    fn unbelievable_times_are_unknown_times() {
        for until in
            [at(0), Timestamp::from_secs(5), START.after(RESET_MAX).after(secs(1)), Timestamp::from_millis(i64::MAX)]
        {
            let mut pool = accounts();
            apply(&mut pool, 1, Effect::KeyCapped { until: Some(until) }, START);
            assert_eq!(state(&pool, 1).until, None, "{until}");
        }
        let mut pool = accounts();
        apply(&mut pool, 4, Effect::AccountBusy { rest: Duration::ZERO }, START);
        apply(&mut pool, 5, Effect::AccountBusy { rest: Duration::MAX }, START);
        assert_eq!((state(&pool, 4).until, state(&pool, 5).until), (Some(at(1)), Some(START.after(REST_MAX))));
    }

    /// Effects one after the other on key 1, and where they lead.
    fn check_ranks(effects: &[Effect], expected: Expected) {
        let mut pool = accounts();
        for effect in effects {
            apply(&mut pool, 1, effect.clone(), START);
        }
        let state = state(&pool, 1);
        assert_eq!((state.health, state.cause, state.until), expected, "{effects:?}");
        assert_eq!(state.strikes, 1, "one fall, however many answers told of it: {effects:?}");
    }

    #[test]
    fn a_lesser_trouble_never_replaces_a_graver_one() {
        use Effect::{AccountEmpty, KeyBarred, KeyDoubted};
        use Health::{Degraded, Depleted, RateLimited};
        let busy = |rest| Effect::AccountBusy { rest: secs(rest) };
        let capped = |until| Effect::KeyCapped { until };
        let budget = |until| Effect::AccountCapped { until };
        let (early, late) = (Some(at(5_000)), Some(at(9_000)));
        check_ranks(&[busy(60), busy(90), busy(30)], (RateLimited, Cause::InFlight, Some(at(90))));
        check_ranks(&[KeyDoubted, busy(60)], (Degraded, Cause::Doubted, Some(at(300))));
        check_ranks(&[busy(900), KeyDoubted], (Degraded, Cause::Doubted, Some(at(900))));
        check_ranks(&[AccountEmpty, busy(60), KeyDoubted, capped(early)], (Depleted, Cause::Credit, None));
        check_ranks(&[busy(60), capped(early)], (Depleted, Cause::KeyLimit, early));
        check_ranks(&[capped(early), AccountEmpty], (Depleted, Cause::Credit, None));
        check_ranks(&[capped(late), budget(early)], (Depleted, Cause::KeyLimit, late));
        check_ranks(&[capped(early), budget(late)], (Depleted, Cause::Budget, late));
        check_ranks(&[capped(None), budget(late)], (Depleted, Cause::KeyLimit, None));
        check_ranks(&[capped(late), capped(early)], (Depleted, Cause::KeyLimit, early));
        check_ranks(&[capped(late), capped(None)], (Depleted, Cause::KeyLimit, late));
        check_ranks(&[KeyBarred, busy(60)], (Degraded, Cause::Barred, Some(at(300))));
        check_ranks(&[KeyBarred, KeyBarred, KeyBarred], (Degraded, Cause::Barred, Some(at(300))));
        check_ranks(&[KeyBarred, AccountEmpty, busy(60), KeyBarred], (Depleted, Cause::Credit, None));
    }

    #[test]
    fn a_trial_decides_and_failing_it_rests_longer() {
        let mut pool = pool_of(1);
        let mut now = START;
        for rest in [300, 600, 1_200, 2_400, 2_400] {
            apply(&mut pool, 1, Effect::KeyDoubted, now);
            let back = now.after(secs(rest));
            assert_eq!(state(&pool, 1).until, Some(back));
            none(pool.choose(&paid(), Timestamp::from_millis(back.as_millis() - 1), 0));
            now = back;
            assert!(chosen(pool.choose(&paid(), now, 0)).trial);
            assert_eq!(none(pool.choose(&paid(), now, 0)).until, Some(now.after(secs(1))), "one at a time");
        }
        assert_eq!(state(&pool, 1).cause, Cause::Recovering);
        assert!(pool.succeeded(KeyId(1), now) && !pool.succeeded(KeyId(1), now));
        assert_eq!((state(&pool, 1).strikes, state(&pool, 1).cause), (0, Cause::Fresh));
        assert!(!chosen(pool.choose(&paid(), now, 0)).trial);
        assert_eq!(series(&mut pool, &paid(), now, 2), [1, 1]);
        apply(&mut pool, 1, Effect::KeyDoubted, now);
        assert_eq!(state(&pool, 1).until, Some(now.after(secs(300))), "a success forgives");
    }

    #[test]
    fn upstreams_own_rest_grows_only_to_the_usual_one() {
        let mut pool = pool_of(1);
        let mut now = START;
        for rest in [120, 240, 480, 900, 900] {
            apply(&mut pool, 1, Effect::AccountBusy { rest: secs(120) }, now);
            now = now.after(secs(rest));
            assert_eq!(state(&pool, 1).until, Some(now));
            assert!(chosen(pool.choose(&paid(), now, 0)).trial);
        }
    }

    #[test]
    fn a_trial_without_a_verdict_passes_to_the_next_request() {
        for settle in [Effect::None, Effect::Affords { tokens: None }, Effect::FreeLaneLimited { until: at(900) }] {
            let mut pool = pool_of(1);
            apply(&mut pool, 1, Effect::AccountBusy { rest: secs(60) }, START);
            assert!(chosen(pool.choose(&paid(), at(60), 0)).trial);
            apply(&mut pool, 1, settle, at(61));
            assert!(chosen(pool.choose(&paid(), at(61), 0)).trial, "the next one tries");
            pool.trial_over(KeyId(1));
            assert!(chosen(pool.choose(&paid(), at(61), 0)).trial);
            none(pool.choose(&paid(), at(120), 0));
            assert!(chosen(pool.choose(&paid(), at(121), 0)).trial, "one never settled is over some day");
            pool.invariants();
        }
    }

    #[test]
    fn an_old_success_does_not_bring_a_key_back() {
        let mut pool = pool_of(1);
        apply(&mut pool, 1, Effect::AccountEmpty, START);
        assert!(!pool.succeeded(KeyId(1), at(1)));
        assert_eq!(health(&pool, 1), Health::Depleted);
    }

    #[test]
    fn failed_is_final_and_needs_confirmation() {
        let mut pool = pool_of(1);
        apply(&mut pool, 1, Effect::KeyDoubted, START);
        assert_eq!(health(&pool, 1), Health::Degraded);
        assert_eq!(pool.evidence(KeyId(1), &Evidence::Rejected, at(1), 0), k(&[1]));
        assert_eq!((health(&pool, 1), state(&pool, 1).cause), (Health::Failed, Cause::Rejected));
        pool.evidence(KeyId(1), &Evidence::Key(Default::default()), at(2), 0);
        pool.evidence(KeyId(1), &Evidence::Credits { remaining: usd("5") }, at(3), 0);
        pool.tick(at(1_000_000));
        assert_eq!(health(&pool, 1), Health::Failed);
        assert_eq!(pool.due_probes(at(1_000_000), 9, 0), []);
        pool.set_health(KeyId(1), Health::Healthy, None, at(1_000_000));
        assert_eq!(series(&mut pool, &paid(), at(1_000_000), 1), [1]);
        pool.invariants();
    }

    #[test]
    fn a_bar_is_final_only_when_the_trial_meets_it_again() {
        let told = |pool: &Pool| (state(pool, 1).health, state(pool, 1).cause);
        let barred_again = |back: &dyn Fn(&mut Pool) -> Timestamp| {
            let mut pool = pool_of(1);
            for second in 0..5 {
                apply(&mut pool, 1, Effect::KeyBarred, at(second));
            }
            assert_eq!(told(&pool), (Health::Degraded, Cause::Barred), "however many were under way");
            assert_eq!(pool.due_probes(at(5), 9, 0), k(&[1]), "asked about at once");
            let now = back(&mut pool);
            apply(&mut pool, 1, Effect::KeyBarred, now);
            (pool, now)
        };
        // A rest is over, or a free question was answered: the request that then tries decides.
        for answered in [false, true] {
            let (pool, _) = barred_again(&|pool| {
                let now = at(if answered { 10 } else { 304 });
                if answered {
                    pool.evidence(KeyId(1), &Evidence::Key(Default::default()), now, 0);
                }
                assert!(chosen(pool.choose(&paid(), now, 0)).trial);
                now
            });
            assert_eq!(told(&pool), (Health::Failed, Cause::Barred));
        }
        // Nobody has tried: an answer to an older request confirms nothing.
        let (mut pool, now) = barred_again(&|pool| {
            pool.evidence(KeyId(1), &Evidence::Key(Default::default()), at(10), 0);
            at(11)
        });
        assert_eq!(told(&pool), (Health::Degraded, Cause::Barred));
        pool.evidence(KeyId(1), &Evidence::Key(Default::default()), now, 0);
        assert_eq!(told(&pool), (Health::Degraded, Cause::Barred), "a free question clears the first doubt only");
        // A success in between makes the next one the first again.
        assert!(chosen(pool.choose(&paid(), at(10_000), 0)).trial && pool.succeeded(KeyId(1), at(10_000)));
        apply(&mut pool, 1, Effect::KeyBarred, at(10_001));
        assert_eq!(told(&pool), (Health::Degraded, Cause::Barred));
    }

    #[test]
    fn a_key_takes_its_account_along() {
        let mut pool = accounts();
        pool.assign_account(KeyId(4), AccountId(2));
        pool.assign_account(KeyId(1), AccountId(2));
        pool.assign_account(KeyId(2), AccountId(7));
        pool.assign_account(KeyId(99), AccountId(7));
        pool.invariants();
        assert_eq!(apply(&mut pool, 3, Effect::AccountEmpty, START), k(&[1, 3, 4]));
        pool.remove(KeyId(3));
        assert_eq!(apply(&mut pool, 3, Effect::AccountEmpty, START), [], "a key that is gone moves nothing");
    }
}
