//! Server-sent events: where the data of an event stands in a stream of bytes.
//!
//! Follows the WHATWG event stream grammar as far as it concerns `data`: LF, CRLF and CR end a line, a BOM may open
//! the stream, a line that begins with `:` is a comment, one space after `data:` belongs to the field, a blank line
//! ends the event. Data is handed on as it comes, piece by piece, so a line of megabytes needs no memory.

#![deny(clippy::indexing_slicing)]

/// What a stretch of the stream was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A part of a data line: never empty, never a line end.
    Data(&'a [u8]),
    /// A data line ended; another may follow within the same event, joined by a line feed.
    LineEnd,
    /// A blank line: the event, if it had data, is whole.
    EventEnd,
}

/// Splits a stream into [`Piece`]s, wherever its chunks begin and end.
#[derive(Debug)]
pub(crate) struct EventStream {
    line: Line,
    /// The last byte was CR, so an LF now belongs to the same line end.
    after_cr: bool,
}

/// Which part of a line comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// The very first bytes: this many of the BOM have been seen.
    Bom(u8),
    /// This many bytes of `data` have been seen (0: at the line's beginning).
    Name(u8),
    /// After `data:`, before the optional space.
    Colon,
    /// Inside the value of `data`.
    Data,
    /// Inside a comment or another field.
    Other,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";
const NAME: &[u8] = b"data";

impl EventStream {
    pub(crate) const fn new() -> Self {
        Self { line: Line::Bom(0), after_cr: false }
    }

    /// Hand the pieces of `chunk` to `take`, in order.
    #[inline]
    pub(crate) fn push<'a>(&mut self, chunk: &'a [u8], mut take: impl FnMut(Piece<'a>)) {
        let mut rest = chunk;
        while let Some((&byte, after)) = rest.split_first() {
            if self.after_cr {
                self.after_cr = false;
                if byte == b'\n' {
                    rest = after;
                    continue;
                }
            }
            rest = match self.line {
                Line::Data | Line::Other => self.value(rest, &mut take),
                Line::Name(0) if rest.starts_with(b"data: ") => {
                    self.line = Line::Data;
                    rest.get(6..).unwrap_or_default()
                }
                Line::Colon if byte == b' ' => {
                    self.line = Line::Data;
                    after
                }
                Line::Colon => {
                    self.line = Line::Data;
                    rest
                }
                Line::Bom(seen) => self.bom(seen, byte, rest, after),
                Line::Name(seen) => self.name(seen, byte, after, &mut take),
            };
        }
    }

    /// The rest of a line whose kind is known, up to its end or the chunk's.
    fn value<'a>(&mut self, rest: &'a [u8], take: &mut impl FnMut(Piece<'a>)) -> &'a [u8] {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (text, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        let data = self.line == Line::Data;
        if data && !text.is_empty() {
            take(Piece::Data(text));
        }
        let Some((&byte, after)) = tail.split_first() else { return tail };
        if data {
            take(Piece::LineEnd);
        }
        self.line_end(byte);
        after
    }

    /// One byte of a field name, as long as it can still become `data`.
    fn name<'a>(&mut self, seen: u8, byte: u8, after: &'a [u8], take: &mut impl FnMut(Piece<'a>)) -> &'a [u8] {
        match byte {
            b'\n' | b'\r' => {
                match seen {
                    0 => take(Piece::EventEnd),
                    // `data` alone on its line is an empty data line.
                    4 => take(Piece::LineEnd),
                    _ => {}
                }
                self.line_end(byte);
            }
            b':' if seen == 4 => self.line = Line::Colon,
            _ if NAME.get(usize::from(seen)) == Some(&byte) => self.line = Line::Name(seen + 1),
            _ => self.line = Line::Other,
        }
        after
    }

    fn bom<'a>(&mut self, seen: u8, byte: u8, rest: &'a [u8], after: &'a [u8]) -> &'a [u8] {
        if BOM.get(usize::from(seen)) == Some(&byte) {
            self.line = if seen == 2 { Line::Name(0) } else { Line::Bom(seen + 1) };
            return after;
        }
        // Half a BOM is the beginning of some other field's name.
        self.line = if seen == 0 { Line::Name(0) } else { Line::Other };
        rest
    }

    const fn line_end(&mut self, byte: u8) {
        self.line = Line::Name(0);
        self.after_cr = byte == b'\r';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a stream, each as its data lines joined by line feeds, cut into chunks of `size`.
    fn events(stream: &[u8], size: usize) -> Vec<String> {
        let mut reader = EventStream::new();
        let (mut done, mut data, mut lines) = (Vec::new(), Vec::new(), 0);
        for chunk in stream.chunks(size) {
            reader.push(chunk, |piece| match piece {
                Piece::Data(bytes) => data.extend_from_slice(bytes),
                Piece::LineEnd => {
                    data.push(b'\n');
                    lines += 1;
                }
                Piece::EventEnd => {
                    if lines > 0 {
                        data.pop();
                        done.push(String::from_utf8(data.clone()).expect("the tests are text"));
                    }
                    data.clear();
                    lines = 0;
                }
            });
        }
        done
    }

    #[test]
    fn finds_the_data_whatever_the_chunks() {
        let check = |stream: &str, expected: &[&str]| {
            for size in 1..=stream.len() {
                assert_eq!(events(stream.as_bytes(), size), expected, "{stream:?} in chunks of {size}");
            }
        };
        check("data: a\n\n", &["a"]);
        check("data:a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
        check("data: a\r\rdata: b\r\r", &["a", "b"]);
        check("data: a\r\r\ndata: b\n\n", &["a", "b"]);
        check("\u{feff}data: a\n\n", &["a"]);
        check("\u{feff}\u{feff}data: a\n\n", &[]);
        check(": OPENROUTER PROCESSING\n\n: \n\ndata: é\n\n", &["é"]);
        check("event: data\ndata: [DONE]\n\n", &["[DONE]"]);
        check("data: a\nid: 7\ndata: b\n\n", &["a\nb"]);
        check("data:  a \n\n", &[" a "]);
        check("data\n\n", &[""]);
        check("data:\ndata\n\n", &["\n"]);
        check("datax: a\ndat: b\n data: c\nDATA: d\n\n", &[]);
        check("data: not ended\n", &[]);
        check("data: : x\n\n", &[": x"]);
    }
}
