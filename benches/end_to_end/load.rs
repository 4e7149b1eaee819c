//! The load: keep-alive connections that each send the next request as soon as the last answer is complete.

use std::time::Duration;

use hdrhistogram::Histogram;
use potluck::clock::Tick;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::Proxy;

const CONNECTIONS: usize = 64;

/// What a request asks of the simulator's fast mode.
#[derive(Clone, Copy)]
pub enum Shape {
    /// A small body each way.
    Json,
    /// A stream of so many chunks.
    Stream { chunks: usize },
    /// A request body of so many bytes, a small answer.
    Big { bytes: usize },
}

impl Shape {
    fn request(self, model: &str, credential: &str) -> Vec<u8> {
        let body = match self {
            Self::Json => {
                format!(r#"{{"model":"{model}","max_tokens":100,"messages":[{{"role":"user","content":"hello"}}]}}"#)
            }
            Self::Stream { .. } => {
                format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hello"}}]}}"#)
            }
            Self::Big { bytes } => {
                format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(bytes))
            }
        };
        format!(
            "POST /api/v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Authorization: Bearer {credential}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// Whether what it asks for has a price.
    pub fn is_priced(self) -> bool {
        matches!(self, Self::Json)
    }

    fn units(self) -> u64 {
        match self {
            Self::Stream { chunks } => chunks as u64,
            Self::Json | Self::Big { .. } => 1,
        }
    }

    fn model(self) -> String {
        match self {
            Self::Stream { chunks } => format!("sim/fast-sse-{chunks}"),
            // One with a price, for keys with limits.
            Self::Json => "openai/gpt-4o-mini".to_owned(),
            Self::Big { .. } => "sim/fast-json".to_owned(),
        }
    }
}

/// One round's figures.
pub struct Load {
    requests: u64,
    units: u64,
    seconds: f64,
    cpu_seconds: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Load {
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.units as f64
    }
}

/// Load `proxy` for about `length`.
pub async fn run(proxy: &Proxy, shape: Shape, length: Duration) -> Load {
    run_as(proxy, &proxy.credential, shape, length, Duration::ZERO).await
}

/// The same, presenting `credential`; the proxy's CPU counts until it has had `rest` to do what it puts off.
pub async fn run_as(proxy: &Proxy, credential: &str, shape: Shape, length: Duration, rest: Duration) -> Load {
    let request = std::sync::Arc::new(shape.request(&shape.model(), credential));
    let (cpu, started) = (proxy.cpu_seconds(), Tick::now());
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::spawn(worker(proxy.address, std::sync::Arc::clone(&request), started, length)))
        .collect();
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).expect("valid bounds");
    for worker in workers {
        latencies.add(worker.await.expect("a worker")).expect("same bounds");
    }
    let (requests, seconds) = (latencies.len(), started.elapsed().as_secs_f64());
    tokio::time::sleep(rest).await;
    Load {
        requests,
        units: requests * shape.units(),
        seconds,
        cpu_seconds: proxy.cpu_seconds() - cpu,
        p50_us: latencies.value_at_quantile(0.5) as f64,
        p99_us: latencies.value_at_quantile(0.99) as f64,
    }
}

async fn worker(
    address: std::net::SocketAddr,
    request: std::sync::Arc<Vec<u8>>,
    started: Tick,
    length: Duration,
) -> Histogram<u64> {
    let mut latencies = Histogram::new_with_bounds(1, 60_000_000, 3).expect("valid bounds");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut buffer = vec![0; 64 * 1024];
    while started.elapsed() < length {
        let sent = Tick::now();
        stream.write_all(&request).await.expect("sent");
        read_answer(&mut stream, &mut buffer).await;
        latencies.saturating_record(sent.elapsed().as_micros() as u64);
    }
    latencies
}

/// Read one answer to its end: by its length, or to the last chunk.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut have = 0;
    let (head, length) = loop {
        let n = stream.read(&mut buffer[have..]).await.expect("an answer");
        assert!(n > 0, "the proxy closed the connection");
        have += n;
        if let Some(end) = memchr::memmem::find(&buffer[..have], b"\r\n\r\n") {
            let head = &buffer[..end];
            assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..have]));
            break (end + 4, content_length(head));
        }
    };
    match length {
        Some(length) => {
            let mut rest = (head + length).saturating_sub(have);
            while rest > 0 {
                rest -= stream.read(buffer).await.expect("a body").min(rest);
            }
        }
        None => {
            let mut tail = buffer[head..have].to_vec();
            while !tail.ends_with(b"0\r\n\r\n") {
                let n = stream.read(buffer).await.expect("a chunk");
                assert!(n > 0, "the stream broke");
                tail.extend_from_slice(&buffer[..n]);
                let keep = tail.len().saturating_sub(8);
                tail.drain(..keep);
            }
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    text.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok())
}

/// Open streams that have begun and then stand still, and wait until their heads have come.
pub async fn hold_streams(proxy: &Proxy, count: usize) -> Vec<TcpStream> {
    let request = Shape::Stream { chunks: 2 }.request("sim/fast-sse-2-600000", &proxy.credential);
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(proxy.address).await.expect("connected");
        stream.write_all(&request).await.expect("sent");
        let mut first = [0; 1024];
        assert!(stream.read(&mut first).await.expect("a head") > 0);
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    held
}
