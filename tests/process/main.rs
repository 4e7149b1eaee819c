//! The real binary as a process: what it serves, how it ends, what survives it, and what it tells.

mod caps;
mod commands;
mod crash;
mod hardening;
mod kills;
mod ledger;
mod log;
mod refusals;
mod serving;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
