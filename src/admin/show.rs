//! The pot's figures, put into answers.

mod clients;
mod ledger;
mod money;

use crate::money::Usd;
use crate::pool::{Gate, Health};
use crate::pot::{KeyMoney, KeyView, Overview, Readiness};

use super::answers::{
    HealthCounts, KeyAnswer, KeyHealth, KeysAnswer, PoolStats, PoolStatus, ReadyAnswer, StatusAnswer, SuspenseStatus,
    Why,
};

pub(super) use clients::{client, users};
pub(super) use ledger::{entry, open, page, receipt, summary};

/// Keys listed in `/status`, which is asked for often; `/keys` has them all.
const STATUS_KEYS_MAX: usize = 1000;

/// The only kind of key there is.
pub(super) const MODEL: &str = "openrouter";

pub(super) fn status(overview: Overview) -> StatusAnswer {
    let total = overview.keys.len();
    let stats = PoolStats {
        total_requests: overview.requests,
        success_rate: share(overview.successes, overview.requests),
        total_cost_today: overview.spent_today.to_string(),
        total_cost: overview.spent_total.to_string(),
    };
    let suspense = SuspenseStatus {
        entries: overview.suspense.open,
        oldest: overview.suspense.oldest.map(|at| at.to_string()),
        exhausted: overview.suspense.exhausted,
        most: all(&overview, |money| money.suspense),
    };
    let openrouter = PoolStatus {
        total_keys: total as u64,
        health: counts(overview.counts),
        stats,
        rotation: overview.rotation,
        rotation_index: overview.rotation_index as u64,
        last_key_id: overview.last_key.map(|id| id.to_string()),
        in_flight: overview.in_flight,
        suspense,
        held: all(&overview, |money| money.held),
        stranded: all(&overview, |money| money.stranded),
        time: overview.now.to_string(),
        keys: overview.keys.into_iter().take(STATUS_KEYS_MAX).map(key).collect(),
        keys_not_listed: total.saturating_sub(STATUS_KEYS_MAX) as u64,
    };
    StatusAnswer { openrouter }
}

/// A sum over the keys whose money is limited.
fn all(overview: &Overview, amount: impl Fn(&KeyMoney) -> Usd) -> String {
    let amounts = overview.keys.iter().filter_map(|key| key.money.as_ref()).map(amount);
    amounts.fold(Usd::ZERO, Usd::saturating_add).to_string()
}

pub(super) fn keys(overview: Overview) -> KeysAnswer {
    let total_keys = overview.keys.len() as u64;
    KeysAnswer { model: MODEL.to_owned(), total_keys, keys: overview.keys.into_iter().map(key).collect() }
}

fn counts(by_state: [u32; Health::ALL.len()]) -> HealthCounts {
    let mut counts = HealthCounts::default();
    for (health, count) in Health::ALL.into_iter().zip(by_state) {
        *match health {
            Health::Healthy => &mut counts.healthy,
            Health::Depleted => &mut counts.depleted,
            Health::Degraded => &mut counts.degraded,
            Health::Failed => &mut counts.failed,
            Health::RateLimited => &mut counts.rate_limited,
        } = count;
    }
    counts
}

pub(super) fn key(view: KeyView) -> KeyAnswer {
    let amount = |of: fn(&KeyMoney) -> Usd| view.money.as_ref().map(|money| of(money).to_string());
    let check = view.check.as_ref();
    KeyAnswer {
        health: health(&view),
        gate: money::gate(view.gate),
        limits: money::limits(&view.limits),
        caps: money::caps(view.money.as_ref()),
        held: amount(|money| money.held),
        suspense_most: amount(|money| money.suspense),
        stranded: amount(|money| money.stranded),
        lost: view.money.as_ref().is_some_and(|money| money.lost),
        left: amount(|money| money.left),
        elsewhere: check.map(|check| check.elsewhere.to_string()),
        drift: check.map(|check| check.drift.to_string()),
        last_checked_at: check.map(|check| check.at.to_string()),
        id: view.id.to_string(),
        key: view.masked,
        label: view.label,
        donor_id: view.donor_id,
        donor_name: view.donor_name,
        account: view.account.map(|account| account.to_string()),
        added_at: view.added_at.to_string(),
        verified: view.state.verified,
        requests: view.totals.requests,
        success_rate: share(view.totals.successes, view.totals.requests),
        spent_today: view.totals.spent_today.to_string(),
        spent_total: view.totals.spent_total.to_string(),
        suspense: view.totals.suspense,
        remaining: view.state.remaining.as_ref().map(Usd::to_string),
        in_flight: view.in_flight,
    }
}

/// How a key is. One that is well but has nothing left is as good as depleted, until a window turns.
pub(super) fn health(view: &KeyView) -> KeyHealth {
    let state = &view.state;
    let (until, why) = match view.gate {
        Gate::Spent { until } if state.health == Health::Healthy => (until, Why::Limits(money::spent_by(view))),
        _ => (state.until, Why::Event(state.cause)),
    };
    KeyHealth {
        status: view.health,
        since: state.since.to_string(),
        until: until.map(|at| at.to_string()),
        why,
        note: state.note.clone(),
        free_models_from: state.free_until.map(|at| at.to_string()),
    }
}

pub(super) fn readiness(readiness: Readiness) -> ReadyAnswer {
    let reason = match readiness {
        Readiness::Ready => None,
        Readiness::NoKey => Some("no_key"),
        Readiness::StoreUnwell => Some("store"),
        Readiness::Draining => Some("draining"),
    };
    ReadyAnswer { ready: reason.is_none(), reason: reason.map(str::to_owned) }
}

/// A share as a percentage with two decimals, rounded half up; never rounded to all or to none when it is neither.
/// Nothing out of nothing is all: nothing has failed.
fn share(part: u64, whole: u64) -> String {
    if part >= whole {
        return "100.00%".to_owned();
    }
    let (part, whole) = (u128::from(part), u128::from(whole));
    let rounded = (part * 20_000 + whole) / (whole * 2);
    let least = u128::from(part > 0);
    let shown = rounded.clamp(least, 9_999);
    format!("{}.{:02}%", shown / 100, shown % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_but_never_up_to_all_or_down_to_none() {
        let check = |part, whole, shown: &str| assert_eq!(share(part, whole), shown, "{part} of {whole}");
        check(444, 450, "98.67%");
        check(0, 0, "100.00%");
        check(7, 7, "100.00%");
        check(0, 7, "0.00%");
        check(1, 3, "33.33%");
        check(2, 3, "66.67%");
        check(1, 8, "12.50%");
        check(1, 100_000, "0.01%");
        check(99_999, 100_000, "99.99%");
        check(u64::MAX - 1, u64::MAX, "99.99%");
        check(1, 20_000, "0.01%");
    }

    #[test]
    fn counts_go_where_they_belong() {
        let by_state = Health::ALL.map(|health| health as u32 + 10);
        let shown = counts(by_state);
        assert_eq!(shown.healthy, Health::Healthy as u32 + 10);
        assert_eq!(shown.rate_limited, Health::RateLimited as u32 + 10);
        assert_eq!(shown.depleted, Health::Depleted as u32 + 10);
        assert_eq!(shown.degraded, Health::Degraded as u32 + 10);
        assert_eq!(shown.failed, Health::Failed as u32 + 10);
    }
}
