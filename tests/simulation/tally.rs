//! One key's money as the judge adds it up: from what was sent and billed on one side, from the store's rows on the other.

use std::collections::BTreeMap;

use potluck::clock::Day;
use potluck::money::{Basis, Window};

use crate::judge::{Known, State};
use crate::rows::{Line, Money};
use crate::upstream::Pico;

#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Everything the upstream has billed.
    pub billed: Pico,
    /// By the day on which the ledger has it.
    billed_on: BTreeMap<Day, Pico>,
    /// Billed and not in the ledger.
    billed_open: Pico,
    /// Billed for attempts that are open and held nothing.
    unbounded_open: Pico,
    /// Billed beyond what was held, where the upstream has not told what it was for.
    excess_open: Pico,
    /// Held by attempts that were sent and are not in the ledger, by epoch.
    out: BTreeMap<u64, Pico>,
    /// What the store's rows said last.
    pub money: Money,
    /// By how much each cap is passed, for a reason that is known.
    over: [Pico; 4],
    /// By how much prices have risen, and this cap was not passed for it yet.
    slack: [Pico; 4],
    /// Something was booked that held nothing.
    unbounded_booked: bool,
    pub rises: Pico,
    /// Booked for lack of anything better, where nobody knows an attempt.
    pub guessed: Pico,
}

impl Tally {
    /// What this attempt is open for is not counted any more, until [`Tally::enter`].
    pub fn leave(&mut self, known: &Known) {
        self.count(known, -1);
    }

    pub fn enter(&mut self, known: &Known) {
        self.count(known, 1);
    }

    fn count(&mut self, known: &Known, sign: Pico) {
        match known.state {
            State::Begun | State::Sent | State::Lost => self.billed_open += sign * known.billed,
            State::Suspended { day } => *self.billed_on.entry(day).or_default() += sign * known.billed,
            // As the ledger has it: which of several costs is how high is a guess.
            State::Settled { .. } | State::Found { .. } | State::Accounted => {}
        }
        match known.held {
            None if known.state.is_open() => self.unbounded_open += sign * known.billed,
            // Usage shows it, but cannot tell whose it is.
            Some(held) if !known.is_told() => self.excess_open += sign * (known.billed - held).max(0),
            _ => {}
        }
    }

    /// A line of the ledger says what an attempt costs.
    pub fn books(&mut self, known: &Known, line: &Line) {
        if let State::Settled { amount } | State::Found { amount, .. } = known.state {
            *self.billed_on.entry(line.day).or_default() += amount;
            self.unbounded_booked |= known.held.is_none();
        }
    }

    /// What was lost is booked.
    pub fn recovered(&mut self, line: &Line) {
        let amount = line.pico.unwrap_or_default();
        *self.billed_on.entry(line.day).or_default() += amount;
        if line.basis == Some(Basis::Estimate) {
            self.guessed += amount;
        }
        // It may have been lost by a process that held nothing.
        self.unbounded_booked = true;
    }

    /// A price rose: as much may be booked beyond a hold.
    pub fn rose(&mut self, excess: Pico) {
        self.slack.iter_mut().for_each(|slack| *slack += excess);
        self.rises += excess;
    }

    /// An attempt is sent that holds so much.
    pub fn sends(&mut self, epoch: u64, held: Pico) -> Result<(), String> {
        *self.out.entry(epoch).or_default() += held;
        self.is_leased(epoch)
    }

    /// What it held is not out any more.
    pub fn is_in_the_ledger(&mut self, known: &Known) {
        if let (Some(out), Some(held)) = (self.out.get_mut(&known.epoch), known.held) {
            *out -= held;
        }
    }

    fn is_leased(&self, epoch: u64) -> Result<(), String> {
        let out = self.out.get(&epoch).copied().unwrap_or_default();
        let leased = self.money.leases.get(&epoch).map_or(0, |(amount, _)| *amount);
        if out > leased {
            return Err(format!("{out} is out in epoch {epoch}, and durably leased is {leased}"));
        }
        Ok(())
    }

    /// The store's rows, as of a commit or a moment.
    pub fn look(&mut self, money: &Money, today: Day, forgiving: bool) -> Result<(), String> {
        let changed = money.caps != self.money.caps;
        let forgiving = forgiving || changed || std::mem::take(&mut self.unbounded_booked);
        self.money = money.clone();
        let caps = money.caps.unwrap_or_default();
        for (at, window) in Window::ALL.into_iter().enumerate() {
            let sum = settled(money, window, today) + money.suspense + money.leased();
            let over = caps[at].map_or(0, |cap| (sum - cap).max(0));
            let grown = over - self.over[at];
            if grown > 0 && !forgiving {
                if grown > self.slack[at] {
                    let (days, suspense) = (&money.days, money.suspense);
                    return Err(format!(
                        "the {window} cap of {:?} is passed by {over}, {grown} more than before: days {days:?}, \
                         suspense {suspense}, leases {:?}",
                        caps[at], money.leases
                    ));
                }
                self.slack[at] -= grown;
            }
            self.over[at] = over;
        }
        let epochs: Vec<u64> = self.out.keys().copied().collect();
        epochs.into_iter().try_for_each(|epoch| self.is_leased(epoch))?;
        self.bill_is_too_high(today).map_or(Ok(()), Err)
    }

    /// The bill must be covered by what the books have set aside for it, and within every cap.
    pub fn bill_is_too_high(&self, today: Day) -> Option<String> {
        // Of a key that has left the pool nobody can ask any more what was spent on it.
        let caps = self.money.caps?;
        let known_to_pass = self.unbounded_open + self.excess_open;
        let covered = self.money.total + self.money.suspense + self.money.leased() + known_to_pass;
        if self.billed > covered {
            return Some(format!(
                "billed is {}, and booked, in suspense or leased only {covered}: {:?}",
                self.billed, self.money
            ));
        }
        for (at, window) in Window::ALL.into_iter().enumerate() {
            let Some(cap) = caps[at] else { continue };
            let billed = self.billed_open + since(&self.billed_on, window, today);
            let allowed = cap + self.over[at] + known_to_pass;
            if billed > allowed {
                return Some(format!("billed in this {window} is {billed}, and allowed {allowed} (cap {cap})"));
            }
        }
        None
    }
}

fn since(days: &BTreeMap<Day, Pico>, window: Window, today: Day) -> Pico {
    days.range(window.first_day(today)..).map(|(_, amount)| amount).sum()
}

fn settled(money: &Money, window: Window, today: Day) -> Pico {
    match window {
        Window::Total => money.total,
        _ => since(&money.days, window, today),
    }
}

/// By how much an attempt's cost was guessed too high.
pub fn guessed(known: &Known) -> Pico {
    match known.state {
        State::Found { amount, basis: Basis::Estimate } => (amount - known.billed).max(0),
        _ => 0,
    }
}
