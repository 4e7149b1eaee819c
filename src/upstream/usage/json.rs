//! Walks a JSON document byte by byte and reports the few values that stand in known places.
//!
//! Only containers on the way to such a place are read as grammar; everything else is stepped over, strings by
//! `memchr`, nested containers by counting brackets. Memory is constant and nothing is allocated, however long, deep
//! or finely cut the document is. A place is a path of keys from the root, compared after decoding escapes, so text
//! inside strings or inside other containers can never be taken for it.

#![deny(clippy::indexing_slicing)]

use super::facts::Facts;
use super::fields::{Field, Node};
use super::text::{TEXT_MAX_BYTES, Text};

/// A document being walked. [`Walk::push`] takes its bytes in any portions.
pub(super) struct Walk {
    state: State,
    path: Path,
    /// The place of the value that comes next or is being read.
    field: Field,
    skipped: Brackets,
    text: Text,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value is due.
    Value,
    /// After `[`.
    ElementOrEnd,
    /// After `{`.
    KeyOrEnd,
    /// After a comma in an object.
    Key,
    Colon,
    CommaOrEnd,
    /// Inside a string that may matter.
    Text(Role),
    Escape(Role),
    /// Inside a `\u` escape: digits so far and their value.
    Unit(Role, u8, u16),
    /// Inside a string that does not matter, in a container that does.
    Passing,
    PassingEscape,
    /// Inside a number, `true`, `false` or `null`.
    Bare,
    /// Inside a container that does not matter, and the same within a string there.
    Skipping,
    SkippingText,
    SkippingEscape,
    /// The document is whole; only white space may follow.
    Closed,
    /// Not JSON. Nothing more can be learned.
    Broken,
}

/// What a string is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Key,
    Value,
}

impl Walk {
    pub(super) const fn new() -> Self {
        Self { state: State::Value, path: Path::new(), field: Field::Root, skipped: Brackets::new(), text: Text::new() }
    }

    /// Begin a new document.
    pub(super) const fn restart(&mut self) {
        self.state = State::Value;
        self.path = Path::new();
        self.field = Field::Root;
    }

    /// The document has ended as JSON does.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// A line feed between two portions: white space, but never inside a string.
    pub(super) fn line_feed(&mut self, facts: &mut Facts) {
        match self.state {
            State::Text(_)
            | State::Escape(_)
            | State::Unit(..)
            | State::Passing
            | State::PassingEscape
            | State::SkippingText
            | State::SkippingEscape => self.state = State::Broken,
            _ => self.push(b"\n", facts),
        }
    }

    /// Walk on over `bytes`.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8], facts: &mut Facts) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.state {
                State::Text(role) => self.text(role, rest, facts),
                State::Passing => self.pass(rest),
                State::Skipping => self.skip(rest),
                State::SkippingText => self.skip_text(rest),
                State::Bare => self.bare(rest, facts),
                State::PassingEscape => self.turn(State::Passing, after),
                State::SkippingEscape => self.turn(State::SkippingText, after),
                State::Escape(role) => self.escape(role, byte, after),
                State::Unit(role, digits, unit) => self.unit(role, digits, unit, byte, after),
                State::Broken => &[],
                _ if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => after,
                state => self.structure(state, byte, rest, after, facts),
            };
        }
    }

    const fn turn<'a>(&mut self, state: State, rest: &'a [u8]) -> &'a [u8] {
        self.state = state;
        rest
    }

    /// A byte between tokens.
    fn structure<'a>(
        &mut self,
        state: State,
        byte: u8,
        rest: &'a [u8],
        after: &'a [u8],
        facts: &mut Facts,
    ) -> &'a [u8] {
        match (state, byte) {
            (State::KeyOrEnd, b'}') | (State::ElementOrEnd, b']') => self.leave(),
            (State::KeyOrEnd | State::Key, b'"') => {
                self.text.clear();
                self.state = State::Text(Role::Key);
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::CommaOrEnd, b',') => match self.path.last().and_then(Node::element) {
                Some(element) => {
                    self.field = element;
                    self.state = State::Value;
                }
                None => self.state = State::Key,
            },
            (State::CommaOrEnd, b'}' | b']') if self.path.last().is_some_and(|n| n.close() == byte) => self.leave(),
            (State::Value | State::ElementOrEnd, _) => return self.value(byte, rest, after, facts),
            _ => self.state = State::Broken,
        }
        after
    }

    /// The first byte of a value.
    fn value<'a>(&mut self, byte: u8, rest: &'a [u8], after: &'a [u8], facts: &mut Facts) -> &'a [u8] {
        match byte {
            b'"' if self.field == Field::Other => self.state = State::Passing,
            b'"' => {
                self.text.clear();
                self.state = State::Text(Role::Value);
            }
            b'{' | b'[' => match facts.container(self.field, byte) {
                Some(node) => self.enter(node),
                None => {
                    self.skipped = Brackets::new();
                    self.skipped.open(byte);
                    self.state = State::Skipping;
                }
            },
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.text.clear();
                self.state = State::Bare;
                return rest;
            }
            _ => self.state = State::Broken,
        }
        after
    }

    fn enter(&mut self, node: Node) {
        if !self.path.push(node) {
            self.state = State::Broken;
            return;
        }
        self.state = match node.element() {
            Some(element) => {
                self.field = element;
                State::ElementOrEnd
            }
            None => State::KeyOrEnd,
        };
    }

    fn leave(&mut self) {
        self.path.pop();
        self.value_over();
    }

    fn value_over(&mut self) {
        self.state = if self.path.last().is_some() { State::CommaOrEnd } else { State::Closed };
    }

    /// A string that may matter: usually whole in this chunk and without escapes, then read where it stands.
    fn text<'a>(&mut self, role: Role, rest: &'a [u8], facts: &mut Facts) -> &'a [u8] {
        let Some(at) = string_special(rest) else {
            self.text.push(rest);
            return &[];
        };
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        let Some((&byte, after)) = tail.split_first() else { return tail };
        if byte == b'\\' {
            self.text.push(plain);
            self.state = State::Escape(role);
            return after;
        }
        let (text, whole) = if self.text.is_pristine() {
            plain.get(..TEXT_MAX_BYTES).filter(|_| plain.len() > TEXT_MAX_BYTES).map_or((plain, true), |p| (p, false))
        } else {
            self.text.push(plain);
            self.text.finish()
        };
        match role {
            Role::Key => {
                let node = self.path.last();
                self.field = node.filter(|_| whole).map_or(Field::Other, |node| facts.field(node, text));
                self.state = State::Colon;
            }
            Role::Value => {
                facts.text(self.field, text, whole);
                self.value_over();
            }
        }
        after
    }

    fn escape<'a>(&mut self, role: Role, byte: u8, after: &'a [u8]) -> &'a [u8] {
        self.state = State::Text(role);
        match byte {
            b'"' | b'\\' | b'/' => self.text.push(&[byte]),
            b'b' => self.text.push(b"\x08"),
            b'f' => self.text.push(b"\x0c"),
            b'n' => self.text.push(b"\n"),
            b'r' => self.text.push(b"\r"),
            b't' => self.text.push(b"\t"),
            b'u' => self.state = State::Unit(role, 0, 0),
            _ => self.state = State::Broken,
        }
        after
    }

    fn unit<'a>(&mut self, role: Role, digits: u8, unit: u16, byte: u8, after: &'a [u8]) -> &'a [u8] {
        let Some(digit) = char::from(byte).to_digit(16) else { return self.turn(State::Broken, after) };
        let unit = unit << 4 | digit as u16;
        self.state = State::Unit(role, digits + 1, unit);
        if digits == 3 {
            self.text.push_unit(unit);
            self.state = State::Text(role);
        }
        after
    }

    fn pass<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let Some(at) = string_special(rest) else { return &[] };
        if rest.get(at) == Some(&b'\\') {
            self.state = State::PassingEscape;
        } else {
            self.value_over();
        }
        rest.get(at + 1..).unwrap_or_default()
    }

    /// A number or literal, up to the byte that ends it.
    fn bare<'a>(&mut self, rest: &'a [u8], facts: &mut Facts) -> &'a [u8] {
        let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        let Some(at) = rest.iter().position(ends) else {
            self.text.push(rest);
            return &[];
        };
        let (plain, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        if self.field != Field::Other {
            let (text, whole) = if self.text.is_pristine() && plain.len() <= TEXT_MAX_BYTES {
                (plain, true)
            } else {
                self.text.push(plain);
                self.text.finish()
            };
            facts.bare(self.field, text, whole);
        }
        self.value_over();
        tail
    }

    /// Inside a container that does not matter: on to the next quote or bracket.
    fn skip<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let mut rest = rest;
        loop {
            let Some(at) = structural(rest) else { return &[] };
            let byte = rest.get(at).copied().unwrap_or_default();
            rest = rest.get(at + 1..).unwrap_or_default();
            match byte {
                b'"' => return self.turn(State::SkippingText, rest),
                b'{' | b'[' => self.skipped.open(byte),
                _ => match self.skipped.close(byte) {
                    Closing::Inner => {}
                    Closing::Last => {
                        self.value_over();
                        return rest;
                    }
                    Closing::Mismatch => return self.turn(State::Broken, rest),
                },
            }
        }
    }

    fn skip_text<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let Some(at) = string_special(rest) else { return &[] };
        self.state = if rest.get(at) == Some(&b'\\') { State::SkippingEscape } else { State::Skipping };
        rest.get(at + 1..).unwrap_or_default()
    }
}

/// Where a string's end or its next escape is.
#[inline]
fn string_special(bytes: &[u8]) -> Option<usize> {
    memchr::memchr2(b'"', b'\\', bytes)
}

/// Where the next quote or bracket is.
#[inline]
fn structural(bytes: &[u8]) -> Option<usize> {
    // `[` and `{`, `]` and `}` differ in one bit only, and no other byte meets them there.
    let is = |b: u8| b == b'"' || b | 0x20 == b'{' || b | 0x20 == b'}';
    let (blocks, _) = bytes.as_chunks::<16>();
    // Without a branch inside, a block is a handful of vector instructions.
    let clear = blocks.iter().take_while(|block| !block.iter().fold(false, |hit, &b| hit | is(b))).count() * 16;
    let tail = bytes.get(clear..)?;
    tail.iter().position(|&b| is(b)).map(|at| clear + at)
}

/// The open brackets of a skipped container.
struct Brackets {
    depth: u64,
    /// One bit for each of the outer 64 levels: whether it is an object. Deeper levels are counted, not told apart.
    objects: u64,
}

enum Closing {
    Inner,
    Last,
    Mismatch,
}

impl Brackets {
    const fn new() -> Self {
        Self { depth: 0, objects: 0 }
    }

    const fn bit(depth: u64) -> u64 {
        if depth < 64 { 1 << depth } else { 0 }
    }

    const fn open(&mut self, byte: u8) {
        let bit = Self::bit(self.depth);
        self.objects = if byte == b'{' { self.objects | bit } else { self.objects & !bit };
        self.depth = self.depth.saturating_add(1);
    }

    const fn close(&mut self, byte: u8) -> Closing {
        self.depth = self.depth.saturating_sub(1);
        let bit = Self::bit(self.depth);
        if bit != 0 && (self.objects & bit != 0) != (byte == b'}') {
            Closing::Mismatch
        } else if self.depth == 0 {
            Closing::Last
        } else {
            Closing::Inner
        }
    }
}

/// The containers around the current place, from the root. No known place lies deeper than its capacity.
struct Path {
    nodes: [Node; 6],
    len: usize,
}

impl Path {
    const fn new() -> Self {
        Self { nodes: [Node::Root; 6], len: 0 }
    }

    fn last(&self) -> Option<Node> {
        self.nodes.get(self.len.checked_sub(1)?).copied()
    }

    fn push(&mut self, node: Node) -> bool {
        let Some(free) = self.nodes.get_mut(self.len) else { return false };
        *free = node;
        self.len += 1;
        true
    }

    const fn pop(&mut self) {
        self.len = self.len.saturating_sub(1);
    }
}
