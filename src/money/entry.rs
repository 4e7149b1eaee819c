//! What one attempt cost: the line that goes into the ledger.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::pool::{AccountId, KeyId};
use crate::upstream::Endpoint;

use super::Usd;

/// potluck's own id of one client request (UUID version 7); its attempts share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub uuid::Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// OpenRouter's id of a generation (`gen-…`): letters, digits, `-` and `_`, at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId(Box<str>);

impl GenerationId {
    /// Accept an id as the upstream sent it, or `None` when it does not have an id's shape.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= 128;
        let clean = text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !fits || !clean {
            return None;
        }
        std::str::from_utf8(text).ok().map(|id| Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the upstream charged for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Exactly this, from the upstream's own figures, or zero because nothing was sent or a provider never ran.
    Known(Usd),
    /// Not known yet: never counted as zero. The entry is in suspense until the reconciler finds the amount.
    Unknown,
}

/// Token counts of an attempt, as far as the upstream reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Input tokens, cached ones included.
    pub prompt: Option<u64>,
    /// Output tokens, reasoning included.
    pub completion: Option<u64>,
    /// Input tokens that were read from a provider's prompt cache.
    pub cached: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The upstream answered and the answer was passed on whole.
    Answered,
    /// The upstream answered 2xx and reported an error inside the body.
    FailedInside,
    /// OpenRouter refused before a provider ran, for a fault of the key or its account; another key was or may be tried.
    KeyRefused,
    /// The upstream refused or failed for a reason that is not the key's; passed on to the client.
    Refused,
    /// No connection could be made, or nothing was sent: certainly not billed.
    Unreachable,
    /// The upstream broke off or timed out after the request went out.
    Broken,
    /// The client went away before the end.
    ClientGone,
}

impl Outcome {
    /// Every outcome, for metric labels and tests.
    pub const ALL: [Self; 7] = [
        Self::Answered,
        Self::FailedInside,
        Self::KeyRefused,
        Self::Refused,
        Self::Unreachable,
        Self::Broken,
        Self::ClientGone,
    ];

    /// The stable name used in the ledger, metrics and the admin API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::FailedInside => "failed_inside",
            Self::KeyRefused => "key_refused",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::ClientGone => "client_gone",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }
}

/// A client's number; `c7` in answers. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u32);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// The number of one of a client's users; `u7` in answers. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u32);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{}", self.0)
    }
}

/// Whose budget is meant: a client's own, which all its users share, or that of one of its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spender {
    /// The client.
    pub client: ClientId,
    /// Its user; `None` is the client as a whole.
    pub user: Option<UserId>,
}

impl Spender {
    /// The client as a whole.
    pub const fn whole(client: ClientId) -> Self {
        Self { client, user: None }
    }
}

/// For whom an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The client, and its user where it named one.
    pub spender: Spender,
    /// What is held of their budgets for it: its worst cost, where somebody knows it.
    pub held: Option<Usd>,
}

impl From<ClientId> for Charged {
    /// For a client whose budgets nothing is held of.
    fn from(client: ClientId) -> Self {
        Self { spender: Spender::whole(client), held: None }
    }
}

impl Charged {
    /// The budgets that the attempt counts against: the client's, and its user's where there is one.
    pub fn spenders(self) -> impl Iterator<Item = Spender> {
        let Spender { client, user } = self.spender;
        let user = user.map(|user| Spender { client, user: Some(user) });
        std::iter::once(Spender::whole(client)).chain(user)
    }
}

/// What a correction rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The upstream's own word about this attempt (`GET /generation`, a job's description).
    Upstream,
    /// How much the key's own `usage` has grown beyond everything else that is known. Exact for the key; which of several
    /// attempts it belongs to is a guess.
    Usage,
    /// Nothing was to be learned: the worst cost that was held. True cost is that or less.
    Estimate,
    /// An operator's word, where nothing else was to be learned.
    Operator,
}

impl Basis {
    /// Every basis.
    pub const ALL: [Self; 4] = [Self::Upstream, Self::Usage, Self::Estimate, Self::Operator];

    /// The stable name used in the ledger and the admin API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Usage => "usage",
            Self::Estimate => "estimate",
            Self::Operator => "operator",
        }
    }

    /// The basis of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|basis| basis.name() == name)
    }
}

/// An attempt under way: what must be known of it when its process dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// When it was sent.
    pub at: Timestamp,
    /// The client request it belongs to.
    pub request: RequestId,
    /// First attempt is 1.
    pub attempt: u16,
    /// The key that is used.
    pub key: KeyId,
    /// The key's account, where known.
    pub account: Option<AccountId>,
    /// Which client asked, where clients are known.
    pub client: Option<Charged>,
    /// Which endpoint is called.
    pub endpoint: Endpoint,
    /// The model asked for.
    pub model: Option<Box<str>>,
    /// The worst cost, where it is held.
    pub held: Option<Usd>,
}

/// One attempt at serving one request with one key. Written once, never changed; a later finding is a correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the attempt was settled.
    pub at: Timestamp,
    /// The client request it belongs to.
    pub request: RequestId,
    /// First attempt is 1.
    pub attempt: u16,
    /// The key that was used.
    pub key: KeyId,
    /// The key's account, where known by then.
    pub account: Option<AccountId>,
    /// Which client asked, where clients are known.
    pub client: Option<Charged>,
    /// Which endpoint was called.
    pub endpoint: Endpoint,
    /// The model the request asked for, or the one the answer named.
    pub model: Option<Box<str>>,
    /// The upstream's id, where it sent one.
    pub generation: Option<GenerationId>,
    /// Token counts, where reported.
    pub tokens: Tokens,
    /// What was charged.
    pub cost: Cost,
    /// The worst cost that was held for it; `None` when nothing was held.
    pub held: Option<Usd>,
    /// The donor's own provider bill under BYOK (`cost_details.upstream_inference_cost`), outside OpenRouter's charge.
    pub byok: Option<Usd>,
    /// How it ended.
    pub outcome: Outcome,
    /// The upstream's status code, where a response head arrived.
    pub status: Option<u16>,
    /// Milliseconds from the attempt's start to its end.
    pub duration_ms: u32,
}
