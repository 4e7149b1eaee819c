//! What of an error's body a client may see: of a refusal, in the dialect of the endpoint it called; of an error inside a 200
//! that comes before any content (`opening`), in its own shape (`inside`).
//!
//! Error bodies tell about the donor (`openrouter-api.md` 5.1): `user_id`, pages of key settings, budgets, whose
//! provider key it was. So the body is built anew from an allow-list of members, each text of it redacted; a member that nobody
//! knows yet cannot leak. What is kept keeps its order. What is no error in JSON becomes one, with a plain sentence.

mod form;
mod inside;
mod opening;
mod redact;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Dialect, blame, envelope};
use form::{Form, Kept};
use redact::redact;

pub use inside::{Inside, scrub_inside};
pub use opening::Opening;

/// The largest body read, in bytes, and the largest one given.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// The longest code, type or name given, in bytes.
const NAME_MAX_BYTES: usize = 128;
/// The only limit that clients are told the owner of: the provider's, for all of OpenRouter.
const SHARED_POOL: &str = "upstream_provider_shared_pool";

/// Clean the body of a refusal that goes to the client. `status` is the status it goes with.
pub fn scrub(body: &[u8], dialect: Dialect, status: u16) -> Vec<u8> {
    let kept = kept(body, status).map(|kept| kept.render(dialect, status).to_string().into_bytes());
    kept.filter(|bytes| bytes.len() <= BODY_MAX_BYTES).unwrap_or_else(|| {
        let message = unreadable(body, status);
        Kept::said(&message, status).render(dialect, status).to_string().into_bytes()
    })
}

/// What is said when nothing can be passed on.
fn unreadable(body: &[u8], status: u16) -> String {
    if body.trim_ascii().is_empty() {
        format!("OpenRouter answered with status {status} and no explanation")
    } else if envelope::is_page(body) {
        format!("OpenRouter's edge answered with a web page (status {status})")
    } else {
        format!("OpenRouter answered with status {status} and a body that is no readable error")
    }
}

/// The cleaned error of a body, or `None` when there is none to read.
fn kept(body: &[u8], status: u16) -> Option<Kept> {
    let body = body.trim_ascii();
    if body.len() > BODY_MAX_BYTES {
        return None;
    }
    let Ok(Value::Object(root)) = serde_json::from_slice(body) else { return None };
    let mut error = root.get("error")?.as_object()?;
    // The nested envelope: the outer object has nothing to say but the code.
    if !error.contains_key("message")
        && let Some(inner) = error.get("error").and_then(Value::as_object)
    {
        error = inner;
    }
    Some(Kept {
        form: Form::of(&root, error),
        error: clean_error(error, status),
        metadata: root.get("metadata").and_then(Value::as_object).map(clean_metadata),
        error_type: root.get("error_type").and_then(name).map(Value::from),
        request_id: root.get("request_id").and_then(name).map_or(Value::Null, Value::from),
    })
}

fn clean_error(error: &Map<String, Value>, status: u16) -> Map<String, Value> {
    let keep = |(key, value): (&String, &Value)| {
        let value = match &**key {
            "message" => message(value.as_str()?).into(),
            "code" if value.is_u64() => value.clone(),
            "param" if value.is_null() => Value::Null,
            "code" | "type" | "param" | "error_type" | "name" => name(value)?.into(),
            "metadata" => Value::Object(clean_metadata(value.as_object()?)),
            "availability" => Value::Object(clean_availability(value.as_object()?)),
            _ => return None,
        };
        Some((key.clone(), value))
    };
    let mut kept: Map<String, Value> = error.iter().filter_map(keep).collect();
    if !kept.contains_key("message") {
        kept.insert("message".to_owned(), unreadable(b"", status).into());
    }
    kept
}

/// A text about some key's money is nobody's but the donor's, even if it came this far.
fn message(text: &str) -> Cow<'_, str> {
    if blame::tells_of_account(text) {
        "OpenRouter would not serve this request with the key used".into()
    } else {
        redact(text)
    }
}

fn clean_metadata(metadata: &Map<String, Value>) -> Map<String, Value> {
    let keep = |(key, value): (&String, &Value)| {
        let value = match &**key {
            "provider_name" | "flagged_input" | "model_slug" | "error_type" | "failed_routing_step" => redacted(value)?,
            "raw" => raw(value)?,
            "reasons" | "patterns" | "available_providers" | "requested_providers" => list(value)?,
            "retry_after_seconds" if value.is_number() => value.clone(),
            "headers" => retry_after(value)?,
            "limit_source" if value == SHARED_POOL => value.clone(),
            _ => return None,
        };
        Some((key.clone(), value))
    };
    metadata.iter().filter_map(keep).collect()
}

fn clean_availability(availability: &Map<String, Value>) -> Map<String, Value> {
    let keep = |(key, value): (&String, &Value)| {
        let value = match &**key {
            "code" => name(value)?.into(),
            "retryable" if value.is_boolean() => value.clone(),
            "retry_after" if value.is_number() => value.clone(),
            _ => return None,
        };
        Some((key.clone(), value))
    };
    availability.iter().filter_map(keep).collect()
}

/// Of the headers that metadata repeats, only when to come back; the others count the account's requests.
fn retry_after(headers: &Value) -> Option<Value> {
    let (key, value) = headers.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case("retry-after"))?;
    let value = if value.is_number() { value.clone() } else { name(value)?.into() };
    Some(json!({ (key.clone()): value }))
}

/// A provider's own answer: text, JSON inside of text, or JSON.
fn raw(value: &Value) -> Option<Value> {
    let text = match value {
        Value::Object(_) | Value::Array(_) => return Some(redact::value(value.clone())),
        other => other.as_str()?,
    };
    match serde_json::from_str(text) {
        Ok(inner @ (Value::Object(_) | Value::Array(_))) => Some(redact::value(inner).to_string().into()),
        _ => Some(redact(text).into()),
    }
}

fn redacted(value: &Value) -> Option<Value> {
    if value.is_null() { Some(Value::Null) } else { value.as_str().map(|text| redact(text).into()) }
}

fn list(value: &Value) -> Option<Value> {
    let texts = value.as_array()?.iter().filter_map(Value::as_str);
    Some(texts.map(|text| Value::from(redact(text))).collect())
}

/// A short text: a code, a type, a name.
fn name(value: &Value) -> Option<Cow<'_, str>> {
    value.as_str().filter(|text| text.len() <= NAME_MAX_BYTES).map(redact)
}
