//! What goes on behind the exchanges: addresses are kept current, and connections that nobody uses are closed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use pingora::upstreams::peer::Peer;

use super::address::Addresses;
use super::idle::Idle;

/// How often kept connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The service that sees to it.
pub struct Upkeep {
    pub(super) addresses: Arc<Addresses>,
    pub(super) idle: Arc<Idle>,
}

impl Upkeep {
    async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            self.idle.sweep(|route| route.address().as_inet().is_some_and(|address| self.addresses.serves(address)));
        }
    }
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, shutdown: ShutdownWatch) {
        tokio::select! {
            () = self.addresses.start(shutdown) => {}
            () = self.sweep() => {}
        }
    }
}
