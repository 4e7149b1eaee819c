//! Pages of the ledger.
//!
//! Lines come by their time, the newest first; lines of one moment by number. New lines come in front of what was read, or,
//! when they are booked late, where they belong: no line is shown twice, and none that was there when the first page was
//! read is passed over.

use rusqlite::{Connection, Row, named_params};
use wildmatch::WildMatch;

use crate::clock::Timestamp;
use crate::money::{ClientId, GenerationId, Outcome, RequestId, Usd};
use crate::pool::AccountId;
use crate::upstream::Endpoint;

use super::column;
use super::error::StoreError;
use super::lines::{Cursor, LedgerFilter, LedgerLine, LedgerPage, LineKind, LineTokens};
use super::row::Line;
use super::spans::{self, LINES_OF_CLIENT};

/// Lines on a page.
const LINES_MAX: usize = 1000;
/// Lines read for a page: some fifty milliseconds in a ledger of ten million, for which nobody else can ask anything.
const READ_MAX: usize = 5_000;

/// What leads to the lines: an index, or of a client's the spans that it has lines in. What else is asked for is looked for in each line.
#[derive(Clone, Copy)]
enum Lead {
    Key,
    Client,
    /// The index by client, as long as there is one: until then spans do not lead to all lines.
    ClientIndex,
    Failed,
    Time,
}

impl Lead {
    fn of(filter: &LedgerFilter, spans_are_whole: bool) -> Self {
        match filter {
            LedgerFilter { key: Some(_), .. } => Self::Key,
            LedgerFilter { client: Some(_), .. } if spans_are_whole => Self::Client,
            LedgerFilter { client: Some(_), .. } => Self::ClientIndex,
            LedgerFilter { outcome: Some(outcome), .. } if *outcome != Outcome::Answered => Self::Failed,
            _ => Self::Time,
        }
    }

    fn lines(self) -> String {
        let of = |condition| {
            format!("entries AS e WHERE {condition} at >= :from AND (at, id) < (:at, :line) ORDER BY at DESC, id DESC")
        };
        match self {
            Self::Key => of("key = :key AND"),
            Self::Client => LINES_OF_CLIENT.to_owned(),
            Self::ClientIndex => of("client = :client AND"),
            Self::Failed => of("outcome = :outcome AND outcome <> 'answered' AND"),
            Self::Time => of(""),
        }
    }
}

fn sql(lead: Lead) -> String {
    let columns = super::row::COLUMNS.split(", ").map(|column| format!("e.{column}")).collect::<Vec<_>>();
    format!(
        "SELECT {}, EXISTS (SELECT 1 FROM suspense AS s WHERE s.entry = e.id AND s.settled_at IS NULL), \
                (SELECT name FROM client_users AS u WHERE u.id = e.user) \
         FROM {}",
        columns.join(", "),
        lead.lines()
    )
}

/// The lines that `filter` means, after `after`.
pub(super) fn page(
    connection: &Connection,
    filter: &LedgerFilter,
    after: Option<Cursor>,
    limit: usize,
) -> Result<LedgerPage, StoreError> {
    page_of(connection, filter, after, limit.clamp(1, LINES_MAX), READ_MAX)
}

fn page_of(
    connection: &Connection,
    filter: &LedgerFilter,
    after: Option<Cursor>,
    limit: usize,
    read_max: usize,
) -> Result<LedgerPage, StoreError> {
    let lead = Lead::of(filter, spans::are_whole(connection)?);
    let model = filter.model.as_deref().map(WildMatch::new_case_insensitive);
    let end = Cursor { at: filter.to.unwrap_or(Timestamp::from_millis(i64::MAX)), line: i64::MIN };
    let mut place = after.filter(|after| (after.at, after.line) < (end.at, end.line)).unwrap_or(end);
    let mut lines = connection.prepare_cached(&sql(lead))?;
    let from = filter.from.map_or(i64::MIN, Timestamp::as_millis);
    let (at, line) = (place.at.as_millis(), place.line);
    let (key, client) = (filter.key.map(|key| key.0), filter.client.map(|client| client.0));
    let outcome = filter.outcome.map(Outcome::name);
    let mut rows = match lead {
        Lead::Key => lines.query(named_params! {":from": from, ":at": at, ":line": line, ":key": key}),
        Lead::Client | Lead::ClientIndex => {
            lines.query(named_params! {":from": from, ":at": at, ":line": line, ":client": client})
        }
        Lead::Failed => lines.query(named_params! {":from": from, ":at": at, ":line": line, ":outcome": outcome}),
        Lead::Time => lines.query(named_params! {":from": from, ":at": at, ":line": line}),
    }?;
    let mut page = LedgerPage::default();
    let mut read = 0;
    while let Some(row) = rows.next()? {
        if page.lines.len() == limit || read == read_max {
            page.next = Some(place);
            break;
        }
        let line = Line::read(row)?;
        read += 1;
        place = Cursor { at: Timestamp::from_millis(line.at), line: line.id };
        if is_meant(filter, model.as_ref(), &line) {
            page.lines.push(told(&line, row)?);
        }
    }
    Ok(page)
}

fn is_meant(filter: &LedgerFilter, model: Option<&WildMatch>, line: &Line<'_>) -> bool {
    filter.key.is_none_or(|key| line.key == key)
        && filter.client.is_none_or(|client| line.client == Some(client.0))
        && filter.outcome.is_none_or(|outcome| line.outcome == outcome)
        && model.is_none_or(|glob| line.model.is_some_and(|model| glob.matches(model)))
}

fn told(line: &Line<'_>, row: &Row<'_>) -> rusqlite::Result<LedgerLine> {
    let request = uuid::Uuid::from_slice(line.request).map_err(|_| column::odd(2, "a request's number"))?;
    let [prompt, completion, cached, reasoning] = line.tokens;
    Ok(LedgerLine {
        id: column::uncount(line.id),
        kind: if line.corrects { LineKind::Correction } else { LineKind::Attempt },
        basis: line.basis,
        at: Timestamp::from_millis(line.at),
        day: line.day,
        request: RequestId(request),
        attempt: line.attempt,
        key: line.key,
        account: line.account.map(AccountId),
        client: line.client.map(ClientId),
        user: row.get::<_, Option<String>>(super::row::WIDTH + 1)?.map(String::into_boxed_str),
        endpoint: Endpoint::from_name(line.endpoint),
        model: line.model.map(Box::from),
        generation: line.generation.and_then(|id| GenerationId::parse(id.as_bytes())),
        tokens: LineTokens { prompt, completion, cached, reasoning },
        cost: line.pico.map(Usd::from_pico),
        byok: line.byok.map(Usd::from_pico),
        held: line.held.map(Usd::from_pico),
        in_suspense: row.get(super::row::WIDTH)?,
        outcome: line.outcome,
        status: line.status,
        duration_ms: line.duration_ms,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A page for which only so many lines are read.
    pub(in super::super) fn short_page(
        connection: &Connection,
        filter: &LedgerFilter,
        after: Option<Cursor>,
        read_max: usize,
    ) -> LedgerPage {
        page_of(connection, filter, after, 1, read_max).expect("readable")
    }

    #[test]
    fn every_question_has_an_index_that_gives_its_order() {
        let mut connection = Connection::open_in_memory().expect("memory");
        crate::store::schema::migrate(&mut connection).expect("migrated");
        for (lead, index, range) in [
            (Lead::Key, "entries_of_key", "(key=? AND at>"),
            (Lead::Client, "entries_at", "(at>? AND at<?)"),
            (Lead::Failed, "entries_failed", "(outcome=? AND at>"),
            (Lead::Time, "entries_at", "(at>"),
        ] {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", sql(lead))).expect("a plan");
            // Nothing is bound: a plan needs no values.
            let plan: Vec<String> =
                plan.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().expect("readable");
            let plan = plan.join("\n");
            assert!(plan.contains(&format!("USING INDEX {index} {range}")), "{plan}");
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{plan}");
        }
    }
}
