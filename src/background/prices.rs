//! Keeps the price list current. It is public, so no key is needed for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::Mutex;

use super::rounds::until_stopped;
use crate::config;
use crate::money::PriceList;
use crate::origin::{AskError, Bounds};
use crate::pot::{Expected, Pot};
use crate::upstream::{MODELS_TARGET, NoModels, parse_models};

/// The whole list has about a megabyte.
const BOUNDS: Bounds = Bounds { deadline: Duration::from_secs(30), body_max_bytes: 16 << 20 };
/// The first pause after a failure; pauses double up to the usual one.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// The longest time without a look at the clock: it may have been set ahead, and the list be old by it.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The service that refreshes the price list.
pub struct PriceRefresher {
    pot: Arc<Pot>,
    refresh: Duration,
    max_age: Duration,
    /// From before the first request is served, so that none is refused because it came first.
    first: Mutex<Option<Expected>>,
}

/// Why there is no newer list.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the upstream answered with status {0}")]
    Status(u16),
    #[error(transparent)]
    Read(#[from] NoModels),
}

impl PriceRefresher {
    /// A refresher for this pot (`prices.refresh_ms`, `prices.max_age_ms`).
    pub fn new(pot: Arc<Pot>, settings: &config::Prices) -> Self {
        let first = Mutex::new(Some(pot.prices().expect()));
        Self { pot, refresh: settings.refresh, max_age: settings.max_age, first }
    }

    async fn rounds(&self) {
        let mut retry = RETRY_FIRST;
        let mut expected = self.first.lock().await.take();
        loop {
            let expectation = expected.take().unwrap_or_else(|| self.pot.prices().expect());
            let fetched = Box::pin(self.fetch()).await;
            let pause = match fetched {
                Ok(list) => {
                    self.pot.prices().publish(&list);
                    retry = RETRY_FIRST;
                    self.refresh
                }
                Err(error) => {
                    self.pot.metrics().prices_not_refreshed();
                    let age = self.pot.prices().list().age(self.pot.clock().now()).map(|age| age.as_secs());
                    tracing::warn!(%error, age_seconds = age, "the price list could not be refreshed");
                    let pause = retry.min(self.refresh);
                    retry = retry.saturating_mul(2);
                    pause
                }
            };
            drop(expectation);
            self.wait(pause).await;
        }
    }

    async fn fetch(&self) -> Result<PriceList, Failed> {
        let origin = self.pot.origin();
        // The list is as old as the question: it may change while the answer is on its way.
        let asked_at = self.pot.clock().now();
        let answer = origin.ask_within(&origin.target(MODELS_TARGET), None, BOUNDS).await?;
        // Before the first list, and so before the first cost is held, it is certain which day it is.
        self.pot.heard_time(&answer.headers);
        if answer.status != 200 {
            return Err(Failed::Status(answer.status));
        }
        Ok(PriceList::new(parse_models(&answer.body)?, asked_at, self.max_age))
    }

    /// Wait that long, or until a list that was good is too old.
    async fn wait(&self, pause: Duration) {
        let is_current = || self.pot.prices().list().is_current(self.pot.clock().now());
        let was_current = is_current();
        let mut left = pause;
        while !left.is_zero() && (is_current() || !was_current) {
            let step = left.min(LOOK_EVERY);
            tokio::time::sleep(step).await;
            left -= step;
        }
    }
}

#[async_trait]
impl BackgroundService for PriceRefresher {
    async fn start(&self, shutdown: ShutdownWatch) {
        until_stopped(shutdown, self.rounds()).await;
    }
}
