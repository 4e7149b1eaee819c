//! Opening a store: the file, the master key, what is in it, the threads.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, OptionalExtension};

use crate::clients::KeyHasher;
use crate::clock::{Clock, Day};
use crate::pool::KeyId;

use super::connection::Database;
use super::error::StoreError;
use super::leases::Leases;
use super::master_key::{MasterKey, MasterKeyError};
use super::options::StoreOptions;
use super::queue::Queue;
use super::reader::Reader;
use super::record::{Imbalance, ImbalanceKind, Loaded};
use super::reserve::Reserve;
use super::seal::Sealer;
use super::stepped::Stepper;
use super::verify::verify;
use super::writer::{Kept, Writer};
use super::{Shared, Store, Threads, clients, epochs, keys, schema, signing, spenders};

pub(super) fn open(database: Database, options: StoreOptions, clock: &Clock) -> Result<(Store, Loaded), StoreError> {
    let (writer, loaded, hasher) = begin(&database, &options, clock)?;
    let stop = Arc::<AtomicBool>::default();
    let tampered = Tampered::default();
    let check = verifier(&database, &stop, Some(clock.now().day()), tampered.clone(), report_balance)?;
    let (reader, reading) =
        Reader::start(database.reader()?).map_err(|error| StoreError::file(&options.path, &error))?;
    let (queue, failures) = (Arc::clone(&writer.queue), Arc::clone(&writer.failures));
    let writing = thread("store-writer", move || writer.run(), &options)?;
    let threads = Mutex::new(Threads { writer: Some(writing), others: vec![check, reading] });
    let reader = Mutex::new(Some(reader));
    let shared = Shared { queue, failures, clock: clock.clone(), hasher, database, stop, tampered, reader, threads };
    Ok((Store { shared: Arc::new(shared) }, loaded))
}

pub(super) fn open_stepped(
    database: Database,
    options: &StoreOptions,
    clock: &Clock,
) -> Result<(Store, Loaded, Stepper), StoreError> {
    let (writer, loaded, hasher) = begin(&database, options, clock)?;
    let shared = Shared {
        queue: Arc::clone(&writer.queue),
        failures: Arc::clone(&writer.failures),
        clock: clock.clone(),
        hasher,
        reader: Mutex::new(Some(Reader::Here(Arc::new(Mutex::new(database.reader()?))))),
        database,
        stop: Arc::default(),
        tampered: Tampered::default(),
        threads: Mutex::default(),
    };
    Ok((Store { shared: Arc::new(shared) }, loaded, Stepper::new(writer)))
}

/// Everything but the threads.
fn begin(
    database: &Database,
    options: &StoreOptions,
    clock: &Clock,
) -> Result<(Writer, Loaded, KeyHasher), StoreError> {
    database.prepare()?;
    let mut connection = database.writer()?;
    schema::migrate(&mut connection)?;
    let (sealer, hasher) = unlock(&connection, options)?;
    let mut loaded = keys::load(&connection, &sealer, clock.now().day())?;
    loaded.clients = clients::load(&connection)?;
    loaded.client_money = spenders::of_all(&connection, clock.now().day())?;
    loaded.signing_keys = signing::load_or_make(&mut connection, &sealer, clock.now())?;
    // Only now: what cannot be opened must leave nothing behind that somebody would have to look after.
    let epoch = epochs::begin(&connection, clock.now()).map_err(|error| StoreError::unwritable(&error))?;
    let mut writer = Writer {
        queue: Arc::new(Queue::new(options.queue_max_entries)),
        failures: Arc::default(),
        database: database.clone(),
        sealer,
        leases: Leases::new(epoch),
        clock: clock.clone(),
        connection: Some(connection),
        commit_gather: options.commit_gather,
        first_lookup: options.first_lookup,
        close_patience: options.close_patience,
        kept: Kept::default(),
        reserve: Reserve::new(options.path.with_extension("reserve"), options.reserve_bytes),
        fault: None,
    };
    writer.keep_reserve();
    Ok((writer, loaded, hasher))
}

fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
    options: &StoreOptions,
) -> Result<JoinHandle<T>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| StoreError::file(&options.path, &error))
}

/// Stands for all time in the hashes that are stored.
const HASHER_PURPOSE: &str = "potluck client keys";

const READ_CHECK: &str = "SELECT value FROM meta WHERE name = 'master_key_check'";

/// Find the master key and prove it on the check value; a new database gets one. Keys are only ever sealed with a key
/// that has opened it.
fn unlock(connection: &Connection, options: &StoreOptions) -> Result<(Sealer, KeyHasher), StoreError> {
    let file = &options.master_key_file;
    let check =
        |connection: &Connection| connection.query_row(READ_CHECK, [], |row| row.get::<_, Vec<u8>>(0)).optional();
    let found = MasterKey::find(options.master_key.as_ref(), file)?;
    let (key, value) = match (check(connection)?, found) {
        (Some(value), Some(key)) => (key, value),
        (Some(_), None) => return Err(MasterKeyError::Missing { path: file.clone() }.into()),
        (None, _) if keys::any(connection)? => {
            return Err(StoreError::damaged("there are keys, but no value to check the master key on"));
        }
        (None, found) => {
            let key = match found {
                Some(key) => key,
                None => MasterKey::create(file)?,
            };
            connection
                .execute(
                    "INSERT INTO meta (name, value) VALUES ('master_key_check', ?1) ON CONFLICT (name) DO NOTHING",
                    (Sealer::new(&key).seal_check()?,),
                )
                .map_err(|error| StoreError::unwritable(&error))?;
            // Read again: another process may have been quicker.
            let value = check(connection)?.ok_or_else(|| StoreError::damaged("the check value is gone"))?;
            (key, value)
        }
    };
    let sealer = Sealer::new(&key);
    if !sealer.opens_check(&value) {
        return Err(MasterKeyError::Wrong { origin: key.origin().to_owned() }.into());
    }
    Ok((sealer, KeyHasher::new(key.derive(HASHER_PURPOSE).expose())))
}

/// Keys whose ledger lines or sums somebody has changed, as far as any check has found.
#[derive(Clone, Debug, Default)]
pub(super) struct Tampered(Arc<Mutex<BTreeSet<KeyId>>>);

impl Tampered {
    pub(super) fn keys(&self) -> Vec<KeyId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    fn learn(&self, found: &[Imbalance]) {
        let unsound = found.iter().filter_map(Imbalance::unsound_key);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(unsound);
    }
}

/// Start a check of the books on a thread of its own.
pub(super) fn verifier(
    database: &Database,
    stop: &Arc<AtomicBool>,
    day: Option<Day>,
    tampered: Tampered,
    report: impl FnOnce(Result<Vec<Imbalance>, StoreError>) + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let connection = database.reader()?;
    let stop = Arc::clone(stop);
    let work = move || {
        let checked = verify(&connection, day, &stop);
        if let Ok(found) = &checked {
            tampered.learn(found);
        }
        report(checked);
    };
    let thread = std::thread::Builder::new().name("store-verify".into()).spawn(work);
    thread.map_err(|error| StoreError::Unreadable(error.to_string().into()))
}

fn report_balance(checked: Result<Vec<Imbalance>, StoreError>) {
    match checked {
        Ok(found) => found.iter().for_each(report_imbalance),
        Err(StoreError::Closed) => {}
        Err(error) => tracing::error!(%error, "the books of this day could not be checked"),
    }
}

fn report_imbalance(found: &Imbalance) {
    let Imbalance { kind, day, key, recorded, recomputed } = found;
    let day = day.map(|day| day.to_string());
    match kind {
        ImbalanceKind::Sum => {
            tracing::error!(day, %key, %recorded, %recomputed, "the books of this day do not balance")
        }
        ImbalanceKind::Models => {
            tracing::error!(day, %key, %recorded, %recomputed, "the sums by model of this day do not balance");
        }
        ImbalanceKind::Clients => {
            tracing::error!(day, %recorded, %recomputed, "the sums by client of this day do not balance");
        }
        ImbalanceKind::Chain { line } => {
            tracing::error!(%key, line, "somebody has changed this key's lines of the ledger");
        }
    }
}
