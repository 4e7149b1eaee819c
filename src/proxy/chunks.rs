//! Strict reading of how a chunked request body is framed (RFC 9112, section 7.1). Pure.
//!
//! Pingora unpacks chunks, but takes shapes that whoever stands in front of potluck may read in another way: any byte inside
//! a chunk extension, a line feed among them (`4a;a\nhello\r\n` is one size line to Pingora, and two lines to a reader that
//! ends lines on LF), and white space behind a size. So the raw bytes are looked at beside it, and what is not plain is
//! refused. Plain extensions and trailers pass, and are not sent on.

use memchr::memchr;

/// A body whose chunks could be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Ambiguous::DESCRIPTION)]
pub struct Ambiguous;

impl Ambiguous {
    /// What is wrong, for the client.
    pub const DESCRIPTION: &str = "the chunks of the body could be read in two ways";
}

/// Follows the framing of one body, wherever its bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks(At);

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A digit of a chunk's size, of which so many have come, or what ends it.
    Size { size: u64, digits: u8 },
    /// More of an extension, which is not looked at.
    Extension { size: u64 },
    /// The LF of a size line.
    SizeEnd { size: u64 },
    /// So many bytes of data.
    Data { left: u64 },
    /// The CR behind the data.
    DataCr,
    /// The LF behind the data.
    DataEnd,
    /// A trailer's first byte, or the CR of the last line.
    Line,
    /// More of a trailer, which is not looked at.
    Trailer,
    /// The LF of a trailer.
    TrailerEnd,
    /// The LF of the last line.
    LastEnd,
    /// Nothing: the body is over.
    Over,
}

/// More digits make no size that a body here can have.
const DIGITS_MAX: u8 = 16;

impl Chunks {
    /// At the beginning of a body.
    pub const fn new() -> Self {
        Self(At::Size { size: 0, digits: 0 })
    }

    /// Follow the next bytes. What comes behind the body's end is not looked at.
    ///
    /// # Errors
    /// When the framing is not plain; nothing that follows can be trusted then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Ambiguous> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if let At::Data { left } = self.0 {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let left = left - here as u64;
                self.0 = if left == 0 { At::DataCr } else { At::Data { left } };
                rest = rest.get(here..).unwrap_or_default();
                continue;
            }
            if self.0 == At::Over {
                return Ok(());
            }
            self.0 = self.0.next(byte)?;
            rest = after;
        }
        Ok(())
    }

    /// Whether the body is over.
    pub fn over(&self) -> bool {
        self.0 == At::Over
    }
}

impl At {
    fn next(self, byte: u8) -> Result<Self, Ambiguous> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, b) if b.is_ascii_hexdigit() && digits < DIGITS_MAX => {
                let digit = char::from(b).to_digit(16).map_or(0, u64::from);
                Self::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. }, b';') => Self::Extension { size },
            (Self::Size { size, digits: 1.. } | Self::Extension { size }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { .. }, b) if is_text(b) => self,
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Line,
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Line, b'\r') => Self::LastEnd,
            // A line that begins with white space continues the one before, to some readers.
            (Self::Line, b) if is_text(b) && !matches!(b, b' ' | b'\t') => Self::Trailer,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::Trailer, b) if is_text(b) => self,
            (Self::TrailerEnd, b'\n') => Self::Line,
            (Self::LastEnd, b'\n') => Self::Over,
            _ => return Err(Ambiguous),
        })
    }
}

/// What can stand in a line without ending it or being taken for its end.
const fn is_text(byte: u8) -> bool {
    !byte.is_ascii_control() || byte == b'\t'
}

/// Finds the end of a request head: the first empty line behind the request line. Only right for heads whose lines end in CR
/// LF; others are refused by `head`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadEnd {
    /// So much of CR LF CR LF has been seen.
    seen: usize,
    /// A byte of the request line has come; empty lines before it are skipped.
    begun: bool,
}

const EMPTY_LINE: &[u8] = b"\r\n\r\n";

impl HeadEnd {
    /// How many of these bytes are still the head's, or `None` while all of them are and more are to come.
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if !self.begun && matches!(byte, b'\r' | b'\n') {
                at += 1;
                continue;
            }
            self.begun = true;
            if self.seen == 0 {
                // Nothing but a CR can begin the end.
                at += memchr(b'\r', bytes.get(at..)?)? + 1;
                self.seen = 1;
                continue;
            }
            self.seen =
                if EMPTY_LINE.get(self.seen) == Some(&byte) { self.seen + 1 } else { usize::from(byte == b'\r') };
            at += 1;
            if self.seen == EMPTY_LINE.len() {
                return Some(at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The verdict on a body, and whether it is over; the same however it is cut.
    #[track_caller]
    fn read(body: &str) -> Result<bool, Ambiguous> {
        let cut = |size: usize| {
            let mut chunks = Chunks::new();
            body.as_bytes().chunks(size).try_for_each(|part| chunks.push(part)).map(|()| chunks.over())
        };
        let whole = cut(body.len().max(1));
        for size in 1..body.len() {
            assert_eq!(cut(size), whole, "{body:?} in parts of {size}");
        }
        whole
    }

    #[test]
    fn plain_bodies_pass() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhe\r\no\r\n00a\r\n0123456789\r\n000\r\n\r\n",
            "5;name=value;x=\"y z\"\t\r\nhello\r\n0;last\r\n\r\n",
            "1;\r\nx\r\n0\r\nExpires: never\r\nX-\u{e9}: \u{e9}\r\n\r\n",
            "0\r\n\r\nGET / HTTP/1.1\r\n\n\n",
        ] {
            assert_eq!(read(body), Ok(true), "{body:?}");
        }
        for begun in ["", "5", "5;x", "5\r", "5\r\nhell", "5\r\nhello\r\n", "0\r\n", "0\r\nX: y\r\n", "0\r\n\r"] {
            assert_eq!(read(begun), Ok(false), "{begun:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for body in [
            "4a;a\nhello\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5;a\rb\r\nhello\r\n",
            "5;a\0\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\t\r\nhello\r\n",
            "5 ;a\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "\r\nhello\r\n",
            ";a\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n",
            "5_\r\nhello\r\n",
            "00000000000000005\r\nhello\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "4\r\nhello\r\n",
            "0\r\n\n",
            "0\n\r\n",
            "0\r\n X: folded\r\n\r\n",
            "0\r\nX: y\nZ: w\r\n\r\n",
            "0\r\nX: y\r\r\n\r\n",
        ] {
            assert_eq!(read(body), Err(Ambiguous), "{body:?}");
        }
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_it_is_cut() {
        for (head, behind) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "5\r\nhello\r\n\r\n"),
            ("\r\n\r\n\r\n\nGET / HTTP/1.1\r\n\r\n", ""),
            ("GET / HTTP/1.1\r\r\n\r\n", "\r\n"),
        ] {
            let bytes = format!("{head}{behind}");
            for size in 1..=bytes.len() {
                let (mut end, mut before) = (HeadEnd::default(), 0);
                let found = bytes.as_bytes().chunks(size).find_map(|part| {
                    let found = end.find(part).map(|at| before + at);
                    before += part.len();
                    found
                });
                assert_eq!(found, Some(head.len()), "{bytes:?} in parts of {size}");
            }
        }
        assert_eq!(HeadEnd::default().find(b"GET / HTTP/1.1\r\nHost: x\r\n"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_framed_plainly_is_followed_to_its_end(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            size in 1usize..20,
        ) {
            let mut body = Vec::new();
            for part in &parts {
                body.extend(format!("{:X}\r\n", part.len()).into_bytes());
                body.extend(part);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let (last, before) = body.split_last().expect("never empty");
            let mut chunks = Chunks::new();
            for part in before.chunks(size) {
                prop_assert_eq!(chunks.push(part), Ok(()));
                prop_assert!(!chunks.over());
            }
            prop_assert_eq!(chunks.push(&[*last]), Ok(()));
            prop_assert!(chunks.over());
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(prop::sample::select(&b"05aF;\r\n \tx\0\xff"[..]), 0..60)) {
            let mut chunks = Chunks::new();
            // Which it is does not matter here.
            chunks.push(&bytes).ok();
            HeadEnd::default().find(&bytes);
        }
    }
}
