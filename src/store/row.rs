//! A row of `entries`.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use crate::clock::Day;
use crate::money::{Basis, Outcome};
use crate::pool::KeyId;

use super::chain::Link;
use super::column;

/// The columns that the chain is made over, in its order. Never change one's place.
pub(super) const COLUMNS: &str = "id, kind, request, attempt, opens, at, day, key, account, client, endpoint, model, \
     generation, prompt, completion, cached, reasoning, pico, byok, held, basis, outcome, status, duration_ms, user, \
     client_held";
/// How many they are.
pub(super) const WIDTH: usize = 26;

/// A row as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub id: i64,
    /// A correction; an attempt otherwise.
    pub corrects: bool,
    pub request: &'a [u8],
    pub attempt: u16,
    /// The first line of its request.
    pub opens: bool,
    pub at: i64,
    pub day: Day,
    pub key: KeyId,
    pub account: Option<u32>,
    pub client: Option<u32>,
    pub endpoint: &'a str,
    pub model: Option<&'a str>,
    pub generation: Option<&'a str>,
    /// Prompt, completion, cached, reasoning.
    pub tokens: [Option<i64>; 4],
    pub pico: Option<i64>,
    pub byok: Option<i64>,
    pub held: Option<i64>,
    pub basis: Option<Basis>,
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub duration_ms: u32,
    pub user: Option<u32>,
    pub client_held: Option<i64>,
}

impl<'a> Line<'a> {
    pub(super) fn values(&self) -> [ValueRef<'a>; WIDTH] {
        let int = |value: Option<i64>| value.map_or(ValueRef::Null, ValueRef::Integer);
        let text = |value: Option<&'a str>| value.map_or(ValueRef::Null, |text| ValueRef::Text(text.as_bytes()));
        let [prompt, completion, cached, reasoning] = self.tokens.map(int);
        [
            ValueRef::Integer(self.id),
            ValueRef::Integer(self.corrects.into()),
            ValueRef::Blob(self.request),
            ValueRef::Integer(self.attempt.into()),
            ValueRef::Integer(self.opens.into()),
            ValueRef::Integer(self.at),
            ValueRef::Integer(self.day.number().into()),
            ValueRef::Integer(self.key.0.into()),
            int(self.account.map(i64::from)),
            int(self.client.map(i64::from)),
            text(Some(self.endpoint)),
            text(self.model),
            text(self.generation),
            prompt,
            completion,
            cached,
            reasoning,
            int(self.pico),
            int(self.byok),
            int(self.held),
            text(self.basis.map(Basis::name)),
            text(Some(self.outcome.name())),
            int(self.status.map(i64::from)),
            ValueRef::Integer(self.duration_ms.into()),
            int(self.user.map(i64::from)),
            int(self.client_held),
        ]
    }

    /// Read a row that was selected with [`COLUMNS`] in front.
    pub(super) fn read(row: &'a Row<'_>) -> rusqlite::Result<Self> {
        let text = |at: usize| -> rusqlite::Result<Option<&'a str>> { Ok(row.get_ref(at)?.as_str_or_null()?) };
        Ok(Self {
            id: row.get(0)?,
            corrects: row.get(1)?,
            request: row.get_ref(2)?.as_blob()?,
            attempt: row.get(3)?,
            opens: row.get(4)?,
            at: row.get(5)?,
            day: Day::from_number(row.get(6)?),
            key: column::key(row, 7)?,
            account: row.get(8)?,
            client: row.get(9)?,
            endpoint: row.get_ref(10)?.as_str()?,
            model: text(11)?,
            generation: text(12)?,
            tokens: [row.get(13)?, row.get(14)?, row.get(15)?, row.get(16)?],
            pico: row.get(17)?,
            byok: row.get(18)?,
            held: row.get(19)?,
            basis: text(20)?
                .map(|name| Basis::from_name(name).ok_or_else(|| column::odd(20, "a basis")))
                .transpose()?,
            outcome: Outcome::from_name(row.get_ref(21)?.as_str()?).ok_or_else(|| column::odd(21, "an outcome"))?,
            status: row.get(22)?,
            duration_ms: row.get(23)?,
            user: row.get(24)?,
            client_held: row.get(25)?,
        })
    }
}

/// The columns of a row that was selected with [`COLUMNS`] in front.
pub(super) fn values<'r>(row: &'r Row<'_>) -> rusqlite::Result<[ValueRef<'r>; WIDTH]> {
    let mut values = [ValueRef::Null; WIDTH];
    for (at, value) in values.iter_mut().enumerate() {
        *value = row.get_ref(at)?;
    }
    Ok(values)
}

const INSERT: &str = "INSERT INTO entries (id, kind, request, attempt, opens, at, day, key, account, client, endpoint, \
     model, generation, prompt, completion, cached, reasoning, pico, byok, held, basis, outcome, status, duration_ms, user, \
     client_held, chain) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, \
     ?24, ?25, ?26, ?27) ON CONFLICT (request, attempt, kind) DO NOTHING";

/// Write a row with its chain value. `false` when that attempt or correction is there already; nothing changes then.
pub(super) fn insert(connection: &Connection, values: [ValueRef<'_>; WIDTH], link: &Link) -> rusqlite::Result<bool> {
    let bound = values.into_iter().chain([ValueRef::Blob(link)]).map(ToSqlOutput::Borrowed);
    Ok(connection.prepare_cached(INSERT)?.execute(params_from_iter(bound))? == 1)
}
