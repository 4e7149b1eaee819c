//! What donors allow, and the money of keys with limits: holds, leases, and when a key with nothing left is back.
//!
//! A hold is taken in the step that chooses the key ([`Pool::choose`]), so no two requests are promised the same money.

use std::sync::Arc;

use crate::clock::{Day, Timestamp};
use crate::money::{Ended, Limits, ModelGlobs, Purse, PurseFigures, Usd};

use super::slot::Slot;
use super::{AccountId, KeyId, Pool};

/// What is under way on a key: two looks that are equal had nothing between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Attempts under way.
    pub in_flight: u32,
    /// Attempts ever begun in this process.
    pub begun: u64,
}

/// Sums over the keys whose money is limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolMoney {
    /// What requests under way can cost at most.
    pub held: Usd,
    /// What unknown costs can come to at most.
    pub suspense: Usd,
    /// Leased and not held, or lost with a process and not accounted for yet.
    pub stranded: Usd,
}

impl Pool {
    /// Set what a donor allows. Returns whether the key's money is limited: then [`Pool::sync_purse`] must tell what was spent
    /// before, as days are known only of keys that have caps. For the first time the key spends nothing until then.
    pub fn set_limits(&mut self, id: KeyId, limits: Arc<Limits>, now: Timestamp) -> bool {
        self.see(now);
        let Some(place) = self.places.get(&id).copied() else { return false };
        let changed = self.edit(place, |slot, _| {
            let was_strict = slot.limits.are_strict();
            match &mut slot.purse {
                Some(purse) => purse.set_limits(limits.caps, limits.reserve),
                None if limits.are_strict() => {
                    let figures = PurseFigures { others_unbounded: true, ..PurseFigures::default() };
                    slot.purse = Some(Box::new(Purse::new(limits.caps, limits.reserve, figures, slot.in_flight)));
                }
                None => {}
            }
            slot.limits = limits;
            (was_strict, slot.limits.are_strict())
        });
        self.models = None;
        self.regate(place, now);
        let Some((was, is)) = changed else { return false };
        self.strict_keys = self.strict_keys - usize::from(was) + usize::from(is);
        self.wishes.insert(id);
        is
    }

    /// Take over what the store knows about a key's money. It must have been read since the last attempt on the key
    /// ended ([`Pool::ended`], [`Pool::found`]), as [`Pool::purse_events`] tells.
    pub fn sync_purse(&mut self, id: KeyId, figures: PurseFigures, now: Timestamp) {
        let Some(place) = self.places.get(&id).copied() else { return };
        self.edit(place, |slot, _| {
            if let Some(purse) = &mut slot.purse {
                // Another process has paid with it, too.
                slot.spent = slot.spent.max(figures.total);
                purse.sync(figures);
            }
        });
        self.regate_account(place, now);
        self.wishes.insert(id);
    }

    /// How often something was booked on this key: what was read of its money before is out of date.
    pub fn purse_events(&self, id: KeyId) -> u64 {
        self.key_slot(id).map_or(0, |slot| slot.purse_events)
    }

    /// What a key's donor allows.
    pub fn limits(&self, id: KeyId) -> Option<Arc<Limits>> {
        self.key_slot(id).map(|slot| Arc::clone(&slot.limits))
    }

    /// Whether any key has limits on money: only then a request's worst cost need be known.
    pub fn has_strict(&self) -> bool {
        self.strict_keys > 0
    }

    /// The models that some donor allows; all of them in a pool without keys.
    pub fn models(&mut self) -> Arc<ModelGlobs> {
        let lists = self.slots.iter().flatten().map(|slot| &slot.limits.models);
        Arc::clone(self.models.get_or_insert_with(|| Arc::new(ModelGlobs::any_of(lists))))
    }

    /// An attempt is over, `at` that time. `held` is what was held for it. Returns whether that opened or closed the key.
    pub fn ended(&mut self, id: KeyId, held: Option<Usd>, how: Ended, at: Timestamp) -> bool {
        let Some(place) = self.places.get(&id).copied() else { return false };
        self.edit(place, |slot, _| {
            slot.in_flight = slot.in_flight.saturating_sub(1);
            if let Ended::Cost(cost) = how {
                slot.spent = slot.spent.saturating_add(cost);
            }
            slot.purse_events += u64::from(how != Ended::Unsent);
            slot.on_purse(|purse| purse.ended(held, how, at.day()));
        });
        self.wish(place, id);
        self.regate_account(place, at)
    }

    /// The cost of an attempt in suspense is known, whose end was on `day`. Returns whether that opened or closed the key.
    pub fn found(&mut self, id: KeyId, held: Option<Usd>, cost: Usd, day: Day, now: Timestamp) -> bool {
        let Some(place) = self.places.get(&id).copied() else { return false };
        self.edit(place, |slot, _| {
            slot.spent = slot.spent.saturating_add(cost);
            slot.purse_events += 1;
            slot.on_purse(|purse| purse.found(held, cost, day));
        });
        self.wish(place, id);
        self.regate_account(place, now)
    }

    /// What is held on a key and not leased: to be drawn before anything held may be sent. `None`: the key has left, and what
    /// was held on it is covered by nothing.
    pub fn missing(&self, id: KeyId) -> Option<Usd> {
        self.key_slot(id)?.purse.as_deref().map(Purse::missing)
    }

    /// What was missing for a hold is durably leased, or will not be.
    pub fn drawn(&mut self, id: KeyId, missing: Usd, granted: bool) {
        self.on_purse(id, |purse| purse.drawn(missing, granted));
    }

    /// So much more is durably leased in advance.
    pub fn leased(&mut self, id: KeyId, amount: Usd) {
        self.on_purse(id, |purse| purse.leased(amount));
    }

    /// What other processes have leased on this key, or, with `unbounded`, have used it for.
    pub fn others_are(&mut self, id: KeyId, others: Usd, unbounded: bool, now: Timestamp) {
        self.on_purse(id, |purse| purse.others_are(others, unbounded));
        if let Some(place) = self.places.get(&id).copied() {
            self.regate_account(place, now);
        }
    }

    /// A process that is gone had spent this on the key, on `day`.
    pub fn recovered(&mut self, id: KeyId, amount: Usd, day: Day, now: Timestamp) {
        let Some(place) = self.places.get(&id).copied() else { return };
        self.edit(place, |slot, _| {
            slot.spent = slot.spent.saturating_add(amount);
            slot.purse_events += 1;
            slot.on_purse(|purse| purse.settle(amount, day));
        });
        self.regate_account(place, now);
    }

    /// The books of this key are not sound, or are again.
    pub fn set_unsound(&mut self, id: KeyId, unsound: bool, now: Timestamp) {
        let Some(place) = self.places.get(&id).copied() else { return };
        self.edit(place, |slot, _| slot.unsound = unsound);
        self.regate(place, now);
    }

    /// Keys that have, or had, limits on money.
    pub fn keys_with_purse(&self) -> Vec<KeyId> {
        self.slots.iter().flatten().filter(|slot| slot.purse.is_some()).map(|slot| slot.id).collect()
    }

    /// Keys of which other processes have leased or used something.
    pub fn keys_of_others(&self) -> Vec<KeyId> {
        let with_purse = self.slots.iter().flatten().filter_map(|slot| Some((slot.id, slot.purse.as_deref()?)));
        with_purse.filter(|(_, purse)| purse.others() > Usd::ZERO || purse.has_lost()).map(|(id, _)| id).collect()
    }

    /// Keys whose leases should grow (above zero) or shrink (below), at most `limit` of those that may need it. What is
    /// given back is no longer counted on from here on.
    pub fn lease_wishes(&mut self, permille: u32, limit: usize, now: Timestamp) -> Vec<(KeyId, Usd)> {
        let mut wishes = Vec::new();
        while wishes.len() < limit
            && let Some(id) = self.wishes.pop_first()
        {
            let Some(place) = self.places.get(&id).copied() else { continue };
            let others = self.slot(place).map(|slot| self.others(slot)).unwrap_or_default();
            let wish = self.edit(place, |slot, _| slot.lease_wish(permille, others, now)).unwrap_or_default();
            if wish != Usd::ZERO {
                wishes.push((id, wish));
            }
        }
        wishes
    }

    /// Whether a key's lease is too small or too large by the last look at it ([`Pool::lease_wishes`]), so that the next should
    /// come soon.
    pub fn is_lease_off(&self, id: KeyId) -> bool {
        self.key_slot(id).and_then(|slot| slot.purse.as_deref()).is_some_and(Purse::is_lease_off)
    }

    /// The money of all keys with limits together.
    pub fn money(&self) -> PoolMoney {
        let purses = self.slots.iter().flatten().filter_map(|slot| slot.purse.as_deref());
        purses.fold(PoolMoney::default(), |sum, purse| PoolMoney {
            held: sum.held.saturating_add(purse.held()),
            suspense: sum.suspense.saturating_add(purse.suspense()),
            stranded: sum.stranded.saturating_add(purse.stranded()),
        })
    }

    /// A refusal has told that no more than this can be paid with a key just now.
    pub fn affords(&mut self, id: KeyId, amount: Usd, now: Timestamp) {
        let Some(place) = self.places.get(&id).copied() else { return };
        self.edit(place, |slot, _| slot.affords = Some((amount, slot.spent)));
        self.regate(place, now);
    }

    /// What is under way on a key.
    pub fn activity(&self, id: KeyId) -> Option<Activity> {
        self.key_slot(id).map(|slot| Activity { in_flight: slot.in_flight, begun: slot.begun })
    }

    /// Ask about this key at the next opportunity.
    pub fn ask_now(&mut self, id: KeyId, now: Timestamp) {
        let Some(place) = self.places.get(&id).copied() else { return };
        self.edit(place, |slot, _| slot.state.probe_at = slot.state.probe_at.map(|at| at.min(now)));
    }

    fn key_slot(&self, id: KeyId) -> Option<&Slot> {
        self.places.get(&id).and_then(|place| self.slot(*place))
    }

    fn on_purse(&mut self, id: KeyId, change: impl FnOnce(&mut Purse)) {
        let Some(place) = self.places.get(&id).copied() else { return };
        self.edit(place, |slot, _| slot.on_purse(change));
    }

    /// Find out whether donor and books let the key serve. Returns whether that has changed.
    pub(super) fn regate(&mut self, place: usize, now: Timestamp) -> bool {
        let Some(slot) = self.slot(place) else { return false };
        let others = self.others(slot);
        // Nearly always: then no index need be looked at.
        if !slot.gate_turns(others, now) {
            return false;
        }
        self.edit(place, |slot, _| slot.regate(others, now)).unwrap_or(false)
    }

    /// Something was spent on a key, or is free again: that may open or close it, and the keys that share its account's
    /// credit. Returns whether it did so with this one.
    fn regate_account(&mut self, place: usize, now: Timestamp) -> bool {
        if self.strict_keys == 0 {
            return false;
        }
        let Some(slot) = self.slot(place) else { return false };
        let (account, has_purse) = (slot.account, slot.purse.is_some());
        let changed = has_purse && self.regate(place, now);
        if let Some(account) = account.filter(|account| self.accounts.is_shared(*account)) {
            for other in self.places_with_purse(account) {
                self.regate(other, now);
            }
        }
        changed
    }

    fn places_with_purse(&self, account: AccountId) -> Vec<usize> {
        let has_purse = |place: &usize| self.slot(*place).is_some_and(|slot| slot.purse.is_some());
        let places = self.accounts.members(account).filter_map(|id| self.places.get(&id).copied());
        places.filter(has_purse).collect()
    }

    /// Somebody should look whether this key's lease is still about right.
    pub(super) fn wish(&mut self, place: usize, id: KeyId) {
        if self.slot(place).is_some_and(|slot| slot.purse.is_some()) {
            self.wishes.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Choice, Evidence, Health, Lane, NoKey, Unavailable, Want, Worst};
    use super::*;
    use crate::money::{Caps, ModelGlobs, Window};

    fn pico(amount: i64) -> Usd {
        Usd::from_pico(amount)
    }

    fn costing(amount: i64) -> Want<'static> {
        Want { worst: Worst::Cost(pico(amount)), ..paid() }
    }

    fn limits(caps: &[(Window, i64)]) -> Limits {
        let caps: Caps = caps.iter().map(|(window, cap)| (*window, pico(*cap))).collect();
        Limits { caps, ..Limits::default() }
    }

    /// Set limits on a key of which nothing was spent yet.
    fn limit(pool: &mut Pool, id: u32, limits: Limits, now: Timestamp) {
        if pool.set_limits(KeyId(id), Arc::new(limits), now) {
            pool.sync_purse(KeyId(id), PurseFigures::default(), now);
        }
        pool.invariants();
    }

    fn why(choice: Choice) -> NoKey {
        none(choice).reason
    }

    #[test]
    fn small_requests_drain_a_poor_key_and_big_ones_go_to_the_rich() {
        let mut pool = pool_of(3);
        limit(&mut pool, 1, limits(&[(Window::Total, 50)]), START);
        limit(&mut pool, 2, limits(&[(Window::Total, 1_000)]), START);
        limit(&mut pool, 3, limits(&[(Window::Day, 1_000)]), START);
        assert_eq!(series(&mut pool, &costing(100), START, 4), [2, 3, 2, 3]);
        assert_eq!(series(&mut pool, &costing(25), START, 3), [1, 2, 3]);
        assert_eq!(series(&mut pool, &costing(25), START, 3), [1, 2, 3], "to the last of it");
        assert_eq!(series(&mut pool, &costing(1), START, 3), [2, 3, 2]);
        assert_eq!(why(pool.choose(&costing(2_000), START, 0)), NoKey::TooDear { leaves: pico(1_000) });
        assert_eq!(why(pool.choose(&costing(900), START, 0)), NoKey::AllBusy, "it is only held");
        pool.invariants();
    }

    #[test]
    fn a_hold_is_settled_by_the_true_cost_once() {
        let mut pool = pool_of(1);
        limit(&mut pool, 1, limits(&[(Window::Total, 100)]), START);
        let hold = chosen(pool.choose(&costing(80), START, 0)).hold.expect("held");
        assert_eq!((hold.amount, hold.missing), (pico(80), pico(80)));
        pool.drawn(KeyId(1), hold.missing, true);
        assert!(!pool.ended(KeyId(1), Some(pico(80)), Ended::Cost(pico(30)), START));
        assert!(matches!(pool.choose(&costing(70), START, 0), Choice::Key(_)));
        assert_eq!(why(pool.choose(&costing(1), START, 0)), NoKey::AllBusy);
    }

    #[test]
    fn only_what_is_booked_puts_figures_out_of_date() {
        let mut pool = pool_of(1);
        limit(&mut pool, 1, limits(&[(Window::Total, 100)]), START);
        let hold = |pool: &mut Pool| drop(chosen(pool.choose(&costing(10), START, 0)));
        hold(&mut pool);
        pool.drawn(KeyId(1), pico(10), true);
        pool.leased(KeyId(1), pico(20));
        pool.others_are(KeyId(1), pico(5), false, START);
        pool.ended(KeyId(1), Some(pico(10)), Ended::Unsent, START);
        assert_eq!(pool.purse_events(KeyId(1)), 0, "or a key in use could never be told what the store knows");
        hold(&mut pool);
        pool.ended(KeyId(1), Some(pico(10)), Ended::Suspended, START);
        pool.found(KeyId(1), Some(pico(10)), pico(1), START.day(), START);
        pool.recovered(KeyId(1), pico(1), START.day(), START);
        assert_eq!(pool.purse_events(KeyId(1)), 3);
    }

    #[test]
    fn what_is_held_on_a_key_that_left_is_covered_by_nothing() {
        let mut pool = pool_of(1);
        limit(&mut pool, 1, limits(&[(Window::Total, 100)]), START);
        chosen(pool.choose(&costing(10), START, 0));
        assert_eq!(pool.missing(KeyId(1)), Some(pico(10)));
        pool.remove(KeyId(1));
        assert_eq!(pool.missing(KeyId(1)), None);
    }

    #[test]
    fn a_clock_set_back_is_told_once_and_a_purse_outlives_its_limits() {
        let mut pool = pool_of(2);
        limit(&mut pool, 1, limits(&[(Window::Day, 100)]), START);
        limit(&mut pool, 1, Limits::default(), START);
        assert_eq!(pool.keys_with_purse(), k(&[1]));
        pool.tick(START.after(secs(3_600)));
        assert!(!pool.was_set_back());
        pool.tick(START);
        assert!(pool.was_set_back() && !pool.was_set_back());
    }

    #[test]
    fn a_key_with_nothing_left_leaves_rotation_and_is_back_at_the_windows_turn() {
        let mut pool = pool_of(2);
        limit(&mut pool, 1, limits(&[(Window::Day, 100)]), START);
        chosen(pool.choose(&costing(100), START, 0));
        assert!(pool.ended(KeyId(1), Some(pico(100)), Ended::Cost(pico(100)), START), "that closes it");
        pool.invariants();
        assert_eq!(pool.counts(), [1, 1, 0, 0, 0], "it shows as depleted");
        assert_eq!(health(&pool, 1), Health::Healthy, "though nothing is wrong with it");
        assert_eq!(series(&mut pool, &costing(0), START, 2), [2, 2]);
        pool.set_health(KeyId(2), Health::Failed, None, START);
        let midnight = START.next_midnight();
        let nobody = Unavailable { reason: NoKey::AllDepleted, until: Some(midnight) };
        assert_eq!(none(pool.choose(&costing(0), START, 0)), nobody);
        assert_eq!(series(&mut pool, &costing(60), midnight, 1), [1], "by itself");
        assert_eq!(pool.counts(), [1, 0, 0, 1, 0]);
        pool.invariants();
    }

    #[test]
    fn a_request_of_unknown_cost_does_not_touch_keys_with_limits() {
        let mut pool = pool_of(2);
        limit(&mut pool, 1, limits(&[(Window::Total, 100)]), START);
        let unknown = Want { worst: Worst::Unknown, ..paid() };
        assert_eq!(series(&mut pool, &unknown, START, 3), [2, 2, 2]);
        limit(&mut pool, 2, limits(&[(Window::Total, 100)]), START);
        // What is under way on key 2 has no bound, so nothing more is spent on it until that is settled.
        assert_eq!(why(pool.choose(&unknown, START, 0)), NoKey::Unbounded);
        assert_eq!(series(&mut pool, &costing(10), START, 2), [1, 1]);
    }

    #[test]
    fn limits_that_come_while_a_key_is_in_use_wait_for_what_is_under_way() {
        let mut pool = pool_of(1);
        chosen(pool.choose(&paid(), START, 0));
        assert!(pool.set_limits(KeyId(1), Arc::new(limits(&[(Window::Total, 100)])), START));
        assert_eq!(pool.counts(), [0, 1, 0, 0, 0]);
        let spent = PurseFigures { total: pico(20), ..PurseFigures::default() };
        let events = pool.purse_events(KeyId(1));
        pool.sync_purse(KeyId(1), spent, START);
        assert_eq!(why(pool.choose(&costing(1), START, 0)), NoKey::AllDepleted, "the attempt before has no bound");
        pool.ended(KeyId(1), None, Ended::Cost(pico(30)), START);
        assert_ne!(pool.purse_events(KeyId(1)), events);
        pool.invariants();
        assert_eq!(why(pool.choose(&costing(51), START, 0)), NoKey::TooDear { leaves: pico(50) });
    }

    #[test]
    fn a_pause_an_end_date_and_unsound_books_keep_a_key_out() {
        let check = |limits: Limits, unsound: bool| {
            let mut pool = pool_of(2);
            limit(&mut pool, 1, limits, START);
            pool.set_unsound(KeyId(1), unsound, START);
            pool.invariants();
            assert_eq!(series(&mut pool, &paid(), START, 2), [2, 2]);
            limit(&mut pool, 1, Limits::default(), START);
            pool.set_unsound(KeyId(1), false, START);
            assert_eq!(series(&mut pool, &paid(), START, 2), [1, 2]);
        };
        check(Limits { paused: true, ..Limits::default() }, false);
        check(Limits { expires_at: Some(START), ..Limits::default() }, false);
        check(Limits::default(), true);
    }

    #[test]
    fn a_key_leaves_by_itself_on_its_end_date() {
        let mut pool = pool_of(2);
        limit(&mut pool, 1, Limits { expires_at: Some(at(60)), ..Limits::default() }, START);
        assert_eq!(series(&mut pool, &paid(), at(59), 2), [1, 2]);
        assert_eq!(series(&mut pool, &paid(), at(60), 2), [2, 2]);
        pool.tick(at(60));
        pool.invariants();
        // Paused as well, it must not keep timers ringing.
        limit(&mut pool, 1, Limits { expires_at: Some(at(90)), paused: true, ..Limits::default() }, at(61));
        assert_eq!(series(&mut pool, &paid(), at(100), 1), [2]);
        pool.invariants();
    }

    #[test]
    fn only_models_that_the_donor_allows() {
        let mut pool = pool_of(2);
        limit(&mut pool, 1, Limits { models: ModelGlobs::new(["acme/*"]), ..Limits::default() }, START);
        let asking = |model| Want { model: Some(model), ..paid() };
        assert_eq!(series(&mut pool, &asking("acme/large"), START, 2), [1, 2]);
        assert_eq!(series(&mut pool, &asking("lab/x"), START, 2), [2, 2]);
        assert_eq!(series(&mut pool, &paid(), START, 2), [2, 2], "the account's default model is not known");
        let fallbacks = ["lab/x".into()];
        assert_eq!(series(&mut pool, &Want { fallbacks: &fallbacks, ..asking("acme/large") }, START, 2), [2, 2]);
        limit(&mut pool, 2, Limits { models: ModelGlobs::new(["acme/*"]), ..Limits::default() }, START);
        assert_eq!(why(pool.choose(&asking("lab/x"), START, 0)), NoKey::ModelNotAllowed);
    }

    #[test]
    fn never_more_at_a_time_than_the_donor_allows() {
        let mut pool = pool_of(1);
        limit(&mut pool, 1, Limits { concurrency: Some(2), ..Limits::default() }, START);
        assert_eq!(series(&mut pool, &paid(), START, 2), [1, 1]);
        assert_eq!(why(pool.choose(&paid(), START, 0)), NoKey::AllBusy);
        pool.ended(KeyId(1), None, Ended::Unsent, START);
        assert_eq!(series(&mut pool, &Want { lane: Lane::Free, ..paid() }, START, 1), [1]);
        assert_eq!(pool.activity(KeyId(1)), Some(Activity { in_flight: 2, begun: 3 }));
    }

    #[test]
    fn a_reserve_is_measured_against_what_openrouter_says_is_left() {
        let mut pool = pool_of(1);
        limit(&mut pool, 1, Limits { reserve: Some(usd("2")), ..Limits::default() }, START);
        assert_eq!(why(pool.choose(&costing(1), START, 0)), NoKey::AllDepleted, "nobody has told yet");
        assert_eq!(pool.due_probes(START, 9, 0), k(&[1]), "so it is asked");
        pool.evidence(KeyId(1), &Evidence::Credits { remaining: usd("5") }, at(1), 0);
        let want = |amount| Want { worst: Worst::Cost(usd(amount)), ..paid() };
        assert_eq!(why(pool.choose(&want("3.01"), at(1), 0)), NoKey::TooDear { leaves: usd("3") });
        assert_eq!(series(&mut pool, &want("3"), at(1), 1), [1]);
        pool.ended(KeyId(1), Some(usd("3")), Ended::Cost(usd("1")), at(2));
        assert_eq!(series(&mut pool, &want("2"), at(2), 1), [1], "its own spending since then counts");
    }

    #[test]
    fn leases_are_wished_for_by_keys_that_have_moved() {
        let mut pool = pool_of(2);
        limit(&mut pool, 1, limits(&[(Window::Total, 10_000)]), START);
        assert!(pool.is_lease_off(KeyId(1)) && !pool.is_lease_off(KeyId(2)), "nobody has looked yet");
        assert_eq!(pool.lease_wishes(10, 9, START), [(KeyId(1), pico(75))]);
        pool.leased(KeyId(1), pico(75));
        assert_eq!(pool.lease_wishes(10, 9, START), []);
        assert_eq!(series(&mut pool, &costing(25), START, 2), [1, 2]);
        assert!(!pool.is_lease_off(KeyId(1)), "50 are near enough");
        assert_eq!(series(&mut pool, &costing(50), START, 2), [1, 2]);
        assert!(pool.is_lease_off(KeyId(1)));
        assert_eq!(pool.lease_wishes(10, 9, START), [(KeyId(1), pico(75))]);
        limit(&mut pool, 1, Limits::default(), START);
        assert_eq!(pool.lease_wishes(10, 9, START), [], "a key without limits leases nothing");
    }

    #[test]
    fn a_request_too_dear_for_one_key_goes_to_the_richest_next() {
        let mut pool = pool_of(4);
        for (id, left) in [(1, "0.01"), (2, "0.01"), (3, "500")] {
            pool.evidence(KeyId(id), &Evidence::Credits { remaining: usd(left) }, START, 0);
        }
        let richest = Want { richest: true, ..paid() };
        assert_eq!(series(&mut pool, &richest, START, 2), [3, 3]);
        let tried = k(&[3]);
        assert_eq!(series(&mut pool, &Want { tried: &tried, ..richest }, START, 1), [4], "of key 4 nobody knows");
        pool.affords(KeyId(4), usd("0.005"), START);
        assert_eq!(series(&mut pool, &Want { tried: &tried, ..richest }, START, 1), [1]);
        pool.affords(KeyId(1), usd("9"), START);
        assert_eq!(series(&mut pool, &Want { tried: &tried, ..richest }, START, 1), [1], "no more than it has");
        pool.set_health(KeyId(4), Health::Healthy, None, START);
        assert_eq!(
            series(&mut pool, &Want { tried: &tried, ..richest }, START, 1),
            [4],
            "an operator's word clears it"
        );
    }

    #[test]
    fn what_others_have_leased_counts_as_spent() {
        let mut pool = pool_of(1);
        limit(&mut pool, 1, limits(&[(Window::Total, 100)]), START);
        pool.others_are(KeyId(1), pico(70), false, START);
        assert_eq!(why(pool.choose(&costing(31), START, 0)), NoKey::TooDear { leaves: pico(30) });
        pool.recovered(KeyId(1), pico(12), START.day(), START);
        pool.others_are(KeyId(1), Usd::ZERO, false, START);
        assert_eq!(why(pool.choose(&costing(89), START, 0)), NoKey::TooDear { leaves: pico(88) });
        pool.invariants();
    }
}
