//! Rows of keys and accounts: sealed going in, opened coming out.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::clock::{Day, Timestamp};
use crate::money::{PurseFigures, UsageCheck, Usd};
use crate::pool::{AccountId, Cause, Health, KeyId, KeyState, Left};
use crate::secret::Fingerprint;

use super::column::{self, maybe_time, time};
use super::command::Failed;
use super::error::StoreError;
use super::record::{Loaded, NewKey, StoredKey};
use super::seal::Sealer;
use super::{limits, purse};

/// Store a key. Its id is part of what its sealed text is bound to, so the row is made first and the text put in then.
pub(super) fn add(connection: &Connection, sealer: &Sealer, key: &NewKey) -> Result<KeyId, Failed> {
    let fingerprint = key.credential.fingerprint();
    if let Some(present) = find(connection, &fingerprint)? {
        return Err(StoreError::KeyPresent(present).into());
    }
    connection
        .prepare_cached(
            "INSERT INTO keys (fingerprint, sealed, label, donor_id, donor_name, account, added_at, \
             health, since, cause, strikes, verified) \
             VALUES (:fingerprint, x'', :label, :donor_id, :donor_name, :account, :added_at, 'healthy', 0, 'fresh', 0, 0)",
        )?
        .execute(named_params! {
            ":fingerprint": fingerprint.0,
            ":label": key.label,
            ":donor_id": key.donor_id,
            ":donor_name": key.donor_name,
            ":account": key.account.map(|account| account.0),
            ":added_at": key.added_at.as_millis(),
        })?;
    let number = u32::try_from(connection.last_insert_rowid());
    let id = KeyId(number.map_err(|_| StoreError::damaged("key ids are used up"))?);
    let sealed = sealer.seal_key(id, &key.credential).map_err(StoreError::from)?;
    connection.prepare_cached("UPDATE keys SET sealed = ?2 WHERE id = ?1")?.execute((id.0, sealed))?;
    save_state(connection, id, &key.state)?;
    limits::save(connection, id, &key.limits)?;
    Ok(id)
}

fn find(connection: &Connection, fingerprint: &Fingerprint) -> rusqlite::Result<Option<KeyId>> {
    connection
        .prepare_cached("SELECT id FROM keys WHERE fingerprint = ?1")?
        .query_row((fingerprint.0,), |row| column::key(row, 0))
        .optional()
}

/// Forget a key and everything donors said about it. Its ledger entries stay.
pub(super) fn remove(connection: &Connection, id: KeyId) -> Result<(), Failed> {
    match connection.prepare_cached("DELETE FROM keys WHERE id = ?1")?.execute((id.0,))? {
        0 => Err(StoreError::NoSuchKey(id).into()),
        _ => Ok(()),
    }
}

/// Keys whose books are not sound, and when that was last found.
pub(super) fn unsound(connection: &Connection) -> rusqlite::Result<Vec<(KeyId, Timestamp)>> {
    let mut keys = connection.prepare_cached("SELECT id, unsound_at FROM keys WHERE unsound_at IS NOT NULL")?;
    keys.query_map([], |row| Ok((column::key(row, 0)?, column::time(row, 1)?)))?.collect()
}

/// The books of these keys were found not to be sound. That it was the first time is told once.
pub(super) fn set_unsound(connection: &Connection, ids: &[KeyId], now: Timestamp) -> rusqlite::Result<()> {
    let known = unsound(connection)?;
    for id in ids {
        let is_there = connection
            .prepare_cached("UPDATE keys SET unsound_at = ?2 WHERE id = ?1")?
            .execute((id.0, now.as_millis()))?;
        if is_there == 1 && !known.iter().any(|(known, _)| known == id) {
            audit(connection, now, "books_unsound", *id, None)?;
        }
    }
    Ok(())
}

/// The books of these keys are sound again, unless they were found not to be since that time. Which of them are.
pub(super) fn set_sound(
    connection: &Connection,
    ids: &[(KeyId, Timestamp)],
    now: Timestamp,
) -> rusqlite::Result<Vec<KeyId>> {
    let mut sound = Vec::with_capacity(ids.len());
    for (id, since) in ids {
        let changed = connection
            .prepare_cached("UPDATE keys SET unsound_at = NULL WHERE id = ?1 AND unsound_at = ?2")?
            .execute((id.0, since.as_millis()))?;
        if changed == 1 {
            audit(connection, now, "books_sound", *id, None)?;
            sound.push(*id);
        }
    }
    Ok(sound)
}

/// Write a key's state. A key that is gone has none.
pub(super) fn save_state(connection: &Connection, id: KeyId, state: &KeyState) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE keys SET health = :health, since = :since, until = :until, cause = :cause, note = :note, \
             free_until = :free_until, strikes = :strikes, verified = :verified, probe_at = :probe_at, \
             remaining = :remaining, limit_left = :limit_left, limit_paid = :limit_paid, credit_left = :credit_left, \
             credit_paid = :credit_paid WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": id.0,
            ":health": state.health.name(),
            ":since": state.since.as_millis(),
            ":until": column::millis(state.until),
            ":cause": cause_name(state.cause),
            ":note": state.note,
            ":free_until": column::millis(state.free_until),
            ":strikes": state.strikes,
            ":verified": state.verified,
            ":probe_at": column::millis(state.probe_at),
            ":remaining": state.remaining.map(Usd::as_pico),
            ":limit_left": state.limit.map(|left| left.amount.as_pico()),
            ":limit_paid": state.limit.map(|left| left.paid.as_pico()),
            ":credit_left": state.credit.map(|left| left.amount.as_pico()),
            ":credit_paid": state.credit.map(|left| left.paid.as_pico()),
        })
        .map(drop)
}

/// The account of that name, made when there is none.
pub(super) fn account(connection: &Connection, name: &str) -> Result<AccountId, Failed> {
    connection
        .prepare_cached("INSERT INTO accounts (name) VALUES (?1) ON CONFLICT (name) DO NOTHING")?
        .execute((name,))?;
    let id = connection
        .prepare_cached("SELECT id FROM accounts WHERE name = ?1")?
        .query_row((name,), |row| row.get(0).map(AccountId))?;
    Ok(id)
}

/// Say which account a key spends from.
pub(super) fn set_account(connection: &Connection, id: KeyId, account: AccountId) -> Result<(), Failed> {
    match connection.prepare_cached("UPDATE keys SET account = ?2 WHERE id = ?1")?.execute((id.0, account.0))? {
        0 => Err(StoreError::NoSuchKey(id).into()),
        _ => Ok(()),
    }
}

/// Whether any key is stored.
pub(super) fn any(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM keys LIMIT 1")?.exists([])
}

/// Note how a key's own usage compares with the ledger.
pub(super) fn save_usage_check(connection: &Connection, id: KeyId, check: &UsageCheck) -> Result<(), Failed> {
    let UsageCheck { at, usage, settled, before, elsewhere, drift } = check;
    let [usage, settled, before, elsewhere, drift] =
        [usage, settled, before, elsewhere, drift].map(|usd| usd.as_pico());
    let changed = connection
        .prepare_cached(
            "UPDATE keys SET usage_at = ?2, usage_total = ?3, usage_settled = ?4, usage_before = ?5,              usage_elsewhere = ?6, usage_drift = ?7 WHERE id = ?1",
        )?
        .execute((id.0, at.as_millis(), usage, settled, before, elsewhere, drift))?;
    match changed {
        0 => Err(StoreError::NoSuchKey(id).into()),
        _ => Ok(()),
    }
}

/// How a key's own usage compared with the ledger when somebody last looked.
pub(super) fn usage_check(connection: &Connection, id: KeyId) -> Result<Option<UsageCheck>, StoreError> {
    let check = connection
        .prepare_cached(
            "SELECT usage_at, usage_total, usage_settled, usage_before, usage_elsewhere, usage_drift FROM keys              WHERE id = ?1",
        )?
        .query_row((id.0,), |row| read_usage_check(row, 0))
        .optional()?;
    Ok(check.flatten())
}

/// Columns of a usage check.
const USAGE_WIDTH: usize = 6;

fn read_usage_check(row: &Row<'_>, from: usize) -> rusqlite::Result<Option<UsageCheck>> {
    let Some(at) = maybe_time(row, from)? else { return Ok(None) };
    let usd = |at: usize| row.get(from + at).map(Usd::from_pico);
    Ok(Some(UsageCheck { at, usage: usd(1)?, settled: usd(2)?, before: usd(3)?, elsewhere: usd(4)?, drift: usd(5)? }))
}

/// Everything about keys and accounts.
pub(super) fn load(connection: &Connection, sealer: &Sealer, today: Day) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    let mut accounts = connection.prepare_cached("SELECT id, name FROM accounts ORDER BY id")?;
    for account in accounts.query_map([], |row| Ok((AccountId(row.get(0)?), row.get(1)?)))? {
        loaded.accounts.push(account?);
    }
    let mut purses = purse::of_all(connection, today)?;
    let mut keys = connection.prepare_cached(&format!(
        "SELECT k.id, fingerprint, sealed, label, donor_id, donor_name, account, added_at, coalesce(t.pico, 0),          health, since, until, cause, note, free_until, strikes, verified, probe_at, remaining,          limit_left, limit_paid, credit_left, credit_paid, {},          usage_at, usage_total, usage_settled, usage_before, usage_elsewhere, usage_drift, unsound_at IS NOT NULL          FROM keys AS k LEFT JOIN key_totals AS t ON t.key = k.id ORDER BY k.id",
        limits::COLUMNS
    ))?;
    let mut rows = keys.query([])?;
    while let Some(row) = rows.next()? {
        let id = column::key(row, 0)?;
        match read_key(row, id, sealer)? {
            Some(key) => {
                let spent = Usd::from_pico(row.get(8)?);
                let purse = PurseFigures { total: spent, ..purses.remove(&id).unwrap_or_default() };
                let usage_from = STATE + STATE_WIDTH + limits::WIDTH;
                let usage = read_usage_check(row, usage_from)?;
                let unsound = row.get(usage_from + USAGE_WIDTH)?;
                loaded.keys.push(StoredKey { id, key, spent, purse, usage, unsound });
            }
            None => {
                tracing::error!(key = %id, "this key's row was changed and does not open: not served, left as it is");
                loaded.damaged.push(id);
            }
        }
    }
    Ok(loaded)
}

/// Where a loaded row's state begins, and how many columns it has.
const STATE: usize = 9;
const STATE_WIDTH: usize = 14;

/// `None` when the sealed text does not open in this row.
fn read_key(row: &Row<'_>, id: KeyId, sealer: &Sealer) -> Result<Option<NewKey>, StoreError> {
    let fingerprint = Fingerprint(row.get(1)?);
    let sealed: Vec<u8> = row.get(2)?;
    let Some(credential) = sealer.open_key(id, &fingerprint, &sealed) else { return Ok(None) };
    // What cannot be read must become neither a healthy state nor the absence of limits.
    let damaged = |what: &str, error| StoreError::damaged(format!("the {what} of key {id}: {error}"));
    Ok(Some(NewKey {
        credential: Arc::new(credential),
        label: row.get(3)?,
        donor_id: row.get(4)?,
        donor_name: row.get(5)?,
        account: row.get::<_, Option<u32>>(6)?.map(AccountId),
        limits: limits::read(row, STATE + STATE_WIDTH).map_err(|error| damaged("limits", error))?,
        state: read_state(row, STATE).map_err(|error| damaged("state", error))?,
        added_at: time(row, 7)?,
    }))
}

fn read_state(row: &Row<'_>, from: usize) -> rusqlite::Result<KeyState> {
    let health: String = row.get(from)?;
    let cause: String = row.get(from + 3)?;
    Ok(KeyState {
        health: Health::from_name(&health).ok_or_else(|| column::odd(from, "a health state"))?,
        since: time(row, from + 1)?,
        until: maybe_time(row, from + 2)?,
        cause: cause_from_name(&cause).ok_or_else(|| column::odd(from + 3, "a cause"))?,
        note: row.get(from + 4)?,
        free_until: maybe_time(row, from + 5)?,
        strikes: row.get(from + 6)?,
        verified: row.get(from + 7)?,
        probe_at: maybe_time(row, from + 8)?,
        remaining: row.get::<_, Option<i64>>(from + 9)?.map(Usd::from_pico),
        limit: read_left(row, from + 10)?,
        credit: read_left(row, from + 12)?,
    })
}

fn read_left(row: &Row<'_>, from: usize) -> rusqlite::Result<Option<Left>> {
    let usd = |at: usize| -> rusqlite::Result<Option<Usd>> { Ok(row.get::<_, Option<i64>>(at)?.map(Usd::from_pico)) };
    let (amount, paid) = (usd(from)?, usd(from + 1)?);
    Ok(amount.zip(paid).map(|(amount, paid)| Left { amount, paid }))
}

/// Every cause, for reading them back.
const CAUSES: [Cause; 12] = [
    Cause::Fresh,
    Cause::Operator,
    Cause::KeyLimit,
    Cause::Budget,
    Cause::Credit,
    Cause::InFlight,
    Cause::Doubted,
    Cause::Rejected,
    Cause::Barred,
    Cause::Expired,
    Cause::Recovering,
    Cause::Evidence,
];

/// The names stand in files: never change one.
const fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Fresh => "fresh",
        Cause::Operator => "operator",
        Cause::KeyLimit => "key_limit",
        Cause::Budget => "budget",
        Cause::Credit => "credit",
        Cause::InFlight => "in_flight",
        Cause::Doubted => "doubted",
        Cause::Rejected => "rejected",
        Cause::Barred => "barred",
        Cause::Expired => "expired",
        Cause::Recovering => "recovering",
        Cause::Evidence => "evidence",
    }
}

fn cause_from_name(name: &str) -> Option<Cause> {
    CAUSES.into_iter().find(|cause| cause_name(*cause) == name)
}

/// A line about an operator's or donor's act, in the transaction of the act itself.
pub(super) fn audit(
    connection: &Connection,
    at: Timestamp,
    action: &'static str,
    key: KeyId,
    detail: Option<&str>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO audit (at, action, key, detail) VALUES (?1, ?2, ?3, ?4)")?
        .execute((at.as_millis(), action, key.0, detail))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_read_back() {
        for cause in CAUSES {
            assert_eq!(cause_from_name(cause_name(cause)), Some(cause));
            assert_eq!(serde_json::to_value(cause).expect("a name"), cause_name(cause), "as the admin API shows it");
        }
    }
}
