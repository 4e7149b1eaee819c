//! Adding `_routing` to an answer that passes by: at the end of a JSON document's object, or in a chunk of its own just before
//! `data: [DONE]`. Every other byte stays what and where it was. Pure, constant memory, whatever the chunks.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::upstream::{BodyShape, EventStream, Piece};

use super::Routing;
use super::members::{Said, Walk};

/// What is said where nobody named the provider.
const PROVIDER: &str = "openrouter";
/// The mark, as it may be written.
const MARKS: [&[u8]; 2] = [b"data: [DONE]", b"data:[DONE]"];
/// Blanks behind the mark before it is none.
const BLANKS_MAX: usize = 8;

/// One answer's passage.
#[derive(Debug)]
pub struct Weave {
    routing: Routing,
    /// Named by the answer's head.
    provider: Option<String>,
    said: Said,
    walk: Walk,
    shape: Shape,
    /// It is added, or will not be.
    is_over: bool,
}

#[derive(Debug)]
enum Shape {
    Document,
    Events(Box<Events>),
}

#[derive(Debug)]
struct Events {
    stream: EventStream,
    /// In the middle of a line that is not the mark.
    mid_line: bool,
    /// The beginning of a line that may become the mark.
    held: Vec<u8>,
}

/// What a line, or its beginning, is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Mark,
    /// May become the mark.
    Begun,
    Other,
}

impl Weave {
    /// Before an answer of that shape; `None` where nothing can be added.
    pub fn new(routing: Routing, shape: BodyShape, provider: Option<String>) -> Option<Self> {
        let shape = match shape {
            BodyShape::Json => Shape::Document,
            BodyShape::EventStream => {
                Shape::Events(Box::new(Events { stream: EventStream::new(), mid_line: false, held: Vec::new() }))
            }
            BodyShape::Opaque => return None,
        };
        Some(Self { routing, provider, said: Said::default(), walk: Walk::default(), shape, is_over: false })
    }

    /// The next part has come, `elapsed` after the request: what goes on now is put behind `out`.
    pub fn push(&mut self, part: Bytes, elapsed: Duration, out: &mut Vec<Bytes>) {
        if self.is_over {
            out.push(part);
        } else if matches!(self.shape, Shape::Document) {
            let end = self.walk.push(&part, &mut self.said);
            self.put(part, end, elapsed, out);
        } else {
            self.event_part(part, false, elapsed, out);
        }
    }

    /// The body is over, in order or not: what was held back goes on.
    pub fn finish(&mut self, in_order: bool, elapsed: Duration, out: &mut Vec<Bytes>) {
        if !self.is_over {
            self.event_part(Bytes::new(), in_order, elapsed, out);
        }
        if let Shape::Events(events) = &mut self.shape
            && !events.held.is_empty()
        {
            out.push(std::mem::take(&mut events.held).into());
        }
    }

    fn event_part(&mut self, part: Bytes, end: bool, elapsed: Duration, out: &mut Vec<Bytes>) {
        let Shape::Events(events) = &mut self.shape else { return };
        let (walk, said) = (&mut self.walk, &mut self.said);
        events.stream.push(&part, |piece| match piece {
            Piece::Data(data) => drop(walk.push(data, said)),
            Piece::LineEnd => {}
            Piece::EventEnd => walk.restart(),
        });
        let mut part = part;
        if !events.held.is_empty() {
            let mut held = std::mem::take(&mut events.held);
            held.extend_from_slice(&part);
            part = held.into();
        }
        let (mark, kept) = events.scan(&part, end);
        if mark.is_none() {
            events.held = part.split_off(kept).to_vec();
        }
        self.put(part, mark, elapsed, out);
    }

    /// Put `part` behind `out`, with the addition at `place`.
    fn put(&mut self, mut part: Bytes, place: Option<usize>, elapsed: Duration, out: &mut Vec<Bytes>) {
        if let Some(place) = place {
            self.is_over = true;
            // An error stays what it is.
            if !self.said.error {
                let before = part.split_to(place);
                out.extend([before, self.addition(elapsed).into()].into_iter().filter(|bytes| !bytes.is_empty()));
            }
        }
        if !part.is_empty() {
            out.push(part);
        }
    }

    fn addition(&self, elapsed: Duration) -> String {
        let said = &self.said;
        let text = |raw: &str| serde_json::from_str::<String>(&format!("\"{raw}\"")).ok();
        let reported = said.provider.as_deref().and_then(text).or_else(|| self.provider.clone());
        let routing = json!({
            "model": self.routing.model,
            "provider": reported.unwrap_or_else(|| PROVIDER.to_owned()),
            "category": self.routing.category,
            "reason": self.routing.reason,
            "responseTimeMs": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        });
        match self.shape {
            Shape::Document => {
                let comma = if self.walk.has_members() { "," } else { "" };
                format!("{comma}\"_routing\":{routing}")
            }
            Shape::Events(_) => {
                let chunk = json!({
                    "id": said.id.as_deref().and_then(text).unwrap_or_default(),
                    "object": "chat.completion.chunk",
                    "created": said.created.as_deref().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0),
                    "model": said.model.as_deref().and_then(text).unwrap_or_else(|| self.routing.model.to_string()),
                    "choices": [],
                    "_routing": routing,
                });
                format!("data: {chunk}\n\n")
            }
        }
    }
}

impl Events {
    /// Where the line of the mark begins, if it is whole; and from where on the text may yet become it.
    fn scan(&mut self, text: &[u8], end: bool) -> (Option<usize>, usize) {
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let line_end = memchr::memchr2(b'\n', b'\r', rest);
            let line = line_end.and_then(|end| rest.get(..end)).unwrap_or(rest);
            if !self.mid_line {
                match (fit(line), line_end) {
                    (Line::Mark, Some(_)) => return (Some(at), at),
                    (Line::Mark, None) if end => return (Some(at), at),
                    (Line::Mark | Line::Begun, None) => return (None, at),
                    _ => {}
                }
            }
            self.mid_line = line_end.is_none();
            at += line_end.map_or(rest.len(), |end| end + 1);
        }
        (None, at)
    }
}

fn fit(line: &[u8]) -> Line {
    if MARKS.iter().any(|mark| line.len() < mark.len() && mark.starts_with(line)) {
        return Line::Begun;
    }
    let blanks = MARKS.iter().find_map(|mark| line.strip_prefix(*mark));
    match blanks {
        Some(blanks) if blanks.len() <= BLANKS_MAX && blanks.iter().all(|b| matches!(b, b' ' | b'\t')) => Line::Mark,
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const TOOK: Duration = Duration::from_millis(42);

    fn routing() -> Routing {
        Routing { model: "a/b".into(), category: "coding".into(), reason: "a \"word\"".into() }
    }

    /// What comes out of a body in these chunks.
    fn woven<'a>(shape: BodyShape, chunks: impl Iterator<Item = &'a [u8]>, in_order: bool) -> String {
        let mut weave = Weave::new(routing(), shape, None).expect("a shape");
        let mut out = Vec::new();
        for chunk in chunks {
            weave.push(Bytes::copy_from_slice(chunk), TOOK, &mut out);
            if let Shape::Events(events) = &weave.shape {
                assert!(events.held.len() <= 24, "only a line of the mark is held back");
            }
        }
        weave.finish(in_order, TOOK, &mut out);
        String::from_utf8(out.concat()).expect("the tests are text")
    }

    /// The same whatever the chunks.
    fn check(shape: BodyShape, body: &str, expected: &str) {
        for size in 1..=body.len().max(1) {
            assert_eq!(woven(shape, body.as_bytes().chunks(size), true), expected, "{body:?} in chunks of {size}");
        }
        for at in 0..=body.len() {
            let (a, b) = body.as_bytes().split_at(at);
            assert_eq!(woven(shape, [a, b].into_iter(), true), expected, "{body:?} split at {at}");
        }
    }

    fn told(provider: &str) -> String {
        format!(
            r#""_routing":{{"model":"a/b","provider":"{provider}","category":"coding","reason":"a \"word\"","responseTimeMs":42}}"#
        )
    }

    #[test]
    fn a_document_gets_one_member_more() {
        let none = told("openrouter");
        let document = |body: &str, expected: &str| check(BodyShape::Json, body, expected);
        document("{}", &format!("{{{none}}}"));
        document("\n   \n{\"id\" : 1.0e0 }\n\n ", &format!("\n   \n{{\"id\" : 1.0e0 ,{none}}}\n\n "));
        let named = r#"{"provider":"Open\u0041I","choices":[{"a":"}{\"\\"}]"#;
        document(&format!("{named}}}"), &format!("{named},{}}}", told("OpenAI")));
        for unchanged in [r#"{"error":{"code":402,"message":"x"}}"#, "[1]", "", "  ", "nonsense", r#"{"cut":"#] {
            document(unchanged, unchanged);
        }
    }

    #[test]
    fn a_stream_gets_one_event_more() {
        let first = ": OPENROUTER PROCESSING\n\ndata: {\"id\":\"gen-1\",\"provider\":\"P\",\"model\":\"a/b-1\",\"created\":7,\
                     \"choices\":[{\"delta\":{\"content\":\"data: [DONE]\"}}]}\n\n";
        let chunk = format!(
            r#"data: {{"id":"gen-1","object":"chat.completion.chunk","created":7,"model":"a/b-1","choices":[],{}}}"#,
            told("P")
        );
        let events = |body: &str, expected: &str| check(BodyShape::EventStream, body, expected);
        for mark in ["data: [DONE]\n\n", "data:[DONE]\n\n", "data: [DONE] \r\n\r\n", "data: [DONE]\r\r", "data: [DONE]"]
        {
            events(&format!("{first}{mark}"), &format!("{first}{chunk}\n\n{mark}"));
            let crlf = first.replace('\n', "\r\n");
            events(&format!("{crlf}{mark}"), &format!("{crlf}{chunk}\n\n{mark}"));
        }
        let error = "data: {\"error\":{\"code\":429},\"choices\":[]}\n\ndata: [DONE]\n\n";
        for unchanged in [first, error, "data: [DONE]x\n\n", "data: [DON", "dat", ": data: [DONE]\n\n", ""] {
            events(unchanged, unchanged);
        }
    }

    #[test]
    fn what_breaks_off_stays_as_it_is() {
        let stream = [&b"data: {}\n\ndata: [DONE]"[..]];
        assert_eq!(woven(BodyShape::EventStream, stream.into_iter(), false).as_bytes(), stream[0]);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[\\PC\"\\\\{}]{0,12}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-z\"{}]{1,8}", inner), 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Without the addition the bytes are those that came; with it, it is JSON with one member more.
        #[test]
        fn any_object_gets_exactly_one_member(values in prop::collection::vec(("[a-z]{1,6}", json()), 0..5), size in 1usize..40) {
            let object: serde_json::Map<String, Value> = values.into_iter().filter(|(name, _)| name != "error").collect();
            let body = Value::Object(object.clone()).to_string();
            let out = woven(BodyShape::Json, body.as_bytes().chunks(size), true);
            let read: serde_json::Map<String, Value> = serde_json::from_str(&out).expect("JSON");
            prop_assert_eq!(read.len(), object.len() + 1);
            let added = out.find("\"_routing\"").expect("added");
            prop_assert!(body.starts_with(out[..added].trim_end_matches(',')));
            prop_assert!(object.iter().all(|(name, value)| read.get(name) == Some(value)));
        }

        /// Whatever comes, what goes on is what came, with at most one addition.
        #[test]
        fn nothing_is_lost(
            pieces in prop::collection::vec(prop::sample::select(vec!["data:", " ", "[DONE]", "\n", "\r", "{", "}", "\"", "\\", "x", "é", "data: [DONE]\n"]), 0..30),
            size in 1usize..9, events: bool, in_order: bool,
        ) {
            let (body, shape) = (pieces.concat(), if events { BodyShape::EventStream } else { BodyShape::Json });
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
            let out = woven(shape, chunks.into_iter(), in_order);
            let begin = if events { out.find("data: {\"id\":\"") } else { out.find("\"_routing\"") };
            match begin {
                None => prop_assert_eq!(out, body),
                Some(begin) => prop_assert!(out.len() > body.len() && body.starts_with(out[..begin].trim_end_matches(','))),
            }
        }
    }
}
