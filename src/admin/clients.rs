//! The calls about clients: who may use the pool.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::Uri;

use super::Desk;
use super::answers::{
    ClientAddedAnswer, ClientAnswer, ClientRevokedAnswer, ClientsAnswer, ErrorAnswer, RotatedAnswer, ShownKey,
    UsersAnswer,
};
use super::asks::{ClientChange, ClientOffer, RotationWord, client_id, nothing};
use super::handlers::Body;
use super::query::{self, UsersWord};
use super::refused::Refused;
use super::show;

/// Every client whose key is not revoked.
#[utoipa::path(get, path = "/clients", tag = "clients", responses(
    (status = 200, description = "All of them in the order in which they came", body = ClientsAnswer),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn clients(State(desk): State<Arc<Desk>>) -> Result<Json<ClientsAnswer>, Refused> {
    let clients: Vec<_> = desk.pot.clients().await?.into_iter().map(show::client).collect();
    Ok(Json(ClientsAnswer { total_clients: clients.len() as u64, clients }))
}

/// Let a client in.
///
/// The answer holds its key, which is told this once: only a hash of it is kept. SDKs send it like any key, as
/// `Authorization: Bearer …` or `x-api-key`.
#[utoipa::path(post, path = "/clients", tag = "clients", request_body = ClientOffer, responses(
    (status = 200, description = "The client may use the pool", body = ClientAddedAnswer),
    (status = 400, description = "Not a well-formed call", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The body is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The client could not be stored, or there are as many as there can be", body = ErrorAnswer),
))]
pub(super) async fn add(State(desk): State<Arc<Desk>>, body: Body) -> Result<Json<ClientAddedAnswer>, Refused> {
    let terms = ClientOffer::read(&desk.whole(body)?, desk.pot.clock().now())?.into_terms();
    let (key, view) = desk.pot.add_client(terms).await?;
    let client = show::client(view);
    Ok(Json(ClientAddedAnswer {
        success: true,
        message: format!("{} may use the pool from now on; its key is told here and never again", client.id),
        id: client.id.clone(),
        key: ShownKey::new(key.text().expose()),
        client,
    }))
}

/// One client, also one whose key is revoked.
#[utoipa::path(get, path = "/clients/{id}", tag = "clients", params(
    ("id" = String, Path, description = "The client's id", example = "c1"),
), responses(
    (status = 200, description = "The client", body = ClientAnswer),
    (status = 404, description = "No such client", body = ErrorAnswer),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn client(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
) -> Result<Json<ClientAnswer>, Refused> {
    Ok(Json(show::client(desk.pot.client(client_id("id", &id)?).await?)))
}

/// A client's users: whoever it has asked for a token for, with what was spent for each.
#[utoipa::path(get, path = "/clients/{id}/users", tag = "clients", params(
    ("id" = String, Path, description = "The client's id", example = "c1"),
    UsersWord,
), responses(
    (status = 200, description = "Some of them in the order in which they came, and where the next page begins", body = UsersAnswer),
    (status = 400, description = "Not a well-formed query", body = ErrorAnswer),
    (status = 404, description = "No such client", body = ErrorAnswer),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn users(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<UsersAnswer>, Refused> {
    let UsersWord { limit, after } = query::users(&uri)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let users = desk.pot.client_users(client_id("id", &id)?, after, limit).await?;
    Ok(Json(show::users(users, limit)))
}

/// Change what a client may do.
///
/// Only what is named changes, at once: requests under way finish, and the next ones keep to it.
#[utoipa::path(patch, path = "/clients/{id}", tag = "clients", request_body = ClientChange, params(
    ("id" = String, Path, description = "The client's id", example = "c1"),
), responses(
    (status = 200, description = "The client as it is now", body = ClientAnswer),
    (status = 400, description = "Not a well-formed call", body = ErrorAnswer),
    (status = 404, description = "No such client, or its key is revoked", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The body is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The change could not be stored", body = ErrorAnswer),
))]
pub(super) async fn change(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<ClientAnswer>, Refused> {
    let id = client_id("id", &id)?;
    let change = ClientChange::read(&desk.whole(body)?, desk.pot.clock().now())?;
    Ok(Json(show::client(desk.pot.change_client(id, |terms| change.apply(terms)).await?)))
}

/// Revoke a client's key.
///
/// Now and for good, with the tokens that were issued for it: its open streams end within a second, and its lines in the
/// ledger keep its id.
#[utoipa::path(delete, path = "/clients/{id}", tag = "clients", params(
    ("id" = String, Path, description = "The client's id", example = "c1"),
), responses(
    (status = 200, description = "The key opens nothing any more", body = ClientRevokedAnswer),
    (status = 404, description = "No such client, or its key is revoked already", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The call is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The revocation could not be stored", body = ErrorAnswer),
))]
pub(super) async fn revoke(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<ClientRevokedAnswer>, Refused> {
    let id = client_id("id", &id)?;
    nothing(&desk.whole(body)?)?;
    let client = show::client(desk.pot.revoke_client(id).await?);
    let message = format!("{} may not use the pool any more", client.id);
    Ok(Json(ClientRevokedAnswer { success: true, message, id: client.id.clone(), client }))
}

/// Sign tokens with a new key.
///
/// Tokens that are out stay good until they are over, unless `endTokens` says that they end: for a key that may have been
/// seen.
#[utoipa::path(post, path = "/tokens/rotate", tag = "clients", request_body = RotationWord, responses(
    (status = 200, description = "Tokens are signed with a new key", body = RotatedAnswer),
    (status = 400, description = "Not a well-formed call", body = ErrorAnswer),
    (status = 409, description = "Too many older keys have tokens that are not over", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The body is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The key could not be stored", body = ErrorAnswer),
))]
pub(super) async fn rotate(State(desk): State<Arc<Desk>>, body: Body) -> Result<Json<RotatedAnswer>, Refused> {
    let RotationWord { end_tokens } = RotationWord::read(&desk.whole(body)?)?;
    desk.pot.rotate_signing_key(end_tokens).await?;
    let old =
        if end_tokens { "those that were out have ended" } else { "those that are out stay good until they are over" };
    Ok(Json(RotatedAnswer { success: true, message: format!("tokens are signed with a new key; {old}") }))
}
