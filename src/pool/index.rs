//! The indexes that make choosing cheap: who is ready, who is due back when, who is to be asked, in what order.

use std::collections::BTreeSet;

use crate::clock::Timestamp;

use super::bitset::Bits;
use super::order::{Order, Rank};
use super::{Health, Lane, Rotation};

impl Lane {
    pub(super) const ALL: [Self; 2] = [Self::Paid, Self::Free];

    /// This lane's half of a pair.
    pub(super) const fn of<T>(self, [paid, free]: &[T; 2]) -> &T {
        match self {
            Self::Paid => paid,
            Self::Free => free,
        }
    }

    /// This lane's half of a pair, to change.
    pub(super) const fn of_mut<T>(self, [paid, free]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Paid => paid,
            Self::Free => free,
        }
    }
}

/// What the indexes hold about one key. The default is what they hold about an empty place: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub health: Option<Health>,
    /// May be chosen, per lane.
    pub ready: [bool; 2],
    /// Out of reach only because its trial is running.
    pub running: bool,
    /// When it is back, per lane, where it is out and a time is known.
    pub back: [Option<Timestamp>; 2],
    /// The next time one of its timers runs out.
    pub wake: Option<Timestamp>,
    /// When it is to be asked about.
    pub probe: Option<Timestamp>,
    pub rank: Rank,
}

type Timers = BTreeSet<(Timestamp, usize)>;

/// All indexes, by place.
#[derive(Debug)]
pub(super) struct Index {
    pub live: Bits,
    pub ready: [Bits; 2],
    pub running: Bits,
    pub back: [Timers; 2],
    pub wake: Timers,
    pub probes: Timers,
    /// In the order of [`Health::ALL`].
    pub counts: [u32; 5],
    pub order: Order,
}

impl Index {
    pub fn new(rotation: Rotation) -> Self {
        Self {
            live: Bits::default(),
            ready: Default::default(),
            running: Bits::default(),
            back: Default::default(),
            wake: Timers::new(),
            probes: Timers::new(),
            counts: [0; 5],
            order: Order::new(rotation),
        }
    }

    /// How many keys are in this state.
    pub fn count(&self, health: Health) -> u32 {
        Health::ALL.iter().zip(self.counts).find(|(h, _)| **h == health).map_or(0, |(_, count)| count)
    }

    /// The key at `place` was `old` and is now `new`.
    pub fn update(&mut self, place: usize, old: &Entry, new: &Entry) {
        self.live.set(place, new.health.is_some());
        if old.health != new.health {
            for (health, count) in Health::ALL.iter().zip(&mut self.counts) {
                *count -= u32::from(old.health == Some(*health));
                *count += u32::from(new.health == Some(*health));
            }
        }
        for lane in Lane::ALL {
            let (was, is) = (*lane.of(&old.ready), *lane.of(&new.ready));
            lane.of_mut(&mut self.ready).set(place, is);
            if was != is || old.rank != new.rank {
                self.order.update(lane, place, was.then_some(old.rank), is.then_some(new.rank));
            }
            resort(lane.of_mut(&mut self.back), place, *lane.of(&old.back), *lane.of(&new.back));
        }
        self.running.set(place, new.running);
        resort(&mut self.wake, place, old.wake, new.wake);
        resort(&mut self.probes, place, old.probe, new.probe);
    }

    /// Panics when anything here differs from what these keys' entries say.
    pub fn invariants(&self, entries: &[(usize, Entry)]) {
        let members = |holds: &dyn Fn(&Entry) -> bool| -> Vec<usize> {
            entries.iter().filter(|(_, entry)| holds(entry)).map(|(place, _)| *place).collect()
        };
        let same = |bits: &Bits, holds: &dyn Fn(&Entry) -> bool, what: &str| {
            bits.invariants();
            assert_eq!(bits.from(0).collect::<Vec<_>>(), members(holds), "{what}");
        };
        let sorted = |timers: &Timers, time: &dyn Fn(&Entry) -> Option<Timestamp>, what: &str| {
            let wanted: Timers = entries.iter().filter_map(|(at, entry)| time(entry).map(|time| (time, *at))).collect();
            assert_eq!(timers, &wanted, "{what}");
        };
        same(&self.live, &|_| true, "live");
        same(&self.running, &|entry| entry.running, "running");
        for lane in Lane::ALL {
            same(lane.of(&self.ready), &|entry| *lane.of(&entry.ready), "ready");
            sorted(lane.of(&self.back), &|entry| *lane.of(&entry.back), "back");
            let ready = entries.iter().filter(|(_, entry)| *lane.of(&entry.ready)).map(|(at, e)| (*at, e.rank));
            self.order.invariants(lane, &ready.collect::<Vec<_>>());
        }
        sorted(&self.wake, &|entry| entry.wake, "wake");
        sorted(&self.probes, &|entry| entry.probe, "probes");
        for health in Health::ALL {
            assert_eq!(self.count(health) as usize, members(&|e| e.health == Some(health)).len(), "{health:?}");
        }
    }
}

fn resort(timers: &mut Timers, place: usize, old: Option<Timestamp>, new: Option<Timestamp>) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        timers.remove(&(old, place));
    }
    if let Some(new) = new {
        timers.insert((new, place));
    }
}
