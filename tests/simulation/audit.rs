//! What a key was charged, by its own account, against the books: `src/background/audit.rs`.

use std::rc::Rc;
use std::time::Duration;

use potluck::clock::Timestamp;
use potluck::money::{Basis, Books, OpenCost, Reckoned, Unaccounted, Usd, reckon};
use potluck::pool::{Activity, KeyId};
use potluck::store::{Recovered, StaleLease, StoreError, Suspense};

use crate::broken::Broken;
use crate::event::Event;
use crate::process::Process;
use crate::services::settlement;

/// Compare `usage`, which the key's answer told, with its books. `before` is what was under way when it was asked.
pub async fn compare(
    process: &Rc<Process>,
    key: KeyId,
    usage: Usd,
    before: Option<Activity>,
) -> Result<(), StoreError> {
    let broken = process.world.broken;
    let quiet = |activity: Option<Activity>| {
        activity.is_some_and(|now| now.in_flight == 0) && activity == before || broken == Some(Broken::ReckonsInTraffic)
    };
    if !quiet(process.pool(|pool| pool.activity(key))) {
        return Ok(());
    }
    let _settling = process.books.lock().await;
    process.store.flush().await?;
    let settled = process.store.purse(key).await?.total;
    let open = process.store.suspense_of_key(key).await?;
    let stale: Vec<StaleLease> = process.store.stale_leases().await?.into_iter().filter(|l| l.key == key).collect();
    let last = process.store.usage_check(key).await?;
    if !quiet(process.pool(|pool| pool.activity(key))) {
        return Ok(());
    }
    let now = process.now();
    let costs: Vec<OpenCost> = open.iter().map(|entry| open_cost(process, entry, now)).collect();
    let books = Books { now, usage, settled, last, open: &costs, lost: lost(process, &stale, now) };
    let Some(reckoned) = reckon(&books) else { return Ok(()) };
    book(process, key, &open, &reckoned).await
}

fn open_cost(process: &Process, entry: &Suspense, now: Timestamp) -> OpenCost {
    let settings = process.settings();
    let asked = settings.schedule.iter().max().copied().filter(|_| entry.generation.is_some()).unwrap_or_default();
    let ripe = now.since(entry.opened_at) >= patience(process, asked.max(settings.usage));
    OpenCost { id: entry.id, held: entry.held, ripe }
}

fn lost(process: &Process, stale: &[StaleLease], now: Timestamp) -> Option<Unaccounted> {
    let youngest = stale.iter().map(|lease| lease.since).max()?;
    let leased = stale.iter().fold(Usd::ZERO, |sum, lease| sum.saturating_add(lease.amount));
    let ripe = now.since(youngest) >= patience(process, process.settings().usage);
    Some(Unaccounted { leased, unbounded: stale.iter().any(|lease| lease.unbounded), ripe })
}

fn patience(process: &Process, patience: Duration) -> Duration {
    if process.world.broken == Some(Broken::ReckonsAtOnce) { Duration::ZERO } else { patience }
}

/// Write down what follows.
async fn book(process: &Rc<Process>, key: KeyId, open: &[Suspense], reckoned: &Reckoned) -> Result<(), StoreError> {
    let at = reckoned.check.at;
    for (id, cost) in &reckoned.settle {
        let Some(entry) = open.iter().find(|entry| entry.id == *id) else { continue };
        process.settle_suspense(entry, settlement(at, *cost, Basis::Usage)).await?;
    }
    if let Some(amount) = reckoned.recovered {
        let found = (amount > Usd::ZERO).then_some(Recovered { at, amount, day: at.day() });
        process.store.absolve(key, found).await?;
        process.absolved(key, amount, at);
    }
    process.store.save_usage_check(key, reckoned.check).await?;
    let check = reckoned.check;
    let [usage, settled, before, elsewhere, drift] =
        [check.usage, check.settled, check.before, check.elsewhere, check.drift].map(|usd| usd.as_pico().into());
    process.world.tell(Event::Checked { process: process.number, key, usage, settled, before, elsewhere, drift });
    Ok(())
}
