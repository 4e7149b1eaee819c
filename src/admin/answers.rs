//! The admin API's answers, as they stand on the wire. The specification is derived from these types, and the
//! `potluck` command reads answers with them.
//!
//! Amounts are exact decimal texts with a dollar sign (`"$2.4567"`), times RFC 3339 in UTC. No type here can hold a
//! pooled key: the most that is shown of one is its mask. A new client's key is told once ([`ShownKey`]).

mod clients;
mod ledger;
mod money;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::pool::{Health, Rotation};

pub use clients::{
    ClientAddedAnswer, ClientAnswer, ClientRevokedAnswer, ClientsAnswer, RotatedAnswer, ShownKey, UserAllowance,
    UserAnswer, UsersAnswer,
};
pub use ledger::{
    EntryKind, EntryTokens, LedgerAnswer, LedgerEntry, LedgerSums, OpenAnswer, OpenEntry, ReceiptAnswer, ReceiptCheck,
    ReceiptKey, ReceiptModel, ReceiptSuspense, SettledAnswer, SummaryAnswer, SummaryEntry, TokenSums,
};
pub use money::{CapAnswer, KeyCaps, KeyGate, KeyLimits, SpentBy, Why};

/// `GET /status`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusAnswer {
    /// The pool of OpenRouter keys.
    pub openrouter: PoolStatus,
}

/// The pool as it is now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Keys in the pool, whatever their health.
    #[schema(example = 3)]
    pub total_keys: u64,
    /// How many keys are in each state.
    pub health: HealthCounts,
    /// What the pool has done.
    pub stats: PoolStats,
    /// How new conversations are spread over the keys.
    pub rotation: Rotation,
    /// Where the rotation stands: the place, from 0, of the key behind the one that was chosen last.
    pub rotation_index: u64,
    /// Id of the key that was chosen last.
    #[schema(example = "k2")]
    pub last_key_id: Option<String>,
    /// Client requests under way.
    pub in_flight: u32,
    /// Costs that are still being looked up.
    pub suspense: SuspenseStatus,
    /// What requests under way can cost at most, on keys whose money is limited.
    #[schema(example = "$0.1200")]
    pub held: String,
    /// Of keys whose money is limited: leased in advance and not held, or lost with a process and not accounted for
    /// yet.
    #[schema(example = "$0.0300")]
    pub stranded: String,
    /// When this was so.
    #[schema(example = "2026-11-24T12:00:00Z")]
    pub time: String,
    /// The keys, in the order they were added; at most the first 1,000 (`GET /keys` has them all).
    pub keys: Vec<KeyAnswer>,
    /// Keys that are not listed here.
    pub keys_not_listed: u64,
}

/// How many keys are in each of the five states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthCounts {
    /// In rotation.
    pub healthy: u32,
    /// No credit, or a limit of the key reached.
    pub depleted: u32,
    /// Temporary trouble; back by itself.
    pub degraded: u32,
    /// Unusable; back by hand only.
    pub failed: u32,
    /// Limited by OpenRouter; back by itself.
    pub rate_limited: u32,
}

/// What the pool has done.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStats {
    /// Client requests so far, restarts included.
    #[schema(example = 450)]
    pub total_requests: u64,
    /// Share of them that succeeded. Rounded to two decimals, but `100.00%` only when all of them did (or there were
    /// none), and `0.00%` only when none did.
    #[schema(example = "98.67%")]
    pub success_rate: String,
    /// What OpenRouter charged for this UTC day, exactly, as far as it is known (see `suspense`).
    #[schema(example = "$2.4567")]
    pub total_cost_today: String,
    /// What OpenRouter charged since the ledger began.
    #[schema(example = "$31.0042")]
    pub total_cost: String,
}

/// Costs that are not known yet. They count as nothing until they are found.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SuspenseStatus {
    /// Attempts whose cost is not known yet.
    pub entries: u64,
    /// When the oldest of them ended.
    pub oldest: Option<String>,
    /// Those for which looking up has been given up.
    pub exhausted: u64,
    /// What those on keys whose money is limited can come to at most; it counts against their caps.
    #[schema(example = "$0.0450")]
    pub most: String,
}

/// One key, without the key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyAnswer {
    /// Stable id, never given to another key.
    #[schema(example = "k1")]
    pub id: String,
    /// The mask: the prefix all keys share, and the last four characters.
    #[schema(example = "sk-or-v1-…3f9a")]
    pub key: String,
    /// A name for the key.
    #[schema(example = "alice")]
    pub label: Option<String>,
    /// Who gave it, by the operator's own numbering.
    pub donor_id: Option<String>,
    /// Who gave it, by name.
    pub donor_name: Option<String>,
    /// The account it spends from, once OpenRouter has told; keys of one account share its credit.
    #[schema(example = "a1")]
    pub account: Option<String>,
    /// Since when it is in the pool.
    pub added_at: String,
    /// How it is.
    pub health: KeyHealth,
    /// Whether OpenRouter has confirmed that the key exists.
    pub verified: bool,
    /// Attempts made with it.
    pub requests: u64,
    /// Share of them that succeeded, rounded as in `stats`.
    #[schema(example = "100.00%")]
    pub success_rate: String,
    /// What OpenRouter charged to it for this UTC day, exactly, as far as it is known.
    #[schema(example = "$0.8131")]
    pub spent_today: String,
    /// The same since it was added.
    #[schema(example = "$4.9020")]
    pub spent_total: String,
    /// Attempts with it whose cost is still being looked up.
    pub suspense: u64,
    /// Credit or limit it has left, as last heard.
    #[schema(example = "$5.0980")]
    pub remaining: Option<String>,
    /// Attempts under way with it.
    pub in_flight: u32,
    /// Whether donor and books let it serve.
    pub gate: KeyGate,
    /// What its donor allows.
    pub limits: KeyLimits,
    /// Each cap and how far it is used up, the shortest window first.
    pub caps: Vec<CapAnswer>,
    /// What requests under way can cost at most. `null`, as the other amounts below, while its money
    /// is not limited.
    pub held: Option<String>,
    /// What its attempts in suspense can come to at most.
    pub suspense_most: Option<String>,
    /// Leased in advance and not held, or lost with a process and not accounted for yet: what a crash can keep from
    /// being spent until the key's own usage has shown the truth.
    pub stranded: Option<String>,
    /// A process ended without accounting for what it spent: what it had leased counts as spent until that is found
    /// out.
    pub lost: bool,
    /// What the next request may cost at most.
    pub left: Option<String>,
    /// What its owner has spent on it elsewhere since it was added, as of `lastCheckedAt`.
    pub elsewhere: Option<String>,
    /// What neither ledger nor owner explains of the key's own usage, as of `lastCheckedAt`; zero when the books are
    /// right.
    pub drift: Option<String>,
    /// When its own usage was last compared with the ledger.
    pub last_checked_at: Option<String>,
}

/// A key's health.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyHealth {
    /// The state; `depleted`, too, when its limits leave nothing.
    pub status: Health,
    /// Since when, apart from its limits.
    pub since: String,
    /// When it is back by itself, where that is known.
    pub until: Option<String>,
    /// Why it is so.
    pub why: Why,
    /// What the operator noted (`error` of `POST /health/openrouter`).
    pub note: Option<String>,
    /// When it serves free models again, where it does not.
    pub free_models_from: Option<String>,
}

/// `GET /keys`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeysAnswer {
    /// Always `openrouter`.
    #[schema(example = "openrouter")]
    pub model: String,
    /// Keys in the pool.
    pub total_keys: u64,
    /// All of them, in the order they were added.
    pub keys: Vec<KeyAnswer>,
}

/// `POST /keys/openrouter`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DonatedAnswer {
    /// Always `true`.
    pub success: bool,
    /// Always `openrouter`.
    #[schema(example = "openrouter")]
    pub model: String,
    /// Keys in the pool now.
    pub total_keys: u64,
    /// What happened, for people.
    pub message: String,
    /// The new key's id.
    #[schema(example = "k4")]
    pub id: String,
    /// Its mask.
    #[schema(example = "sk-or-v1-…3f9a")]
    pub key: String,
    /// Whether OpenRouter has confirmed it; `false` when OpenRouter could not be reached. It is asked again then.
    pub verified: bool,
}

/// `DELETE /keys/openrouter`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawnAnswer {
    /// Always `true`.
    pub success: bool,
    /// Always `openrouter`.
    #[schema(example = "openrouter")]
    pub model: String,
    /// Keys left in the pool.
    pub total_keys: u64,
    /// What happened, for people.
    pub message: String,
    /// The id it had.
    #[schema(example = "k4")]
    pub id: String,
    /// Its mask.
    #[schema(example = "sk-or-v1-…3f9a")]
    pub key: String,
}

/// `POST /health/openrouter`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthSetAnswer {
    /// Always `true`.
    pub success: bool,
    /// Always `openrouter`.
    #[schema(example = "openrouter")]
    pub model: String,
    /// The key's id.
    #[schema(example = "k1")]
    pub id: String,
    /// Its mask.
    #[schema(example = "sk-or-v1-…3f9a")]
    pub key: String,
    /// The state that was said.
    pub status: Health,
    /// How it is now. A key whose limits leave nothing is depleted whatever is said.
    pub health: KeyHealth,
}

/// `GET /health`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LiveAnswer {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub status: String,
}

/// `GET /ready`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadyAnswer {
    /// Whether traffic should be sent here.
    pub ready: bool,
    /// Why not: `no_key`, `store` or `draining`.
    pub reason: Option<String>,
}

/// Any refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorAnswer {
    /// Always `false`.
    pub success: bool,
    /// What is wrong.
    pub error: ErrorDetail,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// Stable and machine-readable.
    #[schema(example = "key_malformed")]
    pub code: String,
    /// For people.
    pub message: String,
    /// The member of the body that is at fault, where it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "key")]
    pub field: Option<String>,
    /// The key that is in the way, where it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "k1")]
    pub id: Option<String>,
}
