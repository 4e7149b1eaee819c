//! The ledger line by line: as NDJSON for programs, as CSV for spreadsheets. Page after page goes out as it is read, so
//! that a ledger of any size fits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::money::Usd;
use crate::pot::Pot;
use crate::store::{Cursor, LedgerFilter, LedgerLine, LineKind, StoreError, SummaryLine};

use super::query::{Format, PageWord};
use super::refused::Refused;
use super::show;

/// Lines that are read at a time.
const LINES_AT_A_TIME: usize = 500;

/// What is still to be written.
struct Rest {
    pot: Arc<Pot>,
    filter: LedgerFilter,
    format: Format,
    /// Where to go on; `None` at the end.
    next: Option<Place>,
    /// Lines to be written at most.
    left: u64,
}

/// A place to go on at.
#[derive(Clone, Copy)]
enum Place {
    /// The beginning, with a header.
    Beginning,
    /// After a page.
    Cursor(Cursor),
    /// Where another call's page ended, with a header.
    Page(Cursor),
}

impl Rest {
    /// The next lines, as text; `None` at the end.
    async fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        while let Some(place) = self.next {
            let (cursor, begins) = match place {
                Place::Beginning => (None, true),
                Place::Page(cursor) => (Some(cursor), true),
                Place::Cursor(cursor) => (Some(cursor), false),
            };
            let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(LINES_AT_A_TIME);
            let page = self.pot.store().ledger(self.filter.clone(), cursor, limit).await?;
            self.left = self.left.saturating_sub(page.lines.len() as u64);
            self.next = page.next.filter(|_| self.left > 0).map(Place::Cursor);
            let text = match self.format {
                Format::Csv => table(begins.then_some(&ENTRY_COLUMNS), page.lines.iter().map(entry_cells)),
                Format::Ndjson | Format::Json => lines(page.lines.into_iter().map(show::entry)),
            };
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

/// Write all lines that are meant.
pub(super) async fn ledger(pot: Arc<Pot>, filter: LedgerFilter, page: PageWord) -> Result<Response, Refused> {
    let PageWord { limit, cursor, format } = page;
    let next = Some(cursor.map_or(Place::Beginning, Place::Page));
    let mut rest = Rest { pot, filter, format, next, left: limit };
    // A store that cannot be read is told with a status, as long as none has been sent.
    let Some(first) = rest.piece().await? else { return Ok(respond(format, "potluck-ledger", Body::empty())) };
    let (pieces, body) = mpsc::channel(1);
    tokio::spawn(write(rest, first, pieces));
    Ok(respond(format, "potluck-ledger", Body::new(Pieces(body))))
}

/// Send piece after piece, until the last one, or until nobody listens any more.
async fn write(mut rest: Rest, first: Bytes, pieces: mpsc::Sender<Result<Bytes, StoreError>>) {
    let mut piece = Ok(Some(first));
    while let Some(next) = piece.transpose() {
        let failed = next.as_ref().err().map(StoreError::to_string);
        if pieces.send(next).await.is_err() {
            return;
        }
        if let Some(error) = failed {
            return tracing::error!(error, "the ledger could not be read to its end");
        }
        piece = rest.piece().await;
    }
}

/// A body whose pieces are made while it is sent.
struct Pieces(mpsc::Receiver<Result<Bytes, StoreError>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Write a summary.
pub(super) fn summary(found: Vec<SummaryLine>, format: Format) -> Response {
    let text = match format {
        Format::Json => return axum::Json(show::summary(found)).into_response(),
        Format::Ndjson => lines(show::summary(found).lines.into_iter()),
        Format::Csv => table(Some(&SUMMARY_COLUMNS), found.iter().map(summary_cells)),
    };
    respond(format, "potluck-summary", Body::from(text))
}

fn respond(format: Format, name: &str, body: Body) -> Response {
    let kind = match format {
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv; charset=utf-8; header=present",
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    if format == Format::Csv
        && let Ok(file) = HeaderValue::try_from(format!("attachment; filename=\"{name}.csv\""))
    {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, file);
    }
    response
}

/// An object on each line. What answers are made of can always be written as JSON.
fn lines(objects: impl Iterator<Item = impl Serialize>) -> Bytes {
    let mut text = Vec::new();
    for object in objects {
        if serde_json::to_writer(&mut text, &object).is_ok() {
            text.push(b'\n');
        }
    }
    text.into()
}

/// Rows of a table as RFC 4180 wants them. Writing into memory does not fail.
fn table<const N: usize>(head: Option<&[&str; N]>, rows: impl Iterator<Item = [String; N]>) -> Bytes {
    let mut table = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let headed = head.map_or(Ok(()), |head| table.write_record(head));
    let written = rows.fold(headed, |written, row| written.and_then(|()| table.write_record(&row)));
    debug_assert!(written.is_ok(), "every row has a cell for each column");
    table.into_inner().unwrap_or_default().into()
}

const ENTRY_COLUMNS: [&str; 25] = [
    "id",
    "kind",
    "at",
    "day",
    "request",
    "attempt",
    "key",
    "account",
    "client",
    "user",
    "endpoint",
    "model",
    "generation",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
    "byok_usd",
    "held_usd",
    "in_suspense",
    "basis",
    "outcome",
    "status",
    "duration_ms",
];

fn entry_cells(line: &LedgerLine) -> [String; 25] {
    [
        line.id.to_string(),
        match line.kind {
            LineKind::Attempt => "attempt",
            LineKind::Correction => "correction",
        }
        .to_owned(),
        line.at.to_string(),
        line.day.to_string(),
        line.request.to_string(),
        line.attempt.to_string(),
        line.key.to_string(),
        maybe(line.account),
        maybe(line.client),
        foreign(line.user.as_deref()),
        line.endpoint.map(|endpoint| endpoint.name().to_owned()).unwrap_or_default(),
        foreign(line.model.as_deref()),
        foreign(line.generation.as_ref().map(|id| id.as_str())),
        maybe(line.tokens.prompt),
        maybe(line.tokens.completion),
        maybe(line.tokens.cached),
        maybe(line.tokens.reasoning),
        dollars(line.cost),
        dollars(line.byok),
        dollars(line.held),
        line.in_suspense.to_string(),
        line.basis.map(|basis| basis.name().to_owned()).unwrap_or_default(),
        line.outcome.name().to_owned(),
        maybe(line.status),
        line.duration_ms.to_string(),
    ]
}

const SUMMARY_COLUMNS: [&str; 14] = [
    "day",
    "key",
    "model",
    "requests",
    "attempts",
    "answered",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "amount_usd",
    "byok_usd",
    "by_usage_usd",
    "estimated_usd",
];

fn summary_cells(line: &SummaryLine) -> [String; 14] {
    let sums = &line.sums;
    [
        line.day.to_string(),
        line.key.to_string(),
        foreign(line.model.as_deref()),
        sums.requests.to_string(),
        sums.attempts.to_string(),
        sums.answered.to_string(),
        sums.tokens.prompt.to_string(),
        sums.tokens.completion.to_string(),
        sums.tokens.cached.to_string(),
        sums.tokens.reasoning.to_string(),
        sums.amount.to_decimal(),
        sums.byok.to_decimal(),
        sums.by_usage.to_decimal(),
        sums.estimated.to_decimal(),
    ]
}

fn maybe(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn dollars(amount: Option<Usd>) -> String {
    amount.map(Usd::to_decimal).unwrap_or_default()
}

/// A text that clients or the upstream chose: a spreadsheet must not take it for a formula.
fn foreign(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula_and_none_breaks_the_table() {
        let check = |model: &str, cell: &str| {
            let row = [foreign(Some(model)), "1".to_owned()];
            let text = table(None, [row].into_iter());
            assert_eq!(String::from_utf8(text.to_vec()).expect("text"), format!("{cell},1\r\n"));
        };
        check("openai/gpt-4o", "openai/gpt-4o");
        check("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"");
        check("+1", "'+1");
        check("-1", "'-1");
        check("@SUM(A1)", "'@SUM(A1)");
        check("\tx", "'\tx");
        check("a,b", "\"a,b\"");
        check("a\r\nb", "\"a\r\nb\"");
        check("a=b", "a=b");
        assert_eq!(foreign(None), "");
    }

    #[test]
    fn amounts_are_numbers_also_below_zero() {
        assert_eq!(dollars(Some(Usd::from_pico(-1_500_000_000_000))), "-1.5");
        assert_eq!(dollars(Some(Usd::ZERO)), "0");
        assert_eq!(dollars(None), "");
    }
}
