//! Why OpenRouter refused: the rows of `openrouter-api.md` 5.2, by name.

/// Why OpenRouter refused: one for each row of `openrouter-api.md` 5.2, and one for each kind of answer not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 400, 413, 422 and their like: the request itself.
    RequestInvalid,
    /// 401: OpenRouter saw no credential at all, so the proxy sent none or a garbled one.
    NoCredential,
    /// 401 `User not found.`: the key is unknown, deleted, disabled or expired.
    KeyUnknown,
    /// 401 in other words.
    Unauthorized,
    /// 402 `Insufficient credits`, or nothing affordable at all.
    AccountEmpty,
    /// 402: this much output costs more than there is.
    OutputTooDear,
    /// 402: this much input costs more than there is.
    InputTooDear,
    /// 402: too much in flight at once.
    InFlightBudget,
    /// 402: this one request is more than the account may have in flight.
    RequestTooHeavy,
    /// 402 in other words.
    PaymentRequired,
    /// 402 or 403: the key's own limit.
    KeyLimit,
    /// 402 or 403: a workspace's or guardrail's budget.
    Budget,
    /// 403: a call that needs a management key came through.
    ManagementOnly,
    /// 403: a guardrail of the donor saw a prompt injection.
    PromptInjection,
    /// 403: the prompt or the answer was flagged or refused.
    Moderated,
    /// 403: the model is not available where the account is.
    Region,
    /// 403: the account may not use this author's models.
    AuthorBanned,
    /// 403: the author wants the account's own provider key.
    ProviderKeyNeeded,
    /// 403: the account only takes calls from addresses on its list.
    AddressBarred,
    /// 403 in other words.
    Forbidden,
    /// 404: the account's privacy settings or guardrails leave no provider.
    DataPolicy,
    /// 404: no such model, path, or provider for what was asked.
    NotFound,
    /// 408, 504, 524.
    Timeout,
    /// 429: the free requests of the day.
    FreeDaily,
    /// 429: the free requests of the minute.
    FreePerMinute,
    /// 429: the provider's limit for all of OpenRouter.
    ProviderLimited,
    /// The provider turned away the donor's own key with it.
    OwnProviderKey,
    /// 429 that does not say whose limit it was.
    RateLimited,
    /// The edge turned the proxy's address away.
    EdgeBlocked,
    /// `Provider returned error`, 502, 529.
    ProviderError,
    /// 500 and other statuses from 500 up.
    ServerError,
    /// 503.
    Unavailable,
    /// 401 or 402 whose body cannot be read.
    Unreadable,
    /// The status and `error.code` say different things.
    Contradictory,
    /// A status below 400, which is no refusal.
    NoRefusal,
}

impl Reason {
    /// Whether a key with more money would serve the same request.
    pub const fn is_about_size(self) -> bool {
        matches!(self, Self::OutputTooDear | Self::InputTooDear | Self::RequestTooHeavy)
    }

    /// Every reason, for metrics and tests.
    pub const ALL: [Self; 35] = [
        Self::RequestInvalid,
        Self::NoCredential,
        Self::KeyUnknown,
        Self::Unauthorized,
        Self::AccountEmpty,
        Self::OutputTooDear,
        Self::InputTooDear,
        Self::InFlightBudget,
        Self::RequestTooHeavy,
        Self::PaymentRequired,
        Self::KeyLimit,
        Self::Budget,
        Self::ManagementOnly,
        Self::PromptInjection,
        Self::Moderated,
        Self::Region,
        Self::AuthorBanned,
        Self::ProviderKeyNeeded,
        Self::AddressBarred,
        Self::Forbidden,
        Self::DataPolicy,
        Self::NotFound,
        Self::Timeout,
        Self::FreeDaily,
        Self::FreePerMinute,
        Self::ProviderLimited,
        Self::OwnProviderKey,
        Self::RateLimited,
        Self::EdgeBlocked,
        Self::ProviderError,
        Self::ServerError,
        Self::Unavailable,
        Self::Unreadable,
        Self::Contradictory,
        Self::NoRefusal,
    ];

    /// The stable name, for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestInvalid => "request_invalid",
            Self::NoCredential => "no_credential",
            Self::KeyUnknown => "key_unknown",
            Self::Unauthorized => "unauthorized",
            Self::AccountEmpty => "account_empty",
            Self::OutputTooDear => "output_too_dear",
            Self::InputTooDear => "input_too_dear",
            Self::InFlightBudget => "in_flight_budget",
            Self::RequestTooHeavy => "request_too_heavy",
            Self::PaymentRequired => "payment_required",
            Self::KeyLimit => "key_limit",
            Self::Budget => "budget",
            Self::ManagementOnly => "management_only",
            Self::PromptInjection => "prompt_injection",
            Self::Moderated => "moderated",
            Self::Region => "region",
            Self::AuthorBanned => "author_banned",
            Self::ProviderKeyNeeded => "provider_key_needed",
            Self::AddressBarred => "address_barred",
            Self::Forbidden => "forbidden",
            Self::DataPolicy => "data_policy",
            Self::NotFound => "not_found",
            Self::Timeout => "timeout",
            Self::FreeDaily => "free_daily",
            Self::FreePerMinute => "free_per_minute",
            Self::ProviderLimited => "provider_limited",
            Self::OwnProviderKey => "own_provider_key",
            Self::RateLimited => "rate_limited",
            Self::EdgeBlocked => "edge_blocked",
            Self::ProviderError => "provider_error",
            Self::ServerError => "server_error",
            Self::Unavailable => "unavailable",
            Self::Unreadable => "unreadable",
            Self::Contradictory => "contradictory",
            Self::NoRefusal => "no_refusal",
        }
    }

    /// Whether the operator must look: the proxy's own fault or its address's, a donor to be told, or an OpenRouter
    /// that no longer answers as it did. Nothing that a client can bring about at will, short of the edge's block.
    pub const fn alarm(self) -> bool {
        matches!(
            self,
            Self::NoCredential
                | Self::ManagementOnly
                | Self::AddressBarred
                | Self::EdgeBlocked
                | Self::Unreadable
                | Self::Contradictory
        )
    }
}
