//! Settings: configuration file, environment and flags become one checked [`Config`], or a list of every fault.
//!
//! `settings` is the one table of all settings; `raw` is what was written, `check` what it means, `load` where it was
//! written, `document` the file that explains it all. Nothing behind this module checks a setting again.

mod base_url;
mod check;
mod document;
mod fault;
mod kinds;
mod load;
mod raw;
mod settings;
mod store_url;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use base_url::BaseUrl;
pub use document::documented_file;
pub use fault::{Fault, Source};
pub use load::Flags;
pub use settings::{Admin, Clients, Ledger, Log, Pool, Prices, Proxy, Routing, Store, Upstream};
pub use store_url::StoreUrl;

use crate::secret::Credential;

/// Everything potluck can be told, checked. Times are [`std::time::Duration`]s; sizes and counts say their unit in the name.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the database and the master key live.
    pub data_dir: PathBuf,
    /// Keys that are in the pool from the start (`OPENROUTER_KEYS`).
    pub keys: Vec<Credential>,
    /// The listener that clients use.
    pub proxy: Proxy,
    /// The listener for operators, donors and Prometheus.
    pub admin: Admin,
    /// The one place that pooled keys are sent to.
    pub upstream: Upstream,
    /// Which key serves a request, and when a key comes back.
    pub pool: Pool,
    /// Where keys, key states and the books are kept.
    pub store: Store,
    /// The books.
    pub ledger: Ledger,
    /// The upstream's price list.
    pub prices: Prices,
    /// Who may use the pool.
    pub clients: Clients,
    /// Which model serves a request that names none.
    pub routing: Routing,
    /// The log.
    pub log: Log,
}

impl Default for Config {
    /// The defaults: no file, no environment, no flags.
    fn default() -> Self {
        Self::from_parts(None, &|_| None, &Flags::default()).expect("the defaults have no fault; a test says so")
    }
}

/// Who may use the pool (`clients.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientsMode {
    /// Whoever reaches the proxy listener.
    Open,
    /// Holders of a client key.
    Required,
}

impl ClientsMode {
    /// As it is written in a setting.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Required => "required",
        }
    }
}

/// What the head of an answer tells of its request (`proxy.response_headers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseHeader {
    /// `x-request-id`: its id.
    RequestId,
    /// `x-potluck-attempts`: how often a key was used for it.
    Attempts,
    /// `x-potluck-cost`: what it cost, where that is known.
    Cost,
}

/// The least that is logged (`log.level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What an operator must act on.
    Error,
    /// And what may become that.
    Warn,
    /// And what happened.
    Info,
}

/// How log lines look (`log.format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
