//! A refusal in the shape of errors that the called endpoint has.

use serde_json::{Value, json};

use crate::clock::Timestamp;

use super::super::{Dialect, RouteRefusal};
use super::{Refusal, client};

/// What `X-RateLimit-*` say, as OpenRouter's do (`openrouter-api.md` 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// `X-RateLimit-Limit`: so much a minute.
    pub limit: u32,
    /// `X-RateLimit-Remaining`: what is left just now.
    pub remaining: u64,
    /// `X-RateLimit-Reset`: when there is enough for this request, in milliseconds since 1970.
    pub reset: Timestamp,
}

/// A refusal as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedRefusal {
    /// Status code.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
    /// `Allow`, with a 405.
    pub allow: Option<&'static str>,
    /// `X-RateLimit-*`, with a 429 for a rate.
    pub rate: Option<RateLimit>,
    /// JSON.
    pub body: Vec<u8>,
}

/// The refusal in the dialect of the endpoint that was called.
pub fn render(refusal: &Refusal, dialect: Dialect) -> RenderedRefusal {
    let body = match dialect {
        Dialect::Chat => chat(refusal),
        Dialect::Responses => {
            json!({"error": {"code": refusal.code(), "message": refusal.message()}, "metadata": null})
        }
        Dialect::Messages => json!({
            "type": "error",
            "error": {"type": anthropic_type(refusal.status()), "message": refusal.message(), "code": refusal.code()},
            "request_id": null,
        }),
    };
    RenderedRefusal {
        status: refusal.status(),
        retry_after_s: refusal.retry_after_s(),
        allow: refusal.allow(),
        rate: refusal.rate(),
        body: body.to_string().into_bytes(),
    }
}

fn chat(refusal: &Refusal) -> Value {
    // Clients wait for this one in OpenRouter's own words.
    if matches!(refusal, Refusal::GenerationNotFound(_)) {
        return json!({"error": {"message": refusal.message(), "code": refusal.status()}});
    }
    let payment = match refusal {
        Refusal::TooDear { asked, affordable } => Some(json!({
            "error_type": "payment_required",
            "reason": refusal.code(),
            "requested_tokens": asked,
            "affordable_tokens": affordable,
        })),
        Refusal::ClientShort { of, affordable, .. } if refusal.status() == 402 => Some(json!({
            "error_type": "payment_required",
            "reason": refusal.code(),
            "affordable_tokens": affordable,
            "reset_at": client::reset(*of).map(|at| at.to_string()),
        })),
        _ => None,
    };
    if let Some(metadata) = payment {
        return json!({"error": {"message": refusal.message(), "code": refusal.status(), "metadata": metadata}});
    }
    let kind = match refusal.status() {
        404 => "not_found_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    let param = match refusal {
        Refusal::BadRequest(bad) => Value::from(&*bad.field),
        Refusal::Route(RouteRefusal::Query(name)) => Value::from(*name),
        _ => Value::Null,
    };
    json!({"error": {"message": refusal.message(), "type": kind, "code": refusal.code(), "param": param}})
}

/// Anthropic's name for errors of a status.
pub(in super::super) const fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        408 | 504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}
