//! Looks after the books: what a crash has left, keys whose usage should be compared with them, whether sums and chains
//! hold, and what is old enough to be rolled up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::rounds::until_stopped;
use super::schedule::Patience;
use crate::clock::{Day, Timestamp};
use crate::money::Usd;
use crate::pool::KeyId;
use crate::pot::Pot;
use crate::store::{Claim, StaleLease, StoreError};

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
    spans_made: bool,
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
        if done.buried && !done.spans_made {
            match self.pot.store().make_spans().await {
                Ok(()) => done.spans_made = true,
                // Nothing waits for it: the index by client is used for longer.
                Err(error) => tracing::warn!(%error, "an index of the ledger could not be replaced yet"),
            }
        }
        self.pot.catch_up().await;
        self.pot.look_at_others().await?;
        self.pot.ask_about(&self.pot.never_compared(self.patience.usage));
        self.look_after_the_lost(now).await?;
        if done.verified.is_none_or(|at| now.since(at) >= VERIFY_EVERY || now < at) {
            self.pot.verify_books(Some(now.day())).await?;
            done.verified = Some(now);
        }
        self.roll_up(done, now.day()).await
    }

    /// Keys that a process which is gone has used have their usage compared, as soon as the answer can prove something.
    async fn look_after_the_lost(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut lost = BTreeMap::<KeyId, Vec<StaleLease>>::new();
        for lease in self.pot.store().stale_leases().await? {
            lost.entry(lease.key).or_default().push(lease);
        }
        if self.pot.others_are_over(self.patience.until_over()) {
            let is_quiet = |key: &KeyId| self.pot.quiet(*key, self.patience.usage).is_some();
            self.pot.ask_about(&lost.keys().copied().filter(is_quiet).collect::<Vec<_>>());
        }
        for (key, leases) in lost {
            let is_there = self.pot.has(key);
            let can_tell = is_there && self.pot.is_compared(key);
            if let Some(amount) = hopeless(&leases, is_there, can_tell, self.patience.estimate, now) {
                if leases.iter().any(|lease| lease.unbounded) {
                    tracing::error!(%key, "a process that is gone used this key without limits: its last costs stay unknown");
                }
                self.pot.estimate_the_lost(key, amount).await?;
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

/// What is booked in place of what processes that are gone had leased of a key, when nobody can tell any more what they spent
/// of it: the key has left the pool, or its usage has proven nothing in all the time. What nobody can bound stays open while
/// the usage `can_tell`: never, when it was not compared before the loss, since then what is lost cannot be told from what was
/// spent before the key came here.
pub fn hopeless(
    leases: &[StaleLease],
    is_there: bool,
    can_tell: bool,
    estimate: Duration,
    now: Timestamp,
) -> Option<Usd> {
    let in_time = |lease: &StaleLease| now.since(lease.since) < estimate || (lease.unbounded && can_tell);
    if is_there && leases.iter().any(in_time) {
        return None;
    }
    Some(leases.iter().fold(Usd::ZERO, |sum, lease| sum.saturating_add(lease.amount)))
}

#[async_trait]
impl BackgroundService for Auditor {
    async fn start(&self, shutdown: ShutdownWatch) {
        until_stopped(shutdown, self.rounds()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_500_000);
    const ESTIMATE: Duration = Duration::from_secs(900);

    fn lease(amount: i64, unbounded: bool, age: u64) -> StaleLease {
        let since = NOW.before(Duration::from_secs(age));
        StaleLease { key: KeyId(1), epoch: 1, amount: Usd::from_pico(amount), unbounded, since }
    }

    #[test]
    fn what_was_lost_is_estimated_where_nobody_can_tell_it_any_more() {
        let check = |leases: &[StaleLease], is_there, pico: Option<i64>| {
            let found = hopeless(leases, is_there, is_there, ESTIMATE, NOW);
            assert_eq!(found, pico.map(Usd::from_pico), "{leases:?} {is_there}");
        };
        check(&[lease(40, false, 899)], true, None);
        check(&[lease(40, false, 900), lease(2, false, 1_000)], true, Some(42));
        check(&[lease(40, false, 900), lease(2, false, 1)], true, None);
        check(&[lease(40, true, 9_000)], true, None);
        check(&[lease(40, false, 0), lease(0, true, 0)], false, Some(40));
    }

    #[test]
    fn what_was_lost_without_limits_before_a_first_comparison_is_not_stranded_for_ever() {
        let check = |leases: &[StaleLease], pico: Option<i64>| {
            assert_eq!(hopeless(leases, true, false, ESTIMATE, NOW), pico.map(Usd::from_pico), "{leases:?}");
        };
        check(&[lease(0, true, 899)], None);
        check(&[lease(0, true, 900)], Some(0));
        check(&[lease(40, false, 900), lease(0, true, 900)], Some(40));
    }
}
