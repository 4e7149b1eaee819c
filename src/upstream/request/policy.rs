//! What a body must not ask for: things that lie in a donor's account, or that move its money out of our sight.
//!
//! The list follows `openrouter-api.md` 1.3. Only fields that OpenRouter would act on are looked at: arguments of the
//! client's own tools, schemas and texts may say `file_id` as they like.

use memchr::memmem::Finder;
use once_cell::sync::Lazy;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::upstream::Endpoint;

use super::body::{Body, Fallback, Members, list, opening, string};
use super::fault::{BadRequest, BodyFault};

/// OpenRouter's server tools that touch nothing of the account but its credit. A tool that is not known is not let
/// through: it may be the next one that does.
const HARMLESS_TOOLS: [&str; 9] = [
    "openrouter:web_search",
    "openrouter:web_fetch",
    "openrouter:datetime",
    "openrouter:image_generation",
    "openrouter:advisor",
    "openrouter:subagent",
    "openrouter:fusion",
    "openrouter:tool_search",
    "openrouter:experimental__search_models",
];

/// The same reach under other names: the hosted shell in OpenAI's spelling, and the vector stores of a provider
/// account, which under BYOK is the donor's own.
const ACCOUNT_TOOLS: [&str; 2] = ["shell", "file_search"];

/// A model slug as long as this is none.
const MODEL_MAX_BYTES: usize = 256;

/// How deep references are looked for. OpenRouter's schemas end long before.
const DEPTH_MAX: usize = 16;

/// Check every rule.
///
/// # Errors
/// The first rule that is broken, naming the field.
pub(super) fn check(
    endpoint: Endpoint,
    body: &Body<'_>,
    model: Option<&str>,
    fallbacks: &[Fallback<'_>],
    text: &[u8],
) -> Result<(), BadRequest> {
    let refuse = |broken: bool, field: &str, what| if broken { Err(BadRequest::new(field, what)) } else { Ok(()) };
    let on = |value: Option<&RawValue>| value.is_some_and(|v| v.get() != "false");
    refuse(on(body.store), "store", BodyFault::Stored)?;
    refuse(on(body.background), "background", BodyFault::Background)?;
    refuse(body.previous_response_id.is_some(), "previous_response_id", BodyFault::PreviousResponse)?;
    refuse(body.preset.is_some(), "preset", BodyFault::Preset)?;
    refuse(body.callback_url.is_some(), "callback_url", BodyFault::Callback)?;
    refuse(body.container.is_some(), "container", BodyFault::Container)?;
    if let Some(model) = model {
        model_name(model, "model")?;
    }
    for (field, model) in fallbacks {
        model_name(model.as_deref().unwrap_or_default(), field)?;
    }
    for tool in list(body.tools) {
        check_tool(tool, 0)?;
    }
    refuse(refers_to_file(endpoint, text), "file_id", BodyFault::FileReference)
}

/// What names a preset in a model's name, in whatever case.
const PRESET: &[u8] = b"@preset";

pub(super) fn model_name(model: &str, field: &str) -> Result<(), BadRequest> {
    // Three spellings name a preset: `@preset/slug`, `author/model@preset/slug`, and the field of its own.
    let names_preset = |at: usize| {
        let name = model.as_bytes().get(at..at + PRESET.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(PRESET))
    };
    if memchr::memchr_iter(b'@', model.as_bytes()).any(names_preset) {
        return Err(BadRequest::new(field, BodyFault::Preset));
    }
    if model.len() > MODEL_MAX_BYTES {
        return Err(BadRequest::new(field, BodyFault::TooLong));
    }
    Ok(())
}

fn check_tool(tool: &RawValue, depth: usize) -> Result<(), BadRequest> {
    // Not an object: the upstream will say so.
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(tool.get()) else { return Ok(()) };
    for (key, value) in members {
        match &*key {
            "type" => {
                let kind = string(Some(value)).unwrap_or_default();
                if !is_open(&kind) || (kind.starts_with(SERVER_TOOL) && !names_open_tools_only(tool)) {
                    return Err(BadRequest::new("tools", BodyFault::Tool));
                }
            }
            "container" => check_container(value)?,
            // A namespace holds tools of its own.
            "tools" if depth < DEPTH_MAX => list(Some(value)).into_iter().try_for_each(|t| check_tool(t, depth + 1))?,
            "tools" => return Err(BadRequest::new("tools", BodyFault::Tool)),
            _ => {}
        }
    }
    Ok(())
}

/// What OpenRouter's own tools are called.
const SERVER_TOOL: &str = "openrouter:";

fn is_open(kind: &str) -> bool {
    if kind.starts_with(SERVER_TOOL) { HARMLESS_TOOLS.contains(&kind) } else { !ACCOUNT_TOOLS.contains(&kind) }
}

/// Whether a server tool names no barred one within: a sub-agent is given tools, too.
fn names_open_tools_only(tool: &RawValue) -> bool {
    fn only(value: &Value) -> bool {
        match value {
            Value::String(text) => !text.starts_with(SERVER_TOOL) || is_open(text),
            Value::Array(elements) => elements.iter().all(only),
            Value::Object(members) => members.values().all(only),
            _ => true,
        }
    }
    serde_json::from_str::<Value>(tool.get()).is_ok_and(|value| only(&value))
}

/// A code interpreter may have a fresh container, not an existing one and not with files from the store.
fn check_container(container: &RawValue) -> Result<(), BadRequest> {
    let field = "tools.container";
    match opening(container.get().as_bytes()) {
        Some(b'n') => Ok(()),
        Some(b'{') => match serde_json::from_str::<Members<'_>>(container.get()) {
            Ok(Members(members))
                if !members.iter().any(|(key, files)| key == "file_ids" && !list(Some(files)).is_empty()) =>
            {
                Ok(())
            }
            _ => Err(BadRequest::new(field, BodyFault::FileReference)),
        },
        _ => Err(BadRequest::new(field, BodyFault::Container)),
    }
}

/// Where a `file_id` means a stored file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Bodies without objects of the client's making: anywhere.
    Everywhere,
    /// Conversations, at the top.
    Conversation,
    /// Within messages: in the parts of their contents, but not in tool calls.
    Parts,
}

impl Scope {
    /// The scope of what stands under `key`, where it matters at all.
    fn under(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Everywhere, _) => Some(Self::Everywhere),
            (Self::Conversation, "messages" | "input" | "system") => Some(Self::Parts),
            (Self::Parts, "content" | "output" | "file" | "source" | "image_url" | "document") => Some(Self::Parts),
            _ => None,
        }
    }
}

/// The name, and the escapes of its letters and its underscore. Made once: making one takes longer than using it.
static SUSPICIOUS: Lazy<[Finder<'static>; 3]> = Lazy::new(|| ["file_id", "\\u005", "\\u006"].map(Finder::new));

fn refers_to_file(endpoint: Endpoint, text: &[u8]) -> bool {
    // Nearly every body is cleared here.
    let suspicious = SUSPICIOUS.iter().any(|finder| finder.find(text).is_some());
    let scope = match endpoint {
        Endpoint::ChatCompletions | Endpoint::CursorChat | Endpoint::Responses | Endpoint::Messages => {
            Scope::Conversation
        }
        _ => Scope::Everywhere,
    };
    suspicious && serde_json::from_slice::<&RawValue>(text).map_or(true, |body| finds_file(body, scope, 0))
}

/// Whether a `file_id` stands in a place of that scope. What cannot be looked through counts as a find.
fn finds_file(value: &RawValue, scope: Scope, depth: usize) -> bool {
    match opening(value.get().as_bytes()) {
        Some(b'{' | b'[') if depth > DEPTH_MAX => true,
        Some(b'[') => list(Some(value)).into_iter().any(|element| finds_file(element, scope, depth + 1)),
        Some(b'{') => serde_json::from_str::<Members<'_>>(value.get()).map_or(true, |Members(members)| {
            members.into_iter().any(|(key, value)| {
                let is_reference = key == "file_id" && scope != Scope::Conversation && value.get() != "null";
                is_reference || scope.under(&key).is_some_and(|scope| finds_file(value, scope, depth + 1))
            })
        }),
        _ => false,
    }
}
