//! When each client has lines in the ledger.
//!
//! An index of lines by client would make every line of a client one more write. What is kept instead are the spans of time
//! in which a client has lines; those are then found by time, among the lines of others that happen to be in the same spans.
//! The busier a ledger, the more lines share a row here, and at any load a client adds at most eight rows in a second.

use foldhash::{HashSet, HashSetExt};
use rusqlite::{Connection, OptionalExtension};

use super::row::Line;

/// A span has two to the power of this milliseconds. Never to be changed: the file has spans of this length.
const SPAN_BITS: u32 = 7;

/// The spans that lines of one transaction are in.
#[derive(Debug)]
pub(super) struct Spans(HashSet<(u32, i64)>);

impl Spans {
    pub(super) fn new() -> Self {
        Self(HashSet::new())
    }

    /// A line was written.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        if let Some(client) = line.client {
            self.0.insert((client, line.at >> SPAN_BITS));
        }
    }

    /// Note them.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut note = connection
            .prepare_cached("INSERT INTO client_spans (client, span) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        for span in &self.0 {
            note.execute(*span)?;
        }
        Ok(())
    }
}

/// A client's lines, whatever others there are in its spans: to be put between the columns and an order by `at` and `id`.
pub(super) const LINES_OF_CLIENT: &str = "client_spans AS c CROSS JOIN entries AS e \
     ON e.at >= c.span << 7 AND e.at < (c.span + 1) << 7 \
     WHERE c.client = :client AND c.span BETWEEN :from >> 7 AND :at >> 7 AND \
           +e.at >= :from AND (+e.at, e.id) < (:at, :line) \
     ORDER BY c.span DESC, e.at DESC, e.id DESC";

const OLD_INDEX: &str = "entries_of_client";

/// Whether every line is in a span. Until then some potluck that knows of none may write beside us.
pub(super) fn are_whole(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1")?
        .exists((OLD_INDEX,))
        .map(|is_there| !is_there)
}

/// Nobody else writes any more. The index by client has led to the lines until now: spans are made of it, once.
pub(super) fn take_over(connection: &Connection) -> rusqlite::Result<()> {
    if are_whole(connection)? {
        return Ok(());
    }
    connection.execute_batch(
        "INSERT INTO client_spans (client, span) \
         SELECT DISTINCT client, at >> 7 FROM entries INDEXED BY entries_of_client WHERE client IS NOT NULL \
         ON CONFLICT DO NOTHING; \
         DROP INDEX entries_of_client;",
    )
}

/// Forget the spans before the first line that is left: theirs are rolled up.
pub(super) fn forget_rolled_up(connection: &Connection) -> rusqlite::Result<()> {
    let first: Option<i64> =
        connection.prepare_cached("SELECT min(at) FROM entries")?.query_row([], |row| row.get(0))?;
    let Some(first) = first else { return Ok(()) };
    let mut next =
        connection.prepare_cached("SELECT client FROM client_spans WHERE client > ?1 ORDER BY client LIMIT 1")?;
    let mut forget = connection.prepare_cached("DELETE FROM client_spans WHERE client = ?1 AND span < ?2")?;
    let mut last = i64::MIN;
    while let Some(client) = next.query_row((last,), |row| row.get(0)).optional()? {
        forget.execute((client, first >> SPAN_BITS))?;
        last = client;
    }
    Ok(())
}
