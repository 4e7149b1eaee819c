//! What a request may cost at most, and what is said when that is more than anybody's limits leave.

use crate::money::{Unbounded, Usd, affordable_tokens, worst_cost};
use crate::pool::{NoKey, Worst};
use crate::pot::{Known, Pot};
use crate::upstream::{Endpoint, Refusal, Spending, clamp_max_tokens};

/// The most one request may cost, with what that was worked out from but for the prices: those are everybody's.
pub(super) struct Quote {
    spending: Spending,
    cost: Result<Usd, Unknown>,
    /// Something about its prices should be looked up for the next one like it.
    to_learn: bool,
}

/// Why nobody can say what a request costs at most.
enum Unknown {
    /// Prices have yet to be asked for.
    Unasked,
    Unbounded(Unbounded),
}

impl Quote {
    /// Work it out from the prices that are known: a key without limits serves without waiting for others.
    pub(super) fn of(pot: &Pot, spending: Spending, default: Option<Usd>) -> Self {
        let now = pot.clock().now();
        let (prices, to_learn) = match pot.prices().known_for(&spending, now) {
            Known::All(prices) => (prices, false),
            Known::Aged(prices) => (prices, true),
            Known::No => return Self { spending, cost: Err(Unknown::Unasked), to_learn: true },
        };
        let cost = worst_cost(&spending, &prices, now, default).map_err(Unknown::Unbounded);
        Self { spending, cost, to_learn }
    }

    /// Whether prices have yet to be asked for.
    pub(super) fn is_unasked(&self) -> bool {
        matches!(self.cost, Err(Unknown::Unasked))
    }

    /// No key can serve without: wait for the prices that are not known yet. `false` when there is nothing to wait for.
    pub(super) async fn ask(&mut self, pot: &Pot, default: Option<Usd>) -> bool {
        if !self.is_unasked() {
            return false;
        }
        let cost = match pot.prices().list_for(&self.spending, pot.clock()).await {
            Ok(prices) => worst_cost(&self.spending, &prices, pot.clock().now(), default),
            Err(why) => default.ok_or(why),
        };
        self.cost = cost.map_err(Unknown::Unbounded);
        self.to_learn = false;
        true
    }

    /// A key was found. What the next request like this one would wait for is found out meanwhile.
    pub(super) fn found(&mut self, pot: &Pot) {
        if std::mem::take(&mut self.to_learn) {
            pot.prices().learn_soon(&self.spending, pot.clock());
        }
    }

    /// For the choice of a key.
    pub(super) fn worst(quote: Option<&Self>) -> Worst {
        match quote.map(|quote| &quote.cost) {
            Some(Ok(cost)) => Worst::Cost(*cost),
            Some(Err(_)) | None => Worst::Unknown,
        }
    }

    /// What the client is told when limits are why no key serves the request; `None` when they are not.
    pub(super) fn refusal(&self, pot: &Pot, why: NoKey) -> Option<Refusal> {
        match (why, &self.cost) {
            (NoKey::TooDear { leaves }, _) => {
                let affordable = self.affordable(pot, leaves);
                Some(Refusal::TooDear { asked: self.spending.asked_tokens(), affordable })
            }
            (NoKey::Unbounded, Err(Unknown::Unbounded(why))) => Some(Refusal::Unbounded(why.clone())),
            _ => None,
        }
    }

    /// The request's body with its limit on output tokens lowered to what so much pays for; `None` when it asks for no more.
    pub(super) fn clamped(&self, pot: &Pot, endpoint: Endpoint, body: &[u8], leaves: Usd) -> Option<Vec<u8>> {
        let tokens = self.affordable(pot, leaves).filter(|tokens| *tokens > 0)?;
        clamp_max_tokens(endpoint, body, tokens)
    }

    /// How many output tokens so much pays for, where tokens decide.
    pub(super) fn affordable(&self, pot: &Pot, leaves: Usd) -> Option<u64> {
        affordable_tokens(&self.spending, &pot.prices().list(), leaves)
    }

    /// The most it may cost, where that is known.
    pub(super) fn cost(&self) -> Option<Usd> {
        self.cost.as_ref().ok().copied()
    }

    /// Why nobody can say what it costs at most.
    pub(super) fn unbounded(&self) -> Option<Unbounded> {
        match &self.cost {
            Err(Unknown::Unbounded(why)) => Some(why.clone()),
            _ => None,
        }
    }

    /// The output tokens it asks for at most, where it says so.
    pub(super) fn asked_tokens(&self) -> Option<u64> {
        self.spending.asked_tokens()
    }
}
