//! The admin API: what operators, donors and Prometheus see and do (design section 1).
//!
//! [`router`] is the whole of it, guards included; [`AdminApp`] serves it on a Pingora listener of its own. No route
//! leads from here to the proxy or back.

mod allowance;
mod answers;
mod app;
mod asks;
mod clients;
mod export;
mod fields;
mod guard;
mod handlers;
mod ledger;
mod limits;
mod openapi;
mod query;
mod refused;
mod show;
mod text;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use http::{HeaderValue, StatusCode, header};

pub use answers::{
    CapAnswer, ClientAddedAnswer, ClientAnswer, ClientRevokedAnswer, ClientsAnswer, DonatedAnswer, EntryKind,
    EntryTokens, ErrorAnswer, ErrorDetail, HealthCounts, HealthSetAnswer, KeyAnswer, KeyCaps, KeyGate, KeyHealth,
    KeyLimits, KeysAnswer, LedgerAnswer, LedgerEntry, LedgerSums, LiveAnswer, OpenAnswer, OpenEntry, PoolStats,
    PoolStatus, ReadyAnswer, ReceiptAnswer, ReceiptCheck, ReceiptKey, ReceiptModel, ReceiptSuspense, RotatedAnswer,
    SettledAnswer, ShownKey, SpentBy, StatusAnswer, SummaryAnswer, SummaryEntry, SuspenseStatus, TokenSums,
    UserAllowance, UserAnswer, UsersAnswer, Why, WithdrawnAnswer,
};
pub use app::AdminApp;

use crate::config;
use crate::guesses::{Guessed, Guesses};
use crate::pot::{Overview, Pot};
use crate::secret::Secret;

use guard::{Brought, Names};
use refused::Refused;

/// Who may call, and how much they may say.
#[derive(Clone, Debug)]
pub struct Options {
    token: Option<Secret>,
    names: Names,
    body_max_bytes: usize,
}

impl Options {
    /// The options in a configuration.
    pub fn new(admin: &config::Admin) -> Self {
        Self {
            token: admin.token.clone(),
            names: Names::new(admin.listen, &admin.hosts),
            body_max_bytes: admin.body_max_bytes,
        }
    }
}

/// Where a call comes from, as an extension of its request. Without it, all callers count as one when they guess
/// tokens.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub IpAddr);

/// What every call has at hand.
#[derive(Debug)]
struct Desk {
    pot: Arc<Pot>,
    options: Options,
    guesses: Guesses,
}

impl Desk {
    async fn overview(&self) -> Result<Overview, Refused> {
        self.pot.overview().await.map_err(|error| {
            tracing::error!(%error, "the store cannot be read");
            Refused::Store
        })
    }

    /// The body of a write.
    fn whole(&self, body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refused> {
        body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refused::BodyTooLarge { max: self.options.body_max_bytes },
            _ => Refused::BodyBroken,
        })
    }

    /// Whether the call may be made by whoever makes it.
    fn admit(&self, call: &Request) -> Result<(), Refused> {
        guard::check_sender(&self.options.names, call.headers())?;
        if !guard::is_open(call.uri().path()) {
            self.check_token(call)?;
        }
        guard::check_form(call.method(), call.uri(), call.headers())?;
        if self.pot.draining() && !call.method().is_safe() {
            return Err(Refused::Draining);
        }
        Ok(())
    }

    fn check_token(&self, call: &Request) -> Result<(), Refused> {
        let Some(token) = &self.options.token else { return Ok(()) };
        let (caller, now) = (call.extensions().get().map(|Caller(address)| *address), self.pot.clock().now());
        if let Some(retry_after_s) = self.guesses.wait(caller, now) {
            return Err(Refused::Guessing { retry_after_s });
        }
        match guard::check_token(token, call.headers()) {
            Brought::Right => Ok(()),
            Brought::None => Err(Refused::Token),
            Brought::Wrong => match self.guesses.wrong(caller, now) {
                Guessed::Early { retry_after_s } => Err(Refused::Guessing { retry_after_s }),
                Guessed::TooMany => {
                    self.pot.metrics().alarm("admin_token_guessing");
                    tracing::error!(caller = ?caller, "somebody tries wrong admin tokens");
                    Err(Refused::Token)
                }
                Guessed::Few => Err(Refused::Token),
            },
        }
    }
}

/// Every path, and what it takes.
fn routes() -> Vec<(&'static str, MethodRouter<Arc<Desk>>)> {
    vec![
        ("/status", get(handlers::status)),
        ("/keys", get(handlers::keys)),
        ("/keys/openrouter", post(handlers::donate).merge(delete(handlers::withdraw))),
        ("/keys/openrouter/{id}", patch(handlers::change)),
        ("/keys/openrouter/{id}/receipt", get(ledger::receipt)),
        ("/health/openrouter", post(handlers::set_health)),
        ("/clients", get(clients::clients).merge(post(clients::add))),
        ("/clients/{id}", get(clients::client).merge(patch(clients::change)).merge(delete(clients::revoke))),
        ("/clients/{id}/users", get(clients::users)),
        ("/tokens/rotate", post(clients::rotate)),
        ("/ledger", get(ledger::ledger)),
        ("/ledger/summary", get(ledger::summary)),
        ("/ledger/suspense", get(ledger::open)),
        ("/ledger/settle", post(ledger::settle)),
        ("/metrics", get(handlers::metrics)),
        ("/health", get(handlers::live)),
        ("/ready", get(handlers::ready)),
        ("/openapi.json", get(handlers::specification)),
    ]
}

/// The admin API over `pot`.
pub fn router(pot: Arc<Pot>, options: Options) -> Router {
    let body_max = options.body_max_bytes;
    let desk = Arc::new(Desk { pot, options, guesses: Guesses::default() });
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(|| async { Refused::NoSuchPath })
        .method_not_allowed_fallback(|| async { Refused::Method })
        .layer(DefaultBodyLimit::max(body_max))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), guarded))
        .with_state(desk)
}

async fn guarded(State(desk): State<Arc<Desk>>, call: Request, next: Next) -> Response {
    let mut response = match desk.admit(&call) {
        Ok(()) => next.run(call).await,
        Err(refused) => refused.into_response(),
    };
    seal(&mut response);
    response
}

/// No answer is kept, guessed at, framed, or read by a page.
fn seal(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    let same_origin = HeaderValue::from_static("same-origin");
    headers.insert(http::HeaderName::from_static("cross-origin-resource-policy"), same_origin);
}

#[cfg(test)]
mod tests;
