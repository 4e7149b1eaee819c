//! Sums over the ledger for operators and donors. They are made of `day_models`, never of the entries.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Statement};
use wildmatch::WildMatch;

use crate::clock::{Day, Timestamp};
use crate::money::{Outcome, Usd};
use crate::pool::KeyId;

use super::cells::{Cell, Place, Table};
use super::error::StoreError;
use super::lines::{LedgerFilter, Receipt, SummaryLine, Sums};

/// Lines of an answer.
const LINES_MAX: usize = 100_000;

/// By day, a seek for each, as in [`purse`](super::purse).
const OF_KEY: &str = "WITH RECURSIVE days (day) AS (SELECT min(day) FROM day_models WHERE day >= ?1 \
     UNION ALL SELECT (SELECT min(day) FROM day_models WHERE day > days.day) FROM days WHERE days.day < ?2) \
     SELECT m.day, m.key, model, client, outcome, requests, attempts, prompt, completion, cached, reasoning, pico, byok, \
     by_usage, by_estimate FROM days CROSS JOIN day_models AS m ON m.day = days.day AND m.key = ?3 \
     WHERE days.day <= ?2";

/// What each model has cost on each key on each day, in that order.
pub(super) fn summary(connection: &Connection, filter: &LedgerFilter) -> Result<Vec<SummaryLine>, StoreError> {
    let model = filter.model.as_deref().map(WildMatch::new_case_insensitive);
    let (first, last) = days(filter);
    let mut lines: Vec<SummaryLine> = Vec::new();
    each_cell(connection, first, last, filter.key, |place, cell| {
        let meant = filter.client.is_none_or(|client| place.client == client.0)
            && filter.outcome.map(Outcome::name).is_none_or(|outcome| place.outcome == outcome)
            && model.as_ref().is_none_or(|glob| !place.model.is_empty() && glob.matches(&place.model));
        if !meant {
            return Ok(());
        }
        let model = named(&place);
        let same = |line: &SummaryLine| (line.day, line.key, &line.model) == (place.day, place.key, &model);
        if !lines.last().is_some_and(same) {
            if lines.len() == LINES_MAX {
                return Err(StoreError::TooMuch(LINES_MAX));
            }
            lines.push(SummaryLine { day: place.day, key: place.key, model, sums: Sums::default() });
        }
        if let Some(line) = lines.last_mut() {
            cell.add_to(&mut line.sums, place.outcome);
        }
        Ok(())
    })?;
    Ok(lines)
}

fn days(filter: &LedgerFilter) -> (Day, Day) {
    let last = |to: Timestamp| Timestamp::from_millis(to.as_millis().saturating_sub(1)).day();
    let ever = (Day::from_number(i32::MIN), Day::from_number(i32::MAX));
    (filter.from.map_or(ever.0, Timestamp::day), filter.to.map_or(ever.1, last))
}

fn named(place: &Place) -> Option<Box<str>> {
    (!place.model.is_empty()).then(|| place.model.clone())
}

/// Look at the sums of these days, of one key or of all, in order.
fn each_cell(
    connection: &Connection,
    first: Day,
    last: Day,
    key: Option<KeyId>,
    mut look: impl FnMut(Place, Cell) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (first, last) = (first.number(), last.number());
    let mut each = |cells: &mut Statement<'_>, of: &[&dyn rusqlite::ToSql]| -> Result<(), StoreError> {
        let mut rows = cells.query(of)?;
        while let Some(row) = rows.next()? {
            look(Place::read(row)?, Cell::read(row, 5)?)?;
        }
        Ok(())
    };
    match key {
        Some(key) => each(&mut *connection.prepare_cached(OF_KEY)?, &[&first, &last, &key.0]),
        None => each(&mut *connection.prepare_cached(Table::DayModels.of_days())?, &[&first, &last]),
    }
}

/// What a key was used for on these days.
pub(super) fn receipt(connection: &Connection, key: KeyId, from: Day, to: Day) -> Result<Receipt, StoreError> {
    let mut models = BTreeMap::<Option<Box<str>>, Sums>::new();
    let mut sums = Sums::default();
    each_cell(connection, from, to, Some(key), |place, cell| {
        cell.add_to(&mut sums, place.outcome);
        cell.add_to(models.entry(named(&place)).or_default(), place.outcome);
        Ok(())
    })?;
    let mut models: Vec<_> = models.into_iter().collect();
    models.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.amount));
    let mut receipt = Receipt { key, from, to, sums, models, suspense: 0, suspense_held: Usd::ZERO };
    let mut open =
        connection.prepare_cached("SELECT opened_at, held FROM suspense WHERE key = ?1 AND settled_at IS NULL")?;
    let read = |row: &Row<'_>| Ok((super::column::time(row, 0)?.day(), row.get::<_, Option<i64>>(1)?));
    for open in open.query_map((key.0,), read)? {
        let (day, held) = open?;
        if (from..=to).contains(&day) {
            receipt.suspense += 1;
            receipt.suspense_held = receipt.suspense_held.saturating_add(Usd::from_pico(held.unwrap_or_default()));
        }
    }
    Ok(receipt)
}
