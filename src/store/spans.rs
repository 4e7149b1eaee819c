//! When each client has lines in the ledger.
//!
//! An index of lines by client would make every line of a client one more write. What is kept instead are the spans of time
//! in which a client has lines; those are then found by time, among the lines of others that happen to be in the same spans.
//! The busier a ledger, the more lines share a row here, and at any load a client adds at most eight rows in a second.

use foldhash::HashSet;
use rusqlite::Connection;

use super::row::Line;

/// A span has two to the power of this milliseconds. Never to be changed: the file has spans of this length.
const SPAN_BITS: u32 = 7;

/// The spans that lines of one transaction are in.
#[derive(Debug, Default)]
pub(super) struct Spans {
    all: HashSet<(u32, i64)>,
    /// The one that was added last: the next line is often in it, too.
    last: Option<(u32, i64)>,
}

impl Spans {
    /// A line was written, or goes.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        if let Some(client) = line.client {
            self.insert(client, line.at);
        }
    }

    fn insert(&mut self, client: u32, at: i64) {
        let span = (client, at >> SPAN_BITS);
        if self.last.replace(span) != Some(span) {
            self.all.insert(span);
        }
    }

    /// Note them.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut note = connection
            .prepare_cached("INSERT INTO client_spans (client, span) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        for span in &self.all {
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

/// Lines looked at in one transaction when spans are made of the index: some tens of milliseconds.
const LINES_AT_A_TIME: i64 = if cfg!(test) { 2 } else { 20_000 };

/// Where the making of spans is: the client and time of the last line that was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made(i64, i64);

impl Made {
    pub(super) const NOTHING: Self = Self(i64::MIN, i64::MIN);
}

/// Make spans of some more lines of the index by client, which has led to a client's lines until now. With the last of them
/// it is dropped, and there is nothing more to do: `None`. Only when nobody else writes who does not know of spans.
pub(super) fn make(connection: &Connection, after: Made) -> rusqlite::Result<Option<Made>> {
    if are_whole(connection)? {
        return Ok(None);
    }
    let (mut spans, mut seen, mut last) = (Spans::default(), 0, after);
    {
        let mut lines = connection.prepare_cached(
            "SELECT client, at FROM entries INDEXED BY entries_of_client \
             WHERE client IS NOT NULL AND (client, at) > (?1, ?2) ORDER BY client, at LIMIT ?3",
        )?;
        let mut rows = lines.query((after.0, after.1, LINES_AT_A_TIME))?;
        while let Some(row) = rows.next()? {
            let (client, at): (u32, i64) = (row.get(0)?, row.get(1)?);
            spans.insert(client, at);
            (seen, last) = (seen + 1, Made(client.into(), at));
        }
    }
    spans.write(connection)?;
    if seen == LINES_AT_A_TIME {
        return Ok(Some(last));
    }
    // There are no secrets in it, and a page that need not be wiped need not be written.
    connection.execute_batch("PRAGMA secure_delete = OFF")?;
    let dropped = connection.execute_batch("DROP INDEX entries_of_client");
    connection.execute_batch("PRAGMA secure_delete = ON").and(dropped).map(|()| None)
}

/// Lines are gone: so are the spans in which their clients have none any more.
pub(super) fn forget(connection: &Connection, gone: &Spans) -> rusqlite::Result<()> {
    let mut forget = connection.prepare_cached(
        "DELETE FROM client_spans WHERE client = ?1 AND span = ?2 AND NOT EXISTS (\
             SELECT 1 FROM entries AS e WHERE e.at >= ?2 << 7 AND e.at < (?2 + 1) << 7 AND +e.client = ?1)",
    )?;
    for span in &gone.all {
        forget.execute(*span)?;
    }
    Ok(())
}
