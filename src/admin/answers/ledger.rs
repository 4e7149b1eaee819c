//! The ledger's answers, as they stand on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::money::{Basis, Outcome};

/// `GET /ledger`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LedgerAnswer {
    /// Lines of the ledger, the newest first. There may be none and yet a next page.
    pub entries: Vec<LedgerEntry>,
    /// The `cursor` of the next page; `null` at the end.
    #[schema(example = "1795489200000.1234")]
    pub next: Option<String>,
}

/// Whether a line is an attempt or corrects one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// An attempt.
    Attempt,
    /// What has to be added to an attempt's figures to make them true; with attempt 0, what was spent on the key by
    /// attempts that nobody had written down.
    Correction,
}

/// A line of the ledger: one attempt at a request with one key, or a correction of one.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerEntry {
    /// Its number.
    #[schema(example = 1234)]
    pub id: u64,
    /// Attempt or correction.
    pub kind: EntryKind,
    /// When the attempt ended, or the correction was found.
    pub at: String,
    /// The UTC day its amounts belong to; a correction's is its attempt's.
    #[schema(example = "2026-11-24")]
    pub day: String,
    /// The client request (`x-request-id` of its answer).
    pub request: String,
    /// Which attempt of it.
    pub attempt: u16,
    /// The key.
    #[schema(example = "k1")]
    pub key: String,
    /// The key's account, where it was known.
    #[schema(example = "a1")]
    pub account: Option<String>,
    /// The client, where clients are known.
    #[schema(example = "c1")]
    pub client: Option<String>,
    /// The client's user, by the client's own name for it (`userId` of `POST /auth/token`).
    pub user: Option<String>,
    /// The endpoint called; `null` where attempts were never written down.
    #[schema(example = "chat_completions")]
    pub endpoint: Option<String>,
    /// The model.
    #[schema(example = "openai/gpt-4o-mini")]
    pub model: Option<String>,
    /// OpenRouter's id of the generation, where it sent one.
    pub generation: Option<String>,
    /// Tokens; a correction's are what is added, and may be below zero.
    pub tokens: EntryTokens,
    /// What was charged; a correction's is what is added. `null`: not known when the line was written.
    #[schema(example = "$0.00001185")]
    pub cost: Option<String>,
    /// The owner's own provider bill under BYOK, outside `cost`.
    pub byok: Option<String>,
    /// The worst cost that was held for it, where its key's money is limited.
    pub held: Option<String>,
    /// Whether its cost is still to be found out.
    pub in_suspense: bool,
    /// What a correction rests on.
    pub basis: Option<Basis>,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// The upstream's status code, where it answered.
    pub status: Option<u16>,
    /// Milliseconds from the attempt's start to its end.
    pub duration_ms: u32,
}

/// Token counts of a line, as far as OpenRouter told them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryTokens {
    /// Input, cached included.
    pub prompt: Option<i64>,
    /// Output, reasoning included.
    pub completion: Option<i64>,
    /// Input read from a provider's prompt cache.
    pub cached: Option<i64>,
    /// Output spent on reasoning.
    pub reasoning: Option<i64>,
}

/// `GET /ledger/summary`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SummaryAnswer {
    /// By day, key and model, in that order.
    pub lines: Vec<SummaryEntry>,
    /// All of them together.
    pub total: LedgerSums,
}

/// What a model was used for with a key on a day.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SummaryEntry {
    /// The UTC day.
    #[schema(example = "2026-11-24")]
    pub day: String,
    /// The key.
    #[schema(example = "k1")]
    pub key: String,
    /// The model, where known.
    #[schema(example = "openai/gpt-4o-mini")]
    pub model: Option<String>,
    /// The figures.
    pub sums: LedgerSums,
}

/// Figures of many attempts and their corrections.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerSums {
    /// Client requests that began with one of the attempts.
    pub requests: u64,
    /// Attempts.
    pub attempts: u64,
    /// Attempts that were answered.
    pub answered: u64,
    /// Tokens.
    pub tokens: TokenSums,
    /// Share of the input that came from prompt caches; `null` without input.
    #[schema(example = "33.3%")]
    pub cached_share: Option<String>,
    /// What OpenRouter charged, exactly, as far as it is known.
    #[schema(example = "$2.4567")]
    pub amount: String,
    /// The owner's own provider bills under BYOK, outside `amount`.
    pub byok: String,
    /// The part of `amount` that was told from the key's own usage: right in all, a guess for each attempt.
    pub by_usage: String,
    /// The part of `amount` that is a worst case, because nothing was to be learned.
    pub estimated: String,
}

/// Sums of token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenSums {
    /// Input, cached included.
    pub prompt: u64,
    /// Output, reasoning included.
    pub completion: u64,
    /// Input read from a provider's prompt cache.
    pub cached: u64,
    /// Output spent on reasoning.
    pub reasoning: u64,
}

/// `GET /keys/openrouter/{id}/receipt`: what a key was used for, for its donor.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiptAnswer {
    /// The key.
    pub key: ReceiptKey,
    /// The first UTC day.
    #[schema(example = "2026-11-01")]
    pub from: String,
    /// The last UTC day, which may still go on.
    #[schema(example = "2026-11-24")]
    pub to: String,
    /// When it was made.
    pub time: String,
    /// Everything.
    pub sums: LedgerSums,
    /// By model, the dearest first.
    pub models: Vec<ReceiptModel>,
    /// Attempts of these days whose cost is still being looked up.
    pub suspense: ReceiptSuspense,
    /// The last comparison of the key's own usage with the ledger, over its whole time in the pool.
    pub check: Option<ReceiptCheck>,
}

/// The key of a receipt. When it has left the pool, its number is all that is known of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptKey {
    /// Its id.
    #[schema(example = "k1")]
    pub id: String,
    /// Whether it is in the pool.
    pub in_pool: bool,
    /// Its mask.
    #[schema(example = "sk-or-v1-…3f9a")]
    pub key: Option<String>,
    /// SHA-256 of the key, in hex: the `hash` by which OpenRouter knows it, in its settings' addresses and its API.
    pub hash: Option<String>,
    /// A name for the key.
    #[schema(example = "alice")]
    pub label: Option<String>,
    /// Who gave it, by the operator's own numbering.
    pub donor_id: Option<String>,
    /// Who gave it, by name.
    pub donor_name: Option<String>,
    /// Since when it is in the pool.
    pub added_at: Option<String>,
}

/// What a model was used for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiptModel {
    /// The model, where known.
    #[schema(example = "openai/gpt-4o-mini")]
    pub model: Option<String>,
    /// The figures.
    pub sums: LedgerSums,
}

/// Unknown costs of a receipt; they are not in its amount.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiptSuspense {
    /// How many.
    pub entries: u64,
    /// What they can come to at most, as far as that is known.
    pub most: String,
}

/// A key's own usage, as OpenRouter tells it, against the ledger: `usage` is `booked` + `before` + `elsewhere` +
/// `drift`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiptCheck {
    /// When the two were compared.
    pub at: String,
    /// What the key was charged in all, by whomever.
    pub usage: String,
    /// What the ledger had booked.
    pub booked: String,
    /// What had been spent before the key came into the pool.
    pub before: String,
    /// What its owner has spent elsewhere since.
    pub elsewhere: String,
    /// What nobody can explain: zero when the books are right; below zero the ledger says more than OpenRouter.
    pub drift: String,
}

/// `GET /ledger/suspense`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenAnswer {
    /// Attempts whose cost is not known yet, the oldest first; at most 1,000.
    pub entries: Vec<OpenEntry>,
    /// Those that are not listed here.
    pub not_listed: u64,
}

/// An attempt whose cost is not known yet.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenEntry {
    /// Its line in the ledger; `POST /ledger/settle` takes it.
    #[schema(example = 1234)]
    pub entry: u64,
    /// The client request (`x-request-id` of its answer).
    pub request: String,
    /// Which attempt of it.
    pub attempt: u16,
    /// The key that pays.
    #[schema(example = "k1")]
    pub key: String,
    /// OpenRouter's id of the generation, where it sent one.
    pub generation: Option<String>,
    /// The endpoint called.
    #[schema(example = "chat_completions")]
    pub endpoint: String,
    /// The model, where known.
    pub model: Option<String>,
    /// When the attempt ended.
    pub since: String,
    /// The most it can cost, where that was held; it counts against the key's caps until the cost is known.
    pub held: Option<String>,
    /// Questions that were in vain.
    pub tries: u32,
    /// When the next one is due; `null`: none is planned.
    pub next_look: Option<String>,
}

/// `POST /ledger/settle`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SettledAnswer {
    /// Always `true`.
    pub success: bool,
    /// The attempt's line in the ledger.
    #[schema(example = 1234)]
    pub entry: u64,
    /// The key that pays.
    #[schema(example = "k1")]
    pub key: String,
    /// What is booked.
    #[schema(example = "$0.0123")]
    pub cost: String,
    /// What happened, for people.
    pub message: String,
}
