//! The money of a key or of a client's budget as the store knows it, and the one place where more of it is leased.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension};

use crate::clock::Day;
use crate::money::{Caps, PurseFigures, Usd, Window};
use crate::pool::KeyId;

use super::column;
use super::command::Failed;
use super::epochs;
use super::error::StoreError;
use super::leases::Leases;
use super::limits;
use super::record::{Grant, Holder};
use super::{clients, spenders};

/// How much of a holder's headroom somebody wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub holder: Holder,
    /// Less than this is of no use.
    pub least: Usd,
    pub want: Usd,
    pub day: Day,
}

/// Lease headroom, when there is enough: whatever happens afterwards, in each window what is settled, in suspense and
/// leased by anybody is then within the cap.
pub(super) fn draw(connection: &Connection, leases: &mut Leases, ask: &Ask) -> Result<Grant, Failed> {
    let caps = caps_of(connection, ask.holder)?;
    let mut figures = of_holder(connection, ask.holder, leases, ask.day)?;
    let want = ask.want.max(ask.least).max(Usd::ZERO);
    let amount = match room(&caps, &figures, ask.day) {
        _ if !epochs::is_alive(connection, leases.epoch())? => Usd::ZERO,
        None => want,
        Some(room) if room < ask.least => Usd::ZERO,
        Some(room) => want.min(room.max(Usd::ZERO)),
    };
    leases.grant(ask.holder, amount);
    figures.lease = figures.lease.saturating_add(amount);
    Ok(Grant { amount, figures })
}

/// The caps on a holder's money.
pub(super) fn caps_of(connection: &Connection, holder: Holder) -> Result<Caps, Failed> {
    match holder {
        Holder::Key(key) => Ok(limits::caps(connection, key)?.ok_or(StoreError::NoSuchKey(key))?),
        Holder::Spender(spender) => {
            Ok(clients::caps(connection, spender)?.ok_or(StoreError::NoSuchClient(spender.client))?)
        }
    }
}

/// Everything about a holder's money.
pub(super) fn of_holder(
    connection: &Connection,
    holder: Holder,
    leases: &Leases,
    today: Day,
) -> rusqlite::Result<PurseFigures> {
    match holder {
        Holder::Key(key) => of_key(connection, key, leases, today),
        Holder::Spender(spender) => spenders::figures(connection, spender, leases, today),
    }
}

/// What may still be leased; `None` without caps. What nobody can bound leaves nothing.
fn room(caps: &Caps, figures: &PurseFigures, today: Day) -> Option<Usd> {
    let unbounded = figures.suspense_unbounded > 0 || figures.others_unbounded;
    let out = figures.suspense.saturating_add(figures.others).saturating_add(figures.lease);
    let left = |(window, cap): (Window, Usd)| {
        let settled = match window {
            Window::Total => figures.total,
            // Days to come are among them when a clock was ahead: setting it back gives nothing back.
            _ => {
                figures.days.range(window.first_day(today)..).fold(Usd::ZERO, |sum, (_, day)| sum.saturating_add(*day))
            }
        };
        let left = cap.checked_sub(settled).and_then(|left| left.checked_sub(out));
        left.filter(|_| !unbounded).unwrap_or(Usd::from_pico(i64::MIN))
    };
    caps.iter().map(left).min()
}

/// The first day that any window which holds `today` holds.
pub(super) fn first_day(today: Day) -> Day {
    today.monday().min(today.first_of_month())
}

/// Everything about one key's money.
pub(super) fn of_key(
    connection: &Connection,
    key: KeyId,
    leases: &Leases,
    today: Day,
) -> rusqlite::Result<PurseFigures> {
    let mut figures = PurseFigures { lease: leases.of(key), ..PurseFigures::default() };
    let total = connection
        .prepare_cached("SELECT pico FROM key_totals WHERE key = ?1")?
        .query_row((key.0,), |row| row.get(0).map(Usd::from_pico))
        .optional()?;
    figures.total = total.unwrap_or_default();
    figures.days = days(connection, key, first_day(today))?;
    let mut suspense = connection.prepare_cached("SELECT held FROM suspense WHERE key = ?1 AND settled_at IS NULL")?;
    let mut rows = suspense.query((key.0,))?;
    while let Some(row) = rows.next()? {
        add_suspense(&mut figures, row.get(0)?);
    }
    let mut others =
        connection.prepare_cached("SELECT amount, unbounded FROM leases WHERE key = ?1 AND epoch <> ?2")?;
    let mut rows = others.query((key.0, leases.epoch()))?;
    while let Some(row) = rows.next()? {
        add_lease(&mut figures, row.get(0)?, row.get(1)?);
    }
    Ok(figures)
}

/// By day, a seek for each: a day's keys stand together, so a range of days would read them all.
fn days(connection: &Connection, key: KeyId, first: Day) -> rusqlite::Result<BTreeMap<Day, Usd>> {
    let mut days = connection.prepare_cached(
        "WITH RECURSIVE days (day) AS (SELECT min(day) FROM day_totals WHERE day >= ?2 \
         UNION ALL SELECT (SELECT min(day) FROM day_totals WHERE day > days.day) FROM days WHERE days.day IS NOT NULL) \
         SELECT t.day, t.pico FROM days CROSS JOIN day_totals AS t ON t.day = days.day AND t.key = ?1",
    )?;
    let rows = days
        .query_map((key.0, first.number()), |row| Ok((Day::from_number(row.get(0)?), Usd::from_pico(row.get(1)?))))?;
    rows.collect()
}

pub(super) fn add_suspense(figures: &mut PurseFigures, held: Option<i64>) {
    match held {
        Some(held) => figures.suspense = figures.suspense.saturating_add(Usd::from_pico(held)),
        None => figures.suspense_unbounded = figures.suspense_unbounded.saturating_add(1),
    }
}

fn add_lease(figures: &mut PurseFigures, amount: i64, unbounded: bool) {
    figures.others = figures.others.saturating_add(Usd::from_pico(amount));
    figures.others_unbounded |= unbounded;
}

/// Everything about the money of every key, for a process that has leased nothing yet. Sums of all time are not among it.
/// Days are read for keys with caps only, since nothing else is measured against them.
pub(super) fn of_all(connection: &Connection, today: Day) -> rusqlite::Result<HashMap<KeyId, PurseFigures>> {
    let mut all = HashMap::<KeyId, PurseFigures>::new();
    let mut suspense = connection.prepare_cached("SELECT key, held FROM suspense WHERE settled_at IS NULL")?;
    let mut rows = suspense.query([])?;
    while let Some(row) = rows.next()? {
        add_suspense(all.entry(column::key(row, 0)?).or_default(), row.get(1)?);
    }
    let mut leases = connection.prepare_cached("SELECT key, amount, unbounded FROM leases")?;
    let mut rows = leases.query([])?;
    while let Some(row) = rows.next()? {
        add_lease(all.entry(column::key(row, 0)?).or_default(), row.get(1)?, row.get(2)?);
    }
    let mut days = connection.prepare_cached(
        "WITH RECURSIVE days (day) AS (SELECT min(day) FROM day_totals WHERE day >= ?1 \
         UNION ALL SELECT (SELECT min(day) FROM day_totals WHERE day > days.day) FROM days WHERE days.day IS NOT NULL) \
         SELECT t.key, t.day, t.pico FROM days CROSS JOIN keys AS k CROSS JOIN day_totals AS t \
         ON t.day = days.day AND t.key = k.id \
         WHERE coalesce(k.cap_day, k.cap_week, k.cap_month, k.cap_total) IS NOT NULL",
    )?;
    let mut rows = days.query((first_day(today).number(),))?;
    while let Some(row) = rows.next()? {
        let (day, spent) = (Day::from_number(row.get(1)?), Usd::from_pico(row.get(2)?));
        all.entry(column::key(row, 0)?).or_default().days.insert(day, spent);
    }
    Ok(all)
}
