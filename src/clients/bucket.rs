//! A token bucket: what may be taken flows in evenly, and a minute's worth of it fits in.

use std::time::Duration;

use crate::clock::Timestamp;

/// In so many parts of a unit it is counted, so that a rate by the minute is a whole number of them by the millisecond.
const PARTS: i64 = 60_000;

/// How full it is. What it is filled at is given with each use: the rate may change meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// In parts; below zero after more was used than was in it.
    level: i64,
    at: Timestamp,
}

/// There is not enough in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drought {
    /// What flows in by the minute, and fits in.
    pub per_minute: u32,
    /// Whole units in it.
    pub left: u64,
    /// When there is enough.
    pub until: Timestamp,
}

impl Bucket {
    /// A full one.
    pub fn full(per_minute: u32, now: Timestamp) -> Self {
        Self { level: most(per_minute), at: now }
    }

    /// Take so much out. Of more than fits in all that is there is taken, when it is full: nobody knows yet whether it will be
    /// used, and what one asks for must not keep others waiting for longer than a minute.
    ///
    /// # Errors
    /// [`Drought`]; nothing was taken then.
    pub fn take(&mut self, amount: u64, per_minute: u32, now: Timestamp) -> Result<(), Drought> {
        self.flow(per_minute, now);
        let wanted = parts(amount).min(most(per_minute));
        let missing = wanted.saturating_sub(self.level);
        if missing > 0 {
            let wait = missing.saturating_add(i64::from(per_minute) - 1) / i64::from(per_minute).max(1);
            let until = now.after(Duration::from_millis(u64::try_from(wait).unwrap_or_default()));
            return Err(Drought { per_minute, left: self.left(), until });
        }
        self.level = self.level.saturating_sub(wanted);
        Ok(())
    }

    /// So much was used in truth, in the place of what was taken when so much was asked for. What was used beyond that leaves
    /// it in debt.
    pub fn correct(&mut self, asked: u64, used: u64, per_minute: u32) {
        let taken = parts(asked).min(most(per_minute));
        self.level = self.level.saturating_add(taken).saturating_sub(parts(used));
    }

    /// Whole units in it, when it was last looked at.
    pub fn left(&self) -> u64 {
        u64::try_from(self.level.div_euclid(PARTS)).unwrap_or_default()
    }

    /// Whether it is as good as a new one: nothing is lost with it.
    pub fn is_full(&mut self, per_minute: u32, now: Timestamp) -> bool {
        self.flow(per_minute, now);
        self.level >= most(per_minute)
    }

    /// Let in what has come since it was last looked at. A clock that was set back brings nothing, and takes nothing away.
    fn flow(&mut self, per_minute: u32, now: Timestamp) {
        let passed = i64::try_from(now.since(self.at).as_millis()).unwrap_or(i64::MAX);
        let inflow = passed.saturating_mul(i64::from(per_minute));
        self.level = self.level.saturating_add(inflow).min(most(per_minute));
        self.at = now;
    }
}

fn most(per_minute: u32) -> i64 {
    i64::from(per_minute) * PARTS
}

fn parts(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(PARTS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_795_521_600_000 + ms)
    }

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_as_it_flows() {
        let mut bucket = Bucket::full(3, at(0));
        for _ in 0..3 {
            assert_eq!(bucket.take(1, 3, at(0)), Ok(()));
        }
        let drought = |left, ms| Err(Drought { per_minute: 3, left, until: at(ms) });
        assert_eq!(bucket.take(1, 3, at(0)), drought(0, 20_000));
        assert_eq!(bucket.take(1, 3, at(19_999)), drought(0, 20_000));
        assert_eq!(bucket.take(1, 3, at(20_000)), Ok(()));
        assert_eq!(bucket.take(2, 3, at(40_000)), drought(1, 60_000));
        assert!(!bucket.is_full(3, at(50_000)) && bucket.is_full(3, at(200_000)));
    }

    #[test]
    fn what_is_larger_than_the_bucket_waits_until_it_is_full_and_what_was_used_is_paid_for() {
        let mut bucket = Bucket::full(100, at(0));
        assert_eq!(bucket.take(u64::MAX, 100, at(0)), Ok(()));
        assert_eq!(
            bucket.take(1, 100, at(0)).map_err(|dry| dry.until),
            Err(at(600)),
            "no debt by what is only asked for"
        );
        // In truth 20 were used.
        bucket.correct(u64::MAX, 20, 100);
        assert_eq!((bucket.take(80, 100, at(0)), bucket.left()), (Ok(()), 0));
        bucket.correct(80, 230, 100);
        assert_eq!(bucket.take(1, 100, at(0)).map_err(|dry| dry.until), Err(at(90_600)));
        bucket.correct(0, u64::MAX, 100);
        assert!(bucket.take(u64::MAX, u32::MAX, at(0)).is_err(), "nothing overflows");
    }

    #[test]
    fn clocks_and_rates_may_change() {
        let mut bucket = Bucket::full(60, at(0));
        assert_eq!(bucket.take(60, 60, at(0)), Ok(()));
        assert!(bucket.take(1, 60, at(-3_600_000)).is_err(), "an hour back brings nothing");
        assert_eq!(bucket.take(1, 60, at(-3_599_000)), Ok(()), "and it goes on from there");
        assert!(bucket.is_full(60, at(i64::from(u32::MAX))));
        assert_eq!(bucket.take(6, 5, at(i64::from(u32::MAX))), Ok(()), "a lower rate has a smaller bucket");
        assert_eq!(bucket.left(), 0);
    }

    proptest! {
        /// Whatever is asked for and whenever: never more is taken than was in it at first and has flowed in since.
        #[test]
        fn no_more_comes_out_than_goes_in(
            per_minute in 1_u32..1_000,
            asks in prop::collection::vec((0_u64..2_000, 0_i64..120_000), 1..200),
        ) {
            let (mut bucket, mut now, mut taken) = (Bucket::full(per_minute, at(0)), 0, 0_i64);
            for (amount, pause) in asks {
                now += pause;
                let amount = amount.min(per_minute.into());
                match bucket.take(amount, per_minute, at(now)) {
                    Ok(()) => taken += amount as i64,
                    Err(dry) => prop_assert!(dry.until > at(now) && dry.left < amount),
                }
                let flowed = i64::from(per_minute) + now * i64::from(per_minute) / 60_000;
                prop_assert!(taken <= flowed, "{taken} of {flowed}");
            }
        }

        /// Who waits as long as was said is let in.
        #[test]
        fn the_wait_that_is_told_is_enough(per_minute in 1_u32..5_000, first: u32, second: u32) {
            let mut bucket = Bucket::full(per_minute, at(0));
            bucket.take(first.into(), per_minute, at(0)).expect("full");
            if let Err(dry) = bucket.take(second.into(), per_minute, at(0)) {
                let before = Timestamp::from_millis(dry.until.as_millis() - 1);
                prop_assert!(bucket.clone().take(second.into(), per_minute, before).is_err());
                prop_assert_eq!(bucket.take(second.into(), per_minute, dry.until), Ok(()));
            }
        }
    }
}
