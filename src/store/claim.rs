//! One process at a time works with a store: what a pool knows of its keys is in memory, and two memories drift apart.
//!
//! The exception is a hot upgrade, where a successor starts while its predecessor finishes. The ledger itself takes
//! entries of both (see `connection`); the claim passes on when the predecessor ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::StoreError;
use super::master_key::prepare_directory;

/// A claim on a database file, given up when its last clone is dropped or its process ends.
#[derive(Clone, Debug)]
pub struct Claim {
    _file: Arc<File>,
    held: Arc<AtomicBool>,
}

impl Claim {
    /// Claim the database at `path`.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Arc::new(file), held: Arc::new(AtomicBool::new(true)) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(StoreError::file(path, &error)),
        }
    }

    /// Claim the database at `path` as soon as whoever has it ends, and return at once.
    ///
    /// # Errors
    /// When the claim cannot be waited for.
    pub fn succeed(path: &Path) -> Result<Self, StoreError> {
        let file = Arc::new(open(path)?);
        let held = Arc::<AtomicBool>::default();
        let (waiting, taken) = (Arc::clone(&file), Arc::clone(&held));
        let wait = move || match waiting.lock() {
            Ok(()) => taken.store(true, Ordering::Release),
            Err(error) => tracing::error!(%error, "the claim on the database could not be taken over"),
        };
        let thread = std::thread::Builder::new().name("store-claim".to_owned()).spawn(wait);
        thread.map_err(|error| StoreError::file(path, &error))?;
        Ok(Self { _file: file, held })
    }

    /// Whether nobody else works with the database any more.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Whether a process has the database at `path` now.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn is_taken(path: &Path) -> Result<bool, StoreError> {
        match Self::take(path) {
            Ok(_) => Ok(false),
            Err(StoreError::InUse { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// The file that is locked: not the database itself, whose locks are SQLite's.
fn open(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let opened = prepare_directory(&path)
        .and_then(|()| OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path));
    opened.map_err(|error| StoreError::file(&path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_a_successor_waits() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("data").join("potluck.db");
        assert!(!Claim::is_taken(&path).expect("readable"));
        let first = Claim::take(&path).expect("free");
        assert!(matches!(Claim::take(&path), Err(StoreError::InUse { path: p }) if p == path));
        let second = Claim::succeed(&path).expect("it may wait");
        assert!(Claim::is_taken(&path).expect("readable"));
        assert!(first.is_held() && !second.is_held());
        drop(first);
        while !second.is_held() {
            std::thread::yield_now();
        }
        // The waiting thread holds the file until it has the lock, so the claim goes from one to the other and is free
        // only when both are gone.
        drop(second);
        while Claim::is_taken(&path).expect("readable") {
            std::thread::yield_now();
        }
    }
}
