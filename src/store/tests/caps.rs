//! Whatever happens in whatever order, no more is leased than the caps leave: random histories of two processes against a
//! model that shares nothing with the store.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const KEYS: usize = 2;
const PROCESSES: usize = 2;

#[derive(Clone, Debug)]
enum Act {
    /// Ask for a lease.
    Draw { process: usize, key: usize, least: i64, want: i64 },
    /// Book an attempt that held such a part of the lease: a cost within it, or none yet.
    Book { process: usize, key: usize, part: i64, cost: Option<i64>, days_ago: i32 },
    /// Find a cost in suspense, as such a part of what is held.
    Settle { process: usize, which: usize, part: i64 },
    /// Give back such a part of the lease.
    GiveBack { process: usize, key: usize, part: i64 },
    /// It is that many days later.
    Later { days: i32 },
    /// Close a store in order, and open it again.
    Restart { process: usize },
    /// Both processes are killed; others come, and bury them.
    Crash,
    /// What a dead process had leased is accounted for: such a part of it was spent.
    Absolve { key: usize, part: i64 },
    /// A cap is set or lifted.
    Cap { key: usize, window: usize, cap: Option<i64> },
}

fn act() -> impl Strategy<Value = Act> {
    let (process, key) = (0..PROCESSES, 0..KEYS);
    let part = 0..=100i64;
    prop_oneof![
        6 => (process.clone(), key.clone(), 0..80i64, 0..120i64)
            .prop_map(|(process, key, least, want)| Act::Draw { process, key, least, want }),
        6 => (process.clone(), key.clone(), part.clone(), prop::option::of(part.clone()), -1..3i32)
            .prop_map(|(process, key, part, cost, days_ago)| Act::Book { process, key, part, cost, days_ago }),
        2 => (process.clone(), any::<usize>(), part.clone())
            .prop_map(|(process, which, part)| Act::Settle { process, which, part }),
        2 => (process.clone(), key.clone(), part.clone()).prop_map(|(process, key, part)| Act::GiveBack { process, key, part }),
        1 => (1..20i32).prop_map(|days| Act::Later { days }),
        1 => process.prop_map(|process| Act::Restart { process }),
        1 => Just(Act::Crash),
        1 => (key.clone(), part).prop_map(|(key, part)| Act::Absolve { key, part }),
        1 => (key, 0..4usize, prop::option::of(50..400i64)).prop_map(|(key, window, cap)| Act::Cap { key, window, cap }),
    ]
}

/// What should be true.
#[derive(Default)]
struct Model {
    today: i32,
    caps: [BTreeMap<Window, i64>; KEYS],
    /// By key and day.
    settled: BTreeMap<(usize, i32), i64>,
    /// Key, held, day.
    suspense: Vec<(usize, i64, i32)>,
    leases: [[i64; KEYS]; PROCESSES],
    stale: [i64; KEYS],
}

impl Model {
    /// Everything that counts against a window.
    fn counted(&self, key: usize, window: Window) -> i64 {
        let first = window.first_day(Day::from_number(self.today)).number();
        let settled: i64 =
            self.settled.iter().filter(|((of, day), _)| *of == key && *day >= first).map(|(_, sum)| sum).sum();
        let suspense: i64 = self.suspense.iter().filter(|(of, ..)| *of == key).map(|(_, held, _)| held).sum();
        settled + suspense + self.stale[key] + self.leases.iter().map(|of| of[key]).sum::<i64>()
    }

    fn room(&self, key: usize) -> Option<i64> {
        self.caps[key].iter().map(|(window, cap)| cap - self.counted(key, *window)).min()
    }

    fn all_counted(&self) -> Vec<i64> {
        (0..KEYS).flat_map(|key| Window::ALL.map(|window| self.counted(key, window))).collect()
    }
}

struct World {
    stores: Vec<Store>,
    /// Processes that were killed, as far as a process can be killed here: they are never heard of again.
    dead: Vec<Store>,
    clock: Clock,
    keys: [KeyId; KEYS],
    model: Model,
    requests: u128,
    /// Goes last: stores are closed in it.
    place: tempfile::TempDir,
}

fn part_of(whole: i64, percent: i64) -> i64 {
    whole * percent / 100
}

impl World {
    async fn new() -> Self {
        let shared_memory = Path::new("/dev/shm");
        let place = if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory) } else { tempfile::tempdir() };
        let place = place.expect("a directory");
        let clock = Clock::manual(NOON);
        let open = || Store::open(options(place.path()), &clock).expect("opens").0;
        let stores = vec![open(), open()];
        let caps = [(Window::Day, 100), (Window::Week, 150), (Window::Total, 400)];
        let mut model = Model { today: NOON.day().number(), ..Model::default() };
        model.caps[0] = caps.into_iter().collect();
        let keys = [
            stores[0].add_key(capped(1, &caps)).await.expect("added"),
            stores[0].add_key(new_key(2)).await.expect("added"),
        ];
        Self { stores, dead: Vec::new(), clock, keys, model, requests: 0, place }
    }

    fn reopen(&self) -> Store {
        Store::open(options(self.place.path()), &self.clock).expect("opens").0
    }

    fn at(&self, day: i32) -> Timestamp {
        Day::from_number(day).start().after(Duration::from_secs(43_200))
    }

    /// Do it, to the store and to the model.
    async fn act(&mut self, act: &Act) {
        match *act {
            Act::Draw { process, key, least, want } => self.draw(process, key, least, want).await,
            Act::Book { process, key, part, cost, days_ago } => self.book(process, key, part, cost, days_ago),
            Act::Settle { process, which, part } => self.settle(process, which, part).await,
            Act::GiveBack { process, key, part } => {
                let back = part_of(self.model.leases[process][key], part);
                self.stores[process].give_back(self.keys[key], usd(back));
                self.model.leases[process][key] -= back;
            }
            Act::Later { days } => {
                self.model.today += days;
                self.clock.set(self.at(self.model.today));
            }
            Act::Restart { process } => {
                self.stores[process].close().expect("closed");
                self.stores[process] = self.reopen();
                self.model.leases[process] = [0; KEYS];
            }
            Act::Crash => self.crash().await,
            Act::Absolve { key, part } => self.absolve(key, part).await,
            Act::Cap { key, window, cap } => {
                let window = Window::ALL[window];
                match cap {
                    Some(cap) => drop(self.model.caps[key].insert(window, cap)),
                    None => drop(self.model.caps[key].remove(&window)),
                }
                let caps = self.model.caps[key].iter().map(|(window, cap)| (*window, usd(*cap))).collect();
                let limits = Limits { caps, ..Limits::default() };
                self.stores[0].set_limits(self.keys[key], limits).await.expect("written");
            }
        }
    }

    async fn draw(&mut self, process: usize, key: usize, least: i64, want: i64) {
        // Its own bookings and returns come before its draw; of another's it knows what is durable.
        for other in (0..PROCESSES).filter(|other| *other != process) {
            self.stores[other].flush().await.expect("durable");
        }
        let today = Day::from_number(self.model.today);
        let grant = self.stores[process].draw(self.keys[key], usd(least), usd(want), today).await.expect("answered");
        let want = want.max(least);
        let expected = match self.model.room(key) {
            None => want,
            Some(room) if room < least => 0,
            Some(room) => want.min(room.max(0)),
        };
        assert_eq!(grant.amount.as_pico(), expected, "all that is left is granted, and no more");
        self.model.leases[process][key] += expected;
        if expected > 0 {
            assert!(self.model.room(key).is_none_or(|room| room >= 0));
        }
    }

    fn book(&mut self, process: usize, key: usize, part: i64, cost: Option<i64>, days_ago: i32) {
        self.requests += 1;
        let held = part_of(self.model.leases[process][key], part);
        let day = self.model.today - days_ago;
        let attempt = Entry { at: self.at(day), held: Some(usd(held)), ..entry(self.requests, self.keys[key], 0) };
        self.model.leases[process][key] -= held;
        let cost = match cost {
            Some(percent) => {
                let cost = part_of(held, percent);
                *self.model.settled.entry((key, day)).or_default() += cost;
                Cost::Known(usd(cost))
            }
            None => {
                self.model.suspense.push((key, held, day));
                Cost::Unknown
            }
        };
        book(&self.stores[process], Entry { cost, ..attempt });
    }

    async fn settle(&mut self, process: usize, which: usize, part: i64) {
        let key = self.keys[which % KEYS];
        for store in &self.stores {
            store.flush().await.expect("durable");
        }
        let open = self.stores[process].suspense_of_key(key).await.expect("readable");
        let Some(open) = open.get(which / KEYS % open.len().max(1)) else { return };
        let held = open.held.expect("told").as_pico();
        let cost = part_of(held, part);
        assert!(self.stores[process].settle(open.id, settlement(cost)).await.expect("written"));
        let (key, day) = (which % KEYS, open.opened_at.day().number());
        let at = self.model.suspense.iter().position(|open| *open == (key, held, day)).expect("known");
        self.model.suspense.swap_remove(at);
        *self.model.settled.entry((key, day)).or_default() += cost;
    }

    async fn crash(&mut self) {
        for store in &self.stores {
            store.flush().await.expect("durable");
        }
        self.dead.append(&mut self.stores);
        self.stores = vec![self.reopen(), self.reopen()];
        // Of these two the first is the older one: it buries the dead, and not the other.
        assert_eq!(self.stores[0].bury().await.expect("written").len(), PROCESSES);
        for lease in &mut self.model.leases {
            for (key, amount) in lease.iter_mut().enumerate() {
                self.model.stale[key] += std::mem::take(amount);
            }
        }
    }

    async fn absolve(&mut self, key: usize, part: i64) {
        let amount = part_of(self.model.stale[key], part);
        let day = self.model.today;
        let found =
            Recovered { at: self.at(day), amount: usd(amount), day: Day::from_number(day), basis: Basis::Usage };
        self.stores[0].absolve(self.keys[key], Some(found)).await.expect("written");
        // When nothing was stale nothing was booked, and the amount is nothing.
        self.model.stale[key] = 0;
        *self.model.settled.entry((key, day)).or_default() += amount;
    }

    /// The books say what the model says.
    async fn check(&self) {
        for store in &self.stores {
            store.flush().await.expect("durable");
        }
        let hand = by_hand(self.place.path());
        for (at, key) in self.keys.iter().enumerate() {
            let mut days =
                hand.prepare("SELECT day, pico FROM day_totals WHERE key = ?1 AND pico <> 0").expect("readable");
            let days: BTreeMap<i32, i64> = days
                .query_map((key.0,), |row| Ok((row.get(0)?, row.get(1)?)))
                .and_then(Iterator::collect)
                .expect("readable");
            let settled = self.model.settled.iter().filter(|((of, _), sum)| *of == at && **sum != 0);
            assert_eq!(days, settled.map(|((_, day), sum)| (*day, *sum)).collect());
            let sum = |sql: &str| hand.query_row(sql, (key.0,), |row| row.get::<_, i64>(0)).expect("readable");
            let suspense = sum("SELECT coalesce(sum(held), 0) FROM suspense WHERE key = ?1 AND settled_at IS NULL");
            assert_eq!(
                suspense,
                self.model.suspense.iter().filter(|open| open.0 == at).map(|open| open.1).sum::<i64>()
            );
            let leases = sum("SELECT coalesce(sum(amount), 0) FROM leases WHERE key = ?1");
            assert_eq!(leases, self.model.stale[at] + self.model.leases.iter().map(|of| of[at]).sum::<i64>());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_passes_a_cap(history in prop::collection::vec(act(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new().await;
            for act in &history {
                let before = world.model.all_counted();
                world.act(act).await;
                // Only a lease that is granted adds to what counts, and that is within every cap. Time, bookings, findings
                // and burials add nothing, so that what was once within its cap stays there.
                if !matches!(act, Act::Draw { .. }) {
                    let grown = world.model.all_counted().iter().zip(&before).any(|(now, before)| now > before);
                    assert!(!grown, "{act:?}");
                }
                if world.requests % 4 == 0 {
                    world.check().await;
                }
            }
            world.check().await;
            balanced(&world.stores[0]).await;
        });
    }
}
