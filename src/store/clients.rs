//! Rows of clients: who may use the pool, and who once might.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};

use crate::clients::{Client, ClientId, KeyHash, SigningKeyId, Terms, Weight};
use crate::clock::Timestamp;
use crate::money::{Caps, ModelGlobs, Spender, UserId};
use crate::secret::SecretBytes;

use super::column::{self, maybe_time, time};
use super::command::{Answer, Failed, Reply, within};
use super::error::StoreError;
use super::record::Refused;
use super::seal::Sealer;
use super::{Store, allowance, signing, users};

/// A client that is not in the store yet.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// The hash of its key; the key itself is never stored.
    pub hash: KeyHash,
    /// What is shown of its key.
    pub mask: String,
    /// Since when there is one.
    pub created_at: Timestamp,
    /// What it may do.
    pub terms: Terms,
}

/// A client as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredClient {
    /// Who it is, and what it may do.
    pub client: Client,
    /// The hash of its key; `None` when that is revoked.
    pub hash: Option<KeyHash>,
    /// Since when.
    pub revoked_at: Option<Timestamp>,
}

/// A call about clients or signing keys to the writer.
#[derive(Debug)]
pub(super) enum ClientCommand {
    /// Store a client.
    Add { client: Box<NewClient>, reply: Reply<ClientId> },
    /// Set what it may do.
    Change { id: ClientId, terms: Box<Terms>, at: Timestamp, reply: Reply<()> },
    /// Wipe what it is recognised by.
    Revoke { id: ClientId, at: Timestamp, reply: Reply<()> },
    /// Find or make the number of a client's user.
    User { client: ClientId, name: String, most: usize, at: Timestamp, reply: Reply<UserId> },
    /// Sign tokens with another key from now on.
    Rotate { secret: SecretBytes, ends_tokens: bool, at: Timestamp, reply: Reply<SigningKeyId> },
}

impl ClientCommand {
    /// Carry the call out within `transaction`. An error is the whole transaction's.
    pub(super) fn run(self, transaction: &mut Transaction<'_>, sealer: &Sealer) -> rusqlite::Result<Answer> {
        match self {
            Self::Add { client, reply } => within(transaction, reply, |c| {
                let id = add(c, &client)?;
                audit(c, client.created_at, "client_added", Some(id), Some(&client.terms.name))?;
                Ok(id)
            }),
            Self::Change { id, terms, at, reply } => within(transaction, reply, |c| {
                change(c, id, &terms)?;
                Ok(audit(c, at, "client_changed", Some(id), Some(&told(&terms)))?)
            }),
            Self::Revoke { id, at, reply } => within(transaction, reply, |c| {
                revoke(c, id, at)?;
                Ok(audit(c, at, "client_revoked", Some(id), None)?)
            }),
            Self::User { client, name, most, at, reply } => within(transaction, reply, |c| {
                one(c, client)?.filter(|stored| stored.hash.is_some()).ok_or(StoreError::NoSuchClient(client))?;
                users::add_user(c, client, &name, most, at)
            }),
            Self::Rotate { secret, ends_tokens, at, reply } => within(transaction, reply, |c| {
                let id = signing::rotate(c, sealer, &secret, at, ends_tokens)?;
                let detail = ends_tokens.then_some("tokens ended");
                audit(c, at, "signing_key_rotated", None, detail)?;
                Ok(id)
            }),
        }
    }
}

impl Store {
    /// Store a client, and that it was added. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub async fn add_client(&self, client: NewClient) -> Result<ClientId, StoreError> {
        let client = Box::new(client);
        self.write(|reply| ClientCommand::Add { client, reply }.into()).await
    }

    /// Set what a client may do. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::NoSuchClient`], or [`StoreError::Unwritable`].
    pub async fn change_client(&self, id: ClientId, terms: Terms) -> Result<(), StoreError> {
        let (terms, at) = (Box::new(terms), self.shared.clock.now());
        self.write(|reply| ClientCommand::Change { id, terms, at, reply }.into()).await
    }

    /// Wipe what a client is recognised by; its name stays. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::NoSuchClient`] also when it is revoked already, or [`StoreError::Unwritable`].
    pub async fn revoke_client(&self, id: ClientId) -> Result<(), StoreError> {
        let at = self.shared.clock.now();
        self.write(|reply| ClientCommand::Revoke { id, at, reply }.into()).await
    }

    /// A number for one of a client's users. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::NoSuchClient`], [`StoreError::TooMuch`] when there are `most` already, or [`StoreError::Unwritable`].
    pub(super) async fn add_user(&self, client: ClientId, name: &str, most: usize) -> Result<UserId, StoreError> {
        let (name, at) = (name.to_owned(), self.shared.clock.now());
        self.write(|reply| ClientCommand::User { client, name, most, at, reply }.into()).await
    }

    /// Count what was refused to a client. Never waits.
    pub fn refused(&self, refused: Refused) {
        self.shared.queue.refused(refused);
    }

    /// A client, also one that is revoked.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub async fn client(&self, id: ClientId) -> Result<Option<StoredClient>, StoreError> {
        self.read(move |connection| Ok(one(connection, id)?)).await
    }

    /// Keep a key for signing tokens, and retire the one before it; where tokens are to end, all old keys are wiped.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub async fn rotate_signing_key(&self, secret: SecretBytes, ends_tokens: bool) -> Result<SigningKeyId, StoreError> {
        let at = self.shared.clock.now();
        self.write(|reply| ClientCommand::Rotate { secret, ends_tokens, at, reply }.into()).await
    }
}

fn add(connection: &Connection, client: &NewClient) -> Result<ClientId, Failed> {
    connection
        .prepare_cached(
            "INSERT INTO clients (hash, mask, name, note, created_at, expires_at, models, allowance, per_user, weight) \
             VALUES (:hash, :mask, :name, :note, :created_at, :expires_at, :models, :allowance, :per_user, :weight)",
        )?
        .execute(named_params! {
            ":hash": client.hash.0,
            ":mask": client.mask,
            ":name": client.terms.name,
            ":note": client.terms.note,
            ":created_at": client.created_at.as_millis(),
            ":expires_at": column::millis(client.terms.expires_at),
            ":models": models(&client.terms),
            ":allowance": allowance::written(&client.terms.allowance),
            ":per_user": allowance::written(&client.terms.per_user),
            ":weight": client.terms.weight.get(),
        })?;
    let number = u32::try_from(connection.last_insert_rowid());
    Ok(ClientId(number.map_err(|_| StoreError::damaged("client ids are used up"))?))
}

fn change(connection: &Connection, id: ClientId, terms: &Terms) -> Result<(), Failed> {
    let changed = connection
        .prepare_cached(
            "UPDATE clients SET name = :name, note = :note, expires_at = :expires_at, models = :models, \
             allowance = :allowance, per_user = :per_user, weight = :weight WHERE id = :id AND hash IS NOT NULL",
        )?
        .execute(named_params! {
            ":id": id.0,
            ":name": terms.name,
            ":note": terms.note,
            ":expires_at": column::millis(terms.expires_at),
            ":models": models(terms),
            ":allowance": allowance::written(&terms.allowance),
            ":per_user": allowance::written(&terms.per_user),
            ":weight": terms.weight.get(),
        })?;
    there(id, changed)
}

fn revoke(connection: &Connection, id: ClientId, at: Timestamp) -> Result<(), Failed> {
    let changed = connection
        .prepare_cached("UPDATE clients SET hash = NULL, revoked_at = ?2 WHERE id = ?1 AND hash IS NOT NULL")?
        .execute((id.0, at.as_millis()))?;
    there(id, changed)
}

fn there(id: ClientId, changed: usize) -> Result<(), Failed> {
    if changed == 0 { Err(StoreError::NoSuchClient(id).into()) } else { Ok(()) }
}

const COLUMNS: &str =
    "id, hash, mask, name, note, created_at, expires_at, revoked_at, models, allowance, per_user, weight";

/// Every client whose key is not revoked.
pub(super) fn load(connection: &Connection) -> Result<Vec<StoredClient>, StoreError> {
    let mut clients =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM clients WHERE hash IS NOT NULL ORDER BY id"))?;
    // What cannot be read must become neither a client without limits nor one that is not there and not missed.
    let read =
        |row: rusqlite::Result<StoredClient>| row.map_err(|error| StoreError::damaged(format!("a client: {error}")));
    clients.query_map([], read_client)?.map(read).collect()
}

fn one(connection: &Connection, id: ClientId) -> rusqlite::Result<Option<StoredClient>> {
    let mut client = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM clients WHERE id = ?1"))?;
    client.query_row((id.0,), read_client).optional()
}

fn read_client(row: &Row<'_>) -> rusqlite::Result<StoredClient> {
    let models: Option<String> = row.get(8)?;
    let patterns: Vec<String> = match models {
        None => Vec::new(),
        Some(json) => serde_json::from_str(&json).map_err(|_| column::odd(8, "a list of models"))?,
    };
    let terms = Terms {
        name: row.get(3)?,
        note: row.get(4)?,
        expires_at: maybe_time(row, 6)?,
        models: ModelGlobs::new(patterns),
        allowance: allowance::read(row, 9)?,
        per_user: allowance::read(row, 10)?,
        weight: Weight::new(row.get(11)?).ok_or_else(|| column::odd(11, "a weight"))?,
    };
    Ok(StoredClient {
        client: Client { id: ClientId(row.get(0)?), mask: row.get(2)?, created_at: time(row, 5)?, terms },
        hash: row.get::<_, Option<[u8; 32]>>(1)?.map(KeyHash),
        revoked_at: maybe_time(row, 7)?,
    })
}

/// The budgets that bind a client as a whole, or each of its users; `None` when there is no such client.
pub(super) fn caps(connection: &Connection, spender: Spender) -> rusqlite::Result<Option<Caps>> {
    let client = one(connection, spender.client)?;
    Ok(client.map(|StoredClient { client: Client { terms, .. }, .. }| match spender.user {
        None => terms.allowance.budgets,
        Some(_) => terms.per_user.budgets,
    }))
}

/// `NULL` allows every model.
fn models(terms: &Terms) -> Option<String> {
    let patterns: Vec<String> = terms.models.patterns().collect();
    (!patterns.is_empty()).then(|| serde_json::Value::from(patterns).to_string())
}

/// What the audit says about a change.
fn told(terms: &Terms) -> String {
    let Terms { name, note, expires_at, models, allowance, per_user, weight } = terms;
    let (expires_at, models) = (expires_at.map(|at| at.to_string()), models.patterns().collect::<Vec<_>>());
    serde_json::json!({
        "name": name, "note": note, "expires_at": expires_at, "models": models,
        "allowance": allowance::Written::of(allowance), "per_user": allowance::Written::of(per_user), "weight": weight.get()
    })
    .to_string()
}

/// A line about an operator's act, in the transaction of the act itself.
fn audit(
    connection: &Connection,
    at: Timestamp,
    action: &'static str,
    client: Option<ClientId>,
    detail: Option<&str>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO audit (at, action, client, detail) VALUES (?1, ?2, ?3, ?4)")?
        .execute((at.as_millis(), action, client.map(|client| client.0), detail))
        .map(drop)
}
