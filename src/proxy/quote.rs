//! What a request may cost at most, and what is said when that is more than anybody's limits leave.

use std::sync::Arc;

use pingora::protocols::http::ServerSession;

use crate::money::{PriceList, Unbounded, Usd, affordable_tokens, worst_cost};
use crate::pool::{NoKey, Worst};
use crate::pot::Pot;
use crate::upstream::{Endpoint, Refusal, Spending, clamp_max_tokens};

use super::body::HeldBody;

/// The most one request may cost, with what that was worked out from.
pub(super) struct Quote {
    spending: Spending,
    prices: Arc<PriceList>,
    cost: Result<Usd, Unbounded>,
}

impl Quote {
    /// Work it out. Waits for the upstream where a model's
    /// prices are not known yet.
    pub(super) async fn of(
        pot: &Pot,
        session: &ServerSession,
        endpoint: Endpoint,
        body: &HeldBody,
        default: Option<Usd>,
    ) -> Self {
        let spending = Spending::read(endpoint, &session.req_header().headers, &body.bytes);
        let known = pot.prices().list_for(&spending, pot.clock()).await;
        let prices = known.as_ref().map_or_else(|_| pot.prices().list(), Arc::clone);
        let cost = match known {
            Ok(prices) => worst_cost(&spending, &prices, pot.clock().now(), default),
            Err(why) => default.ok_or(why),
        };
        Self { spending, prices, cost }
    }

    /// For the choice of a key.
    pub(super) fn worst(quote: Option<&Self>) -> Worst {
        match quote.map(|quote| &quote.cost) {
            Some(Ok(cost)) => Worst::Cost(*cost),
            Some(Err(_)) | None => Worst::Unknown,
        }
    }

    /// What the client is told when limits are why no key serves the request; `None` when they are not.
    pub(super) fn refusal(&self, why: NoKey) -> Option<Refusal> {
        match (why, &self.cost) {
            (NoKey::TooDear { leaves }, _) => {
                let affordable = affordable_tokens(&self.spending, &self.prices, leaves);
                Some(Refusal::TooDear { asked: self.spending.asked_tokens(), affordable })
            }
            (NoKey::Unbounded, Err(why)) => Some(Refusal::Unbounded(why.clone())),
            _ => None,
        }
    }

    /// The request's body with its limit on output tokens lowered to what the richest key's limits leave.
    pub(super) fn clamped(&self, endpoint: Endpoint, body: &[u8], why: NoKey) -> Option<Vec<u8>> {
        let NoKey::TooDear { leaves } = why else { return None };
        let tokens = affordable_tokens(&self.spending, &self.prices, leaves).filter(|tokens| *tokens > 0)?;
        clamp_max_tokens(endpoint, body, tokens)
    }
}
