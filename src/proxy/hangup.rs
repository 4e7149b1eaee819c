//! Noticing that the client went away while its answer is under way.

use pingora::ErrorType;
use pingora::protocols::http::ServerSession;

/// Watches a client that has sent its whole request and is waiting for the answer.
#[derive(Debug)]
pub struct Hangup {
    watching: bool,
}

impl Hangup {
    /// Start watching.
    pub fn new() -> Self {
        Self { watching: true }
    }

    /// Return when the client is gone; never, while it is there. May be dropped and called again at any time.
    ///
    /// Bytes instead of an end mean that the client has sent its next request already (pipelining). That is no hang-up,
    /// but the byte read here is lost to the next request: watching ends, and the connection closes after this answer.
    pub async fn wait(&mut self, session: &mut ServerSession) {
        while self.watching {
            match session.read_body_or_idle(true).await {
                Err(error) if matches!(error.etype(), ErrorType::ConnectError) => {
                    self.watching = false;
                    session.set_keepalive(None);
                }
                Err(_) => return,
                Ok(_) => tokio::task::consume_budget().await,
            }
        }
        std::future::pending().await
    }
}
