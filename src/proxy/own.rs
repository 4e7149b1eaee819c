//! Calls that potluck answers itself: agents ask for the key's and the account's figures, and must not get a donor's.

use http::{HeaderValue, header};
use pingora::protocols::http::ServerSession;

use crate::money::{GenerationId, Usd};
use crate::pot::Guest;
use crate::store::PoolSpend;
use crate::upstream::account::public_generation;
use crate::upstream::{Dialect, OwnAnswer, Refusal};

use super::Proxy;
use super::answer::{Served, Whole, give_refusal};
use super::request::Request;

impl Proxy {
    pub(super) async fn answer_itself(
        &self,
        session: &mut ServerSession,
        guest: &Guest,
        own: OwnAnswer,
        request: Request,
    ) -> Served {
        match own {
            OwnAnswer::Key => self.spend_answer(session, request, key_body).await,
            OwnAnswer::Credits => {
                let remaining = self.pot.remaining();
                self.spend_answer(session, request, |spend| credits_body(spend, remaining)).await
            }
            OwnAnswer::Generation(id) => self.generation(session, guest, &id, request).await,
            OwnAnswer::CountTokens => give_refusal(session, &Refusal::CountTokens, Dialect::Messages, request).await,
        }
    }

    async fn spend_answer(
        &self,
        session: &mut ServerSession,
        request: Request,
        body: impl FnOnce(&PoolSpend) -> serde_json::Value,
    ) -> Served {
        match self.pot.spend().await {
            Ok(spend) => {
                let body = body(&spend).to_string();
                let answer = Whole::json(200, body);
                answer
                    .with(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"))
                    .give(session, request)
                    .await
            }
            Err(error) => {
                tracing::error!(%error, "the ledger cannot be read");
                give_refusal(session, &Refusal::Internal, Dialect::Chat, request).await
            }
        }
    }

    /// The upstream's record of a generation that went through this pool, asked for with the key that made it.
    async fn generation(
        &self,
        session: &mut ServerSession,
        guest: &Guest,
        id: &GenerationId,
        request: Request,
    ) -> Served {
        let missing = Refusal::GenerationNotFound(id.clone());
        let known = self.pot.known_generation(id).await.filter(|known| guest.owns(known.client));
        let Some(chosen) = known.and_then(|known| self.pot.pinned(known.key)) else {
            return give_refusal(session, &missing, Dialect::Chat, request).await;
        };
        let origin = self.pot.origin();
        let target = format!("/api/v1/generation?id={}", id.as_str());
        let asked = match origin.ask(&origin.target(&target), Some(&chosen.credential)).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, "a generation could not be looked up");
                return give_refusal(session, &Refusal::UpstreamUnreachable, Dialect::Chat, request).await;
            }
        };
        match public_generation(&asked.body).filter(|_| asked.status == 200) {
            Some(body) => Whole::json(200, body).give(session, request).await,
            None => give_refusal(session, &missing, Dialect::Chat, request).await,
        }
    }
}

/// `GET /key` in OpenRouter's shape (`openrouter-api.md` 6.1), with the pool's own figures.
fn key_body(spend: &PoolSpend) -> serde_json::Value {
    serde_json::json!({"data": {
        "label": "potluck",
        "limit": null,
        "limit_remaining": null,
        "limit_reset": null,
        "include_byok_in_limit": false,
        "usage": spend.total.to_json(),
        "usage_daily": spend.today.to_json(),
        "usage_weekly": spend.week.to_json(),
        "usage_monthly": spend.month.to_json(),
        "byok_usage": 0,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 0,
        "byok_usage_monthly": 0,
        "is_free_tier": false,
        "is_management_key": false,
        "is_provisioning_key": false,
        "expires_at": null,
        "rate_limit": {"requests": -1, "interval": "10s"}
    }})
}

/// `GET /credits` in OpenRouter's shape (6.2): what was spent through the pool, and what is known to be left on top.
fn credits_body(spend: &PoolSpend, remaining: Usd) -> serde_json::Value {
    let total = spend.total.saturating_add(remaining.max(Usd::ZERO));
    serde_json::json!({"data": {"total_credits": total.to_json(), "total_usage": spend.total.to_json()}})
}
