//! Old entries become sums.
//!
//! What goes is added to `rolled_up`, so that every sum is still what the entries and `rolled_up` add up to, and can be
//! checked. A key's lines go from the oldest on and without gaps: its chain then begins at the first line that is left, and
//! can be checked too. Lines go in small transactions, since nothing else can be written during one.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension};

use crate::clock::{Day, Timestamp};
use crate::pool::KeyId;

use super::cells::{self, Cell, Place, Table};
use super::chain::Link;
use super::keys;
use super::record::RolledUp;
use super::row::{COLUMNS, Line, WIDTH};
use super::spans::{self, Spans};

/// Lines looked at in one transaction: some tens of milliseconds.
const LINES_AT_A_TIME: i64 = 1000;

/// As in the first migration.
const ENTRIES_STAY: &str = "CREATE TRIGGER entries_stay BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'ledger entries are never deleted'); END;";

/// Where the work is.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Lines of days before this one go.
    before: Day,
    /// The last line that was looked at.
    after: i64,
    /// Keys of which a line stays: so do the lines that follow on it.
    kept: BTreeSet<KeyId>,
    /// What was done so far.
    pub done: RolledUp,
    /// Whether there is more to do.
    pub more: bool,
}

impl Step {
    pub(super) fn first(before: Day) -> Self {
        Self { before, after: i64::MIN, kept: BTreeSet::new(), done: RolledUp::default(), more: true }
    }
}

/// What goes in one transaction.
#[derive(Default)]
struct Going {
    ids: Vec<i64>,
    cells: BTreeMap<Place, Cell>,
    spans: Spans,
    /// What each key's next line follows on.
    starts: BTreeMap<KeyId, Link>,
}

/// Roll up some more lines.
pub(super) fn step(connection: &Connection, step: Step, now: Timestamp) -> rusqlite::Result<Step> {
    let mut step = step;
    let end = end(connection, step.before)?;
    let going = choose(connection, &mut step, end)?;
    if !going.ids.is_empty() {
        cells::write(connection, Table::RolledUp, &going.cells)?;
        remove(connection, &going)?;
        step.done.lines += going.ids.len() as u64;
    }
    if !step.more && step.done.lines > 0 {
        let detail = format!("{} lines of days before {}", step.done.lines, step.before);
        connection
            .prepare_cached("INSERT INTO audit (at, action, detail) VALUES (?1, 'ledger_rolled_up', ?2)")?
            .execute((now.as_millis(), detail))?;
    }
    Ok(step)
}

/// The line at which to stop: no line of the first day that stays comes earlier, and the last line of all stays whatever
/// its day, so that no number is given twice.
fn end(connection: &Connection, before: Day) -> rusqlite::Result<i64> {
    let first_kept: Option<i64> = connection
        .prepare_cached("SELECT entry FROM day_starts WHERE day >= ?1 ORDER BY day LIMIT 1")?
        .query_row((before.number(),), |row| row.get(0))
        .optional()?;
    let last: Option<i64> =
        connection.prepare_cached("SELECT max(id) FROM entries")?.query_row([], |row| row.get(0))?;
    let last = last.unwrap_or(i64::MIN);
    Ok(first_kept.map_or(last, |first| first.min(last)))
}

fn choose(connection: &Connection, step: &mut Step, end: i64) -> rusqlite::Result<Going> {
    let mut going = Going::default();
    if step.after == i64::MIN {
        // What a person has yet to look at must not be gone by then.
        step.kept.extend(keys::unsound(connection)?.into_iter().map(|(key, _)| key));
    }
    let mut lines = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, chain, EXISTS (SELECT 1 FROM suspense AS s WHERE s.entry = e.id AND s.settled_at IS NULL) \
         FROM entries AS e WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3"
    ))?;
    let mut rows = lines.query((step.after, end, LINES_AT_A_TIME))?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let line = Line::read(row)?;
        (step.after, seen) = (line.id, seen + 1);
        let in_suspense: bool = row.get(WIDTH + 1)?;
        if line.day >= step.before || in_suspense {
            step.kept.insert(line.key);
        }
        if step.kept.contains(&line.key) {
            step.done.kept += u64::from(line.day < step.before);
            continue;
        }
        going.ids.push(line.id);
        going.spans.add(&line);
        going.cells.entry(Place::of(&line)).or_default().add(&Cell::of(&line));
        if let Some(link) = row.get::<_, Option<Link>>(WIDTH)? {
            going.starts.insert(line.key, link);
        }
    }
    step.more = seen == LINES_AT_A_TIME;
    Ok(going)
}

/// Take lines out of the ledger. The trigger that forbids it is away within this transaction only.
fn remove(connection: &Connection, going: &Going) -> rusqlite::Result<()> {
    // Days begin at lines that may be going.
    connection.execute_batch("PRAGMA defer_foreign_keys = ON; DROP TRIGGER IF EXISTS entries_stay;")?;
    {
        let mut settled = connection.prepare_cached("DELETE FROM suspense WHERE entry = ?1")?;
        let mut entry = connection.prepare_cached("DELETE FROM entries WHERE id = ?1")?;
        for id in &going.ids {
            settled.execute((id,))?;
            entry.execute((id,))?;
        }
    }
    connection.execute_batch(ENTRIES_STAY)?;
    connection.execute(
        "UPDATE day_starts SET entry = (SELECT min(id) FROM entries WHERE id > day_starts.entry) \
         WHERE NOT EXISTS (SELECT 1 FROM entries WHERE id = day_starts.entry)",
        [],
    )?;
    spans::forget(connection, &going.spans)?;
    let mut start = connection.prepare_cached("UPDATE chains SET start = ?2 WHERE key = ?1")?;
    for (key, link) in &going.starts {
        start.execute((key.0, link))?;
    }
    Ok(())
}
