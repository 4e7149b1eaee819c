//! Who may come in, before anything of a request's body is read; and tokens for users of clients.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, header};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;

use crate::clients::is_user_id;
use crate::pot::{Denied, Guest, Issued, LastGuest, NotIssued, TokenTerms, Turned};
use crate::upstream::{Dialect, Refusal, Route};

use super::Proxy;
use super::answer::{Served, Whole, give_refusal};
use super::body::BodyLimits;
use super::request::Request;

/// How long an address that guesses waits for each further answer, for which it needs another connection each time.
const GUESSING_PAUSE: Duration = Duration::from_secs(1);
/// A key and a user's id are much shorter.
const TOKEN_ASK_MAX_BYTES: usize = 4096;

/// `POST /auth/token`. No `Debug`: it would print the key, of which there is no copy but the body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenAsk<'a> {
    #[serde(borrow)]
    api_key: Cow<'a, str>,
    #[serde(default)]
    user_id: Option<String>,
}

impl Proxy {
    /// Find out who sends the request. Whoever asks whether a browser may call, or for a token, need not say so in the head.
    pub(super) fn guest(&self, session: &ServerSession, last: &mut LastGuest, route: &Route) -> Result<Guest, Refusal> {
        if matches!(route, Route::Preflight | Route::Token) {
            return Ok(Guest::ANONYMOUS);
        }
        let headers = &session.req_header().headers;
        self.pot.let_in(headers, last, self.clients.mode, address(session)).map_err(refusal)
    }

    /// Say that somebody is not let in, in the dialect of what was called.
    pub(super) async fn turn_away(
        &self,
        session: &mut ServerSession,
        refusal: &Refusal,
        dialect: Dialect,
        request: Request,
    ) -> Served {
        if matches!(refusal, Refusal::Guessing { .. }) {
            session.set_keepalive(None);
            tokio::time::sleep(GUESSING_PAUSE).await;
        }
        give_refusal(session, refusal, dialect, request).await
    }

    /// Issue a token for a client's user.
    pub(super) async fn issue_token(&self, session: &mut ServerSession, request: Request) -> Served {
        let limits = BodyLimits { bytes: TOKEN_ASK_MAX_BYTES, ..self.limits.body };
        let body = match self.read_body_within(session, limits).await {
            Ok(body) => body,
            Err(fault) => return self.give_body_fault(session, &fault, limits, Dialect::Chat, request).await,
        };
        let issued = match read_token_ask(&body.bytes) {
            Ok(ask) => self.issue(ask, address(session)).await,
            Err(refusal) => Err(refusal),
        };
        let issued = match issued {
            Ok(issued) => issued,
            Err(refusal) => return self.turn_away(session, &refusal, Dialect::Chat, request).await,
        };
        let answer = serde_json::json!({
            "token": issued.token.expose(), "expiresIn": issued.expires_in_s, "type": "Bearer"
        });
        let no_store = HeaderValue::from_static("no-store");
        Whole::json(200, answer.to_string()).with(header::CACHE_CONTROL, no_store).give(session, request).await
    }
}

impl Proxy {
    async fn issue(&self, ask: TokenAsk<'_>, from: Option<IpAddr>) -> Result<Issued, Refusal> {
        let user = ask.user_id.map(String::into_boxed_str);
        let terms = TokenTerms { life: self.clients.token_life, users_max: self.clients.users_max };
        self.pot.issue_token(ask.api_key.as_bytes(), user, terms, from).await.map_err(|why| match why {
            NotIssued::Turned(turned) => refusal(turned),
            NotIssued::TooManyUsers { most } => Refusal::TooManyUsers { most },
            NotIssued::Store(error) => self.denial(Denied::Store(error)),
            NotIssued::Unsigned => Refusal::Internal,
        })
    }
}

impl Route {
    /// The shape of errors that whoever calls this expects.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Inference { endpoint, .. } => endpoint.dialect(),
            Self::Refused { dialect, .. } => *dialect,
            Self::Own(own) => own.dialect(),
            Self::Poll { .. } | Self::PublicRead { .. } | Self::Preflight | Self::Token | Self::Ai(_) => Dialect::Chat,
        }
    }
}

fn read_token_ask(body: &[u8]) -> Result<TokenAsk<'_>, Refusal> {
    let ask: TokenAsk<'_> = serde_json::from_slice(body)
        .map_err(|_| Refusal::TokenAsk("the body must be a JSON object with apiKey and, where wanted, userId"))?;
    match &ask.user_id {
        Some(user) if !is_user_id(user) => {
            Err(Refusal::TokenAsk("userId must have 1 to 128 characters, none of them a control character"))
        }
        _ => Ok(ask),
    }
}

fn refusal(turned: Turned) -> Refusal {
    match turned {
        Turned::Away(_) => Refusal::ClientKey,
        Turned::Guessing { retry_after_s } => Refusal::Guessing { retry_after_s },
    }
}

fn address(session: &ServerSession) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip())
}
