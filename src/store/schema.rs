//! The database's layout, step by step. A step that has been released is never edited: a new one is added.
//!
//! During a hot upgrade the old process goes on writing for a while, so a step only ever adds.

use rusqlite::{Connection, TransactionBehavior};

use super::error::StoreError;
use super::{chain, spans};

/// The steps; a file's `user_version` counts those it has been through.
const STEPS: [&str; 5] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
    include_str!("migrations/5.sql"),
];

/// Bring the file up to date.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let unwritable = |error| StoreError::unwritable(&error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unwritable)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let done = usize::try_from(found).map_err(|_| StoreError::damaged("negative schema version"))?;
    let Some(missing) = STEPS.get(done..) else { return Err(StoreError::NewerSchema { found, known }) };
    if missing.is_empty() {
        return Ok(());
    }
    for step in missing {
        transaction.execute_batch(step).map_err(unwritable)?;
    }
    if done == 0 {
        chain::end_older_forms(&transaction).map_err(unwritable)?;
        spans::make(&transaction, spans::Made::NOTHING).map_err(unwritable)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(unwritable)?;
    transaction.commit().map_err(unwritable)
}
