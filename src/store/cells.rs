//! The finest sums: by day, key, model, client and outcome. Summaries and receipts are made of them, so that no question
//! about a day reads the day's entries.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::clock::Day;
use crate::money::{Basis, Outcome, Usd};
use crate::pool::KeyId;

use super::column::{self, uncount};
use super::figures::{Figures, sum};
use super::lines::Sums;
use super::record::TokenTotals;
use super::row::Line;

const COLUMNS: usize = 10;

/// What a sum is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub day: Day,
    pub key: KeyId,
    /// Empty stands for none.
    pub model: Box<str>,
    /// 0 stands for none: clients are numbered from 1.
    pub client: u32,
    /// Its name.
    pub outcome: &'static str,
}

impl Place {
    pub(super) fn of(line: &Line<'_>) -> Self {
        Self {
            day: line.day,
            key: line.key,
            model: line.model.unwrap_or_default().into(),
            client: line.client.unwrap_or_default(),
            outcome: line.outcome.name(),
        }
    }

    /// Read it from the first columns of `row`.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            day: Day::from_number(row.get(0)?),
            key: column::key(row, 1)?,
            model: row.get_ref(2)?.as_str()?.into(),
            client: row.get(3)?,
            outcome: outcome(row, 4)?.name(),
        })
    }
}

fn outcome(row: &Row<'_>, at: usize) -> rusqlite::Result<Outcome> {
    Outcome::from_name(row.get_ref(at)?.as_str()?).ok_or_else(|| column::odd(at, "an outcome"))
}

/// Add the lines of a potluck that knew no such sums: those without a link. Once, when it is gone.
pub(super) fn add_unchained(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO day_models \
             SELECT day, key, coalesce(model, ''), 0, outcome, sum(opens), sum(kind = 0), sum(coalesce(prompt, 0)), \
                    sum(coalesce(completion, 0)), sum(coalesce(cached, 0)), sum(coalesce(reasoning, 0)), \
                    sum(coalesce(pico, 0)), sum(coalesce(byok, 0)), 0, 0 \
             FROM entries WHERE chain IS NULL GROUP BY day, key, coalesce(model, ''), outcome \
             ON CONFLICT (day, key, model, client, outcome) DO UPDATE SET \
                 requests = requests + excluded.requests, attempts = attempts + excluded.attempts, \
                 prompt = prompt + excluded.prompt, completion = completion + excluded.completion, \
                 cached = cached + excluded.cached, reasoning = reasoning + excluded.reasoning, \
                 pico = pico + excluded.pico, byok = byok + excluded.byok",
            [],
        )
        .map(drop)
}

/// A row of `day_models` or `rolled_up`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub requests: i64,
    pub attempts: i64,
    /// Prompt, completion, cached, reasoning.
    pub tokens: [i64; 4],
    pub pico: i64,
    pub byok: i64,
    /// The parts of `pico` that rest on less than the upstream's word.
    pub by_usage: i64,
    pub by_estimate: i64,
}

impl Cell {
    pub(super) fn of(line: &Line<'_>) -> Self {
        let pico = line.pico.unwrap_or_default();
        let on = |basis: Basis| if line.basis == Some(basis) { pico } else { 0 };
        Self {
            requests: line.opens.into(),
            attempts: (!line.corrects).into(),
            tokens: line.tokens.map(Option::unwrap_or_default),
            pico,
            byok: line.byok.unwrap_or_default(),
            by_usage: on(Basis::Usage),
            by_estimate: on(Basis::Estimate),
        }
    }

    fn columns(&self) -> [i64; COLUMNS] {
        let Self { requests, attempts, tokens: [a, b, c, d], pico, byok, by_usage, by_estimate } = *self;
        [requests, attempts, a, b, c, d, pico, byok, by_usage, by_estimate]
    }

    fn from_columns([requests, attempts, a, b, c, d, pico, byok, by_usage, by_estimate]: [i64; COLUMNS]) -> Self {
        Self { requests, attempts, tokens: [a, b, c, d], pico, byok, by_usage, by_estimate }
    }

    /// Read it from `row`, beginning at column `from`.
    pub(super) fn read(row: &Row<'_>, from: usize) -> rusqlite::Result<Self> {
        let mut columns = [0; COLUMNS];
        for (at, column) in (from..).zip(&mut columns) {
            *column = row.get(at)?;
        }
        Ok(Self::from_columns(columns))
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mut sums = self.columns();
        sum(&mut sums, &other.columns());
        *self = Self::from_columns(sums);
    }

    /// What the coarser sums have of it.
    pub(super) fn figures(&self, outcome: &'static str) -> Figures {
        let mut figures = Figures {
            requests: self.requests,
            tokens: self.tokens,
            pico: self.pico,
            byok: self.byok,
            ..Figures::default()
        };
        if let Some(outcome) = Outcome::from_name(outcome) {
            figures.count_outcomes(outcome, self.attempts);
        }
        figures
    }

    /// For those who ask, with the outcome that the cell counts.
    pub(super) fn add_to(&self, sums: &mut Sums, outcome: &'static str) {
        let [prompt, completion, cached, reasoning] = self.tokens.map(uncount);
        let TokenTotals { prompt: p, completion: c, cached: d, reasoning: r } = sums.tokens;
        let answered = if outcome == Outcome::Answered.name() { uncount(self.attempts) } else { 0 };
        let usd = |sum: Usd, more: i64| sum.saturating_add(Usd::from_pico(more));
        *sums = Sums {
            requests: sums.requests.saturating_add(uncount(self.requests)),
            attempts: sums.attempts.saturating_add(uncount(self.attempts)),
            answered: sums.answered.saturating_add(answered),
            tokens: TokenTotals {
                prompt: p.saturating_add(prompt),
                completion: c.saturating_add(completion),
                cached: d.saturating_add(cached),
                reasoning: r.saturating_add(reasoning),
            },
            amount: usd(sums.amount, self.pico),
            byok: usd(sums.byok, self.byok),
            by_usage: usd(sums.by_usage, self.by_usage),
            estimated: usd(sums.estimated, self.by_estimate),
        };
    }
}

/// A table of such sums.
#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    /// Of every line that ever was.
    DayModels,
    /// Of the lines that are rolled up.
    RolledUp,
}

impl Table {
    const fn read(self) -> &'static str {
        match self {
            Self::DayModels => {
                "SELECT requests, attempts, prompt, completion, cached, reasoning, pico, byok, by_usage, by_estimate \
                 FROM day_models WHERE day = ?1 AND key = ?2 AND model = ?3 AND client = ?4 AND outcome = ?5"
            }
            Self::RolledUp => {
                "SELECT requests, attempts, prompt, completion, cached, reasoning, pico, byok, by_usage, by_estimate \
                 FROM rolled_up WHERE day = ?1 AND key = ?2 AND model = ?3 AND client = ?4 AND outcome = ?5"
            }
        }
    }

    const fn write(self) -> &'static str {
        match self {
            Self::DayModels => {
                "REPLACE INTO day_models (day, key, model, client, outcome, requests, attempts, prompt, completion, cached, \
                 reasoning, pico, byok, by_usage, by_estimate) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
            }
            Self::RolledUp => {
                "REPLACE INTO rolled_up (day, key, model, client, outcome, requests, attempts, prompt, completion, cached, \
                 reasoning, pico, byok, by_usage, by_estimate) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
            }
        }
    }

    /// Every row of the days from the first to the last.
    pub(super) const fn of_days(self) -> &'static str {
        match self {
            Self::DayModels => {
                "SELECT day, key, model, client, outcome, requests, attempts, prompt, completion, cached, reasoning, pico, \
                 byok, by_usage, by_estimate FROM day_models WHERE day BETWEEN ?1 AND ?2"
            }
            Self::RolledUp => {
                "SELECT day, key, model, client, outcome, requests, attempts, prompt, completion, cached, reasoning, pico, \
                 byok, by_usage, by_estimate FROM rolled_up WHERE day BETWEEN ?1 AND ?2"
            }
        }
    }
}

/// Add `cells` to what stands in `table`.
pub(super) fn write(connection: &Connection, table: Table, cells: &BTreeMap<Place, Cell>) -> rusqlite::Result<()> {
    let mut read = connection.prepare_cached(table.read())?;
    let mut write = connection.prepare_cached(table.write())?;
    for (Place { day, key, model, client, outcome }, more) in cells {
        let place = params![day.number(), key.0, model, client, outcome];
        let mut cell = read.query_row(place, |row| Cell::read(row, 0)).optional()?.unwrap_or_default();
        cell.add(more);
        let columns = cell.columns();
        let values = place.iter().copied().chain(columns.iter().map(|column| column as &dyn rusqlite::ToSql));
        write.execute(params_from_iter(values))?;
    }
    Ok(())
}
