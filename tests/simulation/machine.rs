//! The machine: a disk with one store on it, and the processes that work with it.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use potluck::background::Patience;
use potluck::secret::Secret;
use potluck::store::{Fault, Store, StoreOptions};

use crate::dice::Dice;
use crate::donors::Gifts;
use crate::event::{Event, P};
use crate::process::Process;
use crate::tasks::Owner;
use crate::world::World;

/// Attempts under way are written when they are so old.
const OLD_MS: u64 = 50;
const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// How processes are set up, the same for all of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ledger.reconcile_schedule_ms`, `ledger.usage_settle_after_ms`, `upstream.total_timeout_ms`, `ledger.estimate_after_ms`
    pub patience: Patience,
    /// `ledger.lease_permille`
    pub permille: u32,
    /// `store.queue_max_entries`
    pub places: usize,
}

pub struct Machine {
    pub place: PathBuf,
    pub settings: Settings,
    processes: RefCell<Vec<Rc<Process>>>,
    /// The last process's number.
    last: Cell<P>,
    /// Who has the claim on the store, and who waits for it.
    claim: RefCell<Vec<P>>,
    /// So many commits fail, in that way.
    failing: Cell<(u32, Option<Fault>)>,
    /// The next commit takes that long.
    slow_ms: Cell<u64>,
    /// Keys that were ever donated.
    pub gifts: RefCell<Gifts>,
}

impl Machine {
    pub fn new(place: PathBuf, dice: &mut Dice) -> Self {
        let settings = Settings {
            patience: Patience {
                schedule: [2, 10, 60, 600, 3600].map(Duration::from_secs).into(),
                usage: Duration::from_secs(120),
                work: Duration::from_millis(crate::upstream::WORK_MAX_MS),
                estimate: Duration::from_secs(7 * 86_400),
            },
            permille: dice.pick(&[0, 10, 10, 10, 100, 1000]),
            places: dice.pick(&[40, 400, 4_000]),
        };
        let processes = RefCell::default();
        let (last, claim, failing, slow_ms) = (Cell::new(0), RefCell::default(), Cell::new((0, None)), Cell::new(0));
        let gifts = RefCell::default();
        Self { place, settings, processes, last, claim, failing, slow_ms, gifts }
    }

    /// How a store on this disk is opened.
    pub fn options(&self) -> StoreOptions {
        StoreOptions {
            path: self.place.join("potluck.db"),
            master_key: Some(Secret::new(MASTER_KEY)),
            master_key_file: self.place.join("master.key"),
            queue_max_entries: self.settings.places,
            commit_gather: Duration::ZERO,
            first_lookup: Duration::from_secs(2),
            close_patience: Duration::ZERO,
            reserve_bytes: 0,
        }
    }

    /// Processes that are there, the oldest first.
    pub fn processes(&self) -> Vec<Rc<Process>> {
        self.processes.borrow().clone()
    }

    /// The process that takes new requests.
    pub fn serving(&self) -> Option<Rc<Process>> {
        self.processes.borrow().iter().rfind(|process| !process.draining.get()).cloned()
    }

    /// Everything that processes ever owned.
    pub fn owners(&self) -> Vec<Owner> {
        (1..=self.last.get())
            .flat_map(|number| {
                [Process::REQUESTS, Process::SPAWNED, Process::SERVICES, Process::DISK].map(|of| of(number))
            })
            .collect()
    }

    /// Start a process: alone, or beside one that is about to go.
    pub fn start(&self, world: &Rc<World>) -> Rc<Process> {
        let number = self.last.get() + 1;
        self.last.set(number);
        self.claim.borrow_mut().push(number);
        let (store, loaded, stepper) =
            Store::open_stepped(&self.options(), &world.clock).expect("the store can be opened");
        world.tell(Event::Starts { process: number, epoch: stepper.epoch(), keys: loaded.keys.len() });
        let process = Process::new(world, number, store, loaded, stepper);
        self.processes.borrow_mut().push(Rc::clone(&process));
        crate::services::start(&process);
        process
    }

    /// A process is not there any more, however it ended.
    pub fn gone(&self, number: P) {
        self.processes.borrow_mut().retain(|process| process.number != number);
        self.claim.borrow_mut().retain(|of| *of != number);
    }

    /// Whether a process alone has the store.
    pub fn has_claim(&self, number: P) -> bool {
        self.claim.borrow().first() == Some(&number)
    }

    /// The world ends.
    pub fn clear(&self) {
        self.processes.borrow_mut().clear();
    }

    /// So many of the next commits fail.
    pub fn fail_commits(&self, count: u32, fault: Option<Fault>) {
        self.failing.set((count, fault));
    }

    /// The next commit takes that long.
    pub fn be_slow(&self, ms: u64) {
        self.slow_ms.set(ms);
    }

    /// What becomes of the next commit.
    pub fn fault(&self, world: &World) -> Option<Fault> {
        let (count, fault) = self.failing.get();
        let left = count.checked_sub(1)?;
        self.failing.set((left, fault));
        fault.or_else(|| Some(world.dice(|dice| dice.pick(&[Fault::Undone, Fault::Durable]))))
    }

    /// Have every process that has something to write do so soon.
    pub fn plan_turns(&self, world: &Rc<World>) {
        for process in self.processes() {
            if process.has_work() && !process.turn_planned.replace(true) {
                self.plan(world, &process, self.pause(world, &process), false);
            }
            if let Some(since) = process.unwritten_since.get()
                && !process.old_turn_planned.replace(true)
            {
                let due = (since + OLD_MS).saturating_sub(world.now_ms());
                self.plan(world, &process, due + world.between(0, 5), true);
            }
        }
    }

    fn pause(&self, world: &World, process: &Process) -> u64 {
        let slow = self.slow_ms.take();
        let usual = match world.between(0, 99) {
            0..75 => world.between(0, 8),
            75..98 => world.between(5, 60),
            _ => world.between(60, 2_500),
        };
        slow.max(usual).max(if process.store.healthy() { 0 } else { 100 })
    }

    fn plan(&self, world: &Rc<World>, process: &Rc<Process>, pause: u64, old: bool) {
        let (this, writer) = (Rc::clone(world), Rc::clone(process));
        world.tasks.spawn(Process::DISK(process.number), async move {
            this.sleep(pause).await;
            let planned = if old { &writer.old_turn_planned } else { &writer.turn_planned };
            planned.set(false);
            let due = writer.unwritten_since.get().is_some_and(|since| since + OLD_MS <= this.now_ms());
            if writer.has_work() || due {
                writer.turn(due);
            }
        });
    }
}
