//! How much a client, or each of its users, may use.

use crate::money::Caps;

/// Budgets and rates. The default allows everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// The most that may be spent, by window.
    pub budgets: Caps,
    /// The most requests in a minute; as many may come at once.
    pub requests_per_minute: Option<u32>,
    /// The most tokens in a minute, of prompts and answers together; as many may come at once.
    pub tokens_per_minute: Option<u32>,
    /// The most requests at a time.
    pub concurrency: Option<u32>,
}

impl Allowance {
    /// Whether it allows everything.
    pub fn is_endless(&self) -> bool {
        *self == Self::default()
    }
}
