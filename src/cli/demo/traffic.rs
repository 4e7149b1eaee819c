//! The demo's client: plain HTTP/1.1 to the pool, as any SDK would send it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
    /// One small chat completion; its status.
    pub async fn chat(&self) -> Result<u16, String> {
        let mut stream = self.send(self.model, false).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|e| format!("the answer broke off: {e}"))?;
        let status = answer.get(9..12).and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
        status.ok_or_else(|| "no HTTP answer".to_owned())
    }

    /// Begin a stream, read its first event, and leave.
    pub async fn hang_up(&self) -> Result<(), String> {
        let mut stream = self.send(self.slow_model, true).await?;
        let (mut seen, mut part) = (Vec::new(), [0; 4096]);
        while memchr::memmem::find(&seen, b"data: {").is_none() {
            match stream.read(&mut part).await {
                Ok(n) if n > 0 => seen.extend(part.iter().take(n)),
                Ok(_) | Err(_) => return Err("the stream ended before it began".to_owned()),
            }
        }
        Ok(())
    }

    async fn send(&self, model: &str, streamed: bool) -> Result<TcpStream, String> {
        let body = serde_json::json!({
            "model": model,
            "stream": streamed,
            "messages": [{"role": "user", "content": "What shall I bring to the potluck?"}],
        })
        .to_string();
        let request = format!(
            "POST /api/v1/chat/completions HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.proxy,
            body.len()
        );
        let failed = |e: std::io::Error| format!("the pool cannot be reached: {e}");
        let mut stream = TcpStream::connect(self.proxy).await.map_err(failed)?;
        stream.write_all(request.as_bytes()).await.map_err(failed)?;
        Ok(stream)
    }
}
