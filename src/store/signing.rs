//! Keys that clients' tokens are signed with: sealed going in, opened coming out.

use rusqlite::{Connection, TransactionBehavior};

use crate::clients::{Keyring, SigningKey, SigningKeyId};
use crate::clock::Timestamp;
use crate::secret::SecretBytes;

use super::column::maybe_time;
use super::command::Failed;
use super::error::StoreError;
use super::master_key::MasterKeyError;
use super::seal::Sealer;

/// The keys there are; the first one is made when there is none that signs.
pub(super) fn load_or_make(
    connection: &mut Connection,
    sealer: &Sealer,
    now: Timestamp,
) -> Result<Vec<SigningKey>, StoreError> {
    let unwritable = |error| StoreError::unwritable(&error);
    // Another process may be starting, too.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unwritable)?;
    let mut keys = load(&transaction, sealer)?;
    if !keys.iter().any(SigningKey::signs) {
        let secret = SecretBytes::random().ok_or(MasterKeyError::NoRandomness)?;
        let id = insert(&transaction, sealer, &secret, now).map_err(|failed| match failed {
            Failed::Refused(error) => error,
            Failed::Broken(error) => StoreError::unwritable(&error),
        })?;
        keys.push(SigningKey::new(id, secret.expose(), None));
    }
    transaction.commit().map_err(unwritable)?;
    Ok(keys)
}

fn load(connection: &Connection, sealer: &Sealer) -> Result<Vec<SigningKey>, StoreError> {
    let mut rows = connection.prepare_cached("SELECT id, sealed, retired_at FROM signing_keys ORDER BY id")?;
    let mut rows = rows.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, sealed, retired_at) = (SigningKeyId(row.get(0)?), row.get::<_, Vec<u8>>(1)?, maybe_time(row, 2)?);
        match sealer.open_signing(id, &sealed) {
            Some(secret) => keys.push(SigningKey::new(id, secret.expose(), retired_at)),
            None => {
                tracing::error!(key = %id, "this signing key's row was changed and does not open: its tokens are void")
            }
        }
    }
    Ok(keys)
}

/// Put another key in the place of the one that signs. Keys whose tokens are all over are wiped; all old ones, where their
/// tokens are to end.
pub(super) fn rotate(
    connection: &Connection,
    sealer: &Sealer,
    secret: &SecretBytes,
    at: Timestamp,
    ends_tokens: bool,
) -> Result<SigningKeyId, Failed> {
    let over = if ends_tokens { i64::MAX } else { at.before(Keyring::LIFE_MAX).as_millis() };
    connection
        .prepare_cached("UPDATE signing_keys SET retired_at = ?1 WHERE retired_at IS NULL")?
        .execute((at.as_millis(),))?;
    connection.prepare_cached("DELETE FROM signing_keys WHERE retired_at <= ?1")?.execute((over,))?;
    insert(connection, sealer, secret, at)
}

/// A key's id is part of what its sealed text is bound to, so the row is made first and the text put in then.
fn insert(
    connection: &Connection,
    sealer: &Sealer,
    secret: &SecretBytes,
    at: Timestamp,
) -> Result<SigningKeyId, Failed> {
    connection
        .prepare_cached("INSERT INTO signing_keys (sealed, made_at) VALUES (x'', ?1)")?
        .execute((at.as_millis(),))?;
    let number = u32::try_from(connection.last_insert_rowid());
    let id = SigningKeyId(number.map_err(|_| StoreError::damaged("signing key ids are used up"))?);
    let sealed = sealer.seal_signing(id, secret).map_err(StoreError::from)?;
    connection.prepare_cached("UPDATE signing_keys SET sealed = ?2 WHERE id = ?1")?.execute((id.0, sealed))?;
    Ok(id)
}
