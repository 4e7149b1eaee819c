//! How a store is opened.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, StoreUrl};
use crate::secret::Secret;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The database file. Its directory is made (for the owner only) when it does not exist.
    pub path: PathBuf,
    /// The master key as text (64 hex digits, or base64 of 32 bytes) when the environment gives one.
    pub master_key: Option<Secret>,
    /// Where the master key lies otherwise; made on first start.
    pub master_key_file: PathBuf,
    /// Entries that may be reserved, waiting or being written at a time.
    pub queue_max_entries: usize,
    /// How long the writer gathers entries for one commit. Nobody waits for it: calls that are waited for are
    /// committed at once. A crash of the process loses at most what was booked within this time.
    pub commit_gather: Duration,
    /// How long after an attempt's end its unknown cost is due for the first lookup.
    pub first_lookup: Duration,
    /// When closing: how long to wait for places that are still reserved, and to go on trying what cannot be written.
    pub close_patience: Duration,
    /// Disk space that is kept for entries of requests under way, in bytes; 0 keeps none.
    pub reserve_bytes: u64,
}

/// Long enough that a busy proxy makes a hundred or two commits a second instead of thousands, short enough that no
/// human notices. See [`StoreOptions::commit_gather`].
const COMMIT_GATHER: Duration = Duration::from_millis(5);
/// When the store is closed its last users have been given their time already; what is left are drops under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// `ledger.reconcile_schedule_ms` always has a first step; this stands in for an empty one.
const FIRST_LOOKUP: Duration = Duration::from_secs(2);

impl Config {
    /// How to open the store this configuration describes.
    pub fn store_options(&self) -> StoreOptions {
        let StoreUrl::Sqlite(path) = &self.store.url;
        StoreOptions {
            path: path.clone(),
            master_key: self.store.master_key.clone(),
            master_key_file: self.data_dir.join("master.key"),
            queue_max_entries: self.store.queue_max_entries,
            commit_gather: COMMIT_GATHER,
            first_lookup: self.ledger.reconcile_schedule.iter().min().copied().unwrap_or(FIRST_LOOKUP),
            close_patience: CLOSE_PATIENCE,
            reserve_bytes: self.store.reserve as u64,
        }
    }
}
