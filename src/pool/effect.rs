//! What moves a key: the effect of an answer, and the evidence of a free probe.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::money::Usd;

/// What an answer of the upstream, or an operator, does to a key. Decided by blame, applied by the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: not the key's fault.
    None,
    /// The key's own limit is used up; the account may be rich. `until` is the limit's reset where known.
    KeyCapped {
        /// When the limit turns over; `None` when only the donor can raise it.
        until: Option<Timestamp>,
    },
    /// A workspace or guardrail budget of the account is used up; every key of the account is out.
    AccountCapped {
        /// When the budget turns over.
        until: Option<Timestamp>,
    },
    /// The account has no credit: every key of it is depleted.
    AccountEmpty,
    /// The key or account cannot pay for a request of this size, but is not empty.
    Affords {
        /// Tokens it said it can afford, where it said so.
        tokens: Option<u64>,
    },
    /// The account has too much in flight: cool all its keys for a while.
    AccountBusy {
        /// How long to stay away (`Retry-After`).
        rest: Duration,
    },
    /// The account's free allowance is used up; its paid lane is untouched.
    FreeLaneLimited {
        /// When the allowance comes back.
        until: Timestamp,
    },
    /// The upstream does not know the key: out of rotation until a probe has confirmed or cleared it.
    KeyDoubted,
    /// The key is valid but barred from this proxy (an IP allow-list), it says: out of rotation until a probe has cleared it
    /// or its rest is over. Failed when the request that is then tried is told the same; the donor should be told.
    KeyBarred,
    /// The account cannot reach this model or author (region, privacy settings, missing BYOK key).
    AccountCannot {
        /// Model slug (`author/model`) or author (`author/`), as in the request.
        what: Box<str>,
    },
    /// The donor's own provider key is limited: rest this account for models of this author.
    AccountRests {
        /// Author prefix (`author/`).
        what: Box<str>,
        /// How long.
        rest: Duration,
    },
    /// The key was turned away, and not told whose limit it was. Nothing by itself: but when most of the accounts in use are,
    /// everyone rests.
    TurnedAway {
        /// How long everyone rests then.
        rest: Duration,
    },
    /// The upstream's edge turned the whole proxy away: nobody is chosen for a while, and no key's health changes.
    EveryoneRests {
        /// How long.
        rest: Duration,
    },
}

/// What a free probe (`GET /key`, `GET /credits`) found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// `GET /key` answered 200.
    Key(KeyFacts),
    /// `GET /credits` answered: what the account has left (may be negative).
    Credits {
        /// `total_credits − total_usage`.
        remaining: Usd,
    },
    /// `GET /key` answered 401: OpenRouter does not know this key.
    Rejected,
    /// No statement about the key (upstream down, 5xx, odd answer).
    Silent,
}

/// The facts of `GET /key` that matter to the pool (`openrouter-api.md` 6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFacts {
    /// The key's own limit; `None` is uncapped.
    pub limit: Option<Usd>,
    /// What is left of the limit.
    pub limit_remaining: Option<Usd>,
    /// When the limit turns over, from `limit_reset` and the time of the answer; `None` is never.
    pub resets_at: Option<Timestamp>,
    /// All-time spend of the key, by anyone.
    pub usage: Option<Usd>,
    /// Creator and workspace: what groups keys into accounts.
    pub account: Option<Box<str>>,
    /// When the key stops working.
    pub expires_at: Option<Timestamp>,
}
