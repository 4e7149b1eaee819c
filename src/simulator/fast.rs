//! Answers for load tests: small, made up in advance, with next to no work; the bill's lines stay exact.
//!
//! Each costs [`COST`] and has an id that `/generation` knows at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::amount::Pico;
use super::shared::Shared;
use super::wire::{Gone, Head, Wire};

/// What each fast answer costs.
pub const COST: Pico = Pico(1_234_567);
/// The same as it is printed.
const COST_TEXT: &str = "0.000001234567";
/// The largest fast body.
const BODY_MAX: usize = 64 << 20;

/// A fast answer's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `json`: a small chat completion.
    Json,
    /// `sse-N` or `sse-N-MS`: N events, MS milliseconds apart.
    Sse {
        /// How many.
        events: u32,
        /// How far apart.
        gap: Duration,
    },
    /// `body-N`: a chat completion of N bytes.
    Body(usize),
}

impl Shape {
    /// Read its name.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (kind, first, second) = (parts.next()?, parts.next(), parts.next());
        Some(match (kind, first, second) {
            ("json", None, None) => Self::Json,
            ("sse", Some(events), gap) => {
                Self::Sse { events: events.parse().ok()?, gap: Duration::from_millis(gap.unwrap_or("0").parse().ok()?) }
            }
            ("body", Some(size), None) => Self::Body(size.parse().ok().filter(|n| *n <= BODY_MAX)?),
            _ => return None,
        })
    }

    /// The shape a request asks for, found without parsing it: `sim/fast-SHAPE` or `"stream":true` near its start.
    pub fn wanted(head: &Head, body: &[u8]) -> Self {
        if let Some(shape) = head.header("x-sim-fast").and_then(Self::parse) {
            return shape;
        }
        let start = body.get(..body.len().min(1024)).unwrap_or_default();
        let named = memchr::memmem::find(start, b"sim/fast-").and_then(|at| {
            let name = start.get(at + 9..)?;
            let end = name.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'-')?;
            Self::parse(std::str::from_utf8(name.get(..end)?).ok()?)
        });
        let streams =
            || [&b"\"stream\":true"[..], b"\"stream\": true"].iter().any(|s| memchr::memmem::find(body, s).is_some());
        named.unwrap_or_else(|| if streams() { Self::Sse { events: 20, gap: Duration::ZERO } } else { Self::Json })
    }
}

/// Big bodies by size, made once.
#[derive(Debug, Default)]
pub struct Bodies(Mutex<HashMap<usize, Arc<[u8]>>>);

impl Bodies {
    fn filler(&self, size: usize) -> Arc<[u8]> {
        let mut bodies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bodies.entry(size).or_insert_with(|| vec![b'x'; size].into()))
    }
}

/// The id of fast answer `number` given to `key`.
fn id(key: usize, number: u64) -> String {
    format!("gen-fast-{key:06}-{number:016x}")
}

/// The key a fast id was given to, if there was such an answer.
pub fn key_of(id: &str, answers: u64) -> Option<usize> {
    let (key, number) = id.strip_prefix("gen-fast-")?.split_once('-')?;
    let number = u64::from_str_radix(number, 16).ok()?;
    (number < answers).then(|| key.parse().ok()).flatten()
}

const USAGE: &str = "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12,";

/// Answer a request with that credential.
pub async fn serve(shared: &Shared, wire: &mut Wire, credential: Option<&str>, shape: Shape) -> Result<(), Gone> {
    let now_ms = shared.now_ms();
    let charged = {
        let mut world = shared.world();
        let key = world.authenticate(credential, now_ms);
        key.map(|key| (key, world.fast_answer(key, COST, now_ms)))
    };
    let Ok((key, number)) = charged else {
        const BODY: &str = "{\"error\":{\"message\":\"User not found.\",\"code\":401}}";
        return wire.write(whole(401, BODY).as_bytes()).await;
    };
    let id = id(key, number);
    match shape {
        Shape::Json => wire.write(whole(200, &completion(&id, "Soup.")).as_bytes()).await,
        Shape::Body(size) => {
            let empty = completion(&id, "");
            let (before, after) = empty.split_at_checked(empty.find("\"}").unwrap_or(0)).unwrap_or((&empty, ""));
            let filler = shared.bodies.filler(size.saturating_sub(empty.len()));
            let length = empty.len() + filler.len();
            wire.write(head(200, &format!("content-type: application/json\r\ncontent-length: {length}")).as_bytes())
                .await?;
            wire.write(before.as_bytes()).await?;
            wire.write(&filler).await?;
            wire.write(after.as_bytes()).await
        }
        Shape::Sse { events, gap } => stream(wire, &id, events, gap).await,
    }
}

async fn stream(wire: &mut Wire, id: &str, events: u32, gap: Duration) -> Result<(), Gone> {
    let fields = "content-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked";
    wire.write(head(200, &format!("x-generation-id: {id}\r\n{fields}")).as_bytes()).await?;
    let start = format!(
        "{{\"id\":\"{id}\",\"object\":\"chat.completion.chunk\",\"created\":1796083200,\"model\":\"sim/fast\",\
         \"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\""
    );
    let event = chunk(&format!("data: {start} soup\"}},\"finish_reason\":null}}]}}\n\n"));
    for _ in 0..events {
        if !gap.is_zero() {
            wire.pause(gap).await?;
        }
        wire.write(event.as_bytes()).await?;
    }
    let last = format!(
        "data: {start}\"}},\"finish_reason\":\"stop\"}}],{USAGE}\"cost\":{COST_TEXT},\"is_byok\":false}}}}\n\n"
    );
    wire.write(format!("{}{}0\r\n\r\n", chunk(&last), chunk("data: [DONE]\n\n")).as_bytes()).await
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn head(status: u16, fields: &str) -> String {
    format!("HTTP/1.1 {status} OK\r\nserver: cloudflare\r\naccess-control-allow-origin: *\r\n{fields}\r\n\r\n")
}

fn whole(status: u16, body: &str) -> String {
    format!("{}{body}", head(status, &format!("content-type: application/json\r\ncontent-length: {}", body.len())))
}

fn completion(id: &str, text: &str) -> String {
    format!(
        "{{\"id\":\"{id}\",\"object\":\"chat.completion\",\"created\":1796083200,\"model\":\"sim/fast\",\"choices\":[{{\
         \"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}],\
         {USAGE}\"cost\":{COST_TEXT},\"is_byok\":false}}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_ids_are_read() {
        let sse = |events, ms| Some(Shape::Sse { events, gap: Duration::from_millis(ms) });
        for (text, shape) in [
            ("json", Some(Shape::Json)),
            ("sse-50", sse(50, 0)),
            ("sse-50-20", sse(50, 20)),
            ("body-1048576", Some(Shape::Body(1_048_576))),
            ("body-99999999999", None),
            ("xml", None),
        ] {
            assert_eq!(Shape::parse(text), shape, "{text}");
        }
        assert_eq!(key_of(&id(7, 41), 42), Some(7));
        assert_eq!(key_of(&id(7, 42), 42), None);
        assert_eq!(COST.to_string(), COST_TEXT);
    }

    #[test]
    fn prepared_bodies_are_json() {
        let value: serde_json::Value = serde_json::from_str(&completion("gen-1", "x")).unwrap();
        assert_eq!(value["usage"]["cost"], 0.000_001_234_567);
        assert_eq!(value["choices"][0]["message"]["content"], "x");
    }
}
