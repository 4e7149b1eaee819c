//! The upstream: what it answers, and what it really bills. Knows nothing of potluck.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::dice::Dice;
use crate::event::{Event, R};
use crate::script::{End, Reply};
use crate::tasks::WORLD;
use crate::world::World;

/// Pico-dollars.
pub type Pico = i128;
/// An attempt at a request, by its number.
pub type A = usize;

/// The longest time that an attempt is worked on, from its beginning on: by then all of it is billed.
pub const WORK_MAX_MS: u64 = 1_800_000;
/// Most of what is broken off is billed so soon after its end.
const SOON_MS: u64 = 70_000;
/// The longest time until a charge shows in a key's usage.
pub const LAG_MAX_MS: u64 = 100_000;

pub struct Upstream {
    pub accounts: Vec<Account>,
    bills: BTreeMap<A, Bill>,
    /// No question is answered until then.
    pub silent_until: u64,
}

/// A key's owner: one key each.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub usage: Pico,
    /// What the owner has spent without us.
    pub elsewhere: Pico,
    /// When that was last.
    pub elsewhere_at: Option<u64>,
    pub limit: Option<Pico>,
    pub credit: Option<Pico>,
    lag_ms: u64,
    recent: Vec<(u64, Pico)>,
}

/// What an attempt costs.
#[derive(Clone, Debug)]
struct Bill {
    account: usize,
    request: R,
    began_at: u64,
    /// In full.
    cost: Pico,
    billed: Pico,
    /// Nothing more will happen to it.
    closed: bool,
    /// Nothing more will be billed.
    is_final: bool,
    /// When `GET /generation` knows it.
    known_at: Option<u64>,
}

impl Upstream {
    pub fn new(dice: &mut Dice) -> Self {
        let accounts = (0..dice.between(2, 4)).map(|_| Account::new(dice)).collect();
        Self { accounts, bills: BTreeMap::new(), silent_until: 0 }
    }

    /// What was billed for an attempt, and whether that is all.
    pub fn bill(&self, attempt: A) -> (Pico, bool) {
        self.bills.get(&attempt).map_or((0, true), |bill| (bill.billed, bill.is_final))
    }

    /// `GET /generation`: what the attempt cost; `None` when there is no such record, or not yet.
    pub fn generation(&self, account: usize, attempt: A, now: u64) -> Option<Pico> {
        let bill = self.bills.get(&attempt).filter(|bill| bill.account == account && bill.is_final)?;
        bill.known_at.is_some_and(|at| at <= now).then_some(bill.billed)
    }

    /// Everything that anybody can still be charged for.
    pub fn all_final(&self) -> bool {
        self.bills.values().all(|bill| bill.is_final)
    }
}

impl Account {
    fn new(dice: &mut Dice) -> Self {
        let usage = Pico::from(dice.amount(1, 50_000_000_000_000));
        let limit = dice.permille(300).then(|| usage + Pico::from(dice.amount(1_000_000_000_000, 64_000_000_000_000)));
        let credit = dice.permille(500).then(|| usage + Pico::from(dice.amount(2_000_000_000_000, 64_000_000_000_000)));
        let lag_ms = if dice.permille(400) { dice.below(LAG_MAX_MS) } else { 0 };
        Self { usage, limit, credit, lag_ms, ..Self::default() }
    }

    pub fn charge(&mut self, amount: Pico, now: u64) {
        self.usage += amount;
        self.recent.retain(|(at, _)| at + self.lag_ms > now);
        if self.lag_ms > 0 {
            self.recent.push((now, amount));
        }
    }

    /// The usage that `GET /key` shows.
    pub fn shown(&self, now: u64) -> Pico {
        let hidden = self.recent.iter().filter(|(at, _)| at + self.lag_ms > now).map(|(_, amount)| amount);
        self.usage - hidden.sum::<Pico>()
    }

    /// What is left of limit and credit, as it is shown.
    pub fn left(&self, now: u64) -> (Option<Pico>, Option<Pico>) {
        let usage = self.shown(now);
        (self.limit.map(|limit| limit - usage), self.credit.map(|credit| credit - usage))
    }
}

/// The way to an answer. Dropped before its end, the upstream notices, and bills what it has done.
pub struct Connection {
    world: Rc<World>,
    attempt: A,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let closed = self.world.upstream.borrow().bills.get(&self.attempt).is_none_or(|bill| bill.closed);
        if !closed {
            break_off(&self.world, self.attempt);
        }
    }
}

/// A request has arrived whole.
pub fn receive(world: &Rc<World>, account: usize, attempt: A, request: R, worst: Option<Pico>) -> (Connection, Reply) {
    let (cost, rises) = world.dice(|dice| price(dice, worst));
    if let (true, Some(worst)) = (rises, worst) {
        world.judge.borrow_mut().price_rises(attempt, cost - worst);
        world.tell(Event::PriceRises { request, worst, cost });
    }
    let refused = refusal_for_money(world, account, worst);
    let reply = refused.unwrap_or_else(|| world.dice(Reply::any));
    let free = reply.is_free();
    let began_at = world.now_ms();
    let bill = Bill { account, request, began_at, cost, billed: 0, closed: free, is_final: free, known_at: None };
    world.upstream.borrow_mut().bills.insert(attempt, bill);
    if let Reply::Answer { head_after, chunks, end, .. } = &reply {
        let (after, cut) = (head_after + chunks.iter().sum::<u64>(), *end == End::Cut);
        let this = Rc::clone(world);
        world.tasks.spawn(WORLD, async move {
            // Whoever reads it sees the end only afterwards.
            this.sleep(after).await;
            match cut {
                true => break_off(&this, attempt),
                false => complete(&this, attempt),
            }
        });
    }
    (Connection { world: Rc::clone(world), attempt }, reply)
}

/// What it will cost in full, and whether that is more than was announced.
fn price(dice: &mut Dice, worst: Option<Pico>) -> (Pico, bool) {
    let Some(worst) = worst else { return (dice.amount(1, 500_000_000_000).into(), false) };
    match dice.below(1000) {
        0..3 => (worst + 1 + worst * Pico::from(dice.below(200)) / 100, true),
        3..60 => (0, false),
        60..160 => (worst, false),
        _ => (worst * Pico::from(dice.below(1000)) / Pico::from(dice.between(1000, 8000)), false),
    }
}

fn refusal_for_money(world: &Rc<World>, account: usize, worst: Option<Pico>) -> Option<Reply> {
    let (limit, credit) = {
        let account = &world.upstream.borrow().accounts[account];
        (account.limit.map(|l| l - account.usage), account.credit.map(|c| c - account.usage))
    };
    if limit.is_some_and(|left| left <= 0) {
        return Some(Reply::KeyLimit { after: 20 });
    }
    let credit = credit?;
    if credit <= 0 {
        return Some(Reply::NoCredit { after: 20 });
    }
    (worst.is_some_and(|worst| worst > credit)).then_some(Reply::Affords { after: 20, amount: credit })
}

/// The answer went out to its end.
fn complete(world: &Rc<World>, attempt: A) {
    let cost = {
        let mut upstream = world.upstream.borrow_mut();
        let Some(bill) = upstream.bills.get_mut(&attempt).filter(|bill| !bill.closed) else { return };
        bill.closed = true;
        bill.cost
    };
    charge(world, attempt, cost, false);
}

/// The answer ends before its end: nothing, a part or all of it is billed, now or later, as not every provider stops.
fn break_off(world: &Rc<World>, attempt: A) {
    let (cost, left) = {
        let mut upstream = world.upstream.borrow_mut();
        let Some(bill) = upstream.bills.get_mut(&attempt).filter(|bill| !bill.closed) else { return };
        bill.closed = true;
        (bill.cost, (bill.began_at + WORK_MAX_MS).saturating_sub(world.now_ms()))
    };
    let (part, delay) = world.dice(|dice| {
        let part = match dice.below(10) {
            0..2 => 0,
            2..6 => cost,
            _ => cost * Pico::from(dice.below(1000)) / 1000,
        };
        let delay = match dice.below(100) {
            0..45 => 0,
            45..85 => dice.below(SOON_MS),
            _ => dice.below(WORK_MAX_MS),
        };
        (part, delay.min(left))
    });
    let this = Rc::clone(world);
    world.tasks.spawn(WORLD, async move {
        this.sleep(delay).await;
        charge(&this, attempt, part, true);
    });
}

fn charge(world: &Rc<World>, attempt: A, amount: Pico, after_the_end: bool) {
    let now = world.now_ms();
    let known_after = world.dice(|dice| match dice.below(100) {
        0..75 => Some(dice.between(200, 20_000)),
        75..87 => Some(dice.between(60_000, 3_000_000)),
        _ => None,
    });
    let request = {
        let mut upstream = world.upstream.borrow_mut();
        let upstream = &mut *upstream;
        let Some(bill) = upstream.bills.get_mut(&attempt) else { return };
        bill.billed += amount;
        bill.is_final = true;
        bill.known_at = known_after.map(|after| now + after);
        upstream.accounts[bill.account].charge(amount, now);
        bill.request
    };
    world.tell(Event::Billed { request, amount, after_the_end });
    crate::judge::billed(world, attempt, amount);
}
