//! Who is to blame for a refusal, and what follows (`openrouter-api.md` 5.2 to 5.4).
//!
//! A verdict rests on parsed fields alone: the status, `error.code`, `limit_source`, `reason`, `error_type`, and how
//! `error.message` *begins*. Nothing is ever searched for a word, since clients and providers write parts of error
//! bodies: a prompt that says "Key limit exceeded" must not empty the pool. What is in no row of the table blames nobody.
//!
//! Whether another key is tried follows two rules. The client never sees a key's trouble, so refusals of the key and of
//! the account are tried elsewhere; and nothing is paid for twice, so once a provider has been asked
//! (`X-Generation-Id`), only refusals in the words of the table are: those come before or instead of a generation.

mod access;
mod caps;
mod credit;
mod rate;
mod reason;
#[cfg(test)]
mod tests;
mod times;

pub use reason::Reason;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::pool::{Effect, Lane};

use super::envelope::{self, ErrorBody, ErrorFields};
use super::{Dialect, ErrorCode, InsideError};

/// A refusal as it arrived, and what matters of the request it answers.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<&'a str>,
    /// The `X-RateLimit-Reset` header: milliseconds since the epoch.
    pub rate_limit_reset: Option<&'a str>,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// `X-Generation-Id` is there: the request got as far as a provider.
    pub generation: bool,
    /// The body, at most 64 KiB of it. A body that was cut off counts as unreadable.
    pub body: &'a [u8],
    /// The dialect of the endpoint called. Does not sway the verdict: a body's envelope is told by its fields, as
    /// endpoints have been seen to answer in another one's.
    pub dialect: Dialect,
    /// The request restricted the choice of providers, so finding none may be its own doing.
    pub restricted: bool,
    /// The allowance the request drew on. Does not sway the verdict: a limit of free requests says so itself.
    pub lane: Lane,
    /// The model asked for.
    pub model: Option<&'a str>,
}

/// What follows from a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why OpenRouter refused.
    pub reason: Reason,
    /// What it does to the key and its account.
    pub effect: Effect,
    /// What becomes of the request.
    pub next: Next,
}

/// What becomes of a request after a refusal, while nothing has been sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The client gets the refusal: it is about the request, or nothing helps.
    Pass,
    /// Try another key, perhaps of the same account.
    AnotherKey,
    /// Try a key of another account.
    AnotherAccount,
    /// Try a key of another account. The effect lets this one rest, and when that is over it may be tried again.
    AnotherMeanwhile,
    /// Try a key of another account, but at most once per request: it may be the request's fault.
    AnotherAccountOnce,
}

impl Verdict {
    const fn new(reason: Reason, effect: Effect, next: Next) -> Self {
        Self { reason, effect, next }
    }

    /// Nobody's fault here: the client gets the refusal.
    const fn pass(reason: Reason) -> Self {
        Self::new(reason, Effect::None, Next::Pass)
    }
}

/// Judge a refusal that arrived at `now`.
pub fn judge(answer: &Answer<'_>, now: Timestamp) -> Verdict {
    let status = answer.status;
    if status < 400 {
        return Verdict::pass(Reason::NoRefusal);
    }
    let error = match envelope::read(answer.body, answer.content_type) {
        ErrorBody::Fields(error) => *error,
        // Behind a generation it would be a provider's page, not a word of OpenRouter's own edge.
        ErrorBody::Edge if matches!(status, 403 | 429) && !answer.generation => return edge(answer.retry_after),
        ErrorBody::Edge | ErrorBody::Unreadable => return unread(status, answer.generation),
    };
    decide(&Case {
        status,
        error,
        retry_after: answer.retry_after,
        rate_limit_reset: answer.rate_limit_reset,
        reached: answer.generation,
        restricted: answer.restricted,
        model: answer.model,
        now,
    })
}

/// Judge an error reported inside a 200, at `now`; `next` is what would be right had nothing been sent yet.
///
/// The rules are the same, but a provider has been asked: an unknown text is most likely its own, and blames nobody.
pub fn judge_inside(error: &InsideError, model: Option<&str>, now: Timestamp) -> Verdict {
    let text = |text: &Option<Box<str>>| text.as_deref().map(|text| text.to_owned().into());
    decide(&Case {
        status: inside_status(error),
        error: ErrorFields {
            code: error.code.clone(),
            message: (*error.message).into(),
            kind: text(&error.kind),
            error_type: text(&error.error_type),
            limit_source: text(&error.limit_source),
            reason: text(&error.reason),
            ..ErrorFields::default()
        },
        retry_after: None,
        rate_limit_reset: None,
        reached: true,
        // Not known here, so finding no provider counts as the request's own doing.
        restricted: true,
        model,
        now,
    })
}

/// Whether a refusal is in OpenRouter's own words: an error in one of its envelopes, and not a page of its edge or nothing.
pub fn is_openrouters(body: &[u8], content_type: Option<&str>) -> bool {
    matches!(envelope::read(body, content_type), ErrorBody::Fields(_))
}

/// Whether an error's message is about the key's or the account's money, by the beginnings that the rules know.
pub(super) fn tells_of_account(message: &str) -> bool {
    credit::is_about_money(message) || caps::is_about_cap(message)
}

/// All that a verdict may rest on.
struct Case<'a> {
    status: u16,
    error: ErrorFields<'a>,
    retry_after: Option<&'a str>,
    rate_limit_reset: Option<&'a str>,
    /// A provider has been asked.
    reached: bool,
    restricted: bool,
    model: Option<&'a str>,
    now: Timestamp,
}

impl Case<'_> {
    fn message_begins(&self, prefix: &str) -> bool {
        self.error.message.starts_with(prefix)
    }

    fn limit_source(&self) -> &str {
        self.error.limit_source.as_deref().unwrap_or_default()
    }

    fn reason(&self) -> &str {
        self.error.reason.as_deref().unwrap_or_default()
    }

    fn error_type(&self) -> &str {
        self.error.error_type.as_deref().unwrap_or_default()
    }

    /// Whether this is a provider's refusal that OpenRouter passes on.
    fn is_provider_error(&self) -> bool {
        self.message_begins("Provider returned error")
    }

    /// `error.code` is another status: then neither is to be relied on.
    fn contradicts_itself(&self) -> bool {
        let code = match self.error.code {
            Some(ErrorCode::Status(code)) => Some(code),
            _ => None,
        };
        code.is_some_and(|code| (400..600).contains(&code) && code != self.status)
    }

    /// The author of the model asked for, in the form of the pool's exclusions (`author/`).
    fn author(&self) -> Option<&str> {
        let model = self.model.filter(|model| model.len() <= MODEL_MAX_BYTES)?;
        model.find('/').and_then(|slash| model.get(..=slash))
    }

    /// The model asked for.
    fn model(&self) -> Option<&str> {
        self.model.filter(|model| model.len() <= MODEL_MAX_BYTES)
    }
}

/// Longer names are no model's, and are not remembered.
const MODEL_MAX_BYTES: usize = 256;

fn decide(case: &Case<'_>) -> Verdict {
    if case.error.validation {
        return Verdict::pass(Reason::RequestInvalid);
    }
    if !matches!(case.status, 401..=404 | 429) {
        return by_status(case.status);
    }
    if case.contradicts_itself() {
        let next = if case.status == 401 || case.status == 402 { elsewhere(case.reached) } else { Next::Pass };
        return Verdict::new(Reason::Contradictory, Effect::None, next);
    }
    match case.status {
        401 => access::unauthorized(case),
        402 => credit::payment(case),
        403 => access::forbidden(case),
        404 => access::not_found(case),
        _ => rate::limited(case),
    }
}

/// What the status alone says: never more than that the client gets the answer.
const fn by_status(status: u16) -> Verdict {
    Verdict::pass(match status {
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        408 | 504 | 524 => Reason::Timeout,
        429 => Reason::RateLimited,
        400..=499 => Reason::RequestInvalid,
        502 | 529 => Reason::ProviderError,
        503 => Reason::Unavailable,
        _ => Reason::ServerError,
    })
}

/// A refusal without an error in it. 401 and 402 are never a client's to see, as it sent no key and owes nothing.
const fn unread(status: u16, reached: bool) -> Verdict {
    match status {
        401 | 402 => Verdict::new(Reason::Unreadable, Effect::None, elsewhere(reached)),
        _ => by_status(status),
    }
}

/// Where a request goes whose refusal is about some key, but in words we do not know.
///
/// Not to another *account*: keys of the same one would be left out that may well serve, and the price of asking one in
/// vain is a round trip. Nowhere once a provider has been asked, as that may have cost something.
const fn elsewhere(reached: bool) -> Next {
    if reached { Next::Pass } else { Next::AnotherKey }
}

fn edge(retry_after: Option<&str>) -> Verdict {
    let rest: Duration = times::edge_rest(retry_after);
    Verdict::new(Reason::EdgeBlocked, Effect::EveryoneRests { rest }, Next::Pass)
}

/// A provider's refusal, which OpenRouter passes on: its own affair, unless it was the donor's provider key.
fn provider_error(case: &Case<'_>) -> Verdict {
    if !case.error.is_byok {
        let reason = if case.status == 429 { Reason::ProviderLimited } else { Reason::ProviderError };
        return Verdict::pass(reason);
    }
    // The provider turned the request away at its door, so nothing was generated or billed.
    let effect = case
        .author()
        .map_or(Effect::None, |author| Effect::AccountRests { what: author.into(), rest: times::own_key_rest(case) });
    Verdict::new(Reason::OwnProviderKey, effect, Next::AnotherAccountOnce)
}

/// The status that an error inside a 200 would have had.
fn inside_status(error: &InsideError) -> u16 {
    let named = match &error.code {
        Some(ErrorCode::Status(status)) => return *status,
        Some(ErrorCode::Name(name)) => Some(name),
        None => None,
    };
    // `/responses` folds many causes into one code, so that the other names come first.
    let names = [error.error_type.as_ref(), error.kind.as_ref(), named];
    names.into_iter().flatten().next().map_or(500, |name| status_named(name))
}

/// The status of an error by OpenRouter's vocabulary (`openrouter-api.md` 5.1) or by Anthropic's.
fn status_named(name: &str) -> u16 {
    match name {
        "authentication" | "authentication_error" => 401,
        "payment_required" | "billing_error" => 402,
        "permission_denied" | "permission_error" | "content_policy_violation" | "refusal" => 403,
        "not_found" | "not_found_error" => 404,
        "rate_limit_exceeded" | "rate_limit_error" => 429,
        "server" | "server_error" | "unmapped" | "api_error" | "error" => 500,
        "provider_unavailable" => 502,
        "provider_overloaded" | "overloaded_error" => 503,
        "timeout" | "timeout_error" => 504,
        _ => 400,
    }
}
