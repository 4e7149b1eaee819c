//! When a key is asked about with the free calls: at once after trouble, then ever more rarely, never all together.

use std::time::Duration;

use crate::clock::Timestamp;

use super::health::grown;
use super::slot::Slot;
use super::{Cause, Health, KeyId, KeyState, Policy, Pool};

/// A key that cannot pay for large requests is asked about, but not for each of them.
const ASK_GAP: Duration = Duration::from_secs(60);
/// The first pause between questions that got no answer about a doubted key.
const DOUBT_GAP: Duration = Duration::from_secs(15);
/// The first pause between questions about a key nobody has confirmed yet.
const UNVERIFIED_GAP: Duration = Duration::from_secs(60);
/// The pause before a key is asked about that a probe, out of the blue, found unknown.
pub(super) const CONFIRM_GAP: Duration = Duration::from_secs(30);

impl Pool {
    /// Keys to ask about now, the longest overdue first, at most `limit`. Each is put down for its next question, so
    /// a probe that gets lost is repeated; [`Pool::evidence`] then sets a better time.
    pub fn due_probes(&mut self, now: Timestamp, limit: usize, roll: u64) -> Vec<KeyId> {
        self.see(now);
        let mut due = Vec::new();
        while due.len() < limit {
            let Some((_, place)) = self.index.probes.first().copied().filter(|(at, _)| *at <= now) else { break };
            let asked = self.edit(place, |slot, policy| {
                slot.asked_at = Some(now);
                slot.schedule(policy, now, roll);
                slot.id
            });
            due.extend(asked);
        }
        due
    }

    /// A key was just struck. The one that brought the news is asked about at once, the first time: a question right
    /// behind each failed trial would only bring back a key that cannot serve.
    pub(super) fn ask_after_trouble(&mut self, place: usize, used: bool, now: Timestamp, roll: u64) {
        self.edit(place, |slot, policy| match slot.state.health {
            Health::Depleted if used && slot.state.strikes <= 1 => slot.state.probe_at = Some(now),
            Health::Depleted => slot.schedule(policy, now, roll),
            // A rest says when it ends, a failure is final, and doubt sets its own time.
            Health::Healthy | Health::Degraded | Health::RateLimited | Health::Failed => {}
        });
    }

    /// Ask about a key that is well, soon.
    pub(super) fn ask_soon(&mut self, place: usize, now: Timestamp) {
        self.edit(place, |slot, _| {
            let soon = slot.asked_at.map_or(now, |asked| asked.after(ASK_GAP).max(now));
            slot.state.probe_at = slot.state.probe_at.map(|at| at.min(soon));
        });
    }
}

impl Slot {
    /// Put the key down for a question now, unless it is failed.
    pub(super) fn ask_at_once(&mut self, now: Timestamp) {
        if self.state.health != Health::Failed {
            self.state.probe_at = Some(now);
        }
    }

    /// Put the key down for its next question.
    pub(super) fn schedule(&mut self, policy: &Policy, now: Timestamp, roll: u64) {
        let jitter = mix(roll ^ u64::from(self.id.0));
        self.state.probe_at = pause(&self.state, policy, now).map(|pause| now.after(spread(pause, jitter)));
    }
}

/// When a key that enters the pool is to be asked about: at once when nobody has confirmed it yet, else as it was put
/// down before, else some time within the usual interval.
pub(super) fn resume(state: &mut KeyState, id: KeyId, policy: &Policy, now: Timestamp) {
    state.probe_at = match state.health {
        Health::Failed => None,
        _ if state.probe_at.is_some() => state.probe_at,
        _ if !state.verified => Some(now),
        _ => pause(state, policy, now).map(|pause| now.after(pause.mul_f64(fraction(mix(u64::from(id.0)))))),
    };
}

/// How long until the next question. What has lasted long is asked about rarely: pauses as long as the state is old
/// double by themselves, and go on doubling after a restart.
fn pause(state: &KeyState, policy: &Policy, now: Timestamp) -> Option<Duration> {
    let age = now.since(state.since);
    let growing = |first: Duration, max: Duration| Some(age.max(first).min(max.max(first)));
    match (state.health, state.cause) {
        (Health::Failed, _) => None,
        (Health::Depleted, Cause::Credit) if policy.credit_recheck => growing(
            grown(policy.credit_recheck_first, state.strikes, policy.credit_recheck_max),
            policy.credit_recheck_max,
        ),
        (Health::Depleted, Cause::KeyLimit | Cause::Budget) => {
            growing(grown(policy.key_cap_recheck, state.strikes, policy.credit_recheck_max), policy.credit_recheck_max)
        }
        (Health::Degraded, Cause::Doubted | Cause::Barred) => growing(DOUBT_GAP, policy.degraded_rest),
        _ if !state.verified => growing(UNVERIFIED_GAP, policy.probe_interval),
        _ => Some(policy.probe_interval),
    }
}

/// Up to an eighth longer, so that keys that fell together are not asked about together.
fn spread(pause: Duration, jitter: u64) -> Duration {
    pause.saturating_add((pause / 8).mul_f64(fraction(jitter)))
}

/// The most that [`spread`] can make of a pause.
pub(super) fn spread_max(pause: Duration) -> Duration {
    pause.saturating_add(pause / 8)
}

/// A random number as a fraction of one.
fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// Scatter: neighbouring numbers come out far apart (the finaliser of SplitMix64).
const fn mix(number: u64) -> u64 {
    let a = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ (c >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Effect, Evidence};
    use super::*;
    use crate::money::Usd;

    const HOUR: u64 = 3_600;

    /// When key 1 is asked about until this hour, in seconds, each time without an answer.
    fn questions(pool: &mut Pool, hours: u64) -> Vec<u64> {
        let mut asked = Vec::new();
        for second in (0..hours * HOUR).step_by(5) {
            if !pool.due_probes(at(second), 9, 0).is_empty() {
                asked.push(second);
            }
        }
        pool.invariants();
        asked
    }

    /// Pauses between questions, and what they must be at least; each may be an eighth longer, and 5 s of our steps.
    fn check_pauses(asked: &[u64], expected: &[u64]) {
        let pauses: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses.len(), expected.len(), "{asked:?}");
        for (pause, least) in pauses.iter().zip(expected) {
            assert!((*least..=least + least / 8 + 10).contains(pause), "{pauses:?} against {expected:?}");
        }
    }

    #[test]
    fn an_empty_account_is_asked_about_ever_more_rarely() {
        let mut pool = pool_of(1);
        apply(&mut pool, 1, Effect::AccountEmpty, START);
        let asked = questions(&mut pool, 36);
        assert_eq!(asked[0], 0, "at once");
        let pauses: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((600..=690).contains(&pauses[0]) && (600..=800).contains(&pauses[1]), "{pauses:?}");
        assert!(pauses.windows(2).all(|pair| pair[1] + 5 >= pair[0].min(6 * HOUR)), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= 6 * HOUR * 9 / 8 + 10) && pauses.len() >= 8, "{pauses:?}");
    }

    #[test]
    fn a_key_at_its_limit_is_asked_about_by_the_hour_at_first() {
        let mut pool = pool_of(1);
        apply(&mut pool, 1, Effect::KeyCapped { until: None }, START);
        let asked = questions(&mut pool, 2);
        check_pauses(&asked, &[HOUR]);
    }

    #[test]
    fn a_doubted_key_is_asked_about_at_once_and_again() {
        let mut pool = pool_of(1);
        pool.due_probes(START, 9, 0);
        apply(&mut pool, 1, Effect::KeyDoubted, START);
        assert_eq!(pool.due_probes(START, 9, 0), k(&[1]));
        assert_eq!(pool.due_probes(START, 9, 0), []);
        assert_eq!(pool.due_probes(at(17), 9, 0), k(&[1]), "a lost probe is repeated");
    }

    #[test]
    fn a_key_that_is_well_is_asked_about_on_the_slow_timer() {
        let mut pool = pool_of(1);
        pool.evidence(KeyId(1), &Evidence::Silent, START, 0);
        let asked = questions(&mut pool, 20);
        check_pauses(&asked, &[6 * HOUR, 6 * HOUR]);
    }

    #[test]
    fn new_keys_are_asked_about_at_once_and_known_ones_spread_out() {
        let mut pool = pool_of(0);
        load(&mut pool, 1, None, KeyState::fresh(START), START);
        assert_eq!(pool.due_probes(START, 9, 0), k(&[1]));
        assert!(state(&pool, 1).probe_at < Some(at(70)), "again soon while nobody has confirmed it");
        for id in 2..=401 {
            add(&mut pool, id, None);
        }
        let due: Vec<usize> = (1..=6).map(|hour| pool.due_probes(at(hour * HOUR), 1_000, 0).len()).collect();
        assert!(due.iter().all(|due| (40..100).contains(due)), "{due:?}");
    }

    #[test]
    fn the_longest_overdue_come_first_and_no_more_than_asked_for() {
        let mut pool = pool_of(0);
        for (id, due) in [(1, 30), (2, 10), (3, 20)] {
            let saved = KeyState { probe_at: Some(at(due)), verified: true, ..KeyState::fresh(START) };
            load(&mut pool, id, None, saved, START);
        }
        assert_eq!(pool.due_probes(at(25), 1, 0), k(&[2]));
        assert_eq!(pool.due_probes(at(25), 9, 0), k(&[3]));
        assert_eq!(pool.due_probes(at(30), 0, 0), []);
        assert_eq!(pool.due_probes(at(30), 9, 0), k(&[1]));
    }

    #[test]
    fn large_requests_do_not_cause_a_question_each() {
        let mut pool = pool_of(1);
        for second in 0..120 {
            apply(&mut pool, 1, Effect::Affords { tokens: Some(5) }, at(second));
            let due = pool.due_probes(at(second), 9, 0);
            assert_eq!(due.is_empty(), second % 60 != 0, "second {second}");
            if !due.is_empty() {
                pool.evidence(KeyId(1), &Evidence::Credits { remaining: Usd::from_pico(1) }, at(second), 0);
            }
        }
    }

    #[test]
    fn siblings_of_an_empty_key_are_not_asked_about_at_once() {
        let mut pool = pool_of(0);
        add(&mut pool, 1, Some(1));
        add(&mut pool, 2, Some(1));
        apply(&mut pool, 2, Effect::AccountEmpty, START);
        assert_eq!(pool.due_probes(at(599), 9, 0), k(&[2]));
    }
}
