use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hub_plugin_api::{Error, ErrorKind, Result};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{Paths, schema::MIGRATIONS};

/// How long a write waits for one of another hub.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The hub's own database. Only the process that the user started writes it; every write is durable on return.
pub struct Store {
    connection: Mutex<Connection>,
    directory: PathBuf,
}

impl Store {
    /// Opens the store of a data directory, and makes or upgrades it when needed.
    ///
    /// # Errors
    /// When the directory cannot be made, or the file is not a store or of a newer hub.
    pub fn open(paths: &Paths) -> Result<Self> {
        create_private_dir(&paths.data)?;
        let file = paths.store_file();
        let describe = |error: rusqlite::Error| failed("opened", &error).with_context("file", file.display());
        let mut connection = Connection::open(&file).map_err(describe)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(describe)?;
        use_wal(&connection).map_err(describe)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(describe)?;
        connection.set_prepared_statement_cache_capacity(64);
        migrate(&mut connection, &file)?;
        Ok(Self { connection: Mutex::new(connection), directory: paths.data.clone() })
    }

    /// The directory of the store and its locks.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic between begin and commit rolled back: the connection itself is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.lock()).map_err(|error| failed("read", &error))
    }

    pub(super) fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let mut connection = self.lock();
        let run = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(|error| failed("written", &error))
    }
}

fn create_private_dir(directory: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| {
        Error::new(ErrorKind::PermissionDenied, "The hub's data directory cannot be made")
            .with_source(&error)
            .with_context("directory", directory.display())
            .with_hint(format!("Set `{}` to a directory that can be written", super::HOME_VARIABLE))
    })
}

/// Of several hubs that make the store at the same moment only one can change its journal, and SQLite itself does not
/// have the others wait for that.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && Instant::now() < until =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

fn migrate(connection: &mut Connection, file: &Path) -> Result<()> {
    let describe = |error: rusqlite::Error| failed("upgraded", &error).with_context("file", file.display());
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(describe)?;
    let found: usize =
        transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(describe)?;
    if found > MIGRATIONS.len() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("The store has version {found}, this hub knows versions up to {}", MIGRATIONS.len()),
        )
        .with_context("file", file.display())
        .with_hint("Use the newer hub that wrote it, or another data directory"));
    }
    for migration in &MIGRATIONS[found..] {
        transaction.execute_batch(migration).map_err(describe)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(describe)?;
    transaction.commit().map_err(describe)
}

pub(super) fn failed(what: &str, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DiskFull) => ErrorKind::ResourceExhausted,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ErrorKind::PermissionDenied
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ErrorKind::InvalidData,
        _ => ErrorKind::Internal,
    };
    let result = Error::new(kind, format!("The hub's store could not be {what}")).with_source(error);
    match kind {
        ErrorKind::PermissionDenied => result.with_hint(format!(
            "Let the user that runs the hub write the folder and its files, or set `{}` to another one",
            super::HOME_VARIABLE
        )),
        ErrorKind::ResourceExhausted => result.with_hint(format!(
            "Make room where the store is, or set `{}` to another folder",
            super::HOME_VARIABLE
        )),
        _ => result,
    }
}

/// Microseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubs_that_make_the_store_at_the_same_moment_wait_for_each_other() {
        for _ in 0..10 {
            let home = tempfile::tempdir().unwrap();
            let paths = Paths::below(home.path());
            thread::scope(|scope| {
                let opened: Vec<_> = (0..6).map(|_| scope.spawn(|| Store::open(&paths).map(drop))).collect();
                opened.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
        }
    }

    #[test]
    fn store_of_a_newer_hub_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::below(home.path());
        drop(Store::open(&paths).unwrap());
        Connection::open(paths.store_file()).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Store::open(&paths).err().unwrap();
        assert!(error.message.starts_with("The store has version 99"), "{error}");
    }

    #[test]
    fn file_that_is_no_store_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::below(home.path());
        fs::create_dir_all(&paths.data).unwrap();
        fs::write(
            paths.store_file(),
            "not a database, but long enough to have a header of one hundred bytes".repeat(9),
        )
        .unwrap();
        assert_eq!(Store::open(&paths).err().unwrap().kind, ErrorKind::InvalidData);
    }
}
