//! Whether the sums follow from the entries, and the entries from each other. Nothing is corrected here: books that do not
//! balance are shown as such.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use crate::clock::{Day, Tick};
use crate::money::Usd;
use crate::pool::KeyId;

use super::cells::{Cell, Place, Table};
use super::chain::{Forms, unchained_until};
use super::column;
use super::error::StoreError;
use super::figures::{Figures, POOL, Tally};
use super::links::Links;
use super::record::{Imbalance, ImbalanceKind};
use super::row::{COLUMNS, Line};
use super::spenders::ClientFigures;

/// Lines looked at in one read transaction, some tenths of a second: while one is open, the log cannot be emptied. Few in
/// tests, so that each of them crosses the border.
const LINES_AT_A_TIME: i64 = if cfg!(test) { 3 } else { 50_000 };
/// A look at all lines rests so many times as long as it works: it has time, and others need the processor.
const REST: u32 = 3;
/// How often a resting look sees whether it should stop.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// Compare the sums of one day, or of all days and keys, with the entries, and look at the chains: whole, or from the day's
/// first line on. Empty when all is well. Makes read transactions of its own, one after the other; a raised `stop` ends it
/// early, with [`StoreError::Closed`].
pub(super) fn verify(
    connection: &Connection,
    day: Option<Day>,
    stop: &AtomicBool,
) -> Result<Vec<Imbalance>, StoreError> {
    let mut rest = |worked: Duration| {
        if day.is_none() {
            pause(worked.saturating_mul(REST), stop);
        }
    };
    verify_resting(connection, day, stop, &mut rest)
}

/// [`verify`], with something else to do between two transactions.
pub(super) fn verify_resting(
    connection: &Connection,
    day: Option<Day>,
    stop: &AtomicBool,
    rest: &mut dyn FnMut(Duration),
) -> Result<Vec<Imbalance>, StoreError> {
    loop {
        // It is not daily that lines are rolled up under somebody's eyes: then from the beginning.
        if let Some(found) = look(connection, day, stop, rest)? {
            return Ok(found);
        }
    }
}

fn pause(time: Duration, stop: &AtomicBool) {
    let mut left = time;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let nap = left.min(STOP_LOOK);
        std::thread::sleep(nap);
        left = left.saturating_sub(nap);
    }
}

/// Lines are only ever added, so they may be added up over many moments. The sums are read at the last of these, together
/// with the last lines. `None` when lines were rolled up meanwhile: some may count twice by now, or not at all.
fn look(
    connection: &Connection,
    day: Option<Day>,
    stop: &AtomicBool,
    rest: &mut dyn FnMut(Duration),
) -> Result<Option<Vec<Imbalance>>, StoreError> {
    let mut moment = connection.unchecked_transaction()?;
    let rolled_up = cells(connection, Table::RolledUp, day)?;
    let mut tally = Tally::default();
    for (place, cell) in &rolled_up {
        tally.add_cell(place.clone(), cell);
    }
    let mut links = Links::begin(connection, day)?;
    let mut from = first_line(connection, day)?;
    while let Some(line) = from {
        let began = Tick::now();
        from = read_lines(connection, line, day, stop, &mut tally, &mut links)?;
        if from.is_some() {
            moment.finish()?;
            rest(began.elapsed());
            moment = connection.unchecked_transaction()?;
        }
    }
    if links.starts_moved()? || cells(connection, Table::RolledUp, day)? != rolled_up {
        return Ok(None);
    }
    let found = differences(connection, day, &tally, links)?;
    moment.finish()?;
    Ok(Some(found))
}

fn differences(
    connection: &Connection,
    day: Option<Day>,
    tally: &Tally,
    links: Links<'_>,
) -> Result<Vec<Imbalance>, StoreError> {
    let mut found = Vec::new();
    let sum = ImbalanceKind::Sum;
    let by_day = tally.by_day();
    compare(&recorded_days(connection, day)?, &by_day, |(day, key)| (sum, Some(*day), *key), &mut found);
    if day.is_none() {
        compare(&recorded_keys(connection)?, &Tally::by_key(&by_day), |key| (sum, None, *key), &mut found);
    }
    // A potluck that knows no finer sums may still be writing: they are complete when it is gone.
    if unchained_until(connection)?.is_some() {
        let models = |place: &Place| (ImbalanceKind::Models, Some(place.day), place.key);
        compare(&cells(connection, Table::DayModels, day)?, tally.cells(), models, &mut found);
        let clients = |(_, day): &(u32, Day)| (ImbalanceKind::Clients, Some(*day), POOL);
        compare(&recorded_clients(connection, day)?, &tally.by_client(), clients, &mut found);
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

fn cells(connection: &Connection, table: Table, day: Option<Day>) -> Result<BTreeMap<Place, Cell>, StoreError> {
    let mut cells = connection.prepare(table.of_days())?;
    let rows = cells.query_map(span(day), |row| Ok((Place::read(row)?, Cell::read(row, 5)?)))?;
    rows.map(|row| row.map_err(StoreError::from)).collect()
}

/// The line to begin with. A day without one has no entries.
fn first_line(connection: &Connection, day: Option<Day>) -> rusqlite::Result<Option<i64>> {
    let Some(day) = day else { return Ok(Some(i64::MIN)) };
    connection.query_row("SELECT entry FROM day_starts WHERE day = ?1", (day.number(),), |row| row.get(0)).optional()
}

/// Look at some lines; with which to go on, unless those were the last.
fn read_lines(
    connection: &Connection,
    from: i64,
    day: Option<Day>,
    stop: &AtomicBool,
    tally: &mut Tally,
    links: &mut Links<'_>,
) -> Result<Option<i64>, StoreError> {
    let mut lines = connection
        .prepare_cached(&format!("SELECT {COLUMNS}, chain FROM entries WHERE id >= ?1 ORDER BY id LIMIT ?2"))?;
    // A look takes many read transactions, and the form of new lines may be another one in the next.
    let forms = Forms::read(connection)?;
    let mut rows = lines.query((from, LINES_AT_A_TIME))?;
    let (mut seen, mut next) = (0, from);
    while let Some(row) = rows.next()? {
        if stop.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        let line = Line::read(row)?;
        links.look(&line, row, forms)?;
        if day.is_none_or(|day| line.day == day) {
            tally.add_cell(Place::of(&line), &Cell::of(&line));
        }
        (seen, next) = (seen + 1, line.id.saturating_add(1));
    }
    Ok((seen == LINES_AT_A_TIME).then_some(next))
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

fn recorded_clients(
    connection: &Connection,
    day: Option<Day>,
) -> Result<BTreeMap<(u32, Day), ClientFigures>, StoreError> {
    let mut sums = connection.prepare(
        "SELECT client, day, requests, attempts, prompt, completion, cached, reasoning, pico FROM client_days \
         WHERE user = 0 AND day BETWEEN ?1 AND ?2",
    )?;
    let rows = sums
        .query_map(span(day), |row| Ok(((row.get(0)?, Day::from_number(row.get(1)?)), ClientFigures::read(row, 2)?)))?;
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

impl Amount for ClientFigures {
    fn amount(&self) -> Usd {
        Usd::from_pico(self.pico())
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
