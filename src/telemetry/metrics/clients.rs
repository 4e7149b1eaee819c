//! What is counted for clients.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use foldhash::HashMap;
use prometheus::{Counter, CounterVec, IntCounter, IntCounterVec};

use crate::money::{ClientId, Tokens, Usd};

use super::super::families::Maker;
use super::super::labels::ClientRefusal;
use super::observe::PICO_PER_USD;

/// The series of clients: each ends when its client is revoked, so there are no more of them than clients.
#[derive(Debug)]
pub struct ClientMetrics {
    /// `potluck_client_requests_total{client}`: requests that were let in with a client's key or token.
    requests: IntCounterVec,
    /// `potluck_client_cost_usd_total{client}`: what was spent for it.
    cost: CounterVec,
    /// `potluck_client_tokens_total{client}`: tokens of prompts and answers.
    tokens: IntCounterVec,
    /// `potluck_client_refused_total{client}`: requests of it that were refused for its own limits.
    refused: IntCounterVec,
    /// `potluck_client_refusals_total{reason}`: requests refused for who sent them, or for that client's limits.
    refusals: [IntCounter; ClientRefusal::ALL.len()],
    /// The first four for each client there is, made at their first use.
    series: RwLock<HashMap<ClientId, OnceLock<ClientSeries>>>,
}

/// The series of one client. Whoever counts often keeps them: finding them takes longer than counting. What is counted after
/// the client was forgotten is shown to nobody.
#[derive(Clone, Debug)]
pub struct ClientSeries(Arc<Series>);

#[derive(Debug)]
struct Series {
    requests: IntCounter,
    cost: Counter,
    tokens: IntCounter,
    refused: IntCounter,
}

impl ClientMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Self {
        Self {
            requests: make.counters(
                "potluck_client_requests_total",
                "Requests that were let in with a client's key or token, by client.",
                "client",
            ),
            cost: make.float_counters(
                "potluck_client_cost_usd_total",
                "What was spent for clients, in US dollars, by client.",
                "client",
            ),
            tokens: make.counters(
                "potluck_client_tokens_total",
                "Tokens of prompts and answers that the upstream reported, by client.",
                "client",
            ),
            refused: make.counters(
                "potluck_client_refused_total",
                "Requests that were refused for what their client may use, by client.",
                "client",
            ),
            refusals: make.row(
                "potluck_client_refusals_total",
                "Requests that were refused for who sent them, or for what that client may do.",
                "reason",
                ClientRefusal::ALL.map(ClientRefusal::name),
            ),
            series: RwLock::default(),
        }
    }

    /// A client has come: from now on it may have series of its own.
    pub fn remember(&self, client: ClientId) {
        self.series.write().unwrap_or_else(PoisonError::into_inner).entry(client).or_default();
    }

    /// A client is revoked: its series end.
    pub fn forget(&self, client: ClientId) {
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if series.remove(&client).is_some_and(|series| series.get().is_some()) {
            let label = client.to_string();
            for family in [&self.requests, &self.tokens, &self.refused] {
                // They are there, all of them or none.
                family.remove_label_values(&[&label]).ok();
            }
            self.cost.remove_label_values(&[&label]).ok();
        }
    }

    /// A client's series, while it is remembered.
    pub fn of(&self, client: ClientId) -> Option<ClientSeries> {
        let all = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let series = all.get(&client)?.get_or_init(|| {
            let label = client.to_string();
            ClientSeries(Arc::new(Series {
                requests: self.requests.with_label_values(&[&label]),
                cost: self.cost.with_label_values(&[&label]),
                tokens: self.tokens.with_label_values(&[&label]),
                refused: self.refused.with_label_values(&[&label]),
            }))
        });
        Some(series.clone())
    }

    /// A request was refused for who sent it, or for what that client may do.
    pub fn refused(&self, client: Option<ClientId>, why: ClientRefusal) {
        if let Some(count) = self.refusals.get(why as usize) {
            count.inc();
        }
        if let Some(ClientSeries(series)) = client.and_then(|client| self.of(client)) {
            series.refused.inc();
        }
    }
}

impl ClientSeries {
    /// A request was let in with the client's key or token.
    pub fn request(&self) {
        self.0.requests.inc();
    }

    /// So much was spent for the client.
    pub fn spent(&self, cost: Usd) {
        self.0.cost.inc_by((cost.as_pico() as f64 / PICO_PER_USD).max(0.0));
    }

    /// So many tokens were used for the client.
    pub fn used(&self, tokens: &Tokens) {
        self.0.tokens.inc_by(tokens.prompt.unwrap_or(0).saturating_add(tokens.completion.unwrap_or(0)));
    }
}
