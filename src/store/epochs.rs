//! Openings of the store, and what processes that ended without closing it left behind.
//!
//! Nothing of theirs is forgotten and nothing is given back by time alone: attempts under way become entries whose costs
//! are in suspense, leases stay and count as spent until somebody has found out what was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rusqlite::{Connection, Row};

use crate::clock::Timestamp;
use crate::money::{Cost, Entry, Outcome, Tokens, Usd};
use crate::pool::KeyId;

use super::column;
use super::command::Failed;
use super::record::{Buried, Recovered, StaleLease};
use super::{budgets, chain, intents, ledger};

/// Begin a new epoch.
pub(super) fn begin(connection: &Connection, now: Timestamp) -> rusqlite::Result<i64> {
    connection.execute("INSERT INTO epochs (opened_at) VALUES (?1)", (now.as_millis(),))?;
    Ok(connection.last_insert_rowid())
}

/// Whether the process of this epoch may still lease.
pub(super) fn is_alive(connection: &Connection, epoch: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM epochs WHERE id = ?1 AND closed_at IS NULL AND buried_at IS NULL")?
        .exists((epoch,))
}

/// End an epoch in order: nothing of it is under way, and what it had leased is given back.
pub(super) fn close(connection: &Connection, epoch: i64, now: Timestamp) -> rusqlite::Result<()> {
    if is_alive(connection, epoch)? && intents::of_epoch(connection, epoch)?.is_empty() {
        connection.execute("DELETE FROM leases WHERE epoch = ?1", (epoch,))?;
        connection.execute("DELETE FROM client_leases WHERE epoch = ?1", (epoch,))?;
        connection.execute("UPDATE epochs SET closed_at = ?2 WHERE id = ?1", (epoch, now.as_millis()))?;
    }
    Ok(())
}

/// Bury every epoch before `own` that was not ended in order. For the process that has the claim on the store: nobody else
/// works with it. Whole or not at all, and the second time there is nothing left to do.
pub(super) fn bury(
    connection: &Connection,
    own: i64,
    now: Timestamp,
    first_lookup: Duration,
) -> rusqlite::Result<Vec<Buried>> {
    chain::end_older_forms(connection)?;
    let mut dead = connection.prepare_cached(
        "SELECT id, opened_at FROM epochs WHERE id < ?1 AND closed_at IS NULL AND buried_at IS NULL ORDER BY id",
    )?;
    let dead: Vec<(i64, Timestamp)> =
        dead.query_map((own,), |row| Ok((row.get(0)?, column::time(row, 1)?)))?.collect::<rusqlite::Result<_>>()?;
    let mut buried = Vec::with_capacity(dead.len());
    for (epoch, opened_at) in dead {
        let attempts = intents::of_epoch(connection, epoch)?.into_iter().map(broken).collect::<Vec<_>>();
        let booked = ledger::book(connection, attempts.iter(), first_lookup)?;
        let mut keys = BTreeSet::new();
        for attempt in &attempts {
            intents::forget(connection, attempt.request, attempt.attempt)?;
            take_off(connection, epoch, attempt.key, attempt.held.unwrap_or_default())?;
            budgets::take_off(connection, epoch, attempt.client)?;
            keys.insert(attempt.key);
        }
        connection
            .prepare_cached("DELETE FROM leases WHERE epoch = ?1 AND amount = 0 AND unbounded = 0")?
            .execute((epoch,))?;
        let mut left = connection.prepare_cached("SELECT key FROM leases WHERE epoch = ?1")?;
        for key in left.query_map((epoch,), |row| column::key(row, 0))? {
            keys.insert(key?);
        }
        connection
            .prepare_cached("UPDATE epochs SET buried_at = ?2 WHERE id = ?1")?
            .execute((epoch, now.as_millis()))?;
        budgets::settle_buried(connection)?;
        buried.push(Buried {
            epoch: column::uncount(epoch),
            opened_at,
            attempts: booked,
            keys: keys.into_iter().collect(),
        });
    }
    Ok(buried)
}

/// What is known of an attempt whose process has ended. When that was, nobody knows; it was billed about when it was sent.
fn broken(open: intents::Intended) -> Entry {
    let intents::Intended { intent, generation } = open;
    Entry {
        at: intent.at,
        request: intent.request,
        attempt: intent.attempt,
        key: intent.key,
        account: intent.account,
        client: intent.client,
        endpoint: intent.endpoint,
        model: intent.model,
        generation,
        tokens: Tokens::default(),
        cost: Cost::Unknown,
        held: intent.held,
        byok: None,
        outcome: Outcome::Broken,
        status: None,
        duration_ms: 0,
    }
}

/// What an attempt held is in suspense now, and no part of its process's lease any more.
fn take_off(connection: &Connection, epoch: i64, key: KeyId, held: Usd) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE leases SET amount = max(amount - ?3, 0) WHERE epoch = ?1 AND key = ?2")?
        .execute((epoch, key.0, held.as_pico().max(0)))
        .map(drop)
}

/// What buried epochs have leased and nobody has accounted for, by key.
pub(super) fn stale(connection: &Connection) -> rusqlite::Result<Vec<StaleLease>> {
    let mut stale = connection.prepare_cached(
        "SELECT l.key, l.epoch, l.amount, l.unbounded, e.buried_at FROM leases AS l JOIN epochs AS e ON e.id = l.epoch \
         WHERE e.buried_at IS NOT NULL ORDER BY l.key, l.epoch",
    )?;
    let read = |row: &Row<'_>| {
        Ok(StaleLease {
            key: column::key(row, 0)?,
            epoch: column::uncount(row.get(1)?),
            amount: Usd::from_pico(row.get(2)?),
            unbounded: row.get(3)?,
            since: column::time(row, 4)?,
        })
    };
    stale.query_map([], read)?.collect()
}

/// Account for everything that buried epochs have leased of a key: `found` was spent of it, and the rest was not. `false`:
/// there was nothing to be accounted for, because it was already, and nothing is booked.
pub(super) fn absolve(connection: &Connection, key: KeyId, found: Option<&Recovered>) -> Result<bool, Failed> {
    if let Some(found) = found {
        budgets::may_be_theirs(connection, key, found)?;
    }
    let found = found.filter(|found| found.amount > Usd::ZERO);
    let gone = connection
        .prepare_cached(
            "DELETE FROM leases WHERE key = ?1 AND epoch IN (SELECT id FROM epochs WHERE buried_at IS NOT NULL)",
        )?
        .execute((key.0,))?;
    if let Some(found) = found.filter(|_| gone > 0) {
        ledger::recover(connection, key, found)?;
    }
    budgets::settle_buried(connection)?;
    Ok(gone > 0)
}

/// This process ends although attempts of it may still be under way. Of what it has leased, what these hold stays; all of
/// it when not every place that is reserved has told what it holds. The next process buries it.
pub(super) fn abandon(connection: &Connection, epoch: i64, all_told: bool) -> rusqlite::Result<()> {
    if !all_told || !is_alive(connection, epoch)? {
        return Ok(());
    }
    let mut held = BTreeMap::<KeyId, (Usd, bool)>::new();
    let open = intents::of_epoch(connection, epoch)?;
    budgets::keep_held(connection, epoch, open.iter().filter_map(|open| open.intent.client))?;
    for intents::Intended { intent, .. } in open {
        let (sum, unbounded) = held.entry(intent.key).or_default();
        *sum = sum.saturating_add(intent.held.unwrap_or_default());
        *unbounded |= intent.held.is_none();
    }
    let mut leases = connection.prepare("SELECT key, amount, unbounded FROM leases WHERE epoch = ?1")?;
    let leases: Vec<(KeyId, i64, bool)> = leases
        .query_map((epoch,), |row| Ok((column::key(row, 0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (key, amount, unbounded) in leases {
        let (held, open) = held.get(&key).copied().unwrap_or_default();
        connection
            .prepare_cached("UPDATE leases SET amount = ?3, unbounded = ?4 WHERE epoch = ?1 AND key = ?2")?
            .execute((epoch, key.0, held.as_pico().clamp(0, amount), unbounded && open))?;
    }
    Ok(())
}
