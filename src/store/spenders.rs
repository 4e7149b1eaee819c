//! The money of clients and their users: what was spent for them, by day, and what their budgets are measured against.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::clock::Day;
use crate::money::{ClientId, PurseFigures, Spender, Usd};

use super::Store;
use super::cells::Cell;
use super::column::{self, uncount};
use super::error::StoreError;
use super::figures::sum;
use super::leases::Leases;
use super::purse::{add_suspense, first_day};
use super::record::TokenTotals;

const COLUMNS: usize = 7;

/// A row of `client_days`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientFigures([i64; COLUMNS]);

impl ClientFigures {
    /// What these sums have of a cell.
    pub(super) fn of(cell: &Cell) -> Self {
        let Cell { requests, attempts, tokens: [a, b, c, d], pico, .. } = *cell;
        Self([requests, attempts, a, b, c, d, pico])
    }

    /// Read it from `row`, beginning at column `from`.
    pub(super) fn read(row: &Row<'_>, from: usize) -> rusqlite::Result<Self> {
        let mut columns = [0; COLUMNS];
        for (at, column) in (from..).zip(&mut columns) {
            *column = row.get(at)?;
        }
        Ok(Self(columns))
    }

    pub(super) fn pico(&self) -> i64 {
        let [.., pico] = self.0;
        pico
    }

    pub(super) fn add(&mut self, more: &Self) {
        sum(&mut self.0, &more.0);
    }

    /// Add it to what stands at a client, user and day.
    pub(super) fn add_to(self, connection: &Connection, (client, user, day): (u32, u32, Day)) -> rusqlite::Result<()> {
        let known = connection
            .prepare_cached(
                "SELECT requests, attempts, prompt, completion, cached, reasoning, pico FROM client_days \
                 WHERE client = ?1 AND user = ?2 AND day = ?3",
            )?
            .query_row((client, user, day.number()), |row| Self::read(row, 0))
            .optional()?;
        let mut sum = known.unwrap_or_default();
        sum.add(&self);
        let [a, b, c, d, e, f, g] = sum.0;
        connection
            .prepare_cached(
                "REPLACE INTO client_days (client, user, day, requests, attempts, prompt, completion, cached, reasoning, \
                 pico) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![client, user, day.number(), a, b, c, d, e, f, g])
            .map(drop)
    }
}

/// What was done and spent for a client or one of its users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientSums {
    /// Requests: however many keys one tried, it counts once.
    pub requests: u64,
    /// Tokens in all.
    pub tokens: TokenTotals,
    /// Spent since the ledger began.
    pub spent_total: Usd,
    /// Spent on the day asked about.
    pub spent_today: Usd,
    /// Requests refused for the client's own limits.
    pub refused: u64,
}

impl ClientSums {
    fn add(&mut self, figures: &ClientFigures, is_today: bool) {
        let [requests, _, prompt, completion, cached, reasoning, pico] = figures.0;
        let add = |sum: &mut u64, more: i64| *sum = sum.saturating_add(uncount(more));
        add(&mut self.requests, requests);
        add(&mut self.tokens.prompt, prompt);
        add(&mut self.tokens.completion, completion);
        add(&mut self.tokens.cached, cached);
        add(&mut self.tokens.reasoning, reasoning);
        self.spent_total = self.spent_total.saturating_add(Usd::from_pico(pico));
        if is_today {
            self.spent_today = self.spent_today.saturating_add(Usd::from_pico(pico));
        }
    }
}

impl Store {
    /// What was done and spent for one client, or one of its users.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn sums_of(&self, spender: Spender, today: Day) -> Result<ClientSums, StoreError> {
        self.read(move |connection| Ok(sums_of(connection, spender, today)?)).await
    }

    /// What was done and spent for each client, revoked ones among them.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn client_sums(&self, today: Day) -> Result<HashMap<ClientId, ClientSums>, StoreError> {
        self.read(move |connection| Ok(sums(connection, today)?)).await
    }
}

/// What was done and spent for a client as a whole, or for one of its users.
pub(super) fn sums_of(connection: &Connection, spender: Spender, today: Day) -> rusqlite::Result<ClientSums> {
    let (client, user) = (spender.client.0, column::user(spender));
    let mut sums = ClientSums::default();
    let mut days = connection.prepare_cached(
        "SELECT day, requests, attempts, prompt, completion, cached, reasoning, pico FROM client_days \
         WHERE client = ?1 AND user = ?2",
    )?;
    let mut rows = days.query((client, user))?;
    while let Some(row) = rows.next()? {
        let is_today = row.get::<_, i32>(0)? == today.number();
        sums.add(&ClientFigures::read(row, 1)?, is_today);
    }
    let mut refusals =
        connection.prepare_cached("SELECT count FROM client_refusals WHERE client = ?1 AND user = ?2")?;
    for count in refusals.query_map((client, user), |row| row.get(0))? {
        sums.refused = sums.refused.saturating_add(uncount(count?));
    }
    Ok(sums)
}

fn sums(connection: &Connection, today: Day) -> rusqlite::Result<HashMap<ClientId, ClientSums>> {
    let mut all = HashMap::<ClientId, ClientSums>::new();
    let mut days = connection.prepare_cached(
        "SELECT client, day, requests, attempts, prompt, completion, cached, reasoning, pico FROM client_days \
         WHERE user = 0",
    )?;
    let mut rows = days.query([])?;
    while let Some(row) = rows.next()? {
        let is_today = row.get::<_, i32>(1)? == today.number();
        all.entry(ClientId(row.get(0)?)).or_default().add(&ClientFigures::read(row, 2)?, is_today);
    }
    let mut refusals = connection.prepare_cached("SELECT client, count FROM client_refusals WHERE user = 0")?;
    let mut rows = refusals.query([])?;
    while let Some(row) = rows.next()? {
        let sums = all.entry(ClientId(row.get(0)?)).or_default();
        sums.refused = sums.refused.saturating_add(uncount(row.get(1)?));
    }
    Ok(all)
}

/// Everything about the money of a client or one of its users.
pub(super) fn figures(
    connection: &Connection,
    spender: Spender,
    leases: &Leases,
    today: Day,
) -> rusqlite::Result<PurseFigures> {
    let (client, user) = (spender.client.0, column::user(spender));
    let mut figures = PurseFigures { lease: leases.of(spender), ..PurseFigures::default() };
    let mut days = connection.prepare_cached(
        "SELECT day, pico FROM client_days WHERE client = ?1 AND user = ?2 \
         UNION ALL SELECT day, pico FROM client_lost WHERE client = ?1 AND user = ?2",
    )?;
    let mut rows = days.query((client, user))?;
    while let Some(row) = rows.next()? {
        add_day(&mut figures, Day::from_number(row.get(0)?), Usd::from_pico(row.get(1)?), today);
    }
    let mut suspense = connection.prepare_cached(
        "SELECT e.client_held FROM suspense AS s JOIN entries AS e ON e.id = s.entry \
         WHERE s.client = ?1 AND s.settled_at IS NULL AND (?2 = 0 OR e.user = ?2)",
    )?;
    let mut rows = suspense.query((client, user))?;
    while let Some(row) = rows.next()? {
        add_suspense(&mut figures, row.get(0)?);
    }
    let mut others = connection
        .prepare_cached("SELECT amount FROM client_leases WHERE client = ?1 AND user = ?2 AND epoch <> ?3")?;
    let mut rows = others.query((client, user, leases.epoch()))?;
    while let Some(row) = rows.next()? {
        figures.others = figures.others.saturating_add(Usd::from_pico(row.get(0)?));
    }
    Ok(figures)
}

fn add_day(figures: &mut PurseFigures, day: Day, spent: Usd, today: Day) {
    figures.total = figures.total.saturating_add(spent);
    if day >= first_day(today) {
        let of_day = figures.days.entry(day).or_default();
        *of_day = of_day.saturating_add(spent);
    }
}

/// Everything about the money of every client as a whole, for a process that has leased nothing yet.
pub(super) fn of_all(connection: &Connection, today: Day) -> rusqlite::Result<HashMap<ClientId, PurseFigures>> {
    let mut all = HashMap::<ClientId, PurseFigures>::new();
    let mut days = connection.prepare_cached(
        "SELECT client, day, pico FROM client_days WHERE user = 0 \
         UNION ALL SELECT client, day, pico FROM client_lost WHERE user = 0",
    )?;
    let mut rows = days.query([])?;
    while let Some(row) = rows.next()? {
        let figures = all.entry(ClientId(row.get(0)?)).or_default();
        add_day(figures, Day::from_number(row.get(1)?), Usd::from_pico(row.get(2)?), today);
    }
    let mut suspense = connection.prepare_cached(
        "SELECT s.client, e.client_held FROM suspense AS s JOIN entries AS e ON e.id = s.entry \
         WHERE s.client IS NOT NULL AND s.settled_at IS NULL",
    )?;
    let mut rows = suspense.query([])?;
    while let Some(row) = rows.next()? {
        add_suspense(all.entry(ClientId(row.get(0)?)).or_default(), row.get(1)?);
    }
    let mut leases = connection.prepare_cached("SELECT client, amount FROM client_leases WHERE user = 0")?;
    let mut rows = leases.query([])?;
    while let Some(row) = rows.next()? {
        let figures = all.entry(ClientId(row.get(0)?)).or_default();
        figures.others = figures.others.saturating_add(Usd::from_pico(row.get(1)?));
    }
    Ok(all)
}

/// Count what was refused to a client.
pub(super) fn refused(
    connection: &Connection,
    spender: Spender,
    day: Day,
    reason: &str,
    count: u64,
) -> rusqlite::Result<()> {
    let user = column::user(spender);
    let whole = (user != 0).then_some(0);
    for user in std::iter::once(user).chain(whole) {
        connection
            .prepare_cached(
                "INSERT INTO client_refusals (client, user, day, reason, count) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (client, user, day, reason) DO UPDATE SET count = count + excluded.count",
            )?
            .execute((spender.client.0, user, day.number(), reason, column::count(count)))?;
    }
    Ok(())
}
