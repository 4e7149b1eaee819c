//! Which conversation a request belongs to, so that it can stay with one key and its provider's prompt cache.
//!
//! An explicit session id names it. Otherwise its opening does: the first system text and the first user message,
//! which every later turn sends again (OpenRouter's own sticky routing looks at the same, `openrouter-api.md` 7).
//! Clients add and move `cache_control` marks from turn to turn and switch between `"text"` and `[{"text":…}]`, so the
//! texts are hashed, not the JSON around them.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::pool::Conversation;
use crate::upstream::Endpoint;

use super::body::{Body, Members, list, opening, string};

/// How much of each text is hashed: more than a skeleton leaves of one. Openings that differ only further on share a key,
/// which harms nobody.
const HASHED_MAX_BYTES: usize = 4 * 1024;

static SESSION: HeaderName = HeaderName::from_static("x-session-id");
static CLAUDE_CODE_SESSION: HeaderName = HeaderName::from_static("x-claude-code-session-id");

/// What a hash was made of, so that equal texts of different kinds differ.
#[derive(Clone, Copy, Hash)]
enum Origin {
    Session,
    CacheKey,
    ClaudeCode,
    Opening,
}

/// The conversation of a request to `endpoint`. `salt` separates instances, and clients where they are known.
pub(super) fn conversation(
    endpoint: Endpoint,
    body: &Body<'_>,
    headers: &HeaderMap,
    salt: u64,
) -> Option<Conversation> {
    by_session(body, headers, salt).or_else(|| by_opening(endpoint, body, salt))
}

fn by_session(body: &Body<'_>, headers: &HeaderMap, salt: u64) -> Option<Conversation> {
    let field = |value: Option<&RawValue>, origin| Some((string(value)?.into_owned().into_bytes(), origin));
    let header = |name: &HeaderName, origin| Some((headers.get(name)?.as_bytes().to_vec(), origin));
    let (id, origin) = [
        field(body.session_id, Origin::Session),
        header(&SESSION, Origin::Session),
        field(body.prompt_cache_key, Origin::CacheKey),
        header(&CLAUDE_CODE_SESSION, Origin::ClaudeCode),
    ]
    .into_iter()
    .flatten()
    .find(|(id, _)| !id.is_empty())?;
    let mut hasher = seeded(salt, origin);
    id.hash(&mut hasher);
    Some(Conversation { hash: hasher.finish(), continues: true })
}

fn by_opening(endpoint: Endpoint, body: &Body<'_>, salt: u64) -> Option<Conversation> {
    let (system, turns) = match endpoint {
        Endpoint::ChatCompletions | Endpoint::CursorChat => (None, body.messages?),
        Endpoint::Messages => (body.system, body.messages?),
        Endpoint::Responses => (body.instructions, body.input?),
        _ => return None,
    };
    let mut history = History { system, ..History::default() };
    if opening(turns.get().as_bytes()) == Some(b'"') {
        history.user = Some(turns);
    } else {
        // An error here means that reading could stop early, or that the upstream will refuse the request anyway.
        history.read(turns);
    }
    let user = history.user?;
    let mut hasher = seeded(salt, Origin::Opening);
    for content in [history.system, Some(user)] {
        hash_content(content, &mut hasher);
    }
    Some(Conversation { hash: hasher.finish(), continues: history.answered })
}

fn seeded(salt: u64, origin: Origin) -> DefaultHasher {
    let mut hasher = DefaultHasher::new();
    (salt, origin).hash(&mut hasher);
    hasher
}

/// The turns of a conversation, as far as they tell it from others.
#[derive(Default)]
struct History<'a> {
    system: Option<&'a RawValue>,
    user: Option<&'a RawValue>,
    /// An assistant has spoken or called a tool.
    answered: bool,
}

/// A message, or an item of a Responses input.
#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

impl<'a> History<'a> {
    fn read(&mut self, turns: &'a RawValue) {
        let mut json = serde_json::Deserializer::from_str(turns.get());
        // Reading stops as soon as nothing further matters, which leaves the rest unread: not an error to us.
        drop(json.deserialize_seq(TurnsVisitor(self)));
    }

    /// Take in the next turn; whether more are needed.
    fn take(&mut self, turn: &Turn<'a>) -> bool {
        let role = string(turn.role).unwrap_or_default();
        match &*role {
            "system" | "developer" if self.user.is_none() => self.system = self.system.or(turn.content),
            "system" | "developer" => {}
            "user" => self.user = self.user.or(turn.content),
            "assistant" | "tool" | "function" => self.answered = true,
            // A Responses item without a role is something an assistant did, or what came of it.
            _ => self.answered |= string(turn.kind).is_some_and(|kind| !kind.starts_with("input_")),
        }
        !(self.answered && self.user.is_some())
    }
}

struct TurnsVisitor<'h, 'a>(&'h mut History<'a>);

impl<'de> Visitor<'de> for TurnsVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of turns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut turns: A) -> Result<(), A::Error> {
        while let Some(turn) = turns.next_element::<Turn<'de>>()? {
            if !self.0.take(&turn) {
                break;
            }
        }
        Ok(())
    }
}

/// Hash what a content says: its text, or the texts of its parts and whatever else they hold.
fn hash_content(content: Option<&RawValue>, hasher: &mut DefaultHasher) {
    if let Some(content) = content {
        match opening(content.get().as_bytes()) {
            Some(b'[') => list(Some(content)).into_iter().for_each(|part| hash_part(part, hasher)),
            _ => hash_text(content, hasher),
        }
    }
    // Where one content ends and the next begins.
    hasher.write_u8(0xFF);
}

fn hash_part(part: &RawValue, hasher: &mut DefaultHasher) {
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(part.get()) else {
        return hash_text(part, hasher);
    };
    for (key, value) in &members {
        match &**key {
            "type" | "cache_control" => {}
            "text" => hash_text(value, hasher),
            _ => {
                key.hash(hasher);
                hash_text(value, hasher);
            }
        }
    }
}

fn hash_text(text: &RawValue, hasher: &mut DefaultHasher) {
    let text = text.get().as_bytes();
    text.len().hash(hasher);
    text.get(..HASHED_MAX_BYTES).unwrap_or(text).hash(hasher);
}
