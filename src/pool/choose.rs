//! Which key serves a request; and when none can, why, and until when.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::money::{Hold, Usd};

use super::accounts::Accounts;
use super::exclusions::LeftOut;
use super::gate::Fit;
use super::slot::{Slot, Trial};
use super::{Choice, Chosen, Health, KeyId, Lane, NoKey, Pool, Rotation, Unavailable, Want, Worst};

/// Timers run before the first look: thousands of keys that come due together must not delay one request. Each
/// further look, when the keys brought back so far do not suit, is behind twice as many.
const TIMERS_FIRST_LOOK: usize = 32;
/// What a key counts as having left of which OpenRouter has not said.
const LEFT_UNKNOWN: Usd = Usd::from_pico(5_000_000_000_000);
/// When everything hangs on a running trial, asking again is worth it soon: an answer's head is there in about that.
const TRIAL_USUAL: Duration = Duration::from_secs(1);
/// Beyond this a key that can take a request is no reason to have a client wait that others could serve if it asked for less.
const WORTH_WAITING: Duration = Duration::from_secs(3_600);

impl Pool {
    /// Choose a key for a request.
    ///
    /// A continuing conversation stays with its key while that key can serve it; everything else follows the
    /// rotation. Costs the same at any pool size, plus a step for each key the request itself rules out (tried,
    /// avoided account, known not to reach the model). `roll` decides under `weighted` only.
    ///
    /// A key on trial is handed out once, until [`Pool::succeeded`], [`Pool::apply`], [`Pool::trial_over`] or the
    /// trial's time limit settles it; beyond that by [`Pool::choose_at_last`] only.
    pub fn choose(&mut self, want: &Want<'_>, now: Timestamp, roll: u64) -> Choice {
        self.see(now);
        if let Some(why) = self.everyone_rests(now) {
            return Choice::None(why);
        }
        let mut timers = TIMERS_FIRST_LOOK;
        loop {
            let more_are_due = self.run_timers(now, timers);
            timers *= 2;
            let place = self.by_conversation(want, now).or_else(|| self.by_rotation(want, now, roll));
            if let Some(chosen) = place.and_then(|place| self.take(place, want, now)) {
                return Choice::Key(chosen);
            }
            if !more_are_due {
                return Choice::None(self.unavailable(want, now));
            }
        }
    }

    /// Why no key serves such a request, for one that does not look for a key itself. Should one fit, it is `AllBusy`.
    pub fn outlook(&mut self, want: &Want<'_>, now: Timestamp) -> Unavailable {
        self.see(now);
        self.everyone_rests(now).unwrap_or_else(|| self.unavailable(want, now))
    }

    fn everyone_rests(&self, now: Timestamp) -> Option<Unavailable> {
        let until = self.resting_until(now).filter(|_| !self.is_empty())?;
        Some(Unavailable { reason: NoKey::AllLimited, until: Some(until) })
    }

    /// When the first key that cannot serve such a request now is back, whoever has tried it: what a client that found no
    /// key is told.
    pub fn due_back(&self, lane: Lane, model: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        let worst = Worst::Cost(Usd::ZERO);
        let want =
            Want { lane, model, conversation: None, tried: &[], avoid: &[], richest: false, fallbacks: &[], worst };
        self.resting_until(now).or_else(|| self.back_at(&want, now))
    }

    /// The key of that number, whatever its health: for jobs and generations that only their own key may ask about.
    pub fn pinned(&self, id: KeyId) -> Option<Chosen> {
        let slot = self.places.get(&id).and_then(|place| self.slot(*place))?;
        Some(hand_out(slot, false, None))
    }

    /// The upstream's edge has turned the whole proxy away, and nobody is chosen until then.
    pub fn resting_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.edge_rest.filter(|until| now < *until)
    }

    fn by_conversation(&self, want: &Want<'_>, now: Timestamp) -> Option<usize> {
        let conversation = want.conversation.filter(|conversation| conversation.continues)?;
        let id = self.affinity.key(conversation.hash, now)?;
        let place = *self.places.get(&id)?;
        let left_out = self.exclusions.of_model(want.model, now);
        let ready = want.lane.of(&self.index.ready).contains(place);
        let fits = self.slot(place).is_some_and(|slot| !skips(want, &left_out, &self.accounts, slot, now));
        (ready && fits).then_some(place)
    }

    fn by_rotation(&mut self, want: &Want<'_>, now: Timestamp, roll: u64) -> Option<usize> {
        let left_out = self.exclusions.of_model(want.model, now);
        let (slots, accounts) = (&self.slots, &self.accounts);
        let skip = |place: usize| match slots.get(place) {
            Some(Some(slot)) => skips(want, &left_out, accounts, slot, now),
            _ => true,
        };
        if want.richest {
            let ready = want.lane.of(&self.index.ready).from(0).filter(|place| !skip(*place));
            let ceiling = |slot: &Slot| slot.ceiling(self.others(slot).all());
            let left = |place: &usize| self.slot(*place).and_then(ceiling).unwrap_or(LEFT_UNKNOWN);
            // Of equals the first: `max_by_key` gives the last.
            return ready.min_by_key(|place| std::cmp::Reverse(left(place)));
        }
        self.index.order.pick(want.lane, want.lane.of(&self.index.ready), roll, skip)
    }

    /// Hand out the key at `place`: note the turn, bind the conversation, begin its trial.
    pub(super) fn take(&mut self, place: usize, want: &Want<'_>, now: Timestamp) -> Option<Chosen> {
        let slot = self.slot(place)?;
        let (id, trial) = (slot.id, slot.trial != Trial::None);
        self.turns += 1;
        self.last_place = Some(place);
        if let Some(conversation) = want.conversation {
            self.affinity.bind(conversation.hash, id, now);
        }
        // The other rotations do not look at the turn, and a choice that changes nothing need not touch the indexes.
        if trial || self.policy.rotation == Rotation::LeastSpent {
            let turn = self.turns;
            self.edit(place, |slot, policy| {
                slot.turn = turn;
                slot.join_trial(now.after(policy.trial_max));
            });
        }
        let slot = self.slots.get_mut(place).and_then(Option::as_mut)?;
        // Neither counts nor holds are in any index: those change when a hold is settled.
        let hold = slot.begin(want, &self.accounts, now);
        let chosen = hand_out(slot, trial, hold);
        self.count(place);
        self.wish(place, chosen.key);
        Some(chosen)
    }

    fn unavailable(&self, want: &Want<'_>, now: Timestamp) -> Unavailable {
        Unavailable { reason: self.no_key(want, now), until: self.back_at(want, now) }
    }

    fn no_key(&self, want: &Want<'_>, now: Timestamp) -> NoKey {
        let failed = self.index.count(Health::Failed) as usize;
        let depleted = self.index.count(Health::Depleted) as usize;
        let usable = self.len() - failed;
        match (self.len(), usable) {
            (0, _) => NoKey::NoneAdded,
            _ if !want.lane.of(&self.index.ready).is_empty() => match self.why_not(want, now) {
                why @ (NoKey::TooDear { .. } | NoKey::Unbounded | NoKey::ModelNotAllowed) => {
                    self.why_not_yet(want, now).unwrap_or(why)
                }
                why => why,
            },
            (_, 0) => NoKey::AllFailed,
            _ if depleted == usable => NoKey::AllDepleted,
            _ if depleted == 0 => NoKey::AllLimited,
            _ => NoKey::Mixed,
        }
    }

    /// Keys are ready, but none takes this request: the reason that is the easiest to mend. Looks at each of them.
    fn why_not(&self, want: &Want<'_>, now: Timestamp) -> NoKey {
        let left_out = self.exclusions.of_model(want.model, now);
        let ready = want.lane.of(&self.index.ready).from(0).filter_map(|place| self.slot(place));
        let others = ready.filter(|slot| !rules_out(want, &left_out, slot));
        others.map(|slot| slot.fit(want, &self.accounts, now)).fold(NoKey::NoneLeft, |best, fit| match (best, fit) {
            (NoKey::AllBusy, _) | (_, Fit::Fits | Fit::Busy) => NoKey::AllBusy,
            (NoKey::TooDear { leaves }, Fit::Dear { leaves: more }) => NoKey::TooDear { leaves: leaves.max(more) },
            (NoKey::TooDear { .. }, _) => best,
            (_, Fit::Dear { leaves }) => NoKey::TooDear { leaves },
            (NoKey::Unbounded, _) | (_, Fit::Unbounded) => NoKey::Unbounded,
            (_, Fit::Barred) => NoKey::ModelNotAllowed,
        })
    }

    /// Of the keys that are ready none will ever take this request, but one that is back soon can: why that one is out. It is
    /// no final word to the client then, and no reason to shorten the answer.
    fn why_not_yet(&self, want: &Want<'_>, now: Timestamp) -> Option<NoKey> {
        let (at, slot) = self.first_back(want, now, |slot, at| self.could_take(want, slot, at))?;
        let soon = at <= now.after(WORTH_WAITING);
        soon.then_some(if slot.shown_health() == Health::Depleted { NoKey::AllDepleted } else { NoKey::AllLimited })
    }

    /// When the first key that could serve this is back; when none could, as far as that is known now, the first of all.
    fn back_at(&self, want: &Want<'_>, now: Timestamp) -> Option<Timestamp> {
        let able = self.first_back(want, now, |slot, at| self.could_take(want, slot, at));
        able.or_else(|| self.first_back(want, now, |_, _| true)).map(|(at, _)| at)
    }

    /// Whether a key that is out can take the request once it is back at that time, or when something on it is over.
    fn could_take(&self, want: &Want<'_>, slot: &Slot, at: Timestamp) -> bool {
        matches!(slot.fit(want, &self.accounts, at), Fit::Fits | Fit::Busy)
    }

    /// The first key to come back that suits, and when: by the earliest timer, or by the end of a trial.
    fn first_back(
        &self,
        want: &Want<'_>,
        now: Timestamp,
        suits: impl Fn(&Slot, Timestamp) -> bool,
    ) -> Option<(Timestamp, &Slot)> {
        let left_out = self.exclusions.of_model(want.model, now);
        let fits = |place: usize, at: Timestamp| {
            self.slot(place).filter(|slot| !rules_out(want, &left_out, slot) && suits(slot, at))
        };
        let timers = want.lane.of(&self.index.back).iter();
        let timer = timers.copied().find_map(|(at, place)| Some((at, fits(place, at)?)));
        let lane_open = |slot: &Slot| want.lane == Lane::Paid || slot.state.free_until.is_none();
        let trial = self.index.running.from(0).filter_map(|place| fits(place, now)).find(|slot| lane_open(slot));
        let trial_end = trial.map(|slot| match slot.trial {
            Trial::Running { until, .. } => (until.min(now.after(TRIAL_USUAL)), slot),
            Trial::None | Trial::Waiting => (now, slot),
        });
        [timer, trial_end].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// Whether this key cannot take the request now.
pub(super) fn skips(want: &Want<'_>, left_out: &LeftOut<'_>, accounts: &Accounts, slot: &Slot, now: Timestamp) -> bool {
    rules_out(want, left_out, slot) || slot.fit(want, accounts, now) != Fit::Fits
}

/// Whether the request itself rules this key out.
fn rules_out(want: &Want<'_>, left_out: &LeftOut<'_>, slot: &Slot) -> bool {
    want.tried.contains(&slot.id)
        || slot.account.is_some_and(|account| want.avoid.contains(&account))
        || left_out.has(slot.id, slot.account)
}

fn hand_out(slot: &Slot, trial: bool, hold: Option<Hold>) -> Chosen {
    Chosen { key: slot.id, account: slot.account, credential: Arc::clone(&slot.credential), trial, hold }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{AccountId, Effect, Policy};
    use super::*;
    use crate::money::{Limits, ModelGlobs, PurseFigures, Window};

    #[test]
    fn round_robin_is_strict_and_keeps_its_order() {
        let mut pool = pool_of(4);
        assert_eq!(series(&mut pool, &paid(), START, 6), [1, 2, 3, 4, 1, 2]);
        assert_eq!((pool.rotation_index(), pool.last_key()), (2, Some(KeyId(2))));
        apply(&mut pool, 3, Effect::AccountEmpty, START);
        assert_eq!(series(&mut pool, &paid(), START, 4), [4, 1, 2, 4]);
        pool.set_health(KeyId(3), Health::Healthy, None, START);
        assert_eq!(series(&mut pool, &paid(), START, 5), [1, 2, 3, 4, 1], "back in its old place");
        pool.remove(KeyId(2));
        add(&mut pool, 5, None);
        assert_eq!(series(&mut pool, &paid(), START, 5), [3, 4, 5, 1, 3]);
        pool.invariants();
    }

    #[test]
    fn lanes_turn_on_their_own() {
        let mut pool = pool_of(2);
        let mixed: Vec<_> = (0..4).flat_map(|_| [free(), paid()]).collect();
        let keys: Vec<u32> = mixed.iter().map(|want| chosen(pool.choose(want, START, 0)).key.0).collect();
        assert_eq!(keys, [1, 1, 2, 2, 1, 1, 2, 2], "each kind of traffic reaches each key");
    }

    #[test]
    fn what_a_request_rules_out_is_skipped() {
        let mut pool = Pool::new(Policy::default());
        for (id, account) in [(1, Some(1)), (2, Some(1)), (3, Some(2)), (4, None)] {
            add(&mut pool, id, account);
        }
        let tried = k(&[1, 3]);
        assert_eq!(series(&mut pool, &Want { tried: &tried, ..paid() }, START, 3), [2, 4, 2]);
        let avoid = [AccountId(1)];
        assert_eq!(series(&mut pool, &Want { avoid: &avoid, ..paid() }, START, 3), [3, 4, 3]);
        apply(&mut pool, 2, Effect::AccountCannot { what: "acme/large".into() }, START);
        apply(&mut pool, 4, Effect::AccountRests { what: "lab/".into(), rest: secs(60) }, START);
        let model = |name| Want { model: Some(name), ..paid() };
        assert_eq!(series(&mut pool, &model("acme/large"), START, 3), [4, 3, 4]);
        assert_eq!(series(&mut pool, &model("acme/small"), START, 4), [1, 2, 3, 4]);
        assert_eq!(series(&mut pool, &model("lab/x"), START, 4), [1, 2, 3, 1]);
        assert_eq!(series(&mut pool, &model("lab/x"), at(60), 4), [2, 3, 4, 1], "rested");
        assert_eq!(series(&mut pool, &model("acme/large"), at(3_600), 2), [2, 3], "forgotten");
        assert_eq!(pool.counts(), [4, 0, 0, 0, 0], "a missing model is no illness");
    }

    #[test]
    fn conversations_stay_while_their_key_is_well() {
        let mut pool = pool_of(3);
        assert_eq!(series(&mut pool, &talk(9, false), START, 3), [1, 2, 3], "openings rotate, even the same one");
        assert_eq!(series(&mut pool, &talk(9, true), at(10), 3), [3, 3, 3]);
        assert_eq!(series(&mut pool, &paid(), at(10), 2), [1, 2], "and take no turns");
        assert_eq!(series(&mut pool, &talk(8, true), at(10), 2), [3, 3], "an unknown one settles where its turn is");
        apply(&mut pool, 3, Effect::AccountEmpty, at(20));
        assert_eq!(series(&mut pool, &talk(9, true), at(20), 3), [1, 1, 1], "moved on failure");
        pool.set_health(KeyId(3), Health::Healthy, None, at(30));
        assert_eq!(series(&mut pool, &talk(9, true), at(30), 2), [1, 1], "and not back");
        assert_eq!(series(&mut pool, &talk(9, true), at(631), 2), [2, 2], "forgotten when idle");
        let tried = k(&[2]);
        assert_eq!(series(&mut pool, &Want { tried: &tried, ..talk(9, true) }, at(632), 1), [3], "moved when tried");
        pool.remove(KeyId(3));
        assert_eq!(series(&mut pool, &talk(9, true), at(633), 2), [1, 1], "moved when the key is gone");
    }

    #[test]
    fn a_depleted_key_serves_neither_lane_and_a_closed_free_lane_only_paid() {
        let mut pool = pool_of(2);
        apply(&mut pool, 1, Effect::FreeLaneLimited { until: at(600) }, START);
        assert_eq!(series(&mut pool, &free(), START, 2), [2, 2]);
        assert_eq!(series(&mut pool, &paid(), START, 2), [1, 2]);
        apply(&mut pool, 2, Effect::KeyCapped { until: Some(at(900)) }, START);
        assert_eq!(series(&mut pool, &paid(), START, 2), [1, 1]);
        let why = none(pool.choose(&free(), START, 0));
        assert_eq!(why, Unavailable { reason: NoKey::Mixed, until: Some(at(600)) });
        let tried = k(&[1, 2]);
        let why = none(pool.choose(&Want { tried: &tried, ..free() }, START, 0));
        assert_eq!(why, Unavailable { reason: NoKey::Mixed, until: None }, "no use in waiting for keys it has tried");
        assert_eq!(pool.due_back(Lane::Free, None, START), Some(at(600)), "but its client may come back then");
        assert_eq!(series(&mut pool, &free(), at(600), 2), [1, 1]);
    }

    fn check_none(pool: &mut Pool, want: &Want<'_>, now: Timestamp, reason: NoKey, until: Option<Timestamp>) {
        assert_eq!(none(pool.choose(want, now, 0)), Unavailable { reason, until });
        pool.invariants();
    }

    #[test]
    fn an_empty_choice_says_why_and_until_when() {
        let mut pool = pool_of(0);
        check_none(&mut pool, &paid(), START, NoKey::NoneAdded, None);
        for id in 1..=3 {
            add(&mut pool, id, Some(id));
        }
        let tried = k(&[1, 2, 3]);
        check_none(&mut pool, &Want { tried: &tried, ..paid() }, START, NoKey::NoneLeft, None);
        for id in 1..=3 {
            apply(&mut pool, id, Effect::AccountBusy { rest: secs(100 * u64::from(id)) }, START);
        }
        check_none(&mut pool, &paid(), START, NoKey::AllLimited, Some(at(100)));
        check_none(&mut pool, &Want { tried: &tried[..1], ..paid() }, START, NoKey::AllLimited, Some(at(200)));
        let avoid = [AccountId(1), AccountId(2)];
        check_none(&mut pool, &Want { avoid: &avoid, ..paid() }, START, NoKey::AllLimited, Some(at(300)));
        apply(&mut pool, 1, Effect::FreeLaneLimited { until: at(250) }, START);
        check_none(&mut pool, &free(), START, NoKey::AllLimited, Some(at(200)));
        apply(&mut pool, 1, Effect::AccountEmpty, START);
        check_none(&mut pool, &paid(), START, NoKey::Mixed, Some(at(200)));
        apply(&mut pool, 2, Effect::AccountEmpty, START);
        fail(&mut pool, 3);
        check_none(&mut pool, &paid(), START, NoKey::AllDepleted, None);
        fail(&mut pool, 1);
        fail(&mut pool, 2);
        check_none(&mut pool, &paid(), START, NoKey::AllFailed, None);
    }

    #[test]
    fn a_depleted_key_with_a_reset_time_promises_it() {
        let mut pool = pool_of(2);
        apply(&mut pool, 1, Effect::KeyCapped { until: Some(at(7_000)) }, START);
        apply(&mut pool, 2, Effect::KeyCapped { until: None }, START);
        check_none(&mut pool, &paid(), START, NoKey::AllDepleted, Some(at(7_000)));
    }

    #[test]
    fn an_edge_block_silences_the_pool_for_a_while_and_harms_no_key() {
        let mut pool = pool_of(2);
        assert_eq!(apply(&mut pool, 1, Effect::EveryoneRests { rest: secs(30) }, START), []);
        check_none(&mut pool, &paid(), at(29), NoKey::AllLimited, Some(at(30)));
        assert_eq!(pool.counts(), [2, 0, 0, 0, 0]);
        assert_eq!(series(&mut pool, &paid(), at(30), 1), [1]);
        apply(&mut pool, 9, Effect::EveryoneRests { rest: secs(1_000_000) }, at(30));
        check_none(&mut pool, &paid(), at(30), NoKey::AllLimited, Some(at(330)));
        pool.set_health(KeyId(1), Health::Healthy, None, at(31));
        assert_eq!(series(&mut pool, &paid(), at(31), 1), [2], "an operator's word counts at once");
    }

    #[test]
    fn a_key_that_is_only_resting_is_waited_for_when_the_others_are_too_poor() {
        let capped = |pool: &mut Pool, id: u32, limits: Limits| {
            pool.set_limits(KeyId(id), Arc::new(limits), START);
            pool.sync_purse(KeyId(id), PurseFigures::default(), START);
        };
        let total =
            |pico| Limits { caps: [(Window::Total, Usd::from_pico(pico))].into_iter().collect(), ..Limits::default() };
        let dear = Want { worst: Worst::Cost(Usd::from_pico(100)), ..paid() };
        let leaves = Usd::from_pico(50);

        let mut pool = pool_of(3);
        capped(&mut pool, 1, total(50));
        capped(&mut pool, 2, total(60));
        apply(&mut pool, 2, Effect::AccountBusy { rest: secs(10) }, START);
        apply(&mut pool, 3, Effect::AccountBusy { rest: secs(30) }, START);
        check_none(&mut pool, &dear, START, NoKey::AllLimited, Some(at(30)));
        let unknown = Want { worst: Worst::Unknown, ..paid() };
        check_none(&mut pool, &unknown, START, NoKey::AllLimited, Some(at(30)));
        assert_eq!(series(&mut pool, &dear, at(30), 1), [3]);
        check_none(&mut pool, &dear, at(30), NoKey::AllLimited, Some(at(31)));
        pool.remove(KeyId(3));
        apply(&mut pool, 2, Effect::AccountBusy { rest: secs(10) }, at(31));
        check_none(&mut pool, &dear, at(31), NoKey::TooDear { leaves }, Some(at(51)));

        let mut pool = pool_of(2);
        capped(&mut pool, 1, total(50));
        apply(&mut pool, 2, Effect::KeyCapped { until: Some(at(1_800)) }, START);
        check_none(&mut pool, &dear, START, NoKey::AllDepleted, Some(at(1_800)));
        let mut pool = pool_of(2);
        capped(&mut pool, 1, total(50));
        apply(&mut pool, 2, Effect::KeyCapped { until: Some(at(18_000)) }, START);
        check_none(&mut pool, &dear, START, NoKey::TooDear { leaves }, Some(at(18_000)));

        let mut pool = pool_of(2);
        capped(&mut pool, 1, Limits { models: ModelGlobs::new(["acme/*"]), ..Limits::default() });
        apply(&mut pool, 2, Effect::AccountBusy { rest: secs(30) }, START);
        check_none(&mut pool, &Want { model: Some("lab/x"), ..paid() }, START, NoKey::AllLimited, Some(at(30)));
    }

    #[test]
    fn a_pinned_key_serves_whatever_its_health() {
        let mut pool = pool_of(1);
        fail(&mut pool, 1);
        assert_eq!(pool.pinned(KeyId(1)).map(|chosen| (chosen.key, chosen.trial)), Some((KeyId(1), false)));
        pool.remove(KeyId(1));
        assert!(pool.pinned(KeyId(1)).is_none());
    }

    #[test]
    fn fill_first_uses_up_the_first_key() {
        let mut pool = rotating(Rotation::FillFirst, 3);
        assert_eq!(series(&mut pool, &paid(), START, 3), [1, 1, 1]);
        apply(&mut pool, 1, Effect::AccountEmpty, START);
        assert_eq!(series(&mut pool, &paid(), START, 2), [2, 2]);
        pool.set_health(KeyId(1), Health::Healthy, None, START);
        assert_eq!(series(&mut pool, &paid(), START, 1), [1]);
    }

    #[test]
    fn least_spent_shares_by_money() {
        let mut pool = rotating(Rotation::LeastSpent, 3);
        assert_eq!(series(&mut pool, &paid(), START, 4), [1, 2, 3, 1], "equals take turns");
        pool.spent(KeyId(1), usd("0.5"));
        pool.spent(KeyId(2), usd("0.2"));
        assert_eq!(series(&mut pool, &paid(), START, 2), [3, 3]);
        pool.spent(KeyId(3), usd("0.3"));
        assert_eq!(series(&mut pool, &paid(), START, 2), [2, 2]);
        let tried = k(&[2]);
        assert_eq!(series(&mut pool, &Want { tried: &tried, ..paid() }, START, 1), [3]);
        pool.invariants();
    }

    #[test]
    fn weighted_follows_what_is_left() {
        let mut pool = rotating(Rotation::Weighted, 3);
        let left = |remaining| super::super::Evidence::Credits { remaining };
        pool.evidence(KeyId(1), &left(usd("10")), START, 0);
        pool.evidence(KeyId(2), &left(usd("30")), START, 0);
        let shares = |pool: &mut Pool| {
            let mut hits = [0; 3];
            for n in 0..450u64 {
                let roll = u64::MAX / 450 * n + u64::MAX / 900;
                hits[chosen(pool.choose(&paid(), START, roll)).key.0 as usize - 1] += 1;
            }
            hits
        };
        assert_eq!(shares(&mut pool), [100, 300, 50], "unknown credit counts as $5");
        pool.found(KeyId(2), None, usd("28"), START.day(), START);
        let [one, two, three] = shares(&mut pool);
        assert!((264..=266).contains(&one) && (52..=54).contains(&two) && (131..=133).contains(&three));
        apply(&mut pool, 1, Effect::AccountEmpty, START);
        assert_eq!(shares(&mut pool)[0], 0);
    }

    #[test]
    fn keys_that_come_due_together_are_all_found() {
        let mut pool = pool_of(300);
        for id in 1..=300 {
            pool.apply(KeyId(id), &Effect::AccountBusy { rest: secs(60) }, START, 0);
        }
        let tried: Vec<KeyId> = (1..=299).map(KeyId).collect();
        assert_eq!(series(&mut pool, &Want { tried: &tried, ..paid() }, at(60), 1), [300]);
        assert_eq!(pool.tick(at(60)).len(), 300, "and reported once");
        assert_eq!(pool.tick(at(60)), []);
        pool.invariants();
    }
}
