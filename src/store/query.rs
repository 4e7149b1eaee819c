//! What is asked of the store. Every function sees one moment: it runs inside a read transaction.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::{Day, Timestamp};
use crate::money::{GenerationId, RequestId, Usd};
use crate::pool::KeyId;

use super::column;
use super::error::StoreError;
use super::figures::{Figures, POOL};
use super::record::{GenerationRecord, Job, KeyTotals, PoolSpend, Suspense, SuspenseSummary, Totals};

/// What everybody has done and paid, and on `today`.
pub(super) fn totals(connection: &Connection, today: Day) -> Result<Totals, StoreError> {
    let mut totals = Totals::default();
    let mut by_key = connection.prepare_cached(
        "SELECT key, requests, answered, failed_inside, key_refused, refused, unreachable, broken, client_gone, \
         prompt, completion, cached, reasoning, pico, byok FROM key_totals",
    )?;
    let mut rows = by_key.query([])?;
    while let Some(row) = rows.next()? {
        let (key, figures) = (column::key(row, 0)?, Figures::read(row, 1)?);
        if key == POOL {
            totals.requests = column::uncount(figures.requests);
            totals.successes = figures.answered();
            totals.attempts = figures.attempts();
            totals.tokens = figures.token_totals();
            totals.spent_total = figures.spent();
        } else {
            totals.per_key.insert(key, key_totals(&figures));
        }
    }
    let mut on_day = connection.prepare_cached("SELECT key, pico FROM day_totals WHERE day = ?1")?;
    let mut rows = on_day.query((today.number(),))?;
    while let Some(row) = rows.next()? {
        let (key, spent) = (column::key(row, 0)?, Usd::from_pico(row.get(1)?));
        if key == POOL {
            totals.spent_today = spent;
        } else {
            totals.per_key.entry(key).or_default().spent_today = spent;
        }
    }
    let mut open =
        connection.prepare_cached("SELECT key, count(*) FROM suspense WHERE settled_at IS NULL GROUP BY key")?;
    let mut rows = open.query([])?;
    while let Some(row) = rows.next()? {
        totals.per_key.entry(column::key(row, 0)?).or_default().suspense = column::uncount(row.get(1)?);
    }
    Ok(totals)
}

fn key_totals(figures: &Figures) -> KeyTotals {
    KeyTotals {
        requests: figures.attempts().iter().sum(),
        successes: figures.answered(),
        tokens: figures.token_totals(),
        spent_total: figures.spent(),
        byok_total: Usd::from_pico(figures.byok),
        ..KeyTotals::default()
    }
}

/// What the pool has spent in OpenRouter's windows that hold `today`.
pub(super) fn spend(connection: &Connection, today: Day) -> Result<PoolSpend, StoreError> {
    let mut spend = PoolSpend::default();
    let (week, month) = (today.monday(), today.first_of_month());
    let mut days =
        connection.prepare_cached("SELECT day, pico FROM day_totals WHERE key = ?3 AND day BETWEEN ?1 AND ?2")?;
    let mut rows = days.query((week.min(month).number(), today.number(), POOL.0))?;
    while let Some(row) = rows.next()? {
        let (day, spent) = (Day::from_number(row.get(0)?), Usd::from_pico(row.get(1)?));
        for (window, from) in [(&mut spend.today, today), (&mut spend.week, week), (&mut spend.month, month)] {
            if day >= from {
                *window = window.saturating_add(spent);
            }
        }
    }
    let total = connection
        .prepare_cached("SELECT pico FROM key_totals WHERE key = ?1")?
        .query_row((POOL.0,), |row| row.get(0).map(Usd::from_pico))
        .optional()?;
    spend.total = total.unwrap_or_default();
    Ok(spend)
}

/// Longer than any pause between two questions about a cost.
const PUT_OFF_MAX: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// What is to be looked up now, the longest due first.
pub(super) fn suspense_due(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<Suspense>, StoreError> {
    let mut due = connection.prepare_cached(&format!(
        "SELECT {SUSPENSE} \
         FROM suspense AS s JOIN entries AS e ON e.id = s.entry \
         WHERE s.settled_at IS NULL AND s.due_at IS NOT NULL AND (s.due_at <= ?1 OR s.due_at > ?3) \
         ORDER BY s.due_at LIMIT ?2"
    ))?;
    // Nothing is put off for longer: such a time was made by a clock that has been set back since.
    let beyond = now.after(PUT_OFF_MAX);
    let limit = column::count(u64::try_from(limit).unwrap_or(u64::MAX));
    let rows = due.query_map((now.as_millis(), limit, beyond.as_millis()), read_suspense)?;
    rows.map(|row| row.map_err(StoreError::from)).collect()
}

/// This attempt's place in suspense, while it is there.
pub(super) fn suspense_of(
    connection: &Connection,
    request: RequestId,
    attempt: u16,
) -> Result<Option<Suspense>, StoreError> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT {SUSPENSE} \
             FROM entries AS e JOIN suspense AS s ON s.entry = e.id \
             WHERE e.request = ?1 AND e.attempt = ?2 AND e.kind = 0 AND s.settled_at IS NULL"
        ))?
        .query_row((request.0.as_bytes(), attempt), read_suspense)
        .optional()?;
    Ok(found)
}

/// The columns of an entry in suspense, for [`read_suspense`]; more may stand behind them.
pub(super) const SUSPENSE: &str = "s.entry, e.request, e.attempt, e.key, e.generation, e.endpoint, s.opened_at, s.tries, \
     s.due_at, s.held, e.outcome, e.client, e.user, e.client_held";

/// The first column behind them.
pub(super) const AFTER_SUSPENSE: usize = 14;

pub(super) fn read_suspense(row: &Row<'_>) -> rusqlite::Result<Suspense> {
    Ok(Suspense {
        id: column::uncount(row.get(0)?),
        request: column::request(row, 1)?,
        attempt: row.get(2)?,
        key: column::key(row, 3)?,
        generation: column::maybe_generation(row, 4)?,
        endpoint: column::endpoint(row, 5)?,
        opened_at: column::time(row, 6)?,
        tries: row.get(7)?,
        due_at: column::maybe_time(row, 8)?,
        held: row.get::<_, Option<i64>>(9)?.map(Usd::from_pico),
        outcome: column::outcome(row, 10)?,
        client: column::maybe_charged(row, [11, 12, 13])?,
    })
}

/// Everything of a key that is in suspense, the oldest first.
pub(super) fn suspense_of_key(connection: &Connection, key: KeyId) -> Result<Vec<Suspense>, StoreError> {
    let mut open = connection.prepare_cached(&format!(
        "SELECT {SUSPENSE} \
         FROM suspense AS s JOIN entries AS e ON e.id = s.entry \
         WHERE s.key = ?1 AND s.settled_at IS NULL ORDER BY s.opened_at, s.entry"
    ))?;
    open.query_map((key.0,), read_suspense)?.map(|row| row.map_err(StoreError::from)).collect()
}

/// How much is in suspense. The amounts are added up here: SQLite refuses a sum beyond 64 bits.
pub(super) fn suspense_summary(connection: &Connection) -> Result<SuspenseSummary, StoreError> {
    let mut summary = SuspenseSummary::default();
    let mut open =
        connection.prepare_cached("SELECT opened_at, due_at, held FROM suspense WHERE settled_at IS NULL")?;
    let mut rows = open.query([])?;
    while let Some(row) = rows.next()? {
        let opened_at = column::time(row, 0)?;
        summary.open += 1;
        summary.oldest = Some(summary.oldest.map_or(opened_at, |oldest| oldest.min(opened_at)));
        summary.exhausted += u64::from(column::maybe_time(row, 1)?.is_none());
        summary.held = summary.held.saturating_add(Usd::from_pico(row.get::<_, Option<i64>>(2)?.unwrap_or_default()));
    }
    Ok(summary)
}

/// The attempt that made this generation.
pub(super) fn generation(connection: &Connection, id: &GenerationId) -> Result<Option<GenerationRecord>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT key, request, attempt, endpoint, at, client FROM entries WHERE generation = ?1 AND kind = 0 \
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row((id.as_str(),), |row| {
            Ok(GenerationRecord {
                key: column::key(row, 0)?,
                client: column::maybe_client(row, 5)?,
                request: column::request(row, 1)?,
                attempt: row.get(2)?,
                endpoint: column::endpoint(row, 3)?,
                at: column::time(row, 4)?,
            })
        })
        .optional()?;
    Ok(found)
}

/// Bind a job to its key. A job that is bound stays with its key.
pub(super) fn add_job(connection: &Connection, job: &Job) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO jobs (id, key, request, attempt, at, client) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute((
            &job.id,
            job.key.0,
            job.request.0.as_bytes(),
            job.attempt,
            job.at.as_millis(),
            job.client.map(|client| client.0),
        ))
        .map(drop)
}

/// The job of that id.
pub(super) fn job(connection: &Connection, id: &str) -> Result<Option<Job>, StoreError> {
    let found = connection
        .prepare_cached("SELECT id, key, request, attempt, at, client FROM jobs WHERE id = ?1")?
        .query_row((id,), |row| {
            Ok(Job {
                id: row.get(0)?,
                key: column::key(row, 1)?,
                client: column::maybe_client(row, 5)?,
                request: column::request(row, 2)?,
                attempt: row.get(3)?,
                at: column::time(row, 4)?,
            })
        })
        .optional()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_where_openrouters_do() {
        let check = |day: &str, week: &str, month: &str| {
            let day = Timestamp::parse_rfc3339(&format!("{day}T12:00:00Z")).expect("a day").day();
            assert_eq!(
                (day.monday().to_string(), day.first_of_month().to_string()),
                (week.into(), month.into()),
                "{day}"
            );
        };
        check("2026-11-29", "2026-11-23", "2026-11-01");
        check("2026-11-30", "2026-11-30", "2026-11-01");
        check("2026-12-01", "2026-11-30", "2026-12-01");
        check("1970-01-01", "1969-12-29", "1970-01-01");
    }
}
