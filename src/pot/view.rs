//! What operators and donors are shown, and what they may ask for. Plain data: no secret in it.

use crate::clock::Timestamp;
use crate::money::{Limits, UsageCheck, Usd, Window};
use crate::pool::{AccountId, Gate, Health, KeyId, KeyState, Rotation};
use crate::secret::{Credential, Fingerprint, KeyFormatError};
use crate::store::{KeyTotals, StoreError, SuspenseSummary};

/// How a key is named in an admin call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRef {
    /// By the key itself.
    Key(Fingerprint),
    /// By its id.
    Id(KeyId),
}

/// A key as it is shown.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// Stable id.
    pub id: KeyId,
    /// `sk-or-v1-…` and the last four characters.
    pub masked: String,
    /// SHA-256 of the key: OpenRouter's own `hash` of it.
    pub fingerprint: Fingerprint,
    /// The donor's or operator's name for the key.
    pub label: Option<String>,
    /// Who gave it, by the operator's own numbering.
    pub donor_id: Option<String>,
    /// Who gave it, by name.
    pub donor_name: Option<String>,
    /// The account it spends from, once a probe has told.
    pub account: Option<AccountId>,
    /// Since when it is in the pool.
    pub added_at: Timestamp,
    /// Health and timers.
    pub state: KeyState,
    /// What it has done and paid.
    pub totals: KeyTotals,
    /// Attempts now under way on it.
    pub in_flight: u32,
    /// Its health as others see it: depleted, too, when its limits leave nothing.
    pub health: Health,
    /// What its donor allows.
    pub limits: Limits,
    /// Whether donor and books let it serve.
    pub gate: Gate,
    /// Its money, where that is limited.
    pub money: Option<KeyMoney>,
    /// The last comparison of its own usage with the ledger.
    pub check: Option<UsageCheck>,
}

/// The money of a key with limits, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMoney {
    /// Each cap, the shortest window first.
    pub caps: Vec<CapView>,
    /// Worst costs of requests under way.
    pub held: Usd,
    /// Worst costs of attempts whose cost is being looked up.
    pub suspense: Usd,
    /// Leased in advance and not held, or lost with a process and not accounted for yet: the only money that a crash can
    /// keep from being spent, until the key's own usage has shown the truth.
    pub stranded: Usd,
    /// Attempts are out whose worst cost nobody knows; until they are settled nothing is spent.
    pub unbounded: bool,
    /// A process ended without accounting for what it spent: what it had leased counts as spent until that is found out.
    pub lost: bool,
    /// What the next request may cost at most.
    pub left: Usd,
}

/// One cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapView {
    /// Its window.
    pub window: Window,
    /// The cap.
    pub cap: Usd,
    /// Spent in the window, as far as known.
    pub spent: Usd,
    /// What it leaves: the cap without what is spent, held, in suspense and lost.
    pub left: Usd,
    /// When it starts anew.
    pub turns_at: Option<Timestamp>,
}

/// The pool at one moment.
#[derive(Clone, Debug)]
pub struct Overview {
    /// When it was taken.
    pub now: Timestamp,
    /// Keys by state, in the order of [`crate::pool::Health::ALL`].
    pub counts: [u32; 5],
    /// How new conversations are spread.
    pub rotation: Rotation,
    /// Where the rotation stands: the place, from 0, of the key behind the last one chosen.
    pub rotation_index: usize,
    /// The key of the latest choice.
    pub last_key: Option<KeyId>,
    /// Every key, in rotation order.
    pub keys: Vec<KeyView>,
    /// Client requests so far.
    pub requests: u64,
    /// Those that were answered.
    pub successes: u64,
    /// Spent on this UTC day, as the upstream billed it.
    pub spent_today: Usd,
    /// Spent since the ledger began.
    pub spent_total: Usd,
    /// Attempts whose cost is still being looked up.
    pub suspense: SuspenseSummary,
    /// Requests now under way.
    pub in_flight: u32,
}

/// A key offered to the pool.
#[derive(Clone, Debug)]
pub struct Donation {
    /// The key.
    pub credential: Credential,
    /// A name for it.
    pub label: Option<String>,
    /// Who gives it, by the operator's own numbering.
    pub donor_id: Option<String>,
    /// Who gives it, by name.
    pub donor_name: Option<String>,
    /// What the donor allows.
    pub limits: Limits,
}

/// A key taken into the pool.
#[derive(Clone, Debug)]
pub struct Donated {
    /// Its id.
    pub id: KeyId,
    /// Keys in the pool now.
    pub total_keys: usize,
    /// Whether OpenRouter has confirmed the key; `false` when it could not be reached.
    pub verified: bool,
}

/// Why a key was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DonateError {
    /// Not an OpenRouter key.
    #[error(transparent)]
    Malformed(#[from] KeyFormatError),
    /// The pool has it.
    #[error("the key is already in the pool as {0}")]
    AlreadyPresent(KeyId),
    /// A management key cannot serve requests and could change the donor's account.
    #[error("this is a management (provisioning) key: it cannot serve requests; donate an ordinary API key")]
    ManagementKey,
    /// OpenRouter does not know it.
    #[error("OpenRouter does not accept this key: it is unknown, deleted, disabled or expired")]
    Rejected,
    /// It could not be written down.
    #[error("the key could not be stored: {0}")]
    Store(#[from] StoreError),
}

/// A key taken out of the pool.
#[derive(Clone, Debug)]
pub struct Withdrawn {
    /// Its id.
    pub id: KeyId,
    /// Its mask.
    pub masked: String,
    /// Keys left.
    pub total_keys: usize,
}

/// Why an admin call about a key failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No such key.
    #[error("no such key in the pool")]
    NotFound,
    /// It could not be written down.
    #[error("the change could not be stored: {0}")]
    Store(#[from] StoreError),
}

/// Why an operator's word about a cost was not booked.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// No entry of that number was ever in suspense.
    #[error("no such entry in suspense")]
    NotFound,
    /// Its cost is known by now.
    #[error("the entry is not in suspense any more")]
    Settled,
    /// It could not be read or written down.
    #[error("the cost could not be stored: {0}")]
    Store(#[from] StoreError),
}

/// Whether potluck should be sent traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// A key can serve.
    Ready,
    /// The pool has no key that can serve.
    NoKey,
    /// Entries cannot be written down.
    StoreUnwell,
    /// Shutting down.
    Draining,
}
