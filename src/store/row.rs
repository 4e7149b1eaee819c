//! A row of `entries`, and the chain that runs through each key's rows.
//!
//! A row's chain value is SHA-256 over the one of the key's row before it and over every column that is not NULL, each
//! under its number. So a row can be neither changed, nor moved, nor taken out from between others, and a column that a
//! later step adds leaves older rows' values as they are.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use crate::clock::Day;
use crate::money::{Basis, Outcome};
use crate::pool::KeyId;

use super::{cells, column};

/// The columns that the chain is made over, in its order. Never change one's place.
pub(super) const COLUMNS: &str = "id, kind, request, attempt, opens, at, day, key, account, client, endpoint, model, \
     generation, prompt, completion, cached, reasoning, pico, byok, held, basis, outcome, status, duration_ms, user, \
     client_held";
/// How many they are.
pub(super) const WIDTH: usize = 26;

/// A chain value.
pub(super) type Link = [u8; 32];
/// What a key's first row follows on.
pub(super) const BEGINNING: Link = [0; 32];

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
    fn values(&self) -> [ValueRef<'a>; WIDTH] {
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

/// `room` is to work in: a hash over one piece costs less than over many.
fn link<'a>(room: &mut Vec<u8>, previous: &Link, values: impl IntoIterator<Item = ValueRef<'a>>) -> Link {
    room.clear();
    room.extend_from_slice(previous);
    for (column, value) in (0u8..).zip(values) {
        let mut put = |kind: u8, parts: [&[u8]; 2]| {
            room.extend_from_slice(&[column, kind]);
            parts.iter().for_each(|part| room.extend_from_slice(part));
        };
        match value {
            ValueRef::Null => {}
            ValueRef::Integer(number) => put(1, [&number.to_le_bytes(), &[]]),
            ValueRef::Real(number) => put(2, [&number.to_le_bytes(), &[]]),
            ValueRef::Text(text) => put(3, [&(text.len() as u64).to_le_bytes(), text]),
            ValueRef::Blob(blob) => put(4, [&(blob.len() as u64).to_le_bytes(), blob]),
        }
    }
    let mut link = BEGINNING;
    link.copy_from_slice(digest(&SHA256, room).as_ref());
    link
}

/// The chain value that a row, selected with [`COLUMNS`] in front, must have after `previous`.
pub(super) fn link_of_row(room: &mut Vec<u8>, previous: &Link, row: &Row<'_>) -> rusqlite::Result<Link> {
    let mut values = [ValueRef::Null; WIDTH];
    for (at, value) in values.iter_mut().enumerate() {
        *value = row.get_ref(at)?;
    }
    Ok(link(room, previous, values))
}

const INSERT: &str = "INSERT INTO entries (id, kind, request, attempt, opens, at, day, key, account, client, endpoint, \
     model, generation, prompt, completion, cached, reasoning, pico, byok, held, basis, outcome, status, duration_ms, user, \
     client_held, chain) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, \
     ?24, ?25, ?26, ?27) ON CONFLICT (request, attempt, kind) DO NOTHING";

/// The ends of the chains that a transaction adds to.
#[derive(Debug, Default)]
pub(super) struct Heads {
    by_key: BTreeMap<KeyId, Link>,
    room: Vec<u8>,
}

impl Heads {
    /// Write a row at its key's end. `false` when that attempt or correction is there already; nothing changes then.
    pub(super) fn append(&mut self, connection: &Connection, line: &Line<'_>) -> rusqlite::Result<bool> {
        let known = self.by_key.get(&line.key).copied();
        let head = match known {
            Some(head) => head,
            None => head(connection, line.key)?.unwrap_or(BEGINNING),
        };
        let values = line.values();
        let next = link(&mut self.room, &head, values);
        let bound = values.into_iter().chain([ValueRef::Blob(&next)]).map(ToSqlOutput::Borrowed);
        let inserted = connection.prepare_cached(INSERT)?.execute(params_from_iter(bound))?;
        if inserted == 1 {
            self.by_key.insert(line.key, next);
        }
        Ok(inserted == 1)
    }

    /// Write the new ends.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut write = connection.prepare_cached(
            "INSERT INTO chains (key, start, head) VALUES (?1, zeroblob(32), ?2) \
             ON CONFLICT (key) DO UPDATE SET head = excluded.head",
        )?;
        for (key, head) in &self.by_key {
            write.execute((key.0, head))?;
        }
        Ok(())
    }
}

fn head(connection: &Connection, key: KeyId) -> rusqlite::Result<Option<Link>> {
    connection
        .prepare_cached("SELECT head FROM chains WHERE key = ?1")?
        .query_row((key.0,), |row| row.get(0))
        .optional()
}

/// Rows without a link are from before there were any, or from a potluck that knew none and wrote on during an upgrade.
/// Whoever is alone with the file has none of those beside it: rows without a link end here.
pub(super) fn end_of_unchained(connection: &Connection) -> rusqlite::Result<()> {
    let last: i64 =
        connection.prepare_cached("SELECT coalesce(max(id), 0) FROM entries")?.query_row([], |row| row.get(0))?;
    let ended = connection
        .prepare_cached("INSERT INTO meta (name, value) VALUES ('unchained_until', ?1) ON CONFLICT DO NOTHING")?
        .execute((last.to_le_bytes(),))?;
    if ended == 1 { cells::add_unchained(connection) } else { Ok(()) }
}

/// The last row that may be without a link; `None` while there may be more of them.
pub(super) fn unchained_until(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'unchained_until'")?
        .query_row([], |row| row.get(0).map(i64::from_le_bytes))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_and_its_place_are_part_of_a_link() {
        let of = |values: &[ValueRef<'_>]| link(&mut Vec::new(), &BEGINNING, values.iter().copied());
        let all = [
            of(&[]),
            of(&[ValueRef::Integer(1)]),
            of(&[ValueRef::Null, ValueRef::Integer(1)]),
            of(&[ValueRef::Integer(2)]),
            of(&[ValueRef::Blob(&1i64.to_le_bytes())]),
            of(&[ValueRef::Text(b"ab"), ValueRef::Text(b"c")]),
            of(&[ValueRef::Text(b"a"), ValueRef::Text(b"bc")]),
            of(&[ValueRef::Blob(b"a"), ValueRef::Text(b"bc")]),
            link(&mut Vec::new(), &[1; 32], [ValueRef::Integer(1)]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{at}");
        }
        assert_eq!(of(&[ValueRef::Null, ValueRef::Null]), of(&[]), "a later column changes nothing while it is empty");
    }
}
