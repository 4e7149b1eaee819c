//! What a key was charged, by its own account, against the books: `src/background/audit.rs`.

use std::rc::Rc;
use std::time::Duration;

use potluck::background::{Patience, finding, reckoned};
use potluck::money::{Basis, Usd};
use potluck::pool::{Activity, KeyId};
use potluck::store::{Finding, Recovered, StaleLease, StoreError, Suspense};

use crate::broken::Broken;
use crate::event::Event;
use crate::process::Process;

/// Compare `usage`, which the key's answer told, with its books. `quiet` is how it was when it was asked.
pub async fn compare(process: &Rc<Process>, key: KeyId, usage: Usd, quiet: Activity) -> Result<(), StoreError> {
    let broken = process.world.broken == Some(Broken::ReckonsInTraffic);
    let is_quiet = || process.quiet(key) == Some(quiet) || broken;
    if !is_quiet() {
        return Ok(());
    }
    let _settling = process.books.lock().await;
    process.store.flush().await?;
    let settled = process.store.purse(key).await?.total;
    let open = process.store.suspense_of_key(key).await?;
    let stale: Vec<StaleLease> = process.store.stale_leases().await?.into_iter().filter(|l| l.key == key).collect();
    let last = process.store.usage_check(key).await?;
    let is_over = open.iter().all(|entry| process.is_over(entry)) && (stale.is_empty() || process.others_are_over());
    if !is_over || !is_quiet() {
        return Ok(());
    }
    let patience = &match process.world.broken {
        Some(Broken::ReckonsAtOnce) => {
            let (usage, work, estimate) = (Duration::ZERO, Duration::ZERO, Duration::MAX);
            Patience { schedule: [].into(), usage, work, estimate }
        }
        _ => process.settings().patience.clone(),
    };
    match reckoned(usage, settled, &open, &stale, last, patience, process.now()) {
        Some(reckoned) => book(process, key, &open, finding(&reckoned)).await,
        None => Ok(()),
    }
}

/// Book it all or nothing, and let the pool know: `Pot::reckon`.
async fn book(process: &Rc<Process>, key: KeyId, open: &[Suspense], finding: Finding) -> Result<(), StoreError> {
    let Some(drawing) = process.drawing(key) else { return Ok(()) };
    let _drawing = drawing.lock().await;
    let absolved = process.store.reckon(key, finding.clone()).await.inspect_err(|_| process.fell_out_of_step(key))?;
    for (id, found) in &finding.settle {
        if let Some(entry) = open.iter().find(|entry| entry.id == *id) {
            process.settled(entry, found.cost, Basis::Usage);
        }
    }
    if let Some(Recovered { amount, at, .. }) = finding.recovered.filter(|_| absolved) {
        process.absolved(key, amount, at);
    }
    let check = finding.check;
    let [usage, settled, before, elsewhere, drift] =
        [check.usage, check.settled, check.before, check.elsewhere, check.drift].map(|usd| usd.as_pico().into());
    process.world.tell(Event::Checked { process: process.number, key, usage, settled, before, elsewhere, drift });
    Ok(())
}

/// Book the most that processes which are gone can have spent on a key: `Pot::estimate_the_lost`.
pub async fn estimate_the_lost(process: &Process, key: KeyId, amount: Usd) -> Result<(), StoreError> {
    let _settling = process.books.lock().await;
    let drawing = process.drawing(key);
    let _drawing = match &drawing {
        Some(drawing) => Some(drawing.lock().await),
        None => None,
    };
    let at = process.now();
    let found = Recovered { at, amount, day: at.day(), basis: Basis::Estimate };
    if process.store.absolve(key, Some(found)).await.inspect_err(|_| process.fell_out_of_step(key))? {
        process.absolved(key, amount, at);
    }
    Ok(())
}
