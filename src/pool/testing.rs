//! What the pool's tests share.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::money::Usd;
use crate::secret::Credential;

use super::{
    AccountId, Choice, Chosen, Conversation, Effect, Health, KeyId, KeyState, Lane, Policy, Pool, Rotation,
    Unavailable, Want, Worst,
};

/// Tests begin at a time of their own, so that relative and absolute times cannot be mixed up.
pub(super) const START: Timestamp = Timestamp::from_secs(1_795_500_000);

pub(super) fn at(secs: u64) -> Timestamp {
    START.after(Duration::from_secs(secs))
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn usd(text: &str) -> Usd {
    text.parse().expect("an amount")
}

pub(super) fn credential(id: u32) -> Arc<Credential> {
    Arc::new(Credential::parse(&format!("sk-or-v1-{id:064x}")).expect("a key"))
}

pub(super) fn k(ids: &[u32]) -> Vec<KeyId> {
    ids.iter().copied().map(KeyId).collect()
}

pub(super) fn paid() -> Want<'static> {
    Want {
        lane: Lane::Paid,
        model: None,
        conversation: None,
        tried: &[],
        avoid: &[],
        richest: false,
        fallbacks: &[],
        worst: Worst::Cost(Usd::ZERO),
    }
}

pub(super) fn free() -> Want<'static> {
    Want { lane: Lane::Free, ..paid() }
}

pub(super) fn talk(hash: u64, continues: bool) -> Want<'static> {
    Want { conversation: Some(Conversation { hash, continues }), ..paid() }
}

pub(super) fn pool_of(keys: u32) -> Pool {
    pool_with(Policy::default(), keys)
}

pub(super) fn rotating(rotation: Rotation, keys: u32) -> Pool {
    pool_with(Policy { rotation, ..Policy::default() }, keys)
}

/// A pool of keys 1, 2, 3, …, each of unknown account.
pub(super) fn pool_with(policy: Policy, keys: u32) -> Pool {
    let mut pool = Pool::new(policy);
    for id in 1..=keys {
        add(&mut pool, id, None);
    }
    pool
}

pub(super) fn add(pool: &mut Pool, id: u32, account: Option<u32>) {
    load(pool, id, account, KeyState { verified: true, ..KeyState::fresh(START) }, START);
}

pub(super) fn load(pool: &mut Pool, id: u32, account: Option<u32>, state: KeyState, now: Timestamp) {
    assert!(pool.insert(KeyId(id), credential(id), account.map(AccountId), state, Usd::ZERO, now));
}

pub(super) fn chosen(choice: Choice) -> Chosen {
    match choice {
        Choice::Key(chosen) => chosen,
        Choice::None(why) => panic!("a key was expected: {why:?}"),
    }
}

pub(super) fn none(choice: Choice) -> Unavailable {
    match choice {
        Choice::None(why) => why,
        Choice::Key(chosen) => panic!("no key was expected: {chosen:?}"),
    }
}

/// The keys of so many choices in a row.
pub(super) fn series(pool: &mut Pool, want: &Want<'_>, now: Timestamp, count: usize) -> Vec<u32> {
    (0..count).map(|_| chosen(pool.choose(want, now, 0)).key.0).collect()
}

pub(super) fn apply(pool: &mut Pool, id: u32, effect: Effect, now: Timestamp) -> Vec<KeyId> {
    let mut changed = pool.apply(KeyId(id), &effect, now, 7);
    changed.sort_unstable();
    pool.invariants();
    changed
}

pub(super) fn health(pool: &Pool, id: u32) -> Health {
    pool.state(KeyId(id)).expect("in the pool").health
}

pub(super) fn state(pool: &Pool, id: u32) -> KeyState {
    pool.state(KeyId(id)).expect("in the pool").clone()
}

/// A key that is failed for good.
pub(super) fn fail(pool: &mut Pool, id: u32) {
    pool.set_health(KeyId(id), Health::Failed, None, START);
    pool.invariants();
}
