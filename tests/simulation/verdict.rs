//! The end of a world: everything comes to rest, and then everything must add up.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use potluck::money::{UsageCheck, Window};
use potluck::pool::KeyId;

use crate::judge::{Known, State};
use crate::process::Process;
use crate::services::ask_about;
use crate::story::{look, under_way};
use crate::tally::guessed;
use crate::trouble;
use crate::upstream::{LAG_MAX_MS, Pico};
use crate::world::World;

const DAY_MS: u64 = 86_400_000;
/// Costs that nobody tells are estimated after a week; then nothing may be open any more.
const REST_MAX_MS: u64 = 10 * DAY_MS;
/// How often keys are asked about in the end, until an answer has come in a quiet moment.
const QUESTIONS: u32 = 12;

/// Let everything come to rest, and judge it.
pub async fn give(world: &Rc<World>) {
    world.machine.fail_commits(0, None);
    world.upstream.borrow_mut().silent_until = 0;
    while under_way(world) > 0 || world.machine.processes().len() != 1 || !world.upstream.borrow().all_final() {
        let rests = under_way(world) == 0 && world.machine.processes().len() == 1;
        world.sleep(if rests { 60_000 } else { 1_000 }).await;
        trouble::start(world);
        look(world);
    }
    // A bill may come after an estimate, when the clock was ahead: then nobody waits for it any more.
    world.sleep(LAG_MAX_MS).await;
    let process = world.machine.serving().expect("one serves");
    rest(world, &process).await;
    let checks = last_checks(world, &process).await;
    purses_are_right(world, &process).await;
    sums_are_right(world, &process);
    drop(process.store.flush().await);
    process.close();
    every_attempt_is_settled(world);
    for (key, check) in checks {
        let is_there = process.cards.borrow().contains_key(&key);
        if is_there && check.is_none() {
            world.fail(format!("{key} was never compared"));
        }
        if let Err(what) = books_are_right(world, key, check) {
            world.fail(format!("{key}: {what}"));
        }
    }
}

/// Until no cost is unknown and nothing is leased by the dead.
async fn rest(world: &Rc<World>, process: &Process) {
    let (end, mut pause) = (world.now_ms() + REST_MAX_MS, 2_000);
    while !is_at_rest(world, process.epoch) {
        if world.now_ms() > end {
            let judge = world.judge.borrow();
            let open: Vec<_> = judge.tallies.iter().map(|(key, tally)| (key, &tally.money)).collect();
            return world.fail(format!("something is stranded: {open:?}"));
        }
        world.sleep(pause).await;
        look(world);
        pause = (pause * 3).min(DAY_MS / 2);
    }
}

fn is_at_rest(world: &World, epoch: u64) -> bool {
    world.judge.borrow().tallies.values().all(|tally| {
        let money = &tally.money;
        let others = money.leases.keys().any(|of| *of != epoch);
        // What nobody has bounded on a key that is gone is for an operator to settle.
        let unbounded = money.suspense_unbounded > 0 && money.caps.is_some();
        money.suspense == 0 && !unbounded && !others
    })
}

/// Have every key's usage compared once more.
async fn last_checks(world: &Rc<World>, process: &Rc<Process>) -> Vec<(KeyId, Option<UsageCheck>)> {
    let gifts = world.machine.gifts.borrow().clone();
    let mut checks = checks_of(process, gifts.keys()).await;
    for _ in 0..QUESTIONS {
        let before = std::mem::take(&mut checks);
        ask_about(process, gifts.keys().copied());
        world.sleep(150_000).await;
        // That the clock was set back is noticed at one look, and what it put out of step is seen to at the next.
        for _ in 0..2 {
            look(world);
            world.sleep(10_000).await;
        }
        checks = checks_of(process, gifts.keys()).await;
        // Times tell nothing: the clock may have been set back since the comparison before.
        if checks.iter().zip(&before).all(|(now, before)| now.1.is_none() || now != before) {
            break;
        }
    }
    checks
}

async fn checks_of(process: &Process, keys: impl Iterator<Item = &KeyId>) -> Vec<(KeyId, Option<UsageCheck>)> {
    let mut checks = Vec::new();
    for key in keys {
        checks.push((*key, process.store.usage_check(*key).await.expect("readable")));
    }
    checks
}

/// What the pool believes is what the store knows.
async fn purses_are_right(world: &Rc<World>, process: &Process) {
    let keys: Vec<KeyId> = process.cards.borrow().keys().copied().collect();
    for key in keys {
        let Ok(figures) = process.store.purse(key).await else { continue };
        let now = process.now();
        let believed = process.pool(|pool| {
            let pooled = pool.keys(now).find(|pooled| pooled.id == key)?;
            let purse = pooled.purse.filter(|_| pooled.limits.are_strict())?;
            let days = Window::ALL.map(|window| purse.settled(window, now));
            Some((days, purse.suspense(), purse.lease(), purse.others(), purse.held(), purse.has_unbounded()))
        });
        let Some(believed) = believed else { continue };
        let known = potluck::money::Purse::new(Default::default(), None, figures.clone(), 0);
        let days = Window::ALL.map(|window| known.settled(window, now));
        let known = (days, known.suspense(), known.lease(), known.others(), known.held(), known.has_unbounded());
        if believed != known {
            world.fail(format!("{key}: at rest the pool believes {believed:?}, and the store knows {known:?}"));
        }
    }
}

fn sums_are_right(world: &World, process: &Process) {
    match wait_for(process.store.verify_totals(None)) {
        Ok(found) if found.is_empty() => {}
        other => world.fail(format!("the books do not balance: {other:?}")),
    }
}

fn every_attempt_is_settled(world: &World) {
    let judge = world.judge.borrow();
    let is_gone = |key: KeyId| judge.tallies.get(&key).is_none_or(|tally| tally.money.caps.is_none());
    let for_operators = |known: &Known| known.held.is_none() && is_gone(known.key);
    let open = |known: &&Known| known.state.is_open() && known.state != State::Begun && !for_operators(known);
    let open = judge.attempts.iter().find(open);
    if let Some(open) = open {
        world.fail(format!("an attempt was never settled: {open:?}"));
    }
    for (key, tally) in &judge.tallies {
        let money = &tally.money;
        let unbounded = money.suspense_unbounded > 0 && money.caps.is_some();
        if money.suspense != 0 || unbounded || !money.leases.is_empty() {
            world.fail(format!("{key}: something is left in the end: {money:?}"));
        }
    }
}

/// The ledger is the bill, to the pico-dollar, as far as anybody can know it.
fn books_are_right(world: &World, key: KeyId, check: Option<UsageCheck>) -> Result<(), String> {
    let judge = world.judge.borrow();
    let Some(tally) = judge.tallies.get(&key) else { return Ok(()) };
    let (ledger, billed) = (tally.money.total, tally.billed);
    let of_key = || judge.attempts.iter().filter(|known| known.key == key);
    let guessed: Pico = of_key().map(guessed).sum::<Pico>() + tally.guessed;
    // What a price has risen by shows only where the upstream tells a cost.
    let untold: Pico = of_key().filter(|known| !known.is_told()).map(|known| known.excess).sum();
    let gift = world.machine.gifts.borrow()[&key].clone();
    let usage = world.upstream.borrow().accounts[gift.account].usage;
    // Nobody was told that it was taken: whoever gave it asked again.
    let usage_before = gift.usage_before.or(check.map(|check| check.before.as_pico().into())).unwrap_or_default();
    let Some(check) = check else {
        // Gone: nobody could ask any more what was lost.
        let is_lost = |state: State| matches!(state, State::Accounted | State::Suspended { .. });
        let lost: Pico = of_key().filter(|known| is_lost(known.state)).map(|known| known.billed).sum();
        let elsewhere = usage - usage_before - billed;
        let right = (billed - lost - untold..=billed + guessed + elsewhere).contains(&ledger);
        return if right { Ok(()) } else { Err(format!("gone with {ledger}, billed {billed}, guessed {guessed}")) };
    };
    let [shown, settled, before, elsewhere, drift] =
        [check.usage, check.settled, check.before, check.elsewhere, check.drift].map(|usd| Pico::from(usd.as_pico()));
    let truly_elsewhere = usage - usage_before - billed;
    let told = format!(
        "ledger {ledger}, billed {billed}, usage {usage} (before {}), elsewhere {truly_elsewhere}, guessed {guessed}, \
         untold {untold}; {check:?}",
        usage_before
    );
    if shown != usage || settled != ledger || before + elsewhere + ledger + drift != usage {
        return Err(format!("usage is not explained: {told}"));
    }
    if !(billed - untold..=billed + guessed + truly_elsewhere).contains(&ledger) {
        return Err(format!("the ledger is not the bill: {told}"));
    }
    if (truly_elsewhere, guessed, untold) == (0, 0, 0)
        && (ledger, elsewhere, drift, before) != (billed, 0, 0, usage_before)
    {
        return Err(format!("the ledger is not exactly the bill: {told}"));
    }
    Ok(())
}

/// Wait for another thread.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Here(std::thread::Thread);
    impl Wake for Here {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Here(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
