//! The store's own rows, read from the file on a connection of the judge's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use potluck::clock::Day;
use potluck::money::Basis;
use potluck::pool::KeyId;
use rusqlite::{Connection, OpenFlags, Row};

use crate::upstream::Pico;

/// A line of the ledger.
#[derive(Clone, Debug)]
pub struct Line {
    pub corrects: bool,
    pub request: u128,
    pub attempt: u16,
    pub day: Day,
    pub key: KeyId,
    pub pico: Option<Pico>,
    pub held: Option<Pico>,
    pub basis: Option<Basis>,
}

/// What counts against a key's caps, as of one commit.
#[derive(Clone, Debug, Default)]
pub struct Money {
    /// By day, week, month and in total.
    pub caps: Option<[Option<Pico>; 4]>,
    pub days: BTreeMap<Day, Pico>,
    pub total: Pico,
    /// What is held for attempts in suspense, and how many hold nothing.
    pub suspense: Pico,
    pub suspense_unbounded: u64,
    /// By epoch.
    pub leases: BTreeMap<u64, (Pico, bool)>,
}

impl Money {
    pub fn leased(&self) -> Pico {
        self.leases.values().map(|(amount, _)| amount).sum()
    }
}

/// One moment.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    pub money: BTreeMap<KeyId, Money>,
    pub buried: BTreeSet<u64>,
    /// Lines that were not there the last time.
    pub new: Vec<Line>,
}

pub struct Rows {
    connection: Connection,
    last_line: i64,
    /// What SQLite calls the state of the file.
    version: i64,
}

impl Rows {
    pub fn open(path: &Path) -> Option<Self> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        connection.set_prepared_statement_cache_capacity(16);
        Some(Self { connection, last_line: 0, version: -1 })
    }

    /// `None`: nothing has changed since the last time.
    pub fn read(&mut self) -> rusqlite::Result<Option<Moment>> {
        let version = self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if std::mem::replace(&mut self.version, version) == version {
            return Ok(None);
        }
        // One moment, and one lock.
        self.connection.prepare_cached("BEGIN")?.execute([])?;
        let moment = self.read_all()?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(Some(moment))
    }

    fn read_all(&mut self) -> rusqlite::Result<Moment> {
        let mut moment = Moment::default();
        self.each("SELECT id, cap_day, cap_week, cap_month, cap_total FROM keys", |row| {
            let cap = |at| row.get::<_, Option<i64>>(at).map(|cap| cap.map(Pico::from));
            moment.of(row)?.caps = Some([cap(1)?, cap(2)?, cap(3)?, cap(4)?]);
            Ok(())
        })?;
        self.each("SELECT key, day, pico FROM day_totals WHERE key <> 0", |row| {
            let (day, pico) = (Day::from_number(row.get(1)?), row.get::<_, i64>(2)?.into());
            moment.of(row)?.days.insert(day, pico);
            Ok(())
        })?;
        self.each("SELECT key, pico FROM key_totals WHERE key <> 0", |row| {
            moment.of(row)?.total = row.get::<_, i64>(1)?.into();
            Ok(())
        })?;
        let suspense = "SELECT key, coalesce(sum(held), 0), count(*) - count(held) FROM suspense \
                        WHERE settled_at IS NULL GROUP BY key";
        self.each(suspense, |row| {
            let money = moment.of(row)?;
            money.suspense = row.get::<_, i64>(1)?.into();
            money.suspense_unbounded = count(row, 2)?;
            Ok(())
        })?;
        self.each("SELECT key, epoch, amount, unbounded FROM leases", |row| {
            let lease = (row.get::<_, i64>(2)?.into(), row.get(3)?);
            moment.of(row)?.leases.insert(count(row, 1)?, lease);
            Ok(())
        })?;
        self.each("SELECT id FROM epochs WHERE buried_at IS NOT NULL", |row| {
            moment.buried.insert(count(row, 0)?);
            Ok(())
        })?;
        moment.new = self.new_lines()?;
        Ok(moment)
    }

    fn each(&self, sql: &str, mut act: impl FnMut(&Row<'_>) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            act(row)?;
        }
        Ok(())
    }

    fn new_lines(&mut self) -> rusqlite::Result<Vec<Line>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, kind, request, attempt, day, key, pico, held, basis FROM entries WHERE id > ?1 ORDER BY id",
        )?;
        let mut rows = statement.query((self.last_line,))?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next()? {
            self.last_line = row.get(0)?;
            lines.push(line(row)?);
        }
        Ok(lines)
    }
}

impl Moment {
    fn of(&mut self, row: &Row<'_>) -> rusqlite::Result<&mut Money> {
        Ok(self.money.entry(KeyId(row.get(0)?)).or_default())
    }
}

fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(i64::unsigned_abs)
}

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    let pico = |at| row.get::<_, Option<i64>>(at).map(|pico| pico.map(Pico::from));
    let basis: Option<String> = row.get(8)?;
    Ok(Line {
        corrects: row.get::<_, i64>(1)? == 1,
        request: u128::from_be_bytes(row.get(2)?),
        attempt: row.get(3)?,
        day: Day::from_number(row.get(4)?),
        key: KeyId(row.get(5)?),
        pico: pico(6)?,
        held: pico(7)?,
        basis: basis.and_then(|name| Basis::from_name(&name)),
    })
}
