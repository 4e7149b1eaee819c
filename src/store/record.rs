//! What goes into the store and comes out of it. Plain data; the only secret is a [`Credential`], which cannot be
//! printed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clients::{ClientId, SigningKey};
use crate::clock::{Day, Timestamp};
use crate::money::{
    Basis, Charged, GenerationId, Limits, Outcome, PurseFigures, RequestId, Spender, Tokens, UsageCheck, Usd,
};
use crate::pool::{AccountId, KeyId, KeyState};
use crate::secret::Credential;
use crate::upstream::Endpoint;

use super::clients::StoredClient;
use super::figures::POOL;

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The key itself; sealed before it touches a file.
    pub credential: Arc<Credential>,
    /// The donor's or operator's name for the key.
    pub label: Option<String>,
    /// Who gave it, by the operator's own numbering.
    pub donor_id: Option<String>,
    /// Who gave it, by name.
    pub donor_name: Option<String>,
    /// The account it spends from, where known.
    pub account: Option<AccountId>,
    /// What its donor or an operator has set on it.
    pub limits: Limits,
    /// Its health and timers.
    pub state: KeyState,
    /// Since when it is in the pool.
    pub added_at: Timestamp,
}

/// A stored key.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its id, never given to another key.
    pub id: KeyId,
    /// The key.
    pub key: NewKey,
    /// What it has paid so far, as the upstream billed it.
    pub spent: Usd,
    /// What its caps are measured against. Days are filled in for keys with caps only.
    pub purse: PurseFigures,
    /// Its own usage against the ledger, when the two were last compared.
    pub usage: Option<UsageCheck>,
    /// When its books were last looked at they did not follow from its lines.
    pub unsound: bool,
}

/// What the store held when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Every key, by id.
    pub keys: Vec<StoredKey>,
    /// Every known account and its name.
    pub accounts: Vec<(AccountId, String)>,
    /// Keys whose row does not open with the master key although others do: somebody or something has changed it. They
    /// stay in the file untouched and are not served.
    pub damaged: Vec<KeyId>,
    /// Every client whose key is not revoked, by id.
    pub clients: Vec<StoredClient>,
    /// What their budgets are measured against, where anything was ever spent for them.
    pub client_money: HashMap<ClientId, PurseFigures>,
    /// The keys that tokens are signed with, by id; never without one that signs.
    pub signing_keys: Vec<SigningKey>,
}

/// Sums of token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenTotals {
    /// Input tokens, cached ones included.
    pub prompt: u64,
    /// Output tokens, reasoning included.
    pub completion: u64,
    /// Input tokens read from a provider's prompt cache.
    pub cached: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
}

/// What one key has done and paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyTotals {
    /// Attempts made with the key.
    pub requests: u64,
    /// Attempts that were answered.
    pub successes: u64,
    /// Tokens in all.
    pub tokens: TokenTotals,
    /// Spent since the ledger began.
    pub spent_total: Usd,
    /// Spent on the day asked about.
    pub spent_today: Usd,
    /// The donor's own provider bills under BYOK, outside `spent_total`.
    pub byok_total: Usd,
    /// Attempts whose cost is still unknown.
    pub suspense: u64,
}

/// What the pool has done and paid, removed keys included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By key, for keys that ever made an attempt.
    pub per_key: HashMap<KeyId, KeyTotals>,
    /// Client requests: however many keys a request tried, it counts once.
    pub requests: u64,
    /// Client requests that were answered, by whichever key.
    pub successes: u64,
    /// Attempts, by outcome, in the order of [`Outcome::ALL`](crate::money::Outcome::ALL).
    pub attempts: [u64; 7],
    /// Tokens in all.
    pub tokens: TokenTotals,
    /// Spent since the ledger began.
    pub spent_total: Usd,
    /// Spent on the day asked about.
    pub spent_today: Usd,
}

/// What the pool has spent in OpenRouter's windows: UTC day, week from Monday, calendar month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolSpend {
    /// Since the ledger began.
    pub total: Usd,
    /// On this day.
    pub today: Usd,
    /// In this week.
    pub week: Usd,
    /// In this month.
    pub month: Usd,
}

/// An attempt whose cost is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspense {
    /// Names the entry in [`Store::settle`](super::Store::settle).
    pub id: u64,
    /// The client request.
    pub request: RequestId,
    /// Which attempt of it.
    pub attempt: u16,
    /// The key that pays.
    pub key: KeyId,
    /// The upstream's id, where it sent one.
    pub generation: Option<GenerationId>,
    /// The endpoint called.
    pub endpoint: Endpoint,
    /// How it ended.
    pub outcome: Outcome,
    /// The worst cost, which counts against the key's caps until the true one is known; `None` when nobody knows it.
    pub held: Option<Usd>,
    /// The client, and what counts against its budgets until then.
    pub client: Option<Charged>,
    /// The attempt's end: the day it falls on is the day its cost belongs to.
    pub opened_at: Timestamp,
    /// Lookups that were in vain so far.
    pub tries: u32,
    /// When the next lookup is due; `None` when none is scheduled any more.
    pub due_at: Option<Timestamp>,
}

impl Suspense {
    /// Whether the upstream may have gone on with it after its end. Not all providers stop when nobody listens any more
    /// (`openrouter-api.md` 4.3), and a job goes on by itself; an answer that came to its end and only lacked its cost does not.
    pub fn may_go_on(&self) -> bool {
        self.outcome != Outcome::Answered || self.endpoint == Endpoint::Videos
    }
}

/// How much is in suspense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuspenseSummary {
    /// Attempts whose cost is unknown.
    pub open: u64,
    /// Their worst costs, as far as those are known.
    pub held: Usd,
    /// The end of the oldest of them.
    pub oldest: Option<Timestamp>,
    /// Those among them that nobody will ask about again by himself.
    pub exhausted: u64,
}

/// What was found out about an unknown cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// When it was found.
    pub at: Timestamp,
    /// What the upstream charged.
    pub cost: Usd,
    /// The donor's own provider bill under BYOK.
    pub byok: Option<Usd>,
    /// Token counts, where told; those of the attempt stay otherwise.
    pub tokens: Tokens,
    /// The model, where told.
    pub model: Option<Box<str>>,
    /// What the cost rests on.
    pub basis: Basis,
}

/// A generation that went through this pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationRecord {
    /// The key that made it: the only one to ask about it.
    pub key: KeyId,
    /// The client it was made for, where clients were known.
    pub client: Option<ClientId>,
    /// The client request it answered.
    pub request: RequestId,
    /// Which attempt of it.
    pub attempt: u16,
    /// The endpoint called.
    pub endpoint: Endpoint,
    /// When the attempt ended.
    pub at: Timestamp,
}

/// An asynchronous job at the upstream, bound to the key that started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The upstream's id of the job.
    pub id: Box<str>,
    /// The key that started it.
    pub key: KeyId,
    /// The client that started it, where clients were known: it alone may ask about it.
    pub client: Option<ClientId>,
    /// The client request that started it.
    pub request: RequestId,
    /// Which attempt of it.
    pub attempt: u16,
    /// When.
    pub at: Timestamp,
}

/// Whose money is leased: what a donor's caps leave of a key's, or what a client's budgets leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A key.
    Key(KeyId),
    /// A client or one of its users.
    Spender(Spender),
}

impl From<KeyId> for Holder {
    fn from(key: KeyId) -> Self {
        Self::Key(key)
    }
}

impl From<Spender> for Holder {
    fn from(spender: Spender) -> Self {
        Self::Spender(spender)
    }
}

/// A kind of refusal, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// To whom.
    pub spender: Spender,
    /// When.
    pub day: Day,
    /// Why, by its stable name.
    pub reason: &'static str,
}

/// What was leased of somebody's headroom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How much; zero when not even the least that was asked for is left.
    pub amount: Usd,
    /// Their money with it.
    pub figures: PurseFigures,
}

/// What a process that is gone had leased of a key and not accounted for. It counts as spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleLease {
    /// The key.
    pub key: KeyId,
    /// The opening of the store that leased it.
    pub epoch: u64,
    /// How much of it may have been spent.
    pub amount: Usd,
    /// The key was used without holds: there is no telling how much.
    pub unbounded: bool,
    /// When its process was found to be gone.
    pub since: Timestamp,
}

/// A process that ended without closing the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buried {
    /// Its opening of the store.
    pub epoch: u64,
    /// When that was.
    pub opened_at: Timestamp,
    /// Attempts that were under way. They are in the ledger now, and what they cost in suspense.
    pub attempts: u64,
    /// The keys it has left something on: such an attempt, or a [`StaleLease`].
    pub keys: Vec<KeyId>,
}

/// What was spent on a key by attempts that nobody has written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// When that was found.
    pub at: Timestamp,
    /// How much.
    pub amount: Usd,
    /// The day it is booked on.
    pub day: Day,
    /// What that rests on.
    pub basis: Basis,
}

/// What a comparison of a key's own usage with its books has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Costs in suspense, by the numbers of their entries.
    pub settle: Vec<(u64, Settlement)>,
    /// What processes that are gone had spent, where one had left something open.
    pub recovered: Option<Recovered>,
    /// The comparison, all of this being booked.
    pub check: UsageCheck,
}

/// What became of old ledger lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Lines that only live on in sums.
    pub lines: u64,
    /// Lines that are old enough and stay: something is in suspense there, or a line that stays comes before them in their
    /// key's chain.
    pub kept: u64,
}

/// Something that does not follow from the entries, or entries that do not follow from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imbalance {
    /// What is wrong.
    pub kind: ImbalanceKind,
    /// The day, or `None` for the key's figures of all time and for its chain.
    pub day: Option<Day>,
    /// The key; 0 is the whole pool, or a client of it.
    pub key: KeyId,
    /// What is on record.
    pub recorded: Usd,
    /// What the entries add up to. Equal to `recorded` when a count and not the money is off.
    pub recomputed: Usd,
}

impl Imbalance {
    /// The key whose books are wrong: nothing must be spent on it until they are right again. None where only the sums of
    /// the whole pool are off.
    pub fn unsound_key(&self) -> Option<KeyId> {
        (self.key != POOL).then_some(self.key)
    }
}

/// What is wrong with the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImbalanceKind {
    /// A sum by day and key, or by key.
    Sum,
    /// A sum by day, key and model.
    Models,
    /// A sum by day and client.
    Clients,
    /// The chain through the key's lines: one was changed, added, moved or removed by somebody else than potluck.
    Chain {
        /// The first line that does not follow; `None` when the last ones are gone.
        line: Option<u64>,
    },
}
