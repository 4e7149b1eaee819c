//! How a serving process ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};

use super::close;
use crate::pot::Pot;

/// How often a draining process looks whether the last request is done.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// Connections that were accepted just before the listeners closed get this long to show their request.
const DRAIN_SETTLE: Duration = Duration::from_millis(250);

/// The signals that end a process.
pub(super) struct Signals {
    pub(super) pot: Arc<Pot>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut quit), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::quit()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("signals cannot be listened for: stop potluck with SIGKILL");
            return std::future::pending().await;
        };
        let received = tokio::select! {
            _ = terminate.recv() => ShutdownSignal::GracefulTerminate,
            _ = quit.recv() => ShutdownSignal::GracefulUpgrade,
            _ = interrupt.recv() => ShutdownSignal::FastShutdown,
        };
        self.pot.drain();
        if matches!(received, ShutdownSignal::GracefulUpgrade) {
            // The successor reads the keys as soon as it has the sockets.
            self.pot.changes_end().await;
        }
        received
    }
}

/// Ends the process as soon as it is drained: Pingora itself always waits for the whole grace period.
pub(super) struct Drain {
    pub(super) pot: Arc<Pot>,
}

#[async_trait]
impl BackgroundService for Drain {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        if shutdown.wait_for(|down| *down).await.is_err() {
            return;
        }
        self.pot.drain();
        tracing::info!(
            requests = self.pot.requests_underway(),
            "draining: no new connections, what is under way may end"
        );
        tokio::time::sleep(DRAIN_SETTLE).await;
        while self.pot.requests_underway() > 0 {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        tracing::info!("drained; the ledger is closed last");
        close(&self.pot);
        std::process::exit(0);
    }
}
