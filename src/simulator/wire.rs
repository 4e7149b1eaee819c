//! One connection, byte by byte: requests in, answers out, with nothing between us and the socket.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest request head taken.
const HEAD_MAX: usize = 64 * 1024;
/// The longest body taken.
const BODY_MAX: usize = 512 * 1024 * 1024;

/// The peer hung up, or broke the protocol.
#[derive(Debug)]
pub struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// A request head.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `POST`
    pub method: String,
    /// As on the wire.
    pub target: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyFrame {
    Length(usize),
    Chunked,
}

impl Head {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// `Authorization: Bearer …` or `x-api-key`.
    pub fn credential(&self) -> Option<&str> {
        let bearer = self.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        bearer.or_else(|| self.header("x-api-key"))
    }

    /// Read it from bytes that end with the empty line.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target, version) = (first.next()?.to_owned(), first.next()?.to_owned(), first.next()?);
        if version != "HTTP/1.1" || first.next().is_some() {
            return None;
        }
        let mut headers = Vec::with_capacity(16);
        for line in lines {
            let (name, value) = line.split_once(':')?;
            if name.is_empty() || name.bytes().any(|b| b.is_ascii_whitespace()) {
                return None;
            }
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some(Self { method, target, headers })
    }

    /// `None` for what a careful server does not accept: both framings, several lengths, other codings.
    fn body_frame(&self) -> Option<BodyFrame> {
        let all =
            |name: &str| self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();
        match (all("transfer-encoding").as_slice(), all("content-length").as_slice()) {
            ([], []) => Some(BodyFrame::Length(0)),
            ([], [length]) if length.bytes().all(|b| b.is_ascii_digit()) => {
                length.parse().ok().filter(|n| *n <= BODY_MAX).map(BodyFrame::Length)
            }
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Some(BodyFrame::Chunked),
            _ => None,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Wire {
    /// Take over an accepted connection.
    pub fn new(stream: TcpStream) -> Self {
        // Only costs latency if it fails.
        stream.set_nodelay(true).ok();
        Self { stream, buffer: BytesMut::with_capacity(16 * 1024) }
    }

    async fn fill(&mut self) -> Result<(), Gone> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 { Err(Gone) } else { Ok(()) }
    }

    /// Wait until bytes of the next request are there.
    pub async fn readable(&mut self) -> Result<(), Gone> {
        while self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(())
    }

    /// The next request's head. Malformed ones are answered 400 and end the connection.
    pub async fn head(&mut self) -> Result<Head, Gone> {
        let mut seen = 0;
        loop {
            let from = seen_from(seen);
            let rest = self.buffer.get(from..).unwrap_or_default();
            if let Some(at) = memchr::memmem::find(rest, b"\r\n\r\n") {
                let bytes = self.buffer.split_to(from + at + 4);
                return match Head::parse(&bytes).filter(|head| head.body_frame().is_some()) {
                    Some(head) => Ok(head),
                    None => self.malformed().await,
                };
            }
            seen = self.buffer.len();
            if seen > HEAD_MAX {
                return self.malformed().await;
            }
            self.fill().await?;
        }
    }

    async fn malformed(&mut self) -> Result<Head, Gone> {
        self.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
        self.finish().await;
        Err(Gone)
    }

    /// The body that belongs to the head.
    pub async fn body(&mut self, head: &Head) -> Result<Vec<u8>, Gone> {
        let frame = head.body_frame().ok_or(Gone)?;
        let waits = head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
        if waits && frame != BodyFrame::Length(0) {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        match frame {
            BodyFrame::Length(length) => self.take(length).await,
            BodyFrame::Chunked => self.chunks().await,
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Gone> {
        let buffered = self.buffer.len().min(length);
        let mut body = self.buffer.split_to(buffered).to_vec();
        body.resize(length, 0);
        if let Some(rest) = body.get_mut(buffered..) {
            self.stream.read_exact(rest).await?;
        }
        Ok(body)
    }

    async fn line(&mut self) -> Result<String, Gone> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(at);
                self.buffer.advance(2);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(Gone);
            }
            self.fill().await?;
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, Gone> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(|_| Gone)?;
            if length == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            if body.len().saturating_add(length) > BODY_MAX {
                return Err(Gone);
            }
            body.extend(self.take(length).await?);
            if !self.line().await?.is_empty() {
                return Err(Gone);
            }
        }
    }

    /// Write all of it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Whether the peer has hung up, without waiting.
    pub async fn check(&mut self) -> Result<(), Gone> {
        tokio::select! {
            biased;
            gone = hung_up(&self.stream, &self.buffer) => Err(gone),
            () = std::future::ready(()) => Ok(()),
        }
    }

    /// Wait for `event`, or until the peer hangs up.
    pub async fn wait(&mut self, event: impl Future<Output = ()>) -> Result<(), Gone> {
        tokio::select! {
            biased;
            gone = hung_up(&self.stream, &self.buffer) => Err(gone),
            () = event => Ok(()),
        }
    }

    /// Wait that long, or until the peer hangs up.
    pub async fn pause(&mut self, duration: Duration) -> Result<(), Gone> {
        if duration.is_zero() { self.check().await } else { self.wait(tokio::time::sleep(duration)).await }
    }

    /// Drop the connection with a RST.
    pub fn reset(&mut self) {
        // Without it the peer sees an ordinary end, and a test that asked for a reset fails by itself.
        self.stream.set_zero_linger().ok();
    }

    /// Say that nothing more comes, and take what the peer still sends, so that it reads our answer before a RST.
    pub async fn finish(&mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            while self.fill().await.is_ok() {
                self.buffer.clear();
            }
        };
        // A peer that goes on sending gets its RST.
        tokio::time::timeout(Duration::from_secs(2), drain).await.ok();
    }
}

/// Where to look for the end of a head again after so many bytes had none.
const fn seen_from(seen: usize) -> usize {
    seen.saturating_sub(3)
}

/// Resolves when the peer has closed or reset. A peer that sends its next request early is still there.
async fn hung_up(stream: &TcpStream, buffer: &BytesMut) -> Gone {
    let mut byte = [0];
    if buffer.is_empty() && !matches!(stream.peek(&mut byte).await, Ok(1..)) {
        return Gone;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        let head = Head::parse(b"POST /a?x=1&id=gen-2 HTTP/1.1\r\nHost: h\r\nX-Api-Key:  k \r\n\r\n").unwrap();
        assert_eq!((head.path(), head.parameter("id"), head.credential()), ("/a", Some("gen-2"), Some("k")));
        for bad in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        ] {
            assert_eq!(Head::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for (headers, expected) in [
            ("", Some(BodyFrame::Length(0))),
            ("Content-Length: 5\r\n", Some(BodyFrame::Length(5))),
            ("Transfer-Encoding: chunked\r\n", Some(BodyFrame::Chunked)),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", None),
            ("Content-Length: +5\r\n", None),
            ("Transfer-Encoding: gzip, chunked\r\n", None),
        ] {
            let head = Head::parse(format!("POST / HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
            assert_eq!(head.body_frame(), expected, "{headers}");
        }
    }
}
