//! How our values stand in columns. SQLite's integers are signed 64-bit; everything here fits or is refused.

use rusqlite::types::Type;
use rusqlite::{Error, Row};

use crate::clock::Timestamp;
use crate::money::{Charged, ClientId, GenerationId, Outcome, RequestId, Spender, Usd, UserId};
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

/// Out of the columns of a client, its user, and what is held of their budgets.
pub(super) fn maybe_charged(row: &Row<'_>, [client, user, held]: [usize; 3]) -> rusqlite::Result<Option<Charged>> {
    let Some(client) = maybe_client(row, client)? else { return Ok(None) };
    let user = row.get::<_, Option<u32>>(user)?.map(UserId);
    let held = row.get::<_, Option<i64>>(held)?.map(Usd::from_pico);
    Ok(Some(Charged { spender: Spender { client, user }, held }))
}

/// A spender, out of the columns of a client and its user, of which 0 stands for none.
pub(super) fn spender(row: &Row<'_>, client: usize, user: usize) -> rusqlite::Result<Spender> {
    let user: u32 = row.get(user)?;
    Ok(Spender { client: ClientId(row.get(client)?), user: (user != 0).then_some(UserId(user)) })
}

/// What stands for a spender's user where it has none.
pub(super) fn user(spender: Spender) -> u32 {
    spender.user.map_or(0, |user| user.0)
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
