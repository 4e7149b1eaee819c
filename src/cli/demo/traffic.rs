//! The demo's client: plain HTTP to the pool, with the bodies that any SDK would send.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::secret::Secret;

const CHAT: &str = "/api/v1/chat/completions";

/// A client of the pool.
pub struct Traffic {
    /// The proxy listener.
    pub proxy: SocketAddr,
    /// A model of the simulator's catalogue.
    pub model: &'static str,
    /// The same, telling its story so slowly that one can hang up.
    pub slow_model: &'static str,
}

impl Traffic {
    /// One small chat completion by that model, with a client key or without; its status.
    pub async fn chat(&self, key: Option<&Secret>, model: &str) -> Result<u16, String> {
        let answer = whole(self.send(CHAT, key, &question(model, false)).await?).await?;
        let status = answer.get(9..12).and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
        status.ok_or_else(|| "no HTTP answer".to_owned())
    }

    /// A completion whose model the router chooses: what it says of its choice.
    pub async fn complete(&self, key: &Secret, prompt: &str) -> Result<Value, String> {
        let body = serde_json::json!({"prompt": prompt, "maxTokens": 50});
        let answer = whole(self.send("/api/ai/completion", Some(key), &body).await?).await?;
        let body = memchr::memmem::find(&answer, b"\r\n\r\n").and_then(|end| answer.get(end + 4..)).unwrap_or_default();
        let body: Value = serde_json::from_slice(body).map_err(|_| "the answer is no JSON".to_owned())?;
        body.get("_routing").cloned().ok_or_else(|| "the answer does not say what the router chose".to_owned())
    }

    /// Begin a stream, read its first event, and leave.
    pub async fn hang_up(&self) -> Result<(), String> {
        let mut stream = self.send(CHAT, None, &question(self.slow_model, true)).await?;
        let (mut seen, mut part) = (Vec::new(), [0; 4096]);
        while memchr::memmem::find(&seen, b"data: {").is_none() {
            match stream.read(&mut part).await {
                Ok(n) if n > 0 => seen.extend(part.iter().take(n)),
                Ok(_) | Err(_) => return Err("the stream ended before it began".to_owned()),
            }
        }
        Ok(())
    }

    /// In HTTP/1.0, in which no body comes in chunks.
    async fn send(&self, path: &str, key: Option<&Secret>, body: &Value) -> Result<TcpStream, String> {
        let body = body.to_string();
        let key = key.map_or_else(String::new, |key| format!("Authorization: Bearer {}\r\n", key.expose()));
        let request = format!(
            "POST {path} HTTP/1.0\r\nHost: {}\r\n{key}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.proxy,
            body.len()
        );
        let failed = |e: std::io::Error| format!("the pool cannot be reached: {e}");
        let mut stream = TcpStream::connect(self.proxy).await.map_err(failed)?;
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        Ok(stream)
    }
}

fn question(model: &str, streamed: bool) -> Value {
    serde_json::json!({
        "model": model,
        "stream": streamed,
        "messages": [{"role": "user", "content": "What shall I bring to the potluck?"}],
    })
}

async fn whole(mut stream: TcpStream) -> Result<Vec<u8>, String> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(|e| format!("the answer broke off: {e}"))?;
    Ok(answer)
}
