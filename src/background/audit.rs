//! Compares what a key was charged, by its own account, with the books: drift, unknown costs, what a crash has lost.
//!
//! The prober's question about a key brings its `usage`. It proves something only when the key was quiet
//! ([`Pot::quiet`]) from before the question until after the answer; on a key in use the next question is waited for. And
//! nothing about what the upstream may still work on ([`Pot::is_over`]): that it was not billed yet is no proof that it is not.

use super::schedule::Patience;
use crate::clock::Timestamp;
use crate::money::{Basis, Books, OpenCost, PurseFigures, Reckoned, Tokens, Unaccounted, UsageCheck, Usd, reckon};
use crate::pool::{Activity, KeyId};
use crate::pot::Pot;
use crate::store::{Finding, Recovered, Settlement, StaleLease, StoreError, Suspense};

/// Compare `usage`, which the key's answer told, with its books. `quiet` is [`Pot::quiet`] as it was when it was asked.
pub(super) async fn compare(
    pot: &Pot,
    key: KeyId,
    usage: Usd,
    quiet: Activity,
    patience: &Patience,
) -> Result<(), StoreError> {
    let is_quiet = || pot.quiet(key, patience.usage) == Some(quiet);
    let is_unused = || pot.unused(key) == Some(quiet);
    let over = patience.until_over();
    if !is_quiet() && !is_unused() {
        return Ok(());
    }
    // Nothing in suspense is settled by anybody else meanwhile.
    let _settling = pot.books().await;
    pot.store().flush().await?;
    let figures = pot.store().purse(key).await?;
    let settled = figures.total;
    let open = pot.store().suspense_of_key(key).await?;
    let stale: Vec<StaleLease> = pot.store().stale_leases().await?.into_iter().filter(|l| l.key == key).collect();
    let last = pot.store().usage_check(key).await?;
    let is_over = open.iter().all(|entry| pot.is_over(entry, over)) && (stale.is_empty() || pot.others_are_over(over));
    let is_new = last.is_none() && open.is_empty() && stale.is_empty() && is_untouched(&figures);
    if !is_over || !(is_quiet() || is_new && is_unused()) {
        return Ok(());
    }
    let Some(reckoned) = reckoned(usage, settled, &open, &stale, last, patience, pot.clock().now()) else {
        return Ok(());
    };
    pot.reckon(key, &open, finding(&reckoned)).await
}

/// Whether nobody has ever used the key through this pool. Then all its usage is from before, however late it is booked, and
/// what a crash loses from here on can be told from it.
fn is_untouched(figures: &PurseFigures) -> bool {
    figures.total == Usd::ZERO && figures.others == Usd::ZERO && !figures.others_unbounded
}

/// What `usage`, asked for while nothing was missing in it, says about a key's books: what was `settled` in all, what is
/// `open`, and what processes that are gone have left behind. `None`: nothing yet.
pub fn reckoned(
    usage: Usd,
    settled: Usd,
    open: &[Suspense],
    stale: &[StaleLease],
    last: Option<UsageCheck>,
    patience: &Patience,
    now: Timestamp,
) -> Option<Reckoned> {
    let open: Vec<OpenCost> = open.iter().map(|entry| open_cost(entry, patience, now)).collect();
    reckon(&Books { now, usage, settled, last, open: &open, lost: lost(stale) })
}

/// A generation that can be asked about tells its cost better: the key's usage is for what stays silent.
fn open_cost(entry: &Suspense, patience: &Patience, now: Timestamp) -> OpenCost {
    let age = now.since(entry.opened_at);
    // In days to come: the clock was set back since, and that must not put it off for as long.
    let ripe = entry.opened_at > now || age >= patience.until_usage(entry);
    OpenCost { id: entry.id, held: entry.held, ripe }
}

fn lost(stale: &[StaleLease]) -> Option<Unaccounted> {
    let leased = stale.iter().fold(Usd::ZERO, |sum, lease| sum.saturating_add(lease.amount));
    let unbounded = stale.iter().any(|lease| lease.unbounded);
    (!stale.is_empty()).then_some(Unaccounted { leased, unbounded })
}

/// What follows, as it is to be booked.
pub fn finding(reckoned: &Reckoned) -> Finding {
    let at = reckoned.check.at;
    let settlement = |cost: Usd| {
        let (tokens, basis) = (Tokens::default(), Basis::Usage);
        Settlement { at, cost, byok: None, tokens, model: None, basis }
    };
    Finding {
        settle: reckoned.settle.iter().map(|(id, cost)| (*id, settlement(*cost))).collect(),
        recovered: reckoned.recovered.map(|amount| Recovered { at, amount, day: at.day(), basis: Basis::Usage }),
        check: reckoned.check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Outcome, RequestId};
    use crate::upstream::Endpoint;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_795_500_000);

    fn ripe(opened_at: Timestamp) -> bool {
        ripe_of(Endpoint::ChatCompletions, opened_at)
    }

    fn ripe_of(endpoint: Endpoint, opened_at: Timestamp) -> bool {
        let entry = Suspense {
            id: 1,
            request: RequestId(uuid::Uuid::nil()),
            attempt: 1,
            key: KeyId(1),
            generation: None,
            endpoint,
            outcome: Outcome::Answered,
            held: Some(Usd::from_pico(5)),
            client: None,
            opened_at,
            due_at: None,
            tries: 0,
        };
        let [usage, work, estimate] = [120, 600, 900].map(Duration::from_secs);
        let patience = Patience { schedule: [].into(), usage, work, estimate };
        open_cost(&entry, &patience, NOW).ripe
    }

    #[test]
    fn a_cost_of_days_to_come_is_ripe() {
        assert!(!ripe(NOW));
        assert!(!ripe(NOW.before(Duration::from_secs(119))));
        assert!(ripe(NOW.before(Duration::from_secs(120))));
        // It was booked before the clock was set back.
        assert!(ripe(NOW.after(Duration::from_secs(365 * 86_400))));
    }

    #[test]
    fn a_job_that_renders_is_not_taken_for_free() {
        assert!(!ripe_of(Endpoint::Videos, NOW.before(Duration::from_secs(899))));
        assert!(ripe_of(Endpoint::Videos, NOW.before(Duration::from_secs(900))));
    }
}
