//! What is known of a key outside the pool.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::clock::Timestamp;
use crate::money::UsageCheck;
use crate::pool::Health;
use crate::secret::Fingerprint;

use super::quiet::{Asked, Ends};

/// What donors said about a key, and what is under way on it.
#[derive(Debug)]
pub struct Card {
    /// The mask shown instead of the key.
    pub masked: String,
    /// SHA-256 of the key.
    pub fingerprint: Fingerprint,
    /// A name for the key.
    pub label: Option<String>,
    /// Who gave it, by the operator's own numbering.
    pub donor_id: Option<String>,
    /// Who gave it, by name.
    pub donor_name: Option<String>,
    /// Since when it is in the pool.
    pub added_at: Timestamp,
    /// The last comparison of the key's own usage with the ledger.
    pub(super) check: Mutex<Option<UsageCheck>>,
    /// Draws of the key's headroom, one after the other: what is missing is only known when the one before is granted.
    pub(super) drawing: tokio::sync::Mutex<()>,
    /// When attempts on it ended last.
    pub(super) ends: Ends,
    /// When it was asked about because its usage was never compared.
    pub(super) asked: Asked,
    /// The store knows that this process uses it without holds.
    pub(super) used_unbounded: AtomicBool,
    /// The health that the log told last, by its place in [`Health::ALL`].
    pub(super) told: AtomicUsize,
}

impl Card {
    /// Whether this health is news to the log; from now on it is not.
    pub(super) fn tell(&self, health: Health) -> bool {
        let place = Health::ALL.iter().position(|h| *h == health).unwrap_or_default();
        self.told.swap(place, Ordering::Relaxed) != place
    }
}
