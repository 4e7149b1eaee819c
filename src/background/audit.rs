//! Compares what a key was charged, by its own account, with the books: drift, unknown costs, what a crash has lost.
//!
//! The prober's question about a key brings its `usage`. It proves something only when nothing was under way on the key
//! from before the question until after the answer; on a key in use the next question is waited for.

use std::time::Duration;

use super::schedule::Patience;
use crate::clock::Timestamp;
use crate::money::{Basis, Books, OpenCost, Reckoned, Tokens, Unaccounted, Usd, reckon};
use crate::pool::{Activity, KeyId};
use crate::pot::Pot;
use crate::store::{Recovered, Settlement, StaleLease, StoreError, Suspense};

/// Compare `usage`, which the key's answer told, with its books. `before` is what was under way when it was asked.
pub(super) async fn compare(
    pot: &Pot,
    key: KeyId,
    usage: Usd,
    before: Option<Activity>,
    patience: &Patience,
) -> Result<(), StoreError> {
    let quiet = |activity: Option<Activity>| activity.is_some_and(|now| now.in_flight == 0) && activity == before;
    if !quiet(pot.activity(key)) {
        return Ok(());
    }
    // Nothing in suspense is settled by anybody else meanwhile.
    let _settling = pot.books().await;
    pot.store().flush().await?;
    let settled = pot.store().purse(key).await?.total;
    let open = pot.store().suspense_of_key(key).await?;
    let stale: Vec<StaleLease> = pot.store().stale_leases().await?.into_iter().filter(|l| l.key == key).collect();
    let last = pot.store().usage_check(key).await?;
    if !quiet(pot.activity(key)) {
        return Ok(());
    }
    let now = pot.clock().now();
    let costs: Vec<OpenCost> = open.iter().map(|entry| open_cost(entry, patience, now)).collect();
    let books = Books { now, usage, settled, last, open: &costs, lost: lost(&stale, patience.usage, now) };
    let Some(reckoned) = reckon(&books) else { return Ok(()) };
    book(pot, key, &open, &reckoned).await
}

/// A generation that can be asked about tells its cost better: the key's usage is for what stays silent.
fn open_cost(entry: &Suspense, patience: &Patience, now: Timestamp) -> OpenCost {
    let ripe = now.since(entry.opened_at) >= patience.until_usage(entry.generation.is_some());
    OpenCost { id: entry.id, held: entry.held, ripe }
}

fn lost(stale: &[StaleLease], patience: Duration, now: Timestamp) -> Option<Unaccounted> {
    let youngest = stale.iter().map(|lease| lease.since).max()?;
    let leased = stale.iter().fold(Usd::ZERO, |sum, lease| sum.saturating_add(lease.amount));
    Some(Unaccounted {
        leased,
        unbounded: stale.iter().any(|lease| lease.unbounded),
        ripe: now.since(youngest) >= patience,
    })
}

/// Write down what follows. Each step can be repeated: what is settled stays settled.
async fn book(pot: &Pot, key: KeyId, open: &[Suspense], reckoned: &Reckoned) -> Result<(), StoreError> {
    let at = reckoned.check.at;
    for (id, cost) in &reckoned.settle {
        let Some(entry) = open.iter().find(|entry| entry.id == *id) else { continue };
        let found =
            Settlement { at, cost: *cost, byok: None, tokens: Tokens::default(), model: None, basis: Basis::Usage };
        pot.settle_suspense(entry, found).await?;
        tracing::info!(%key, request = %entry.request, %cost, "an unknown cost was found in the key's own usage");
    }
    if let Some(amount) = reckoned.recovered {
        let found = (amount > Usd::ZERO).then_some(Recovered { at, amount, day: at.day() });
        pot.store().absolve(key, found).await?;
        pot.absolved(key, amount, at);
        tracing::info!(%key, %amount, "what a process that is gone had spent is accounted for");
    }
    pot.store().save_usage_check(key, reckoned.check).await?;
    pot.checked(key, &reckoned.check);
    Ok(())
}
