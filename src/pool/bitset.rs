//! A set of places that finds its next member in a handful of steps, however large and however empty it is.
//!
//! Level 0 has a bit per place; each level above has a bit per word below that is not zero. 100,000 places need three
//! levels, so the one healthy key of a depleted pool is found by looking at five words at most.

/// A growing set of small numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    levels: Vec<Vec<u64>>,
    count: usize,
}

const WORD: usize = u64::BITS as usize;

impl Bits {
    /// How many members there are.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn contains(&self, place: usize) -> bool {
        self.word(0, place / WORD).is_some_and(|word| word & bit(place) != 0)
    }

    /// Put `place` in or take it out.
    pub fn set(&mut self, place: usize, member: bool) {
        match (member, self.contains(place)) {
            (true, false) => self.insert(place),
            (false, true) => self.remove(place),
            _ => {}
        }
    }

    /// The first member at `from` or behind it.
    pub fn next(&self, from: usize) -> Option<usize> {
        let (mut level, mut at) = (0, from);
        loop {
            // Out of range on any level means that nothing is set behind `at`.
            let word = self.word(level, at / WORD)? & (u64::MAX << (at % WORD));
            if word != 0 {
                at = at / WORD * WORD + word.trailing_zeros() as usize;
                break;
            }
            level += 1;
            at = at / WORD + 1;
        }
        while level > 0 {
            level -= 1;
            at = at * WORD + self.word(level, at)?.trailing_zeros() as usize;
        }
        Some(at)
    }

    /// The members at `from` and behind it, ascending.
    pub fn from(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.next(from), |at| self.next(at + 1))
    }

    /// How many members stand before `place`.
    pub fn rank(&self, place: usize) -> usize {
        let Some(bottom) = self.levels.first() else { return 0 };
        let (whole, rest) = (place / WORD, place % WORD);
        let before: u32 = bottom.iter().take(whole).map(|word| word.count_ones()).sum();
        let partial = bottom.get(whole).map_or(0, |word| (word & !(u64::MAX << rest)).count_ones());
        (before + partial) as usize
    }

    fn word(&self, level: usize, at: usize) -> Option<u64> {
        self.levels.get(level).and_then(|words| words.get(at)).copied()
    }

    fn insert(&mut self, place: usize) {
        self.grow_to(place);
        self.count += 1;
        let mut at = place;
        for level in &mut self.levels {
            let Some(word) = level.get_mut(at / WORD) else { return };
            let known_above = *word != 0;
            *word |= bit(at);
            if known_above {
                return;
            }
            at /= WORD;
        }
    }

    fn remove(&mut self, place: usize) {
        self.count -= 1;
        let mut at = place;
        for level in &mut self.levels {
            let Some(word) = level.get_mut(at / WORD) else { return };
            *word &= !bit(at);
            if *word != 0 {
                return;
            }
            at /= WORD;
        }
    }

    /// Make room for `place`, doubling, and build the levels above anew.
    fn grow_to(&mut self, place: usize) {
        let words = place / WORD + 1;
        let mut bottom = match self.levels.first_mut() {
            Some(bottom) if bottom.len() >= words => return,
            Some(bottom) => std::mem::take(bottom),
            None => Vec::new(),
        };
        bottom.resize(words.next_power_of_two(), 0);
        self.levels = vec![bottom];
        while let Some(top) = self.levels.last().filter(|top| top.len() > 1) {
            let above = top.chunks(WORD).map(summary).collect();
            self.levels.push(above);
        }
    }

    /// Panics when the levels or the count disagree with the bottom level.
    pub fn invariants(&self) {
        for (below, above) in self.levels.iter().zip(self.levels.iter().skip(1)) {
            assert_eq!(&below.chunks(WORD).map(summary).collect::<Vec<_>>(), above, "a level sums up the one below");
        }
        let members: u32 = self.levels.first().map_or(0, |words| words.iter().map(|w| w.count_ones()).sum());
        assert_eq!(members as usize, self.count, "the count is right");
    }
}

const fn bit(at: usize) -> u64 {
    1 << (at % WORD)
}

/// A word with a bit for each word that is not zero.
fn summary(words: &[u64]) -> u64 {
    words.iter().enumerate().fold(0, |sum, (at, word)| if *word == 0 { sum } else { sum | bit(at) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_only_member_of_a_large_set() {
        let mut bits = Bits::default();
        assert_eq!(bits.next(0), None);
        bits.set(999_999, true);
        assert_eq!((bits.next(0), bits.next(999_999), bits.next(1_000_000)), (Some(999_999), Some(999_999), None));
        bits.set(999_999, false);
        assert_eq!((bits.next(0), bits.len()), (None, 0));
    }

    proptest! {
        #[test]
        fn behaves_like_an_ordered_set(
            steps in prop::collection::vec((prop_oneof![0usize..200, 0usize..9_000], any::<bool>()), 1..200),
            probes in prop::collection::vec(0usize..10_000, 1..50),
        ) {
            let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
            for (place, member) in steps {
                bits.set(place, member);
                if member { model.insert(place); } else { model.remove(&place); }
            }
            bits.invariants();
            prop_assert_eq!(bits.from(0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            for at in probes {
                prop_assert_eq!(bits.next(at), model.range(at..).next().copied());
                prop_assert_eq!(bits.rank(at), model.range(..at).count());
                prop_assert_eq!(bits.contains(at), model.contains(&at));
            }
        }
    }
}
