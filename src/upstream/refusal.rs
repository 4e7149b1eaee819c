//! Every answer potluck invents, in the shape of errors that the called endpoint has.

use std::borrow::Cow;

use crate::clients::Shortage;
use crate::clients::line::Full;
use crate::clients::routing::NoModel;
use crate::clock::Timestamp;
use crate::money::{GenerationId, Unbounded};
use crate::pool::NoKey;

use super::{BadRequest, RouteRefusal};

mod client;
mod render;

pub(super) use render::anthropic_type;
pub use render::{RateLimit, RenderedRefusal, render};

/// A refusal or failure of potluck's own. Each has a status, a stable code and a message that names the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No key can serve this request.
    NoKey {
        /// Why.
        reason: NoKey,
        /// When the first key is due back, where a time is known.
        until: Option<Timestamp>,
        /// The time of this answer.
        now: Timestamp,
        /// How many keys this request has tried.
        tried: u16,
    },
    /// No key's limits leave what the request may cost.
    TooDear {
        /// The output tokens it asked for, or those of the model when it named none.
        asked: Option<u64>,
        /// How many the limits of the richest key allow; `None` when tokens alone do not decide.
        affordable: Option<u64>,
    },
    /// Nobody can say what the request may cost, and every key that could serve it has limits on money.
    Unbounded(Unbounded),
    /// No client key or token, or one that does not open: which of them is nobody's business.
    ClientKey,
    /// Too many wrong client keys or tokens from one address.
    Guessing {
        /// When another one will be listened to, in seconds.
        retry_after_s: u64,
    },
    /// The client may not ask for this model, or for one that it may end up with instead.
    ClientModel,
    /// The client, or one of its users, has used what it may.
    ClientShort {
        /// What of.
        of: Shortage,
        /// It is the user's share of it, not the client's.
        user: bool,
        /// How many output tokens what is left of the budget allows, where tokens decide.
        affordable: Option<u64>,
        /// The time of this answer.
        now: Timestamp,
    },
    /// The client has a budget, and nobody can say what the request may cost.
    ClientUnbounded(Unbounded),
    /// The client has named as many users as it may.
    TooManyUsers {
        /// So many.
        most: usize,
    },
    /// As many requests wait for a key as may: all together, or this client's.
    QueueFull(Full),
    /// What is wrong with the body of a call for a token.
    TokenAsk(&'static str),
    /// Keys were tried and refused until the bound on attempts was reached.
    OutOfAttempts,
    /// The call is not let through.
    Route(RouteRefusal),
    /// The body may not go upstream, or cannot mean anything there.
    BadRequest(BadRequest),
    /// The router knows no model that could serve the request now.
    NoModel(NoModel),
    /// The body is larger than one may be.
    BodyTooLarge {
        /// The bound, in bytes.
        max: u64,
    },
    /// The bodies of all requests together are too large just now.
    BodyBudget,
    /// The body came too slowly.
    BodyTooSlow,
    /// The body ended early, or its framing is broken.
    BodyBroken,
    /// The request head is larger than one may be.
    HeadTooLarge,
    /// The request head is malformed, or could be read in two ways.
    MalformedHead(&'static str),
    /// The upstream cannot be reached; nothing was sent.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream broke off or sent nonsense.
    UpstreamBroken,
    /// The ledger has no room to book the request, so it was not made.
    LedgerFull,
    /// A fault of potluck's own.
    Internal,
    /// `messages/count_tokens`, which OpenRouter does not have.
    CountTokens,
    /// A generation that did not go through this pool, or that OpenRouter does not know (yet).
    GenerationNotFound(GenerationId),
    /// A video job that was not started here.
    JobNotFound,
    /// The key that started a video job cannot ask about it just now.
    JobKeyUnwell,
}

/// How soon a full ledger or memory budget is worth another try, in seconds.
const BUSY_RETRY_S: u64 = 1;
/// How soon an upstream that cannot be reached is worth another try, in seconds.
const UPSTREAM_RETRY_S: u64 = 5;

impl Refusal {
    /// The status code.
    pub const fn status(&self) -> u16 {
        match self {
            Self::ClientKey => 401,
            Self::ClientModel => 403,
            Self::ClientShort { of: Shortage::Spent { .. } | Shortage::TooDear { .. }, .. } => 402,
            Self::ClientShort { of: Shortage::Unbounded, .. } => 400,
            Self::ClientShort { .. } | Self::QueueFull(_) | Self::Guessing { .. } => 429,
            Self::ClientUnbounded(why) if why.is_passing() => 503,
            Self::ClientUnbounded(_) => 400,
            Self::TooManyUsers { .. } => 403,
            Self::TokenAsk(_) => 400,
            Self::Route(RouteRefusal::Method { .. }) => 405,
            Self::Route(RouteRefusal::Blocked(_)) => 403,
            Self::Route(RouteRefusal::NotFound)
            | Self::CountTokens
            | Self::GenerationNotFound(_)
            | Self::JobNotFound => 404,
            Self::Route(RouteRefusal::Batches) => 501,
            Self::Route(RouteRefusal::Query(_)) | Self::BadRequest(_) | Self::BodyBroken | Self::MalformedHead(_) => {
                400
            }
            Self::BodyTooSlow => 408,
            Self::BodyTooLarge { .. } => 413,
            Self::HeadTooLarge => 431,
            Self::Internal => 500,
            Self::UpstreamUnreachable | Self::UpstreamBroken => 502,
            Self::UpstreamTimeout => 504,
            Self::TooDear { .. } => 402,
            Self::Unbounded(why) if why.is_passing() => 503,
            Self::Unbounded(_) => 400,
            Self::NoKey { reason: NoKey::TooDear { .. }, .. } => 402,
            Self::NoKey { reason: NoKey::Unbounded, .. } => 400,
            Self::NoKey { reason: NoKey::ModelNotAllowed, .. } => 403,
            Self::NoModel(none) if none.is_barred => 403,
            Self::NoModel(_) => 503,
            Self::NoKey { .. } | Self::OutOfAttempts | Self::BodyBudget | Self::LedgerFull | Self::JobKeyUnwell => 503,
        }
    }

    /// The stable name, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoKey { reason, .. } => match reason {
                NoKey::NoneAdded => "no_keys_added",
                NoKey::AllDepleted => "all_keys_depleted",
                NoKey::AllLimited => "all_keys_limited",
                NoKey::AllFailed => "all_keys_failed",
                NoKey::Mixed => "no_key_available",
                NoKey::NoneLeft => "no_key_left",
                NoKey::AllBusy => "all_keys_busy",
                NoKey::TooDear { .. } => "request_too_dear",
                NoKey::Unbounded => "cost_unbounded",
                NoKey::ModelNotAllowed => "model_not_allowed",
            },
            Self::TooDear { .. } => "request_too_dear",
            Self::Unbounded(why) if why.is_passing() => "prices_unknown",
            Self::Unbounded(_) => "cost_unbounded",
            // As OpenAI calls it: SDKs and their users know what to do about it.
            Self::ClientKey => "invalid_api_key",
            Self::Guessing { .. } => "too_many_wrong_keys",
            Self::ClientModel => "client_model_not_allowed",
            Self::ClientShort { of, .. } => client::code(*of),
            Self::ClientUnbounded(why) if why.is_passing() => "prices_unknown",
            Self::ClientUnbounded(_) => "cost_unbounded",
            Self::TooManyUsers { .. } => "too_many_users",
            Self::QueueFull(_) => "queue_full",
            Self::TokenAsk(_) => "bad_token_request",
            Self::OutOfAttempts => "out_of_attempts",
            Self::Route(RouteRefusal::NotFound) => "not_found",
            Self::Route(RouteRefusal::Blocked(_)) => "blocked_path",
            Self::Route(RouteRefusal::Method { .. }) => "method_not_allowed",
            Self::Route(RouteRefusal::Query(_)) => "bad_query",
            Self::Route(RouteRefusal::Batches) => "batches_not_supported",
            Self::BadRequest(_) => "bad_request",
            Self::NoModel(_) => "no_model",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyBudget => "body_budget_exhausted",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::HeadTooLarge => "head_too_large",
            Self::MalformedHead(_) => "malformed_head",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamBroken => "upstream_broken",
            Self::LedgerFull => "ledger_full",
            Self::Internal => "internal",
            Self::CountTokens => "count_tokens_not_supported",
            Self::GenerationNotFound(_) => "generation_not_found",
            Self::JobNotFound => "job_not_found",
            Self::JobKeyUnwell => "job_key_unavailable",
        }
    }

    /// A sentence for people.
    pub fn message(&self) -> Cow<'static, str> {
        let fixed = match self {
            Self::NoKey { reason, until, tried, .. } => return no_key(*reason, *until, *tried).into(),
            Self::Unbounded(why) => {
                return format!(
                    "every key that could serve this has a limit on money, and this request's cost has none: {why}"
                )
                .into();
            }
            Self::TooDear { asked, affordable } => return too_dear(*asked, *affordable).into(),
            Self::Route(why) => return route(*why),
            Self::BadRequest(bad) => return bad.to_string().into(),
            Self::NoModel(none) => return format!("{none}: name one in model").into(),
            Self::BodyTooLarge { max } => {
                return format!("the request body is larger than {max} bytes (setting proxy.body_max_bytes)").into();
            }
            Self::MalformedHead(what) => return format!("malformed request: {what}").into(),
            Self::GenerationNotFound(id) => return format!("Generation {} not found", id.as_str()).into(),
            Self::ClientKey => {
                "a valid client key of this pool is needed, as Authorization: Bearer or x-api-key: ask its operator for one"
            }
            Self::Guessing { .. } => "too many wrong keys from this address: wait a little",
            Self::ClientModel => {
                "this client key may not be used for this model, or for one of the fallbacks: choose another"
            }
            Self::ClientShort { of, user, affordable, .. } => return client::message(*of, *user, *affordable).into(),
            Self::ClientUnbounded(why) => {
                return format!("this client key has a budget, and this request's cost has no bound: {why}").into();
            }
            Self::TooManyUsers { most } => {
                return format!("this client key has named {most} users, which is as many as it may").into();
            }
            Self::QueueFull(Full::Client) => {
                "as many requests of this client are waiting as may: try again in a moment"
            }
            Self::QueueFull(Full::Line) => "as many requests are waiting as may: try again in a moment",
            Self::TokenAsk(what) => what,
            Self::OutOfAttempts => "the keys that were tried could not serve this request: try again",
            Self::BodyBudget => "too many large requests at once: try again in a moment",
            Self::BodyTooSlow => "the request body came too slowly",
            Self::BodyBroken => "the request body ended early or is framed wrongly",
            Self::HeadTooLarge => "the request's headers are too large",
            Self::UpstreamUnreachable => "OpenRouter cannot be reached: try again in a moment",
            Self::UpstreamTimeout => "OpenRouter did not answer in time",
            Self::UpstreamBroken => "OpenRouter's answer broke off or was not understood",
            Self::LedgerFull => "the ledger is behind, so the cost could not be booked: try again in a moment",
            Self::Internal => "an internal fault of potluck; its log says more",
            Self::CountTokens => "OpenRouter does not count tokens: estimate them, or read usage from an answer",
            Self::JobNotFound => "no such video job was started through this potluck",
            Self::JobKeyUnwell => "the key that started this job cannot ask about it just now: try again later",
        };
        fixed.into()
    }

    /// Seconds after which another try makes sense, where that is known; at least 1.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::NoKey { reason: NoKey::AllBusy, .. } => Some(BUSY_RETRY_S),
            Self::NoKey { until, now, .. } => {
                until.map(|until| until.since(*now).as_millis().div_ceil(1000).max(1) as u64)
            }
            Self::BodyBudget | Self::LedgerFull | Self::QueueFull(_) => Some(BUSY_RETRY_S),
            Self::ClientShort { of, now, .. } => client::retry_after_s(*of, *now),
            Self::ClientUnbounded(why) if why.is_passing() => Some(UPSTREAM_RETRY_S),
            Self::Guessing { retry_after_s } => Some(*retry_after_s),
            Self::UpstreamUnreachable => Some(UPSTREAM_RETRY_S),
            Self::Unbounded(why) if why.is_passing() => Some(UPSTREAM_RETRY_S),
            _ => None,
        }
    }

    /// `X-RateLimit-*`, where a rate is the reason.
    pub const fn rate(&self) -> Option<RateLimit> {
        match self {
            Self::ClientShort { of: Shortage::Requests(dry) | Shortage::Tokens(dry), .. } => {
                Some(RateLimit { limit: dry.per_minute, remaining: dry.left, reset: dry.until })
            }
            _ => None,
        }
    }

    /// `Allow`, for a method that is not.
    pub const fn allow(&self) -> Option<&'static str> {
        match self {
            Self::Route(RouteRefusal::Method { allow }) => Some(allow),
            _ => None,
        }
    }
}

fn no_key(reason: NoKey, until: Option<Timestamp>, tried: u16) -> String {
    let what = match reason {
        NoKey::NoneAdded => "the pool has no keys yet: donate one with POST /keys/openrouter on the admin address",
        NoKey::AllDepleted => "every key of the pool is out of credit: top one up or donate another",
        NoKey::AllLimited => "every key of the pool is limited or resting",
        NoKey::AllFailed => "OpenRouter accepts none of the pool's keys: donate a working one",
        NoKey::Mixed => "no key of the pool can serve now: some are out of credit, the others limited or resting",
        NoKey::NoneLeft if tried == 0 => "no key of the pool may use this model",
        NoKey::NoneLeft => "no key of the pool could serve this request: a smaller one, or another model, may pass",
        NoKey::AllBusy => {
            "every key that could serve this has as much under way as its donor allows: try again in a moment"
        }
        NoKey::TooDear { .. } => "this request may cost more than the limits of any key leave: ask for fewer tokens",
        NoKey::Unbounded => {
            "nobody can say what this request may cost, and every key that is left has a limit on money"
        }
        NoKey::ModelNotAllowed => "no donor allows this model: choose another one",
    };
    match until {
        Some(until) => format!("{what}; the first is due back at {until}"),
        None => what.to_owned(),
    }
}

/// In OpenRouter's own words, which clients know how to read.
fn too_dear(asked: Option<u64>, affordable: Option<u64>) -> String {
    let asked = asked.map_or_else(String::new, |asked| format!(" You requested up to {asked} tokens, but"));
    match affordable {
        None => "This request requires more credits than the limits of any key in this pool leave.".to_owned(),
        Some(0) => {
            "This request requires more credits than the limits of any key in this pool leave, whatever max_tokens is: \
             send less, or choose a cheaper model."
                .to_owned()
        }
        Some(tokens) => {
            let asked = if asked.is_empty() { " You".to_owned() } else { asked };
            format!("This request requires more credits, or fewer max_tokens.{asked} can only afford {tokens}.")
        }
    }
}

fn route(why: RouteRefusal) -> Cow<'static, str> {
    match why {
        RouteRefusal::NotFound => {
            "no such path here: the API is under /api/v1 (or /v1), for Anthropic clients the base URL ends in /api"
                .into()
        }
        RouteRefusal::Blocked(family) => format!("not available through a shared pool: {}", family.reason()).into(),
        RouteRefusal::Method { allow } => format!("this path takes {allow}").into(),
        RouteRefusal::Query(name) => format!("the query parameter {name} is missing, doubled or malformed").into(),
        RouteRefusal::Batches => {
            "batches are not supported, as their cost cannot be booked request by request: send single requests".into()
        }
    }
}
