//! Asks the upstream about keys, with calls that cost nothing, when the pool says they are due.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::audit;
use super::rounds::{at_most, until_stopped};
use super::schedule::Patience;
use crate::pool::{Chosen, Evidence, Health, KeyId};
use crate::pot::questions::{ask_credits, ask_key};
use crate::pot::{KeyRef, Pot};
use crate::store::StoreError;
use crate::upstream::account::KeyAnswer;

/// Keys taken from the pool at a time.
const BATCH: usize = 32;
/// Questions open at a time: a pool of thousands is gone through steadily, not in a burst.
const AT_A_TIME: usize = 4;
/// The longest time without a look at the pool. Its timers turn here too, so a key that is back by itself shows as
/// such within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The service that gathers evidence about keys.
pub struct Prober {
    pot: Arc<Pot>,
    patience: Patience,
}

impl Prober {
    /// A prober for this pot. When keys are due is the pool's to say (`pool.*_recheck*`, `pool.probe_interval_ms`).
    pub fn new(pot: Arc<Pot>, patience: Patience) -> Self {
        Self { pot, patience }
    }

    async fn rounds(&self) {
        loop {
            // Taken before looking, so that a wish that comes meanwhile is not missed.
            let wanted = self.pot.probe_wanted().notified();
            let due = self.pot.due_probes(BATCH);
            if due.is_empty() {
                // Which of the two ends the wait makes no difference.
                let _timed_out = tokio::time::timeout(LOOK_EVERY, wanted).await;
                continue;
            }
            let pot = &self.pot;
            at_most(AT_A_TIME, due, |key| probe(Arc::clone(pot), key, self.patience.clone())).await;
        }
    }
}

#[async_trait]
impl BackgroundService for Prober {
    async fn start(&self, shutdown: ShutdownWatch) {
        until_stopped(shutdown, self.rounds()).await;
    }
}

/// Ask about one key and tell the pot. A key that has left the pool meanwhile is nobody's concern.
async fn probe(pot: Arc<Pot>, key: KeyId, patience: Patience) {
    let Some(chosen) = pot.pinned(key) else { return };
    let asked_at = pot.clock().now();
    let quiet = pot.quiet(key, patience.usage).or_else(|| pot.unused(key));
    match ask_key(pot.origin(), &chosen.credential, asked_at).await {
        Ok(KeyAnswer::Facts { management: true, .. }) => refuse_management(&pot, key).await,
        Ok(KeyAnswer::Facts { facts, .. }) => {
            if let Some(name) = &facts.account
                && let Err(error) = group(&pot, &chosen, name).await
            {
                tracing::error!(%key, %error, "the key's account could not be stored");
            }
            let usage = facts.usage;
            pot.evidence(key, &Evidence::Key(facts), asked_at);
            if let (Some(usage), Some(quiet)) = (usage, quiet)
                && let Err(error) = audit::compare(&pot, key, usage, quiet, &patience).await
            {
                tracing::error!(%key, %error, "the key's usage could not be compared with its books");
            }
            credits(&pot, &chosen).await;
        }
        Ok(KeyAnswer::Rejected) => {
            tracing::warn!(%key, "the upstream does not know this key");
            pot.evidence(key, &Evidence::Rejected, asked_at);
        }
        Ok(KeyAnswer::Silent) => {}
        Err(silence) => {
            tracing::warn!(%key, reason = %silence, "no statement about the key");
            pot.evidence(key, &Evidence::Silent, asked_at);
        }
    }
}

/// What the account has left. Not every account's ordinary keys may ask, so silence is normal here.
async fn credits(pot: &Pot, chosen: &Chosen) {
    let asked_at = pot.clock().now();
    if let Ok(remaining) = ask_credits(pot.origin(), &chosen.credential).await {
        pot.evidence(chosen.key, &Evidence::Credits { remaining }, asked_at);
    }
}

/// Put the key with the others of its account.
async fn group(pot: &Pot, chosen: &Chosen, name: &str) -> Result<(), StoreError> {
    let account = pot.store().account(name).await?;
    if chosen.account != Some(account) {
        pot.store().set_account(chosen.key, account).await?;
        pot.assign_account(chosen.key, account);
        tracing::info!(key = %chosen.key, %account, "the key's account is known");
    }
    Ok(())
}

/// A management key got in unseen (the upstream could not be asked when it was donated). It serves no requests, and
/// lying here it endangers its donor's other keys.
async fn refuse_management(pot: &Pot, key: KeyId) {
    tracing::error!(%key, "this is a management key: taken out of rotation; remove it and tell its donor");
    let note = Some("a management key; remove it".to_owned());
    if let Err(error) = pot.set_health(KeyRef::Id(key), Health::Failed, note, None).await {
        tracing::warn!(%key, %error, "the management key left the pool meanwhile");
    }
}
