//! How a key's limits stand in its row.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::money::{Caps, Limits, ModelGlobs, Usd, Window};
use crate::pool::KeyId;

use super::column::{self, maybe_time};
use super::command::Failed;
use super::error::StoreError;

/// The columns in the order in which [`read`] takes them.
pub(super) const COLUMNS: &str =
    "cap_day, cap_week, cap_month, cap_total, reserve, models, concurrency, paused, expires_at";
/// How many they are.
pub(super) const WIDTH: usize = 9;

/// Write a key's limits.
pub(super) fn save(connection: &Connection, id: KeyId, limits: &Limits) -> Result<(), Failed> {
    let cap = |window| limits.caps.of(window).map(Usd::as_pico);
    let changed = connection
        .prepare_cached(
            "UPDATE keys SET cap_day = :cap_day, cap_week = :cap_week, cap_month = :cap_month, cap_total = :cap_total, \
             reserve = :reserve, models = :models, concurrency = :concurrency, paused = :paused, \
             expires_at = :expires_at WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": id.0,
            ":cap_day": cap(Window::Day),
            ":cap_week": cap(Window::Week),
            ":cap_month": cap(Window::Month),
            ":cap_total": cap(Window::Total),
            ":reserve": limits.reserve.map(Usd::as_pico),
            ":models": models(limits),
            ":concurrency": limits.concurrency,
            ":paused": limits.paused,
            ":expires_at": column::millis(limits.expires_at),
        })?;
    match changed {
        0 => Err(StoreError::NoSuchKey(id).into()),
        _ => Ok(()),
    }
}

/// `NULL` allows every model.
fn models(limits: &Limits) -> Option<String> {
    let patterns: Vec<String> = limits.models.patterns().collect();
    (!patterns.is_empty()).then(|| serde_json::Value::from(patterns).to_string())
}

/// Read limits from `row`, beginning at column `from`. Limits that cannot be read must not become no limits.
pub(super) fn read(row: &Row<'_>, from: usize) -> rusqlite::Result<Limits> {
    let usd = |at: usize| -> rusqlite::Result<Option<Usd>> { Ok(row.get::<_, Option<i64>>(at)?.map(Usd::from_pico)) };
    let mut caps = Caps::default();
    for (at, window) in (from..).zip(Window::ALL) {
        caps.set(window, usd(at)?);
    }
    let models: Option<String> = row.get(from + 5)?;
    let patterns: Vec<String> = match models {
        None => Vec::new(),
        Some(json) => serde_json::from_str(&json).map_err(|_| column::odd(from + 5, "a list of models"))?,
    };
    Ok(Limits {
        caps,
        reserve: usd(from + 4)?,
        models: ModelGlobs::new(patterns),
        concurrency: row.get(from + 6)?,
        paused: row.get(from + 7)?,
        expires_at: maybe_time(row, from + 8)?,
    })
}

/// A key's caps; `None` without such a key.
pub(super) fn caps(connection: &Connection, id: KeyId) -> rusqlite::Result<Option<Caps>> {
    connection
        .prepare_cached("SELECT cap_day, cap_week, cap_month, cap_total FROM keys WHERE id = ?1")?
        .query_row((id.0,), |row| {
            let mut caps = Caps::default();
            for (at, window) in Window::ALL.into_iter().enumerate() {
                caps.set(window, row.get::<_, Option<i64>>(at)?.map(Usd::from_pico));
            }
            Ok(caps)
        })
        .optional()
}

/// What the audit says about a change.
pub(super) fn told(limits: &Limits) -> String {
    let mut told = serde_json::Map::new();
    for (window, cap) in limits.caps.iter() {
        told.insert(window.name().to_owned(), cap.to_decimal().into());
    }
    if let Some(reserve) = limits.reserve {
        told.insert("reserve".to_owned(), reserve.to_decimal().into());
    }
    if !limits.models.is_empty() {
        told.insert("models".to_owned(), limits.models.patterns().collect::<Vec<_>>().into());
    }
    if let Some(concurrency) = limits.concurrency {
        told.insert("concurrency".to_owned(), concurrency.into());
    }
    if limits.paused {
        told.insert("paused".to_owned(), true.into());
    }
    if let Some(at) = limits.expires_at {
        told.insert("expires_at".to_owned(), at.to_string().into());
    }
    serde_json::Value::Object(told).to_string()
}
