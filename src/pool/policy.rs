//! The pool's settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How new conversations are spread over eligible keys (`pool.rotation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// Strictly one after the other.
    #[default]
    RoundRobin,
    /// At random, weighted by remaining credit.
    Weighted,
    /// The key that has paid least so far.
    LeastSpent,
    /// The first eligible key until it is used up.
    FillFirst,
}

/// What the pool is told to do, once, at its making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How new conversations are spread.
    pub rotation: Rotation,
    /// How long a degraded key stays away; doubles with each failed trial.
    pub degraded_rest: Duration,
    /// How long a key set to rate-limited by hand stays away, and the most an account's in-flight rest grows to.
    pub rate_limited_rest: Duration,
    /// How long until a key at its limit or budget is asked about again where no reset time is known; doubles.
    pub key_cap_recheck: Duration,
    /// How long until an account without credit is asked about again; doubles.
    pub credit_recheck_first: Duration,
    /// The longest pause between two questions about an account without credit or a key at its limit.
    pub credit_recheck_max: Duration,
    /// Whether an account without credit comes back when a probe finds credit; else only by an operator's word.
    pub credit_recheck: bool,
    /// How often a key that is well is asked about.
    pub probe_interval: Duration,
    /// How many conversations are remembered.
    pub affinity_max: usize,
    /// How long a silent conversation is remembered. OpenRouter's own stickiness ends after 10 minutes.
    pub affinity_idle: Duration,
    /// How many (account, model) pairs known not to work are remembered.
    pub exclusions_max: usize,
    /// How long such a pair is remembered.
    pub exclusion_rest: Duration,
    /// A trial not settled by then is over, and the next request may try.
    pub trial_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            rotation: Rotation::default(),
            degraded_rest: 5 * MINUTE,
            rate_limited_rest: 15 * MINUTE,
            key_cap_recheck: HOUR,
            credit_recheck_first: 10 * MINUTE,
            credit_recheck_max: 6 * HOUR,
            credit_recheck: true,
            probe_interval: 6 * HOUR,
            affinity_max: 100_000,
            affinity_idle: 10 * MINUTE,
            exclusions_max: 10_000,
            exclusion_rest: HOUR,
            trial_max: MINUTE,
        }
    }
}
