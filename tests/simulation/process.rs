//! A potluck: the real pool, the real store, and in between what `src/pot` does, in the same order and with the same gaps.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use potluck::clock::Timestamp;
use potluck::money::{Cost, Ended, Entry, Usd};
use potluck::pool::{Activity, Chosen, Evidence, KeyId, Policy, Pool};
use potluck::store::{Loaded, NewKey, Slot, Stepper, Store, StoredKey, Suspense};
use tokio::sync::{Mutex, Notify, RwLock};

use crate::broken::Broken;
use crate::donors::Gift;
use crate::event::{Event, P};
use crate::judge;
use crate::machine::Settings;
use crate::tasks::Owner;
use crate::world::World;

pub struct Process {
    pub world: Rc<World>,
    pub number: P,
    pub epoch: u64,
    pool: RefCell<Pool>,
    pub store: Store,
    stepper: RefCell<Option<Stepper>>,
    /// The keys there are, and which upstream account each is.
    pub cards: RefCell<BTreeMap<KeyId, usize>>,
    /// Draws of a key's headroom, one after the other.
    drawing: RefCell<BTreeMap<KeyId, Rc<Mutex<()>>>>,
    pub lease_wanted: Notify,
    pub probe_wanted: Notify,
    pub settle_wanted: Notify,
    pub freed: Notify,
    /// In the place of looks that would go on every few seconds, for days.
    pub look: Notify,
    pub changes: RwLock<()>,
    pub changing_limits: Mutex<()>,
    /// How often that was done.
    pub limits_changed: Cell<u64>,
    pub books: Mutex<()>,
    /// Client requests under way.
    pub under_way: Cell<u64>,
    /// Killed: no destructor does anything any more.
    pub dead: Cell<bool>,
    pub draining: Cell<bool>,
    pub buried: Cell<bool>,
    /// Since when nobody else works with the store.
    pub alone_since: Cell<Option<u64>>,
    /// When attempts on a key ended last.
    ends: RefCell<BTreeMap<KeyId, u64>>,
    /// When attempts in suspense ended.
    open: RefCell<BTreeMap<(u128, u16), u64>>,
    /// Keys that the store knows to be used without holds.
    pub used_unbounded: RefCell<BTreeSet<KeyId>>,
    /// Keys whose money the pool may know otherwise than the store.
    pub out_of_step: RefCell<BTreeSet<KeyId>>,
    pub turn_planned: Cell<bool>,
    pub old_turn_planned: Cell<bool>,
    /// Since when an attempt is under way that is not written.
    pub unwritten_since: Cell<Option<u64>>,
    /// Keys whose money has changed since the judge looked.
    pub touched: RefCell<Vec<KeyId>>,
}

#[allow(non_snake_case)]
impl Process {
    pub const fn REQUESTS(number: P) -> Owner {
        4 * number
    }

    pub const fn SERVICES(number: P) -> Owner {
        4 * number + 1
    }

    pub const fn DISK(number: P) -> Owner {
        4 * number + 2
    }

    /// What goes on when the request that wanted it has gone.
    pub const fn SPAWNED(number: P) -> Owner {
        4 * number + 3
    }
}

impl Process {
    pub fn new(world: &Rc<World>, number: P, store: Store, loaded: Loaded, stepper: Stepper) -> Rc<Self> {
        let process = Rc::new(Self {
            world: Rc::clone(world),
            number,
            epoch: stepper.epoch(),
            pool: RefCell::new(Pool::new(Policy::default())),
            store,
            stepper: RefCell::new(Some(stepper)),
            cards: RefCell::default(),
            drawing: RefCell::default(),
            lease_wanted: Notify::new(),
            probe_wanted: Notify::new(),
            settle_wanted: Notify::new(),
            freed: Notify::new(),
            look: Notify::new(),
            changes: RwLock::default(),
            changing_limits: Mutex::default(),
            limits_changed: Cell::new(0),
            books: Mutex::default(),
            under_way: Cell::new(0),
            dead: Cell::new(false),
            draining: Cell::new(false),
            buried: Cell::new(false),
            alone_since: Cell::new(None),
            ends: RefCell::default(),
            open: RefCell::default(),
            used_unbounded: RefCell::default(),
            out_of_step: RefCell::default(),
            turn_planned: Cell::new(false),
            old_turn_planned: Cell::new(false),
            unwritten_since: Cell::new(None),
            touched: RefCell::default(),
        });
        for stored in loaded.keys {
            process.seat(stored);
        }
        process
    }

    /// A client request comes in.
    pub fn receives(self: &Rc<Self>, request: impl Future<Output = ()> + 'static) {
        let under_way = UnderWay::new(self);
        self.world.tasks.spawn(Self::REQUESTS(self.number), async move {
            let _under_way = under_way;
            request.await;
        });
    }

    pub fn settings(&self) -> &Settings {
        &self.world.machine.settings
    }

    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    pub fn roll(&self) -> u64 {
        self.world.dice(crate::dice::Dice::next)
    }

    /// Use the pool; `key` is the one whose money may change.
    pub fn pool_on<T>(&self, key: KeyId, act: impl FnOnce(&mut Pool) -> T) -> T {
        self.touched.borrow_mut().push(key);
        act(&mut self.pool.borrow_mut())
    }

    pub fn pool<T>(&self, act: impl FnOnce(&mut Pool) -> T) -> T {
        act(&mut self.pool.borrow_mut())
    }

    pub fn seat(&self, stored: StoredKey) {
        let StoredKey { id, key, spent, purse, usage, unsound } = stored;
        assert!(!unsound, "nobody has changed lines of {id}");
        let NewKey { credential, label, account, limits, state, .. } = key;
        let upstream = label.and_then(|label| label.parse().ok()).expect("every key's label is its account");
        self.cards.borrow_mut().insert(id, upstream);
        let untold = Gift { account: upstream, usage_before: None };
        self.world.machine.gifts.borrow_mut().entry(id).or_insert(untold);
        let now = self.now();
        self.pool_on(id, |pool| {
            pool.insert(id, credential, account, state, spent, now);
            if usage.is_none() {
                pool.ask_now(id, now);
            }
            if pool.set_limits(id, Arc::new(limits), now) {
                pool.sync_purse(id, purse, now);
            }
        });
    }

    /// A key is not in the store any more.
    pub fn left(&self, key: KeyId) {
        self.pool_on(key, |pool| pool.remove(key));
        self.cards.borrow_mut().remove(&key);
        self.world.tell(Event::Withdrawn { key });
    }

    /// The key's account at the upstream, while the key is there.
    pub fn account(&self, key: KeyId) -> Option<usize> {
        self.cards.borrow().get(&key).copied()
    }

    /// Held while a key's headroom is drawn; `None` when the key has left.
    pub fn drawing(&self, key: KeyId) -> Option<Rc<Mutex<()>>> {
        self.account(key)?;
        Some(Rc::clone(self.drawing.borrow_mut().entry(key).or_default()))
    }

    /// A choice was not used: what was taken for it is given back.
    pub fn unsent(&self, chosen: &Chosen) {
        let (held, now) = (chosen.hold.map(|hold| hold.amount), self.now());
        self.pool_on(chosen.key, |pool| {
            if chosen.trial {
                pool.trial_over(chosen.key);
            }
            pool.ended(chosen.key, held, Ended::Unsent, now);
        });
        self.freed.notify_waiters();
    }

    /// Book an attempt; the figures that are kept in memory follow.
    pub fn book(&self, entry: Entry, slot: Slot) {
        let how = match entry.cost {
            Cost::Known(amount) => Ended::Cost(amount),
            Cost::Unknown => Ended::Suspended,
        };
        let (strict, unknown) = (entry.held.is_some(), entry.cost == Cost::Unknown);
        if unknown
            && self.world.broken == Some(Broken::BooksTwice)
            && let Some(again) = self.store.slot()
        {
            again.book(Entry { attempt: entry.attempt + 1, ..entry.clone() });
        }
        let now = self.world.now_ms();
        self.ends.borrow_mut().insert(entry.key, now);
        if unknown {
            self.open.borrow_mut().insert((entry.request.0.as_u128(), entry.attempt), now);
        }
        let lease_off = self.pool_on(entry.key, |pool| {
            pool.ended(entry.key, entry.held, how, entry.at);
            let lease_off = strict && pool.is_lease_off(entry.key);
            slot.book(entry);
            lease_off
        });
        self.freed.notify_waiters();
        if unknown {
            self.settle_wanted.notify_one();
        }
        if lease_off {
            self.lease_wanted.notify_one();
        }
    }

    /// What is under way on a key, where its usage proves something when it is asked for now: `src/pot/quiet.rs`.
    pub fn quiet(&self, key: KeyId) -> Option<Activity> {
        let (now, settles_after) = (self.world.now_ms(), self.settles_after());
        let ago = |since: u64| now - since >= settles_after;
        if self.draining.get() || !self.alone_since.get().is_some_and(ago) {
            return None;
        }
        let activity = self.pool(|pool| pool.activity(key))?;
        let shown = self.ends.borrow().get(&key).copied().is_none_or(ago);
        (activity.in_flight == 0 && shown).then_some(activity)
    }

    /// The upstream has told what an attempt cost, which may have ended there just before.
    pub fn told(&self, key: KeyId) {
        self.ends.borrow_mut().insert(key, self.world.now_ms());
    }

    /// Whether the key's usage shows all that an attempt in suspense will ever be billed: `src/pot/quiet.rs`.
    pub fn is_over(&self, entry: &Suspense) -> bool {
        let end = self.open.borrow().get(&(entry.request.0.as_u128(), entry.attempt)).copied();
        let is_old =
            || end.map_or_else(|| self.others_are_over(), |end| self.world.now_ms() - end >= self.until_over());
        !entry.may_go_on() || is_old()
    }

    /// Whether everybody else has ended so long ago that nothing of theirs goes on.
    pub fn others_are_over(&self) -> bool {
        self.alone_since.get().is_some_and(|since| self.world.now_ms() - since >= self.until_over())
    }

    fn until_over(&self) -> u64 {
        match self.world.broken {
            Some(Broken::ReckonsAtOnce | Broken::TakesBrokenForOver) => 0,
            _ => u64::try_from(self.settings().patience.until_over().as_millis()).unwrap(),
        }
    }

    fn settles_after(&self) -> u64 {
        match self.world.broken {
            Some(Broken::ReckonsAtOnce) => 0,
            _ => u64::try_from(self.settings().patience.usage.as_millis()).unwrap(),
        }
    }

    /// A probe, begun at `asked_at`, found something out. What is older than the key's present state is not listened to.
    pub fn evidence(&self, key: KeyId, evidence: &Evidence, asked_at: Timestamp) {
        let (now, roll) = (self.now(), self.roll());
        let changed = self.pool_on(key, |pool| {
            let listened = pool.state(key).is_some_and(|state| state.since <= asked_at);
            if listened { pool.evidence(key, evidence, now, roll) } else { Vec::new() }
        });
        self.saved(&changed);
    }

    /// Make changed states durable.
    pub fn saved(&self, changed: &[KeyId]) {
        for key in changed {
            if let Some(state) = self.pool(|pool| pool.state(*key).cloned()) {
                self.store.save_state(*key, state);
            }
        }
    }

    pub fn has_work(&self) -> bool {
        self.stepper.borrow().as_ref().is_some_and(Stepper::has_work)
    }

    /// One turn of the store's writer. `old`: attempts under way have grown old.
    pub fn turn(&self, old: bool) {
        let fault = self.world.machine.fault(&self.world);
        if let Some(stepper) = self.stepper.borrow_mut().as_mut() {
            match fault {
                Some(fault) => stepper.step_failing(fault),
                None if old => stepper.step(),
                None => stepper.step_at_once(),
            }
        }
        if old || fault.is_some() {
            self.unwritten_since.set(None);
        }
        match fault {
            Some(fault) => {
                let durable = fault == potluck::store::Fault::Durable;
                self.world.stats.borrow_mut().failed_commits += 1;
                self.world.tell(Event::CommitFails { process: self.number, durable });
            }
            None => {
                self.world.stats.borrow_mut().commits += 1;
                self.world.tell(Event::Commit { process: self.number, old_attempts: old });
            }
        }
        judge::look(&self.world);
    }

    /// As kill -9 does it.
    pub fn crash(&self) {
        self.world.tell(Event::Crash { process: self.number });
        self.world.stats.borrow_mut().crashes += 1;
        self.dead.set(true);
        self.leave(|stepper| {
            stepper.crash();
            0
        });
    }

    /// The store is closed, whatever is still under way. The caller has stopped what it wanted to stop.
    pub fn close(&self) {
        self.leave(Stepper::close);
        judge::look(&self.world);
    }

    fn leave(&self, end: impl FnOnce(Stepper) -> usize) {
        let stepper = self.stepper.borrow_mut().take();
        let unwritten = stepper.map_or(0, end);
        if !self.dead.replace(true) {
            self.world.tell(Event::Closed { process: self.number, unwritten });
        }
        self.world.judge.borrow_mut().process_is_gone(self.epoch);
        for owner in [Self::REQUESTS, Self::SPAWNED, Self::SERVICES, Self::DISK] {
            self.world.tasks.end(owner(self.number));
        }
        self.world.machine.gone(self.number);
    }
}

/// A client request under way.
struct UnderWay(Rc<Process>);

impl UnderWay {
    fn new(process: &Rc<Process>) -> Self {
        process.under_way.set(process.under_way.get() + 1);
        Self(Rc::clone(process))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

/// Pico-dollars of the books.
pub fn usd(pico: i128) -> Usd {
    Usd::from_pico(i64::try_from(pico).unwrap())
}
