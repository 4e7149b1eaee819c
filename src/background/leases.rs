//! Leases headroom of keys with limits in advance, so that a request finds its hold covered and waits for no disk.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::rounds::{at_most, until_stopped};
use crate::pot::Pot;

/// Leases being drawn at a time: they share commits.
const AT_A_TIME: usize = 64;
/// What happens in so short a time is looked at together: a busy key whose caps leave little wakes this service often.
const GATHER: Duration = Duration::from_millis(5);
/// The longest time without a look: a window may have turned.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The service that keeps leases at their usual size.
pub struct Leases {
    pot: Arc<Pot>,
    permille: u32,
}

impl Leases {
    /// Keep so many thousandths of each key's smallest cap, and of each client's smallest budget, leased and not held (`ledger.lease_permille`).
    pub fn new(pot: Arc<Pot>, permille: u32) -> Self {
        Self { pot, permille }
    }

    async fn rounds(&self) {
        loop {
            self.pot.keep_pauses().await;
            let (wishes, tabs) = (self.pot.lease_wishes(self.permille), self.pot.unleased());
            if wishes.is_empty() && tabs.is_empty() {
                let wanted = self.pot.lease_wanted().notified();
                // Which of the two ends the wait makes no difference.
                let _timed_out = tokio::time::timeout(LOOK_EVERY, wanted).await;
                tokio::time::sleep(GATHER).await;
                continue;
            }
            let pot = &self.pot;
            at_most(AT_A_TIME, wishes, |(key, wish)| {
                let pot = Arc::clone(pot);
                async move { pot.lease(key, wish).await }
            })
            .await;
            let permille = self.permille;
            at_most(AT_A_TIME, tabs, |tab| {
                let pot = Arc::clone(pot);
                async move { pot.lease_in_advance(&tab, permille).await }
            })
            .await;
        }
    }
}

#[async_trait]
impl BackgroundService for Leases {
    async fn start(&self, shutdown: ShutdownWatch) {
        until_stopped(shutdown, self.rounds()).await;
    }
}
