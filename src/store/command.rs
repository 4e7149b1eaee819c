//! The calls the writer carries out for somebody who waits. This set, not SQL, is what another kind of store would have
//! to offer.

use std::time::Duration;

use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::money::{Limits, PurseFigures, UsageCheck};
use crate::pool::{AccountId, Health, KeyId};

use super::clients::ClientCommand;
use super::error::StoreError;
use super::leases::Leases;
use super::purse::{self, Ask};
use super::record::{Buried, Finding, Grant, Holder, Job, NewKey, Recovered, Settlement};
use super::rollup::{self, Step};
use super::seal::Sealer;
use super::spans::{self, Made};
use super::{epochs, keys, ledger, limits, query};

/// Where an answer goes. Dropped without one, the caller hears that the write failed.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call to the writer.
#[derive(Debug)]
pub(super) enum Command {
    /// Store a key.
    AddKey { key: Box<NewKey>, usage: Option<UsageCheck>, at: Timestamp, reply: Reply<KeyId> },
    /// Wipe a key.
    RemoveKey { id: KeyId, at: Timestamp, reply: Reply<()> },
    /// Note that an operator set a key's health; the state itself goes the way of all states.
    NoteHealth { id: KeyId, health: Health, at: Timestamp, reply: Reply<()> },
    /// Note that keys' books are not sound.
    SetUnsound { ids: Vec<KeyId>, reply: Reply<()> },
    /// Note that they are again, unless that was found since.
    SetSound { ids: Vec<(KeyId, Timestamp)>, reply: Reply<Vec<KeyId>> },
    /// Find or make an account.
    Account { name: String, reply: Reply<AccountId> },
    /// Put a key into an account.
    SetAccount { id: KeyId, account: AccountId, reply: Reply<()> },
    /// Close an entry in suspense with its cost.
    Settle { id: u64, found: Box<Settlement>, reply: Reply<bool> },
    /// Schedule the next lookup of an entry in suspense.
    RetryLater { id: u64, due_at: Option<Timestamp>, reply: Reply<()> },
    /// Bind a job to its key.
    AddJob { job: Job, reply: Reply<()> },
    /// Set what a donor allows.
    SetLimits { id: KeyId, limits: Box<Limits>, reply: Reply<PurseFigures> },
    /// Look at a holder's money.
    Purse { holder: Holder, reply: Reply<PurseFigures> },
    /// Lease headroom.
    Draw { ask: Ask, reply: Reply<Grant> },
    /// Note that a key is used without holds.
    UseUnbounded { key: KeyId, reply: Reply<()> },
    /// Take over what processes that are gone have left.
    Bury { reply: Reply<Vec<Buried>> },
    /// Account for what they had leased of a key.
    Absolve { key: KeyId, found: Option<Recovered>, reply: Reply<bool> },
    /// Book what a key's usage has told.
    Reckon { key: KeyId, finding: Box<Finding>, reply: Reply<bool> },
    /// Note how a key's own usage compares with the ledger.
    SaveUsageCheck { id: KeyId, check: UsageCheck, reply: Reply<()> },
    /// Make spans of some more lines of clients.
    MakeSpans { after: Made, reply: Reply<Option<Made>> },
    /// Roll up some old entries.
    RollUp { step: Step, reply: Reply<Step> },
    /// About clients and signing keys.
    Client(ClientCommand),
    /// Nothing: to be told when everything before is durable.
    Flush { reply: Reply<()> },
    /// A fault of ours.
    #[cfg(test)]
    Panic,
}

impl From<ClientCommand> for Command {
    fn from(command: ClientCommand) -> Self {
        Self::Client(command)
    }
}

/// Why a call did not do what it should.
#[derive(Debug)]
pub(super) enum Failed {
    /// It was not to be done; the file is well.
    Refused(StoreError),
    /// SQLite could not.
    Broken(rusqlite::Error),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => Self::Refused(StoreError::unwritable(&error)),
            _ => Self::Broken(error),
        }
    }
}

/// An answer held back until the transaction is durable.
pub(super) type Answer = Box<dyn FnOnce()>;

/// What calls are carried out with.
pub(super) struct Desk<'a> {
    pub sealer: &'a Sealer,
    pub leases: &'a mut Leases,
    pub now: Timestamp,
    pub first_lookup: Duration,
}

impl Command {
    /// Carry the call out within `transaction`. An error is the whole transaction's.
    pub(super) fn run(self, transaction: &mut Transaction<'_>, desk: &mut Desk<'_>) -> rusqlite::Result<Answer> {
        match self {
            Self::AddKey { key, usage, at, reply } => within(transaction, reply, |c| {
                let id = keys::add(c, desk.sealer, &key)?;
                usage.map_or(Ok(()), |check| keys::save_usage_check(c, id, &check))?;
                keys::audit(c, at, "key_added", id, key.label.as_deref())?;
                Ok(id)
            }),
            Self::RemoveKey { id, at, reply } => within(transaction, reply, |c| {
                keys::remove(c, id)?;
                Ok(keys::audit(c, at, "key_removed", id, None)?)
            }),
            Self::NoteHealth { id, health, at, reply } => {
                within(transaction, reply, |c| Ok(keys::audit(c, at, "health_set", id, Some(health.name()))?))
            }
            Self::SetUnsound { ids, reply } => {
                within(transaction, reply, |c| Ok(keys::set_unsound(c, &ids, desk.now)?))
            }
            Self::SetSound { ids, reply } => within(transaction, reply, |c| Ok(keys::set_sound(c, &ids, desk.now)?)),
            Self::Account { name, reply } => within(transaction, reply, |c| keys::account(c, &name)),
            Self::SetAccount { id, account, reply } => {
                within(transaction, reply, |c| keys::set_account(c, id, account))
            }
            Self::Settle { id, found, reply } => within(transaction, reply, |c| ledger::settle(c, id, &found)),
            Self::RetryLater { id, due_at, reply } => {
                within(transaction, reply, |c| ledger::retry_later(c, id, due_at))
            }
            Self::AddJob { job, reply } => within(transaction, reply, |c| Ok(query::add_job(c, &job)?)),
            Self::SaveUsageCheck { id, check, reply } => {
                within(transaction, reply, |c| keys::save_usage_check(c, id, &check))
            }
            Self::MakeSpans { after, reply } => within(transaction, reply, |c| Ok(spans::make(c, after)?)),
            Self::RollUp { step, reply } => within(transaction, reply, |c| Ok(rollup::step(c, step, desk.now)?)),
            Self::Client(command) => command.run(transaction, desk.sealer),
            Self::Flush { reply } => within(transaction, reply, |_| Ok(())),
            #[cfg(test)]
            Self::Panic => panic!("as a test wants it"),
            money => money.run_money(transaction, desk),
        }
    }

    /// The calls about limits and leases.
    fn run_money(self, transaction: &mut Transaction<'_>, desk: &mut Desk<'_>) -> rusqlite::Result<Answer> {
        let Desk { leases, now, first_lookup, .. } = desk;
        let (now, today) = (*now, now.day());
        match self {
            Self::SetLimits { id, limits, reply } => within(transaction, reply, |c| {
                limits::save(c, id, &limits)?;
                keys::audit(c, now, "limits_set", id, Some(&limits::told(&limits)))?;
                Ok(purse::of_key(c, id, leases, today)?)
            }),
            Self::Purse { holder, reply } => within(transaction, reply, |c| {
                purse::caps_of(c, holder)?;
                Ok(purse::of_holder(c, holder, leases, today)?)
            }),
            Self::UseUnbounded { key, reply } => within(transaction, reply, |_| {
                leases.use_unbounded(key);
                Ok(())
            }),
            Self::Draw { ask, reply } => within(transaction, reply, |c| purse::draw(c, leases, &ask)),
            Self::Bury { reply } => {
                within(transaction, reply, |c| Ok(epochs::bury(c, leases.epoch(), now, *first_lookup)?))
            }
            Self::Absolve { key, found, reply } => {
                within(transaction, reply, |c| epochs::absolve(c, key, found.as_ref()))
            }
            Self::Reckon { key, finding, reply } => within(transaction, reply, |c| reckon(c, key, &finding)),
            other => unreachable!("{other:?} is not about limits and leases"),
        }
    }

    /// Whether something was deleted that must not live on in the log.
    pub(super) fn wipes(&self) -> bool {
        matches!(
            self,
            Self::RemoveKey { .. } | Self::Client(ClientCommand::Rotate { .. } | ClientCommand::Revoke { .. })
        )
    }
}

/// Settle, absolve and note the comparison.
fn reckon(connection: &Connection, key: KeyId, finding: &Finding) -> Result<bool, Failed> {
    for (id, found) in &finding.settle {
        if !ledger::settle(connection, *id, found)? {
            return Err(StoreError::NoSuchSuspense(*id).into());
        }
    }
    let absolved = match &finding.recovered {
        Some(recovered) => epochs::absolve(connection, key, Some(recovered))?,
        None => false,
    };
    keys::save_usage_check(connection, key, &finding.check)?;
    Ok(absolved)
}

/// Run `act` whole or not at all.
pub(super) fn within<T: 'static>(
    transaction: &mut Transaction<'_>,
    reply: Reply<T>,
    act: impl FnOnce(&Connection) -> Result<T, Failed>,
) -> rusqlite::Result<Answer> {
    let savepoint = transaction.savepoint()?;
    let result = match act(&savepoint) {
        Ok(value) => {
            savepoint.commit()?;
            Ok(value)
        }
        Err(Failed::Refused(error)) => {
            savepoint.finish()?;
            Err(error)
        }
        Err(Failed::Broken(error)) => {
            drop(reply.send(Err(StoreError::unwritable(&error))));
            return Err(error);
        }
    };
    // Nobody may be waiting any more: the call is carried out all the same.
    Ok(Box::new(move || drop(reply.send(result))))
}
