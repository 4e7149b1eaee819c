//! What a conversation holds besides text: pictures, sound, files, and what lies elsewhere altogether.
//!
//! Read as it comes, with nothing built. Text is known by its kind; a part of a kind that is not known counts as
//! something whose size nobody sees.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::body::{Body, Key, Members, opening, string};
use super::skeleton::Skeleton;

/// Parts and items that are their text and no more.
const TEXT: [&str; 24] = [
    "text",
    "input_text",
    "output_text",
    "refusal",
    "thinking",
    "redacted_thinking",
    "reasoning",
    "reasoning_text",
    "summary_text",
    "url_citation",
    "message",
    "tool_use",
    "tool_result",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "computer_call",
    "computer_call_output",
    "function",
];
const IMAGE: [&str; 4] = ["image_url", "input_image", "image", "computer_screenshot"];
const AUDIO: [&str; 2] = ["input_audio", "audio"];
const FILE: [&str; 3] = ["file", "input_file", "document"];
/// Roles whose pictures every provider takes for pictures. Of a tool's or an assistant's, some make text.
const SHOWING_ROLES: [&str; 3] = ["user", "system", "developer"];

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Media {
    /// Pictures.
    pub(super) images: u64,
    /// Bytes of the body that are pictures and not text.
    pub(super) image_bytes: u64,
    /// There is sound.
    pub(super) audio: bool,
    /// There are files.
    pub(super) files: bool,
    /// There is something whose tokens are not in proportion to the body.
    pub(super) elsewhere: bool,
}

/// Look through everything of a body that may hold more than text. `escaped`: there may be characters written `\uXXXX`.
pub(super) fn media(body: &Body<'_>, skeleton: &Skeleton<'_>, escaped: bool) -> Media {
    let mut media = Media::default();
    let values = [body.messages, body.input, body.system].into_iter().flatten();
    for value in values.filter(|value| escaped || may_hold_more(value)) {
        Look { media: &mut media, skeleton, depth: 0 }.at(value);
    }
    media
}

/// Whether anything but text can be in there, found without taking it apart: most conversations are plain messages, whose
/// keys name neither kinds nor payloads. Not of a text with escapes.
fn may_hold_more(value: &RawValue) -> bool {
    let text = value.get().as_bytes();
    memchr::memchr_iter(b':', text).any(|colon| is_telling(text, colon))
        // Too deep for [`Look`], should all of them open something within each other.
        || memchr::memchr2_iter(b'[', b'{', text).nth(DEPTH_MAX).is_some()
}

/// The longest key that [`Look`] stops at, in bytes.
const KEY_MAX_BYTES: usize = 11;

/// Whether what stands before this colon is a key that [`Look`] stops at. Written with an escape it would not be found here;
/// a quote within a string has a backslash before it, which is in no such key.
fn is_telling(text: &[u8], colon: usize) -> bool {
    let key = text.get(..colon).and_then(|before| before.trim_ascii_end().strip_suffix(b"\""));
    let Some(key) = key else { return false };
    let end = key.get(key.len().saturating_sub(KEY_MAX_BYTES + 1)..).unwrap_or_default();
    let Some(quote) = memchr::memrchr(b'"', end) else { return false };
    let key = end.get(quote + 1..).unwrap_or_default();
    matches!(
        key,
        b"type"
            | b"image_url"
            | b"source"
            | b"image"
            | b"input_audio"
            | b"audio"
            | b"video_url"
            | b"video"
            | b"file"
            | b"file_data"
            | b"file_url"
            | b"file_id"
            | b"document"
    )
}

/// How deep parts are looked for; OpenRouter's schemas end long before.
const DEPTH_MAX: usize = 16;

/// Looks at a text, a part, an item, or a list of these.
struct Look<'m, 's> {
    media: &'m mut Media,
    skeleton: &'m Skeleton<'s>,
    depth: usize,
}

impl Look<'_, '_> {
    fn at(&mut self, value: &RawValue) {
        let kind = opening(value.get().as_bytes());
        if !matches!(kind, Some(b'[' | b'{')) {
            return;
        }
        let mut json = serde_json::Deserializer::from_str(value.get());
        let inner = Look { media: &mut *self.media, skeleton: self.skeleton, depth: self.depth + 1 };
        let seen = self.depth < DEPTH_MAX
            && if kind == Some(b'[') { json.deserialize_seq(inner) } else { json.deserialize_map(inner) }.is_ok();
        if !seen {
            // Whatever it is.
            *self.media = Media { audio: true, files: true, elsewhere: true, ..*self.media };
        }
    }
}

impl<'de> Visitor<'de> for Look<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            self.at(element);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let images_before = self.media.images;
        let mut part = Part::default();
        while let Some(Key(key)) = members.next_key::<Key<'de>>()? {
            match &*key {
                "type" => part.kinds.add(members.next_value::<&RawValue>()?),
                "role" => part.roles.add(members.next_value::<&RawValue>()?),
                "content" | "output" | "images" | "annotations" => self.at(members.next_value::<&RawValue>()?),
                "image_url" | "source" | "image" | "input_audio" | "audio" | "video_url" | "video" | "file"
                | "file_data" | "file_url" | "file_id" | "document" => {
                    if let Some(payload) = members.next_value::<Option<&RawValue>>()? {
                        part.payloads.add(payload);
                    }
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        part.judge(self.media, self.skeleton);
        self.media.elsewhere |= self.media.images > images_before && !part.shows_pictures();
        Ok(())
    }
}

/// A member's values: none, one, or so many that readers differ in which one counts.
#[derive(Clone, Copy, Default)]
enum Given<'a> {
    #[default]
    No,
    Once(&'a RawValue),
    Often,
}

impl<'a> Given<'a> {
    fn add(&mut self, value: &'a RawValue) {
        *self = if matches!(self, Self::No) { Self::Once(value) } else { Self::Often };
    }
}

/// A part of a content, or an item.
#[derive(Default)]
struct Part<'a> {
    kinds: Given<'a>,
    roles: Given<'a>,
    payloads: Given<'a>,
}

impl Part<'_> {
    fn judge(&self, media: &mut Media, skeleton: &Skeleton<'_>) {
        let bare = matches!(self.payloads, Given::No);
        let kind = match self.kinds {
            // A message in the plain form, or the picture's address within a part.
            Given::No => return media.elsewhere |= !bare,
            Given::Once(kind) => string(Some(kind)).unwrap_or_default(),
            Given::Often => return media.elsewhere = true,
        };
        match &*kind {
            kind if TEXT.contains(&kind) => media.elsewhere |= !bare,
            kind if IMAGE.contains(&kind) => {
                media.images = media.images.saturating_add(1);
                let payload = if let Given::Once(payload) = self.payloads { inline_image(payload) } else { None };
                match payload {
                    Some(image) => media.image_bytes += skeleton.left_out(image.get()) as u64,
                    None => media.elsewhere = true,
                }
            }
            kind => {
                media.audio |= AUDIO.contains(&kind);
                media.files |= FILE.contains(&kind);
                media.elsewhere = true;
            }
        }
    }

    fn shows_pictures(&self) -> bool {
        let is = |given: Given<'_>, fits: fn(&str) -> bool| match given {
            Given::No => true,
            Given::Once(value) => string(Some(value)).is_some_and(|value| fits(&value)),
            Given::Often => false,
        };
        is(self.roles, |role| SHOWING_ROLES.contains(&role)) && is(self.kinds, |kind| !kind.ends_with("_output"))
    }
}

/// The text that is a picture, in a part's payload: a data URL, an object that holds one, or Anthropic's `source`.
fn inline_image(payload: &RawValue) -> Option<&RawValue> {
    if let Some(url) = string(Some(payload)) {
        return is_image_url(&url).then_some(payload);
    }
    #[derive(Deserialize)]
    struct Source<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Key<'a>>,
        #[serde(borrow)]
        media_type: Option<Key<'a>>,
    }
    let Members(members) = serde_json::from_str::<Members<'_>>(payload.get()).ok()?;
    let once = |name: &str| {
        let mut found = members.iter().filter(|(key, _)| key == name).map(|(_, value)| *value);
        found.next().filter(|_| found.next().is_none())
    };
    if let Some(url) = once("url") {
        return string(Some(url)).is_some_and(|url| is_image_url(&url)).then_some(url);
    }
    let source: Source<'_> = serde_json::from_str(payload.get()).ok()?;
    let base64 = source.kind.is_some_and(|Key(kind)| kind == "base64");
    let image = source.media_type.is_some_and(|Key(kind)| is_picture(&kind));
    once("data").filter(|data| base64 && image && string(Some(data)).is_some())
}

fn is_image_url(url: &str) -> bool {
    url.strip_prefix("data:").is_some_and(is_picture)
}

/// Whether a media type is that of pixels. SVG is text, and some would read it so.
fn is_picture(media_type: &str) -> bool {
    media_type.starts_with("image/") && !media_type.starts_with("image/svg")
}

#[cfg(test)]
mod tests;
