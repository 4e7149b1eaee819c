//! The opening of a 200's body, in which an error may stand instead of an answer (`openrouter-api.md` 4.1 and 4.2).
//!
//! OpenRouter says 200 as soon as a provider accepts, and errors that come before any content are often about the key's
//! money. So the piece in which one could stand is held back until it is whole, a few hundred bytes as a rule, and cleaned if
//! it is one. Padding and comments before it go on at once; a piece that is no error goes on as soon as that is known, byte
//! for byte, and with it everything behind it. An event of which a part is held back is of no use to its reader before it is
//! whole, and a JSON document tells by its first members that it is an answer.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::upstream::BodyShape;

use crate::upstream::request::Key;

use super::inside::{Inside, is_said, scrub_inside};

/// A piece that is longer is passed on as it is: no error of OpenRouter's comes near it.
const PIECE_MAX_BYTES: usize = 64 * 1024;

/// Looks at a body's opening as it passes.
#[derive(Debug)]
pub struct Opening {
    stage: Stage,
    /// What of the piece has come by now.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In or before a JSON document.
    Document,
    /// Between events, or in one.
    Event,
    /// In a comment line between events.
    Comment,
    /// Behind the opening: nothing is looked at any more.
    Over,
}

/// What is known of a piece.
enum Piece {
    /// It goes on as it is; the opening is over.
    Answer,
    /// An error of so many bytes, which are to be replaced; the opening is over.
    Error { bytes: usize, by: Vec<u8> },
    /// An event of so many bytes that brings no content: it goes on, and the next one is looked at.
    Prelude { bytes: usize },
    /// More must come.
    Unknown,
}

impl Opening {
    /// Before the first byte of a body of that shape.
    pub const fn new(shape: BodyShape) -> Self {
        let stage = match shape {
            BodyShape::Json => Stage::Document,
            BodyShape::EventStream => Stage::Event,
            BodyShape::Opaque => Stage::Over,
        };
        Self { stage, held: Vec::new() }
    }

    /// Whether everything is passed on as it comes from here on.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// The next part of the body has come: what goes on to the client now.
    pub fn push(&mut self, part: Bytes) -> Bytes {
        if self.is_over() {
            return part;
        }
        self.go_on(part, false)
    }

    /// The body has come to its end in order: what is still to go on.
    pub fn finish(&mut self) -> Bytes {
        if self.is_over() { Bytes::new() } else { self.go_on(Bytes::new(), true) }
    }

    fn go_on(&mut self, part: Bytes, end: bool) -> Bytes {
        let text = if self.held.is_empty() {
            part
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(&part);
            held.into()
        };
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let step = if self.stage == Stage::Document { Ok(document(rest, end)) } else { self.lines(rest, end) };
            let piece = match step {
                Ok((before, piece)) => {
                    at += before;
                    piece
                }
                // Between events; nothing is held.
                Err(()) => return text,
            };
            match piece {
                Piece::Prelude { bytes } => at += bytes,
                Piece::Answer => {
                    self.stage = Stage::Over;
                    return text;
                }
                Piece::Error { bytes, by } => {
                    self.stage = Stage::Over;
                    let (before, behind) = (text.get(..at), text.get(at + bytes..));
                    return [before.unwrap_or_default(), &by, behind.unwrap_or_default()].concat().into();
                }
                Piece::Unknown if end || text.len() - at > PIECE_MAX_BYTES => {
                    self.stage = Stage::Over;
                    return text;
                }
                Piece::Unknown => {
                    self.held = text.get(at..).unwrap_or_default().to_vec();
                    return text.slice(..at);
                }
            }
        }
    }

    /// Comments and empty lines before the next event, in bytes, and what that event is; `Err` when none has begun.
    fn lines(&mut self, text: &[u8], end: bool) -> Result<(usize, Piece), ()> {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            match rest.first() {
                None => return Err(()),
                Some(_) if self.stage == Stage::Comment => {
                    let line_end = memchr::memchr2(b'\n', b'\r', rest).ok_or(())?;
                    self.stage = Stage::Event;
                    at += line_end + 1;
                }
                Some(b':') => self.stage = Stage::Comment,
                Some(b'\n' | b'\r') => at += 1,
                Some(_) => return Ok((at, event(rest, end))),
            }
        }
    }
}

/// The white space before a document, in bytes, and what the document is.
fn document(text: &[u8], end: bool) -> (usize, Piece) {
    let padding = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let rest = text.get(padding..).unwrap_or_default();
    let mut documents = serde_json::Deserializer::from_slice(rest).into_iter::<Skimmed>();
    let piece = match documents.next() {
        Some(Ok(Skimmed { error: true })) => {
            let bytes = documents.byte_offset();
            match scrub_inside(rest.get(..bytes).unwrap_or_default()) {
                Inside::Cleaned(by) => Piece::Error { bytes, by },
                Inside::Clean | Inside::Other => Piece::Answer,
            }
        }
        None if !end => Piece::Unknown,
        Some(Err(error)) if error.is_eof() && !end => Piece::Unknown,
        None | Some(Ok(_) | Err(_)) => Piece::Answer,
    };
    (padding, piece)
}

/// Members that may stand before `error` in a document that is one. Any other one is an answer's.
const BEFORE_ERROR: [&str; 17] = [
    "id",
    "type",
    "object",
    "created",
    "model",
    "provider",
    "system_fingerprint",
    "success",
    "code",
    "message",
    "status",
    "metadata",
    "error_type",
    "request_id",
    "user_id",
    "openrouter_metadata",
    "sequence_number",
];

/// A document skimmed for its kind: reading fails at the first member that only an answer has.
struct Skimmed {
    error: bool,
}

impl<'de> Deserialize<'de> for Skimmed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SkimmedVisitor)
    }
}

struct SkimmedVisitor;

impl<'de> Visitor<'de> for SkimmedVisitor {
    type Value = Skimmed;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an error")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skimmed, A::Error> {
        let mut error = false;
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            if key == "error" {
                let value = map.next_value::<&RawValue>()?;
                error = serde_json::from_str(value.get()).is_ok_and(|value| is_said(&value));
            } else if error || BEFORE_ERROR.contains(&&*key) {
                map.next_value::<IgnoredAny>()?;
            } else {
                return Err(A::Error::custom("an answer"));
            }
        }
        Ok(Skimmed { error })
    }
}

/// Events that come before any content.
const PRELUDES: [&str; 5] = ["ping", "response.created", "response.in_progress", "response.queued", "message_start"];

/// What the event is that the text begins with.
fn event(text: &[u8], end: bool) -> Piece {
    let bytes = match event_end(text) {
        Some(bytes) => bytes,
        // The blank line behind the last event may be missing.
        None if end => text.len(),
        None => return Piece::Unknown,
    };
    let event = text.get(..bytes).unwrap_or_default();
    let data = data(event);
    if data.is_empty() {
        return Piece::Prelude { bytes };
    }
    match scrub_inside(&data) {
        Inside::Cleaned(by) => Piece::Error { bytes, by: with_data(event, &by) },
        Inside::Clean => Piece::Answer,
        Inside::Other => {
            #[derive(Deserialize)]
            struct Kind {
                r#type: String,
            }
            let kind = serde_json::from_slice::<Kind>(&data);
            let prelude = kind.is_ok_and(|kind| PRELUDES.contains(&&*kind.r#type));
            if prelude { Piece::Prelude { bytes } } else { Piece::Answer }
        }
    }
}

/// The first line of a text: its content, and where the next one begins. `None` while it has no end, or while a line feed may
/// still belong to its end.
fn line(text: &[u8]) -> Option<(&[u8], usize)> {
    let at = memchr::memchr2(b'\n', b'\r', text)?;
    let next = match (text.get(at), text.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => at + 2,
        (Some(b'\r'), None) => return None,
        _ => at + 1,
    };
    Some((text.get(..at)?, next))
}

/// Where the event ends that a text begins with: behind its blank line.
fn event_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let (content, next) = line(text.get(at..)?)?;
        at += next;
        if content.is_empty() {
            return Some(at);
        }
    }
}

/// The lines of an event, each with its end.
fn lines(event: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = event;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (content, next) = line(rest).unwrap_or_else(|| {
            let content = rest.strip_suffix(b"\r").unwrap_or(rest);
            (content, rest.len())
        });
        let ending = rest.get(content.len()..next).unwrap_or_default();
        rest = rest.get(next..).unwrap_or_default();
        Some((content, ending))
    })
}

/// What a line says, if it is a data line.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let rest = line.strip_prefix(b"data")?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

fn data(event: &[u8]) -> Vec<u8> {
    lines(event).filter_map(|(line, _)| data_of(line)).collect::<Vec<_>>().join(&b'\n')
}

/// The event with other data, and every other line as it was.
fn with_data(event: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.len());
    let mut written = false;
    for (line, ending) in lines(event) {
        match data_of(line) {
            Some(_) if written => continue,
            Some(_) => {
                written = true;
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(data);
            }
            None => out.extend_from_slice(line),
        }
        out.extend_from_slice(ending);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "https://openrouter.ai/workspaces/default/keys/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    /// What a client gets of a body that comes in parts of that size.
    fn passed(shape: BodyShape, body: &str, size: usize) -> String {
        let mut opening = Opening::new(shape);
        let mut out = Vec::new();
        for part in body.as_bytes().chunks(size) {
            out.extend_from_slice(&opening.push(Bytes::copy_from_slice(part)));
        }
        out.extend_from_slice(&opening.finish());
        String::from_utf8(out).expect("text")
    }

    #[track_caller]
    fn check(shape: BodyShape, body: &str, expected: &str) {
        for size in (1..=body.len()).rev() {
            assert_eq!(passed(shape, body, size), expected, "in parts of {size}: {body}");
        }
    }

    #[track_caller]
    fn unchanged(shape: BodyShape, body: &str) {
        check(shape, body, body);
    }

    fn sse(body: &str, expected: &str) {
        check(BodyShape::EventStream, body, expected);
        let crlf = |text: &str| text.replace('\n', "\r\n");
        check(BodyShape::EventStream, &crlf(body), &crlf(expected));
    }

    #[test]
    fn answers_pass_byte_for_byte() {
        for body in [
            r#"{"id":"gen-1","provider":"OpenAI","model":"m","choices":[{"message":{"content":"{\"error\":{}}"}}],"user_id":"mine"}"#,
            " \n {\"id\" : \"gen-1\" ,\"object\":\"list\", \"data\":[1e2],\"usage\":{\"is_byok\":false}}\n",
            r#"{"id":"gen-1","object":"response","error":null,"status":"completed","output":[],"metadata":{"user_id":"mine"}}"#,
            r#"{"text":"x","error":{"message":"y","user_id":"u"}}"#,
            r#"{"error":false,"text":"x"}"#,
            r#"{"error":{"message":"no","code":504}, "id":"gen-1"}"#,
            r#"{"id":"job","status":"failed"}"#,
            "\n         \n\n         \n",
            "",
            "[1,2]",
            "\"text\"",
            "{\"error\":{\"message\":\"cut off",
            "not json",
        ] {
            unchanged(BodyShape::Json, body);
        }
        for body in [
            ": OPENROUTER PROCESSING\n\ndata: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"error\"}}]}\n\ndata: [DONE]\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\ndata: [DONE]\n\n",
            "data: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\ndata: {\"type\":\"x\",\"delta\":\"y\"}\n\n",
            "data: {\"id\":\"gen-1\",\"error\":{\"code\":502,\"message\":\"no\"},\"choices\":[]}\n\n: end\n\n",
            "\u{feff}data: {}\n\n\n\n\n",
            "event: x\nid: 7\n\ndata\n\n",
            "data: {\"id\"",
            ": only a comment",
        ] {
            sse(body, body);
        }
    }

    #[test]
    fn an_error_where_the_answer_should_be_is_cleaned() {
        let leaky = format!(
            r#"{{"error":{{"message":"No. See {PAGE}","code":403,"metadata":{{"limit_usd":25,"provider_name":null,"manage_url":"{PAGE}"}}}},"id":"gen-1","user_id":"user_2abcdefghijkl"}}"#
        );
        let clean = r#"{"error":{"message":"No. See https://[redacted]","code":403,"metadata":{"provider_name":null}},"id":"gen-1"}"#;
        check(BodyShape::Json, &format!("\n         \n{leaky}\n"), &format!("\n         \n{clean}\n"));
        check(BodyShape::Json, &leaky, clean);
        // Some of an answer beside it stays as it is.
        let beside = leaky.replacen(
            r#""id""#,
            r#""usage":{"is_byok":true},"choices":[{"text":"https://openrouter.ai/x"}],"id""#,
            1,
        );
        let kept = clean.replacen(
            r#""id""#,
            r#""usage":{"is_byok":true},"choices":[{"text":"https://openrouter.ai/x"}],"id""#,
            1,
        );
        check(BodyShape::Json, &beside, &kept);
        let before = ": OPENROUTER PROCESSING\n\n: \n\n";
        sse(
            &format!("{before}data: {leaky}\n\ndata: [DONE]\n\n"),
            &format!("{before}data: {clean}\n\ndata: [DONE]\n\n"),
        );
        sse(&format!("event: error\ndata:{leaky}\nid: 7\n\n"), &format!("event: error\ndata: {clean}\nid: 7\n\n"));
        sse(&format!("data: {leaky}"), &format!("data: {clean}"));
    }

    #[test]
    fn every_dialects_error_before_any_content_is_cleaned() {
        let text = format!("Key limit exceeded (total limit). Manage it using {PAGE}");
        const SAID: &str = "OpenRouter would not serve this request with the key used";
        let with = |event: &str, message: &str| event.replace("TEXT", message);
        for event in [
            r#"{"id":"gen-1","error":{"code":403,"message":"TEXT"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            r#"{"type":"response.failed","response":{"id":"gen-1","error":{"code":"server_error","message":"TEXT"},"metadata":{"mine":1}},"sequence_number":2}"#,
            r#"{"type":"error","code":"server_error","message":"TEXT","sequence_number":0}"#,
            r#"{"type":"error","error":{"type":"permission_error","message":"TEXT"}}"#,
            r#"{"id":"gen-1","choices":[{"index":0,"error":{"code":403,"message":"TEXT"}}]}"#,
            r#"{"error":{"error":{"message":"TEXT","code":403},"code":403},"code":403}"#,
            r#"{"error":"TEXT"}"#,
        ] {
            let preludes = "event: ping\ndata: {\"type\":\"ping\"}\n\ndata: {\"type\":\"response.created\"}\n\n";
            let before = format!("{preludes}data: {}\n\n", with(event, &text));
            sse(&before, &format!("{preludes}data: {}\n\n", with(event, SAID)));
        }
    }

    #[test]
    fn behind_the_first_content_nothing_is_looked_at() {
        let error = format!("data: {{\"error\":{{\"message\":\"{PAGE}\",\"code\":402}}}}\n\n");
        unchanged(BodyShape::EventStream, &format!("data: {{\"id\":\"gen-1\",\"choices\":[]}}\n\n{error}"));
        unchanged(BodyShape::Opaque, &error);
    }

    #[test]
    fn what_is_no_error_goes_on_at_once() {
        let at_once = |shape, parts: &[&str]| {
            let mut opening = Opening::new(shape);
            for part in parts {
                assert_eq!(opening.push(Bytes::copy_from_slice(part.as_bytes())), part.as_bytes(), "{parts:?}");
            }
        };
        at_once(BodyShape::Json, &["\n         \n", "\n   ", r#"{"id":"gen-1","choices":["#, "1", "]}"]);
        at_once(
            BodyShape::EventStream,
            &[": OPENROUTER", " PROCESSING\n", "\n", "data: {\"id\":1}\n\nda", "ta: 2\n\n"],
        );
        at_once(
            BodyShape::EventStream,
            &["data: {\"type\":\"ping\"}\n\n", "data: {\"type\":\"message_start\"}\n\n", "data: 1\n\n", "x"],
        );
        let mut opening = Opening::new(BodyShape::Json);
        let whole = Bytes::from_static(b"{\"object\":1}");
        assert_eq!(opening.push(whole.clone()).as_ptr(), whole.as_ptr(), "without a copy");
        assert!(opening.is_over());
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        for (shape, begin) in
            [(BodyShape::Json, "{\"error\":{\"message\":\""), (BodyShape::EventStream, "data: {\"x\":\"")]
        {
            let body = format!("{begin}{}", "x".repeat(3 * PIECE_MAX_BYTES));
            let mut opening = Opening::new(shape);
            let mut out = 0;
            for (at, part) in body.as_bytes().chunks(1000).enumerate() {
                out += opening.push(Bytes::copy_from_slice(part)).len();
                assert!((at + 1) * 1000 - out <= PIECE_MAX_BYTES + 1000);
            }
            assert_eq!(out, body.len());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic_and_none_are_lost(
            body in prop::collection::vec(prop::sample::select(&b"data:{}\"error \n\r[],x\xEF\xBB\xBF1"[..]), 0..200),
            size in 1usize..30,
        ) {
            for shape in [BodyShape::Json, BodyShape::EventStream] {
                let mut opening = Opening::new(shape);
                let mut out = Vec::new();
                for part in body.chunks(size) {
                    out.extend_from_slice(&opening.push(Bytes::copy_from_slice(part)));
                }
                out.extend_from_slice(&opening.finish());
                // Nothing in these has anything to be taken out.
                prop_assert_eq!(&out, &body);
            }
        }
    }
}
