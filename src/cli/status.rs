//! `potluck status`: the pool at a glance.

use clap::Args;
use http::Method;

use super::CliError;
use super::client::AdminClient;
use super::limits::{caps, gate};
use super::screen::{name_of, print, print_json, table};
use super::settings::AdminArgs;
use crate::admin::{KeyAnswer, PoolStatus, StatusAnswer};

/// What `potluck status` takes.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn status(args: &StatusArgs) -> Result<(), CliError> {
    let client = AdminClient::new(&args.admin.load()?);
    let answer: StatusAnswer = client.call(Method::GET, "/status", None)?;
    if args.admin.json { print_json(&answer) } else { print(&shown(&answer.openrouter)) }
}

fn shown(pool: &PoolStatus) -> String {
    let health = &pool.health;
    let counts = [
        (health.healthy, "healthy"),
        (health.degraded, "degraded"),
        (health.rate_limited, "rate limited"),
        (health.depleted, "depleted"),
        (health.failed, "failed"),
    ];
    let states: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, state)| format!("{n} {state}")).collect();
    let last = pool.last_key_id.as_deref().map(|id| format!(", last key {id}")).unwrap_or_default();
    let (stats, suspense) = (&pool.stats, &pool.suspense);
    let mut text = format!(
        "keys      {}{}{}\n\
         requests  {}, {} succeeded; {} under way\n\
         cost      {} today, {} in all; {} still being looked up, {} given up\n\
         rotation  {}{last}\n",
        pool.total_keys,
        if states.is_empty() { "" } else { ": " },
        states.join(", "),
        stats.total_requests,
        stats.success_rate,
        pool.in_flight,
        stats.total_cost_today,
        stats.total_cost,
        suspense.entries,
        suspense.exhausted,
        name_of(&pool.rotation),
    );
    if pool.keys.iter().any(|key| key.left.is_some()) {
        let (held, stranded, most) = (&pool.held, &pool.stranded, &suspense.most);
        text.push_str(&format!("limited   {held} held, at most {most} being looked up, {stranded} stranded\n"));
    }
    if pool.keys.is_empty() {
        text.push_str("\nthe pool is empty: add a key with `potluck keys add`\n");
    } else {
        text.push_str(&key_table(&pool.keys));
    }
    if pool.keys_not_listed > 0 {
        text.push_str(&format!("and {} more: `potluck keys list` has them all\n", pool.keys_not_listed));
    }
    text
}

/// Keys, one a line.
pub(super) fn key_table(keys: &[KeyAnswer]) -> String {
    let columns = ["id", "label", "key", "health", "why", "back at", "requests", "today", "in all", "caps", "left"];
    let row = |key: &KeyAnswer| {
        let name = key.label.as_ref().or(key.donor_name.as_ref()).or(key.donor_id.as_ref());
        let unverified = if key.verified { "" } else { " (unverified)" };
        [
            key.id.clone(),
            name.cloned().unwrap_or_default(),
            key.key.clone(),
            format!("{}{}{unverified}", key.health.status.name(), gate(key.gate)),
            key.health.note.clone().unwrap_or_else(|| name_of(&key.health.why)),
            key.health.until.clone().unwrap_or_default(),
            key.requests.to_string(),
            key.spent_today.clone(),
            key.spent_total.clone(),
            caps(&key.caps),
            key.left.clone().or_else(|| key.remaining.clone()).unwrap_or_default(),
        ]
    };
    table(columns, keys.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(keys: serde_json::Value) -> PoolStatus {
        serde_json::from_value(serde_json::json!({
            "totalKeys": 3, "rotation": "round_robin", "rotationIndex": 1, "lastKeyId": "k2", "inFlight": 4,
            "health": {"healthy": 2, "depleted": 1, "degraded": 0, "failed": 0, "rate_limited": 0},
            "stats": {"totalRequests": 450, "successRate": "98.67%", "totalCostToday": "$2.4567", "totalCost": "$31.0042"},
            "suspense": {"entries": 2, "oldest": null, "exhausted": 0, "most": "$0.0450"},
            "held": "$0.1200", "stranded": "$0.0300", "time": "2026-11-24T12:00:00Z", "keys": keys, "keysNotListed": 0,
        }))
        .expect("as the contract says")
    }

    #[test]
    fn the_pool_at_a_glance() {
        let key = serde_json::json!({
            "id": "k2", "key": "sk-or-v1-…beef", "label": "bob\u{1b}[0m", "addedAt": "2026-11-24T12:00:00Z",
            "health": {"status": "depleted", "since": "2026-11-24T12:00:00Z", "until": null, "why": "credit"},
            "verified": false, "requests": 7, "successRate": "100.00%", "spentToday": "$0.5", "spentTotal": "$1.25",
            "suspense": 0, "remaining": "$0", "inFlight": 0, "gate": "spent",
            "limits": {"caps": {"day": "$5.0000"}, "models": [], "paused": false},
            "caps": [{"window": "day", "cap": "$5.0000", "spent": "$5.0000", "left": "$0.0000"}], "left": "$0.0000", "lost": false,
        });
        let text = shown(&answer(serde_json::json!([key])));
        for part in [
            "3: 2 healthy, 1 depleted\n",
            "450, 98.67% succeeded; 4 under way",
            "$2.4567 today, $31.0042 in all; 2 still being looked up",
            "round_robin, last key k2",
            "bob\u{fffd}[0m",
            "depleted (unverified)",
            "credit",
            "$1.25",
            "$0.1200 held, at most $0.0450 being looked up, $0.0300 stranded\n",
            "$0.0000 of $5.0000 / day",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn an_empty_pool_says_what_to_do() {
        assert!(shown(&answer(serde_json::json!([]))).contains("potluck keys add"));
    }
}
