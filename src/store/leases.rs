//! What this process has leased, as far as its users have been told.
//!
//! The file's rows of this epoch are this process's alone, so they are set rather than added to: should a transaction that
//! is believed to have failed have reached the disk after all, the next one puts right what it left there. A draw whose
//! commit failed was not granted, whatever the disk says.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use rusqlite::Connection;

use crate::money::Usd;
use crate::pool::KeyId;

use super::record::Holder;
use super::{column, epochs};

/// What this process has leased of keys' caps and clients' budgets.
#[derive(Debug)]
pub(super) struct Leases {
    epoch: i64,
    /// As of the last commit.
    durable: HashMap<Holder, Lease>,
    /// As of the transaction under way.
    changed: HashMap<Holder, Lease>,
    /// Rows that a failed transaction may have written.
    doubtful: HashSet<Holder>,
    /// This process was declared dead, and that was told.
    dead: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lease {
    amount: Usd,
    /// The key was used without holds.
    unbounded: bool,
}

impl Leases {
    pub(super) fn new(epoch: i64) -> Self {
        Self { epoch, durable: HashMap::new(), changed: HashMap::new(), doubtful: HashSet::new(), dead: false }
    }

    /// The opening of the store they belong to.
    pub(super) fn epoch(&self) -> i64 {
        self.epoch
    }

    fn lease(&self, holder: Holder) -> Lease {
        self.changed.get(&holder).or_else(|| self.durable.get(&holder)).copied().unwrap_or_default()
    }

    /// What is leased of a holder's money.
    pub(super) fn of(&self, holder: impl Into<Holder>) -> Usd {
        self.lease(holder.into()).amount
    }

    /// More is leased.
    pub(super) fn grant(&mut self, holder: impl Into<Holder>, amount: Usd) {
        let holder = holder.into();
        if amount > Usd::ZERO {
            let lease = self.lease(holder);
            self.changed.insert(holder, Lease { amount: lease.amount.saturating_add(amount), ..lease });
        }
    }

    /// Something else stands in the place of what was leased, or it is given back.
    pub(super) fn take_off(&mut self, holder: impl Into<Holder>, amount: Usd) {
        let holder = holder.into();
        if amount <= Usd::ZERO {
            return;
        }
        let less = |lease: Lease| {
            let left = lease.amount.checked_sub(amount).unwrap_or_default().max(Usd::ZERO);
            Lease { amount: left, ..lease }
        };
        // Many of a transaction's lines have the same holder.
        if let Some(lease) = self.changed.get_mut(&holder) {
            *lease = less(*lease);
        } else if let Some(lease) = self.durable.get(&holder).filter(|lease| lease.amount > Usd::ZERO) {
            self.changed.insert(holder, less(*lease));
        }
    }

    /// The key is used without holds.
    pub(super) fn use_unbounded(&mut self, key: KeyId) {
        let holder = Holder::Key(key);
        self.changed.insert(holder, Lease { unbounded: true, ..self.lease(holder) });
    }

    /// Write what has changed into the transaction under way. A process that was declared dead changes nothing: what it had
    /// leased counts as spent until somebody has found out what it spent.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.changed.is_empty() && self.doubtful.is_empty() {
            return Ok(());
        }
        if !epochs::is_alive(connection, self.epoch)? {
            if !std::mem::replace(&mut self.dead, true) {
                tracing::error!("another process took over while this one worked: it can lease nothing any more");
            }
            return Ok(());
        }
        let doubtful = self.doubtful.iter().filter(|holder| !self.changed.contains_key(*holder));
        for holder in self.changed.keys().chain(doubtful) {
            self.lease(*holder).write(connection, *holder, self.epoch)?;
        }
        Ok(())
    }

    /// The transaction is durable.
    pub(super) fn committed(&mut self) {
        self.durable.extend(self.changed.drain());
        self.doubtful.clear();
    }

    /// The transaction failed.
    pub(super) fn failed(&mut self) {
        self.doubtful.extend(self.changed.drain().map(|(holder, _)| holder));
    }
}

impl Lease {
    fn write(self, connection: &Connection, holder: Holder, epoch: i64) -> rusqlite::Result<()> {
        let amount = self.amount.as_pico();
        match holder {
            Holder::Key(key) => connection
                .prepare_cached(
                    "INSERT INTO leases (key, epoch, amount, unbounded) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (key, epoch) DO UPDATE SET amount = excluded.amount, unbounded = excluded.unbounded",
                )?
                .execute((key.0, epoch, amount, self.unbounded)),
            Holder::Spender(spender) => connection
                .prepare_cached(
                    "INSERT INTO client_leases (client, user, epoch, amount) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (client, user, epoch) DO UPDATE SET amount = excluded.amount",
                )?
                .execute((spender.client.0, column::user(spender), epoch, amount)),
        }
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const KEYS: [KeyId; 2] = [KeyId(1), KeyId(2)];

    fn with_epoch() -> (Connection, Leases) {
        let mut connection = Connection::open_in_memory().expect("memory");
        crate::store::schema::migrate(&mut connection).expect("migrated");
        let epoch = epochs::begin(&connection, Timestamp::from_millis(0)).expect("begun");
        (connection, Leases::new(epoch))
    }

    fn rows(connection: &Connection) -> Vec<(u32, i64, bool)> {
        let mut rows = connection.prepare("SELECT key, amount, unbounded FROM leases ORDER BY key").expect("there");
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .and_then(Iterator::collect)
            .expect("readable")
    }

    fn usd(pico: i64) -> Usd {
        Usd::from_pico(pico)
    }

    #[test]
    fn a_commit_that_seemed_to_fail_and_did_not_is_put_right() {
        let (connection, mut leases) = with_epoch();
        leases.grant(KEYS[0], usd(100));
        leases.use_unbounded(KEYS[0]);
        leases.write(&connection).expect("written");
        leases.committed();
        // This one reaches the disk, and yet whoever asked hears that it failed.
        leases.take_off(KEYS[0], usd(30));
        leases.grant(KEYS[1], usd(7));
        leases.write(&connection).expect("written");
        assert_eq!(rows(&connection), [(1, 70, true), (2, 7, false)]);
        leases.failed();
        assert_eq!((leases.of(KEYS[0]), leases.of(KEYS[1])), (usd(100), Usd::ZERO));
        // What was to be written is tried again, and it counts once; the draw is not.
        leases.take_off(KEYS[0], usd(30));
        leases.write(&connection).expect("written");
        leases.committed();
        assert_eq!(rows(&connection), [(1, 70, true), (2, 0, false)]);
        assert_eq!((leases.of(KEYS[0]), leases.of(KEYS[1])), (usd(70), Usd::ZERO));
    }

    #[test]
    fn a_lease_is_never_below_nothing_nor_beyond_what_can_be_counted() {
        let (connection, mut leases) = with_epoch();
        leases.grant(KEYS[0], usd(i64::MAX));
        leases.grant(KEYS[0], usd(i64::MAX));
        leases.take_off(KEYS[0], usd(-5));
        assert_eq!(leases.of(KEYS[0]), usd(i64::MAX));
        leases.take_off(KEYS[0], usd(i64::MAX));
        leases.take_off(KEYS[0], usd(1));
        assert_eq!(leases.of(KEYS[0]), Usd::ZERO);
        leases.write(&connection).expect("written");
        assert_eq!(rows(&connection), [(1, 0, false)]);
    }
}
