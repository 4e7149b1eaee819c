//! One function per call: read, ask the pot, show.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::pot::KeyRef;

use super::answers::{
    DonatedAnswer, ErrorAnswer, HealthSetAnswer, KeyAnswer, KeysAnswer, LiveAnswer, ReadyAnswer, StatusAnswer,
    WithdrawnAnswer,
};
use super::asks::{HealthWord, KeyChange, KeyNamed, KeyOffer, key_id};
use super::refused::Refused;
use super::show::{self, MODEL};
use super::{Desk, openapi};

pub(super) type Body = Result<Bytes, BytesRejection>;

/// The pool at a glance.
///
/// Health counts, requests, what was spent today, which key rotation chose last, and each key without the key.
#[utoipa::path(get, path = "/status", tag = "pool", responses(
    (status = 200, description = "The pool as it is now", body = StatusAnswer),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn status(State(desk): State<Arc<Desk>>) -> Result<Json<StatusAnswer>, Refused> {
    Ok(Json(show::status(desk.overview().await?)))
}

/// Every key, without the key.
#[utoipa::path(get, path = "/keys", tag = "pool", responses(
    (status = 200, description = "All keys in the order they were added", body = KeysAnswer),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn keys(State(desk): State<Arc<Desk>>) -> Result<Json<KeysAnswer>, Refused> {
    Ok(Json(show::keys(desk.overview().await?)))
}

/// Donate a key.
///
/// OpenRouter is asked about the key first, with a free call. When it cannot be reached the key is taken all the same,
/// marked unverified, and asked about again soon.
#[utoipa::path(post, path = "/keys/openrouter", tag = "keys", request_body = KeyOffer, responses(
    (status = 200, description = "The key is in the pool", body = DonatedAnswer),
    (status = 400, description = "Not a usable key, or not a well-formed call; the reason is in the answer", body = ErrorAnswer),
    (status = 409, description = "The pool has it already; `error.id` is its id", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The body is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The key could not be stored", body = ErrorAnswer),
))]
pub(super) async fn donate(State(desk): State<Arc<Desk>>, body: Body) -> Result<Json<DonatedAnswer>, Refused> {
    let donation = KeyOffer::read(&desk.whole(body)?, desk.pot.clock().now())?.into_donation()?;
    let key = donation.credential.masked();
    let donated = desk.pot.donate(donation).await?;
    let state =
        if donated.verified { "confirmed by OpenRouter" } else { "not confirmed yet: OpenRouter did not answer" };
    Ok(Json(DonatedAnswer {
        success: true,
        model: MODEL.to_owned(),
        total_keys: donated.total_keys as u64,
        message: format!("the key is in the pool as {}, {state}", donated.id),
        id: donated.id.to_string(),
        key,
        verified: donated.verified,
    }))
}

/// Change what a key's donor allows.
///
/// Only the limits that are named change, at once: requests under way finish, and the next ones keep to it.
#[utoipa::path(patch, path = "/keys/openrouter/{id}", tag = "keys", request_body = KeyChange, params(
    ("id" = String, Path, description = "The key's id", example = "k1"),
), responses(
    (status = 200, description = "The key as it is now, as `GET /keys` shows it", body = KeyAnswer),
    (status = 400, description = "Not a well-formed call", body = ErrorAnswer),
    (status = 404, description = "No such key", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The body is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The change could not be stored", body = ErrorAnswer),
))]
pub(super) async fn change(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<KeyAnswer>, Refused> {
    let id = key_id("id", &id)?;
    let KeyChange { limits: change } = KeyChange::read(&desk.whole(body)?, desk.pot.clock().now())?;
    let key = desk.pot.change_limits(KeyRef::Id(id), |limits| change.apply(limits)).await?;
    Ok(Json(show::key(key)))
}

/// Take a key out of the pool.
///
/// Now and for good: its stored text is wiped. Requests under way with it finish, and its books stay.
#[utoipa::path(delete, path = "/keys/openrouter", tag = "keys", request_body = KeyNamed, responses(
    (status = 200, description = "The key is out", body = WithdrawnAnswer),
    (status = 400, description = "Not a well-formed call", body = ErrorAnswer),
    (status = 404, description = "No such key", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The body is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The removal could not be stored", body = ErrorAnswer),
))]
pub(super) async fn withdraw(State(desk): State<Arc<Desk>>, body: Body) -> Result<Json<WithdrawnAnswer>, Refused> {
    let which = KeyNamed::read(&desk.whole(body)?)?;
    let withdrawn = desk.pot.withdraw(which).await?;
    Ok(Json(WithdrawnAnswer {
        success: true,
        model: MODEL.to_owned(),
        total_keys: withdrawn.total_keys as u64,
        message: format!("{} is out of the pool, and its text is wiped", withdrawn.id),
        id: withdrawn.id.to_string(),
        key: withdrawn.masked,
    }))
}

/// Say how a key is.
///
/// All five states can be said. `degraded` and `rate_limited` end by themselves, the others by evidence or by hand.
#[utoipa::path(post, path = "/health/openrouter", tag = "keys", request_body = HealthWord, responses(
    (status = 200, description = "The key is in that state", body = HealthSetAnswer),
    (status = 400, description = "Not a well-formed call", body = ErrorAnswer),
    (status = 404, description = "No such key", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The body is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The change could not be stored", body = ErrorAnswer),
))]
pub(super) async fn set_health(State(desk): State<Arc<Desk>>, body: Body) -> Result<Json<HealthSetAnswer>, Refused> {
    let change = HealthWord::read(&desk.whole(body)?)?;
    let key = desk.pot.set_health(change.which, change.health, change.note, change.cost).await?;
    Ok(Json(HealthSetAnswer {
        success: true,
        model: MODEL.to_owned(),
        id: key.id.to_string(),
        status: key.state.health,
        health: show::health(&key),
        key: key.masked,
    }))
}

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses(
    (status = 200, description = "Prometheus' text format, version 0.0.4", body = String, content_type = "text/plain"),
    (status = 500, description = "The metrics cannot be written down", body = ErrorAnswer),
))]
pub(super) async fn metrics(State(desk): State<Arc<Desk>>) -> Result<Response, Refused> {
    desk.pot.refresh_metrics().await;
    let text = desk.pot.metrics().encode().map_err(|error| {
        tracing::error!(%error, "the metrics cannot be encoded");
        Refused::Internal
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Whether the process lives. Needs no token.
#[utoipa::path(get, path = "/health", tag = "operation", security(()), responses(
    (status = 200, description = "It lives", body = LiveAnswer),
))]
pub(super) async fn live() -> Json<LiveAnswer> {
    Json(LiveAnswer { status: "ok".to_owned() })
}

/// Whether traffic should be sent here. Needs no token.
#[utoipa::path(get, path = "/ready", tag = "operation", security(()), responses(
    (status = 200, description = "A key can serve", body = ReadyAnswer),
    (status = 503, description = "No key can serve, the store is unwell, or it is shutting down", body = ReadyAnswer),
))]
pub(super) async fn ready(State(desk): State<Arc<Desk>>) -> (StatusCode, Json<ReadyAnswer>) {
    let answer = show::readiness(desk.pot.ready());
    let status = if answer.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(answer))
}

/// This specification.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object),
))]
pub(super) async fn specification() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi::document())
}
