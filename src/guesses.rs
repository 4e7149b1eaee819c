//! Wrong credentials are counted per address, and an address that guesses is made to wait: admin tokens, client keys and
//! clients' tokens, each listener with a count of its own.
//!
//! A credential has at least 128 bits or so, and no guessing will find it; the wait keeps guessing from costing anything,
//! and the alarm tells the operator that somebody tries.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// Wrong credentials an address has free.
const FREE: u32 = 10;
/// How long it takes until one of them is forgotten.
const FORGET_MS: i64 = 6_000;
/// Addresses remembered. When there are more, the newcomers share one count.
const ADDRESSES_MAX: usize = 4096;

/// The count of wrong credentials.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    /// One short lock per call that brings a wrong one, or comes from an address that brought one.
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: HashMap<Option<IpAddr>, Count>,
    /// Not before then are all of them looked through again: with a full map, each guess would be answered by much work.
    sweep_at: i64,
}

/// Wrong credentials, as the time at which all of them are forgotten.
#[derive(Clone, Copy, Debug)]
struct Count {
    clear_at: i64,
}

impl Count {
    fn wrong(self, now: i64) -> u32 {
        let left = self.clear_at.saturating_sub(now).max(0);
        u32::try_from(left.div_euclid(FORGET_MS) + i64::from(left % FORGET_MS > 0)).unwrap_or(u32::MAX)
    }

    fn wait(self, now: i64) -> Option<u64> {
        if self.wrong(now) < FREE {
            return None;
        }
        let until_one_free = self.clear_at - i64::from(FREE - 1) * FORGET_MS - now;
        Some(u64::try_from(until_one_free).unwrap_or(0).div_ceil(1000).max(1))
    }
}

/// What a wrong credential led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guessed {
    /// It was one of a few.
    Few,
    /// It was the one too many: the address has to wait from now on.
    TooMany,
    /// The address had to wait already, and it was not even counted.
    Early {
        /// When another try will be listened to, in seconds.
        retry_after_s: u64,
    },
}

impl Guesses {
    /// How many seconds this address has to wait before a credential of its is looked at; `None` when it need not.
    pub(crate) fn wait(&self, address: Option<IpAddr>, now: Timestamp) -> Option<u64> {
        let now = now.as_millis();
        let counts = &mut self.counts.lock().unwrap_or_else(PoisonError::into_inner).by_address;
        let slot = slot(counts, address);
        let count = *counts.get(&slot)?;
        let wrong = count.wrong(now);
        if wrong == 0 {
            counts.remove(&slot);
        }
        count.wait(now)
    }

    /// Addresses that are remembered.
    #[cfg(test)]
    pub(crate) fn addresses(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).by_address.len()
    }

    /// A wrong credential came from this address. Looked at and counted in one step: of many that come at once no more are
    /// listened to than are free.
    pub(crate) fn wrong(&self, address: Option<IpAddr>, now: Timestamp) -> Guessed {
        let now = now.as_millis();
        let Counts { by_address: counts, sweep_at } = &mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= ADDRESSES_MAX && (*sweep_at <= now || *sweep_at > now + FORGET_MS) {
            counts.retain(|_, count| count.wrong(now) > 0);
            *sweep_at = now + FORGET_MS;
        }
        let slot = slot(counts, address);
        let count = counts.entry(slot).or_insert(Count { clear_at: now });
        if let Some(retry_after_s) = count.wait(now) {
            return Guessed::Early { retry_after_s };
        }
        count.clear_at = count.clear_at.max(now).saturating_add(FORGET_MS);
        if count.wrong(now) == FREE { Guessed::TooMany } else { Guessed::Few }
    }
}

/// Where an address is counted: a /64 is one caller, and when the map is full all newcomers are.
fn slot(counts: &HashMap<Option<IpAddr>, Count>, address: Option<IpAddr>) -> Option<IpAddr> {
    let network = address.map(|address| match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from(u128::from(v6).wrapping_shr(64).wrapping_shl(64).to_be_bytes()),
        v4 => v4,
    });
    let known = counts.len() < ADDRESSES_MAX || counts.contains_key(&network);
    network.filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_795_489_200_000 + ms)
    }

    fn here(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn a_guesser_waits_and_others_do_not() {
        let guesses = Guesses::default();
        for _ in 1..FREE {
            assert_eq!(guesses.wrong(here(1), at(0)), Guessed::Few);
            assert_eq!(guesses.wait(here(1), at(0)), None);
        }
        assert_eq!(guesses.wrong(here(1), at(0)), Guessed::TooMany, "the alarm rings once");
        assert_eq!(guesses.wait(here(1), at(0)), Some(6));
        assert_eq!(guesses.wrong(here(1), at(0)), Guessed::Early { retry_after_s: 6 }, "nor is it made to wait longer");
        assert_eq!(guesses.wait(here(1), at(5_999)), Some(1));
        assert_eq!(guesses.wait(here(2), at(0)), None);
        assert_eq!(guesses.wait(None, at(0)), None);
        assert_eq!(guesses.wait(here(1), at(6_000)), None, "one is forgotten");
        assert_eq!(guesses.wrong(here(1), at(6_000)), Guessed::TooMany);
        assert_eq!(guesses.wait(here(1), at(600_000)), None);
        assert_eq!(guesses.addresses(), 0, "all is forgotten");
    }

    #[test]
    fn a_v6_network_is_one_caller() {
        let guesses = Guesses::default();
        let address = |tail: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 1, tail, 0, 0, tail]));
        for tail in 0..10 {
            guesses.wrong(address(tail), at(0));
        }
        assert!(guesses.wait(address(77), at(0)).is_some());
        let mapped = Some(IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201]));
        for _ in 0..10 {
            guesses.wrong(mapped, at(0));
        }
        assert!(guesses.wait(here(1), at(0)).is_some(), "an IPv4 address is itself in either spelling");
    }

    #[test]
    fn memory_is_bounded_and_strangers_then_share() {
        let guesses = Guesses::default();
        for n in 0..10_000_u32 {
            guesses.wrong(Some(IpAddr::from(n.to_be_bytes())), at(0));
        }
        assert!(guesses.addresses() <= ADDRESSES_MAX + 1);
        assert!(guesses.wait(Some(IpAddr::from([200, 0, 0, 1])), at(0)).is_some());
        guesses.wrong(here(9), at(600_000_000));
        assert_eq!(guesses.addresses(), 1);
    }
}
