//! Verifies all of the books, from the first line on: the [`Auditor`](super::Auditor) only looks at the current day.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::rounds::until_stopped;
use crate::clock::Tick;
use crate::pot::Pot;

/// When the first look begins, counted from the start: that has work of its own.
const FIRST: Duration = Duration::from_secs(2 * 60);

/// The service that verifies all of the books.
pub struct Verifier {
    pot: Arc<Pot>,
    /// From the end of one look to the next.
    every: Duration,
}

impl Verifier {
    /// A verifier for this pot.
    pub fn new(pot: Arc<Pot>, every: Duration) -> Self {
        Self { pot, every }
    }

    async fn looks(&self) {
        let mut wait = FIRST.min(self.every);
        loop {
            tokio::time::sleep(wait).await;
            let began = Tick::now();
            match self.pot.verify_books(None).await {
                Ok(()) => tracing::info!(took = ?began.elapsed(), "all of the books were verified"),
                Err(error) => tracing::error!(%error, "the books could not be verified"),
            }
            wait = self.every;
        }
    }
}

#[async_trait]
impl BackgroundService for Verifier {
    async fn start(&self, shutdown: ShutdownWatch) {
        until_stopped(shutdown, self.looks()).await;
    }
}
