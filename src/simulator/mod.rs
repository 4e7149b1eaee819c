//! An OpenRouter of our own: the upstream of the test suite, of load tests and of `potluck demo`.
//!
//! It shares no parsing and no money code with the proxy, so that its [`Bill`] can disagree with the ledger.

// A refusal here is a whole answer with headers and body; it is made once per request, and nobody is in a hurry.
#![allow(clippy::result_large_err)]

mod account_reads;
mod accounts;
mod admission;
mod amount;
mod api;
mod ask;
mod bill;
mod calendar;
mod catalogue;
mod chat;
mod control;
mod donor_paths;
mod encode;
mod errors;
mod fast;
mod faults;
mod fixtures;
mod greed;
mod handle;
mod inference;
mod job;
mod journal;
mod json;
mod media;
mod messages;
mod play;
mod public_reads;
mod reply;
mod responses;
mod script;
mod seed;
mod serve;
mod server;
mod shared;
mod small;
#[cfg(test)]
mod tests;
mod text;
mod videos;
mod wire;
mod world;

pub use accounts::{AccountSettings, Budget, KeySettings};
pub use amount::Pico;
pub use api::Api;
pub use bill::{Bill, Generation, Line, OwnKey, Quote, Status};
pub use calendar::Reset;
pub use fast::COST as FAST_COST;
pub use faults::Fault;
pub use fixtures::FIXTURES;
pub use handle::{SimKey, Simulator, SimulatorConfig, SimulatorHandle};
pub use journal::Entry;
pub use play::{Encoding, Framing, Play, Then, Usage};
pub use script::Script;
pub use serve::{SimulateOptions, greeting, open, serve};

/// The name of every refusal that can be ordered (`sim/error-NAME`, `X-Sim-Error: NAME`).
pub fn error_names() -> impl Iterator<Item = &'static str> {
    errors::names()
}
