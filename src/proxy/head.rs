//! Strict reading of a request head.
//!
//! Pingora 0.9 accepts shapes that two parsers can read in two ways (bare LF, `Content-Length` beside
//! `Transfer-Encoding`, lists of lengths, obs-fold; `reliability.md` A2). Whoever stands in front of potluck may read
//! them the other way, so they are refused before anything is decided on them.

use http::Version;

/// How big a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the head as received, request line included.
    pub bytes: usize,
    /// Header fields.
    pub fields: usize,
}

/// Why a request head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// Not HTTP at all.
    Syntax,
    /// More bytes or fields than allowed.
    TooLarge,
    /// A line that does not end in CR LF, or a folded one.
    LineEnding,
    /// Not HTTP/1.0, 1.1 or 2.
    Version,
    /// None, several, or an empty `Host`.
    Host,
    /// Several lengths, one that is no plain number, or one beside `Transfer-Encoding`.
    ContentLength,
    /// Anything but a single `chunked`, or any on HTTP/1.0.
    TransferEncoding,
}

impl HeadFault {
    /// What is wrong, for the client.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Syntax => "the request head is not well-formed HTTP",
            Self::TooLarge => "the request head is too large",
            Self::LineEnding => "header lines must end in CR LF and must not be folded",
            Self::Version => "only HTTP/1.1 and HTTP/2 are spoken here",
            Self::Host => "exactly one Host header is needed",
            Self::ContentLength => "exactly one plain Content-Length is allowed, and none beside Transfer-Encoding",
            Self::TransferEncoding => "the only Transfer-Encoding understood is a single chunked",
        }
    }
}

/// Judge the raw bytes of an HTTP/1 head.
///
/// # Errors
/// The first fault found; the connection must be closed, as its framing cannot be trusted.
pub fn check(raw: &[u8], version: Version, limits: HeadLimits) -> Result<(), HeadFault> {
    if raw.len() > limits.bytes {
        return Err(HeadFault::TooLarge);
    }
    if !matches!(version, Version::HTTP_10 | Version::HTTP_11) {
        return Err(HeadFault::Version);
    }
    let (mut seen, mut start) = (Seen::default(), 0);
    for end in memchr::memchr_iter(b'\n', raw) {
        let line = raw.get(start..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(HeadFault::LineEnding)?;
        if memchr::memchr(b'\r', line).is_some() {
            return Err(HeadFault::LineEnding);
        }
        // The first is the request line; what may be wrong with it, Pingora says.
        if start > 0 && !line.is_empty() {
            seen.field(line)?;
        }
        start = end + 1;
    }
    if start < raw.len() { Err(HeadFault::LineEnding) } else { seen.judge(version, limits) }
}

/// What the framing headers said so far.
#[derive(Default)]
struct Seen {
    fields: usize,
    hosts: usize,
    lengths: usize,
    encodings: usize,
}

impl Seen {
    fn field(&mut self, line: &[u8]) -> Result<(), HeadFault> {
        self.fields += 1;
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(HeadFault::LineEnding);
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, rest) = line.split_at(colon);
        let value = rest.strip_prefix(b":").unwrap_or(rest).trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += usize::from(!value.is_empty());
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            let plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            if !plain {
                return Err(HeadFault::ContentLength);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadFault::TransferEncoding);
            }
        }
        Ok(())
    }

    fn judge(&self, version: Version, limits: HeadLimits) -> Result<(), HeadFault> {
        if self.fields > limits.fields {
            Err(HeadFault::TooLarge)
        } else if self.hosts > 1 || (self.hosts == 0 && version == Version::HTTP_11) {
            Err(HeadFault::Host)
        } else if self.lengths > 1 || (self.lengths == 1 && self.encodings > 0) {
            Err(HeadFault::ContentLength)
        } else if self.encodings > 1 || (self.encodings == 1 && version == Version::HTTP_10) {
            Err(HeadFault::TransferEncoding)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 300, fields: 5 };

    fn check(head: &str, expected: Result<(), HeadFault>) {
        let version = if head.contains("HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
        assert_eq!(super::check(head.as_bytes(), version, LIMITS), expected, "{head:?}");
    }

    #[test]
    fn ordinary_heads_pass() {
        check("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", Ok(()));
        check("POST / HTTP/1.1\r\nhost:x\r\ntransfer-encoding: Chunked\r\n\r\n", Ok(()));
        check("GET / HTTP/1.0\r\n\r\n", Ok(()));
    }

    #[test]
    fn smuggling_shapes_are_refused() {
        use HeadFault::{ContentLength, Host, LineEnding, TooLarge, TransferEncoding};
        check("POST / HTTP/1.1\nHost: x\r\n\r\n", Err(LineEnding));
        check("POST / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", Err(LineEnding));
        check("POST / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", Err(LineEnding));
        check("POST / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", Err(LineEnding));
        check("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", Err(Host));
        check("POST / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", Err(Host));
        check(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            Err(ContentLength),
        );
        check("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n", Err(ContentLength));
        check("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Err(ContentLength));
        check("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", Err(ContentLength));
        check("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", Err(ContentLength));
        check("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked\r\n\r\n", Err(TransferEncoding));
        check(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            Err(TransferEncoding),
        );
        check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Err(TransferEncoding));
        check(&format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "y".repeat(300)), Err(TooLarge));
        check("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\n\r\n", Err(TooLarge));
    }
}
