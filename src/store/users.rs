//! Clients' users: those for whom a token was asked, each with a number.

use rusqlite::{Connection, OptionalExtension};

use crate::clock::{Day, Timestamp};
use crate::money::{ClientId, Spender, UserId};

use super::Store;
use super::column::{self, uncount};
use super::command::Failed;
use super::error::StoreError;
use super::spenders::{ClientSums, sums_of};

/// One of a client's users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSums {
    /// potluck's number for it.
    pub id: UserId,
    /// The client's own name for it.
    pub name: Box<str>,
    /// When the client first asked for a token for it.
    pub since: Timestamp,
    /// What was done and spent for it.
    pub sums: ClientSums,
}

impl Store {
    /// A client's users in the order in which they came, behind `after`, with what was done and spent for each.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn client_users(
        &self,
        client: ClientId,
        after: Option<UserId>,
        limit: usize,
        today: Day,
    ) -> Result<Vec<UserSums>, StoreError> {
        self.read(move |connection| Ok(users(connection, client, after, limit, today)?)).await
    }

    /// The number of a client's user; a new name gets one. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::NoSuchClient`], [`StoreError::TooMuch`] when the client has `most` users already, or
    /// [`StoreError::Unwritable`].
    pub async fn user(&self, client: ClientId, name: &str, most: usize) -> Result<UserId, StoreError> {
        let known: Option<UserId> = {
            let name = name.to_owned();
            self.read(move |connection| Ok(known_user(connection, client, &name)?)).await?
        };
        match known {
            Some(user) => Ok(user),
            None => self.add_user(client, name, most).await,
        }
    }
}

fn known_user(connection: &Connection, client: ClientId, name: &str) -> rusqlite::Result<Option<UserId>> {
    connection
        .prepare_cached("SELECT id FROM client_users WHERE client = ?1 AND name = ?2")?
        .query_row((client.0, name), |row| row.get(0).map(UserId))
        .optional()
}

fn users(
    connection: &Connection,
    client: ClientId,
    after: Option<UserId>,
    limit: usize,
    today: Day,
) -> rusqlite::Result<Vec<UserSums>> {
    let mut users = connection.prepare_cached(
        "SELECT id, name, made_at FROM client_users WHERE client = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let after = after.map_or(0, |user| user.0);
    let rows = users.query_map((client.0, after, column::count(limit as u64)), |row| {
        let id = UserId(row.get(0)?);
        let sums = sums_of(connection, Spender { client, user: Some(id) }, today)?;
        Ok(UserSums { id, name: row.get::<_, String>(1)?.into(), since: column::time(row, 2)?, sums })
    })?;
    rows.collect()
}

/// The number of a client's user, which gets one when it has none.
pub(super) fn add_user(
    connection: &Connection,
    client: ClientId,
    name: &str,
    most: usize,
    at: Timestamp,
) -> Result<UserId, Failed> {
    if let Some(user) = known_user(connection, client, name)? {
        return Ok(user);
    }
    let there: i64 = connection
        .prepare_cached("SELECT count(*) FROM client_users WHERE client = ?1")?
        .query_row((client.0,), |row| row.get(0))?;
    if uncount(there) >= most as u64 {
        return Err(StoreError::TooMuch(most).into());
    }
    connection.prepare_cached("INSERT INTO client_users (client, name, made_at) VALUES (?1, ?2, ?3)")?.execute((
        client.0,
        name,
        at.as_millis(),
    ))?;
    let number = u32::try_from(connection.last_insert_rowid());
    Ok(UserId(number.map_err(|_| StoreError::damaged("user ids are used up"))?))
}
