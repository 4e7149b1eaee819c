//! What can go wrong with the store, sorted by who can do something about it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::money::ClientId;
use crate::pool::KeyId;

use super::master_key::MasterKeyError;

/// Why a call to the store failed. Never holds a secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or file cannot be made or read.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// Which file or directory.
        path: PathBuf,
        /// The system's words.
        reason: Arc<str>,
    },
    /// Another process works with the database.
    #[error(
        "another potluck works with {path}: stop it first, or give this one a data folder of its own (--data-dir). \
         To take over from it without a break, start with `potluck run --upgrade`",
        path = .path.display()
    )]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The database does not keep a write-ahead log, so it promises no durability.
    #[error("{path} cannot be opened in WAL mode (it is {mode}): keep it on a local file system", path = .path.display())]
    NoWal {
        /// The database file.
        path: PathBuf,
        /// The journal mode it was left in.
        mode: String,
    },
    /// A later potluck has written this file.
    #[error("the database has schema version {found}, this potluck knows up to {known}: run the newer potluck again")]
    NewerSchema {
        /// The file's version.
        found: i64,
        /// The latest version known here.
        known: i64,
    },
    /// The master key is missing, malformed, or not the one the keys are sealed with.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// The pool has this key already.
    #[error("the key is already stored as {0}")]
    KeyPresent(KeyId),
    /// There is no such key.
    #[error("no key {0}")]
    NoSuchKey(KeyId),
    /// There is no such client, or its key is revoked.
    #[error("no client {0}")]
    NoSuchClient(ClientId),
    /// There is no such entry in suspense.
    #[error("no entry {0} in suspense")]
    NoSuchSuspense(u64),
    /// The answer would be too long.
    #[error("the answer would have more than {0} lines: ask for fewer days, or for one key")]
    TooMuch(usize),
    /// Too many calls are waiting for the store.
    #[error("the store is busy")]
    Busy,
    /// The store has been closed, or its thread is gone.
    #[error("the store is closed")]
    Closed,
    /// The write could not be made durable. Nothing was changed; should the machine lose power right now, the change
    /// may still turn out to have been made.
    #[error("the store cannot be written: {0}")]
    Unwritable(Arc<str>),
    /// The disk is full: what is under way is still written where `store.reserve_bytes` left room, nothing new is let in.
    #[error("the store cannot be written: the disk is full")]
    DiskFull,
    /// A query failed.
    #[error("the store cannot be read: {0}")]
    Unreadable(Arc<str>),
    /// The file holds something potluck never writes.
    #[error("the database is damaged: {0}")]
    Damaged(Arc<str>),
    /// Closed with entries that could not be written; each of them is in the log.
    #[error("closed with {0} ledger entries that could not be written; they are in the log")]
    Unwritten(usize),
}

impl StoreError {
    pub(super) fn file(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::File { path: path.into(), reason: error.to_string().into() }
    }

    pub(super) fn unwritable(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            _ => Self::Unwritable(error.to_string().into()),
        }
    }

    pub(super) fn damaged(what: impl Into<Arc<str>>) -> Self {
        Self::Damaged(what.into())
    }
}

/// A query's failure. Writers use `StoreError::unwritable`.
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unreadable(error.to_string().into())
    }
}
