//! The judge: knows what was sent and what was billed, reads what the store has written, and says what must never be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use potluck::clock::Day;
use potluck::money::Basis;
use potluck::pool::KeyId;

use crate::event::{P, R};
use crate::pools::Said;
use crate::rows::{Moment, Rows};
use crate::tally::Tally;
use crate::upstream::{A, Pico};
use crate::world::World;

/// So long after a clock was set back, calls that were made before may still be carried out.
const BACK_MS: u64 = 10_000;

pub struct Judge {
    place: PathBuf,
    rows: Option<Rows>,
    pub attempts: Vec<Known>,
    by_name: HashMap<(u128, u16), A>,
    /// Attempts that are not in the ledger, by epoch.
    open: BTreeMap<u64, BTreeSet<A>>,
    pub tallies: BTreeMap<KeyId, Tally>,
    buried: BTreeSet<u64>,
    set_back_at: Option<u64>,
    /// The day of the last look.
    looked_on: Option<Day>,
    was_set_back: bool,
    /// How often the clock was set back.
    pub set_backs: u64,
    /// Keys whose money a process is told anew.
    pub told_anew: BTreeSet<(P, KeyId)>,
    /// What each process's purses said last.
    pub said: BTreeMap<(P, KeyId), Said>,
}

/// An attempt.
#[derive(Clone, Debug)]
pub struct Known {
    pub request: R,
    pub key: KeyId,
    pub epoch: u64,
    pub held: Option<Pico>,
    pub state: State,
    pub billed: Pico,
    /// By how much it costs more than was announced.
    pub excess: Pico,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A key was chosen for it.
    Begun,
    /// The upstream has it.
    Sent,
    /// In the ledger with its cost.
    Settled { amount: Pico },
    /// In the ledger, its cost unknown.
    Suspended { day: Day },
    /// Its cost was found.
    Found { amount: Pico, basis: Basis },
    /// Its process is gone, and nothing of it was written.
    Lost,
    /// It was lost, and what was lost is booked.
    Accounted,
}

impl Known {
    /// Whether its cost is the upstream's own word.
    pub fn is_told(&self) -> bool {
        matches!(self.state, State::Settled { .. } | State::Found { basis: Basis::Upstream, .. })
    }
}

impl State {
    /// Whether the upstream may bill more than the ledger has.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Begun | Self::Sent | Self::Suspended { .. } | Self::Lost)
    }
}

impl Judge {
    pub fn new(place: &Path) -> Self {
        Self {
            place: place.to_owned(),
            rows: None,
            attempts: Vec::new(),
            by_name: HashMap::new(),
            open: BTreeMap::new(),
            tallies: BTreeMap::new(),
            buried: BTreeSet::new(),
            set_back_at: None,
            looked_on: None,
            was_set_back: false,
            set_backs: 0,
            told_anew: BTreeSet::new(),
            said: BTreeMap::new(),
        }
    }

    /// An attempt begins: a key is chosen, nothing has left.
    pub fn begins(&mut self, request: R, number: u16, key: KeyId, epoch: u64, held: Option<Pico>) -> A {
        let id = self.attempts.len();
        self.attempts.push(Known { request, key, epoch, held, state: State::Begun, billed: 0, excess: 0 });
        self.by_name.insert((u128::from(request) + 1, number), id);
        self.open.entry(epoch).or_default().insert(id);
        id
    }

    /// It costs more than was announced: then a cap may be passed by as much.
    pub fn price_rises(&mut self, id: A, excess: Pico) {
        let known = &mut self.attempts[id];
        known.excess = excess;
        self.tallies.entry(known.key).or_default().rose(excess);
    }

    pub fn process_is_gone(&mut self, epoch: u64) {
        self.told_anew.clear();
        // What was never sent is over.
        let attempts = &self.attempts;
        if let Some(open) = self.open.get_mut(&epoch) {
            open.retain(|id| attempts[*id].state != State::Begun);
        }
    }

    pub fn clock_was_set_back(&mut self) {
        self.was_set_back = true;
        self.set_backs += 1;
    }

    /// Whether a clock was set back so lately that sums may have risen by it.
    pub fn is_set_back(&self, now: u64) -> bool {
        self.set_back_at.is_some_and(|at| at + BACK_MS > now)
    }

    /// `None`: nothing has changed since the last time.
    fn read(&mut self) -> Option<Moment> {
        if self.rows.is_none() {
            self.rows = Rows::open(&self.place.join("potluck.db"));
        }
        self.rows.as_mut()?.read().expect("the judge can read the file")
    }
}

/// The request of that number, where it is one of ours.
pub fn number_of(request: u128) -> Option<R> {
    R::try_from(request).ok()?.checked_sub(1)
}

/// A process is about to change a key's limits in its pool.
pub fn limits_change(world: &World, process: P, key: KeyId) {
    world.judge.borrow_mut().told_anew.insert((process, key));
}

/// A process is about to take over what the store knows.
pub fn syncs(world: &World, process: P, key: KeyId) {
    world.judge.borrow_mut().told_anew.insert((process, key));
}

/// The first byte of an attempt leaves: what it holds must be durable.
pub fn sent(world: &World, id: A) {
    let mut judge = world.judge.borrow_mut();
    let judge = &mut *judge;
    world.stats.borrow_mut().sent += 1;
    let known = &mut judge.attempts[id];
    known.state = State::Sent;
    let (key, epoch, held) = (known.key, known.epoch, known.held.unwrap_or_default());
    let tally = judge.tallies.entry(key).or_default();
    if let Err(what) = tally.sends(epoch, held) {
        world.fail(format!("request {} on {key}: {what}", known.request));
    }
}

/// The upstream has billed something.
pub fn billed(world: &World, id: A, amount: Pico) {
    let mut judge = world.judge.borrow_mut();
    let judge = &mut *judge;
    let known = &mut judge.attempts[id];
    let tally = judge.tallies.entry(known.key).or_default();
    if let State::Settled { amount: booked } = known.state
        && amount > 0
    {
        world.fail(format!("request {} was booked with {booked} and billed {amount} more", known.request));
    }
    tally.leave(known);
    known.billed += amount;
    tally.billed += amount;
    tally.enter(known);
    if let Some(what) = tally.bill_is_too_high(world.wall().day()) {
        world.fail(format!("{}: {what}", known.key));
    }
}

/// Look at what the store has written.
pub fn look(world: &World) {
    let mut judge = world.judge.borrow_mut();
    let judge = &mut *judge;
    let read = judge.read();
    let now = world.now_ms();
    if std::mem::take(&mut judge.was_set_back) {
        judge.set_back_at = Some(now);
    }
    let forgiving = judge.is_set_back(now);
    let today = world.wall().day();
    let Some(moment) = read else {
        return judge.look_again(world, today, forgiving);
    };
    for line in &moment.new {
        if let Err(what) = judge.line(world, line) {
            world.fail(what);
        }
    }
    judge.bury(&moment);
    judge.looked_on = Some(today);
    for (key, money) in &moment.money {
        let tally = judge.tallies.entry(*key).or_default();
        if let Err(what) = tally.look(money, today, forgiving) {
            world.fail(format!("{key}: {what}"));
        }
    }
    // A key that is gone and has left no row, but what was billed on it.
    for (key, tally) in judge.tallies.iter_mut().filter(|(key, _)| !moment.money.contains_key(key)) {
        if let Err(what) = tally.look(&crate::rows::Money::default(), today, forgiving) {
            world.fail(format!("{key}: {what}"));
        }
    }
}

impl Judge {
    /// The rows are what they were; another day may have begun.
    fn look_again(&mut self, world: &World, today: Day, forgiving: bool) {
        if self.looked_on.replace(today) == Some(today) {
            return;
        }
        for (key, tally) in &mut self.tallies {
            let money = tally.money.clone();
            if let Err(what) = tally.look(&money, today, forgiving) {
                world.fail(format!("{key}: {what}"));
            }
        }
    }

    fn line(&mut self, world: &World, line: &crate::rows::Line) -> Result<(), String> {
        let tally = self.tallies.entry(line.key).or_default();
        if line.corrects && line.attempt == 0 {
            tally.recovered(line);
            world.stats.borrow_mut().recovered += 1;
            return Ok(());
        }
        let Some(id) = self.by_name.get(&(line.request, line.attempt)).copied() else {
            return Err(format!("{line:?} is of an attempt that nobody has made"));
        };
        let known = &mut self.attempts[id];
        let request = known.request;
        if (known.key, known.held) != (line.key, if line.corrects { known.held } else { line.held }) {
            return Err(format!("request {request}: {line:?} is not what was sent: {known:?}"));
        }
        tally.leave(known);
        let was_sent = known.state == State::Sent;
        let (billed, is_final) = world.upstream.borrow().bill(id);
        known.state = match (known.state, line.corrects, line.pico) {
            (State::Begun | State::Sent, false, Some(amount)) => {
                if !is_final || amount != billed {
                    return Err(format!("request {request} was booked with {amount} and billed {billed}"));
                }
                State::Settled { amount }
            }
            (State::Begun | State::Sent, false, None) => State::Suspended { day: line.day },
            (State::Suspended { .. }, true, Some(amount)) => {
                let basis = line.basis.unwrap_or(Basis::Upstream);
                if basis == Basis::Upstream && (!is_final || amount != billed) {
                    return Err(format!("request {request} was found to cost {amount} and billed {billed}"));
                }
                let stats = &mut *world.stats.borrow_mut();
                match basis {
                    Basis::Upstream => stats.by_generation += 1,
                    Basis::Usage => stats.by_usage += 1,
                    Basis::Estimate => stats.estimates += 1,
                    Basis::Operator => return Err(format!("no operator has settled request {request}")),
                }
                State::Found { amount, basis }
            }
            (state, ..) => return Err(format!("request {request} is {state:?}, and then comes {line:?}")),
        };
        if !line.corrects {
            self.open.entry(known.epoch).or_default().remove(&id);
        }
        if was_sent {
            tally.is_in_the_ledger(known);
        }
        tally.books(known, line);
        tally.enter(known);
        Ok(())
    }

    /// What a buried process had under way and not written is lost, until what it had leased is accounted for.
    fn bury(&mut self, moment: &Moment) {
        for epoch in moment.buried.difference(&self.buried) {
            for id in self.open.get(epoch).into_iter().flatten() {
                let known = &mut self.attempts[*id];
                known.state = State::Lost;
            }
        }
        self.buried.clone_from(&moment.buried);
        for (epoch, open) in &mut self.open {
            if !self.buried.contains(epoch) {
                continue;
            }
            let (attempts, tallies) = (&mut self.attempts, &mut self.tallies);
            open.retain(|id| {
                let known = &mut attempts[*id];
                let money = moment.money.get(&known.key);
                let leased = money.is_some_and(|money| money.leases.contains_key(epoch));
                if !leased {
                    let tally = tallies.entry(known.key).or_default();
                    tally.leave(known);
                    tally.is_in_the_ledger(known);
                    known.state = State::Accounted;
                    tally.enter(known);
                }
                leased
            });
        }
    }
}
