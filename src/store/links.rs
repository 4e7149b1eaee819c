//! Checks the chain through each key's lines.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::clock::Day;
use crate::pool::KeyId;

use super::chain::{BEGINNING, Forms, Link, unchained_until};
use super::column;
use super::row::{Line, WIDTH, values};

/// A look at the chains, line by line in the order of the ledger.
pub(super) struct Links<'c> {
    connection: &'c Connection,
    /// From the first line on; otherwise from some line on, and only the keys that come along are looked at.
    whole: bool,
    unchained_until: i64,
    /// What the first line of each key's chain follows on.
    starts: BTreeMap<KeyId, Link>,
    room: Vec<u8>,
    keys: BTreeMap<KeyId, Chain>,
}

/// A key's chain, as far as it was followed.
struct Chain {
    /// The last line's value.
    last: Link,
    /// The first line that does not follow on the one before it.
    broken: Option<i64>,
}

impl<'c> Links<'c> {
    /// Begin with the first line, or with that of a day.
    pub(super) fn begin(connection: &'c Connection, day: Option<Day>) -> rusqlite::Result<Self> {
        let unchained_until = unchained_until(connection)?.unwrap_or(i64::MAX);
        let whole = day.is_none();
        let starts = if whole { ends(connection, "start")? } else { BTreeMap::new() };
        let keys = starts.iter().map(|(key, start)| (*key, Chain { last: *start, broken: None })).collect();
        Ok(Self { connection, whole, unchained_until, starts, room: Vec::new(), keys })
    }

    /// Whether a chain begins elsewhere by now, as lines were rolled up since [`Links::begin`].
    pub(super) fn starts_moved(&self) -> rusqlite::Result<bool> {
        let now = if self.whole { ends(self.connection, "start")? } else { BTreeMap::new() };
        Ok(self.starts.iter().any(|(key, start)| now.get(key).is_some_and(|now| now != start)))
    }

    /// Look at a line, read from `row`, where its own value stands after its columns. `forms` are those of the read transaction
    /// that it was read in.
    pub(super) fn look(&mut self, line: &Line<'_>, row: &Row<'_>, forms: Forms) -> rusqlite::Result<()> {
        if !self.keys.contains_key(&line.key) {
            let chain = self.enter(line)?;
            self.keys.insert(line.key, chain);
        }
        let Some(chain) = self.keys.get_mut(&line.key) else { return Ok(()) };
        let follows = match row.get::<_, Option<Link>>(WIDTH) {
            Ok(None) => line.id <= self.unchained_until,
            Ok(Some(link)) => {
                let due = forms.link(&mut self.room, &chain.last, line.id, &values(row)?);
                chain.last = link;
                link == due
            }
            // Not 32 bytes.
            Err(_) => false,
        };
        if !follows {
            chain.broken.get_or_insert(line.id);
        }
        Ok(())
    }

    /// Take up a key's chain at a line.
    fn enter(&self, line: &Line<'_>) -> rusqlite::Result<Chain> {
        let start = self
            .connection
            .prepare_cached("SELECT start FROM chains WHERE key = ?1")?
            .query_row((line.key.0,), |row| row.get(0))
            .optional()?;
        let before = if self.whole { None } else { self.before(line)? };
        Ok(Chain { last: before.or(start).unwrap_or(BEGINNING), broken: None })
    }

    /// The value of the key's line before this one. Numbers of lines stand in the index by key, so that is found without
    /// reading lines, but for the first time after there were lines without a value.
    fn before(&self, line: &Line<'_>) -> rusqlite::Result<Option<Link>> {
        let chain = |sql| -> rusqlite::Result<Option<Option<Link>>> {
            let mut before = self.connection.prepare_cached(sql)?;
            before.query_row((line.key.0, line.id), |row| row.get(0)).optional()
        };
        let before = chain(
            "SELECT chain FROM entries WHERE id = \
             (SELECT max(id) FROM entries INDEXED BY entries_of_key WHERE key = ?1 AND id < ?2)",
        )?;
        match before {
            Some(None) => Ok(chain(
                "SELECT chain FROM entries WHERE id = \
                 (SELECT max(id) FROM entries WHERE key = ?1 AND id < ?2 AND chain IS NOT NULL)",
            )?
            .flatten()),
            before => Ok(before.flatten()),
        }
    }

    /// The keys whose chains do not hold, with the first line that does not follow. To be asked at the moment at which the
    /// last line was looked at.
    pub(super) fn broken(mut self) -> rusqlite::Result<Vec<(KeyId, Option<u64>)>> {
        let heads = ends(self.connection, "head")?;
        if self.whole {
            // A chain of which there is not one line.
            for (key, start) in ends(self.connection, "start")? {
                self.keys.entry(key).or_insert(Chain { last: start, broken: None });
            }
        }
        let mut found = Vec::new();
        for (key, Chain { last, broken }) in self.keys {
            match broken {
                Some(line) => found.push((key, Some(column::uncount(line)))),
                None if heads.get(&key).unwrap_or(&BEGINNING) != &last => found.push((key, None)),
                None => {}
            }
        }
        Ok(found)
    }
}

/// What the chains of all keys begin with, or end with.
fn ends(connection: &Connection, end: &'static str) -> rusqlite::Result<BTreeMap<KeyId, Link>> {
    let mut chains = connection.prepare(&format!("SELECT key, {end} FROM chains"))?;
    chains.query_map([], |row| Ok((column::key(row, 0)?, row.get(1)?)))?.collect()
}
