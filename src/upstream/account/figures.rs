//! Reading figures and texts out of JSON without losing or inventing anything.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::money::Usd;

/// A value as it stands; `None` when missing or null.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// The shape of every good answer.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    /// What the answer is about.
    pub(super) data: T,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorData,
}

#[derive(Deserialize)]
struct ErrorData {
    code: Option<u16>,
    message: Option<String>,
}

/// The message of an error envelope whose own code is `code`.
pub(super) fn error_of(body: &[u8], code: u16) -> Option<String> {
    let error = serde_json::from_slice::<ErrorBody>(body).ok()?.error;
    (error.code == Some(code)).then(|| error.message.unwrap_or_default())
}

/// `Some(None)` when absent, `None` when present and not readable.
pub(super) fn if_present<T>(raw: Raw<'_>, read: fn(&RawValue) -> Option<T>) -> Option<Option<T>> {
    match raw {
        None => Some(None),
        Some(raw) => read(raw).map(Some),
    }
}

pub(super) fn amount(raw: &RawValue) -> Option<Usd> {
    Usd::parse(raw.get().as_bytes()).ok()
}

/// An amount that cannot be below zero.
pub(super) fn charge(raw: &RawValue) -> Option<Usd> {
    amount(raw).filter(|amount| !amount.is_negative())
}

pub(super) fn whole(raw: Raw<'_>) -> Option<u64> {
    raw.and_then(|raw| raw.get().parse().ok())
}

pub(super) fn text(raw: Raw<'_>) -> Option<String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

pub(super) fn is_true(raw: Raw<'_>) -> bool {
    raw.is_some_and(|raw| raw.get() == "true")
}

pub(super) fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}
