//! Opening a store: the file, the master key, what is in it, the threads.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::{Connection, OptionalExtension};

use crate::clock::{Clock, Day};

use super::connection::Database;
use super::error::StoreError;
use super::master_key::{MasterKey, MasterKeyError};
use super::options::StoreOptions;
use super::queue::Queue;
use super::reader::{Reader, at_one_moment};
use super::record::{Imbalance, Loaded};
use super::seal::Sealer;
use super::verify::verify;
use super::writer::{Kept, Writer};
use super::{Shared, Store, Threads, keys, schema};

pub(super) fn open(database: Database, options: StoreOptions, clock: &Clock) -> Result<(Store, Loaded), StoreError> {
    database.prepare()?;
    let mut connection = database.writer()?;
    schema::migrate(&mut connection)?;
    let sealer = unlock(&connection, &options)?;
    let loaded = keys::load(&connection, &sealer)?;
    let queue = Arc::new(Queue::new(options.queue_max_entries));
    let stop = Arc::<AtomicBool>::default();
    let check = verifier(&database, &stop, Some(clock.now().day()), report_balance)?;
    let (reader, reading) =
        Reader::start(database.reader()?).map_err(|error| StoreError::file(&options.path, &error))?;
    let failures = Arc::<AtomicU64>::default();
    let writer = Writer {
        queue: Arc::clone(&queue),
        failures: Arc::clone(&failures),
        database: database.clone(),
        sealer,
        connection: Some(connection),
        commit_gather: options.commit_gather,
        first_lookup: options.first_lookup,
        close_patience: options.close_patience,
        kept: Kept::default(),
    };
    let writing = thread("store-writer", move || writer.run(), &options)?;
    let threads = Threads { writer: Some(writing), others: vec![check, reading] };
    let shared = Shared {
        queue,
        failures,
        clock: clock.clone(),
        database,
        stop,
        reader: Mutex::new(Some(reader)),
        threads: Mutex::new(threads),
    };
    Ok((Store { shared: Arc::new(shared) }, loaded))
}

fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
    options: &StoreOptions,
) -> Result<JoinHandle<T>, StoreError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| StoreError::file(&options.path, &error))
}

const READ_CHECK: &str = "SELECT value FROM meta WHERE name = 'master_key_check'";

/// Find the master key and prove it on the check value; a new database gets one. Keys are only ever sealed with a key
/// that has opened it.
fn unlock(connection: &Connection, options: &StoreOptions) -> Result<Sealer, StoreError> {
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
    Ok(sealer)
}

/// Start a check of the sums on a thread of its own.
pub(super) fn verifier(
    database: &Database,
    stop: &Arc<AtomicBool>,
    day: Option<Day>,
    report: impl FnOnce(Result<Vec<Imbalance>, StoreError>) + Send + 'static,
) -> Result<JoinHandle<()>, StoreError> {
    let mut connection = database.reader()?;
    let stop = Arc::clone(stop);
    let work = move || report(at_one_moment(&mut connection, |connection| verify(connection, day, &stop)));
    let thread = std::thread::Builder::new().name("store-verify".into()).spawn(work);
    thread.map_err(|error| StoreError::Unreadable(error.to_string().into()))
}

fn report_balance(checked: Result<Vec<Imbalance>, StoreError>) {
    match checked {
        Ok(found) => {
            for Imbalance { day, key, recorded, recomputed } in found {
                let day = day.map(|day| day.to_string());
                tracing::error!(day, %key, %recorded, %recomputed, "the books of this day do not balance");
            }
        }
        Err(StoreError::Closed) => {}
        Err(error) => tracing::error!(%error, "the books of this day could not be checked"),
    }
}
