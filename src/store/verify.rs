//! Whether the sums follow from the entries, and the entries from each other. Nothing is corrected here: books that do not
//! balance are shown as such.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, OptionalExtension};

use crate::clock::Day;
use crate::money::Usd;
use crate::pool::KeyId;

use super::cells::{Cell, Place, Table};
use super::column;
use super::error::StoreError;
use super::figures::{Figures, Tally};
use super::links::Links;
use super::record::{Imbalance, ImbalanceKind};
use super::row::{COLUMNS, Line, unchained_until};

/// Compare the sums of one day, or of all days and keys, with the entries, and look at the chains: whole, or from the day's
/// first line on. Empty when all is well. Run inside a read transaction; a raised `stop` ends it early, with
/// [`StoreError::Closed`].
pub(super) fn verify(
    connection: &Connection,
    day: Option<Day>,
    stop: &AtomicBool,
) -> Result<Vec<Imbalance>, StoreError> {
    let mut tally = rolled_up(connection, day)?;
    let mut links = Links::begin(connection, day)?;
    read_entries(connection, day, stop, &mut tally, &mut links)?;
    let mut found = Vec::new();
    let sum = ImbalanceKind::Sum;
    compare(&recorded_days(connection, day)?, tally.by_day(), |(day, key)| (sum, Some(*day), *key), &mut found);
    if day.is_none() {
        compare(&recorded_keys(connection)?, &tally.by_key(), |key| (sum, None, *key), &mut found);
    }
    // A potluck that knows no finer sums may still be writing: they are complete when it is gone.
    if unchained_until(connection)?.is_some() {
        let models = |place: &Place| (ImbalanceKind::Models, Some(place.day), place.key);
        compare(&cells(connection, Table::DayModels, day)?, tally.cells(), models, &mut found);
    }
    // Many models of a key may be off on a day: that is told once.
    found.dedup_by_key(|found| (found.kind, found.day, found.key));
    found.extend(links.broken()?.into_iter().map(|(key, line)| Imbalance {
        kind: ImbalanceKind::Chain { line },
        day: None,
        key,
        recorded: Usd::ZERO,
        recomputed: Usd::ZERO,
    }));
    Ok(found)
}

/// The first and the last day to look at.
fn span(day: Option<Day>) -> (i32, i32) {
    day.map_or((i32::MIN, i32::MAX), |day| (day.number(), day.number()))
}

fn rolled_up(connection: &Connection, day: Option<Day>) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    for (place, cell) in cells(connection, Table::RolledUp, day)? {
        tally.add_cell(place, &cell);
    }
    Ok(tally)
}

fn cells(connection: &Connection, table: Table, day: Option<Day>) -> Result<BTreeMap<Place, Cell>, StoreError> {
    let mut cells = connection.prepare(table.of_days())?;
    let rows = cells.query_map(span(day), |row| Ok((Place::read(row)?, Cell::read(row, 5)?)))?;
    rows.map(|row| row.map_err(StoreError::from)).collect()
}

fn read_entries(
    connection: &Connection,
    day: Option<Day>,
    stop: &AtomicBool,
    tally: &mut Tally,
    links: &mut Links<'_>,
) -> Result<(), StoreError> {
    let start = match day {
        None => Some(i64::MIN),
        Some(day) => connection
            .query_row("SELECT entry FROM day_starts WHERE day = ?1", (day.number(),), |row| row.get(0))
            .optional()?,
    };
    // A day without a start has no entries.
    let Some(start) = start else { return Ok(()) };
    let mut entries =
        connection.prepare(&format!("SELECT {COLUMNS}, chain FROM entries WHERE id >= ?1 ORDER BY id"))?;
    let mut rows = entries.query((start,))?;
    while let Some(row) = rows.next()? {
        if stop.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        let line = Line::read(row)?;
        links.look(&line, row)?;
        if day.is_none_or(|day| line.day == day) {
            tally.add(&line);
        }
    }
    Ok(())
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

/// A sum whose money can be shown.
trait Amount: Copy + Default + PartialEq {
    fn amount(&self) -> Usd;
}

impl Amount for Figures {
    fn amount(&self) -> Usd {
        self.spent()
    }
}

impl Amount for Cell {
    fn amount(&self) -> Usd {
        Usd::from_pico(self.pico)
    }
}

fn compare<P: Ord, F: Amount>(
    recorded: &BTreeMap<P, F>,
    recomputed: &BTreeMap<P, F>,
    place: impl Fn(&P) -> (ImbalanceKind, Option<Day>, KeyId),
    found: &mut Vec<Imbalance>,
) {
    for at in recorded.keys().chain(recomputed.keys()).collect::<BTreeSet<_>>() {
        let figures = |of: &BTreeMap<P, F>| of.get(at).copied().unwrap_or_default();
        let (recorded, recomputed) = (figures(recorded), figures(recomputed));
        if recorded != recomputed {
            let (kind, day, key) = place(at);
            found.push(Imbalance { kind, day, key, recorded: recorded.amount(), recomputed: recomputed.amount() });
        }
    }
}
