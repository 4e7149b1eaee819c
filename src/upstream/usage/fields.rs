//! Where the things we read stand: the tree of known places (`openrouter-api.md` sections 3 and 4.2).

#![deny(clippy::indexing_slicing)]

use crate::upstream::Dialect;

/// A container on the way to a known place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// The document: a whole answer, or the data of one event.
    Root,
    /// `response`: in events of the Responses dialect.
    Response,
    /// `message`: in `message_start` of the Messages dialect.
    Message,
    Usage,
    PromptDetails,
    CompletionDetails,
    CostDetails,
    Choices,
    Choice,
    Error,
    /// `choices[].error`.
    ChoiceError,
    ErrorMetadata,
}

/// A known place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Anywhere else: the value is stepped over.
    Other,
    Root,
    Response,
    /// `message` at the root: the message of `message_start`, or the text of a flat Responses error event.
    Message,
    Choices,
    Choice,
    Id,
    Model,
    EventType,
    Usage,
    Cost,
    IsByok,
    CostDetails,
    UpstreamCost,
    PromptDetails,
    CompletionDetails,
    Count(Count),
    Error,
    ChoiceError,
    /// `code` beside the `type` of a flat Responses error event.
    FlatCode,
    /// `error_type` at the root, beside a Responses error.
    RootErrorType,
    ErrorCode,
    ErrorMessage,
    ErrorKind,
    ErrorType,
    ErrorMetadata,
    LimitSource,
    Reason,
}

/// The token counts, under the names they go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    PromptTokens,
    InputTokens,
    CompletionTokens,
    OutputTokens,
    /// `prompt_tokens_details.cached_tokens`, `input_tokens_details.cached_tokens`.
    CachedTokens,
    /// `completion_tokens_details.reasoning_tokens`, `output_tokens_details.reasoning_tokens`.
    ReasoningTokens,
    /// Messages dialect: read from the cache, and not part of `input_tokens`.
    CacheRead,
    /// Messages dialect: written to the cache, and not part of `input_tokens`.
    CacheCreation,
}

impl Count {
    pub(super) const NUMBER: usize = 8;
}

impl Node {
    /// The byte that closes the container.
    pub(super) const fn close(self) -> u8 {
        if matches!(self, Self::Choices) { b']' } else { b'}' }
    }

    /// What an array's elements are; `None` for objects.
    pub(super) const fn element(self) -> Option<Field> {
        if matches!(self, Self::Choices) { Some(Field::Choice) } else { None }
    }

    /// The place of the value under `key`.
    #[inline]
    pub(super) fn child(self, key: &[u8], dialect: Dialect) -> Field {
        match self {
            Self::Root => root(key, dialect),
            Self::Response | Self::Message => match key {
                b"usage" => Field::Usage,
                b"id" => Field::Id,
                b"model" => Field::Model,
                b"error" => Field::Error,
                _ => Field::Other,
            },
            Self::Usage => usage(key),
            Self::PromptDetails if key == b"cached_tokens" => Field::Count(Count::CachedTokens),
            Self::CompletionDetails if key == b"reasoning_tokens" => Field::Count(Count::ReasoningTokens),
            Self::CostDetails if key == b"upstream_inference_cost" => Field::UpstreamCost,
            Self::Choice if key == b"error" => Field::ChoiceError,
            Self::Error | Self::ChoiceError => match key {
                b"code" => Field::ErrorCode,
                b"message" => Field::ErrorMessage,
                b"type" => Field::ErrorKind,
                b"error_type" => Field::ErrorType,
                b"metadata" => Field::ErrorMetadata,
                _ => Field::Other,
            },
            Self::ErrorMetadata => match key {
                b"error_type" => Field::ErrorType,
                b"limit_source" => Field::LimitSource,
                b"reason" => Field::Reason,
                _ => Field::Other,
            },
            _ => Field::Other,
        }
    }
}

fn root(key: &[u8], dialect: Dialect) -> Field {
    match (key, dialect) {
        (b"usage", _) => Field::Usage,
        (b"error", _) => Field::Error,
        (b"id" | b"generation_id", _) => Field::Id,
        (b"model", _) => Field::Model,
        (b"choices", Dialect::Chat) => Field::Choices,
        (b"type", Dialect::Responses | Dialect::Messages) => Field::EventType,
        (b"message", Dialect::Responses | Dialect::Messages) => Field::Message,
        (b"response", Dialect::Responses) => Field::Response,
        (b"code", Dialect::Responses) => Field::FlatCode,
        (b"error_type", Dialect::Responses) => Field::RootErrorType,
        _ => Field::Other,
    }
}

fn usage(key: &[u8]) -> Field {
    match key {
        b"cost" => Field::Cost,
        b"is_byok" => Field::IsByok,
        b"cost_details" => Field::CostDetails,
        b"prompt_tokens" => Field::Count(Count::PromptTokens),
        b"input_tokens" => Field::Count(Count::InputTokens),
        b"completion_tokens" => Field::Count(Count::CompletionTokens),
        b"output_tokens" => Field::Count(Count::OutputTokens),
        b"prompt_tokens_details" | b"input_tokens_details" => Field::PromptDetails,
        b"completion_tokens_details" | b"output_tokens_details" => Field::CompletionDetails,
        b"cache_read_input_tokens" => Field::Count(Count::CacheRead),
        b"cache_creation_input_tokens" => Field::Count(Count::CacheCreation),
        _ => Field::Other,
    }
}
