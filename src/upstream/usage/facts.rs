//! Collects the values found in one document, and joins the documents of a stream into one [`Reading`].
//!
//! Within a document JSON's usual reading holds: of equal keys the last counts. Over the events of a stream the last
//! value that is not `null` counts. A document that breaks off or is not JSON adds nothing to the figures.

#![deny(clippy::indexing_slicing)]

use std::mem;

use crate::money::{Cost, GenerationId, Tokens, Usd};
use crate::upstream::Dialect;

use super::fields::{Count, Field, Node};
use super::reading::{ErrorCode, InsideError, MESSAGE_MAX_BYTES, Reading};

/// What has been read so far.
pub(super) struct Facts {
    dialect: Dialect,
    document: Document,
    counts: Counts,
    reading: Reading,
}

/// What the current document says.
#[derive(Default)]
struct Document {
    usage: Option<Usage>,
    error: Option<InsideError>,
    /// `error` stands at the top, so those of single choices no longer matter.
    error_on_top: bool,
    /// `code` and `message` at the root: an error if the event says that it is one.
    flat: Option<Box<InsideError>>,
    /// `error_type` at the root.
    error_type: Option<Box<str>>,
    kind: EventKind,
}

/// One `usage` object.
#[derive(Default)]
struct Usage {
    cost: Charge,
    is_byok: bool,
    upstream: Option<Usd>,
    counts: Counts,
}

#[derive(Clone, Copy, Default)]
enum Charge {
    /// No `cost`, or `null`.
    #[default]
    Absent,
    Known(Usd),
    /// Something stands there that is no amount.
    Unusable,
}

type Counts = [Option<u64>; Count::NUMBER];

/// What the event is, as far as it matters.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum EventKind {
    #[default]
    Other,
    /// The proper last event of its dialect.
    Last,
    /// The proper last event, and the answer has failed.
    LastFailed,
    Error,
}

impl Facts {
    pub(super) const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            document: Document {
                usage: None,
                error: None,
                error_on_top: false,
                flat: None,
                error_type: None,
                kind: EventKind::Other,
            },
            counts: [None; Count::NUMBER],
            reading: Reading::unread(),
        }
    }

    /// What is known of the answer, not counting the document being read.
    pub(super) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What [`Reading::cost`] will be if the document being read is over here.
    pub(super) fn cost_at_end(&self) -> Cost {
        self.document.usage.as_ref().map_or(self.reading.cost, |usage| self.cost_with(usage))
    }

    fn cost_with(&self, usage: &Usage) -> Cost {
        match usage.cost {
            Charge::Absent => self.reading.cost,
            Charge::Known(amount) => Cost::Known(amount),
            Charge::Unusable => Cost::Unknown,
        }
    }

    pub(super) fn into_reading(self) -> Reading {
        self.reading
    }

    pub(super) const fn complete(&mut self) {
        self.reading.complete = true;
    }

    /// The place of the value under `key`, or [`Field::Other`] when it can no longer matter.
    #[inline]
    pub(super) fn field(&self, node: Node, key: &[u8]) -> Field {
        match node.child(key, self.dialect) {
            Field::Id if self.reading.generation.is_some() => Field::Other,
            Field::ChoiceError if self.document.error_on_top => Field::Other,
            field => field,
        }
    }

    /// An object or array begins at a known place: the node to walk into, if any.
    pub(super) fn container(&mut self, field: Field, open: u8) -> Option<Node> {
        let document = &mut self.document;
        match (field, open) {
            (Field::Root, b'{') => Some(Node::Root),
            (Field::Response, b'{') => Some(Node::Response),
            (Field::Message, b'{') if self.dialect == Dialect::Messages => Some(Node::Message),
            (Field::Choices, b'[') => Some(Node::Choices),
            (Field::Choice, b'{') => Some(Node::Choice),
            (Field::Usage, b'{') => {
                document.usage = Some(Usage::default());
                Some(Node::Usage)
            }
            (Field::Error | Field::ChoiceError, b'{') => {
                self.replace(field);
                Some(if field == Field::Error { Node::Error } else { Node::ChoiceError })
            }
            (Field::CostDetails | Field::PromptDetails | Field::CompletionDetails, b'{') => {
                self.replace(field);
                Some(match field {
                    Field::CostDetails => Node::CostDetails,
                    Field::PromptDetails => Node::PromptDetails,
                    _ => Node::CompletionDetails,
                })
            }
            (Field::ErrorMetadata, b'{') => Some(Node::ErrorMetadata),
            _ => {
                self.replace(field);
                None
            }
        }
    }

    /// A value came that is neither text nor number nor `null`, or whose contents follow: forget an earlier one.
    fn replace(&mut self, field: Field) {
        let document = &mut self.document;
        match field {
            Field::Usage => document.usage = None,
            Field::Error => {
                document.error = Some(InsideError::default());
                document.error_on_top = true;
            }
            Field::ChoiceError => document.error = Some(InsideError::default()),
            Field::Cost => self.charge(Charge::Unusable),
            _ => self.null(field),
        }
    }

    fn null(&mut self, field: Field) {
        let document = &mut self.document;
        match field {
            Field::Usage => document.usage = None,
            Field::Error => {
                document.error = None;
                document.error_on_top = false;
            }
            Field::ChoiceError => document.error = None,
            Field::Cost => self.charge(Charge::Absent),
            Field::PromptDetails => self.count(Count::CachedTokens, None),
            Field::CompletionDetails => self.count(Count::ReasoningTokens, None),
            Field::Count(count) => self.count(count, None),
            Field::CostDetails | Field::UpstreamCost | Field::IsByok => {
                if let Some(usage) = &mut document.usage {
                    match field {
                        Field::IsByok => usage.is_byok = false,
                        _ => usage.upstream = None,
                    }
                }
            }
            _ => {}
        }
    }

    fn charge(&mut self, charge: Charge) {
        if let Some(usage) = &mut self.document.usage {
            usage.cost = charge;
        }
    }

    fn count(&mut self, count: Count, value: Option<u64>) {
        if let Some(slot) = self.document.usage.as_mut().and_then(|usage| usage.counts.get_mut(count as usize)) {
            *slot = value;
        }
    }

    /// A number, `true`, `false` or `null` at a known place.
    pub(super) fn bare(&mut self, field: Field, text: &[u8], whole: bool) {
        if text == b"null" {
            return self.null(field);
        }
        match field {
            Field::Cost => self.charge(amount(text, whole).map_or(Charge::Unusable, Charge::Known)),
            Field::Count(count) => self.count(count, number(text)),
            Field::IsByok | Field::UpstreamCost => {
                if let Some(usage) = &mut self.document.usage {
                    match field {
                        Field::IsByok => usage.is_byok = text == b"true",
                        _ => usage.upstream = amount(text, whole),
                    }
                }
            }
            Field::Error | Field::ChoiceError if text == b"false" => self.null(field),
            Field::ErrorCode => self.set_code(text, whole),
            Field::FlatCode => set_code(self.flat(), text, whole),
            _ => self.replace(field),
        }
    }

    /// A string at a known place, decoded.
    pub(super) fn text(&mut self, field: Field, text: &[u8], whole: bool) {
        match field {
            Field::Id => self.identify(text),
            Field::Model => self.name_model(text, whole),
            Field::EventType => self.document.kind = event_kind(self.dialect, text),
            Field::Error | Field::ChoiceError if text.is_empty() => self.null(field),
            Field::Error | Field::ChoiceError => {
                self.replace(field);
                self.set(|error| error.message = prefix(text));
            }
            Field::ErrorMessage => self.set(|error| error.message = prefix(text)),
            Field::ErrorCode => self.set_code(text, whole),
            Field::ErrorKind => self.set(|error| error.kind = name(text, whole)),
            Field::ErrorType => self.set(|error| error.error_type = name(text, whole)),
            Field::LimitSource => self.set(|error| error.limit_source = name(text, whole)),
            Field::Reason => self.set(|error| error.reason = name(text, whole)),
            Field::FlatCode => set_code(self.flat(), text, whole),
            Field::Message => self.flat().message = prefix(text),
            Field::RootErrorType => self.document.error_type = name(text, whole),
            _ => self.replace(field),
        }
    }

    /// Ids count as soon as they are read: the lookup of a broken answer needs them most.
    fn identify(&mut self, text: &[u8]) {
        if text.starts_with(b"gen-") && self.reading.generation.is_none() {
            self.reading.generation = GenerationId::parse(text);
        }
    }

    fn name_model(&mut self, text: &[u8], whole: bool) {
        // Every chunk of a stream repeats it: allocate only for a new one.
        let known = self.reading.model.as_deref().is_some_and(|model| model.as_bytes() == text);
        if !known && !text.is_empty() {
            self.reading.model = name(text, whole).or(self.reading.model.take());
        }
    }

    fn set(&mut self, change: impl FnOnce(&mut InsideError)) {
        if let Some(error) = &mut self.document.error {
            change(error);
        }
    }

    fn set_code(&mut self, text: &[u8], whole: bool) {
        self.set(|error| set_code(error, text, whole));
    }

    fn flat(&mut self) -> &mut InsideError {
        self.document.flat.get_or_insert_default()
    }

    /// The document is over. What it said counts if it was `whole`.
    pub(super) fn end_document(&mut self, whole: bool) {
        let document = mem::take(&mut self.document);
        if !whole {
            return;
        }
        self.reading.complete |= matches!(document.kind, EventKind::Last | EventKind::LastFailed);
        if let Some(usage) = &document.usage {
            self.join(usage);
        }
        if self.reading.error.is_none() {
            self.reading.error = document.fault();
        }
    }

    fn join(&mut self, usage: &Usage) {
        self.reading.cost = self.cost_with(usage);
        self.reading.byok = match usage.cost {
            Charge::Absent => self.reading.byok,
            Charge::Known(_) => usage.upstream.filter(|_| usage.is_byok),
            Charge::Unusable => None,
        };
        for (total, count) in self.counts.iter_mut().zip(&usage.counts) {
            *total = count.or(*total);
        }
        self.reading.tokens = self.tokens();
    }

    fn tokens(&self) -> Tokens {
        let [prompt, input, completion, output, cached, reasoning, cache_read, cache_creation] = self.counts;
        // Anthropic's `input_tokens` leaves out what went through the cache; everybody else's includes it.
        let input = match self.dialect {
            Dialect::Messages => input
                .map(|n| [n, cache_read.unwrap_or(0), cache_creation.unwrap_or(0)])
                .map(|parts| parts.into_iter().fold(0, u64::saturating_add)),
            Dialect::Chat | Dialect::Responses => input,
        };
        Tokens { prompt: prompt.or(input), completion: completion.or(output), cached: cached.or(cache_read), reasoning }
    }
}

impl Document {
    /// The error the document reports, if it does.
    fn fault(self) -> Option<InsideError> {
        let failed = matches!(self.kind, EventKind::Error | EventKind::LastFailed);
        let flat = self.flat.filter(|_| failed).map(|flat| *flat);
        let unsaid = failed.then(InsideError::default);
        let mut error = self.error.or(flat).or(unsaid)?;
        error.error_type = error.error_type.or(self.error_type);
        Some(error)
    }
}

fn event_kind(dialect: Dialect, text: &[u8]) -> EventKind {
    match (dialect, text) {
        (Dialect::Messages, b"message_stop") => EventKind::Last,
        (Dialect::Responses, b"response.completed" | b"response.incomplete") => EventKind::Last,
        (Dialect::Responses, b"response.failed") => EventKind::LastFailed,
        (Dialect::Responses, b"response.error") | (_, b"error") => EventKind::Error,
        _ => EventKind::Other,
    }
}

/// A charge as printed. A negative one is not believed.
fn amount(text: &[u8], whole: bool) -> Option<Usd> {
    if !whole || text.starts_with(b"-") {
        return None;
    }
    Usd::parse(text).ok()
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A short name; `None` when it is too long or not UTF-8.
fn name(text: &[u8], whole: bool) -> Option<Box<str>> {
    std::str::from_utf8(text).ok().filter(|_| whole).map(Box::from)
}

fn set_code(error: &mut InsideError, text: &[u8], whole: bool) {
    error.code = number(text).map(ErrorCode::Status).or_else(|| name(text, whole).map(ErrorCode::Name));
}

/// The beginning of a message, cut between characters.
fn prefix(text: &[u8]) -> Box<str> {
    let text = text.get(..MESSAGE_MAX_BYTES).unwrap_or(text);
    let valid = text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    valid.into()
}
