//! Whether OpenRouter turns one key away, or everybody.
//!
//! A 429 that does not say whose limit was reached blames nobody (`openrouter-api.md` 5.2). When most of the accounts in use
//! get it within a few seconds, it is about the proxy, and going on would only make it worse: then everyone rests for a
//! moment. Accounts are counted, not answers: one key that is turned away again and again, or one client that keeps asking
//! on one key, silences nobody; and an account that answers well in between counts against it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;

use super::exclusions::Holder;

/// How long an answer counts.
const WINDOW: Duration = Duration::from_secs(10);
/// So many accounts at least must have been turned away: with fewer it may well be chance.
const HOLDERS_MIN: usize = 3;
/// Answers remembered; where more come in within the window, the latest count.
const ANSWERS_MAX: usize = 512;

/// The latest answers: from whom, and whether it was that one.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(VecDeque<(Timestamp, Holder, bool)>);

impl Crowd {
    /// An answer came from this account, or from a key whose account is not known.
    pub fn note(&mut self, holder: Holder, turned_away: bool, now: Timestamp) {
        self.0.push_back((now, holder, turned_away));
        while self.0.len() > ANSWERS_MAX || self.0.front().is_some_and(|(at, ..)| now.since(*at) > WINDOW) {
            self.0.pop_front();
        }
    }

    /// Whether enough accounts, and most of those in use, were turned away when they were last asked.
    pub fn is_turned_away(&self, now: Timestamp) -> bool {
        let recent = self.0.iter().filter(|(at, ..)| now.since(*at) <= WINDOW);
        let last: HashMap<Holder, bool> = recent.map(|(_, holder, turned_away)| (*holder, *turned_away)).collect();
        let turned_away = last.values().filter(|turned_away| **turned_away).count();
        turned_away >= HOLDERS_MIN && 2 * turned_away > last.len()
    }

    /// Begin anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Panics when more is kept than allowed.
    pub fn invariants(&self) {
        assert!(self.0.len() <= ANSWERS_MAX, "answers are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{AccountId, Effect, KeyId, NoKey, Pool};
    use super::*;

    const AWAY: Effect = Effect::TurnedAway { rest: Duration::from_secs(10) };

    /// These keys are turned away one after the other; until when everyone rests then.
    fn rest_after(pool: &mut Pool, keys: &[u32], from: u64) -> Option<Timestamp> {
        for (key, second) in keys.iter().zip(from..) {
            assert_eq!(apply(pool, *key, AWAY, at(second)), []);
        }
        pool.resting_until(at(from + keys.len() as u64 - 1))
    }

    #[test]
    fn everyone_rests_when_most_accounts_in_use_are_turned_away() {
        let mut pool = pool_of(4);
        assert_eq!(rest_after(&mut pool, &[1, 2], 0), None);
        assert_eq!(rest_after(&mut pool, &[3], 2), Some(at(12)));
        assert_eq!(none(pool.choose(&paid(), at(11), 0)).reason, NoKey::AllLimited);
        assert_eq!(pool.counts(), [4, 0, 0, 0, 0], "and no key is blamed");
        assert_eq!(series(&mut pool, &paid(), at(12), 1), [1]);
        assert_eq!(rest_after(&mut pool, &[1, 2], 12), None, "counted anew");
        assert_eq!(rest_after(&mut pool, &[3], 14), Some(at(24)));
    }

    #[test]
    fn one_key_silences_nobody() {
        let mut pool = pool_of(4);
        assert_eq!(rest_after(&mut pool, &[1; 1_000], 0), None);
        assert_eq!(rest_after(&mut pool, &[1, 2, 1, 2, 1, 2], 2_000), None, "nor do two");
        let mut single = pool_of(1);
        assert_eq!(rest_after(&mut single, &[1; 1_000], 0), None);
        // Keys of one account are one.
        let mut family = pool_of(0);
        for id in 1..=5 {
            add(&mut family, id, Some(7));
        }
        assert_eq!(rest_after(&mut family, &[1, 2, 3, 4, 5], 0), None);
        family.assign_account(KeyId(4), AccountId(8));
        family.assign_account(KeyId(5), AccountId(9));
        assert_eq!(rest_after(&mut family, &[1, 4, 5], 20), Some(at(32)));
    }

    #[test]
    fn it_must_be_most_of_those_in_use_and_at_the_same_time() {
        let mut pool = pool_of(8);
        assert_eq!(rest_after(&mut pool, &[1, 2], 0), None);
        assert_eq!(rest_after(&mut pool, &[3], 11), None, "the first two are long past");
        for id in 4..=8 {
            pool.succeeded(KeyId(id), at(11));
        }
        assert_eq!(rest_after(&mut pool, &[1, 2], 12), None, "three of eight");
        assert_eq!(rest_after(&mut pool, &[4, 5], 14), Some(at(25)), "five of eight");
        let mut pool = pool_of(3);
        rest_after(&mut pool, &[1, 2], 0);
        pool.succeeded(KeyId(1), at(2));
        assert_eq!(rest_after(&mut pool, &[3], 3), None, "the first has answered since");
        apply(&mut pool, 2, Effect::AccountEmpty, at(4));
        assert_eq!(rest_after(&mut pool, &[1], 5), None, "another refusal is an answer, too");
    }
}
