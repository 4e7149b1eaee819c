//! How our values stand in columns. SQLite's integers are signed 64-bit; everything here fits or is refused.

use rusqlite::types::Type;
use rusqlite::{Error, Row};

use crate::clock::Timestamp;
use crate::money::{ClientId, GenerationId, Outcome, RequestId};
use crate::pool::KeyId;
use crate::upstream::Endpoint;

pub(super) fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_millis)
}

/// A count for a column. Nothing that is counted here comes near the limit; a claim beyond it is cut to it.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count out of a column.
pub(super) fn uncount(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// What stands in column `at` is nothing that potluck writes there.
pub(super) fn odd(at: usize, what: &'static str) -> Error {
    Error::FromSqlConversionFailure(at, Type::Null, what.into())
}

pub(super) fn key(row: &Row<'_>, at: usize) -> rusqlite::Result<KeyId> {
    row.get(at).map(KeyId)
}

pub(super) fn maybe_client(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<ClientId>> {
    Ok(row.get::<_, Option<u32>>(at)?.map(ClientId))
}

pub(super) fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    row.get(at).map(Timestamp::from_millis)
}

pub(super) fn maybe_time(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
}

pub(super) fn request(row: &Row<'_>, at: usize) -> rusqlite::Result<RequestId> {
    row.get(at).map(|bytes: [u8; 16]| RequestId(uuid::Uuid::from_bytes(bytes)))
}

pub(super) fn endpoint(row: &Row<'_>, at: usize) -> rusqlite::Result<Endpoint> {
    let name: String = row.get(at)?;
    Endpoint::from_name(&name).ok_or_else(|| odd(at, "an endpoint's name"))
}

pub(super) fn outcome(row: &Row<'_>, at: usize) -> rusqlite::Result<Outcome> {
    let name: String = row.get(at)?;
    Outcome::from_name(&name).ok_or_else(|| odd(at, "an outcome"))
}

pub(super) fn maybe_generation(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<GenerationId>> {
    let id: Option<String> = row.get(at)?;
    Ok(id.and_then(|id| GenerationId::parse(id.as_bytes())))
}
