//! What is told to the metrics, and how they are read.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus::TextEncoder;

use crate::money::{Cost, Entry, UsageCheck, Usd};
use crate::pool::KeyId;
use crate::upstream::{Endpoint, Reason};

use super::super::labels::{RequestOutcome, StatusClass, endpoint_name, reason_name};
use super::{ClientMetrics, Derived, KeySeries, Metrics, Snapshot, TokenKind, attempt_cell};

pub(super) const PICO_PER_USD: f64 = 1e12;

impl Metrics {
    /// A client's request has ended. `endpoint` is `None` for what is not billable, `status` when no answer was begun.
    pub fn request_done(
        &self,
        endpoint: Option<Endpoint>,
        outcome: RequestOutcome,
        status: Option<u16>,
        took: Duration,
    ) {
        let class = StatusClass::of(status);
        let row = endpoint.map_or(Endpoint::ALL.len(), |endpoint| endpoint as usize);
        let cell = (row * RequestOutcome::ALL.len() + outcome as usize) * StatusClass::ALL.len() + class as usize;
        self.requests.count(cell, &[endpoint_name(endpoint), outcome.name(), class.name()]);
        self.times.request.observe(took.as_secs_f64());
    }

    /// An attempt has been booked; `reason` is why OpenRouter refused it, or what it reported inside the answer.
    pub fn attempt(&self, entry: &Entry, reason: Option<Reason>) {
        self.attempts.count(attempt_cell(entry.outcome, reason), &[entry.outcome.name(), reason_name(reason)]);
        for (kind, counter) in TokenKind::ALL.into_iter().zip(&self.tokens) {
            if let Some(count) = kind.of(&entry.tokens) {
                counter.inc_by(count);
            }
        }
        match entry.cost {
            Cost::Known(amount) => self.charge(entry.key, amount),
            Cost::Unknown => self.with_series(entry.key, |series| {
                series
                    .unknown_cost
                    .get_or_init(|| self.unknown_cost.with_label_values(&[&entry.key.to_string()]))
                    .inc();
            }),
        }
    }

    /// A key's usage was compared with its books.
    pub fn checked(&self, key: KeyId, check: &UsageCheck) {
        let dollars = |amount: Usd| amount.as_pico() as f64 / PICO_PER_USD;
        self.with_series(key, |series| {
            series.drift.store(check.drift.as_pico(), Ordering::Relaxed);
            self.drift_usd.with_label_values(&[&key.to_string()]).set(dollars(check.drift));
            self.elsewhere_usd.with_label_values(&[&key.to_string()]).set(dollars(check.elsewhere));
        });
    }

    /// An unknown cost was found: `amount` had been charged to `key`.
    pub fn settled(&self, key: KeyId, amount: Usd) {
        self.suspense_settled.inc();
        self.charge(key, amount);
    }

    fn charge(&self, key: KeyId, amount: Usd) {
        // A counter only rises; a credit is in the ledger, not here.
        if amount <= Usd::ZERO {
            return;
        }
        self.with_series(key, |series| {
            let counter = series.cost_usd.get_or_init(|| self.cost_usd.with_label_values(&[&key.to_string()]));
            counter.inc_by(amount.as_pico() as f64 / PICO_PER_USD);
        });
    }

    /// The lock is held meanwhile, so that no series can come into being behind [`Metrics::forget`]'s back.
    fn with_series(&self, key: KeyId, count: impl FnOnce(&KeySeries)) {
        if let Some(series) = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            count(series);
        }
    }

    /// A key has come into the pool: from now on it may have series of its own.
    pub fn remember(&self, key: KeyId) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_default();
    }

    /// A key has left the pool: its series end. What is still under way on it adds to no series.
    pub fn forget(&self, key: KeyId) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.remove(&key).is_some() {
            // Each fails when the key never had that series, and there is nothing to do then.
            self.cost_usd.remove_label_values(&[&key.to_string()]).ok();
            self.unknown_cost.remove_label_values(&[&key.to_string()]).ok();
            self.drift_usd.remove_label_values(&[&key.to_string()]).ok();
            self.elsewhere_usd.remove_label_values(&[&key.to_string()]).ok();
        }
    }

    /// What is counted for clients.
    pub fn clients(&self) -> &ClientMetrics {
        &self.clients
    }

    /// Another key is tried, for this reason (`upstream::Reason::name`).
    pub fn failover(&self, reason: &'static str) {
        self.failovers.with_label_values(&[reason]).inc();
    }

    /// An operator should look at this.
    pub fn alarm(&self, reason: &'static str) {
        self.alarms.with_label_values(&[reason]).inc();
    }

    /// The first byte of the upstream's answer is there, so long after the request arrived.
    pub fn time_to_first_byte(&self, since_arrival: Duration) {
        self.times.first_byte.observe(since_arrival.as_secs_f64());
    }

    /// potluck's own work before the upstream was asked took so long.
    pub fn added_latency(&self, spent: Duration) {
        self.times.added.observe(spent.as_secs_f64());
    }

    /// A request has left the line after so long.
    pub fn waited(&self, spent: Duration) {
        self.times.waited.observe(spent.as_secs_f64());
    }

    /// No newer price list could be had.
    pub fn prices_not_refreshed(&self) {
        self.price_failures.inc();
    }

    /// A connection was closed at the door.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Bring the metrics that are read off the pool's state up to date. To be called before [`Metrics::encode`].
    pub fn refresh(&self, now: &Snapshot) {
        self.derived.set(now);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let unexplained: f64 =
            keys.values().map(|series| series.drift.load(Ordering::Relaxed).unsigned_abs() as f64).sum();
        self.derived.unexplained_usd.set(unexplained / PICO_PER_USD);
        self.store_errors.inc_by(now.store_errors.saturating_sub(self.store_errors.get()));
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric cannot be written down, which no state of ours should lead to.
    pub fn encode(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Derived {
    fn set(&self, now: &Snapshot) {
        for (gauge, count) in self.keys.iter().zip(now.keys) {
            gauge.set(count.into());
        }
        self.suspense_entries.set(i64::try_from(now.suspense_entries).unwrap_or(i64::MAX));
        let amounts =
            [(&self.suspense_usd, now.suspense), (&self.held_usd, now.held), (&self.stranded_usd, now.stranded)];
        for (gauge, amount) in amounts {
            gauge.set(amount.as_pico() as f64 / PICO_PER_USD);
        }
        self.suspense_oldest.set(now.suspense_oldest_seconds);
        self.in_flight.set(now.requests_in_flight.into());
        self.waiting.set(i64::try_from(now.requests_waiting).unwrap_or(i64::MAX));
        self.queue_free.set(i64::try_from(now.ledger_queue_free).unwrap_or(i64::MAX));
    }
}
