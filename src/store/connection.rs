//! Connections to the file, and the file's own protection.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;

/// During a hot upgrade two processes write to one file in turn. Each turn is milliseconds; this is for a slow disk.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// All statements of the store, prepared once per connection.
const STATEMENTS: usize = 64;
/// After a burst the log is cut back to this.
const WAL_KEPT_BYTES: i64 = 16 << 20;

/// Where the file is, and what its connections have in common.
#[derive(Clone, Debug)]
pub(super) struct Database {
    path: PathBuf,
    /// Tests let the disk run full with this: the most pages the file may have, 0 for no limit.
    #[cfg(test)]
    pub(super) pages_max: std::sync::Arc<std::sync::atomic::AtomicU32>,
    /// Tests shorten the wait.
    #[cfg(test)]
    pub(super) busy_timeout: Duration,
}

impl Database {
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            #[cfg(test)]
            pages_max: std::sync::Arc::default(),
            #[cfg(test)]
            busy_timeout: BUSY_TIMEOUT,
        }
    }

    /// Make the file and its directory, for the owner only. A file that others may read is closed to them: what is in
    /// it is sealed, but whom the keys belong to is nobody's business either.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let fault = |error: std::io::Error| StoreError::file(&self.path, &error);
        super::master_key::prepare_directory(&self.path).map_err(fault)?;
        // An existing file is not opened here: closing it would drop the locks of this process's own connections.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path) {
            Ok(file) => {
                file.sync_all().map_err(fault)?;
                File::open(super::master_key::parent(&self.path)).and_then(|dir| dir.sync_all()).map_err(fault)?;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fault(error)),
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            match fs::set_permissions(&path, Permissions::from_mode(0o600)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(fault(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// A connection that writes. Commits are on the disk when they return.
    pub(super) fn writer(&self) -> Result<Connection, StoreError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(StoreError::NoWal { path: self.path.clone(), mode });
        }
        connection.execute_batch(
            "PRAGMA synchronous = FULL;
             PRAGMA secure_delete = ON;
             PRAGMA foreign_keys = ON;
             PRAGMA recursive_triggers = ON;",
        )?;
        connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
        #[cfg(test)]
        match self.pages_max.load(std::sync::atomic::Ordering::SeqCst) {
            0 => {}
            pages => connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?,
        }
        Ok(connection)
    }

    /// A connection that cannot write.
    pub(super) fn reader(&self) -> Result<Connection, StoreError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.execute_batch("PRAGMA query_only = ON;")?;
        Ok(connection)
    }

    fn connect(&self, access: OpenFlags) -> Result<Connection, StoreError> {
        // No SQLITE_OPEN_URI: a path is a path, whatever is in it. Each connection stays on one thread.
        let connection = Connection::open_with_flags(&self.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(self.patience())?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // Nothing of the database in temporary files; nothing in the file is trusted to be harmless.
        connection.execute_batch(
            "PRAGMA temp_store = MEMORY;
             PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON;",
        )?;
        Ok(connection)
    }

    #[cfg(not(test))]
    fn patience(&self) -> Duration {
        BUSY_TIMEOUT
    }

    #[cfg(test)]
    fn patience(&self) -> Duration {
        self.busy_timeout
    }
}

/// Move the log into the file and empty it, so that nothing deleted lives on in it. `false` when somebody was reading
/// just then: to be tried again.
pub(super) fn empty_log(connection: &Connection) -> rusqlite::Result<bool> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}
