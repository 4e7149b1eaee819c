//! What a free probe proves. Evidence beats timers, but not an operator's word.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::money::Usd;

use super::health::Trouble;
use super::probes::CONFIRM_GAP;
use super::slot::Slot;
use super::{Cause, Evidence, Health, KeyFacts, KeyId, Pool};

/// Statements that OpenRouter does not know a key that make it final: the first may be one of its bad days.
const REJECTIONS_FINAL: u8 = 2;
/// A key that expires is asked about just after.
const EXPIRY_SLACK: Duration = Duration::from_secs(1);

impl Pool {
    /// Take in what a probe of this key found out. The caller leaves out answers to questions that were asked before
    /// the key's present state began ([`super::KeyState::since`]). `roll` spreads the questions that follow.
    ///
    /// Returns the keys whose state changed, to be saved.
    pub fn evidence(&mut self, id: KeyId, evidence: &Evidence, now: Timestamp, roll: u64) -> Vec<KeyId> {
        self.see(now);
        let Some(place) = self.places.get(&id).copied() else { return Vec::new() };
        let before = self.state(id).cloned();
        let mut changed = match evidence {
            Evidence::Silent => Vec::new(),
            Evidence::Rejected => self.rejected(place, now, roll),
            Evidence::Key(facts) => self.facts(place, facts, now, roll),
            Evidence::Credits { remaining } => self.credits(place, *remaining, now, roll),
        };
        self.edit(place, |slot, policy| {
            slot.schedule(policy, now, roll);
            let earlier = match evidence {
                Evidence::Rejected => Some(now.after(CONFIRM_GAP)),
                Evidence::Key(facts) => facts.expires_at.map(|at| at.after(EXPIRY_SLACK)),
                Evidence::Credits { .. } | Evidence::Silent => None,
            };
            if let Some(earlier) = earlier {
                slot.state.probe_at = slot.state.probe_at.map(|at| at.min(earlier));
            }
        });
        if before.as_ref() != self.state(id) && !changed.contains(&id) {
            changed.push(id);
        }
        changed
    }

    /// `GET /key` says 401. With a request's 401, or another probe's, that is final; alone it is a doubt.
    fn rejected(&mut self, place: usize, now: Timestamp, roll: u64) -> Vec<KeyId> {
        let rejections = self.edit(place, |slot, _| {
            slot.rejections = slot.rejections.saturating_add(1);
            slot.rejections
        });
        let confirmed = rejections.is_some_and(|rejections| rejections >= REJECTIONS_FINAL);
        self.afflict(&[place], if confirmed { Trouble::Rejected } else { Trouble::Doubted }, now, roll)
    }

    fn facts(&mut self, place: usize, facts: &KeyFacts, now: Timestamp, roll: u64) -> Vec<KeyId> {
        self.edit(place, |slot, _| {
            slot.state.verified = true;
            slot.rejections = 0;
            slot.state.limit = facts.limit.and(facts.limit_remaining).map(|left| slot.left_now(left));
            slot.learned();
        });
        self.regate(place, now);
        let used_up = facts.limit.is_some() && facts.limit_remaining.is_some_and(|left| left <= Usd::ZERO);
        if facts.expires_at.is_some_and(|at| at <= now) {
            return self.afflict(&[place], Trouble::Expired, now, roll);
        }
        if used_up {
            return self.afflict(&[place], Trouble::KeyLimit { until: facts.resets_at }, now, roll);
        }
        self.edit(place, |slot, _| {
            if slot.is_cleared_by_key() {
                slot.come_back(Cause::Evidence, now);
            }
        });
        Vec::new()
    }

    /// What is left on the account counts for all its keys.
    fn credits(&mut self, place: usize, remaining: Usd, now: Timestamp, roll: u64) -> Vec<KeyId> {
        let places = self.siblings(place);
        let mut changed = Vec::new();
        for place in &places {
            let learned = self.edit(*place, |slot, policy| {
                let before = slot.state.credit;
                slot.state.credit = Some(slot.left_now(remaining));
                slot.learned();
                let empty = (slot.state.health, slot.state.cause) == (Health::Depleted, Cause::Credit);
                let comes_back = empty && remaining > Usd::ZERO && policy.credit_recheck;
                if comes_back {
                    slot.come_back(Cause::Evidence, now);
                    slot.schedule(policy, now, roll);
                }
                (comes_back || before != slot.state.credit).then_some(slot.id)
            });
            changed.extend(learned.flatten());
        }
        // Not before all of them know it.
        for place in &places {
            self.regate(*place, now);
        }
        if remaining <= Usd::ZERO {
            let struck = self.afflict(&places, Trouble::Credit, now, roll);
            changed.extend(struck);
            changed.sort_unstable();
            changed.dedup();
        }
        changed
    }
}

impl Slot {
    /// Whether a 200 of `GET /key`, with something left of its limit, brings the key back.
    ///
    /// A doubted key is cleared the first time. When it is doubted again without having served in between, requests
    /// and probes contradict each other: then it rests until its timer.
    fn is_cleared_by_key(&self) -> bool {
        match (self.state.health, self.state.cause) {
            (Health::Depleted, Cause::KeyLimit) => true,
            (Health::Degraded, Cause::Doubted | Cause::Barred) => self.state.strikes <= 1,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{AccountId, Effect, KeyState, Policy};
    use super::*;

    const OPEN: KeyFacts =
        KeyFacts { limit: None, limit_remaining: None, resets_at: None, usage: None, account: None, expires_at: None };

    fn limited(left: &str, resets_at: Option<Timestamp>) -> Evidence {
        let (limit, limit_remaining) = (Some(usd("10")), Some(usd(left)));
        Evidence::Key(KeyFacts { limit, limit_remaining, resets_at, ..OPEN })
    }

    fn credits(remaining: &str) -> Evidence {
        Evidence::Credits { remaining: usd(remaining) }
    }

    /// What evidence makes of a key that an effect has brought down at second 10.
    fn check(effect: Effect, evidence: Evidence, health: Health, cause: Cause, until: Option<Timestamp>) {
        let mut pool = pool_of(1);
        apply(&mut pool, 1, effect.clone(), at(10));
        pool.evidence(KeyId(1), &evidence, at(20), 0);
        pool.invariants();
        let state = state(&pool, 1);
        assert_eq!((state.health, state.cause, state.until), (health, cause, until), "{effect:?}, then {evidence:?}");
    }

    #[test]
    fn evidence_beats_timers() {
        use Effect::{AccountEmpty, KeyDoubted};
        use Health::{Degraded, Depleted, Failed, Healthy, RateLimited};
        let capped = |until| Effect::KeyCapped { until };
        let busy = || Effect::AccountBusy { rest: secs(60) };
        let (reset, later) = (Some(at(5_000)), Some(at(9_000)));
        let open = || Evidence::Key(OPEN);
        let past = || Evidence::Key(KeyFacts { expires_at: Some(at(20)), ..OPEN });

        check(KeyDoubted, open(), Healthy, Cause::Evidence, None);
        check(KeyDoubted, Evidence::Rejected, Failed, Cause::Rejected, None);
        check(KeyDoubted, Evidence::Silent, Degraded, Cause::Doubted, Some(at(310)));
        check(KeyDoubted, past(), Failed, Cause::Expired, None);
        check(KeyDoubted, limited("0", later), Depleted, Cause::KeyLimit, later);

        check(capped(None), limited("0", later), Depleted, Cause::KeyLimit, later);
        check(capped(reset), limited("-0.1", later), Depleted, Cause::KeyLimit, later);
        check(capped(reset), limited("0", None), Depleted, Cause::KeyLimit, reset);
        check(capped(reset), limited("2", later), Healthy, Cause::Evidence, None);
        check(capped(None), open(), Healthy, Cause::Evidence, None);
        check(capped(reset), credits("50"), Depleted, Cause::KeyLimit, reset);
        check(capped(reset), credits("0"), Depleted, Cause::Credit, None);
        check(capped(reset), Evidence::Rejected, Depleted, Cause::KeyLimit, reset);

        check(AccountEmpty, credits("0.01"), Healthy, Cause::Evidence, None);
        check(AccountEmpty, credits("0"), Depleted, Cause::Credit, None);
        check(AccountEmpty, credits("-3"), Depleted, Cause::Credit, None);
        check(AccountEmpty, open(), Depleted, Cause::Credit, None);
        check(AccountEmpty, limited("5", later), Depleted, Cause::Credit, None);
        check(AccountEmpty, Evidence::Silent, Depleted, Cause::Credit, None);
        check(Effect::AccountCapped { until: reset }, open(), Depleted, Cause::Budget, reset);
        check(Effect::AccountCapped { until: reset }, credits("50"), Depleted, Cause::Budget, reset);

        check(busy(), open(), RateLimited, Cause::InFlight, Some(at(70)));
        check(busy(), credits("0"), Depleted, Cause::Credit, None);
        check(Effect::None, credits("0"), Depleted, Cause::Credit, None);
        check(Effect::None, limited("0", None), Depleted, Cause::KeyLimit, None);
        check(Effect::None, past(), Failed, Cause::Expired, None);
        check(Effect::None, Evidence::Rejected, Degraded, Cause::Doubted, Some(at(320)));
        check(Effect::None, Evidence::Silent, Healthy, Cause::Fresh, None);
        check(Effect::KeyBarred, open(), Healthy, Cause::Evidence, None);
        check(Effect::KeyBarred, Evidence::Silent, Degraded, Cause::Barred, Some(at(310)));
        check(Effect::KeyBarred, Evidence::Rejected, Degraded, Cause::Doubted, Some(at(320)));
        check(Effect::KeyBarred, limited("0", later), Depleted, Cause::KeyLimit, later);
    }

    #[test]
    fn a_rejection_out_of_the_blue_needs_a_second_one() {
        for effect in [Effect::None, Effect::AccountEmpty] {
            let mut pool = pool_of(1);
            apply(&mut pool, 1, effect.clone(), START);
            pool.evidence(KeyId(1), &Evidence::Rejected, at(1), 0);
            assert_ne!(health(&pool, 1), Health::Failed);
            assert_eq!(pool.due_probes(at(31), 9, 0), k(&[1]), "asked again soon");
            pool.evidence(KeyId(1), &Evidence::Key(OPEN), at(31), 0);
            pool.evidence(KeyId(1), &Evidence::Rejected, at(600), 0);
            assert_ne!(health(&pool, 1), Health::Failed, "not two in a row");
            pool.evidence(KeyId(1), &Evidence::Rejected, at(630), 0);
            assert_eq!(health(&pool, 1), Health::Failed);
        }
    }

    #[test]
    fn a_depleted_key_that_requests_doubt_fails_on_the_first_rejection() {
        let mut pool = pool_of(1);
        apply(&mut pool, 1, Effect::AccountEmpty, START);
        apply(&mut pool, 1, Effect::KeyDoubted, START);
        assert_eq!(health(&pool, 1), Health::Depleted);
        pool.evidence(KeyId(1), &Evidence::Rejected, at(1), 0);
        assert_eq!(health(&pool, 1), Health::Failed);
    }

    #[test]
    fn credit_counts_for_the_whole_account() {
        let mut pool = pool_of(0);
        for (id, account) in [(1, Some(1)), (2, Some(1)), (3, Some(2))] {
            add(&mut pool, id, account);
        }
        let mut changed = pool.evidence(KeyId(2), &credits("0"), at(1), 0);
        changed.sort_unstable();
        assert_eq!((changed, pool.counts()), (k(&[1, 2]), [1, 2, 0, 0, 0]));
        let mut changed = pool.evidence(KeyId(1), &credits("4"), at(2), 0);
        changed.sort_unstable();
        assert_eq!((changed, pool.counts()), (k(&[1, 2]), [3, 0, 0, 0, 0]));
        assert_eq!(pool.evidence(KeyId(1), &Evidence::Silent, at(3), 9), k(&[1]), "its next question, to be saved");
        assert!((1..=2).all(|id| state(&pool, id).remaining == Some(usd("4"))));
        pool.assign_account(KeyId(3), AccountId(1));
        assert_eq!(pool.evidence(KeyId(9), &credits("0"), at(4), 0), []);
        pool.invariants();
    }

    #[test]
    fn credit_revives_only_where_the_policy_says_so() {
        let mut pool = pool_with(Policy { credit_recheck: false, ..Policy::default() }, 1);
        apply(&mut pool, 1, Effect::AccountEmpty, START);
        pool.evidence(KeyId(1), &credits("5"), at(1), 0);
        assert_eq!((health(&pool, 1), state(&pool, 1).remaining), (Health::Depleted, Some(usd("5"))));
    }

    #[test]
    fn an_operators_depleted_stays_whatever_evidence_says() {
        let mut pool = pool_of(1);
        pool.set_health(KeyId(1), Health::Depleted, None, START);
        pool.evidence(KeyId(1), &credits("5"), at(1), 0);
        pool.evidence(KeyId(1), &Evidence::Key(OPEN), at(1), 0);
        pool.tick(at(10_000_000));
        assert_eq!((health(&pool, 1), state(&pool, 1).cause), (Health::Depleted, Cause::Operator));
    }

    #[test]
    fn a_key_revived_by_evidence_is_on_trial_and_must_not_flap() {
        let mut pool = pool_of(1);
        apply(&mut pool, 1, Effect::KeyDoubted, START);
        pool.evidence(KeyId(1), &Evidence::Key(OPEN), at(1), 0);
        assert!(chosen(pool.choose(&paid(), at(1), 0)).trial);
        apply(&mut pool, 1, Effect::KeyDoubted, at(2));
        pool.evidence(KeyId(1), &Evidence::Key(OPEN), at(3), 0);
        assert_eq!((health(&pool, 1), state(&pool, 1).until), (Health::Degraded, Some(at(602))));

        let mut pool = pool_of(1);
        apply(&mut pool, 1, Effect::AccountEmpty, START);
        assert_eq!(state(&pool, 1).probe_at, Some(START), "asked at once");
        pool.evidence(KeyId(1), &credits("0.01"), at(1), 0);
        assert!(chosen(pool.choose(&paid(), at(1), 0)).trial);
        apply(&mut pool, 1, Effect::AccountEmpty, at(2));
        assert!(state(&pool, 1).probe_at >= Some(at(1_202)), "but not at once again");
    }

    #[test]
    fn what_is_left_is_the_smaller_of_limit_and_credit() {
        let mut pool = pool_of(0);
        let saved = KeyState { remaining: Some(usd("0.5")), verified: true, ..KeyState::fresh(START) };
        load(&mut pool, 1, None, saved, START);
        let mut check = |evidence: Evidence, left: Option<&str>| {
            pool.evidence(KeyId(1), &evidence, at(1), 0);
            assert_eq!(state(&pool, 1).remaining, left.map(usd), "{evidence:?}");
        };
        check(Evidence::Silent, Some("0.5"));
        check(limited("3", None), Some("3"));
        check(credits("2"), Some("2"));
        check(credits("7"), Some("3"));
        check(Evidence::Key(OPEN), Some("7"));
    }

    #[test]
    fn a_probe_verifies_and_expiry_is_looked_at_in_time() {
        let mut pool = pool_of(0);
        load(&mut pool, 1, None, KeyState::fresh(START), START);
        let facts = KeyFacts { expires_at: Some(at(500)), ..OPEN };
        assert_eq!(pool.evidence(KeyId(1), &Evidence::Key(facts.clone()), at(1), 0), k(&[1]));
        assert!(state(&pool, 1).verified);
        assert_eq!(state(&pool, 1).probe_at, Some(at(501)));
        pool.evidence(KeyId(1), &Evidence::Key(facts), at(501), 0);
        assert_eq!(state(&pool, 1).cause, Cause::Expired);
        pool.invariants();
    }
}
