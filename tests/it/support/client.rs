//! A client that hides nothing: raw bytes on a socket, every chunk as it was framed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No single wait in a test is longer; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request, built up.
#[derive(Clone, Debug)]
pub struct Ask {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: Option<usize>,
}

impl Ask {
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn new(method: &'static str, target: &str) -> Self {
        Self { method, target: target.to_owned(), headers: Vec::new(), body: Vec::new(), chunked: None }
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).header("content-type", "application/json").body(body)
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same with another method.
    pub fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Send the body in chunks of that many bytes instead of with a length.
    pub fn chunked(mut self, size: usize) -> Self {
        self.chunked = Some(size);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match self.chunked {
            Some(_) => head += "Transfer-Encoding: chunked\r\n\r\n",
            None if self.body.is_empty() && self.method == "GET" => head += "\r\n",
            None => head += &format!("Content-Length: {}\r\n\r\n", self.body.len()),
        }
        let mut bytes = head.into_bytes();
        match self.chunked {
            Some(size) => {
                for chunk in self.body.chunks(size) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
            None => bytes.extend(&self.body),
        }
        bytes
    }

    /// Send on a new connection and read the whole answer.
    pub async fn send(&self, to: SocketAddr) -> Answer {
        self.open(to).await.rest().await
    }

    /// Send on a new connection and read the head only.
    pub async fn open(&self, to: SocketAddr) -> Reading {
        let mut wire = Wire::connect(to).await;
        wire.write(&self.bytes()).await;
        wire.head().await
    }
}

/// A connection.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub async fn connect(to: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(to).await.expect("connected"), buffer: Vec::new() }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        // A server that refuses early may close before everything is written; what counts is its answer.
        let _refused_early = self.stream.write_all(bytes).await;
    }

    /// Send another request on the same connection.
    pub async fn ask(mut self, ask: &Ask) -> Reading {
        self.write(&ask.bytes()).await;
        self.head().await
    }

    /// Read more; `false` at the end.
    async fn fill(&mut self) -> bool {
        let mut part = vec![0; 64 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut part)).await.expect("an answer in time");
        let n = read.unwrap_or(0);
        self.buffer.extend_from_slice(&part[..n]);
        n > 0
    }

    /// Whether the server has said something or closed by now.
    pub fn has_heard(&mut self) -> bool {
        let mut part = [0; 1024];
        match self.stream.try_read(&mut part) {
            Ok(n) => {
                self.buffer.extend_from_slice(&part[..n]);
                true
            }
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// Everything until the server closes.
    pub async fn until_closed(mut self) -> Vec<u8> {
        while self.fill().await {}
        self.buffer
    }

    /// The status line of the next head, which is an interim one.
    pub async fn interim(&mut self) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let text = String::from_utf8(self.buffer.drain(..at + 4).collect()).expect("a head in UTF-8");
                return text.lines().next().unwrap_or_default().to_owned();
            }
            assert!(self.fill().await, "a head before the end");
        }
    }

    pub async fn head(mut self) -> Reading {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let text = String::from_utf8(self.buffer.drain(..at + 4).collect()).expect("a head in UTF-8");
                let (status, headers) = parse_head(&text);
                if status != 100 {
                    return Reading { wire: self, status, headers };
                }
            } else if !self.fill().await {
                return Reading { wire: self, status: 0, headers: Vec::new() };
            }
        }
    }
}

fn parse_head(text: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).expect("a status line");
    let split = |l: &str| l.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()));
    (status, lines.filter_map(split).collect())
}

/// An answer whose head has come.
pub struct Reading {
    wire: Wire,
    /// 0 when the server closed without an answer.
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

impl Reading {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The next chunk of a chunked body; `None` at its end, `Some(Err)` when it was cut.
    pub async fn chunk(&mut self) -> Option<Result<Vec<u8>, Cut>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.wire.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.wire.buffer[..at]).into_owned();
                let size = usize::from_str_radix(line.trim(), 16).expect("a chunk size");
                if self.wire.buffer.len() >= at + 2 + size + 2 {
                    let chunk = self.wire.buffer[at + 2..at + 2 + size].to_vec();
                    self.wire.buffer.drain(..at + 2 + size + 2);
                    return if size == 0 { None } else { Some(Ok(chunk)) };
                }
            }
            if !self.wire.fill().await {
                return Some(Err(Cut));
            }
        }
    }

    /// The rest of the answer.
    pub async fn rest(self) -> Answer {
        self.rest_and_wire().await.0
    }

    /// The rest of the answer, and the connection for the next request.
    pub async fn rest_and_wire(mut self) -> (Answer, Wire) {
        let mut answer = Answer { status: self.status, headers: self.headers.clone(), body: Vec::new(), whole: true };
        if self.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                match chunk {
                    Ok(bytes) => answer.body.extend(bytes),
                    Err(Cut) => {
                        answer.whole = false;
                        break;
                    }
                }
            }
        } else {
            let bodiless = matches!(self.status, 204 | 304).then_some(0);
            let length = bodiless.or_else(|| self.header("content-length").and_then(|l| l.parse().ok()));
            while length.is_none_or(|l: usize| self.wire.buffer.len() < l) && self.wire.fill().await {}
            let end = length.unwrap_or(self.wire.buffer.len()).min(self.wire.buffer.len());
            answer.whole = length.is_none_or(|l| l == end) && self.status != 0;
            answer.body = self.wire.buffer.drain(..end).collect();
        }
        (answer, self.wire)
    }
}

/// The body ended before its terminator.
#[derive(Debug)]
pub struct Cut;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body came to its proper end.
    pub whole: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }

    /// Everything the client got, for leak scans.
    pub fn everything(&self) -> String {
        format!("{:?}\n{}", self.headers, self.text())
    }
}
