//! A pot whose store is told when to write, and how that goes.

use std::path::Path;

use super::*;
use crate::config::Config;
use crate::money::{Basis, Caps, Cost, Entry, Limits, Outcome, PurseFigures, RequestId, Tokens, Usd, Window};
use crate::pool::Gate;
use crate::secret::{Credential, Secret};
use crate::store::{Fault, Settlement, Stepper, StoreError, StoreOptions, Suspense};
use crate::upstream::Endpoint;

const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

struct Bench {
    pot: Arc<Pot>,
    stepper: Stepper,
    key: KeyId,
    place: tempfile::TempDir,
}

impl Bench {
    /// With one key, of which 100 pico-dollars may be spent in all.
    async fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let (pot, stepper) = Self::open(place.path());
        let mut bench = Self { pot, stepper, key: KeyId(0), place };
        let (pot, credential) = (Arc::clone(&bench.pot), Credential::parse(&format!("sk-or-v1-{:064x}", 1)));
        let donated = bench.carry_out(None, pot.donate_unseen(credential.expect("a key"))).await;
        bench.key = donated.expect("written").expect("new").id;
        let caps: Caps = [(Window::Total, Usd::from_pico(100))].into_iter().collect();
        let limits = |all: &mut Limits| all.caps = caps;
        bench.carry_out(None, pot.change_limits(KeyRef::Id(bench.key), limits)).await.expect("written");
        bench
    }

    fn open(place: &Path) -> (Arc<Pot>, Stepper) {
        let options = StoreOptions {
            path: place.join("potluck.db"),
            master_key: Some(Secret::new("07".repeat(32))),
            master_key_file: place.join("master.key"),
            queue_max_entries: 100,
            commit_gather: Duration::ZERO,
            first_lookup: Duration::ZERO,
            close_patience: Duration::ZERO,
            reserve_bytes: 0,
        };
        let clock = Clock::manual(NOON);
        let (store, loaded, stepper) = Store::open_stepped(&options, &clock).expect("opens");
        let origin = Origin::new(&Config::default().upstream).expect("good settings");
        let line = Bounds { places: 100, per_client: 100 };
        let (policy, metrics, wait_for_key) = (Policy::default(), Metrics::new(), Duration::from_secs(2));
        let parts = Parts { clock, policy, store, loaded, origin, metrics, line, wait_for_key };
        (Pot::new(parts), stepper)
    }

    /// The process is killed, and another one begins.
    fn killed(self) -> Self {
        let Self { pot, stepper, key, place } = self;
        drop((pot, stepper));
        let (pot, stepper) = Self::open(place.path());
        Self { pot, stepper, key, place }
    }

    /// Make a call, and have what it wants written, in the way of this fault.
    async fn carry_out<T>(&mut self, fault: Option<Fault>, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        loop {
            tokio::select! {
                biased;
                done = &mut call => return done,
                () = tokio::task::yield_now() => match fault {
                    _ if !self.stepper.has_work() => {}
                    Some(fault) => self.stepper.step_failing(fault),
                    None => self.stepper.step(),
                },
            }
        }
    }

    /// An attempt ends that held so much, its cost unknown.
    async fn suspended(&mut self, held: i64) -> Suspense {
        self.suspended_of(1, held).await
    }

    /// The same, of this request.
    async fn suspended_of(&mut self, request: u128, held: i64) -> Suspense {
        let entry = Entry { held: Some(Usd::from_pico(held)), ..self.entry(request, Cost::Unknown) };
        let pot = Arc::clone(&self.pot);
        pot.book(entry, None, pot.store().slot().expect("room"), None);
        self.carry_out(None, pot.store().flush()).await.expect("durable");
        pot.store().suspense_of_key(self.key).await.expect("readable").remove(0)
    }

    fn by_hand(&self, sql: &str) -> i64 {
        let file = rusqlite::Connection::open(self.place.path().join("potluck.db")).expect("opens");
        file.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// An attempt that was broken off.
    fn entry(&self, request: u128, cost: Cost) -> Entry {
        Entry {
            at: NOON,
            request: RequestId(uuid::Uuid::from_u128(request)),
            attempt: 1,
            key: self.key,
            account: None,
            client: None,
            endpoint: Endpoint::ChatCompletions,
            model: None,
            generation: None,
            tokens: Tokens::default(),
            cost,
            held: None,
            byok: None,
            outcome: Outcome::Broken,
            status: None,
            duration_ms: 0,
        }
    }

    fn gate(&self) -> Gate {
        self.pot.pool().keys(NOON).next().expect("a key").gate
    }

    /// What the pool believes of the key: settled, in suspense.
    fn believed(&self) -> (i64, i64) {
        let pool = self.pot.pool();
        let purse = pool.keys(NOON).next().and_then(|key| key.purse).expect("limits");
        (purse.settled(Window::Total, NOON).as_pico(), purse.suspense().as_pico())
    }
}

fn found(cost: i64) -> Settlement {
    let (cost, tokens) = (Usd::from_pico(cost), Tokens::default());
    Settlement { at: NOON, cost, byok: None, tokens, model: None, basis: Basis::Upstream }
}

#[tokio::test]
async fn a_cost_that_was_settled_by_a_commit_that_seemed_to_fail_is_known_at_the_next_look() {
    let mut bench = Bench::new().await;
    let entry = bench.suspended(60).await;
    let pot = Arc::clone(&bench.pot);
    let failed = bench.carry_out(Some(Fault::Durable), pot.settle_suspense(&entry, found(25))).await;
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(bench.believed(), (0, 60));
    let again = bench.carry_out(None, pot.settle_suspense(&entry, found(25))).await;
    assert!(matches!(again, Ok(false)), "nobody settles it again: {again:?}");
    bench.carry_out(None, pot.catch_up()).await;
    assert_eq!(bench.believed(), (25, 0));
}

#[tokio::test]
async fn a_cost_that_could_not_be_settled_is_as_unknown_as_before() {
    let mut bench = Bench::new().await;
    let entry = bench.suspended(60).await;
    let pot = Arc::clone(&bench.pot);
    let failed = bench.carry_out(Some(Fault::Undone), pot.settle_suspense(&entry, found(25))).await;
    assert!(failed.is_err(), "{failed:?}");
    bench.carry_out(None, pot.catch_up()).await;
    assert_eq!(bench.believed(), (0, 60));
    assert!(bench.carry_out(None, pot.settle_suspense(&entry, found(25))).await.expect("written"));
    assert_eq!(bench.believed(), (25, 0));
}

#[tokio::test]
async fn a_hold_is_not_freed_while_the_upstream_may_go_on_with_what_was_broken_off() {
    let mut bench = Bench::new().await;
    let entry = bench.suspended(60).await;
    let pot = Arc::clone(&bench.pot);
    pot.is_alone();
    let hour = Duration::from_secs(3600);
    // Whatever the machine's clock says.
    pot.clock().set(NOON.after(hour * 24));
    assert!(!pot.is_over(&entry, hour));
    assert!(pot.is_over(&entry, Duration::ZERO));
    assert!(pot.is_over(&Suspense { outcome: Outcome::Answered, ..entry.clone() }, hour), "it only lacked its cost");
    let job = Suspense { outcome: Outcome::Answered, endpoint: Endpoint::Videos, ..entry.clone() };
    assert!(!pot.is_over(&job, hour), "a job goes on");
    let others = Suspense { attempt: 2, ..entry };
    assert!(!pot.is_over(&others, hour), "the process that made it may have ended just now");
}

#[tokio::test]
async fn nothing_is_compared_before_a_known_cost_shows_in_the_usage() {
    let mut bench = Bench::new().await;
    bench.suspended(60).await;
    let pot = Arc::clone(&bench.pot);
    pot.is_alone();
    let pause = Duration::from_millis(300);
    tokio::time::sleep(pause).await;
    assert!(pot.quiet(bench.key, pause).is_some());
    let known = bench.entry(2, Cost::Known(Usd::from_pico(1)));
    pot.book(known, None, pot.store().slot().expect("room"), None);
    assert_eq!(pot.quiet(bench.key, pause), None);
    tokio::time::sleep(pause).await;
    assert!(pot.quiet(bench.key, pause).is_some());
}

#[tokio::test]
async fn a_key_that_was_wiped_by_a_commit_that_seemed_to_fail_leaves_at_the_next_look() {
    for (fault, left) in [(Fault::Durable, 0), (Fault::Undone, 1)] {
        let mut bench = Bench::new().await;
        let pot = Arc::clone(&bench.pot);
        let failed = bench.carry_out(Some(fault), pot.withdraw(KeyRef::Id(bench.key))).await;
        assert!(matches!(failed, Err(AdminError::Store(StoreError::Unwritable(_)))), "{failed:?}");
        assert_eq!(pot.total_keys(), 1);
        bench.carry_out(None, pot.catch_up()).await;
        assert_eq!(pot.total_keys(), left, "{fault:?}");
    }
}

#[tokio::test]
async fn a_key_can_be_withdrawn_again_when_the_first_time_seemed_to_fail() {
    let mut bench = Bench::new().await;
    let pot = Arc::clone(&bench.pot);
    bench.carry_out(Some(Fault::Durable), pot.withdraw(KeyRef::Id(bench.key))).await.expect_err("not written");
    let withdrawn = bench.carry_out(None, pot.withdraw(KeyRef::Id(bench.key))).await.expect("it is gone");
    assert_eq!(withdrawn.total_keys, 0);
}

#[tokio::test]
async fn a_cap_that_is_set_later_is_measured_against_what_was_spent_before() {
    let mut bench = Bench::new().await;
    let entry = bench.suspended(60).await;
    let pot = Arc::clone(&bench.pot);
    assert!(bench.carry_out(None, pot.settle_suspense(&entry, found(25))).await.expect("written"));
    // Days are read at the start for keys with caps only.
    pot.pool().sync_purse(bench.key, PurseFigures::default(), NOON);
    assert_eq!(bench.believed(), (0, 0));
    let caps: Caps = [(Window::Day, Usd::from_pico(100))].into_iter().collect();
    let changed = pot.change_limits(KeyRef::Id(bench.key), |all| all.caps = caps);
    let money = bench.carry_out(None, changed).await.expect("written").money.expect("limits");
    assert_eq!(money.caps[0].spent, Usd::from_pico(25));
}

#[tokio::test]
async fn a_cost_belongs_to_the_day_of_its_hold_when_the_clock_is_set_back_over_midnight() {
    let mut bench = Bench::new().await;
    let pot = Arc::clone(&bench.pot);
    let wrong = NOON.next_midnight().after(Duration::from_secs(5));
    pot.clock().set(wrong);
    let hold = pot.pool().pinned(bench.key).expect("there");
    let request = RequestId(uuid::Uuid::from_u128(1));
    let call = Call { request, seat: None, endpoint: Endpoint::ChatCompletions, model: None };
    let Begun::Attempt(mut attempt) = pot.attempt(&Arc::new(call), hold, 1) else { panic!("room") };
    attempt.sent();
    pot.clock().set(wrong.before(Duration::from_secs(8)));
    drop(attempt);
    bench.carry_out(None, pot.store().flush()).await.expect("durable");
    let open = pot.store().suspense_of_key(bench.key).await.expect("readable");
    assert_eq!(open.iter().map(|entry| entry.opened_at.day()).collect::<Vec<_>>(), [wrong.day()]);
}

#[tokio::test]
async fn nothing_is_spent_on_a_key_whose_sums_do_not_follow_from_its_lines() {
    let changes = [
        ("UPDATE day_totals SET pico = 1 WHERE key = 0", None, Gate::Open),
        ("UPDATE key_totals SET pico = 1 WHERE key = 1", Some(NOON.day()), Gate::Open),
        ("UPDATE day_totals SET pico = 1 WHERE key = 1", Some(NOON.day()), Gate::Unsound),
        ("UPDATE day_models SET pico = 1 WHERE key = 1", None, Gate::Unsound),
        ("UPDATE key_totals SET pico = 1 WHERE key = 1", None, Gate::Unsound),
    ];
    for (change, day, gate) in changes {
        let mut bench = Bench::new().await;
        bench.suspended(60).await;
        let pot = Arc::clone(&bench.pot);
        bench.carry_out(None, pot.store().bury()).await.expect("the finer sums are whole");
        bench.carry_out(None, pot.verify_books(None)).await.expect("readable");
        assert_eq!(bench.gate(), Gate::Open);
        let hand = rusqlite::Connection::open(bench.place.path().join("potluck.db")).expect("opens");
        assert_eq!(hand.execute(change, []).expect("changed"), 1);
        bench.carry_out(None, pot.verify_books(day)).await.expect("readable");
        assert_eq!(bench.gate(), gate, "{change}");
        let known = bench.by_hand("SELECT count(unsound_at) FROM keys");
        assert_eq!(known, i64::from(gate == Gate::Unsound));
        assert_eq!(bench.killed().gate(), gate, "the next process knows it from the start: {change}");
    }
}

#[tokio::test]
async fn a_key_is_back_when_all_of_its_books_are_sound_again() {
    let mut bench = Bench::new().await;
    bench.suspended(60).await;
    let pot = Arc::clone(&bench.pot);
    bench.carry_out(None, pot.store().bury()).await.expect("the finer sums are whole");
    let hand = rusqlite::Connection::open(bench.place.path().join("potluck.db")).expect("opens");
    for (pico, day, gate) in [
        (1, None, Gate::Unsound),
        // A look at one day says nothing of the others.
        (0, Some(NOON.day()), Gate::Unsound),
        (0, None, Gate::Open),
    ] {
        hand.execute("UPDATE key_totals SET pico = ?1 WHERE key = 1", (pico,)).expect("changed");
        bench.carry_out(None, pot.verify_books(day)).await.expect("readable");
        assert_eq!(bench.gate(), gate, "{pico} {day:?}");
    }
    assert_eq!(bench.by_hand("SELECT count(unsound_at) FROM keys"), 0);
    let told = "SELECT group_concat(action) = 'books_unsound,books_sound' FROM audit WHERE action LIKE 'books%'";
    assert_eq!(bench.by_hand(told), 1, "each once");
    // Noted by the process before this one, after this one began.
    hand.execute("UPDATE keys SET unsound_at = 1", []).expect("changed");
    for (day, gate) in [(Some(NOON.day()), Gate::Unsound), (None, Gate::Open)] {
        bench.carry_out(None, pot.verify_books(day)).await.expect("readable");
        assert_eq!(bench.gate(), gate, "{day:?}");
    }
}

#[tokio::test]
async fn a_key_whose_bound_was_none_is_paused_until_somebody_has_looked() {
    for late in [false, true] {
        let mut bench = Bench::new().await;
        let pot = Arc::clone(&bench.pot);
        if late {
            let entry = bench.suspended(40).await;
            bench.carry_out(None, pot.settle_suspense(&entry, found(40))).await.expect("written");
            assert_eq!(bench.gate(), Gate::Open, "as much as was held is enough");
            let entry = bench.suspended_of(2, 20).await;
            bench.carry_out(None, pot.settle_suspense(&entry, found(21))).await.expect("written");
        } else {
            let entry = Entry { held: Some(Usd::from_pico(20)), ..bench.entry(1, Cost::Known(Usd::from_pico(21))) };
            pot.book(entry, None, pot.store().slot().expect("room"), None);
        }
        assert_eq!(bench.gate(), Gate::Paused, "at once");
        // It cannot be written down just now, and is not forgotten.
        bench.carry_out(Some(Fault::Undone), pot.keep_pauses()).await;
        let paused = |bench: &Bench| bench.by_hand("SELECT paused FROM keys");
        assert_eq!(paused(&bench), 0);
        bench.carry_out(None, pot.keep_pauses()).await;
        assert_eq!(paused(&bench), 1);
        let resume = |limits: &mut Limits| limits.paused = false;
        bench.carry_out(None, pot.change_limits(KeyRef::Id(bench.key), resume)).await.expect("written");
        bench.carry_out(None, pot.keep_pauses()).await;
        assert_eq!((bench.gate(), paused(&bench)), (Gate::Open, 0), "an operator's word counts");
    }
}
