//! The calls about the ledger: its lines and sums, receipts, and costs that are still open.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri, header};

use super::answers::{
    ErrorAnswer, LedgerAnswer, LedgerEntry, OpenAnswer, ReceiptAnswer, SettledAnswer, SummaryAnswer, SummaryEntry,
};
use super::asks::{CostWord, key_id};
use super::handlers::Body;
use super::query::{self, FilterWord, Format, PageWord, PeriodWord};
use super::refused::Refused;
use super::{Desk, export, show};

/// Entries of the suspense list.
const OPEN_MAX: usize = 1000;

/// Lines of the ledger.
///
/// The newest first, page by page. As NDJSON and CSV all of them, however many they are; should the ledger become
/// unreadable on the way, the answer breaks off without its proper end. In CSV amounts are plain decimals, and a
/// model's name that a spreadsheet would take for a formula has a `'` in front.
#[utoipa::path(get, path = "/ledger", tag = "ledger", params(FilterWord, PageWord), responses(
    (status = 200, description = "The lines", content(
        (LedgerAnswer = "application/json"), (LedgerEntry = "application/x-ndjson"), (String = "text/csv"),
    )),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn ledger(
    State(desk): State<Arc<Desk>>,
    target: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (filter, page) = query::ledger(&target, accept(&headers))?;
    let store = desk.pot.store();
    store.flush().await?;
    if page.format != Format::Json {
        return export::ledger(Arc::clone(&desk.pot), filter, page).await;
    }
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    Ok(Json(show::page(store.ledger(filter, page.cursor, limit).await?)).into_response())
}

/// The ledger by day, key and model.
#[utoipa::path(get, path = "/ledger/summary", tag = "ledger", params(
    FilterWord, ("format" = Option<String>, Query, description = "`json`, `ndjson` or `csv`; else as `Accept` says"),
), responses(
    (status = 200, description = "The sums", content(
        (SummaryAnswer = "application/json"), (SummaryEntry = "application/x-ndjson"), (String = "text/csv"),
    )),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn summary(
    State(desk): State<Arc<Desk>>,
    target: Uri,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (filter, format) = query::summary(&target, accept(&headers))?;
    let store = desk.pot.store();
    store.flush().await?;
    Ok(export::summary(store.summary(filter).await?, format))
}

fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT)?.to_str().ok()
}

/// Costs that are still being looked up.
#[utoipa::path(get, path = "/ledger/suspense", tag = "ledger", responses(
    (status = 200, description = "What is open, the oldest first", body = OpenAnswer),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn open(State(desk): State<Arc<Desk>>) -> Result<Json<OpenAnswer>, Refused> {
    let store = desk.pot.store();
    store.flush().await?;
    let all = store.suspense_summary().await?.open;
    Ok(Json(show::open(store.suspense_open(OPEN_MAX).await?, all)))
}

/// Say what an attempt cost.
///
/// For a cost that nobody can be asked about any more. It is booked as a correction, which says that it rests on an
/// operator's word, and cannot be taken back.
#[utoipa::path(post, path = "/ledger/settle", tag = "ledger", request_body = CostWord, responses(
    (status = 200, description = "The cost is booked", body = SettledAnswer),
    (status = 400, description = "Not a well-formed call", body = ErrorAnswer),
    (status = 404, description = "No entry of that number was ever in suspense", body = ErrorAnswer),
    (status = 409, description = "Its cost is known by now", body = ErrorAnswer),
    (status = 413, description = "The body is too large", body = ErrorAnswer),
    (status = 415, description = "The body is not declared as JSON", body = ErrorAnswer),
    (status = 503, description = "The cost could not be stored", body = ErrorAnswer),
))]
pub(super) async fn settle(State(desk): State<Arc<Desk>>, body: Body) -> Result<Json<SettledAnswer>, Refused> {
    let CostWord { entry, cost } = CostWord::read(&desk.whole(body)?)?;
    let settled = desk.pot.settle_by_word(entry, cost).await?;
    Ok(Json(SettledAnswer {
        success: true,
        entry,
        key: settled.key.to_string(),
        cost: cost.to_string(),
        message: format!("{cost} is booked on {}, on the day of the attempt, by your word", settled.key),
    }))
}

/// A donor's receipt.
///
/// What a key was used for on these days, this month when nothing is said; also of a key that has left the pool.
#[utoipa::path(get, path = "/keys/openrouter/{id}/receipt", tag = "ledger", params(
    ("id" = String, Path, description = "The key's id", example = "k1"), PeriodWord,
), responses(
    (status = 200, description = "The receipt", body = ReceiptAnswer),
    (status = 404, description = "No such key is in the pool, and none was ever used", body = ErrorAnswer),
    (status = 503, description = "The store cannot be read", body = ErrorAnswer),
))]
pub(super) async fn receipt(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    target: Uri,
) -> Result<Json<ReceiptAnswer>, Refused> {
    let key = key_id("id", &id)?;
    let now = desk.pot.clock().now();
    let PeriodWord { from, to } = query::period(&target, now.day())?;
    let view = desk.overview().await?.keys.into_iter().find(|view| view.id == key);
    let store = desk.pot.store();
    if view.is_none() && !store.totals(now.day()).await?.per_key.contains_key(&key) {
        return Err(Refused::KeyNeverThere);
    }
    Ok(Json(show::receipt(store.receipt(key, from, to).await?, view, now)))
}
