//! Whether the sums follow from the entries. Nothing is corrected here: books that do not balance are shown as such.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::Day;
use crate::money::Outcome;
use crate::pool::KeyId;

use super::column;
use super::error::StoreError;
use super::figures::{Figures, Tally, amounts};
use super::record::Imbalance;

/// Compare the sums of one day, or of all days and keys, with the entries. Empty when they agree. Run inside a read
/// transaction; a raised `stop` ends it early, with [`StoreError::Closed`].
pub(super) fn verify(
    connection: &Connection,
    day: Option<Day>,
    stop: &AtomicBool,
) -> Result<Vec<Imbalance>, StoreError> {
    let tally = recompute(connection, day, stop)?;
    let mut found = Vec::new();
    compare(&recorded_days(connection, day)?, tally.by_day(), |(day, key)| (Some(day), key), &mut found);
    if day.is_none() {
        compare(&recorded_keys(connection)?, &tally.by_key(), |key| (None, key), &mut found);
    }
    Ok(found)
}

/// The first and the last day to look at.
fn span(day: Option<Day>) -> (i32, i32) {
    day.map_or((i32::MIN, i32::MAX), |day| (day.number(), day.number()))
}

fn recompute(connection: &Connection, day: Option<Day>, stop: &AtomicBool) -> Result<Tally, StoreError> {
    let start = match day {
        None => Some(0i64),
        Some(day) => connection
            .query_row("SELECT entry FROM day_starts WHERE day = ?1", (day.number(),), |row| row.get(0))
            .optional()?,
    };
    let mut tally = Tally::default();
    // A day without a start has no entries.
    let Some(start) = start else { return Ok(tally) };
    let (first, last) = span(day);
    let mut entries = connection.prepare(
        "SELECT day, key, kind, opens, outcome, prompt, completion, cached, reasoning, pico, byok FROM entries \
         WHERE id >= ?1 AND day BETWEEN ?2 AND ?3",
    )?;
    let mut rows = entries.query((start, first, last))?;
    while let Some(row) = rows.next()? {
        if stop.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        tally.add(Day::from_number(row.get(0)?), column::key(row, 1)?, &read_entry(row)?);
    }
    Ok(tally)
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<Figures> {
    let tokens = [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?];
    let mut figures = amounts(tokens, row.get(9)?, row.get(10)?);
    let is_attempt = row.get::<_, i64>(2)? == 0;
    if is_attempt {
        let outcome: String = row.get(4)?;
        figures.count_outcome(Outcome::from_name(&outcome).ok_or_else(|| column::odd(4, "an outcome"))?);
        figures.requests = row.get(3)?;
    }
    Ok(figures)
}

fn recorded_days(connection: &Connection, day: Option<Day>) -> Result<BTreeMap<(Day, KeyId), Figures>, StoreError> {
    let mut sums = connection.prepare(
        "SELECT day, key, requests, answered, failed_inside, key_refused, refused, unreachable, broken, client_gone, \
         prompt, completion, cached, reasoning, pico, byok FROM day_totals WHERE day BETWEEN ?1 AND ?2",
    )?;
    let rows = sums.query_map(span(day), |row| {
        Ok(((Day::from_number(row.get(0)?), column::key(row, 1)?), Figures::read(row, 2)?))
    })?;
    rows.map(|row| row.map_err(StoreError::from)).collect()
}

fn recorded_keys(connection: &Connection) -> Result<BTreeMap<KeyId, Figures>, StoreError> {
    let mut sums = connection.prepare(
        "SELECT key, requests, answered, failed_inside, key_refused, refused, unreachable, broken, client_gone, \
         prompt, completion, cached, reasoning, pico, byok FROM key_totals",
    )?;
    let rows = sums.query_map([], |row| Ok((column::key(row, 0)?, Figures::read(row, 1)?)))?;
    rows.map(|row| row.map_err(StoreError::from)).collect()
}

fn compare<P: Ord + Copy>(
    recorded: &BTreeMap<P, Figures>,
    recomputed: &BTreeMap<P, Figures>,
    place: impl Fn(P) -> (Option<Day>, KeyId),
    found: &mut Vec<Imbalance>,
) {
    for at in recorded.keys().chain(recomputed.keys()).collect::<BTreeSet<_>>() {
        let figures = |of: &BTreeMap<P, Figures>| of.get(at).copied().unwrap_or_default();
        let (recorded, recomputed) = (figures(recorded), figures(recomputed));
        if recorded != recomputed {
            let (day, key) = place(*at);
            found.push(Imbalance { day, key, recorded: recorded.spent(), recomputed: recomputed.spent() });
        }
    }
}
