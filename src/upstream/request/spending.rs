//! What a request may make the upstream charge for, by what it says itself. Only asked for where money is limited.
//!
//! Everything here errs to the expensive side: who writes requests must not be able to make them look cheaper than they
//! are. What `openrouter-api.md` 1.3 calls costly switches is bounded where OpenRouter's documentation gives a bound.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use memchr::memmem::Finder;
use once_cell::sync::Lazy;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::money::{Unbounded, Usd};
use crate::upstream::Endpoint;

use super::body::{Body, Members, list, opening, string};
use super::extras::{Extras, tools};
use super::growth::{ESCAPE, growth, has_escapes};
use super::media::media;
use super::skeleton::{Skeleton, skeleton};

/// Tokens that a chat template adds by itself: a default system prompt, dates, role marks beyond what the JSON around a
/// message pays for. The longest known defaults have some hundreds.
const TEMPLATE_TOKENS: u64 = 1024;
/// Tokens of a picture. The dearest known reckoning is that of gpt-4o-mini: 2833 + 8 tiles × 5667 = 48,169; the common
/// ones are below 20,000.
const IMAGE_TOKENS: u64 = 50_000;
/// OpenRouter takes three fallbacks.
const MODELS_MAX: usize = 32;
/// The least budget for reasoning, where none is given.
const REASONING_MIN_TOKENS: u64 = 1024;

/// What a request may make the upstream charge for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spending {
    /// In a box: it goes from hand to hand.
    facts: Result<Box<Facts>, Unbounded>,
}

/// What is known of a request whose cost can be bounded, given prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Every model the request allows, as it is written.
    pub(crate) models: Models,
    pub(crate) input: Input,
    /// `None`: the endpoint writes nothing.
    pub(crate) output: Option<Output>,
    pub(crate) search: Search,
    pub(crate) files: Files,
    /// A faster tier was asked for.
    pub(crate) fast: bool,
    /// The ordinary tier was asked for, whatever the model's name says.
    pub(crate) ordinary: bool,
    /// The answer is to hold more than text.
    pub(crate) media_out: bool,
}

/// Names of models: nearly always one.
type Models = SmallVec<[Box<str>; 1]>;

/// The input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    /// Tokens at most, by the body's length: a token stands for at least one byte.
    pub(crate) tokens: u64,
    pub(crate) images: u64,
    /// Something in it has as many tokens as the model can hold.
    pub(crate) whole_context: bool,
    /// How many prompts there are that may each fill a context; `None` where there may be any number.
    pub(crate) prompts: Option<u64>,
    pub(crate) audio: bool,
    pub(crate) hour_cache: bool,
}

/// The output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Tokens asked for at most.
    pub(crate) asked: Option<u64>,
    /// Tokens beyond these: reasoning, and predictions that do not come true.
    pub(crate) more: u64,
    /// How many answers.
    pub(crate) copies: u64,
    /// It is one of the labels the request gives.
    pub(crate) decides: bool,
}

/// A search of the web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    No,
    /// Once, by a named engine of OpenRouter's, for at most this.
    Engine(Usd),
    /// By the provider, or, where it has none, once by OpenRouter for at most this.
    Either(Usd),
    /// By the provider.
    Provider,
}

/// How attached files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    No,
    /// For the price of their tokens.
    AsTokens,
    /// By the model, or, where it cannot, for a fee per page.
    ModelOrScanned,
}

impl Spending {
    /// Read a request to `endpoint`. To be asked after [`read_request`](super::read_request), which refuses what has no
    /// single meaning.
    pub fn read(endpoint: Endpoint, headers: &HeaderMap, body: &[u8]) -> Self {
        let skeleton = skeleton(body);
        match Body::read(&skeleton.text) {
            Ok(fields) => Self::of(endpoint, headers, body, &skeleton, &fields),
            Err(_) => Self { facts: is_told(endpoint, headers).and(Err(Unbounded::Unreadable)) },
        }
    }

    /// The same of a body that is taken apart already.
    pub(super) fn of(
        endpoint: Endpoint,
        headers: &HeaderMap,
        whole: &[u8],
        skeleton: &Skeleton<'_>,
        fields: &Body<'_>,
    ) -> Self {
        Self { facts: is_told(endpoint, headers).and_then(|()| read(endpoint, whole, skeleton, fields)) }
    }

    /// Every model the request allows, as it is written; none when its cost cannot be bounded anyway.
    pub fn models(&self) -> &[Box<str>] {
        self.facts.as_ref().map_or(&[], |facts| &facts.models)
    }

    /// The output tokens it asks for at most, where it says so.
    pub fn asked_tokens(&self) -> Option<u64> {
        self.facts.as_ref().ok()?.output?.asked
    }

    /// What is known, or why there is no bound.
    pub(crate) fn facts(&self) -> Result<&Facts, Unbounded> {
        self.facts.as_deref().map_err(Clone::clone)
    }
}

/// Whether a body's fields tell at all what it costs.
fn is_told(endpoint: Endpoint, headers: &HeaderMap) -> Result<(), Unbounded> {
    use Endpoint::{Images, Rerank, Speech, Transcriptions, Videos};
    if matches!(endpoint, Rerank | Images | Transcriptions | Speech | Videos) {
        return Err(Unbounded::Endpoint(endpoint));
    }
    let plain = |coding: &http::HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.contains_key(CONTENT_ENCODING) && !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(Unbounded::Unreadable);
    }
    Ok(())
}

fn read(endpoint: Endpoint, whole: &[u8], skeleton: &Skeleton<'_>, body: &Body<'_>) -> Result<Box<Facts>, Unbounded> {
    let models = models(body)?;
    let extras = Extras::read(body, &models)?;
    // What is left of a body for reading has no escapes that the whole has not.
    let escaped = has_escapes(whole);
    let media = media(body, skeleton, escaped);
    let prompts = prompts(endpoint, body);
    let elsewhere = media.elsewhere || (endpoint == Endpoint::Responses && body.prompt.is_some());
    if elsewhere && prompts.is_none() {
        return Err(Unbounded::Media);
    }
    let text = (whole.len() as u64).saturating_sub(media.image_bytes);
    let tokens = text
        .saturating_add(growth(whole, escaped))
        .saturating_add(TEMPLATE_TOKENS)
        .saturating_add(tools(body)?)
        .saturating_add(media.images.saturating_mul(IMAGE_TOKENS));
    let input = Input {
        tokens,
        images: media.images,
        whole_context: elsewhere,
        prompts,
        audio: media.audio,
        hour_cache: may_cache_for_an_hour(&skeleton.text, escaped),
    };
    let files = if media.files { extras.files? } else { Files::No };
    let Extras { search, fast, ordinary, media_out, .. } = extras;
    let output = output(endpoint, body, prompts, text)?;
    Ok(Box::new(Facts { models, input, output, search, files, fast, ordinary, media_out }))
}

/// `model`, `models`, and the `fallbacks` of Anthropic's dialect.
fn models(body: &Body<'_>) -> Result<Models, Unbounded> {
    for (several, field) in [(body.models, "models"), (body.fallbacks, "fallbacks")] {
        if several.is_some_and(|several| opening(several.get().as_bytes()) != Some(b'[')) {
            return Err(Unbounded::Field(field.into()));
        }
    }
    let mut models = Models::new();
    let mut add = |name: Option<&RawValue>, field: &str| {
        let name = string(name).ok_or_else(|| Unbounded::Field(field.into()))?;
        models.push(name.into());
        Ok(())
    };
    if body.model.is_some() {
        add(body.model, "model")?;
    }
    for model in list(body.models) {
        add(Some(model), "models")?;
    }
    for fallback in list(body.fallbacks) {
        let Ok(Members(members)) = serde_json::from_str(fallback.get()) else {
            return Err(Unbounded::Field("fallbacks".into()));
        };
        for (key, value) in members {
            if key == "model" {
                add(Some(value), "fallbacks")?;
            }
        }
    }
    match models.len() {
        0 => Err(Unbounded::NoModel),
        1..=MODELS_MAX => Ok(models),
        _ => Err(Unbounded::Field("models".into())),
    }
}

/// How many prompts the request holds.
fn prompts(endpoint: Endpoint, body: &Body<'_>) -> Option<u64> {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::CursorChat | Endpoint::Responses | Endpoint::Messages => Some(1),
        // A text, a list of texts, a list of tokens, or a list of these.
        Endpoint::Completions => {
            let texts = list(body.prompt).into_iter();
            let several = texts.filter(|text| matches!(opening(text.get().as_bytes()), Some(b'"' | b'[')));
            Some((several.count() as u64).max(1))
        }
        _ => None,
    }
}

fn output(endpoint: Endpoint, body: &Body<'_>, prompts: Option<u64>, text: u64) -> Result<Option<Output>, Unbounded> {
    if endpoint == Endpoint::Embeddings {
        return Ok(None);
    }
    let copies = copies(body.n, "n")?.max(copies(body.best_of, "best_of")?);
    let predicted = if body.prediction.is_some() { text } else { 0 };
    let more = reasoning(body).saturating_add(predicted);
    let copies = copies.saturating_mul(prompts.unwrap_or(1));
    let decides = matches!(endpoint, Endpoint::Decisions | Endpoint::SystemOne);
    Ok(Some(Output { asked: asked(endpoint, body), more, copies, decides }))
}

/// The largest limit on output tokens that this endpoint heeds; `None` where it may not be heeded.
fn asked(endpoint: Endpoint, body: &Body<'_>) -> Option<u64> {
    let fields = match endpoint {
        Endpoint::ChatCompletions => [body.max_tokens, body.max_completion_tokens],
        Endpoint::CursorChat if body.messages.is_some() => [body.max_tokens, body.max_completion_tokens],
        Endpoint::Completions | Endpoint::Messages => [body.max_tokens, None],
        Endpoint::Responses | Endpoint::CursorChat => [body.max_output_tokens, None],
        _ => [None, None],
    };
    fields.into_iter().flatten().try_fold(None, |most: Option<u64>, field| Some(most.max(Some(number(field)?))))?
}

/// Tokens for reasoning: budgets come on top of what is asked for, and so does the least that providers give.
fn reasoning(body: &Body<'_>) -> u64 {
    let fields = [body.reasoning, body.thinking];
    if fields.iter().all(Option::is_none) && body.reasoning_effort.is_none() {
        return 0;
    }
    let budget = |value: &RawValue| {
        let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(value.get()) else { return 0 };
        let budgets = members.iter().filter(|(key, value)| {
            matches!(&**key, "max_tokens" | "budget_tokens" | "max_reasoning_tokens") && value.get() != "null"
        });
        // A budget that cannot be read may be any.
        budgets.map(|(_, value)| number(value).unwrap_or(u64::MAX)).max().unwrap_or(0)
    };
    fields.into_iter().flatten().map(budget).fold(REASONING_MIN_TOKENS, u64::max)
}

fn copies(value: Option<&RawValue>, field: &str) -> Result<u64, Unbounded> {
    let Some(value) = value else { return Ok(1) };
    number(value).map(|copies| copies.max(1)).ok_or_else(|| Unbounded::Field(field.into()))
}

/// A plain whole number; readers differ about every other way to write one.
fn number(value: &RawValue) -> Option<u64> {
    value.get().parse().ok().filter(|_| value.get().bytes().all(|b| b.is_ascii_digit()))
}

static HOUR: Lazy<Finder<'static>> = Lazy::new(|| Finder::new("\"1h\""));

/// Whether `"ttl":"1h"` may stand somewhere, also with escapes for its two characters.
fn may_cache_for_an_hour(text: &[u8], escaped: bool) -> bool {
    let is_one = |at: usize| matches!(text.get(at + 2..at + 5), Some(b"003" | b"006"));
    HOUR.find(text).is_some() || (escaped && ESCAPE.find_iter(text).any(is_one))
}

#[cfg(test)]
mod tests;
