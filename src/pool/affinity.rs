//! Which key a conversation belongs to, so that provider prompt caches, which live per account, keep working.

use std::time::Duration;

use hashlink::LruCache;

use crate::clock::Timestamp;

use super::KeyId;

/// Conversations and their keys: bounded, the longest unused forgotten first.
#[derive(Debug)]
pub(super) struct Affinity {
    bonds: LruCache<u64, Bond>,
    idle: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Bond {
    key: KeyId,
    used: Timestamp,
}

/// Stale bonds forgotten with each new one: more than one, so that they run out even while new ones come in.
const FORGET_STEP: usize = 2;

impl Affinity {
    pub fn new(max: usize, idle: Duration) -> Self {
        Self { bonds: LruCache::new(max), idle }
    }

    /// The conversation's key, unless it has been silent for too long.
    pub fn key(&self, conversation: u64, now: Timestamp) -> Option<KeyId> {
        let bond = self.bonds.peek(&conversation)?;
        (now.since(bond.used) <= self.idle).then_some(bond.key)
    }

    /// From now on the conversation belongs to `key`.
    pub fn bind(&mut self, conversation: u64, key: KeyId, now: Timestamp) {
        self.bonds.insert(conversation, Bond { key, used: now });
        for _ in 0..FORGET_STEP {
            match self.bonds.iter().next() {
                Some((_, oldest)) if now.since(oldest.used) > self.idle => self.bonds.remove_lru(),
                _ => break,
            };
        }
    }

    /// Panics when more is kept than allowed.
    pub fn invariants(&self) {
        assert!(self.bonds.len() <= self.bonds.capacity(), "conversations are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(600);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_silent_conversation_is_forgotten() {
        let mut affinity = Affinity::new(10, IDLE);
        affinity.bind(1, KeyId(7), at(0));
        assert_eq!(affinity.key(1, at(600)), Some(KeyId(7)));
        assert_eq!(affinity.key(1, at(601)), None);
        affinity.bind(2, KeyId(8), at(601));
        assert_eq!(affinity.bonds.len(), 1, "and its place is free");
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let mut affinity = Affinity::new(2, IDLE);
        affinity.bind(1, KeyId(1), at(0));
        affinity.bind(2, KeyId(2), at(1));
        affinity.bind(1, KeyId(1), at(2));
        affinity.bind(3, KeyId(3), at(3));
        assert_eq!([1, 2, 3].map(|c| affinity.key(c, at(3))), [Some(KeyId(1)), None, Some(KeyId(3))]);
        affinity.invariants();
    }

    #[test]
    fn none_are_kept_when_none_are_allowed() {
        let mut affinity = Affinity::new(0, IDLE);
        affinity.bind(1, KeyId(1), at(0));
        assert_eq!(affinity.key(1, at(0)), None);
        affinity.invariants();
    }
}
