//! What is running up for a client or one of its users: its budgets' money, its rates, and what is under way.

use crate::clock::{Day, Timestamp};
use crate::money::{Caps, Ended, Hold, Purse, PurseFigures, Usd};

use super::{Allowance, Bucket, Drought};

/// Why something is not allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// As many requests are under way as may be.
    Busy,
    /// Too many requests in this minute.
    Requests(Drought),
    /// Too many tokens in this minute.
    Tokens(Drought),
    /// The budgets leave nothing.
    Spent {
        /// When a window turns that brings them back; `None` when that alone does not.
        until: Option<Timestamp>,
    },
    /// The budgets leave less than the request may cost.
    TooDear {
        /// So much.
        leaves: Usd,
        /// When windows turn that bring enough back; `None` when that alone does not.
        until: Option<Timestamp>,
    },
    /// They leave enough, but for what is held for requests under way.
    Held,
    /// Nobody can say what the request may cost.
    Unbounded,
}

/// The running figures of one client or user.
#[derive(Clone, Debug)]
pub struct Tab {
    purse: Purse,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    under_way: u32,
    /// Counts what changes the money by something that is booked.
    events: u64,
}

impl Tab {
    /// A tab with these budgets, when the store knows these figures and nothing is under way.
    pub fn new(budgets: Caps, figures: PurseFigures) -> Self {
        let purse = Purse::new(budgets, None, figures, 0);
        Self { purse, requests: None, tokens: None, under_way: 0, events: 0 }
    }

    /// Other budgets from now on.
    pub fn set_budgets(&mut self, budgets: Caps) {
        self.purse.set_limits(budgets, None);
    }

    /// A request begins; it is under way until [`Tab::stand`].
    ///
    /// # Errors
    /// [`Shortage::Busy`] or [`Shortage::Requests`]; nothing has changed then.
    pub fn sit(&mut self, allowance: &Allowance, now: Timestamp) -> Result<(), Shortage> {
        if allowance.concurrency.is_some_and(|most| self.under_way >= most) {
            return Err(Shortage::Busy);
        }
        if let Some(rate) = allowance.requests_per_minute {
            let bucket = self.requests.get_or_insert_with(|| Bucket::full(rate, now));
            bucket.take(1, rate, now).map_err(Shortage::Requests)?;
        }
        self.under_way = self.under_way.saturating_add(1);
        Ok(())
    }

    /// A request that had begun is not to be: nothing of it counts.
    pub fn unsit(&mut self, allowance: &Allowance) {
        self.stand();
        if let (Some(bucket), Some(rate)) = (&mut self.requests, allowance.requests_per_minute) {
            bucket.correct(1, 0, rate);
        }
    }

    /// A request is over.
    pub fn stand(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Requests under way.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    /// Take the tokens that a request is expected to use.
    ///
    /// # Errors
    /// [`Shortage::Tokens`]; nothing was taken then.
    pub fn take_tokens(&mut self, allowance: &Allowance, tokens: u64, now: Timestamp) -> Result<(), Shortage> {
        let Some(rate) = allowance.tokens_per_minute else { return Ok(()) };
        let bucket = self.tokens.get_or_insert_with(|| Bucket::full(rate, now));
        bucket.take(tokens, rate, now).map_err(Shortage::Tokens)
    }

    /// A request has used so many tokens, in the place of what was taken when so many were asked for.
    pub fn used_tokens(&mut self, allowance: &Allowance, asked: u64, used: u64) {
        if let (Some(bucket), Some(rate)) = (&mut self.tokens, allowance.tokens_per_minute) {
            bucket.correct(asked, used, rate);
        }
    }

    /// Hold a request's worst cost; `None` when nobody knows it.
    ///
    /// # Errors
    /// A shortage of money; nothing is held then.
    pub fn hold(&mut self, worst: Option<Usd>, now: Timestamp) -> Result<Hold, Shortage> {
        let is_capped = !self.purse.caps().is_empty();
        match worst {
            None if is_capped => Err(Shortage::Unbounded),
            None => {
                self.purse.begin_unbounded();
                Ok(Hold { amount: Usd::ZERO, missing: Usd::ZERO })
            }
            Some(amount) if is_capped => self.purse.hold(amount, None, now).ok_or_else(|| self.why_not(amount, now)),
            Some(amount) => {
                self.purse.hold_uncapped(amount);
                Ok(Hold { amount, missing: Usd::ZERO })
            }
        }
    }

    fn why_not(&self, amount: Usd, now: Timestamp) -> Shortage {
        match self.purse.spendable(None, now) {
            // They began before there was a budget, and will be over some time.
            _ if self.purse.waits_for_unbounded() => Shortage::Held,
            left if left <= Usd::ZERO => Shortage::Spent { until: self.purse.turns_at(now) },
            leaves if leaves < amount => Shortage::TooDear { leaves, until: self.purse.turns_for(amount, now) },
            _ => Shortage::Held,
        }
    }

    /// What was held is over. `held` is what [`Tab::hold`] was called with.
    pub fn end(&mut self, held: Option<Usd>, how: Ended, day: Day) {
        self.events += u64::from(how != Ended::Unsent);
        self.purse.ended(held, how, day);
    }

    /// A cost beside the one that was held for: two attempts of one request have cost something.
    pub fn end_extra(&mut self, how: Ended, day: Day) {
        self.purse.begin_unbounded();
        self.end(None, how, day);
    }

    /// The cost of an attempt in suspense was found.
    pub fn found(&mut self, held: Option<Usd>, cost: Usd, day: Day) {
        self.events += 1;
        self.purse.found(held, cost, day);
    }

    /// How often something was booked: who reads the store's figures sees by it whether they are still true.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Take over what the store knows.
    pub fn sync(&mut self, figures: PurseFigures) {
        self.purse.sync(figures);
    }

    /// What was missing for a hold is durable.
    pub fn leased(&mut self, amount: Usd, others: Usd) {
        self.purse.leased(amount);
        self.purse.others_are(others, false);
    }

    /// What is held and not leased. Where nothing is capped, nothing need be leased.
    pub fn missing(&self) -> Usd {
        if self.purse.caps().is_empty() { Usd::ZERO } else { self.purse.missing() }
    }

    /// Whether more should be leased in advance, or some be given back.
    pub fn is_lease_off(&self) -> bool {
        let is_capped = !self.purse.caps().is_empty();
        if is_capped { self.purse.is_lease_off() } else { self.purse.lease() > self.purse.held() }
    }

    /// How much to lease in advance; what is below zero was given back here and is to be told to the store.
    pub fn lease_wish(&mut self, permille: u32, now: Timestamp) -> Usd {
        let wish = self.purse.lease_wish(permille, None, now);
        if wish.is_negative() {
            self.purse.give_back(Usd::ZERO.checked_sub(wish).unwrap_or_default());
        }
        wish
    }

    /// Its money.
    pub fn purse(&self) -> &Purse {
        &self.purse
    }

    /// What nobody would miss: nothing is under way or held, and the rates are as at first. What it has leased is to be given
    /// back.
    pub fn is_idle(&mut self, allowance: &Allowance, now: Timestamp) -> bool {
        let full = |bucket: &mut Option<Bucket>, rate: Option<u32>| match (bucket, rate) {
            (Some(bucket), Some(rate)) => bucket.is_full(rate, now),
            _ => true,
        };
        self.under_way == 0
            && self.purse.held() == Usd::ZERO
            && full(&mut self.requests, allowance.requests_per_minute)
            && full(&mut self.tokens, allowance.tokens_per_minute)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::money::Window;

    const NOW: Timestamp = Timestamp::from_secs(1_795_521_600);

    fn usd(pico: i64) -> Usd {
        Usd::from_pico(pico)
    }

    fn tab(day: i64) -> Tab {
        Tab::new([(Window::Day, usd(day))].into_iter().collect(), PurseFigures::default())
    }

    fn ends(tab: &mut Tab, held: i64, how: Ended) {
        tab.end(Some(usd(held)), how, NOW.day());
    }

    #[test]
    fn budgets_are_held_before_they_are_spent() {
        let mut tab = tab(100);
        for _ in 0..2 {
            assert!(tab.hold(Some(usd(40)), NOW).is_ok());
        }
        assert_eq!(tab.hold(Some(usd(40)), NOW), Err(Shortage::Held), "80 are held of 100");
        let too_dear = |leaves, until| Err(Shortage::TooDear { leaves: usd(leaves), until });
        let turn = NOW.next_midnight();
        assert_eq!(tab.hold(Some(usd(101)), NOW), too_dear(100, None), "more than a day has");
        assert_eq!(tab.hold(None, NOW), Err(Shortage::Unbounded));
        ends(&mut tab, 40, Ended::Cost(usd(10)));
        ends(&mut tab, 40, Ended::Suspended);
        assert_eq!(tab.hold(Some(usd(51)), NOW), too_dear(50, Some(turn)), "10 spent, 40 in suspense");
        assert_eq!(tab.hold(Some(usd(61)), NOW), too_dear(50, None), "also tomorrow 40 are in suspense");
        assert!(tab.hold(Some(usd(50)), NOW).is_ok());
        ends(&mut tab, 50, Ended::Cost(usd(50)));
        assert_eq!(tab.hold(Some(usd(1)), NOW), Err(Shortage::Spent { until: Some(turn) }));
        assert!(tab.hold(Some(Usd::ZERO), NOW).is_ok(), "what is free is free");
        tab.found(Some(usd(40)), usd(5), NOW.day());
        assert_eq!(tab.hold(Some(usd(36)), NOW), too_dear(35, Some(turn)));
        assert!(tab.hold(Some(usd(100)), turn).is_ok(), "a new day");
    }

    #[test]
    fn without_budgets_everything_passes_and_counts_when_one_is_set() {
        let mut tab = Tab::new(Caps::default(), PurseFigures::default());
        assert_eq!(tab.hold(None, NOW).map(|hold| hold.missing), Ok(Usd::ZERO));
        assert_eq!(tab.hold(Some(usd(70)), NOW).map(|hold| hold.missing), Ok(Usd::ZERO));
        assert_eq!(tab.missing(), Usd::ZERO);
        tab.set_budgets([(Window::Total, usd(100))].into_iter().collect());
        assert_eq!(tab.hold(Some(usd(1)), NOW), Err(Shortage::Held), "nobody knows what one will cost");
        tab.end(None, Ended::Cost(usd(10)), NOW.day());
        assert_eq!(tab.hold(Some(usd(21)), NOW), Err(Shortage::Held), "70 of 90 are held");
        assert_eq!(tab.hold(Some(usd(20)), NOW).map(|hold| hold.missing), Ok(usd(20)));
        ends(&mut tab, 20, Ended::Unsent);
        tab.end_extra(Ended::Cost(usd(30)), NOW.day());
        ends(&mut tab, 70, Ended::Cost(usd(1)));
        assert_eq!(tab.purse().settled(Window::Total, NOW), usd(41));
        assert_eq!(tab.events(), 3, "what was not sent is nothing that was booked");
    }

    #[test]
    fn requests_and_tokens_have_their_rates() {
        let allowance = Allowance {
            requests_per_minute: Some(2),
            tokens_per_minute: Some(1_000),
            concurrency: Some(2),
            ..Allowance::default()
        };
        let mut tab = tab(100);
        assert!(tab.is_idle(&allowance, NOW));
        assert_eq!((tab.sit(&allowance, NOW), tab.sit(&allowance, NOW)), (Ok(()), Ok(())));
        assert_eq!(tab.sit(&allowance, NOW), Err(Shortage::Busy));
        tab.stand();
        let later = NOW.after(Duration::from_secs(30));
        let dry = Drought { per_minute: 2, left: 0, until: later };
        assert_eq!(tab.sit(&allowance, NOW), Err(Shortage::Requests(dry)));
        assert_eq!((tab.sit(&allowance, later), tab.under_way()), (Ok(()), 2));
        assert_eq!(tab.take_tokens(&allowance, 900, NOW), Ok(()));
        assert!(matches!(tab.take_tokens(&allowance, 200, NOW), Err(Shortage::Tokens(dry)) if dry.left == 100));
        tab.used_tokens(&allowance, 900, 800);
        assert_eq!(tab.take_tokens(&allowance, 200, NOW), Ok(()));
        tab.stand();
        tab.stand();
        assert!(!tab.is_idle(&allowance, later) && tab.is_idle(&allowance, later.after(Duration::from_secs(90))));
        assert_eq!(tab.take_tokens(&Allowance::default(), u64::MAX, NOW), Ok(()));
    }

    #[test]
    fn a_little_is_leased_in_advance_and_given_back_when_nothing_is_capped_any_more() {
        let mut tab = tab(10_000);
        assert!(tab.is_lease_off());
        assert_eq!(tab.lease_wish(10, NOW), usd(75));
        tab.leased(usd(75), Usd::ZERO);
        assert!(!tab.is_lease_off());
        assert_eq!(tab.hold(Some(usd(100)), NOW).map(|hold| hold.missing), Ok(usd(25)));
        tab.set_budgets(Caps::default());
        assert_eq!(tab.missing(), Usd::ZERO);
        ends(&mut tab, 100, Ended::Unsent);
        assert!(tab.is_lease_off());
        assert_eq!(tab.lease_wish(10, NOW), usd(-75));
        assert!(!tab.is_lease_off());
    }
}
