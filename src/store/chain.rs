//! The chain that runs through each key's lines.
//!
//! A line's chain value is SHA-256 over the one of the key's line before it and over every column that is not NULL, each
//! under its number. So a line can be neither changed, nor moved, nor taken out from between others, and a column that a
//! later step adds leaves older lines' values as they are.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use crate::pool::KeyId;

use super::cells;
use super::row::{self, Line};

/// A chain value.
pub(super) type Link = [u8; 32];
/// What a key's first line follows on.
pub(super) const BEGINNING: Link = [0; 32];

/// How columns are written down to be hashed. SHA-256 takes them by 64 bytes, and each time costs as much as finding a line's
/// place in an index where a processor has no instructions for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Every number at its full width: lines of older potlucks.
    Wide,
    /// Every number as short as it is.
    Compact,
}

/// Before the rest in the compact form. In the wide form the first column is a line's number, which is never NULL, so that a
/// zero stands in this place.
const COMPACT: u8 = 0xff;

/// Which lines are hashed in which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forms {
    /// The last line in the wide form.
    compact_after: i64,
}

impl Forms {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self { compact_after: meta(connection, "compact_after")?.unwrap_or(i64::MAX) })
    }

    /// The chain value of the line with this number and these columns, after `previous`. `room` is to work in: a hash over one
    /// piece costs less than over many.
    pub(super) fn link(self, room: &mut Vec<u8>, previous: &Link, id: i64, values: &[ValueRef<'_>]) -> Link {
        let form = if id > self.compact_after { Form::Compact } else { Form::Wide };
        link(form, room, previous, values)
    }
}

fn link(form: Form, room: &mut Vec<u8>, previous: &Link, values: &[ValueRef<'_>]) -> Link {
    room.clear();
    room.extend_from_slice(previous);
    match form {
        Form::Wide => write_wide(room, values),
        Form::Compact => write_compact(room, values),
    }
    let mut link = BEGINNING;
    link.copy_from_slice(digest(&SHA256, room).as_ref());
    link
}

fn write_wide(room: &mut Vec<u8>, values: &[ValueRef<'_>]) {
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
}

/// Which columns there are, by the bits of a number; then each of them.
fn write_compact(room: &mut Vec<u8>, values: &[ValueRef<'_>]) {
    const { assert!(row::WIDTH <= u64::BITS as usize, "each column has a bit") };
    room.push(COMPACT);
    let bits = (0..).zip(values).map(|(column, value)| u64::from(*value != ValueRef::Null) << column);
    write_number(room, 0, bits.sum());
    for value in values {
        match value {
            ValueRef::Null => {}
            // Small ones are short on either side of zero: 0, -1, 1, -2, …
            ValueRef::Integer(number) => write_number(room, 0x10, ((number << 1) ^ (number >> 63)).cast_unsigned()),
            ValueRef::Real(number) => write_number(room, 0x20, number.to_bits()),
            ValueRef::Text(text) => {
                write_number(room, 0x30, text.len() as u64);
                room.extend_from_slice(text);
            }
            ValueRef::Blob(blob) => {
                write_number(room, 0x40, blob.len() as u64);
                room.extend_from_slice(blob);
            }
        }
    }
}

/// Its kind and how many bytes it has, in one byte; then those.
fn write_number(room: &mut Vec<u8>, kind: u8, number: u64) {
    let width = 8 - number.leading_zeros() / 8;
    room.push(kind | width as u8);
    room.extend_from_slice(number.to_le_bytes().get(..width as usize).unwrap_or_default());
}

/// The ends of the chains that a transaction adds to.
#[derive(Debug)]
pub(super) struct Heads {
    forms: Forms,
    by_key: BTreeMap<KeyId, Link>,
    room: Vec<u8>,
}

impl Heads {
    pub(super) fn begin(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self { forms: Forms::read(connection)?, by_key: BTreeMap::new(), room: Vec::new() })
    }

    /// Write a line at its key's end. `false` when that attempt or correction is there already; nothing changes then.
    pub(super) fn append(&mut self, connection: &Connection, line: &Line<'_>) -> rusqlite::Result<bool> {
        let known = self.by_key.get(&line.key).copied();
        let head = match known {
            Some(head) => head,
            None => head(connection, line.key)?.unwrap_or(BEGINNING),
        };
        let values = line.values();
        let next = self.forms.link(&mut self.room, &head, line.id, &values);
        let is_new = row::insert(connection, values, &next)?;
        if is_new {
            self.by_key.insert(line.key, next);
        }
        Ok(is_new)
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

/// Whoever is alone with the file has no older potluck beside it, which writes lines without a link, or in the wide form, and
/// could not check any other: both end here.
pub(super) fn end_older_forms(connection: &Connection) -> rusqlite::Result<()> {
    let last: i64 =
        connection.prepare_cached("SELECT coalesce(max(id), 0) FROM entries")?.query_row([], |row| row.get(0))?;
    let mut ends =
        connection.prepare_cached("INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    ends.execute(("compact_after", last.to_le_bytes()))?;
    if ends.execute(("unchained_until", last.to_le_bytes()))? == 1 { cells::add_unchained(connection) } else { Ok(()) }
}

/// The last line that may be without a link; `None` while there may be more of them.
pub(super) fn unchained_until(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    meta(connection, "unchained_until")
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row((name,), |row| row.get(0).map(i64::from_le_bytes))
        .optional()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::types::Value;

    use super::*;

    fn of(form: Form, values: &[Value]) -> Link {
        link(form, &mut Vec::new(), &BEGINNING, &refs(values))
    }

    fn refs(values: &[Value]) -> Vec<ValueRef<'_>> {
        values.iter().map(ValueRef::from).collect()
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn every_value_and_its_place_are_part_of_a_link() {
        let forms = [Form::Wide, Form::Compact];
        let mut all = vec![link(Form::Wide, &mut Vec::new(), &[1; 32], &[ValueRef::Integer(1)])];
        for form in forms {
            all.extend([
                of(form, &[]),
                of(form, &[Value::Integer(1)]),
                of(form, &[Value::Null, Value::Integer(1)]),
                of(form, &[Value::Integer(2)]),
                of(form, &[Value::Blob(1i64.to_le_bytes().into())]),
                of(form, &[text("ab"), text("c")]),
                of(form, &[text("a"), text("bc")]),
                of(form, &[Value::Blob(b"a".into()), text("bc")]),
            ]);
            assert_eq!(
                of(form, &[Value::Null, Value::Null]),
                of(form, &[]),
                "a later column changes nothing while empty"
            );
        }
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{at}");
        }
    }

    /// Reckoned by hand (Python's hashlib and struct): what is in files must be found right for ever.
    #[test]
    fn forms_stay_as_they_are() {
        let values = [
            Value::Integer(1),
            Value::Null,
            Value::Integer(-3),
            text("ab"),
            Value::Blob(vec![1, 2]),
            Value::Integer(i64::MIN),
            Value::Integer(0),
            Value::Real(1.5),
        ];
        for (form, known) in [
            (Form::Wide, "fd97bd9e0b736a26ce7a72c91c6b2d22089832c5c4ef7e3a6a03d0dfe5c027b6"),
            (Form::Compact, "2f035d6bbdeac904d89c7a82deb39c3ee3806bc5138069b736018658486fc1fa"),
        ] {
            assert_eq!(data_encoding::HEXLOWER.encode(&of(form, &values)), known, "{form:?}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            (-300i64..300).prop_map(Value::Integer),
            any::<f64>().prop_filter("a number", |number| !number.is_nan()).prop_map(Value::Real),
            "[a-c\\x00-\\x04]{0,3}".prop_map(Value::Text),
            prop::collection::vec(0u8..5, 0..4).prop_map(Value::Blob),
        ]
    }

    proptest! {
        /// What was written down can be read back, so no two lines are written down alike.
        #[test]
        fn the_compact_form_can_be_read_back(values in prop::collection::vec(value(), 0..8)) {
            let mut room = Vec::new();
            write_compact(&mut room, &refs(&values));
            prop_assert_eq!(room.remove(0), COMPACT);
            let mut rest = room.as_slice();
            let mut take = |length: usize| {
                let (taken, left) = rest.split_at(length);
                rest = left;
                taken.to_vec()
            };
            let number = |take: &mut dyn FnMut(usize) -> Vec<u8>| {
                let [kind] = take(1)[..] else { unreachable!() };
                let mut digits = take(usize::from(kind & 0x0f));
                digits.resize(8, 0);
                (kind & 0xf0, u64::from_le_bytes(digits.try_into().expect("eight")))
            };
            let (_, there) = number(&mut take);
            let mut read = vec![Value::Null; values.len()];
            for at in (0..values.len()).filter(|at| there >> at & 1 == 1) {
                read[at] = match number(&mut take) {
                    (0x10, number) => Value::Integer((number >> 1).cast_signed() ^ -((number & 1).cast_signed())),
                    (0x20, number) => Value::Real(f64::from_bits(number)),
                    (0x30, length) => Value::Text(String::from_utf8(take(length as usize)).expect("text")),
                    (_, length) => Value::Blob(take(length as usize)),
                };
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(format!("{:?}", values), format!("{:?}", read));
        }
    }
}
