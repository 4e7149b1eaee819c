//! Clients, as they stand on the wire.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::clients::Standing;

use super::{CapAnswer, KeyCaps, TokenSums};

/// A client, without its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAnswer {
    /// Its id, as in the ledger.
    #[schema(example = "c1")]
    pub id: String,
    /// What is shown of its key.
    #[schema(example = "ptl-…3f9a")]
    pub key: String,
    /// Its name.
    pub name: String,
    /// A note about it.
    pub note: Option<String>,
    /// How its key stands.
    pub status: Standing,
    /// Since when there is one.
    pub created_at: String,
    /// When it is over.
    pub expires_at: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// The models it may ask for; all when there is none.
    pub models: Vec<String>,
    /// Its budgets, and how far they are used up; none when the list is empty.
    pub budgets: Vec<CapAnswer>,
    /// Worst costs of its requests under way.
    #[schema(example = "$0.1250")]
    pub held: String,
    /// Worst costs of its requests whose cost is being looked up.
    pub suspense_most: String,
    /// Set aside in advance of its budgets, or lost with a process and not accounted for yet.
    pub stranded: String,
    /// Requests are out of which nobody knows what they cost at most, as they began before there was a budget: until that is
    /// found out, nothing is spent of one.
    pub unbounded: bool,
    /// The most requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// The most tokens in a minute.
    pub tokens_per_minute: Option<u32>,
    /// The most requests at a time.
    pub concurrency: Option<u32>,
    /// What each of its users may use.
    pub per_user: UserAllowance,
    /// Its share when there are more requests than the pool can serve.
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: u32,
    /// Requests under way.
    pub in_flight: u32,
    /// Requests so far.
    pub requests: u64,
    /// Requests that were refused for what it may use.
    pub refused: u64,
    /// Tokens so far.
    pub tokens: TokenSums,
    /// Spent on this UTC day, as the upstream billed it.
    #[schema(example = "$0.0123")]
    pub spent_today: String,
    /// Spent so far.
    #[schema(example = "$1.2345")]
    pub spent_total: String,
}

/// What each of a client's users may use; `null` is as much as the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserAllowance {
    /// The most that may be spent in each window.
    pub budgets: KeyCaps,
    /// The most requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// The most tokens in a minute.
    pub tokens_per_minute: Option<u32>,
    /// The most requests at a time.
    pub concurrency: Option<u32>,
}

/// `GET /clients/{id}/users`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UsersAnswer {
    /// Some of the client's users, in the order in which they came.
    pub users: Vec<UserAnswer>,
    /// `after` of the next page; `null` at the end.
    #[schema(example = "u100")]
    pub next: Option<String>,
}

/// One of a client's users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserAnswer {
    /// potluck's id of it.
    #[schema(example = "u1")]
    pub id: String,
    /// The client's own name for it: `userId` of `POST /auth/token`.
    pub name: String,
    /// When the client first asked for a token for it.
    pub since: String,
    /// Requests so far.
    pub requests: u64,
    /// Requests that were refused for what it may use.
    pub refused: u64,
    /// Tokens so far.
    pub tokens: TokenSums,
    /// Spent on this UTC day, as the upstream billed it.
    #[schema(example = "$0.0123")]
    pub spent_today: String,
    /// Spent so far.
    #[schema(example = "$1.2345")]
    pub spent_total: String,
}

/// `GET /clients`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientsAnswer {
    /// Clients whose key is not revoked.
    pub total_clients: u64,
    /// All of them, in the order in which they came.
    pub clients: Vec<ClientAnswer>,
}

/// `POST /clients`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientAddedAnswer {
    /// Always `true`.
    pub success: bool,
    /// What happened, for people.
    pub message: String,
    /// The new client's id.
    #[schema(example = "c1")]
    pub id: String,
    /// Its key. It is told here and never again.
    #[schema(value_type = String, format = Password, example = "ptl-0123…")]
    pub key: ShownKey,
    /// The client.
    pub client: ClientAnswer,
}

/// `DELETE /clients/{id}`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientRevokedAnswer {
    /// Always `true`.
    pub success: bool,
    /// What happened, for people.
    pub message: String,
    /// The client's id, which its lines in the ledger keep.
    #[schema(example = "c1")]
    pub id: String,
    /// The client.
    pub client: ClientAnswer,
}

/// `POST /tokens/rotate`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotatedAnswer {
    /// Always `true`.
    pub success: bool,
    /// What happened, for people.
    pub message: String,
}

/// A client key on its way to whoever is to have it: the one secret that an answer of the admin API holds. Wiped on drop,
/// redacted in `Debug`.
#[derive(Clone)]
pub struct ShownKey(Zeroizing<String>);

impl ShownKey {
    /// A key to be shown.
    pub(crate) fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Its text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ShownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShownKey(…)")
    }
}

impl Serialize for ShownKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ShownKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}
