//! Weights by place, with a weighted draw in logarithmic time (a Fenwick tree).

/// Weights of places 0, 1, 2, …; a place never set weighs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights {
    each: Vec<u64>,
    /// `tree[i]` sums the weights of the `lowbit(i + 1)` places that end at `i`.
    tree: Vec<u64>,
    total: u64,
}

impl Weights {
    /// The sum of all weights.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What `place` weighs.
    pub fn get(&self, place: usize) -> u64 {
        self.each.get(place).copied().unwrap_or(0)
    }

    /// Let `place` weigh `weight`. The sum of all weights must stay within 64 bits.
    pub fn set(&mut self, place: usize, weight: u64) {
        while self.each.len() <= place {
            self.push();
        }
        let Some(slot) = self.each.get_mut(place) else { return };
        // Differences are added modulo 2^64, so one pass serves for growing and shrinking.
        let change = weight.wrapping_sub(*slot);
        *slot = weight;
        self.total = self.total.wrapping_add(change);
        let mut at = place + 1;
        while let Some(sum) = self.tree.get_mut(at - 1) {
            *sum = sum.wrapping_add(change);
            at += lowbit(at);
        }
    }

    /// The place that a ticket from `0..total` falls on; `None` for a larger ticket.
    pub fn draw(&self, ticket: u64) -> Option<usize> {
        if ticket >= self.total {
            return None;
        }
        let (mut passed, mut left) = (0, ticket);
        let mut step = self.tree.len().checked_next_power_of_two().unwrap_or(0);
        while step > 0 {
            if let Some(sum) = self.tree.get(passed + step - 1).filter(|sum| **sum <= left) {
                left -= sum;
                passed += step;
            }
            step /= 2;
        }
        Some(passed)
    }

    fn push(&mut self) {
        let at = self.each.len() + 1;
        let (mut sum, mut child) = (0u64, 1);
        while child < lowbit(at) {
            sum = sum.wrapping_add(self.tree.get(at - child - 1).copied().unwrap_or(0));
            child *= 2;
        }
        self.each.push(0);
        self.tree.push(sum);
    }

    /// Panics when the total disagrees with the weights.
    pub fn invariants(&self) {
        assert_eq!(self.each.iter().sum::<u64>(), self.total, "the total is the sum");
        assert_eq!(self.each.len(), self.tree.len(), "a node per place");
    }
}

const fn lowbit(at: usize) -> usize {
    at & at.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_ticket_falls_where_the_sums_say(changes in prop::collection::vec((0usize..40, 0u64..9), 1..80)) {
            let mut weights = Weights::default();
            for (place, weight) in changes {
                weights.set(place, weight);
                prop_assert_eq!(weights.get(place), weight);
                weights.invariants();
                let tickets: Vec<usize> = weights.each.iter().enumerate()
                    .flat_map(|(place, weight)| std::iter::repeat_n(place, *weight as usize)).collect();
                for (ticket, place) in tickets.iter().enumerate() {
                    prop_assert_eq!(weights.draw(ticket as u64), Some(*place));
                }
                prop_assert_eq!(weights.draw(weights.total()), None);
            }
        }
    }
}
