//! Writing the ledger: attempts, what is in suspense, and the corrections that settle it.
//!
//! **Which day a cost belongs to.** An entry belongs to the UTC day of its own time, the attempt's end. A cost found
//! later — often on the next day — is booked as a correction on the *attempt's* day, because that is the day the
//! upstream billed it on. So a day's figure can still rise while something of that day is in suspense, and equals the
//! upstream's bill for that day when nothing is.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, named_params, params};

use crate::clock::{Day, Timestamp};
use crate::money::{Cost, Entry, RequestId};
use crate::pool::KeyId;

use super::column;
use super::command::Failed;
use super::error::StoreError;
use super::figures::{Figures, Tally, amounts, token_columns};
use super::record::Settlement;

/// Book attempts, each exactly once: one that is there already (its transaction survived a crash after all) is left
/// as it is.
pub(super) fn book(connection: &Connection, entries: &[Entry], first_lookup: Duration) -> rusqlite::Result<()> {
    let mut tally = Tally::default();
    let mut first_of_day = BTreeMap::new();
    for entry in entries {
        let opens = entry.attempt == 1 || !is_known(connection, entry.request)?;
        let Some(id) = insert_attempt(connection, entry, opens)? else {
            tracing::warn!(request = %entry.request, attempt = entry.attempt, "this attempt is in the ledger already");
            continue;
        };
        first_of_day.entry(entry.at.day()).or_insert(id);
        let mut figures = amounts(token_columns(&entry.tokens), pico(entry.cost), byok(entry));
        figures.requests = i64::from(opens);
        figures.count_outcome(entry.outcome);
        tally.add(entry.at.day(), entry.key, &figures);
        if entry.cost == Cost::Unknown {
            open_suspense(connection, id, entry, first_lookup)?;
        }
    }
    for (day, id) in first_of_day {
        connection
            .prepare_cached("INSERT INTO day_starts (day, entry) VALUES (?1, ?2) ON CONFLICT (day) DO NOTHING")?
            .execute((day.number(), id))?;
    }
    tally.write(connection)
}

fn pico(cost: Cost) -> Option<i64> {
    match cost {
        Cost::Known(amount) => Some(amount.as_pico()),
        Cost::Unknown => None,
    }
}

fn byok(entry: &Entry) -> Option<i64> {
    entry.byok.map(crate::money::Usd::as_pico)
}

/// Whether any attempt of this request is booked.
fn is_known(connection: &Connection, request: RequestId) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM entries WHERE request = ?1 LIMIT 1")?.exists((request.0.as_bytes(),))
}

const INSERT: &str = "INSERT INTO entries (kind, request, attempt, opens, at, day, key, account, endpoint, model, generation, \
     prompt, completion, cached, reasoning, pico, byok, outcome, status, duration_ms) \
     VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19) \
     ON CONFLICT (request, attempt, kind) DO NOTHING";

/// The new line's id, or `None` when the attempt is booked already. By position: names are looked up one by one.
fn insert_attempt(connection: &Connection, entry: &Entry, opens: bool) -> rusqlite::Result<Option<i64>> {
    let [prompt, completion, cached, reasoning] = token_columns(&entry.tokens);
    let inserted = connection.prepare_cached(INSERT)?.execute(params![
        entry.request.0.as_bytes(),
        entry.attempt,
        opens,
        entry.at.as_millis(),
        entry.at.day().number(),
        entry.key.0,
        entry.account.map(|account| account.0),
        entry.endpoint.name(),
        entry.model.as_deref(),
        entry.generation.as_ref().map(|id| id.as_str()),
        prompt,
        completion,
        cached,
        reasoning,
        pico(entry.cost),
        byok(entry),
        entry.outcome.name(),
        entry.status,
        entry.duration_ms,
    ])?;
    Ok((inserted == 1).then(|| connection.last_insert_rowid()))
}

fn open_suspense(connection: &Connection, id: i64, entry: &Entry, first_lookup: Duration) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO suspense (entry, key, opened_at, due_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute((id, entry.key.0, entry.at.as_millis(), entry.at.after(first_lookup).as_millis()))
        .map(drop)
}

/// Ask about an entry again at `due_at`, or never by ourselves. An entry settled meanwhile stays settled.
pub(super) fn retry_later(connection: &Connection, id: u64, due_at: Option<Timestamp>) -> Result<(), Failed> {
    let changed = connection
        .prepare_cached("UPDATE suspense SET tries = tries + 1, due_at = ?2 WHERE entry = ?1 AND settled_at IS NULL")?
        .execute((column::count(id), column::millis(due_at)))?;
    if changed == 0 && !is_in_suspense(connection, id)? {
        return Err(StoreError::NoSuchSuspense(id).into());
    }
    Ok(())
}

/// Whether the entry is or was in suspense.
fn is_in_suspense(connection: &Connection, id: u64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM suspense WHERE entry = ?1")?.exists((column::count(id),))
}

/// Close an entry in suspense and book its correction. `false` when it is settled already: then nothing changes.
pub(super) fn settle(connection: &Connection, id: u64, found: &Settlement) -> Result<bool, Failed> {
    let closed = connection
        .prepare_cached("UPDATE suspense SET settled_at = ?2, due_at = NULL WHERE entry = ?1 AND settled_at IS NULL")?
        .execute((column::count(id), found.at.as_millis()))?;
    if closed == 0 {
        return if is_in_suspense(connection, id)? { Ok(false) } else { Err(StoreError::NoSuchSuspense(id).into()) };
    }
    let attempt = Booked::read(connection, id)?.ok_or(StoreError::NoSuchSuspense(id))?;
    let correction = attempt.correction(found);
    insert_correction(connection, id, found, &correction)?;
    let mut tally = Tally::default();
    tally.add(attempt.day, attempt.key, &correction.figures());
    tally.write(connection)?;
    Ok(true)
}

/// The figures of a booked attempt that a correction starts from.
struct Booked {
    day: Day,
    key: KeyId,
    tokens: [Option<i64>; 4],
    byok: Option<i64>,
}

/// What has to be added to an attempt's figures to make them true.
struct Correction {
    tokens: [Option<i64>; 4],
    pico: i64,
    byok: Option<i64>,
}

impl Booked {
    fn read(connection: &Connection, id: u64) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT day, key, prompt, completion, cached, reasoning, byok FROM entries WHERE id = ?1 AND kind = 0",
            )?
            .query_row((column::count(id),), |row| {
                Ok(Self {
                    day: Day::from_number(row.get(0)?),
                    key: column::key(row, 1)?,
                    tokens: [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?],
                    byok: row.get(6)?,
                })
            })
            .optional()
    }

    /// What was not told leaves the attempt's own figure standing.
    fn correction(&self, found: &Settlement) -> Correction {
        let beyond = |new: Option<i64>, old: Option<i64>| new.map(|new| new.saturating_sub(old.unwrap_or_default()));
        let [prompt, completion, cached, reasoning] = token_columns(&found.tokens);
        let [old_prompt, old_completion, old_cached, old_reasoning] = self.tokens;
        Correction {
            tokens: [
                beyond(prompt, old_prompt),
                beyond(completion, old_completion),
                beyond(cached, old_cached),
                beyond(reasoning, old_reasoning),
            ],
            pico: found.cost.as_pico(),
            byok: beyond(found.byok.map(crate::money::Usd::as_pico), self.byok),
        }
    }
}

impl Correction {
    fn figures(&self) -> Figures {
        amounts(self.tokens, Some(self.pico), self.byok)
    }
}

fn insert_correction(
    connection: &Connection,
    id: u64,
    found: &Settlement,
    correction: &Correction,
) -> rusqlite::Result<()> {
    let [prompt, completion, cached, reasoning] = correction.tokens;
    connection
        .prepare_cached(
            "INSERT INTO entries (kind, request, attempt, opens, at, day, key, account, endpoint, model, generation, \
             prompt, completion, cached, reasoning, pico, byok, outcome, status, duration_ms) \
             SELECT 1, request, attempt, 0, :at, day, key, account, endpoint, coalesce(:model, model), generation, \
             :prompt, :completion, :cached, :reasoning, :pico, :byok, outcome, NULL, 0 FROM entries WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": column::count(id),
            ":at": found.at.as_millis(),
            ":model": found.model.as_deref(),
            ":prompt": prompt,
            ":completion": completion,
            ":cached": cached,
            ":reasoning": reasoning,
            ":pico": correction.pico,
            ":byok": correction.byok,
        })
        .map(drop)
}
