//! Reads what an answer cost while it streams by.
//!
//! [`UsageReader`] is shown every chunk of an answer's body and never changes or keeps one. It needs constant memory
//! and allocates nothing per chunk, whatever the length of the answer, of a line or of a string, and wherever chunks
//! begin and end. Only the documented places count (`fields.rs`): text that a model or a client wrote lies inside
//! strings or inside other containers and is never looked at.
//!
//! ```
//! use potluck::money::{Cost, Usd};
//! use potluck::upstream::{BodyShape, Endpoint, UsageReader};
//!
//! let mut reader = UsageReader::new(Endpoint::ChatCompletions, BodyShape::EventStream);
//! for chunk in [&b"data: {\"id\":\"gen-1\",\"usage\":{\"cost\":7.6"[..], b"69e-7}}\n\ndata: [DO", b"NE]\n\n"] {
//!     reader.push(chunk);
//! }
//! let reading = reader.finish();
//! assert_eq!(reading.cost, Cost::Known(Usd::from_pico(766_900)));
//! assert!(reading.complete);
//! ```

mod facts;
mod fields;
mod json;
mod reading;
#[cfg(test)]
mod tests;
mod text;

pub use reading::{ErrorCode, InsideError, MESSAGE_MAX_BYTES, Reading};

use crate::money::{Cost, GenerationId};

use super::Endpoint;
use super::sse::{EventStream, Piece};
use facts::Facts;
use json::Walk;

/// What an answer's body is made of, by its content type and encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// One JSON document, perhaps after padding.
    Json,
    /// Server-sent events.
    EventStream,
    /// Nothing we read: audio, or an encoded body.
    Opaque,
}

/// Reads cost, tokens, ids and errors out of an answer's body as it passes.
pub struct UsageReader {
    shape: Shape,
    walk: Walk,
    facts: Facts,
}

enum Shape {
    Json,
    EventStream { lines: EventStream, done: DoneMark },
    Opaque,
}

impl UsageReader {
    /// A reader for one answer of `endpoint`.
    pub const fn new(endpoint: Endpoint, shape: BodyShape) -> Self {
        let shape = match shape {
            BodyShape::Json => Shape::Json,
            BodyShape::EventStream => Shape::EventStream { lines: EventStream::new(), done: DoneMark::new() },
            BodyShape::Opaque => Shape::Opaque,
        };
        Self { shape, walk: Walk::new(), facts: Facts::new(endpoint.dialect()) }
    }

    /// Look at the next chunk of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        let (walk, facts) = (&mut self.walk, &mut self.facts);
        match &mut self.shape {
            Shape::Json => walk.push(chunk, facts),
            Shape::EventStream { lines, done } => lines.push(chunk, |piece| match piece {
                Piece::Data(data) => {
                    done.push(data);
                    walk.push(data, facts);
                }
                Piece::LineEnd => walk.line_feed(facts),
                Piece::EventEnd => end_event(walk, done, facts),
            }),
            Shape::Opaque => {}
        }
    }

    /// The generation's id, as soon as the body has named it.
    pub const fn generation(&self) -> Option<&GenerationId> {
        self.facts.reading().generation.as_ref()
    }

    /// The cost as far as events have told it; a JSON body tells it at its end only.
    pub const fn cost_so_far(&self) -> Cost {
        self.facts.reading().cost
    }

    /// What a JSON body has cost, if nothing but white space follows; unknown while it is not whole.
    pub fn cost_at_end(&self) -> Cost {
        match self.shape {
            Shape::Json if self.walk.is_closed() => self.facts.cost_at_end(),
            _ => Cost::Unknown,
        }
    }

    /// The body is over, properly or not.
    pub fn finish(mut self) -> Reading {
        match &mut self.shape {
            Shape::Json => {
                let whole = self.walk.is_closed();
                self.facts.end_document(whole);
                if whole {
                    self.facts.complete();
                }
            }
            // The blank line after the last event may be missing; the event counts if its document is whole.
            Shape::EventStream { done, .. } => end_event(&mut self.walk, done, &mut self.facts),
            Shape::Opaque => self.facts.complete(),
        }
        self.facts.into_reading()
    }
}

fn end_event(walk: &mut Walk, done: &mut DoneMark, facts: &mut Facts) {
    facts.end_document(walk.is_closed());
    if done.seen() {
        facts.complete();
    }
    walk.restart();
    *done = DoneMark::new();
}

/// Watches for an event whose data is `[DONE]`: how much of it has been seen, or `None` when it is something else.
struct DoneMark(Option<u8>);

const DONE: &[u8] = b"[DONE]";

impl DoneMark {
    const fn new() -> Self {
        Self(Some(0))
    }

    #[inline]
    fn push(&mut self, data: &[u8]) {
        for byte in data {
            let Some(seen) = self.0 else { return };
            self.0 = match DONE.get(usize::from(seen)) {
                Some(expected) if expected == byte => Some(seen + 1),
                None if byte.is_ascii_whitespace() => Some(seen),
                _ => None,
            };
        }
    }

    fn seen(&self) -> bool {
        self.0.is_some_and(|seen| usize::from(seen) == DONE.len())
    }
}
