//! Looks after the books: what a crash has left, keys whose usage should be compared with them, whether sums and chains
//! hold, and what is old enough to be rolled up.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::rounds::until_stopped;
use super::schedule::Patience;
use crate::clock::{Day, Timestamp};
use crate::pot::Pot;
use crate::store::{Claim, ImbalanceKind, StoreError};

/// The longest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the books of the day are verified.
const VERIFY_EVERY: Duration = Duration::from_secs(60 * 60);

/// The service that looks after the books.
pub struct Auditor {
    pot: Arc<Pot>,
    claim: Claim,
    patience: Patience,
    /// Days after which lines only live on in sums; `None` keeps them.
    retention_days: Option<u32>,
}

/// What has been done, and when.
#[derive(Default)]
struct Done {
    buried: bool,
    verified: Option<Timestamp>,
    rolled_up: Option<Day>,
}

impl Auditor {
    /// An auditor for this pot. `claim` tells when nobody else works with the store any more.
    pub fn new(pot: Arc<Pot>, claim: Claim, patience: Patience, retention_days: Option<u32>) -> Self {
        Self { pot, claim, patience, retention_days }
    }

    async fn rounds(&self) {
        let mut done = Done::default();
        loop {
            if let Err(error) = self.round(&mut done).await {
                tracing::error!(%error, "the books could not be looked after");
            }
            tokio::time::sleep(LOOK_EVERY.min(self.patience.usage)).await;
        }
    }

    async fn round(&self, done: &mut Done) -> Result<(), StoreError> {
        let now = self.pot.clock().now();
        if !done.buried && self.claim.is_held() {
            self.pot.bury().await?;
            done.buried = true;
        }
        self.pot.look_at_others().await?;
        self.ask_about_the_lost(now).await?;
        if done.verified.is_none_or(|at| now.since(at) >= VERIFY_EVERY || now < at) {
            self.verify(now.day()).await?;
            done.verified = Some(now);
        }
        self.roll_up(done, now.day()).await
    }

    /// Keys that a process which is gone has used have their usage compared, as soon as the upstream must have booked it.
    async fn ask_about_the_lost(&self, now: Timestamp) -> Result<(), StoreError> {
        let stale = self.pot.store().stale_leases().await?;
        let ripe = stale.iter().filter(|lease| now.since(lease.since) >= self.patience.usage).map(|lease| lease.key);
        self.pot.ask_about(ripe);
        Ok(())
    }

    /// Nothing is spent on a key whose lines do not follow from each other.
    async fn verify(&self, day: Day) -> Result<(), StoreError> {
        for imbalance in self.pot.store().verify_totals(Some(day)).await? {
            let (key, recorded, recomputed) = (imbalance.key, imbalance.recorded, imbalance.recomputed);
            self.pot.metrics().alarm("books_unsound");
            match imbalance.kind {
                ImbalanceKind::Chain { line } => {
                    tracing::error!(%key, line, "lines of this key's ledger were changed by somebody else: it is out");
                    self.pot.unsound(key);
                }
                kind => tracing::error!(%key, ?kind, %recorded, %recomputed, "the books of this day do not balance"),
            }
        }
        Ok(())
    }

    async fn roll_up(&self, done: &mut Done, today: Day) -> Result<(), StoreError> {
        let Some(days) = self.retention_days else { return Ok(()) };
        if done.rolled_up == Some(today) {
            return Ok(());
        }
        let before = Day::from_number(today.number().saturating_sub(i32::try_from(days).unwrap_or(i32::MAX)));
        let rolled = self.pot.store().roll_up(before).await?;
        if rolled.lines > 0 {
            tracing::info!(lines = rolled.lines, kept = rolled.kept, "old ledger lines now live on in sums");
        }
        done.rolled_up = Some(today);
        Ok(())
    }
}

#[async_trait]
impl BackgroundService for Auditor {
    async fn start(&self, shutdown: ShutdownWatch) {
        until_stopped(shutdown, self.rounds()).await;
    }
}
