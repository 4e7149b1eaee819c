//! Money: exact amounts and what a ledger entry holds. Pure: no clock, no I/O, no lock.

mod entry;
mod usd;
#[cfg(test)]
mod usd_properties;

pub use entry::{Cost, Entry, GenerationId, Outcome, RequestId, Tokens};
pub use usd::{Usd, UsdError};
