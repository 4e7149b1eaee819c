//! A world: one machine with its clock and its disk, an upstream, and everybody who lives there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

use potluck::clock::{Clock, Timestamp};

use crate::broken::Broken;
use crate::dice::Dice;
use crate::event::{Event, Logged};
use crate::judge::Judge;
use crate::machine::Machine;
use crate::tasks::{Sleep, Tasks, WORLD};
use crate::upstream::Upstream;

/// So many events are told of a world that went wrong.
const TOLD: usize = 50;

/// How much happens in a world.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub phases: u64,
    /// Requests of a phase, at most.
    pub requests: u64,
}

/// What is kept of all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last ones, for the case that something goes wrong.
    Last,
    /// All of them.
    All,
}

pub struct World {
    pub size: Size,
    pub broken: Option<Broken>,
    pub tasks: Tasks,
    /// The machine's clock, which is set now and then.
    pub clock: Clock,
    start: Timestamp,
    /// What the clock shows beyond the time that has passed.
    skew_ms: Cell<i64>,
    dice: RefCell<Dice>,
    pub upstream: RefCell<Upstream>,
    pub judge: RefCell<Judge>,
    pub machine: Machine,
    log: RefCell<VecDeque<Logged>>,
    keep: Keep,
    failure: RefCell<Option<String>>,
    pub done: Cell<bool>,
    pub stats: RefCell<Stats>,
}

/// What happened in a world, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub events: u64,
    pub requests: u64,
    pub sent: u64,
    pub most_under_way: u64,
    pub commits: u64,
    pub failed_commits: u64,
    pub crashes: u64,
    pub upgrades: u64,
    pub stops: u64,
    pub clock_jumps: u64,
    pub limit_changes: u64,
    pub by_generation: u64,
    pub by_usage: u64,
    pub estimates: u64,
    pub recovered: u64,
}

impl Stats {
    pub fn add(&mut self, other: &Self) {
        let most = self.most_under_way.max(other.most_under_way);
        for (sum, more) in self.numbers().into_iter().zip(other.clone().numbers()) {
            *sum += *more;
        }
        self.most_under_way = most;
    }

    fn numbers(&mut self) -> [&mut u64; 15] {
        let Self { events, requests, sent, most_under_way, commits, failed_commits, crashes, upgrades, stops, .. } =
            self;
        let Self { clock_jumps, limit_changes, by_generation, by_usage, estimates, recovered, .. } = self;
        [
            events,
            requests,
            sent,
            most_under_way,
            commits,
            failed_commits,
            crashes,
            upgrades,
            stops,
            clock_jumps,
            limit_changes,
            by_generation,
            by_usage,
            estimates,
            recovered,
        ]
    }
}

impl World {
    pub fn new(seed: u64, size: Size, broken: Option<Broken>, keep: Keep, place: PathBuf) -> Rc<Self> {
        let mut dice = Dice::new(seed);
        // Thursday, the last days of a month: every window turns soon.
        let hour = i64::try_from(dice.below(6 * 24)).unwrap();
        let start = Timestamp::from_millis((1_795_564_800 + hour * 3600) * 1000 + 7);
        Rc::new(Self {
            size,
            broken,
            tasks: Tasks::default(),
            clock: Clock::manual(start),
            start,
            skew_ms: Cell::new(0),
            upstream: RefCell::new(Upstream::new(&mut dice)),
            judge: RefCell::new(Judge::new(&place)),
            machine: Machine::new(place, &mut dice),
            dice: RefCell::new(dice),
            log: RefCell::default(),
            keep,
            failure: RefCell::default(),
            done: Cell::new(false),
            stats: RefCell::default(),
        })
    }

    /// Everything that happens until the story is over or something has gone wrong.
    pub fn run(self: &Rc<Self>) {
        let world = Rc::clone(self);
        self.tasks.spawn(WORLD, crate::story::story(world));
        while !self.done.get() && self.failure.borrow().is_none() {
            let ready = self.tasks.turn(&mut self.dice.borrow_mut());
            let Some(ready) = ready else {
                self.fail("nothing will ever happen any more".to_owned());
                break;
            };
            self.show_time();
            self.tasks.poll(ready);
            self.stats.borrow_mut().events += 1;
            self.machine.plan_turns(self);
            crate::pools::look(self);
        }
    }

    /// Everybody leaves.
    pub fn end(&self) {
        for owner in self.machine.owners() {
            self.tasks.end(owner);
        }
        self.machine.clear();
        self.tasks.end(WORLD);
    }

    pub fn dice<T>(&self, throw: impl FnOnce(&mut Dice) -> T) -> T {
        throw(&mut self.dice.borrow_mut())
    }

    pub fn permille(&self, permille: u64) -> bool {
        self.dice(|dice| dice.permille(permille))
    }

    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.dice(|dice| dice.between(low, high))
    }

    pub fn now_ms(&self) -> u64 {
        self.tasks.now()
    }

    pub fn sleep(&self, ms: u64) -> Sleep<'_> {
        self.tasks.sleep(ms)
    }

    /// What the clock shows.
    pub fn wall(&self) -> Timestamp {
        self.clock.now()
    }

    fn show_time(&self) {
        let passed = i64::try_from(self.now_ms()).unwrap();
        self.clock.set(Timestamp::from_millis(self.start.as_millis() + passed + self.skew_ms.get()));
    }

    /// Somebody sets the clock.
    pub fn jump(self: &Rc<Self>, by_ms: i64) {
        self.skew_ms.set(self.skew_ms.get() + by_ms);
        self.show_time();
        self.stats.borrow_mut().clock_jumps += 1;
        self.tell(Event::Clock { by_ms });
        if by_ms < 0 {
            self.judge.borrow_mut().clock_was_set_back();
        }
        crate::judge::look(self);
    }

    pub fn tell(&self, event: Event) {
        let logged = Logged { ms: self.now_ms(), wall: self.wall(), event };
        let mut log = self.log.borrow_mut();
        if self.keep == Keep::Last && log.len() == TOLD {
            log.pop_front();
        }
        log.push_back(logged);
    }

    /// Something that must never be has happened. The first such thing is the one that is told.
    pub fn fail(&self, what: String) {
        self.failure.borrow_mut().get_or_insert(what);
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    pub fn events(&self) -> Vec<String> {
        self.log.borrow().iter().map(Logged::to_string).collect()
    }
}
