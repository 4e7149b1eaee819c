//! Noticing that the client went away while its answer is under way, or is shown the door.

use std::time::Duration;

use pingora::ErrorType;
use pingora::protocols::http::ServerSession;
use tokio::time::timeout;

use crate::pot::{Guest, Revocation};

/// How long it may take to hang up on a client.
const FAREWELL: Duration = Duration::from_millis(500);

/// Who asks: whoever was let in, and word of its going.
pub struct Caller<'c> {
    pub(super) guest: Guest,
    pub(super) hangup: Hangup<'c>,
}

/// Watches a client that has sent its whole request and is waiting for the answer. One whose key is revoked is as good as gone.
#[derive(Debug)]
pub struct Hangup<'c> {
    watching: bool,
    revocation: &'c mut Revocation,
}

impl<'c> Hangup<'c> {
    /// Start watching.
    pub fn new(revocation: &'c mut Revocation) -> Self {
        Self { watching: true, revocation }
    }

    /// Whether the client is to be hung up on, whatever it does.
    pub fn is_due(&self) -> bool {
        self.revocation.is_over()
    }

    /// Return when the client is to be hung up on; never, otherwise.
    pub async fn due(&mut self) {
        self.revocation.over().await;
    }

    /// Hang up, if that is due: what is still to be found out upstream does not keep the client's connection open.
    pub async fn hang_up(&self, session: &mut ServerSession) {
        if self.is_due() {
            // Too late is as good as done: dropping the session closes it.
            drop(timeout(FAREWELL, session.shutdown()).await);
        }
    }

    /// Return when the client is gone; never, while it is there. May be dropped and called again at any time.
    ///
    /// Bytes instead of an end mean that the client has sent its next request already (pipelining). That is no hang-up,
    /// but the byte read here is lost to the next request: watching ends, and the connection closes after this answer.
    pub async fn wait(&mut self, session: &mut ServerSession) {
        while self.watching {
            let idle = tokio::select! {
                () = self.revocation.over() => return,
                idle = session.read_body_or_idle(true) => idle,
            };
            match idle {
                Err(error) if matches!(error.etype(), ErrorType::ConnectError) => {
                    self.watching = false;
                    session.set_keepalive(None);
                }
                Err(_) => return,
                Ok(_) => tokio::task::consume_budget().await,
            }
        }
        self.revocation.over().await;
    }
}
