//! The pool's vocabulary: ids, health, lanes, what a request wants and what it gets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::money::{Hold, Usd};
use crate::secret::Credential;

/// A pooled key's stable, meaningless number; `k7` in answers, logs and metric labels. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}", self.0)
    }
}

impl FromStr for KeyId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix('k').and_then(|n| n.parse().ok()).map(Self).ok_or(())
    }
}

/// A donor account's number; `a3` in answers. Keys of one account share its balance and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u32);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

/// The five health states of the admin contract (design section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// In rotation.
    Healthy,
    /// Temporary trouble; back by itself.
    Degraded,
    /// Limited by the upstream; back by itself at the limit's own time.
    RateLimited,
    /// No credit or key limit reached; back on evidence, at the limit's reset, or by an operator's word.
    Depleted,
    /// Certainly unusable; back by hand only.
    Failed,
}

impl Health {
    /// Every state, in the order of the contract.
    pub const ALL: [Self; 5] = [Self::Healthy, Self::Depleted, Self::Degraded, Self::Failed, Self::RateLimited];

    /// The name used in the admin API, the store and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::RateLimited => "rate_limited",
            Self::Depleted => "depleted",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.name() == name)
    }
}

/// Which of an account's two independent allowances a request draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Paid models: limited by money.
    Paid,
    /// `:free` models: limited by requests per minute and per day (`openrouter-api.md` 6.5).
    Free,
}

/// What names a continuing conversation: a keyed hash of its session id or its opening messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conversation {
    /// The hash.
    pub hash: u64,
    /// `true` when the request continues a conversation (explicit session id, or an assistant turn in its history):
    /// it stays with the conversation's key. `false` for an opening turn: rotation decides, and the choice is kept
    /// for the turns that follow.
    pub continues: bool,
}

/// What a request needs of a key.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Free or paid.
    pub lane: Lane,
    /// The model asked for, to skip accounts known not to reach it.
    pub model: Option<&'a str>,
    /// Stay with this conversation's key while it is well.
    pub conversation: Option<Conversation>,
    /// Keys this request has already tried; never chosen again.
    pub tried: &'a [KeyId],
    /// Accounts this request must not use again.
    pub avoid: &'a [AccountId],
    /// A key was too poor for it: the richest first, as far as OpenRouter has said what is left.
    pub richest: bool,
    /// Models beside `model` that the request may end up with.
    pub fallbacks: &'a [Box<str>],
    /// The most it may cost.
    pub worst: Worst,
}

/// The most a request may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worst {
    /// This, whatever happens.
    Cost(Usd),
    /// Nobody can say: keys with limits on money do not serve it.
    Unknown,
}

/// A chosen key.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Which key.
    pub key: KeyId,
    /// Its account, where known.
    pub account: Option<AccountId>,
    /// What goes into the request.
    pub credential: Arc<Credential>,
    /// The key is on trial: it came back by a timer and this request decides whether it is well.
    pub trial: bool,
    /// What is held for the request, where the key's money is limited. It is given back by [`super::Pool::ended`].
    pub hold: Option<Hold>,
}

/// The answer to a [`Want`].
#[derive(Clone, Debug)]
pub enum Choice {
    /// Use this key.
    Key(Chosen),
    /// No key can serve this now.
    None(Unavailable),
}

/// Why no key can serve a request, and when one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The reason that holds for the keys that could have served.
    pub reason: NoKey,
    /// When the first key is due back, where a time is known.
    pub until: Option<Timestamp>,
}

/// The reasons an empty choice can have, told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoKey {
    /// Nobody has donated a key yet.
    NoneAdded,
    /// Every key that is not failed is out of credit.
    AllDepleted,
    /// Every key that is not failed is limited or resting.
    AllLimited,
    /// Every key is failed (rejected by the upstream).
    AllFailed,
    /// Some keys are out of credit, the others limited or resting.
    Mixed,
    /// Keys are well, but this request has tried them all or none may serve this model.
    NoneLeft,
    /// Keys could serve it, but for what is under way on them: their money is held, or they are as busy as they may be.
    AllBusy,
    /// Every key that could serve it has limits that leave less than it may cost.
    TooDear {
        /// The most that the limits of one of them leave.
        leaves: Usd,
    },
    /// Every key that could serve it has limits on money, and nobody can say what the request may cost.
    Unbounded,
    /// No donor allows this model.
    ModelNotAllowed,
}

/// Why a key is in the state it is in: stable names for operators, metrics and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Just added, or cleared.
    Fresh,
    /// An operator or donor said so.
    Operator,
    /// The key's own limit.
    KeyLimit,
    /// A workspace or guardrail budget.
    Budget,
    /// The account's credit.
    Credit,
    /// The account's in-flight budget.
    InFlight,
    /// 401 on a request, not confirmed yet.
    Doubted,
    /// 401 confirmed by a probe.
    Rejected,
    /// Barred by an IP allow-list or the like: degraded when it was said once, failed when its trial confirmed it.
    Barred,
    /// Past the key's own expiry date.
    Expired,
    /// Its timer ran out; on trial until a request succeeds.
    Recovering,
    /// A probe found the key well.
    Evidence,
}

/// A key's changeable state, as it is shown and as it survives a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// Health as of the last event; a state whose `until` has passed is about to become healthy.
    pub health: Health,
    /// Since when.
    pub since: Timestamp,
    /// Back by itself then, where a time is known.
    pub until: Option<Timestamp>,
    /// Why.
    pub cause: Cause,
    /// The operator's own note (`error` of the health call), bounded; never upstream text.
    pub note: Option<String>,
    /// The free lane is closed until then.
    pub free_until: Option<Timestamp>,
    /// Trouble in a row, for growing rests; reset by a success.
    pub strikes: u32,
    /// A free probe has confirmed that the key exists.
    pub verified: bool,
    /// When the key should next be asked about.
    pub probe_at: Option<Timestamp>,
    /// Credit or limit left at the last evidence, where known: the smaller one.
    pub remaining: Option<Usd>,
    /// Left of the key's own limit.
    pub limit: Option<Left>,
    /// Left on its account.
    pub credit: Option<Left>,
}

/// A figure of OpenRouter's about what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// So much was left when it was learned.
    pub amount: Usd,
    /// What the key had paid through us by then, in all: what it has paid beyond that is gone since.
    pub paid: Usd,
}

impl KeyState {
    /// A key nobody has any trouble with yet.
    pub fn fresh(now: Timestamp) -> Self {
        Self {
            health: Health::Healthy,
            since: now,
            until: None,
            cause: Cause::Fresh,
            note: None,
            free_until: None,
            strikes: 0,
            verified: false,
            probe_at: None,
            remaining: None,
            limit: None,
            credit: None,
        }
    }
}
