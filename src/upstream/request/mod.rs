//! What potluck must know of a request before choosing a key for it. The body itself is forwarded as it came.

mod body;
mod clamp;
mod extras;
mod fault;
mod form;
mod growth;
mod history;
mod media;
mod policy;
mod skeleton;
mod spending;
#[cfg(test)]
mod tests;

pub use clamp::clamp_max_tokens;
pub use fault::{BadRequest, BodyFault, FIELD_MAX_BYTES};
pub use spending::Spending;
pub(crate) use spending::{Facts, Files, Search};

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::value::RawValue;

use crate::pool::{Conversation, Lane};

use super::Endpoint;
use body::{Body, Fallback, opening};
pub(crate) use body::{Key, Members, list, members, string};
use skeleton::{Skeleton, skeleton};

/// The facts of a request that decide about its key and its handling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model asked for.
    pub model: Option<Box<str>>,
    /// The models it may end up with otherwise (`models`).
    pub fallbacks: Vec<Box<str>>,
    /// [`Lane::Free`] only if the model and every fallback is free.
    pub lane: Lane,
    /// The client asked for an event stream.
    pub stream: bool,
    /// The conversation the request belongs to, where there is one.
    pub conversation: Option<Conversation>,
    /// The request narrows the choice of providers, so finding none may be its own doing.
    pub provider_restricted: bool,
}

impl RequestFacts {
    /// A body that cannot be read: an upload, or compressed.
    const UNKNOWN: Self = Self {
        model: None,
        fallbacks: Vec::new(),
        lane: Lane::Paid,
        stream: false,
        conversation: None,
        provider_restricted: false,
    };
}

/// Read the facts of a request to `endpoint`, and refuse what may not go upstream.
///
/// `salt` goes into conversation hashes: per instance, or per client where clients are known. Bodies that are no JSON
/// by their headers pass: an upload with its model where that can be read, a compressed body without facts. What is JSON all
/// the same is read as such, whatever the headers say.
///
/// # Errors
/// [`BadRequest`] names the field and the reason. Nothing has been sent anywhere.
pub fn read_request(
    endpoint: Endpoint,
    body: &[u8],
    headers: &HeaderMap,
    salt: u64,
) -> Result<RequestFacts, BadRequest> {
    let skeleton = skeleton(body);
    match fields(endpoint, body, &skeleton, headers)? {
        Some(fields) => facts(endpoint, &fields, &skeleton, headers, salt),
        None => upload(body, headers),
    }
}

/// [`read_request`] and [`Spending::read`] in one: most of either is taking the body apart.
///
/// # Errors
/// Those of [`read_request`].
pub fn read_request_and_spending(
    endpoint: Endpoint,
    body: &[u8],
    headers: &HeaderMap,
    salt: u64,
) -> Result<(RequestFacts, Spending), BadRequest> {
    let skeleton = skeleton(body);
    match fields(endpoint, body, &skeleton, headers)? {
        Some(fields) => {
            let facts = facts(endpoint, &fields, &skeleton, headers, salt)?;
            Ok((facts, Spending::of(endpoint, headers, body, &skeleton, &fields)))
        }
        None => Ok((upload(body, headers)?, Spending::read(endpoint, headers, body))),
    }
}

/// The fields of a body; `None` of one that is no JSON and need not be.
fn fields<'s>(
    endpoint: Endpoint,
    whole: &[u8],
    skeleton: &'s Skeleton<'_>,
    headers: &HeaderMap,
) -> Result<Option<Body<'s>>, BadRequest> {
    match Body::read(&skeleton.text) {
        Ok(fields) => Ok(Some(fields)),
        // What begins like an object is never taken for an upload: some readers forgive more than ours.
        Err(_) if opening(&skeleton.text) != Some(b'{') && may_be_unreadable(endpoint, headers) => Ok(None),
        // Said again of the whole body, for the place of the fault.
        Err(bad) => Err(Body::read(whole).err().unwrap_or(bad)),
    }
}

fn facts(
    endpoint: Endpoint,
    fields: &Body<'_>,
    skeleton: &Skeleton<'_>,
    headers: &HeaderMap,
    salt: u64,
) -> Result<RequestFacts, BadRequest> {
    let (model, fallbacks) = (string(fields.model), body::fallback_models(fields));
    policy::check(endpoint, fields, model.as_deref(), &fallbacks, &skeleton.text)?;
    Ok(RequestFacts {
        lane: lane(fields, model.as_deref(), &fallbacks),
        model: model.map(|model| model.into()),
        // No donor's patterns fit a name that cannot be read.
        fallbacks: fallbacks.into_iter().map(|(_, model)| model.unwrap_or_default().into()).collect(),
        stream: fields.stream.is_some_and(|stream| stream.get() == "true"),
        conversation: history::conversation(endpoint, fields, headers, salt),
        provider_restricted: fields.provider.is_some_and(narrows),
    })
}

/// What can be known of an upload, or of a compressed body: at most its model.
fn upload(body: &[u8], headers: &HeaderMap) -> Result<RequestFacts, BadRequest> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let Some(model) = kind.and_then(|kind| form::model(body, kind)) else { return Ok(RequestFacts::UNKNOWN) };
    policy::model_name(model, "model")?;
    let lane = if is_free(model) { Lane::Free } else { Lane::Paid };
    Ok(RequestFacts { model: Some(model.into()), lane, ..RequestFacts::UNKNOWN })
}

/// Whether the headers announce something else than plain JSON.
fn may_be_unreadable(endpoint: Endpoint, headers: &HeaderMap) -> bool {
    let is = |name, test: fn(&str) -> bool| headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(test);
    let encoded = is(CONTENT_ENCODING, |coding| !coding.trim().eq_ignore_ascii_case("identity"));
    let upload = is(CONTENT_TYPE, |kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"));
    encoded || (upload && endpoint == Endpoint::Transcriptions)
}

/// Free models are limited by requests, all others by money; with a paid fallback money may be needed.
fn lane(fields: &Body<'_>, model: Option<&str>, fallbacks: &[Fallback<'_>]) -> Lane {
    let model = fields.model.is_none() || model.is_some_and(is_free);
    let rest = fallbacks.iter().all(|(_, model)| model.as_deref().is_some_and(is_free));
    let named = fields.model.is_some() || !fallbacks.is_empty();
    if named && model && rest { Lane::Free } else { Lane::Paid }
}

fn is_free(model: &str) -> bool {
    model.ends_with(":free") || model == "openrouter/free"
}

/// Whether `provider` can leave fewer providers than the model has. Orders and preferences cannot.
fn narrows(provider: &RawValue) -> bool {
    let Ok(body::Members(members)) = serde_json::from_str(provider.get()) else { return false };
    members.iter().any(|(key, value): &(_, &RawValue)| match &**key {
        "order" | "sort" => false,
        "allow_fallbacks" => value.get() == "false",
        "data_collection" => value.get() == "\"deny\"",
        key if key.starts_with("preferred_") => false,
        _ => !matches!(value.get(), "null" | "false"),
    })
}
