//! The closed label sets of the metrics. A label value never comes from outside.

use crate::clients::{Rejection, Shortage};
use crate::upstream::{Endpoint, Reason};

/// How a client's request ended, as its client saw it. The attempts behind it have outcomes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// A success was given whole: the upstream's, a cached one, or potluck's own.
    Answered,
    /// An error of the upstream was passed on: the client's or a provider's fault, not a key's.
    UpstreamError,
    /// Refused by potluck: route, head, body, or a limit of its own.
    Refused,
    /// No key could serve it.
    NoKey,
    /// The upstream could not be reached, or did not answer in time.
    Unreachable,
    /// The answer broke off in the middle.
    Broken,
    /// The client went away before the end.
    ClientGone,
}

impl RequestOutcome {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Answered,
        Self::UpstreamError,
        Self::Refused,
        Self::NoKey,
        Self::Unreachable,
        Self::Broken,
        Self::ClientGone,
    ];

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::UpstreamError => "upstream_error",
            Self::Refused => "refused",
            Self::NoKey => "no_key",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::ClientGone => "client_gone",
        }
    }
}

/// Why a client's request was refused for what the client is or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientRefusal {
    /// It brought no credential of potluck's.
    Missing,
    /// What it brought cannot be a client key or a token.
    Malformed,
    /// Nobody has that key, or nobody has it any more.
    Unknown,
    /// Its key's or token's time is over.
    Expired,
    /// Its token is of a client that was revoked.
    Revoked,
    /// Too many wrong credentials came from its address.
    Guessing,
    /// The client may not ask for that model.
    Model,
    /// The client, or its user, has as many requests under way as it may.
    Busy,
    /// Too many requests in this minute.
    Requests,
    /// Too many tokens in this minute.
    Tokens,
    /// Its budgets leave nothing.
    Spent,
    /// Its budgets leave less than the request may cost.
    TooDear,
    /// What its budgets leave is held for its requests under way.
    Held,
    /// It has a budget, and nobody can say what the request may cost.
    Unbounded,
    /// As many requests wait for a key as may.
    QueueFull,
}

impl ClientRefusal {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Expired,
        Self::Revoked,
        Self::Guessing,
        Self::Model,
        Self::Busy,
        Self::Requests,
        Self::Tokens,
        Self::Spent,
        Self::TooDear,
        Self::Held,
        Self::Unbounded,
        Self::QueueFull,
    ];

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Guessing => "guessing",
            Self::Model => "model",
            Self::Busy => "busy",
            Self::Requests => "requests_per_minute",
            Self::Tokens => "tokens_per_minute",
            Self::Spent => "budget_spent",
            Self::TooDear => "budget_too_small",
            Self::Held => "budget_held",
            Self::Unbounded => "cost_unbounded",
            Self::QueueFull => "queue_full",
        }
    }
}

impl From<Shortage> for ClientRefusal {
    fn from(of: Shortage) -> Self {
        match of {
            Shortage::Busy => Self::Busy,
            Shortage::Requests(_) => Self::Requests,
            Shortage::Tokens(_) => Self::Tokens,
            Shortage::Spent { .. } => Self::Spent,
            Shortage::TooDear { .. } => Self::TooDear,
            Shortage::Held => Self::Held,
            Shortage::Unbounded => Self::Unbounded,
        }
    }
}

impl From<Rejection> for ClientRefusal {
    fn from(why: Rejection) -> Self {
        match why {
            Rejection::Missing => Self::Missing,
            Rejection::Malformed => Self::Malformed,
            Rejection::Unknown => Self::Unknown,
            Rejection::Expired => Self::Expired,
            Rejection::Revoked => Self::Revoked,
        }
    }
}

/// The hundreds of a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// No answer was begun.
    None,
    /// 1xx, which is never a final answer, and anything outside 100 to 599.
    Odd,
    /// 2xx
    Success,
    /// 3xx
    Redirect,
    /// 4xx
    ClientError,
    /// 5xx
    ServerError,
}

impl StatusClass {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Odd, Self::Success, Self::Redirect, Self::ClientError, Self::ServerError];

    /// The class of a status, where an answer was begun.
    pub const fn of(status: Option<u16>) -> Self {
        match status {
            None => Self::None,
            Some(200..=299) => Self::Success,
            Some(300..=399) => Self::Redirect,
            Some(400..=499) => Self::ClientError,
            Some(500..=599) => Self::ServerError,
            Some(_) => Self::Odd,
        }
    }

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Odd => "odd",
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

/// The `endpoint` label: the billable endpoint, or everything that is none (public reads, own answers, refused paths).
pub(super) fn endpoint_name(endpoint: Option<Endpoint>) -> &'static str {
    endpoint.map_or("other", Endpoint::name)
}

/// The `reason` label of an attempt: why OpenRouter refused it, or reported an error inside its answer.
pub(super) fn reason_name(reason: Option<Reason>) -> &'static str {
    reason.map_or("none", Reason::name)
}
