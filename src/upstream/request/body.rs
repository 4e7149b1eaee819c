//! The top-level fields of a request body that matter to us, each as the JSON text it came as.
//!
//! One pass with nothing built: other fields are checked for syntax and stepped over, and no depth of nesting can exhaust
//! the stack.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fault::{BadRequest, BodyFault};

/// A body's fields of interest. `null` counts as absent: that is how the upstream reads it.
#[derive(Default)]
pub(super) struct Body<'a> {
    pub(super) model: Option<&'a RawValue>,
    pub(super) models: Option<&'a RawValue>,
    pub(super) stream: Option<&'a RawValue>,
    pub(super) messages: Option<&'a RawValue>,
    pub(super) input: Option<&'a RawValue>,
    pub(super) system: Option<&'a RawValue>,
    pub(super) instructions: Option<&'a RawValue>,
    pub(super) session_id: Option<&'a RawValue>,
    pub(super) prompt_cache_key: Option<&'a RawValue>,
    pub(super) provider: Option<&'a RawValue>,
    pub(super) tools: Option<&'a RawValue>,
    pub(super) store: Option<&'a RawValue>,
    pub(super) background: Option<&'a RawValue>,
    pub(super) previous_response_id: Option<&'a RawValue>,
    pub(super) preset: Option<&'a RawValue>,
    pub(super) callback_url: Option<&'a RawValue>,
    pub(super) container: Option<&'a RawValue>,
    pub(super) max_tokens: Option<&'a RawValue>,
    pub(super) max_completion_tokens: Option<&'a RawValue>,
    pub(super) max_output_tokens: Option<&'a RawValue>,
    pub(super) n: Option<&'a RawValue>,
    pub(super) best_of: Option<&'a RawValue>,
    pub(super) prompt: Option<&'a RawValue>,
    pub(super) prediction: Option<&'a RawValue>,
    pub(super) reasoning: Option<&'a RawValue>,
    pub(super) reasoning_effort: Option<&'a RawValue>,
    pub(super) thinking: Option<&'a RawValue>,
    pub(super) plugins: Option<&'a RawValue>,
    pub(super) service_tier: Option<&'a RawValue>,
    pub(super) speed: Option<&'a RawValue>,
    pub(super) modalities: Option<&'a RawValue>,
    pub(super) fallbacks: Option<&'a RawValue>,
    pub(super) web_search_options: Option<&'a RawValue>,
    pub(super) mcp_servers: Option<&'a RawValue>,
    pub(super) search_parameters: Option<&'a RawValue>,
    pub(super) x_search_filter: Option<&'a RawValue>,
    pub(super) context_management: Option<&'a RawValue>,
}

impl<'a> Body<'a> {
    /// Take a body apart.
    ///
    /// # Errors
    /// Not JSON, not an object, or a top-level field given twice.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, BadRequest> {
        match serde_json::from_slice::<Fields<'a>>(body) {
            Ok(Fields { body, twice: None }) => Ok(body),
            Ok(Fields { twice: Some(field), .. }) => Err(BadRequest::new(&field, BodyFault::Twice)),
            Err(error) => Err(unreadable(body, &error)),
        }
    }

    fn slot(&mut self, key: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match key {
            "model" => &mut self.model,
            "models" => &mut self.models,
            "stream" => &mut self.stream,
            "messages" => &mut self.messages,
            "input" => &mut self.input,
            "system" => &mut self.system,
            "instructions" => &mut self.instructions,
            "session_id" => &mut self.session_id,
            "prompt_cache_key" => &mut self.prompt_cache_key,
            "provider" => &mut self.provider,
            "tools" => &mut self.tools,
            "store" => &mut self.store,
            "background" => &mut self.background,
            "previous_response_id" => &mut self.previous_response_id,
            "preset" => &mut self.preset,
            "callback_url" => &mut self.callback_url,
            "container" => &mut self.container,
            "max_tokens" => &mut self.max_tokens,
            "max_completion_tokens" => &mut self.max_completion_tokens,
            "max_output_tokens" => &mut self.max_output_tokens,
            "n" => &mut self.n,
            "best_of" => &mut self.best_of,
            "prompt" => &mut self.prompt,
            "prediction" => &mut self.prediction,
            "reasoning" => &mut self.reasoning,
            "reasoning_effort" => &mut self.reasoning_effort,
            "thinking" => &mut self.thinking,
            "plugins" => &mut self.plugins,
            "service_tier" => &mut self.service_tier,
            "speed" => &mut self.speed,
            "modalities" => &mut self.modalities,
            "fallbacks" => &mut self.fallbacks,
            "web_search_options" => &mut self.web_search_options,
            "mcp_servers" => &mut self.mcp_servers,
            "search_parameters" => &mut self.search_parameters,
            "x_search_filter" => &mut self.x_search_filter,
            "context_management" => &mut self.context_management,
            _ => return None,
        })
    }
}

/// The first byte of a JSON text that is not white space.
pub(super) fn opening(text: &[u8]) -> Option<u8> {
    text.iter().copied().find(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t'))
}

struct Fields<'a> {
    body: Body<'a>,
    /// The first field found twice.
    twice: Option<Box<str>>,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields { body: Body::default(), twice: None };
        let mut seen = HashSet::new();
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            match fields.body.slot(&key) {
                Some(slot) => *slot = map.next_value::<Option<&RawValue>>()?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if fields.twice.is_none() && seen.contains(&key) {
                fields.twice = Some(key.as_ref().into());
            }
            seen.insert(key);
        }
        Ok(fields)
    }
}

/// A key or short string, borrowed from the body unless it holds escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Key<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// An object's members in order, each value as text.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &RawValue>()? {
            members.push((key, value));
        }
        Ok(Members(members))
    }
}

/// The members of a body in order, each value as the text it came as.
///
/// # Errors
/// As [`Body::read`].
pub(crate) fn members(body: &[u8]) -> Result<Vec<(Cow<'_, str>, &RawValue)>, BadRequest> {
    let Members(members) = serde_json::from_slice(body).map_err(|error| unreadable(body, &error))?;
    let mut seen = HashSet::new();
    match members.iter().find(|(key, _)| !seen.insert(&**key)) {
        Some((twice, _)) => Err(BadRequest::new(twice, BodyFault::Twice)),
        None => Ok(members),
    }
}

fn unreadable(body: &[u8], error: &serde_json::Error) -> BadRequest {
    if error.is_data() && opening(body) != Some(b'{') {
        return BadRequest::body(BodyFault::NotAnObject);
    }
    BadRequest::body(BodyFault::NotJson { line: error.line(), column: error.column() })
}

/// The decoded text of a JSON string; `None` for anything else.
pub(crate) fn string(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let json = value?.get();
    // It is JSON already, so a string without an escape is what stands between its quotes.
    if let Some(text) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && memchr::memchr(b'\\', text.as_bytes()).is_none()
    {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str::<Key<'_>>(json).ok().map(|Key(text)| text)
}

/// The elements of a JSON array; none for anything else.
pub(crate) fn list(value: Option<&RawValue>) -> Vec<&RawValue> {
    value.and_then(|v| serde_json::from_str(v.get()).ok()).unwrap_or_default()
}

/// A field, and the model it names; `None` when that cannot be read.
pub(super) type Fallback<'a> = (&'static str, Option<Cow<'a, str>>);

/// Models that may serve the request in place of `model`: those of `models`, and of `fallbacks`, Anthropic's way to say it,
/// whose elements are objects.
pub(super) fn fallback_models<'a>(body: &Body<'a>) -> Vec<Fallback<'a>> {
    let mut named: Vec<_> = list(body.models).into_iter().map(|model| ("models", string(Some(model)))).collect();
    for fallback in list(body.fallbacks) {
        match serde_json::from_str(fallback.get()) {
            Ok(Members(members)) => {
                let models = members.into_iter().filter(|(key, _)| key == "model");
                named.extend(models.map(|(_, value)| ("fallbacks", string(Some(value)))));
            }
            Err(_) => named.push(("fallbacks", string(Some(fallback)))),
        }
    }
    named
}
