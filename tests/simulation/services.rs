//! What goes on without a client, as `src/background` has it: leases, probes, unknown costs, the books.

use std::collections::BTreeMap;
use std::rc::Rc;

use potluck::background::{Found, hopeless, next_try};
use potluck::clock::Timestamp;
use potluck::money::{Basis, Tokens, Usd};
use potluck::pool::{Activity, Evidence, KeyFacts, KeyId};
use potluck::store::{Settlement, StaleLease, StoreError, Suspense};

use crate::attempt::named;
use crate::audit;
use crate::broken::Broken;
use crate::event::Event;
use crate::process::{Process, usd};
use crate::tasks::{all, first};

const BATCH: usize = 64;

/// Start all of them.
pub fn start(process: &Rc<Process>) {
    let spawn = |work: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        process.world.tasks.spawn(Process::SERVICES(process.number), work);
    };
    spawn(Box::pin(lend(Rc::clone(process))));
    spawn(Box::pin(probe_all(Rc::clone(process))));
    spawn(Box::pin(settle_all(Rc::clone(process))));
    spawn(Box::pin(keep_books(Rc::clone(process))));
}

/// Keeps leases at their usual size.
async fn lend(process: Rc<Process>) {
    loop {
        let wishes = process.lease_wishes();
        if wishes.is_empty() {
            first(process.lease_wanted.notified(), process.look.notified()).await.ok();
            continue;
        }
        all(wishes.into_iter().map(|(key, wish)| process.lease(key, wish))).await;
    }
}

/// Asks about keys when the pool says so.
async fn probe_all(process: Rc<Process>) {
    loop {
        let wanted = process.probe_wanted.notified();
        let (now, roll) = (process.now(), process.roll());
        let (turned, due) = process.pool(|pool| (pool.tick(now), pool.due_probes(now, BATCH, roll)));
        let behind = process.pool(|pool| if pool.was_set_back() { pool.keys_with_purse() } else { Vec::new() });
        behind.into_iter().for_each(|key| process.fell_out_of_step(key));
        process.saved(&turned);
        if due.is_empty() {
            first(wanted, process.look.notified()).await.ok();
            continue;
        }
        all(due.into_iter().map(|key| probe(&process, key))).await;
    }
}

async fn probe(process: &Rc<Process>, key: KeyId) {
    let Some(account) = process.account(key) else { return };
    let (asked_at, quiet) = (process.now(), process.quiet(key));
    let Some((usage, left)) = ask(process, account, |account, now| (account.shown(now), account.left(now))).await
    else {
        process.evidence(key, &Evidence::Silent, asked_at);
        return;
    };
    let limit = process.world.upstream.borrow().accounts[account].limit;
    let facts = KeyFacts {
        limit: limit.map(usd),
        limit_remaining: left.0.map(usd),
        usage: Some(usd(usage)),
        ..KeyFacts::default()
    };
    process.evidence(key, &Evidence::Key(facts), asked_at);
    process.world.tell(Event::Asked { process: process.number, key, usage });
    if let Some(quiet) = quiet.or_else(|| loud(process, key)) {
        // What the store cannot do now is done after the next question.
        audit::compare(process, key, usd(usage), quiet).await.ok();
    }
    let asked_at = process.now();
    if let Some(Some(remaining)) = ask(process, account, |account, now| account.left(now).1).await {
        process.evidence(key, &Evidence::Credits { remaining: usd(remaining) }, asked_at);
    }
}

/// What [`Broken::ReckonsInTraffic`] takes for a quiet moment.
fn loud(process: &Process, key: KeyId) -> Option<Activity> {
    let broken = process.world.broken == Some(Broken::ReckonsInTraffic);
    process.pool(|pool| pool.activity(key)).filter(|_| broken)
}

/// A free question: answered after a while, or not at all.
async fn ask<T>(
    process: &Rc<Process>,
    account: usize,
    read: impl FnOnce(&crate::upstream::Account, u64) -> T,
) -> Option<T> {
    let world = &process.world;
    world.sleep(world.between(1, 200)).await;
    let now = world.now_ms();
    let silent = now < world.upstream.borrow().silent_until || world.permille(20);
    let answer = (!silent).then(|| read(&world.upstream.borrow().accounts[account], now));
    world.sleep(world.between(1, 200)).await;
    answer
}

/// Settles unknown costs. When to look is not its own to say, or an unknown cost would be asked about for days.
async fn settle_all(process: Rc<Process>) {
    loop {
        let looked_at = (process.settle_wanted.notified(), process.look.notified());
        // What the store cannot do now is done in the next round.
        settle_due(&process).await.ok();
        first(looked_at.0, looked_at.1).await.ok();
    }
}

async fn settle_due(process: &Rc<Process>) -> Result<(), StoreError> {
    process.store.flush().await?;
    let due = process.store.suspense_due(process.now(), BATCH).await?;
    all(due.iter().map(|entry| resolve(process, entry))).await.into_iter().collect()
}

async fn resolve(process: &Rc<Process>, entry: &Suspense) -> Result<(), StoreError> {
    let asked_at = process.now();
    let found = match look_up(process, entry).await {
        Ok(cost) => {
            let _settling = process.books.lock().await;
            let settlement = settlement(process.now(), usd(cost), Basis::Upstream);
            return process.settle_suspense(entry, settlement).await.map(drop);
        }
        Err(found) => found,
    };
    let patience = &process.settings().patience;
    let next = next_try(entry.opened_at, found, patience, asked_at);
    if next.is_none()
        && let Some(held) = entry.held
    {
        let _settling = process.books.lock().await;
        return process.settle_suspense(entry, settlement(process.now(), held, Basis::Estimate)).await.map(drop);
    }
    if asked_at.since(entry.opened_at) >= patience.until_usage(entry) && process.is_over(entry) {
        ask_about(process, [entry.key]);
    }
    process.store.retry_later(entry.id, next).await
}

fn settlement(at: Timestamp, cost: Usd, basis: Basis) -> Settlement {
    Settlement { at, cost, byok: None, tokens: Tokens::default(), model: None, basis }
}

async fn look_up(process: &Rc<Process>, entry: &Suspense) -> Result<i128, Found> {
    let account = process.account(entry.key).ok_or(Found::Gone)?;
    let attempt = entry.generation.as_ref().and_then(named).ok_or(Found::Nothing)?;
    let told = ask(process, account, |_, _| ()).await;
    let now = process.world.now_ms();
    let known = process.world.upstream.borrow().generation(account, attempt, now);
    match (told, known) {
        (None, _) => Err(Found::Silent),
        (Some(()), None) => Err(Found::NotYet),
        (Some(()), Some(cost)) => Ok(cost),
    }
}

pub fn ask_about(process: &Process, keys: impl IntoIterator<Item = KeyId>) {
    let now = process.now();
    for key in keys {
        process.pool(|pool| pool.ask_now(key, now));
        process.probe_wanted.notify_one();
    }
}

/// Buries the dead, and has keys asked about that they have used.
async fn keep_books(process: Rc<Process>) {
    loop {
        // What the store cannot do now is done in the next round.
        keep_once(&process).await.ok();
        process.look.notified().await;
    }
}

async fn keep_once(process: &Rc<Process>) -> Result<(), StoreError> {
    if !process.buried.get() && process.world.machine.has_claim(process.number) {
        process.bury().await?;
        process.buried.set(true);
    }
    process.catch_up().await;
    process.look_at_others().await?;
    let mut lost = BTreeMap::<KeyId, Vec<StaleLease>>::new();
    for lease in process.store.stale_leases().await? {
        lost.entry(lease.key).or_default().push(lease);
    }
    if process.others_are_over() {
        ask_about(process, lost.keys().copied().filter(|key| process.quiet(*key).is_some()));
    }
    for (key, leases) in lost {
        if process.world.broken == Some(Broken::ForgivesLeases) {
            process.store.absolve(key, None).await?;
        }
        let now = process.now();
        let is_there = process.account(key).is_some();
        let can_tell = is_there && process.store.usage_check(key).await?.is_some();
        let estimate = process.settings().patience.estimate;
        if let Some(amount) = hopeless(&leases, is_there, can_tell, estimate, now) {
            audit::estimate_the_lost(process, key, amount).await?;
        }
    }
    Ok(())
}
