//! Suspense as operators see it: every open cost, and one by its number.

use rusqlite::{Connection, OptionalExtension, Row};

use super::Store;
use super::column;
use super::error::StoreError;
use super::query::{AFTER_SUSPENSE, SUSPENSE, read_suspense};
use super::record::Suspense;

/// An attempt whose cost is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenEntry {
    /// Its place in suspense.
    pub suspense: Suspense,
    /// The model, where known.
    pub model: Option<Box<str>>,
}

/// How an attempt that was in suspense stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its cost is not known yet.
    Open(Suspense),
    /// It is. That is all there is to know of a line that is rolled up by now: only lines whose cost is known are.
    Settled,
}

impl Store {
    /// Everything in suspense, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn suspense_open(&self, limit: usize) -> Result<Vec<OpenEntry>, StoreError> {
        self.read(move |connection| all(connection, limit)).await
    }

    /// How an entry of that number stands; `None` when there is none, or when it was never in suspense.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn suspense_entry(&self, id: u64) -> Result<Option<Standing>, StoreError> {
        self.read(move |connection| one(connection, id)).await
    }
}

fn all(connection: &Connection, limit: usize) -> Result<Vec<OpenEntry>, StoreError> {
    let mut open = connection.prepare_cached(&format!(
        "SELECT {SUSPENSE}, e.model FROM suspense AS s JOIN entries AS e ON e.id = s.entry \
         WHERE s.settled_at IS NULL ORDER BY s.opened_at LIMIT ?1"
    ))?;
    let limit = column::count(u64::try_from(limit).unwrap_or(u64::MAX));
    open.query_map((limit,), read)?.map(|row| row.map_err(StoreError::from)).collect()
}

fn one(connection: &Connection, id: u64) -> Result<Option<Standing>, StoreError> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT {SUSPENSE}, s.settled_at IS NULL FROM suspense AS s JOIN entries AS e ON e.id = s.entry \
             WHERE s.entry = ?1"
        ))?
        .query_row((column::count(id),), |row| {
            let is_open: bool = row.get(AFTER_SUSPENSE)?;
            Ok(if is_open { Standing::Open(read_suspense(row)?) } else { Standing::Settled })
        })
        .optional()?;
    Ok(match found {
        None if is_rolled_up(connection, id)? => Some(Standing::Settled),
        found => found,
    })
}

/// Whether there was a line of that number. Numbers are given without gaps, and the last line of all is never rolled up.
fn is_rolled_up(connection: &Connection, id: u64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT ?1 BETWEEN 1 AND (SELECT max(id) FROM entries) AND NOT EXISTS (SELECT 1 FROM entries WHERE id = ?1)",
        )?
        .query_row((column::count(id),), |row| row.get::<_, Option<bool>>(0))
        .map(Option::unwrap_or_default)
}

fn read(row: &Row<'_>) -> rusqlite::Result<OpenEntry> {
    let model: Option<String> = row.get(AFTER_SUSPENSE)?;
    Ok(OpenEntry { suspense: read_suspense(row)?, model: model.map(String::into_boxed_str) })
}
