//! What processes that ended without closing the store had leased of clients' budgets.
//!
//! It counts as spent until every key that such a process has used is accounted for. Then all it spent is booked: as
//! attempts, each with its client, or in one sum by key, of which nobody can tell for whom it was. That sum, and no more than
//! was leased, may be each client's: so much counts as spent on the day on which the process was found to be gone.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::money::{Basis, Charged, Spender, Usd};
use crate::pool::KeyId;

use super::column;
use super::record::Recovered;

/// What an attempt held is in suspense now, and no part of its process's leases any more.
pub(super) fn take_off(connection: &Connection, epoch: i64, client: Option<Charged>) -> rusqlite::Result<()> {
    let Some(charged @ Charged { held: Some(held), .. }) = client else { return Ok(()) };
    for spender in charged.spenders() {
        connection
            .prepare_cached(
                "UPDATE client_leases SET amount = max(amount - ?4, 0) WHERE client = ?1 AND user = ?2 AND epoch = ?3",
            )?
            .execute((spender.client.0, column::user(spender), epoch, held.as_pico().max(0)))?;
    }
    Ok(())
}

/// So much was spent on a key by processes that are gone, and nobody can tell for whom. Where it is an estimate, and the key was
/// used without holds, there is no telling how much it was: then it may be anything.
pub(super) fn may_be_theirs(connection: &Connection, key: KeyId, found: &Recovered) -> rusqlite::Result<()> {
    // Beyond what a column holds the sum stays where it is: it is at most what was leased that counts.
    connection
        .prepare_cached(
            "UPDATE epochs SET recovered = CASE \
                 WHEN ?3 AND EXISTS (SELECT 1 FROM leases AS l WHERE l.key = ?1 AND l.epoch = epochs.id AND l.unbounded = 1) \
                 THEN 9223372036854775807 ELSE min(recovered, 9223372036854775807 - ?2) + ?2 END \
             WHERE buried_at IS NOT NULL AND id IN (SELECT epoch FROM leases WHERE key = ?1)",
        )?
        .execute((key.0, found.amount.as_pico().max(0), found.basis == Basis::Estimate))
        .map(drop)
}

/// Put the truth, as far as it can be known, in the place of what was leased by buried processes of whose keys all are
/// accounted for.
pub(super) fn settle_buried(connection: &Connection) -> rusqlite::Result<()> {
    const OVER: &str = "(SELECT id FROM epochs WHERE buried_at IS NOT NULL AND id NOT IN (SELECT epoch FROM leases))";
    connection
        .prepare_cached(&format!(
            "INSERT INTO client_lost (client, user, day, pico) \
             SELECT l.client, l.user, e.buried_at / 86400000, min(l.amount, e.recovered) \
             FROM client_leases AS l JOIN epochs AS e ON e.id = l.epoch \
             WHERE l.epoch IN {OVER} AND min(l.amount, e.recovered) > 0 \
             ON CONFLICT (client, user, day) DO UPDATE SET pico = pico + excluded.pico"
        ))?
        .execute([])?;
    connection.prepare_cached(&format!("DELETE FROM client_leases WHERE epoch IN {OVER}"))?.execute([]).map(drop)
}

/// A process ends in order although attempts are under way: of what it has leased, what these hold stays.
pub(super) fn keep_held(
    connection: &Connection,
    epoch: i64,
    open: impl Iterator<Item = Charged>,
) -> rusqlite::Result<()> {
    let mut held = BTreeMap::<Spender, Usd>::new();
    for charged in open {
        for spender in charged.spenders() {
            let sum = held.entry(spender).or_default();
            *sum = sum.saturating_add(charged.held.unwrap_or_default());
        }
    }
    let mut leases = connection.prepare("SELECT client, user, amount FROM client_leases WHERE epoch = ?1")?;
    let leases: Vec<(Spender, i64)> = leases
        .query_map((epoch,), |row| Ok((column::spender(row, 0, 1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (spender, amount) in leases {
        let held = held.get(&spender).copied().unwrap_or_default();
        connection
            .prepare_cached("UPDATE client_leases SET amount = ?4 WHERE client = ?1 AND user = ?2 AND epoch = ?3")?
            .execute((spender.client.0, column::user(spender), epoch, held.as_pico().clamp(0, amount)))?;
    }
    Ok(())
}
