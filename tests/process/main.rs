//! The real binary as a process: what it serves, how it ends, what survives it, and what it tells.

mod commands;
mod crash;
mod hardening;
mod log;
mod refusals;
mod serving;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
