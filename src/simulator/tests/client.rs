//! A small HTTP client that keeps what others hide: chunk borders, interim answers, how a connection ended.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As announced.
    Whole,
    /// The connection was closed too early.
    Cut,
    /// The connection was reset.
    Reset,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status; 0 if there was no head.
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, chunk by chunk.
    pub chunks: Vec<Vec<u8>>,
    /// How it ended.
    pub ending: Ending,
}

impl Answer {
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The JSON of each `data:` line but `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
    }
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    pub buffer: Vec<u8>,
    ending: Ending,
}

impl Client {
    pub async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.expect("connected");
        Self { stream, buffer: Vec::new(), ending: Ending::Whole }
    }

    pub async fn post(&mut self, path: &str, key: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send_post(path, key, headers, body).await;
        self.answer().await
    }

    pub async fn send_post(&mut self, path: &str, key: &str, headers: &[(&str, &str)], body: &Value) {
        let bearer = format!("Bearer {key}");
        let mut all = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        all.extend(headers);
        self.send("POST", path, &all, body.to_string().as_bytes()).await;
    }

    pub async fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(method, path, headers, body).await;
        self.answer().await
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let bytes = [head.as_bytes(), body].concat();
        // A peer that resets at once may be gone already; the answer tells.
        self.stream.write_all(&bytes).await.ok();
    }

    pub async fn fill(&mut self) -> bool {
        let mut part = vec![0; 16 * 1024];
        let ending = match self.stream.read(&mut part).await {
            Ok(0) => Ending::Cut,
            Ok(n) => {
                self.buffer.extend(part.get(..n).unwrap_or_default());
                return true;
            }
            Err(_) => Ending::Reset,
        };
        // A reset is told once; whoever reads on sees an ordinary end.
        if self.ending == Ending::Whole {
            self.ending = ending;
        }
        false
    }

    async fn until(&mut self, marker: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, marker) {
                let rest = self.buffer.split_off(at + marker.len());
                let mut found = std::mem::replace(&mut self.buffer, rest);
                found.truncate(at);
                return Some(found);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Up to `n` bytes; fewer if the connection ended.
    async fn take(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n && self.fill().await {}
        let rest = self.buffer.split_off(self.buffer.len().min(n));
        std::mem::replace(&mut self.buffer, rest)
    }

    /// A head: status and headers.
    pub async fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await?).expect("UTF-8");
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
        Some((status, lines.filter_map(header).collect()))
    }

    /// A whole answer to anything but HEAD.
    pub async fn answer(&mut self) -> Answer {
        let Some((status, headers)) = self.head().await else {
            return Answer { status: 0, headers: Vec::new(), chunks: Vec::new(), ending: self.ending };
        };
        let mut answer = Answer { status, headers, chunks: Vec::new(), ending: Ending::Whole };
        if let Some(length) = answer.header("content-length").map(|n| n.parse::<usize>().expect("a length")) {
            answer.chunks.push(self.take(length).await);
        } else if answer.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                if chunk.is_empty() {
                    return answer;
                }
                answer.chunks.push(chunk);
            }
        } else if status >= 200 && status != 204 {
            answer.chunks.push(self.take(usize::MAX).await);
            self.ending = Ending::Whole;
        }
        answer.ending = self.ending;
        answer
    }

    /// What is left of a body in chunks, its frames among it; the head has been read.
    pub async fn last_chunk(&mut self) -> Vec<u8> {
        self.until(b"0\r\n\r\n").await.expect("the last chunk")
    }

    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = String::from_utf8(self.until(b"\r\n").await?).expect("UTF-8");
        let length = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("a chunk's length: {line}"));
        let chunk = self.take(length).await;
        if chunk.len() == length {
            self.until(b"\r\n").await;
        }
        Some(chunk).filter(|chunk| !chunk.is_empty() || length == 0)
    }
}
