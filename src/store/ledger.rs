//! Writing the ledger: attempts, what is in suspense, and the corrections that settle it.
//!
//! **Which day a cost belongs to.** An entry belongs to the UTC day of its own time, the attempt's end. A cost found
//! later — often on the next day — is booked as a correction on the *attempt's* day, because that is the day the
//! upstream billed it on. So a day's figure can still rise while something of that day is in suspense, and equals the
//! upstream's bill for that day when nothing is.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;

use crate::clock::{Day, Timestamp};
use crate::money::{Cost, Entry, Outcome, RequestId, Usd};
use crate::pool::KeyId;

use super::chain::Heads;
use super::column;
use super::command::Failed;
use super::error::StoreError;
use super::figures::{Tally, token_columns};
use super::record::{Recovered, Settlement};
use super::row::{COLUMNS, Line};
use super::spans::Spans;

/// Where a correction stands in the place of an endpoint's name when no attempt is known.
pub(super) const NO_ENDPOINT: &str = "none";

/// Lines being written in one transaction, with everything that follows from them.
struct Lines<'c> {
    connection: &'c Connection,
    /// Numbers grow without gaps where nothing was rolled up; the last line is never rolled up, so none is given twice.
    next: i64,
    tally: Tally,
    heads: Heads,
    starts: BTreeMap<Day, i64>,
    spans: Spans,
}

impl<'c> Lines<'c> {
    fn begin(connection: &'c Connection) -> rusqlite::Result<Self> {
        let last: Option<i64> =
            connection.prepare_cached("SELECT max(id) FROM entries")?.query_row([], |row| row.get(0))?;
        let next = last.unwrap_or_default() + 1;
        Ok(Self {
            connection,
            next,
            tally: Tally::default(),
            heads: Heads::begin(connection)?,
            starts: BTreeMap::new(),
            spans: Spans::default(),
        })
    }

    /// The new line's number, or `None` when that attempt or correction is in the ledger already.
    fn add(&mut self, line: Line<'_>) -> rusqlite::Result<Option<i64>> {
        let id = self.next;
        let line = Line { id, ..line };
        if !self.heads.append(self.connection, &line)? {
            return Ok(None);
        }
        self.next += 1;
        self.tally.add(&line);
        self.starts.entry(line.day).or_insert(id);
        self.spans.add(&line);
        Ok(Some(id))
    }

    fn finish(self) -> rusqlite::Result<()> {
        let mut start = self
            .connection
            .prepare_cached("INSERT INTO day_starts (day, entry) VALUES (?1, ?2) ON CONFLICT (day) DO NOTHING")?;
        for (day, id) in &self.starts {
            start.execute((day.number(), id))?;
        }
        self.spans.write(self.connection)?;
        self.heads.write(self.connection)?;
        self.tally.write(self.connection)
    }
}

/// Book attempts, each exactly once: one that is there already (its transaction survived a crash after all) is left
/// as it is. How many were new.
pub(super) fn book<'e>(
    connection: &Connection,
    entries: impl Iterator<Item = &'e Entry>,
    first_lookup: Duration,
) -> rusqlite::Result<u64> {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return Ok(0);
    }
    let mut lines = Lines::begin(connection)?;
    let mut booked = 0;
    for entry in entries {
        let opens = entry.attempt == 1 || !is_known(connection, entry.request)?;
        let Some(id) = lines.add(attempt(entry, opens))? else {
            tracing::warn!(request = %entry.request, attempt = entry.attempt, "this attempt is in the ledger already");
            continue;
        };
        booked += 1;
        if entry.cost == Cost::Unknown {
            open_suspense(connection, id, entry, first_lookup)?;
        }
    }
    lines.finish()?;
    Ok(booked)
}

fn attempt(entry: &Entry, opens: bool) -> Line<'_> {
    Line {
        id: 0,
        corrects: false,
        request: entry.request.0.as_bytes(),
        attempt: entry.attempt,
        opens,
        at: entry.at.as_millis(),
        day: entry.at.day(),
        key: entry.key,
        account: entry.account.map(|account| account.0),
        client: entry.client.map(|charged| charged.spender.client.0),
        endpoint: entry.endpoint.name(),
        model: entry.model.as_deref(),
        generation: entry.generation.as_ref().map(|id| id.as_str()),
        tokens: token_columns(&entry.tokens),
        pico: match entry.cost {
            Cost::Known(amount) => Some(amount.as_pico()),
            Cost::Unknown => None,
        },
        byok: entry.byok.map(Usd::as_pico),
        held: entry.held.map(Usd::as_pico),
        basis: None,
        outcome: entry.outcome,
        status: entry.status,
        duration_ms: entry.duration_ms,
        user: entry.client.and_then(|charged| charged.spender.user).map(|user| user.0),
        client_held: entry.client.and_then(|charged| charged.held).map(Usd::as_pico),
    }
}

/// Whether any attempt of this request is booked.
fn is_known(connection: &Connection, request: RequestId) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM entries WHERE request = ?1 LIMIT 1")?.exists((request.0.as_bytes(),))
}

fn open_suspense(connection: &Connection, id: i64, entry: &Entry, first_lookup: Duration) -> rusqlite::Result<()> {
    let due_at = entry.at.after(first_lookup).as_millis();
    let client = entry.client.map(|charged| charged.spender.client.0);
    connection
        .prepare_cached(
            "INSERT INTO suspense (entry, key, opened_at, due_at, held, client) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((id, entry.key.0, entry.at.as_millis(), due_at, entry.held.map(Usd::as_pico), client))
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
    let mut attempt =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE id = ?1 AND kind = 0"))?;
    let mut attempt = attempt.query((column::count(id),))?;
    let row = attempt.next()?.ok_or(StoreError::NoSuchSuspense(id))?;
    let mut lines = Lines::begin(connection)?;
    if lines.add(correction(Line::read(row)?, found))?.is_none() {
        return Err(StoreError::damaged(format!("entry {id} is in suspense and has a correction")).into());
    }
    lines.finish()?;
    Ok(true)
}

/// What has to be added to an attempt's figures to make them true. What was not told leaves the attempt's own standing.
fn correction<'a>(attempt: Line<'a>, found: &'a Settlement) -> Line<'a> {
    let beyond = |new: Option<i64>, old: Option<i64>| new.map(|new| new.saturating_sub(old.unwrap_or_default()));
    let [prompt, completion, cached, reasoning] = token_columns(&found.tokens);
    let [old_prompt, old_completion, old_cached, old_reasoning] = attempt.tokens;
    Line {
        corrects: true,
        opens: false,
        at: found.at.as_millis(),
        model: found.model.as_deref().or(attempt.model),
        tokens: [
            beyond(prompt, old_prompt),
            beyond(completion, old_completion),
            beyond(cached, old_cached),
            beyond(reasoning, old_reasoning),
        ],
        pico: Some(found.cost.as_pico()),
        byok: beyond(found.byok.map(Usd::as_pico), attempt.byok),
        held: None,
        client_held: None,
        basis: Some(found.basis),
        status: None,
        duration_ms: 0,
        ..attempt
    }
}

/// Book what was spent on a key by attempts that nobody has written down.
pub(super) fn recover(connection: &Connection, key: KeyId, found: &Recovered) -> Result<(), Failed> {
    let millis = u64::try_from(found.at.as_millis()).unwrap_or_default();
    let request = uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
    let mut lines = Lines::begin(connection)?;
    let added = lines.add(Line {
        id: 0,
        corrects: true,
        request: request.as_bytes(),
        attempt: 0,
        opens: false,
        at: found.at.as_millis(),
        day: found.day,
        key,
        account: None,
        client: None,
        endpoint: NO_ENDPOINT,
        model: None,
        generation: None,
        tokens: [None; 4],
        pico: Some(found.amount.as_pico()),
        byok: None,
        held: None,
        basis: Some(found.basis),
        outcome: Outcome::Broken,
        status: None,
        duration_ms: 0,
        user: None,
        client_held: None,
    })?;
    if added.is_none() {
        return Err(StoreError::damaged(format!("a new request's number {request} is in the ledger already")).into());
    }
    Ok(lines.finish()?)
}
