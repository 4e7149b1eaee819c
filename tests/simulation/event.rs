//! What happens in a world, as it is told when something goes wrong.

use std::fmt;

use potluck::clock::Timestamp;
use potluck::money::{Basis, Outcome};
use potluck::pool::KeyId;

use crate::upstream::Pico;

/// A process, by its number.
pub type P = u32;
/// A request, by its number.
pub type R = u32;

#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "its fields are for printing")]
pub enum Event {
    Arrives { request: R, process: P, worst: Option<Pico> },
    Chosen { request: R, process: P, key: KeyId, held: Option<Pico>, missing: Pico },
    NoKey { request: R, process: P },
    LedgerFull { request: R, process: P },
    NotCovered { request: R, process: P, key: KeyId },
    Unsent { request: R, process: P, key: KeyId },
    Sent { request: R, process: P, key: KeyId, held: Option<Pico> },
    Head { request: R, status: u16 },
    Booked { request: R, process: P, key: KeyId, outcome: Outcome, cost: Option<Pico> },
    Billed { request: R, amount: Pico, after_the_end: bool },
    PriceRises { request: R, worst: Pico, cost: Pico },
    Draw { process: P, key: KeyId, least: Pico, want: Pico },
    Granted { process: P, key: KeyId, amount: Pico },
    DrawFailed { process: P, key: KeyId },
    GivenBack { process: P, key: KeyId, amount: Pico },
    Synced { process: P, key: KeyId },
    Asked { process: P, key: KeyId, usage: Pico },
    Settled { process: P, key: KeyId, request: R, cost: Pico, basis: Basis },
    Absolved { process: P, key: KeyId, amount: Pico },
    Checked { process: P, key: KeyId, usage: Pico, settled: Pico, before: Pico, elsewhere: Pico, drift: Pico },
    Commit { process: P, old_attempts: bool },
    CommitFails { process: P, durable: bool },
    Starts { process: P, epoch: u64, keys: usize },
    Crash { process: P },
    Stops { process: P },
    Closed { process: P, unwritten: usize },
    Buried { process: P, epoch: u64, attempts: u64 },
    Upgrade { from: P, to: P },
    Clock { by_ms: i64 },
    Limits { key: KeyId, caps: [Option<Pico>; 4], reserve: Option<Pico> },
    Paused { key: KeyId, paused: bool },
    Donated { key: KeyId, account: usize },
    Withdrawn { key: KeyId },
    Elsewhere { account: usize, amount: Pico },
    Panic,
    Phase { number: u64, requests: u64 },
    Drains,
}

/// An event and when it was.
pub struct Logged {
    pub ms: u64,
    pub wall: Timestamp,
    pub event: Event,
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}ms {} {:?}", self.ms, self.wall, self.event)
    }
}
