//! Reads an error body of OpenRouter, in whichever of its envelopes it came (`openrouter-api.md` 5.1).
//!
//! Only the fields that blame decides on are kept. Each is read by itself: one of the wrong type counts as absent and
//! spoils nothing else. What a client or a provider can write into (`flagged_input`, most of `raw`, `previous_errors`)
//! is not kept at all, so that no rule can come to depend on it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ErrorCode;

/// The fields of an error that decide whose fault it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorFields<'a> {
    /// `error.code`.
    pub code: Option<ErrorCode>,
    /// `error.message`; empty where there is none.
    pub message: Cow<'a, str>,
    /// `error.type`: Anthropic's name for it.
    pub kind: Option<Cow<'a, str>>,
    /// OpenRouter's name for it: in `metadata` (chat), in `error` (messages) or at the root (responses).
    pub error_type: Option<Cow<'a, str>>,
    /// `metadata.limit_source`.
    pub limit_source: Option<Cow<'a, str>>,
    /// `metadata.reason`.
    pub reason: Option<Cow<'a, str>>,
    /// `metadata.resets_at`: a time or a number, as text.
    pub resets_at: Option<Cow<'a, str>>,
    /// `metadata.headers["Retry-After"]`, or else `metadata.retry_after_seconds`, as text.
    pub retry_after: Option<Cow<'a, str>>,
    /// `metadata.headers["X-RateLimit-Reset"]`, as text.
    pub rate_limit_reset: Option<Cow<'a, str>>,
    /// `metadata.is_byok` is `true`.
    pub is_byok: bool,
    /// A moderator's findings are there: `metadata.flagged_input` or `metadata.reasons`.
    pub moderated: bool,
    /// `error.availability.code`.
    pub availability: Option<Cow<'a, str>>,
    /// The `error.code` of the provider's own answer, where `metadata.raw` is one in JSON.
    pub provider_code: Option<Cow<'a, str>>,
    /// The list of a validator's complaints (`ZodError`).
    pub validation: bool,
}

/// What a refusal's body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ErrorBody<'a> {
    /// An error object, in one of the envelopes.
    Fields(Box<ErrorFields<'a>>),
    /// A page or a block notice of the edge (Cloudflare) or of the web site: not the API's word.
    Edge,
    /// Nothing, or nothing we understand.
    Unreadable,
}

type Raw<'a> = Option<&'a RawValue>;

#[derive(Deserialize)]
struct Root<'a> {
    #[serde(borrow)]
    error: Raw<'a>,
    #[serde(borrow)]
    metadata: Raw<'a>,
    #[serde(borrow)]
    error_type: Raw<'a>,
    #[serde(borrow)]
    cloudflare_error: Raw<'a>,
}

#[derive(Deserialize, Default)]
struct ErrorObject<'a> {
    #[serde(borrow)]
    code: Raw<'a>,
    #[serde(borrow)]
    message: Raw<'a>,
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    error_type: Raw<'a>,
    #[serde(borrow)]
    metadata: Raw<'a>,
    #[serde(borrow)]
    availability: Raw<'a>,
    #[serde(borrow)]
    name: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

#[derive(Deserialize, Default)]
struct Metadata<'a> {
    #[serde(borrow)]
    limit_source: Raw<'a>,
    #[serde(borrow)]
    reason: Raw<'a>,
    #[serde(borrow)]
    error_type: Raw<'a>,
    #[serde(borrow)]
    resets_at: Raw<'a>,
    #[serde(borrow)]
    retry_after_seconds: Raw<'a>,
    #[serde(borrow)]
    headers: Raw<'a>,
    #[serde(borrow)]
    is_byok: Raw<'a>,
    #[serde(borrow)]
    reasons: Raw<'a>,
    #[serde(borrow)]
    flagged_input: Raw<'a>,
    #[serde(borrow)]
    raw: Raw<'a>,
}

#[derive(Deserialize, Default)]
struct Headers<'a> {
    #[serde(borrow, rename = "Retry-After", alias = "retry-after")]
    retry_after: Raw<'a>,
    #[serde(borrow, rename = "X-RateLimit-Reset", alias = "x-ratelimit-reset")]
    rate_limit_reset: Raw<'a>,
}

#[derive(Deserialize, Default)]
struct Availability<'a> {
    #[serde(borrow)]
    code: Raw<'a>,
}

/// A provider's own answer inside `metadata.raw`.
#[derive(Deserialize)]
struct ProviderAnswer {
    error: ProviderError,
}

#[derive(Deserialize)]
struct ProviderError {
    code: String,
}

/// What Cloudflare writes instead of a page to those who do not take HTML, before its own number of the error.
const EDGE_NOTICE: &[u8] = b"error code: 1";
/// `error.name` of a failed validation.
const ZOD: &str = "ZodError";

/// Read a refusal's body. Leading whitespace is padding (`openrouter-api.md` 4.1).
pub(super) fn read<'a>(body: &'a [u8], content_type: Option<&str>) -> ErrorBody<'a> {
    let body = body.trim_ascii();
    if let Ok(root) = serde_json::from_slice::<Root<'_>>(body) {
        return if is_true(root.cloudflare_error) { ErrorBody::Edge } else { of_root(&root) };
    }
    let html = content_type.is_some_and(|kind| starts_with_ignoring_case(kind.trim_start().as_bytes(), b"text/html"));
    if is_page(body) || html || body.starts_with(EDGE_NOTICE) {
        return ErrorBody::Edge;
    }
    ErrorBody::Unreadable
}

/// Whether this is markup: nothing that JSON can begin with.
pub(super) fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn of_root<'a>(root: &Root<'a>) -> ErrorBody<'a> {
    let Some(mut object) = object::<ErrorObject<'_>>(root.error) else { return ErrorBody::Unreadable };
    // The nested envelope: the outer object has nothing to say but the code.
    if object.message.is_none()
        && let Some(inner) = self::object(object.error)
    {
        object = inner;
    }
    let metadata: Metadata<'_> =
        self::object(object.metadata).or_else(|| self::object(root.metadata)).unwrap_or_default();
    let mut fields = of_metadata(&metadata);
    fields.code = object.code.and_then(code);
    fields.message = text(object.message).unwrap_or_default();
    fields.kind = text(object.kind);
    fields.error_type = fields.error_type.or_else(|| text(object.error_type)).or_else(|| text(root.error_type));
    fields.availability = self::object::<Availability<'_>>(object.availability).and_then(|told| text(told.code));
    fields.validation = text(object.name).is_some_and(|name| name == ZOD);
    ErrorBody::Fields(Box::new(fields))
}

fn of_metadata<'a>(metadata: &Metadata<'a>) -> ErrorFields<'a> {
    let headers: Headers<'_> = object(metadata.headers).unwrap_or_default();
    ErrorFields {
        error_type: text(metadata.error_type),
        limit_source: text(metadata.limit_source),
        reason: text(metadata.reason),
        resets_at: scalar(metadata.resets_at),
        retry_after: scalar(headers.retry_after).or_else(|| scalar(metadata.retry_after_seconds)),
        rate_limit_reset: scalar(headers.rate_limit_reset),
        is_byok: is_true(metadata.is_byok),
        moderated: [metadata.flagged_input, metadata.reasons].into_iter().flatten().any(|raw| raw.get() != "null"),
        provider_code: text(metadata.raw).and_then(|raw| provider_code(&raw)).map(Cow::Owned),
        ..ErrorFields::default()
    }
}

fn provider_code(raw: &str) -> Option<String> {
    // Most of these are no JSON at all: do not even begin.
    let answer = raw.trim_start().starts_with('{').then_some(raw)?;
    serde_json::from_str::<ProviderAnswer>(answer).ok().map(|answer| answer.error.code)
}

/// The object in `raw`, with whatever members it has; `None` when it is no object.
fn object<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Option<T> {
    // A sequence would be taken for a struct's members in order.
    raw.filter(|raw| raw.get().starts_with('{')).and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    raw.filter(|raw| raw.get().starts_with('"')).and_then(|raw| {
        let Text(text) = serde_json::from_str(raw.get()).ok()?;
        Some(text)
    })
}

/// A text or a number, as text.
fn scalar(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    text(raw).or_else(|| {
        let number = raw?.get();
        number.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then_some(Cow::Borrowed(number))
    })
}

fn is_true(raw: Raw<'_>) -> bool {
    raw.is_some_and(|raw| raw.get() == "true")
}

/// A number, or a text that is one, is meant as an HTTP status; any other text is a name.
fn code(raw: &RawValue) -> Option<ErrorCode> {
    let said = scalar(Some(raw))?;
    if let Ok(status) = said.parse() {
        return Some(ErrorCode::Status(status));
    }
    raw.get().starts_with('"').then(|| ErrorCode::Name(said.into()))
}
