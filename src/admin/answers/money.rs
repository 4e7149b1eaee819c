//! A key's limits and its money, as they stand on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::money::Window;
use crate::pool::Cause;

/// Whether donor and books let a key serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyGate {
    /// They do.
    Open,
    /// Paused by its donor or an operator.
    Paused,
    /// Past the date its donor has set.
    Expired,
    /// Its books do not follow from its entries: nothing is spent on it until they do again.
    Unsound,
    /// Its limits leave nothing.
    Spent,
}

/// Why a key is in its state: something that happened to it, or its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Why {
    /// Something that happened to it.
    Event(Cause),
    /// Its limits leave nothing.
    Limits(SpentBy),
}

/// What leaves nothing of a key that is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpentBy {
    /// A cap.
    Cap,
    /// What OpenRouter says is left is the owner's reserve, or nothing; or it has not said yet.
    Reserve,
    /// An attempt is out whose worst cost nobody knows: nothing more is spent until its cost is known.
    Unbounded,
}

/// What a key's donor allows, as it was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyLimits {
    /// The most that the pool may spend in each window.
    pub caps: KeyCaps,
    /// What stays the owner's of whatever OpenRouter says is left.
    #[schema(example = "$1.5000")]
    pub reserve: Option<String>,
    /// Which models may be asked for; all when the list is empty.
    #[schema(example = json!(["anthropic/*"]))]
    pub models: Vec<String>,
    /// The most requests at a time.
    pub concurrency: Option<u32>,
    /// Out of rotation until somebody resumes it.
    pub paused: bool,
    /// Out of rotation from then on.
    #[schema(example = "2027-01-01T00:00:00Z")]
    pub expires_at: Option<String>,
}

/// Caps by window; `null` is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyCaps {
    /// In a UTC day.
    #[schema(example = "$5.0000")]
    pub day: Option<String>,
    /// From Monday to Sunday.
    pub week: Option<String>,
    /// In a calendar month.
    pub month: Option<String>,
    /// For ever.
    pub total: Option<String>,
}

/// One cap, and how far it is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapAnswer {
    /// Its window.
    pub window: Window,
    /// The cap.
    #[schema(example = "$5.0000")]
    pub cap: String,
    /// Spent in the window, as far as it is known.
    #[schema(example = "$3.1416")]
    pub spent: String,
    /// What it leaves: the cap without what is spent, held, in suspense, and lost with a process.
    #[schema(example = "$1.8584")]
    pub left: String,
    /// When it starts anew; `null` is never.
    #[schema(example = "2026-11-25T00:00:00Z")]
    pub turns_at: Option<String>,
}
