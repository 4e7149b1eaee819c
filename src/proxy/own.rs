//! Calls that potluck answers itself: agents ask for the key's and the account's figures, and must not get a donor's.

use http::{HeaderValue, header};
use pingora::protocols::http::ServerSession;

use crate::money::{GenerationId, Usd, Window};
use crate::pot::{Account, Guest};
use crate::store::{PoolSpend, StoreError};
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
            OwnAnswer::Key => self.spend_answer(session, guest, request, Standing::key).await,
            OwnAnswer::Credits => self.spend_answer(session, guest, request, Standing::credits).await,
            OwnAnswer::Generation(id) => self.generation(session, guest, &id, request).await,
            OwnAnswer::CountTokens => give_refusal(session, &Refusal::CountTokens, Dialect::Messages, request).await,
        }
    }

    /// What a client may spend and has spent; who is not known is told the pool's own figures.
    async fn standing(&self, guest: &Guest) -> Result<Standing, StoreError> {
        Ok(match self.pot.account(guest).await? {
            Some(account) => Standing::Client(account, self.pot.remaining()),
            None => Standing::Pool(self.pot.spend().await?, self.pot.remaining()),
        })
    }

    async fn spend_answer(
        &self,
        session: &mut ServerSession,
        guest: &Guest,
        request: Request,
        body: impl FnOnce(&Standing) -> serde_json::Value,
    ) -> Served {
        match self.standing(guest).await {
            Ok(standing) => {
                let body = body(&standing).to_string();
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
        let _seat = match self.pot.take_seat(guest).await {
            Ok(seat) => seat,
            Err(denied) => return give_refusal(session, &self.denial(denied), Dialect::Chat, request).await,
        };
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

/// Whose figures are told.
enum Standing {
    /// A client's or its user's, and what the pool is known to have left.
    Client(Account, Usd),
    /// The pool's own, and what it is known to have left.
    Pool(PoolSpend, Usd),
}

impl Standing {
    /// `GET /key` in OpenRouter's shape (`openrouter-api.md` 6.1).
    fn key(&self) -> serde_json::Value {
        let [total, today, week, month] = match self {
            Self::Client(account, _) => {
                [Window::Total, Window::Day, Window::Week, Window::Month].map(|window| account.spent(window))
            }
            Self::Pool(spend, _) => [spend.total, spend.today, spend.week, spend.month],
        };
        let account = match self {
            Self::Client(account, _) => Some(account),
            Self::Pool(..) => None,
        };
        let budget = account.and_then(|account| account.tightest);
        let rate = account.and_then(|account| account.requests_per_minute);
        serde_json::json!({"data": {
            "label": account.map_or("potluck", |account| &account.name),
            "limit": budget.map(|budget| budget.cap.to_json()),
            "limit_remaining": budget.map(|budget| budget.left.to_json()),
            "limit_reset": budget.and_then(|budget| reset(budget.window)),
            "include_byok_in_limit": false,
            "usage": total.to_json(),
            "usage_daily": today.to_json(),
            "usage_weekly": week.to_json(),
            "usage_monthly": month.to_json(),
            "byok_usage": 0,
            "byok_usage_daily": 0,
            "byok_usage_weekly": 0,
            "byok_usage_monthly": 0,
            "is_free_tier": false,
            "is_management_key": false,
            "is_provisioning_key": false,
            "expires_at": account.and_then(|account| account.expires_at).map(|at| at.to_string()),
            "rate_limit": match rate {
                Some(requests) => serde_json::json!({"requests": requests, "interval": "60s"}),
                None => serde_json::json!({"requests": -1, "interval": "10s"}),
            }
        }})
    }

    /// `GET /credits` in OpenRouter's shape (6.2): what was spent, and what may yet be on top. For a client that is what its
    /// tightest budget leaves; without one, what the pool is known to have.
    fn credits(&self) -> serde_json::Value {
        let (used, left) = match self {
            Self::Client(account, pool) => {
                (account.spent(Window::Total), account.tightest.map_or(*pool, |budget| budget.left))
            }
            Self::Pool(spend, left) => (spend.total, *left),
        };
        let total = used.saturating_add(left.max(Usd::ZERO));
        serde_json::json!({"data": {"total_credits": total.to_json(), "total_usage": used.to_json()}})
    }
}

/// OpenRouter's word for when a limit starts anew.
const fn reset(window: Window) -> Option<&'static str> {
    match window {
        Window::Day => Some("daily"),
        Window::Week => Some("weekly"),
        Window::Month => Some("monthly"),
        Window::Total => None,
    }
}
