//! The independent bill: what each call cost, by whom it is owed, in whole pico-dollars.

use std::collections::{HashMap, VecDeque};

use serde::{Serialize, Serializer};

use super::amount::Pico;
use super::api::Api;

/// Generations remembered one by one; the totals remember all.
const REMEMBERED: usize = 1_000_000;

/// How a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not over yet.
    Running,
    /// Came to its end.
    Complete,
    /// Hung up on, or cut by a fault.
    Cancelled,
    /// Failed at the provider.
    Failed,
}

/// What a call will cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// Prompt, request and units.
    pub base: Pico,
    /// Per output token.
    pub per_token: Pico,
    /// Instead of all that.
    pub fixed: Option<Pico>,
    /// The provider's own bill to the account's own key, when it is used; the rest is then OpenRouter's fee.
    pub own_key: Option<OwnKey>,
}

/// A call with the account's own provider key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnKey {
    /// What the provider bills, if it is given.
    pub upstream: Option<Pico>,
    /// OpenRouter's fee in thousandths of the list price.
    pub fee_permille: u64,
}

impl Quote {
    /// List price for so many output tokens.
    pub fn list(&self, output_tokens: u64) -> Pico {
        self.base + self.per_token * output_tokens
    }

    /// What the account is charged for so many output tokens.
    pub fn charge(&self, output_tokens: u64) -> Pico {
        match (self.fixed, self.own_key) {
            (Some(fixed), _) => fixed,
            (None, Some(own)) => Pico(self.list(output_tokens).0 * i128::from(own.fee_permille) / 1000),
            (None, None) => self.list(output_tokens),
        }
    }

    /// What the provider bills to the account's own key.
    pub fn upstream(&self, output_tokens: u64) -> Option<Pico> {
        self.own_key.map(|own| own.upstream.unwrap_or_else(|| self.list(output_tokens)))
    }
}

/// One call that a provider took on.
#[derive(Clone, Debug, Serialize)]
pub struct Generation {
    /// `gen-…`
    pub id: String,
    /// Index of the key it was made with.
    pub key: usize,
    /// Index of the account it is billed to.
    pub account: usize,
    /// The endpoint, by `api_type`.
    #[serde(serialize_with = "word")]
    pub api: Api,
    /// The model.
    pub model: String,
    /// Its provider.
    pub provider: &'static str,
    /// When it began, in milliseconds since the epoch.
    pub created_ms: i64,
    /// When it was over.
    pub ended_ms: Option<i64>,
    /// How long after that `/generation` knows it; `None` is never.
    pub known_after_ms: Option<i64>,
    /// Prompt tokens.
    pub prompt_tokens: u64,
    /// Output tokens billed.
    pub output_tokens: u64,
    /// Whether it was a stream.
    pub streamed: bool,
    /// How it stands.
    pub status: Status,
    /// What was charged to the account, in pico-dollars.
    #[serde(rename = "cost_pico", serialize_with = "pico")]
    pub cost: Pico,
    /// What the provider charged the account's own key, in pico-dollars.
    #[serde(rename = "own_key_cost_pico", serialize_with = "pico_or_null")]
    pub own_key_cost: Option<Pico>,
    /// `finish_reason`.
    pub finish: String,
    /// `User-Agent` of the call.
    pub user_agent: Option<String>,
    /// `HTTP-Referer` of the call.
    pub referer: Option<String>,
    /// The price agreed.
    #[serde(skip)]
    pub quote: Quote,
    /// What it holds of the account's in-flight budget.
    #[serde(skip)]
    pub held: Pico,
}

fn word<S: Serializer>(api: &Api, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(api.word())
}

fn pico<S: Serializer>(amount: &Pico, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&amount.0)
}

#[allow(clippy::ref_option)]
fn pico_or_null<S: Serializer>(amount: &Option<Pico>, serializer: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => pico(amount, serializer),
        None => serializer.serialize_none(),
    }
}

/// One line of the bill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Index of the key or account.
    pub index: usize,
    /// The key's text, or the account's user id.
    pub name: String,
    /// Calls that a provider took on.
    pub generations: u64,
    /// What was charged, in pico-dollars.
    #[serde(rename = "cost_pico", serialize_with = "pico")]
    pub cost: Pico,
    /// What providers charged the account's own keys, in pico-dollars.
    #[serde(rename = "own_key_cost_pico", serialize_with = "pico")]
    pub own_key_cost: Pico,
}

/// The whole bill.
#[derive(Clone, Debug, Serialize)]
pub struct Bill {
    /// By key.
    pub keys: Vec<Line>,
    /// By account.
    pub accounts: Vec<Line>,
    /// Call by call, oldest first; at most the last million.
    pub generations: Vec<Generation>,
    /// Calls still running.
    pub running: usize,
    /// Everything charged, in pico-dollars.
    #[serde(rename = "total_pico", serialize_with = "pico")]
    pub total: Pico,
}

/// The calls there were, oldest first.
#[derive(Debug, Default)]
pub struct Generations {
    by_id: HashMap<String, Generation>,
    order: VecDeque<String>,
}

impl Generations {
    /// Remember one; may forget the oldest.
    pub fn insert(&mut self, generation: Generation) {
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.order.push_back(generation.id.clone());
        self.by_id.insert(generation.id.clone(), generation);
    }

    /// The one of that id.
    pub fn get(&self, id: &str) -> Option<&Generation> {
        self.by_id.get(id)
    }

    /// The one of that id, to end it.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut Generation> {
        self.by_id.get_mut(id)
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Generation> {
        self.order.iter().filter_map(|id| self.by_id.get(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_come_out_to_the_pico() {
        let plain = Quote { base: Pico(127_037 * 11), per_token: Pico(390_001), fixed: None, own_key: None };
        assert_eq!((plain.charge(0), plain.charge(7)), (Pico(1_397_407), Pico(4_127_414)));
        assert_eq!(plain.upstream(7), None);
        let fixed = Quote { fixed: Some(Pico(766_900)), ..plain };
        assert_eq!((fixed.charge(0), fixed.charge(7)), (Pico(766_900), Pico(766_900)));
        let own = Quote { own_key: Some(OwnKey { upstream: None, fee_permille: 50 }), ..plain };
        assert_eq!((own.charge(7), own.upstream(7)), (Pico(206_370), Some(Pico(4_127_414))));
    }
}
