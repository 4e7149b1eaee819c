//! The money of one key with limits, as this process knows it: what its caps leave, what is held, what is leased.
//!
//! Three amounts stand between a cap and what has been spent, and each is spent until proven otherwise:
//!
//! * **held**: the worst cost of each request under way. Settling puts the true cost in its place, once.
//! * **suspense**: the worst cost of each attempt that ended without telling its cost.
//! * **leases**: what a process may spend without asking again. A lease is durable before anything is held from it, so
//!   that a crash cannot forget a hold; what a process that is gone had leased counts as spent.
//!
//! The store grants leases and never more than the caps leave ([`Purse`] only decides who is asked); so a purse that is
//! behind the store can choose a key in vain, but not overspend it.

use std::collections::BTreeMap;

use crate::clock::{Day, Timestamp};

use super::sums::Sums;
use super::{Caps, Usd, Window};

/// What the store knows about the money of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurseFigures {
    /// Settled costs by day, from the first day of the longest window on. Days to come are among them when a clock was
    /// ahead: a clock set back gives nothing back.
    pub days: BTreeMap<Day, Usd>,
    /// Settled costs of all time.
    pub total: Usd,
    /// Worst costs of attempts in suspense.
    pub suspense: Usd,
    /// Attempts in suspense whose worst cost nobody knows.
    pub suspense_unbounded: u32,
    /// What this process has leased and not yet spent.
    pub lease: Usd,
    /// What other processes have leased, and neither spent nor given back.
    pub others: Usd,
    /// Another process used the key without a bound and has not accounted for it.
    pub others_unbounded: bool,
}

/// The money of one key.
#[derive(Clone, Debug, Default)]
pub struct Purse {
    caps: Caps,
    reserve: Option<Usd>,
    figures: PurseFigures,
    held: Usd,
    /// Requests under way whose worst cost nobody knows: they began before the key had limits.
    unbounded: u32,
    /// What is settled in the windows of the day of the last hold.
    sums: Option<Sums>,
    /// What may be leased and not held without anybody having to look again; `None` until somebody has looked.
    near_enough: Option<(Usd, Usd)>,
}

/// A hold that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The request's worst cost.
    pub amount: Usd,
    /// What must be drawn before anything may be sent; zero when the lease covers the hold.
    pub missing: Usd,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing was sent: the hold is free again.
    Unsent,
    /// The cost is known.
    Cost(Usd),
    /// The cost is to be found out.
    Suspended,
}

impl Purse {
    /// A purse with these caps and figures, and so many requests under way already.
    pub fn new(caps: Caps, reserve: Option<Usd>, figures: PurseFigures, under_way: u32) -> Self {
        Self { caps, reserve, figures, unbounded: under_way, ..Self::default() }
    }

    /// Other caps from now on. What is out beyond them stays out; nothing new is held until it is back.
    pub fn set_limits(&mut self, caps: Caps, reserve: Option<Usd>) {
        self.caps = caps;
        self.reserve = reserve;
        self.near_enough = None;
    }

    /// The caps.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// What stays the owner's.
    pub fn reserve(&self) -> Option<Usd> {
        self.reserve
    }

    /// Settled in the window that holds `now`, and on days after it.
    pub fn settled(&self, window: Window, now: Timestamp) -> Usd {
        let today = now.day();
        self.sums_of(today).map_or_else(|| self.figures.settled(window, today), |sums| sums.of(window))
    }

    fn sums_of(&self, today: Day) -> Option<&Sums> {
        self.sums.as_ref().filter(|sums| sums.are_of(today))
    }

    /// Worst costs of requests under way.
    pub fn held(&self) -> Usd {
        self.held
    }

    /// Worst costs of attempts in suspense.
    pub fn suspense(&self) -> Usd {
        self.figures.suspense
    }

    /// Leased and not held: nobody else may spend it, and after a crash it counts as spent until proven otherwise.
    pub fn stranded(&self) -> Usd {
        self.unheld().saturating_add(self.figures.others)
    }

    /// What is leased by this process, held amounts included.
    pub fn lease(&self) -> Usd {
        self.figures.lease
    }

    /// What processes that are gone, or going, had leased.
    pub fn others(&self) -> Usd {
        self.figures.others
    }

    /// Whether a process that is gone, or going, has used the key without a bound.
    pub fn has_lost(&self) -> bool {
        self.figures.others_unbounded
    }

    /// Whether attempts are out whose worst cost nobody knows. Until they are settled nothing more is held.
    pub fn has_unbounded(&self) -> bool {
        self.unbounded > 0 || self.figures.suspense_unbounded > 0 || self.figures.others_unbounded
    }

    /// Whether requests under way, and nothing else, are out whose worst cost nobody knows: their ends bring the rest back.
    pub fn waits_for_unbounded(&self) -> bool {
        self.unbounded > 0 && self.figures.suspense_unbounded == 0 && !self.figures.others_unbounded
    }

    /// What the caps leave when nothing were under way; `None` without caps.
    fn within_caps(&self, now: Timestamp) -> Option<Usd> {
        let spent = self.figures.suspense.saturating_add(self.figures.others);
        let left = |cap: Usd, settled: Usd| less(less(cap, settled), spent);
        match self.sums_of(now.day()) {
            // Nearly always: every request asks three times.
            Some(sums) => {
                self.caps.each().iter().zip(sums.each()).filter_map(|(cap, sum)| Some(left((*cap)?, sum))).min()
            }
            None => self.caps.iter().map(|(window, cap)| left(cap, self.settled(window, now))).min(),
        }
    }

    /// What may be spent when nothing were under way. `ceiling` is what OpenRouter says is left, less what was spent
    /// since it said so; where a reserve depends on it and it is unknown, nothing may be spent.
    pub fn spendable(&self, ceiling: Option<Usd>, now: Timestamp) -> Usd {
        if self.has_unbounded() {
            return Usd::ZERO;
        }
        let spent = self.figures.suspense.saturating_add(self.figures.others);
        let upstream = match (ceiling, self.reserve) {
            (Some(left), reserve) => Some(less(less(left, spent), reserve.unwrap_or_default())),
            (None, Some(_)) => Some(Usd::ZERO),
            (None, None) => None,
        };
        [self.within_caps(now), upstream].into_iter().flatten().min().unwrap_or_default()
    }

    /// What may be held now.
    pub fn headroom(&self, ceiling: Option<Usd>, now: Timestamp) -> Usd {
        less(self.spendable(ceiling, now), self.held)
    }

    /// When a key whose caps leave nothing is back by itself: the last of the windows that are used up.
    pub fn turns_at(&self, now: Timestamp) -> Option<Timestamp> {
        let out = self.figures.suspense.saturating_add(self.figures.others);
        let used_up =
            self.caps.iter().filter(|(window, cap)| less(less(*cap, self.settled(*window, now)), out) <= Usd::ZERO);
        // What is not settled counts against every window: a turn alone does not bring that back.
        used_up.map(|(window, _)| window.turns_at(now)).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// When so much can be held again by itself: the last turn of the windows that leave less now. `None` when turns do not
    /// bring it back: it is more than a cap, or stands against what is not settled, which counts against every window.
    pub fn turns_for(&self, amount: Usd, now: Timestamp) -> Option<Timestamp> {
        let out = self.figures.suspense.saturating_add(self.figures.others);
        let left = |cap: Usd, settled: Usd| less(less(cap, settled), out);
        let short = self.caps.iter().filter(|(window, cap)| left(*cap, self.settled(*window, now)) < amount);
        let turns = short.map(|(window, cap)| window.turns_at(now).filter(|_| left(cap, Usd::ZERO) >= amount));
        turns.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Hold `amount`, when there is room for it.
    pub fn hold(&mut self, amount: Usd, ceiling: Option<Usd>, now: Timestamp) -> Option<Hold> {
        let today = now.day();
        if self.sums.is_none_or(|sums| !sums.are_of(today)) {
            self.sums = Some(Sums::new(&self.figures, today));
        }
        if self.headroom(ceiling, now) < amount {
            return None;
        }
        self.held = self.held.saturating_add(amount);
        // What others are drawing does not count: it may be refused, and who waits for it may be gone by then.
        let missing = less(self.held, self.figures.lease).max(Usd::ZERO).min(amount);
        Some(Hold { amount, missing })
    }

    /// Hold `amount` whatever is left: where nothing is capped, for the case that something will be.
    pub fn hold_uncapped(&mut self, amount: Usd) {
        self.held = self.held.saturating_add(amount);
    }

    /// What is held and not leased.
    pub fn missing(&self) -> Usd {
        less(self.held, self.figures.lease).max(Usd::ZERO)
    }

    /// A request begins whose worst cost is not held.
    pub fn begin_unbounded(&mut self) {
        self.unbounded = self.unbounded.saturating_add(1);
    }

    /// What was missing for a hold is durable, or will never be; then the hold is to be given up.
    pub fn drawn(&mut self, missing: Usd, granted: bool) {
        if granted {
            self.leased(missing);
        }
    }

    /// More was leased in advance.
    pub fn leased(&mut self, amount: Usd) {
        self.figures.lease = self.figures.lease.saturating_add(amount);
    }

    /// An attempt is over, on `day`. `held` is what was held for it, `None` when it began without a hold.
    pub fn ended(&mut self, held: Option<Usd>, how: Ended, day: Day) {
        match held {
            Some(held) => {
                self.held = less(self.held, held).max(Usd::ZERO);
                if how != Ended::Unsent {
                    self.figures.lease = less(self.figures.lease, held).max(Usd::ZERO);
                }
            }
            None => self.unbounded = self.unbounded.saturating_sub(1),
        }
        match how {
            Ended::Unsent => {}
            Ended::Cost(cost) => self.settle(cost, day),
            Ended::Suspended => match held {
                Some(held) => self.figures.suspense = self.figures.suspense.saturating_add(held),
                None => self.figures.suspense_unbounded = self.figures.suspense_unbounded.saturating_add(1),
            },
        }
    }

    /// The cost of an attempt in suspense was found; `day` is the attempt's.
    pub fn found(&mut self, held: Option<Usd>, cost: Usd, day: Day) {
        match held {
            Some(held) => self.figures.suspense = less(self.figures.suspense, held).max(Usd::ZERO),
            None => self.figures.suspense_unbounded = self.figures.suspense_unbounded.saturating_sub(1),
        }
        self.settle(cost, day);
    }

    /// Take over what the store knows. What is held and leased is this process's own: a grant may be on its way.
    pub fn sync(&mut self, figures: PurseFigures) {
        self.figures = PurseFigures { lease: self.figures.lease, ..figures };
        self.sums = None;
    }

    /// The store's view of what others have leased.
    pub fn others_are(&mut self, others: Usd, unbounded: bool) {
        self.figures.others = others;
        self.figures.others_unbounded = unbounded;
    }

    /// A cost is booked that no hold was taken for: what a process that is gone had spent.
    pub fn settle(&mut self, cost: Usd, day: Day) {
        self.figures.total = self.figures.total.saturating_add(cost);
        let of_day = self.figures.days.entry(day).or_default();
        *of_day = of_day.saturating_add(cost);
        if let Some(sums) = &mut self.sums {
            sums.add(cost, day);
        }
    }

    /// How much to lease in advance (above zero) or to give back (below), so that at most `permille` thousandths of the
    /// smallest cap are leased and not held. Zero while it is near enough.
    pub fn lease_wish(&mut self, permille: u32, ceiling: Option<Usd>, now: Timestamp) -> Usd {
        let whole = self.caps.smallest().or(ceiling).unwrap_or_default().max(Usd::ZERO);
        let most = Usd::from_pico(whole.as_pico() / 1000 * i64::from(permille));
        let most = most.min(self.headroom(ceiling, now).max(Usd::ZERO));
        let usual = Usd::from_pico(most.as_pico() / 4 * 3);
        self.near_enough = Some((Usd::from_pico(most.as_pico() / 2), most));
        if self.is_lease_off() { less(usual, self.unheld()) } else { Usd::ZERO }
    }

    /// Whether what is leased and not held is too little or too much by the last look, or does not even cover what is held.
    /// What the caps leave may have become another since: that is for the next look to see, not for each request.
    pub fn is_lease_off(&self) -> bool {
        let near_enough = self.near_enough.is_some_and(|(least, most)| (least..=most).contains(&self.unheld()));
        !near_enough || self.missing() > Usd::ZERO
    }

    /// Leased and not held.
    fn unheld(&self) -> Usd {
        less(self.figures.lease, self.held).max(Usd::ZERO)
    }

    /// Give back what [`Purse::lease_wish`] said; nothing of it may be held any more.
    pub fn give_back(&mut self, amount: Usd) {
        self.figures.lease = less(self.figures.lease, amount).max(Usd::ZERO);
    }

    /// Panics when an amount is below nothing, or a sum is not what it sums up.
    pub fn invariants(&self) {
        assert!(self.sums.is_none_or(|sums| sums.are_sums_of(&self.figures)), "{self:?}");
        let PurseFigures { suspense, lease, others, .. } = self.figures;
        assert!([self.held, suspense, lease, others].into_iter().all(|amount| !amount.is_negative()), "{self:?}");
    }
}

/// The difference, held at the smallest amount on overflow: less room is the safe side.
fn less(from: Usd, amount: Usd) -> Usd {
    from.checked_sub(amount).unwrap_or(Usd::from_pico(i64::MIN))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn usd(pico: i64) -> Usd {
        Usd::from_pico(pico)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("a time")
    }

    fn noon() -> Timestamp {
        at("2026-11-26T12:00:00Z")
    }

    fn purse(caps: &[(Window, i64)]) -> Purse {
        let caps = caps.iter().map(|(window, cap)| (*window, usd(*cap))).collect();
        Purse::new(caps, None, PurseFigures::default(), 0)
    }

    /// Hold so much, lease what is missing, and end the attempt.
    fn spend(purse: &mut Purse, held: i64, how: Ended, now: Timestamp) {
        let hold = purse.hold(usd(held), None, now).expect("room for it");
        purse.drawn(hold.missing, true);
        purse.invariants();
        purse.ended(Some(usd(held)), how, now.day());
        purse.invariants();
    }

    #[test]
    fn every_cap_binds() {
        let mut purse = purse(&[(Window::Day, 100), (Window::Week, 150), (Window::Total, 1_000)]);
        assert_eq!(purse.headroom(None, noon()), usd(100));
        spend(&mut purse, 100, Ended::Cost(usd(60)), noon());
        assert_eq!(purse.headroom(None, noon()), usd(40));
        assert_eq!(purse.hold(usd(41), None, noon()), None);
        // Thursday's turn brings a new day, but the week has only 90 left.
        let friday = at("2026-11-27T00:00:00Z");
        assert_eq!((purse.headroom(None, friday), purse.settled(Window::Day, friday)), (usd(90), Usd::ZERO));
        spend(&mut purse, 90, Ended::Cost(usd(90)), friday);
        assert_eq!(purse.headroom(None, friday), Usd::ZERO);
        assert_eq!(purse.turns_at(friday), Some(at("2026-11-30T00:00:00Z")), "on Monday");
        assert_eq!(purse.headroom(None, at("2026-11-30T00:00:00Z")), usd(100));
    }

    #[test]
    fn sums_follow_every_day_a_cost_is_booked_on() {
        let mut purse = purse(&[(Window::Day, 1_000), (Window::Week, 1_000), (Window::Month, 1_000)]);
        for (time, found, settled) in [
            ("2026-10-31T12:00:00Z", "2026-10-30T09:00:00Z", [10, 20, 20]),
            ("2026-11-01T12:00:00Z", "2026-10-31T09:00:00Z", [10, 40, 10]),
            ("2026-11-02T12:00:00Z", "2026-11-03T09:00:00Z", [20, 20, 30]),
        ] {
            let now = at(time);
            spend(&mut purse, 10, Ended::Cost(usd(10)), now);
            spend(&mut purse, 10, Ended::Suspended, now);
            purse.found(Some(usd(10)), usd(10), at(found).day());
            purse.invariants();
            let windows = [Window::Day, Window::Week, Window::Month];
            assert_eq!(windows.map(|window| purse.settled(window, now)), settled.map(usd), "{time}");
        }
        let figures = PurseFigures { days: [(noon().day(), usd(5))].into(), ..PurseFigures::default() };
        purse.sync(figures);
        spend(&mut purse, 10, Ended::Cost(usd(3)), noon());
        assert_eq!(purse.settled(Window::Month, noon()), usd(8), "what the store says replaces it");
    }

    #[test]
    fn a_total_that_is_used_up_never_turns() {
        let mut purse = purse(&[(Window::Day, 100), (Window::Total, 100)]);
        spend(&mut purse, 100, Ended::Cost(usd(100)), noon());
        assert_eq!(purse.turns_at(noon()), None);
    }

    #[test]
    fn what_is_unknown_counts_in_full_against_every_window_until_it_is_known() {
        let mut purse = purse(&[(Window::Day, 100)]);
        spend(&mut purse, 70, Ended::Suspended, noon());
        let tomorrow = at("2026-11-27T09:00:00Z");
        assert_eq!((purse.headroom(None, noon()), purse.headroom(None, tomorrow)), (usd(30), usd(30)));
        purse.found(Some(usd(70)), usd(5), noon().day());
        assert_eq!((purse.headroom(None, noon()), purse.headroom(None, tomorrow)), (usd(95), usd(100)));
    }

    #[test]
    fn a_cost_above_its_hold_is_booked_in_full() {
        let mut purse = purse(&[(Window::Total, 100)]);
        spend(&mut purse, 50, Ended::Cost(usd(130)), noon());
        assert_eq!((purse.settled(Window::Total, noon()), purse.headroom(None, noon())), (usd(130), usd(-30)));
        assert_eq!(purse.hold(Usd::ZERO, None, noon()), None);
    }

    #[test]
    fn a_clock_set_back_gives_nothing_back() {
        let mut purse = purse(&[(Window::Day, 100)]);
        spend(&mut purse, 80, Ended::Cost(usd(80)), noon());
        let year = noon().after(Duration::from_secs(365 * 86_400));
        spend(&mut purse, 90, Ended::Cost(usd(90)), year);
        assert_eq!(purse.headroom(None, noon()), usd(-70), "what was spent then counts now, too");
    }

    #[test]
    fn the_owners_reserve_needs_to_be_told_what_is_left() {
        let mut purse = Purse::new(Caps::default(), Some(usd(30)), PurseFigures::default(), 0);
        assert_eq!(purse.headroom(None, noon()), Usd::ZERO);
        assert_eq!(purse.headroom(Some(usd(100)), noon()), usd(70));
        let hold = purse.hold(usd(70), Some(usd(100)), noon()).expect("room");
        assert_eq!((hold.missing, purse.headroom(Some(usd(100)), noon())), (usd(70), Usd::ZERO));
    }

    #[test]
    fn openrouters_own_figures_are_a_second_ceiling() {
        let purse = purse(&[(Window::Total, 1_000)]);
        assert_eq!(purse.headroom(Some(usd(40)), noon()), usd(40));
        assert_eq!(purse.headroom(Some(usd(4_000)), noon()), usd(1_000));
    }

    #[test]
    fn attempts_without_a_bound_stop_everything_until_they_are_settled() {
        let caps = [(Window::Total, usd(100))].into_iter().collect();
        let mut purse = Purse::new(caps, None, PurseFigures::default(), 2);
        assert_eq!(purse.hold(Usd::ZERO, None, noon()).map(|h| h.amount), Some(Usd::ZERO), "but what is free is free");
        assert_eq!(purse.hold(usd(1), None, noon()), None);
        purse.ended(None, Ended::Cost(usd(10)), noon().day());
        purse.ended(None, Ended::Suspended, noon().day());
        assert_eq!(purse.hold(usd(1), None, noon()), None);
        purse.found(None, usd(20), noon().day());
        assert_eq!(purse.headroom(None, noon()), usd(70));
    }

    #[test]
    fn about_a_hundredth_is_leased_in_advance_and_no_more() {
        let mut purse = purse(&[(Window::Day, 10_000), (Window::Total, 40_000)]);
        let wish = purse.lease_wish(10, None, noon());
        assert_eq!(wish, usd(75));
        purse.leased(wish);
        assert_eq!(purse.lease_wish(10, None, noon()), Usd::ZERO);
        assert!(!purse.is_lease_off());
        let hold = purse.hold(usd(60), None, noon()).expect("room");
        assert!(purse.is_lease_off());
        assert_eq!((hold.missing, purse.lease_wish(10, None, noon())), (Usd::ZERO, usd(60)), "15 are free");
        let big = purse.hold(usd(500), None, noon()).expect("room");
        assert_eq!(big.missing, usd(485));
        purse.drawn(big.missing, true);
        purse.ended(Some(usd(500)), Ended::Unsent, noon().day());
        purse.invariants();
        assert_eq!(purse.stranded(), usd(500));
        assert_eq!(purse.lease_wish(10, None, noon()), usd(-425), "the rest goes back");
        purse.give_back(usd(425));
        purse.invariants();
    }

    #[test]
    fn a_draw_that_fails_gives_its_hold_up() {
        let mut purse = purse(&[(Window::Total, 100)]);
        let first = purse.hold(usd(40), None, noon()).expect("room");
        let second = purse.hold(usd(40), None, noon()).expect("room");
        assert_eq!((first.missing, second.missing), (usd(40), usd(40)), "each draws its own");
        purse.drawn(first.missing, false);
        purse.ended(Some(usd(40)), Ended::Unsent, noon().day());
        purse.drawn(second.missing, true);
        purse.invariants();
        assert_eq!((purse.held(), purse.lease(), purse.headroom(None, noon())), (usd(40), usd(40), usd(60)));
    }

    #[test]
    fn what_another_is_drawing_covers_nothing() {
        let mut purse = purse(&[(Window::Total, 100)]);
        let first = purse.hold(usd(40), None, noon()).expect("room");
        // Its client goes away before the draw is durable.
        purse.ended(Some(usd(40)), Ended::Unsent, noon().day());
        let second = purse.hold(usd(40), None, noon()).expect("room");
        assert_eq!(second.missing, usd(40), "nothing is leased yet");
        purse.drawn(first.missing, false);
        purse.drawn(second.missing, true);
        assert_eq!((purse.held(), purse.lease()), (usd(40), usd(40)));
    }

    /// What may happen to a purse.
    #[derive(Clone, Debug)]
    enum Step {
        Hold(i64),
        GiveUp { which: usize },
        Drawn { which: usize, granted: bool },
        End { which: usize, how: u8, cost: i64 },
        Tend,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0i64..80).prop_map(Step::Hold),
            any::<usize>().prop_map(|which| Step::GiveUp { which }),
            (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(which, granted)| Step::Drawn { which, granted }),
            (any::<usize>(), 0u8..3, 0i64..80).prop_map(|(which, how, cost)| Step::End { which, how, cost }),
            Just(Step::Tend),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever the order of holds, draws and ends: what may be sent is always covered by the lease, and what is settled,
        /// held and in suspense stays within the cap.
        #[test]
        fn the_cap_holds_and_what_is_sent_is_leased(steps in prop::collection::vec(step(), 1..60)) {
            let (cap, now) = (1_000, noon());
            let mut purse = purse(&[(Window::Total, cap)]);
            let (mut drawing, mut sent): (Vec<Hold>, Vec<Hold>) = (Vec::new(), Vec::new());
            // Draws whose requests did not wait for them.
            let mut orphans: Vec<Hold> = Vec::new();
            for step in steps {
                match step {
                    Step::Hold(amount) => match purse.hold(usd(amount), None, now) {
                        Some(hold) if hold.missing == Usd::ZERO => sent.push(hold),
                        Some(hold) => drawing.push(hold),
                        None => {}
                    },
                    Step::GiveUp { which } if !drawing.is_empty() => {
                        let hold = drawing.swap_remove(which % drawing.len());
                        purse.ended(Some(hold.amount), Ended::Unsent, now.day());
                        orphans.push(hold);
                    }
                    Step::Drawn { which, granted } if which % 2 == 0 && !orphans.is_empty() => {
                        let hold = orphans.swap_remove(which % orphans.len());
                        purse.drawn(hold.missing, granted);
                    }
                    Step::Drawn { which, granted } if !drawing.is_empty() => {
                        let hold = drawing.swap_remove(which % drawing.len());
                        purse.drawn(hold.missing, granted);
                        if granted {
                            sent.push(hold);
                        } else {
                            purse.ended(Some(hold.amount), Ended::Unsent, now.day());
                        }
                    }
                    Step::End { which, how, cost } if !sent.is_empty() => {
                        let hold = sent.swap_remove(which % sent.len());
                        let how = match how {
                            0 => Ended::Unsent,
                            1 => Ended::Cost(usd(cost).min(hold.amount)),
                            _ => Ended::Suspended,
                        };
                        purse.ended(Some(hold.amount), how, now.day());
                    }
                    Step::Tend => {
                        let wish = purse.lease_wish(10, None, now);
                        if wish.is_negative() {
                            purse.give_back(usd(-wish.as_pico()));
                        } else {
                            purse.leased(wish);
                        }
                    }
                    Step::GiveUp { .. } | Step::Drawn { .. } | Step::End { .. } => {}
                }
                purse.invariants();
                let sent: i64 = sent.iter().map(|hold| hold.amount.as_pico()).sum();
                prop_assert!(purse.lease() >= usd(sent), "what may be sent is leased");
                let out = purse.settled(Window::Total, now).as_pico() + purse.held().as_pico() + purse.suspense().as_pico();
                prop_assert!(out <= cap);
            }
        }
    }
}
