//! The metrics: every one is a field of [`Metrics`], with its meaning.

mod clients;
mod observe;

use std::sync::atomic::AtomicI64;
use std::sync::{OnceLock, RwLock};

use foldhash::HashMap;
use prometheus::{Counter, CounterVec, Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

use crate::money::{Outcome, Tokens, Usd};
use crate::pool::{Health, KeyId};
use crate::upstream::{Endpoint, Reason};

use super::families::{Grid, Maker};
use super::labels::{RequestOutcome, StatusClass, reason_name};
pub use clients::{ClientMetrics, ClientSeries};

/// Seconds until a first byte or the end of an answer: 5 ms to 30 min, the longest a request may take by default.
const ANSWER_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// Seconds that potluck itself adds: 50 µs upwards.
const ADDED_BUCKETS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003, 0.006, 0.012, 0.025, 0.05, 0.1, 0.5, 2.5];

/// Seconds that a request waits in line: 1 ms to the longest that it may by default, and somewhat beyond.
const WAIT_BUCKETS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0];

/// Everything potluck counts, in a registry of its own, so that two potlucks in one process do not meet.
///
/// Label values come from closed sets; the `key` label is a [`KeyId`], and its series end when the key is removed; so is the
/// `client` label a [`ClientId`](crate::money::ClientId), whose series end when it is revoked.
/// Money here is a float, good for graphs: the ledger is the truth.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `potluck_requests_total{endpoint,outcome,status_class}`: client requests that ended.
    requests: Grid,
    /// `potluck_attempts_total{outcome,reason}`: uses of a key, of which a request may make several.
    attempts: Grid,
    /// `potluck_failovers_total{reason}`: times another key was tried, by what was wrong with the last one.
    failovers: IntCounterVec,
    /// `potluck_cost_usd_total{key}`: what the upstream charged, as far as it is known.
    cost_usd: CounterVec,
    /// `potluck_unknown_cost_total{key}`: attempts that ended without a known cost.
    unknown_cost: IntCounterVec,
    /// `potluck_drift_usd{key}`: what neither ledger nor owner explains of a key's own usage.
    drift_usd: GaugeVec,
    /// `potluck_elsewhere_usd{key}`: what a key's owner has spent on it elsewhere since it came into the pool.
    elsewhere_usd: GaugeVec,
    /// The four above for each key in the pool, found once.
    keys: RwLock<HashMap<KeyId, KeySeries>>,
    /// What is counted for clients.
    clients: ClientMetrics,
    /// `potluck_suspense_settled_total`: unknown costs that were found later.
    suspense_settled: IntCounter,
    /// `potluck_tokens_total{kind}`: tokens the upstream reported.
    tokens: [IntCounter; TokenKind::ALL.len()],
    /// `potluck_store_errors_total`: writes or reads of the store that failed.
    store_errors: IntCounter,
    /// `potluck_price_refresh_failures_total`: times no newer price list could be had.
    price_failures: IntCounter,
    /// `potluck_connections_refused_total`: connections closed at the door, over a connection limit.
    connections_refused: IntCounter,
    /// `potluck_alarms_total{reason}`: things an operator should look at.
    alarms: IntCounterVec,
    times: Times,
    derived: Derived,
}

/// How long things take.
#[derive(Debug)]
struct Times {
    /// `potluck_time_to_first_byte_seconds`: from a request's arrival to the first byte of the upstream's answer.
    first_byte: Histogram,
    /// `potluck_added_latency_seconds`: what potluck itself added before the upstream was asked.
    added: Histogram,
    /// `potluck_request_duration_seconds`: from a request's arrival to the end of its answer.
    request: Histogram,
    /// `potluck_wait_seconds`: how long requests that had to wait for a key were in line, whatever came of it.
    waited: Histogram,
}

/// What is read off the pool's state when it is scraped.
#[derive(Debug)]
struct Derived {
    /// `potluck_keys{state}`: keys in the pool.
    keys: [IntGauge; Health::ALL.len()],
    /// `potluck_suspense_entries`: unknown costs not found yet.
    suspense_entries: IntGauge,
    /// `potluck_suspense_oldest_seconds`: age of the oldest of them.
    suspense_oldest: Gauge,
    /// `potluck_suspense_usd`: what unknown costs can come to at most, where that is known.
    suspense_usd: Gauge,
    /// `potluck_held_usd`: what requests under way can cost at most, on keys with limits.
    held_usd: Gauge,
    /// `potluck_stranded_usd`: leased and not held, or lost with a process and not accounted for yet.
    stranded_usd: Gauge,
    /// `potluck_unexplained_usd`: the sizes of all drifts together.
    unexplained_usd: Gauge,
    /// `potluck_requests_in_flight`: client requests under way.
    in_flight: IntGauge,
    /// `potluck_requests_waiting`: requests that wait for a key.
    waiting: IntGauge,
    /// `potluck_ledger_queue_free_entries`: entries the ledger's queue has room for.
    queue_free: IntGauge,
}

/// The state behind the metrics that are read off it when they are scraped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// Keys by state, in the order of [`Health::ALL`].
    pub keys: [u32; Health::ALL.len()],
    /// Unknown costs not found yet.
    pub suspense_entries: u64,
    /// Age of the oldest of them; zero when there is none.
    pub suspense_oldest_seconds: f64,
    /// What unknown costs can come to at most, where that is known.
    pub suspense: Usd,
    /// What requests under way can cost at most, on keys with limits.
    pub held: Usd,
    /// Leased and not held, or lost with a process.
    pub stranded: Usd,
    /// Client requests under way.
    pub requests_in_flight: u32,
    /// Requests that wait for a key.
    pub requests_waiting: usize,
    /// Entries the ledger's queue has room for.
    pub ledger_queue_free: usize,
    /// Writes and reads of the store that have failed.
    pub store_errors: u64,
}

/// The series of one key; each is made at its first use, so that a large idle pool makes no large scrape.
#[derive(Debug, Default)]
struct KeySeries {
    cost_usd: OnceLock<Counter>,
    unknown_cost: OnceLock<IntCounter>,
    /// In pico-dollars.
    drift: AtomicI64,
}

/// The `kind` label of `potluck_tokens_total`.
#[derive(Clone, Copy)]
enum TokenKind {
    Prompt,
    Completion,
    Cached,
    Reasoning,
}

impl TokenKind {
    const ALL: [Self; 4] = [Self::Prompt, Self::Completion, Self::Cached, Self::Reasoning];

    const fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Completion => "completion",
            Self::Cached => "cached",
            Self::Reasoning => "reasoning",
        }
    }

    const fn of(self, tokens: &Tokens) -> Option<u64> {
        match self {
            Self::Prompt => tokens.prompt,
            Self::Completion => tokens.completion,
            Self::Cached => tokens.cached,
            Self::Reasoning => tokens.reasoning,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero, in a new registry.
    pub fn new() -> Self {
        let registry = Registry::new();
        let make = Maker(&registry);
        build_info(&make);
        Self {
            requests: make.grid(
                "potluck_requests_total",
                "Client requests that ended, by endpoint, outcome and status class of the answer.",
                &["endpoint", "outcome", "status_class"],
                ENDPOINTS * RequestOutcome::ALL.len() * StatusClass::ALL.len(),
            ),
            attempts: attempts(&make),
            failovers: make.counters(
                "potluck_failovers_total",
                "Times another key was tried, by what was wrong with the one before.",
                "reason",
            ),
            cost_usd: make.float_counters(
                "potluck_cost_usd_total",
                "Dollars the upstream charged, by key, as far as known. A float for graphs: the ledger is exact.",
                "key",
            ),
            unknown_cost: make.counters(
                "potluck_unknown_cost_total",
                "Attempts that ended without a known cost, by key; looked up afterwards.",
                "key",
            ),
            drift_usd: make.float_gauges(
                "potluck_drift_usd",
                "Dollars of a key's own usage that neither the ledger nor its owner explains; below zero the ledger says more.",
                "key",
            ),
            elsewhere_usd: make.float_gauges(
                "potluck_elsewhere_usd",
                "Dollars a key's owner has spent on it elsewhere since it came into the pool.",
                "key",
            ),
            keys: RwLock::default(),
            clients: ClientMetrics::new(&make),
            tokens: make.row(
                "potluck_tokens_total",
                "Tokens the upstream reported; cached are part of prompt, reasoning of completion.",
                "kind",
                TokenKind::ALL.map(TokenKind::name),
            ),
            suspense_settled: make
                .counter("potluck_suspense_settled_total", "Unknown costs that were found afterwards."),
            store_errors: make.counter("potluck_store_errors_total", "Writes or reads of the store that failed."),
            price_failures: make.counter(
                "potluck_price_refresh_failures_total",
                "Times no newer price list could be had; the last good one is used until it is too old.",
            ),
            connections_refused: make.counter(
                "potluck_connections_refused_total",
                "Connections to the proxy that were closed at once, over a connection limit.",
            ),
            alarms: make.counters("potluck_alarms_total", "Things an operator should look at.", "reason"),
            times: Times::new(&make),
            derived: Derived::new(&make),
            registry,
        }
    }
}

impl Times {
    fn new(make: &Maker<'_>) -> Self {
        Self {
            first_byte: make.histogram(
                "potluck_time_to_first_byte_seconds",
                "From a request's arrival to the first byte of the upstream's answer.",
                ANSWER_BUCKETS,
            ),
            added: make.histogram(
                "potluck_added_latency_seconds",
                "Time potluck itself adds to a request before the upstream is asked.",
                ADDED_BUCKETS,
            ),
            request: make.histogram(
                "potluck_request_duration_seconds",
                "From a request's arrival to the end of its answer.",
                ANSWER_BUCKETS,
            ),
            waited: make.histogram(
                "potluck_wait_seconds",
                "How long requests that had to wait for a key were in line, whatever came of it.",
                WAIT_BUCKETS,
            ),
        }
    }
}

impl Derived {
    fn new(make: &Maker<'_>) -> Self {
        let keys = make.gauges("potluck_keys", "Keys in the pool, by health state.", "state");
        Self {
            keys: Health::ALL.map(|state| keys.with_label_values(&[state.name()])),
            suspense_entries: make.gauge("potluck_suspense_entries", "Unknown costs that are not found yet."),
            suspense_oldest: make
                .float_gauge("potluck_suspense_oldest_seconds", "Age of the oldest cost that is not found yet."),
            suspense_usd: make.float_gauge(
                "potluck_suspense_usd",
                "Dollars that unknown costs can come to at most, where something was held for them.",
            ),
            held_usd: make.float_gauge(
                "potluck_held_usd",
                "Dollars that requests under way can cost at most, on keys with limits.",
            ),
            stranded_usd: make.float_gauge(
                "potluck_stranded_usd",
                "Dollars leased in advance and not held, or lost with a process and not accounted for yet.",
            ),
            unexplained_usd: make.float_gauge(
                "potluck_unexplained_usd",
                "Dollars that neither ledger nor owners explain: the sizes of all drifts together.",
            ),
            in_flight: make.gauge("potluck_requests_in_flight", "Client requests under way."),
            waiting: make.gauge("potluck_requests_waiting", "Client requests that wait for a key, of those under way."),
            queue_free: make
                .gauge("potluck_ledger_queue_free_entries", "Entries the queue to the ledger has room for."),
        }
    }
}

/// Billable endpoints, and one row for everything else.
const ENDPOINTS: usize = Endpoint::ALL.len() + 1;

/// Every outcome without a reason is shown from the start.
fn attempts(make: &Maker<'_>) -> Grid {
    let grid = make.grid(
        "potluck_attempts_total",
        "Uses of a key, by how they ended and why OpenRouter refused (none when it did not).",
        &["outcome", "reason"],
        Outcome::ALL.len() * REASONS,
    );
    for outcome in Outcome::ALL {
        grid.show(attempt_cell(outcome, None), &[outcome.name(), reason_name(None)]);
    }
    grid
}

/// Reasons of a refusal, and none.
const REASONS: usize = Reason::ALL.len() + 1;

/// Where an attempt is counted.
fn attempt_cell(outcome: Outcome, reason: Option<Reason>) -> usize {
    outcome as usize * REASONS + reason.map_or(Reason::ALL.len(), |reason| reason as usize)
}

fn build_info(make: &Maker<'_>) {
    let info = make.gauges("potluck_build_info", "Always 1; the version that runs is in the label.", "version");
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
}

#[cfg(test)]
mod tests;
