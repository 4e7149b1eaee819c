//! What an operator or donor says about a key: it counts at once.

use crate::clock::Timestamp;

use super::exclusions::Holder;
use super::slot::Trial;
use super::{Cause, Health, KeyId, KeyState, Pool};

/// Longer notes are cut.
const NOTE_MAX_CHARS: usize = 300;

impl Pool {
    /// Set a key's health by hand. Returns its new state, or `None` when there is no such key.
    ///
    /// `Healthy` clears everything held against the key: strikes, a closed free lane, models its account could not
    /// reach, a rest of the whole proxy. `Degraded` and `RateLimited` end by their usual timers; `Depleted` and
    /// `Failed` set by hand end by hand only.
    pub fn set_health(&mut self, id: KeyId, health: Health, note: Option<&str>, now: Timestamp) -> Option<&KeyState> {
        self.see(now);
        let place = *self.places.get(&id)?;
        let account = self.edit(place, |slot, policy| {
            let state = &mut slot.state;
            state.health = health;
            state.cause = Cause::Operator;
            state.since = now;
            state.note = note.map(|note| note.chars().take(NOTE_MAX_CHARS).collect());
            state.until = match health {
                Health::Degraded => Some(now.after(policy.degraded_rest)),
                Health::RateLimited => Some(now.after(policy.rate_limited_rest)),
                Health::Healthy | Health::Depleted | Health::Failed => None,
            };
            slot.trial = Trial::None;
            slot.rejections = 0;
            slot.barred = false;
            if health == Health::Healthy {
                state.strikes = 0;
                state.free_until = None;
                slot.affords = None;
            } else {
                state.strikes = state.strikes.max(1);
            }
            // Not at once: the operator's word is to stand until the key's own requests or the slow timer speak.
            state.probe_at = (health != Health::Failed).then(|| now.after(policy.probe_interval));
            slot.account
        })?;
        if health == Health::Healthy {
            self.edge_rest = None;
            self.exclusions.forget(Holder::Key(id));
            if let Some(account) = account {
                self.exclusions.forget(Holder::Account(account));
            }
        }
        self.changed.remove(&id);
        self.state(id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Effect, Want};
    use super::*;

    fn check(health: Health, until: Option<Timestamp>, back: Option<Timestamp>) {
        let mut pool = pool_of(1);
        let said = pool.set_health(KeyId(1), health, Some("by hand"), START).cloned().expect("it is there");
        pool.invariants();
        assert_eq!((said.health, said.cause, said.since, said.until), (health, Cause::Operator, START, until));
        assert_eq!(said.note.as_deref(), Some("by hand"));
        if let Some(back) = back {
            assert!(chosen(pool.choose(&paid(), back, 0)).trial);
        } else if health != Health::Healthy {
            pool.tick(at(100_000_000));
            assert_eq!(super::super::testing::health(&pool, 1), health, "by hand only");
        }
    }

    #[test]
    fn all_five_states_can_be_set() {
        check(Health::Healthy, None, None);
        check(Health::Degraded, Some(at(300)), Some(at(300)));
        check(Health::RateLimited, Some(at(900)), Some(at(900)));
        check(Health::Depleted, None, None);
        check(Health::Failed, None, None);
        assert!(pool_of(1).set_health(KeyId(2), Health::Healthy, None, START).is_none());
    }

    #[test]
    fn healthy_clears_all_that_was_held_against_the_key() {
        let mut pool = pool_of(0);
        add(&mut pool, 1, Some(1));
        for effect in [
            Effect::FreeLaneLimited { until: at(9_000) },
            Effect::AccountCannot { what: "acme/large".into() },
            Effect::KeyDoubted,
            Effect::KeyBarred,
            Effect::KeyBarred,
        ] {
            apply(&mut pool, 1, effect, START);
        }
        pool.set_health(KeyId(1), Health::Healthy, None, at(1));
        pool.invariants();
        assert!(!chosen(pool.choose(&Want { model: Some("acme/large"), ..free() }, at(1), 0)).trial);
        assert_eq!(state(&pool, 1).strikes, 0);
        assert!(state(&pool, 1).probe_at > Some(at(3_600)), "its word is not questioned at once");
    }

    #[test]
    fn notes_are_bounded_and_end_with_the_state() {
        let mut pool = pool_of(1);
        pool.set_health(KeyId(1), Health::Degraded, Some(&"ü".repeat(5_000)), START);
        assert_eq!(state(&pool, 1).note.map(|note| note.chars().count()), Some(NOTE_MAX_CHARS));
        pool.tick(at(300));
        assert_eq!(state(&pool, 1).note, None);
    }
}
