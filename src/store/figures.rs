//! Sums over ledger entries: by day and key, by key, and of the whole pool; finer ones in [`cells`](super::cells). Written
//! in the entries' own transaction.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use crate::clock::Day;
use crate::money::{Outcome, Usd};
use crate::pool::KeyId;

use super::cells::{self, Cell, Place, Table};
use super::column::{count, uncount};
use super::record::TokenTotals;
use super::row::Line;
use super::spenders::ClientFigures;

/// The row that holds the whole pool. SQLite numbers keys from 1.
pub(super) const POOL: KeyId = KeyId(0);
const COLUMNS: usize = 14;

/// The figures of one row of `day_totals` or `key_totals`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Client requests whose first entry this is.
    pub requests: i64,
    /// Attempts by outcome, in the order of [`Outcome::ALL`].
    pub outcomes: [i64; 7],
    /// Prompt, completion, cached, reasoning.
    pub tokens: [i64; 4],
    /// Spent, in pico-dollars.
    pub pico: i64,
    /// BYOK bills, in pico-dollars.
    pub byok: i64,
}

impl Figures {
    fn columns(&self) -> [i64; COLUMNS] {
        let Self { requests, outcomes: [a, b, c, d, e, f, g], tokens: [h, i, j, k], pico, byok } = *self;
        [requests, a, b, c, d, e, f, g, h, i, j, k, pico, byok]
    }

    fn from_columns([requests, a, b, c, d, e, f, g, h, i, j, k, pico, byok]: [i64; COLUMNS]) -> Self {
        Self { requests, outcomes: [a, b, c, d, e, f, g], tokens: [h, i, j, k], pico, byok }
    }

    /// Read the figures from `row`, beginning at column `from`.
    pub(super) fn read(row: &Row<'_>, from: usize) -> rusqlite::Result<Self> {
        let mut columns = [0; COLUMNS];
        for (at, column) in (from..).zip(&mut columns) {
            *column = row.get(at)?;
        }
        Ok(Self::from_columns(columns))
    }

    /// Add `other`.
    pub(super) fn add(&mut self, other: &Self) {
        let mut sums = self.columns();
        sum(&mut sums, &other.columns());
        *self = Self::from_columns(sums);
    }

    /// Count so many attempts that ended so.
    pub(super) fn count_outcomes(&mut self, outcome: Outcome, attempts: i64) {
        if let Some(counter) = Outcome::ALL.iter().position(|o| *o == outcome).and_then(|at| self.outcomes.get_mut(at))
        {
            *counter += attempts;
        }
    }

    pub(super) fn attempts(&self) -> [u64; 7] {
        self.outcomes.map(uncount)
    }

    pub(super) fn answered(&self) -> u64 {
        let [answered, ..] = self.attempts();
        answered
    }

    pub(super) fn token_totals(&self) -> TokenTotals {
        let [prompt, completion, cached, reasoning] = self.tokens.map(uncount);
        TokenTotals { prompt, completion, cached, reasoning }
    }

    pub(super) fn spent(&self) -> Usd {
        Usd::from_pico(self.pico)
    }
}

/// Add up, column by column. A sum beyond 64 bits is held at the limit and reported: the books say so rather than stop,
/// and `verify` will not find them in balance.
pub(super) fn sum<const N: usize>(sums: &mut [i64; N], more: &[i64; N]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.checked_add(*more).unwrap_or_else(|| {
            tracing::error!("a ledger total is beyond what can be counted");
            sum.saturating_add(*more)
        });
    }
}

/// What a transaction adds to the sums: the finest, which the others are made of.
#[derive(Debug, Default)]
pub(super) struct Tally {
    cells: BTreeMap<Place, Cell>,
    /// By client, user and day: no cell tells users apart.
    by_user: BTreeMap<(u32, u32, Day), Cell>,
}

impl Tally {
    /// Add a line's figures, also for its client's user.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        let cell = Cell::of(line);
        if let (Some(client), Some(user)) = (line.client, line.user) {
            self.by_user.entry((client, user, line.day)).or_default().add(&cell);
        }
        self.add_cell(Place::of(line), &cell);
    }

    /// Add figures of one line, or of many.
    pub(super) fn add_cell(&mut self, place: Place, cell: &Cell) {
        self.cells.entry(place).or_default().add(cell);
    }

    /// The sums by day, key, model, client and outcome.
    pub(super) fn cells(&self) -> &BTreeMap<Place, Cell> {
        &self.cells
    }

    /// The sums by day and key, the pool's among them.
    pub(super) fn by_day(&self) -> BTreeMap<(Day, KeyId), Figures> {
        let mut by_day = BTreeMap::<_, Figures>::new();
        for (place, cell) in &self.cells {
            let figures = cell.figures(place.outcome);
            for key in [place.key, POOL] {
                by_day.entry((place.day, key)).or_default().add(&figures);
            }
        }
        by_day
    }

    /// The sums by client and day.
    pub(super) fn by_client(&self) -> BTreeMap<(u32, Day), ClientFigures> {
        let mut by_client = BTreeMap::<_, ClientFigures>::new();
        for (place, cell) in self.cells.iter().filter(|(place, _)| place.client != 0) {
            by_client.entry((place.client, place.day)).or_default().add(&ClientFigures::of(cell));
        }
        by_client
    }

    /// The sums by key, the pool's among them, made of those by day.
    pub(super) fn by_key(by_day: &BTreeMap<(Day, KeyId), Figures>) -> BTreeMap<KeyId, Figures> {
        let mut by_key = BTreeMap::<KeyId, Figures>::new();
        for ((_, key), figures) in by_day {
            by_key.entry(*key).or_default().add(figures);
        }
        by_key
    }

    /// Add everything to the stored sums.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let by_day = self.by_day();
        for ((day, key), more) in &by_day {
            add_to(connection, READ_DAY, WRITE_DAY, &[i64::from(day.number()), i64::from(key.0)], more)?;
        }
        for (key, more) in Self::by_key(&by_day) {
            add_to(connection, READ_KEY, WRITE_KEY, &[i64::from(key.0)], &more)?;
        }
        for ((client, day), more) in self.by_client() {
            more.add_to(connection, (client, 0, day))?;
        }
        for (place, more) in &self.by_user {
            ClientFigures::of(more).add_to(connection, *place)?;
        }
        cells::write(connection, Table::DayModels, &self.cells)
    }
}

const READ_DAY: &str = "SELECT requests, answered, failed_inside, key_refused, refused, unreachable, broken, client_gone, \
     prompt, completion, cached, reasoning, pico, byok FROM day_totals WHERE day = ?1 AND key = ?2";
const WRITE_DAY: &str = "REPLACE INTO day_totals (day, key, requests, answered, failed_inside, key_refused, refused, \
     unreachable, broken, client_gone, prompt, completion, cached, reasoning, pico, byok) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
const READ_KEY: &str = "SELECT requests, answered, failed_inside, key_refused, refused, unreachable, broken, client_gone, \
     prompt, completion, cached, reasoning, pico, byok FROM key_totals WHERE key = ?1";
const WRITE_KEY: &str = "REPLACE INTO key_totals (key, requests, answered, failed_inside, key_refused, refused, \
     unreachable, broken, client_gone, prompt, completion, cached, reasoning, pico, byok) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// The sum is made here and not in SQL: SQLite turns an overflowing sum into a float.
fn add_to(
    connection: &Connection,
    read: &'static str,
    write: &'static str,
    place: &[i64],
    more: &Figures,
) -> rusqlite::Result<()> {
    let known =
        connection.prepare_cached(read)?.query_row(params_from_iter(place), |row| Figures::read(row, 0)).optional()?;
    let mut sum = known.unwrap_or_default();
    sum.add(more);
    let values = place.iter().copied().chain(sum.columns());
    connection.prepare_cached(write)?.execute(params_from_iter(values)).map(drop)
}

/// Token counts in column order.
pub(super) fn token_columns(tokens: &crate::money::Tokens) -> [Option<i64>; 4] {
    [tokens.prompt, tokens.completion, tokens.cached, tokens.reasoning].map(|tokens| tokens.map(count))
}
