//! Opening the file, waiting for its locks, interrupting what runs.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hub_plugin_api::{Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags, config::DbConfig, limits::Limit};

use crate::{config::ConnectionConfig, error::map};

/// How long SQLite itself waits for a lock before we look whether the call was cancelled.
const BUSY_SLICE: Duration = Duration::from_millis(200);

/// Opens the file for reading only.
///
/// # Errors
/// [`ErrorKind::NotFound`] when it is not there, [`ErrorKind::InvalidConfig`] when it is no database.
pub fn open_read(config: &ConnectionConfig) -> Result<Connection> {
    if !config.file.exists() {
        return Err(Error::new(ErrorKind::NotFound, format!("There is no file `{}`", config.file.display()))
            .with_field("file")
            .with_hint("Check the path: a relative one starts at the pipeline file's folder, or where a command was started"));
    }
    open(config, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Opens the file for writing, and makes it when it is not there.
///
/// # Errors
/// When it cannot be opened or made, or is no database.
pub fn open_write(config: &ConnectionConfig) -> Result<Connection> {
    let is_new = !config.file.metadata().is_ok_and(|metadata| metadata.len() > 0);
    let connection = open(config, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let doing = "The database file could not be set up";
    if is_new {
        connection
            .pragma_update(None, "journal_mode", &config.journal_mode)
            .map_err(|error| map(doing, error).with_field("file"))?;
    }
    // Commit returns only when the disk has it, in either journal mode.
    connection.pragma_update(None, "synchronous", "full").map_err(|error| map(doing, error))?;
    Ok(connection)
}

fn open(config: &ConnectionConfig, flags: OpenFlags) -> Result<Connection> {
    let failed = |error| {
        map(&format!("The database file `{}` could not be opened", config.file.display()), error)
            .with_field("file")
    };
    let connection =
        Connection::open_with_flags(&config.file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failed)?;
    connection.busy_timeout(BUSY_SLICE.min(config.busy_timeout())).map_err(failed)?;
    // A statement must not reach other files: the hub's own store would be one.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "cache_size", -config.cache_kib).map_err(failed)?;
    // Nothing is read before the first statement: this one finds out whether it is a database at all.
    retry_busy(config.busy_timeout(), &Interrupt::default(), || {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
    })
    .map_err(failed)?;
    Ok(connection)
}

/// Tries again while another connection holds the lock, until the time is up or the call is cancelled.
pub fn retry_busy<T>(
    timeout: Duration,
    interrupt: &Interrupt,
    mut attempt: impl FnMut() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && start.elapsed() < timeout && !interrupt.is_cancelled() => {
                // Some kinds of busy are answered at once, whatever the time-out.
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Makes blocked calls of one reader or writer return.
#[derive(Default)]
pub struct Interrupt {
    cancelled: AtomicBool,
    handle: Mutex<Option<InterruptHandle>>,
}

impl Interrupt {
    /// From now on a cancel reaches this connection too.
    pub fn watch(&self, connection: &Connection) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.get_interrupt_handle());
    }

    /// Refuses what comes.
    pub fn refuse(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    /// Interrupts what runs and refuses what comes.
    pub fn cancel(&self) {
        self.refuse();
        if let Some(handle) = &*self.handle.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Fails once it was cancelled.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`].
    pub fn check(&self) -> Result<()> {
        match self.is_cancelled() {
            true => Err(Error::new(ErrorKind::Cancelled, "The call was cancelled")),
            false => Ok(()),
        }
    }
}

/// What a file looked like when nothing was being written: equal twice, nothing was written between.
pub fn fingerprint(file: &Path) -> String {
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    let part = |path: &Path| {
        let metadata = path.metadata().ok()?;
        let modified = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(format!("{}@{}", metadata.len(), modified.as_nanos()))
    };
    // An empty log is no log: the last reader may or may not have removed it.
    let wal = part(Path::new(&wal)).filter(|text| !text.starts_with("0@"));
    format!("{}+{}", part(file).unwrap_or_default(), wal.unwrap_or_default())
}
