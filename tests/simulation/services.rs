//! What goes on without a client, as `src/background` has it: leases, probes, unknown costs, the books.

use std::rc::Rc;
use std::time::Duration;

use potluck::clock::Timestamp;
use potluck::money::{Basis, Tokens, Usd};
use potluck::pool::{Evidence, KeyFacts, KeyId};
use potluck::store::{Settlement, StoreError, Suspense};

use crate::attempt::named;
use crate::audit;
use crate::broken::Broken;
use crate::event::Event;
use crate::process::{Process, usd};
use crate::tasks::{all, first};

const BATCH: usize = 64;
/// After the schedule's last time it is asked once a day.
const AFTERWARDS: Duration = Duration::from_secs(24 * 60 * 60);
const SILENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10 * 60));
const NO_QUESTION: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10 * 60));

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
    let (asked_at, before) = (process.now(), process.pool(|pool| pool.activity(key)));
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
    // What the store cannot do now is done after the next question.
    audit::compare(process, key, usd(usage), before).await.ok();
    let asked_at = process.now();
    if let Some(Some(remaining)) = ask(process, account, |account, now| account.left(now).1).await {
        process.evidence(key, &Evidence::Credits { remaining: usd(remaining) }, asked_at);
    }
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

/// Settles unknown costs.
async fn settle_all(process: Rc<Process>) {
    loop {
        let next = settle_due(&process).await.unwrap_or_else(|_| Some(process.now().after(Duration::from_secs(5))));
        let looked_at = first(process.settle_wanted.notified(), process.look.notified());
        match next {
            Some(at) => {
                let pause = u64::try_from(at.since(process.now()).as_millis()).unwrap();
                first(process.world.sleep(pause), looked_at).await.ok();
            }
            None => {
                looked_at.await.ok();
            }
        }
    }
}

/// Go through what is due. When to look again, as far as that is known.
async fn settle_due(process: &Rc<Process>) -> Result<Option<Timestamp>, StoreError> {
    process.store.flush().await?;
    let due = process.store.suspense_due(process.now(), BATCH).await?;
    let done = all(due.iter().map(|entry| resolve(process, entry))).await;
    let mut next = None;
    for at in done {
        next = next.into_iter().chain(at?).min();
    }
    Ok(next)
}

async fn resolve(process: &Rc<Process>, entry: &Suspense) -> Result<Option<Timestamp>, StoreError> {
    let asked_at = process.now();
    let found = match look_up(process, entry).await {
        Ok(cost) => {
            let _settling = process.books.lock().await;
            let settlement = settlement(process.now(), usd(cost), Basis::Upstream);
            return process.settle_suspense(entry, settlement).await.map(|_| None);
        }
        Err(found) => found,
    };
    let settings = process.settings();
    let age = asked_at.since(entry.opened_at);
    let next = next_try(process, entry.opened_at, &found, asked_at);
    if next.is_none()
        && let Some(held) = entry.held
    {
        let _settling = process.books.lock().await;
        return process.settle_suspense(entry, settlement(process.now(), held, Basis::Estimate)).await.map(|_| None);
    }
    let asked = settings.schedule.iter().max().copied().filter(|_| entry.generation.is_some()).unwrap_or_default();
    if age >= asked.max(settings.usage) {
        ask_about(process, [entry.key]);
    }
    process.store.retry_later(entry.id, next).await?;
    Ok(next)
}

pub fn settlement(at: Timestamp, cost: Usd, basis: Basis) -> Settlement {
    Settlement { at, cost, byok: None, tokens: Tokens::default(), model: None, basis }
}

/// Why a question did not bring a cost.
enum Found {
    NotYet,
    Silent,
    Nothing,
}

async fn look_up(process: &Rc<Process>, entry: &Suspense) -> Result<i128, Found> {
    let attempt = entry.generation.as_ref().and_then(named).ok_or(Found::Nothing)?;
    let account = process.account(entry.key).ok_or(Found::Nothing)?;
    let told = ask(process, account, |_, _| ()).await;
    let now = process.world.now_ms();
    let known = process.world.upstream.borrow().generation(account, attempt, now);
    match (told, known) {
        (None, _) => Err(Found::Silent),
        (Some(()), None) => Err(Found::NotYet),
        (Some(()), Some(cost)) => Ok(cost),
    }
}

fn next_try(process: &Process, opened_at: Timestamp, found: &Found, now: Timestamp) -> Option<Timestamp> {
    let age = now.since(opened_at);
    if age >= process.settings().estimate {
        return None;
    }
    match found {
        Found::Nothing => Some(now.after(age.clamp(NO_QUESTION.0, NO_QUESTION.1))),
        Found::Silent => Some(now.after(age.clamp(SILENCE.0, SILENCE.1))),
        Found::NotYet => {
            let schedule = process.settings().schedule.iter();
            let scheduled = schedule.map(|step| opened_at.after(*step)).filter(|at| *at > now).min();
            scheduled.or_else(|| Some(now.after(AFTERWARDS)))
        }
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
    process.look_at_others().await?;
    let (now, patience) = (process.now(), process.settings().usage);
    let stale = process.store.stale_leases().await?;
    if process.world.broken == Some(Broken::ForgivesLeases) {
        for lease in &stale {
            process.store.absolve(lease.key, None).await?;
        }
    }
    let ripe = stale.iter().filter(|lease| now.since(lease.since) >= patience).map(|lease| lease.key);
    ask_about(process, ripe);
    Ok(())
}
