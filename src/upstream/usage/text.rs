//! A small buffer for the one JSON token being read when a chunk ends inside it or it holds escapes.

#![deny(clippy::indexing_slicing)]

/// The longest text that matters whole: model slugs, ids and codes are far shorter, messages are cut anyway.
pub(super) const TEXT_MAX_BYTES: usize = 256;

/// The decoded beginning of a token, at most [`TEXT_MAX_BYTES`].
pub(super) struct Text {
    bytes: [u8; TEXT_MAX_BYTES],
    len: usize,
    cut: bool,
    /// Nothing has been added since the last clearing.
    pristine: bool,
    /// The first half of a `\uD83D\uDE00` pair, waiting for the second.
    high: Option<u16>,
}

impl Text {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; TEXT_MAX_BYTES], len: 0, cut: false, pristine: true, high: None }
    }

    pub(super) const fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
        self.pristine = true;
        self.high = None;
    }

    pub(super) const fn is_pristine(&self) -> bool {
        self.pristine
    }

    /// Add bytes as they stand.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.end_surrogate();
        self.append(bytes);
    }

    /// Add a UTF-16 code unit of a `\u` escape. Halves without their other half become U+FFFD.
    pub(super) fn push_unit(&mut self, unit: u16) {
        self.pristine = false;
        match (self.high.take(), unit) {
            (Some(high), 0xDC00..=0xDFFF) => {
                let point = 0x1_0000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(unit) - 0xDC00);
                self.push_char(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            (pending, _) => {
                if pending.is_some() {
                    self.push_char(char::REPLACEMENT_CHARACTER);
                }
                match unit {
                    0xD800..=0xDBFF => self.high = Some(unit),
                    _ => self.push_char(char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER)),
                }
            }
        }
    }

    /// The text and whether it is whole, once its last byte is in.
    pub(super) fn finish(&mut self) -> (&[u8], bool) {
        self.end_surrogate();
        (self.bytes.get(..self.len).unwrap_or_default(), !self.cut)
    }

    fn end_surrogate(&mut self) {
        if self.high.take().is_some() {
            self.push_char(char::REPLACEMENT_CHARACTER);
        }
    }

    fn push_char(&mut self, c: char) {
        let mut utf8 = [0; 4];
        let encoded = c.encode_utf8(&mut utf8).as_bytes();
        if self.len + encoded.len() > TEXT_MAX_BYTES {
            self.cut = true;
        }
        self.append(encoded);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.pristine = false;
        if self.cut {
            return;
        }
        let room = TEXT_MAX_BYTES - self.len;
        let fitting = bytes.get(..room).unwrap_or(bytes);
        if let Some(free) = self.bytes.get_mut(self.len..self.len + fitting.len()) {
            free.copy_from_slice(fitting);
            self.len += fitting.len();
        }
        self.cut = fitting.len() < bytes.len();
    }
}
