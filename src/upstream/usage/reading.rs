//! What the reader found out about an answer.

use crate::money::{Cost, GenerationId, Tokens, Usd};

/// Everything an answer's body said about itself. Nothing of what the model wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `usage.cost` as printed, to the pico-dollar; unknown when absent, `null`, negative, not a number or cut off.
    pub cost: Cost,
    /// The donor's own provider bill (`cost_details.upstream_inference_cost`), only where the answer says `is_byok`.
    pub byok: Option<Usd>,
    /// Token counts, as far as reported.
    pub tokens: Tokens,
    /// The first id in the body that has a generation's shape (`gen-…`).
    pub generation: Option<GenerationId>,
    /// The model the answer last named.
    pub model: Option<Box<str>>,
    /// The first error reported inside the body.
    pub error: Option<InsideError>,
    /// The body came to its proper end: the JSON document closed, or the stream sent its end mark (`[DONE]`,
    /// `message_stop`, `response.completed` and its like). An opaque body has no mark of its own and counts as
    /// complete: there only the framing can tell.
    pub complete: bool,
}

/// An error reported inside a 200 (`openrouter-api.md` 4.2), for blame to judge. Every text is bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InsideError {
    /// `code`, where there is one.
    pub code: Option<ErrorCode>,
    /// The beginning of `message`, at most [`MESSAGE_MAX_BYTES`]; empty where there is none.
    pub message: Box<str>,
    /// `type`: the Messages dialect's name for it (`overloaded_error`).
    pub kind: Option<Box<str>>,
    /// OpenRouter's own name for it (`error_type`, `metadata.error_type`: `rate_limit_exceeded`).
    pub error_type: Option<Box<str>>,
    /// `metadata.limit_source`: whose limit it was.
    pub limit_source: Option<Box<str>>,
    /// `metadata.reason`.
    pub reason: Option<Box<str>>,
}

/// How much of an error's message is kept, in bytes.
pub const MESSAGE_MAX_BYTES: usize = 200;

/// `error.code`, which OpenRouter sends as a number or as a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// A number, meant as an HTTP status (`429`, also as the string `"429"`).
    Status(u16),
    /// A name (`server_error`).
    Name(Box<str>),
}

impl Reading {
    pub(super) const fn unread() -> Self {
        Self {
            cost: Cost::Unknown,
            byok: None,
            tokens: Tokens { prompt: None, completion: None, cached: None, reasoning: None },
            generation: None,
            model: None,
            error: None,
            complete: false,
        }
    }
}
