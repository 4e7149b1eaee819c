//! In which order eligible keys take their turns: the four rotations.

use std::collections::BTreeSet;

use crate::money::Usd;

use super::bitset::Bits;
use super::fenwick::Weights;
use super::{Lane, Rotation};

/// What a key's turn may depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rank {
    /// Share of the draw under `weighted`.
    pub weight: u64,
    /// What it has paid, for `least_spent`.
    pub spent: Usd,
    /// When it was last chosen, as a count of choices: among equal spenders the one longest idle goes first.
    pub turn: u64,
}

/// The rotation and what it remembers, per lane.
///
/// Each lane turns on its own: with one common turn, traffic that alternates between a free and a paid model would
/// put all paid requests on every second key.
#[derive(Clone, Debug)]
pub(super) enum Order {
    RoundRobin { next: [usize; 2] },
    Weighted([Weights; 2]),
    LeastSpent([BTreeSet<(Usd, u64, usize)>; 2]),
    FillFirst,
}

impl Order {
    pub fn new(rotation: Rotation) -> Self {
        match rotation {
            Rotation::RoundRobin => Self::RoundRobin { next: [0; 2] },
            Rotation::Weighted => Self::Weighted(Default::default()),
            Rotation::LeastSpent => Self::LeastSpent(Default::default()),
            Rotation::FillFirst => Self::FillFirst,
        }
    }

    /// The key at `place` entered (`new`), left (`old` only) or changed rank among those ready in a lane.
    pub fn update(&mut self, lane: Lane, place: usize, old: Option<Rank>, new: Option<Rank>) {
        match self {
            Self::Weighted(weights) => lane.of_mut(weights).set(place, new.map_or(0, |rank| rank.weight)),
            Self::LeastSpent(sets) => {
                let set = lane.of_mut(sets);
                if let Some(rank) = old {
                    set.remove(&(rank.spent, rank.turn, place));
                }
                if let Some(rank) = new {
                    set.insert((rank.spent, rank.turn, place));
                }
            }
            Self::RoundRobin { .. } | Self::FillFirst => {}
        }
    }

    /// The next place whose turn it is in this lane, leaving out what `skip` names. The turn passes on to the one
    /// behind it. Costs one step, and one more for each key left out.
    pub fn pick(&mut self, lane: Lane, ready: &Bits, roll: u64, skip: impl Fn(usize) -> bool) -> Option<usize> {
        match self {
            Self::RoundRobin { next } => {
                let next = lane.of_mut(next);
                let ahead = ready.from(*next).find(|place| !skip(*place));
                let wrapped = || ready.from(0).take_while(|place| place < next).find(|place| !skip(*place));
                let found = ahead.or_else(wrapped)?;
                *next = found + 1;
                Some(found)
            }
            Self::Weighted(weights) => draw(lane.of_mut(weights), roll, skip),
            Self::LeastSpent(sets) => lane.of_mut(sets).iter().map(|(_, _, place)| *place).find(|place| !skip(*place)),
            Self::FillFirst => ready.from(0).find(|place| !skip(*place)),
        }
    }

    /// Places were renumbered: `renumber` gives the new place of the first live key at or behind an old one.
    pub fn carry_turn(&mut self, old: &Self, renumber: impl Fn(usize) -> usize) {
        if let (Self::RoundRobin { next }, Self::RoundRobin { next: old }) = (self, old) {
            *next = old.map(renumber);
        }
    }

    /// Panics when what is kept for a lane is not exactly what its ready keys say.
    pub fn invariants(&self, lane: Lane, ready: &[(usize, Rank)]) {
        match self {
            Self::Weighted(weights) => {
                let weights = lane.of(weights);
                weights.invariants();
                assert!(ready.iter().all(|(place, rank)| weights.get(*place) == rank.weight), "weights are current");
                assert_eq!(weights.total(), ready.iter().map(|(_, rank)| rank.weight).sum::<u64>(), "and no others");
            }
            Self::LeastSpent(sets) => {
                let wanted: BTreeSet<_> = ready.iter().map(|(place, rank)| (rank.spent, rank.turn, *place)).collect();
                assert_eq!(lane.of(sets), &wanted, "the order by spend is current");
            }
            Self::RoundRobin { .. } | Self::FillFirst => {}
        }
    }
}

/// A weighted draw among the places not skipped: a skipped one that was drawn is set aside, and put back at the end.
fn draw(weights: &mut Weights, roll: u64, skip: impl Fn(usize) -> bool) -> Option<usize> {
    let mut aside = Vec::new();
    let found = loop {
        let ticket = (u128::from(roll) * u128::from(weights.total())) >> 64;
        let Some(place) = u64::try_from(ticket).ok().and_then(|ticket| weights.draw(ticket)) else { break None };
        if !skip(place) {
            break Some(place);
        }
        aside.push((place, weights.get(place)));
        weights.set(place, 0);
    };
    for (place, weight) in aside {
        weights.set(place, weight);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_follows_the_weights_and_leaves_out_the_skipped() {
        let mut weights = Weights::default();
        for (place, weight) in [(0, 1), (1, 6), (2, 3)] {
            weights.set(place, weight);
        }
        let mut count = |skip: usize| {
            let mut hits = [0; 3];
            for tenth in 0..10u64 {
                let roll = u64::MAX / 10 * tenth + u64::MAX / 20;
                hits[draw(&mut weights, roll, |place| place == skip).expect("somebody is left")] += 1;
            }
            hits
        };
        assert_eq!(count(9), [1, 6, 3]);
        assert_eq!(count(1), [3, 0, 7]);
        assert_eq!(count(9), [1, 6, 3], "what was set aside is back");
        assert_eq!(draw(&mut weights, 7, |_| true), None);
    }
}
