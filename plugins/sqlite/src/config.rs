use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hub_plugin_api::{Config, Context, Error, Result};
use serde::Deserialize;

/// The parameters of a connection.
#[derive(Clone, Debug, Deserialize)]
pub struct ConnectionConfig {
    /// Path of the database file.
    pub file: PathBuf,
    /// Milliseconds to wait for another connection's lock. Default 30,000.
    #[serde(default = "default_busy_timeout_ms")]
    pub busy_timeout_ms: u64,
    /// KiB of pages that each reader and writer keeps. Default 16,384.
    #[serde(default = "default_cache_kib")]
    pub cache_kib: i64,
    /// Journal of a file that a writer creates: `wal` or `delete`. A file that is there keeps its own. Default `wal`.
    #[serde(default = "default_journal_mode")]
    pub journal_mode: String,
    /// Whether statements of queries may change data. The host's to say, not a parameter.
    #[serde(skip)]
    pub queries_may_write: bool,
}

/// Default of `busy_timeout_ms`: longer than the usual time between two commits of another lane.
pub const BUSY_TIMEOUT_MS: u64 = 30_000;
/// Default of `cache_kib`.
pub const CACHE_KIB: i64 = 16_384;
/// Default of `journal_mode`: readers go on while a writer commits.
pub const JOURNAL_MODE: &str = "wal";

fn default_busy_timeout_ms() -> u64 {
    BUSY_TIMEOUT_MS
}

fn default_cache_kib() -> i64 {
    CACHE_KIB
}

fn default_journal_mode() -> String {
    JOURNAL_MODE.into()
}

impl ConnectionConfig {
    /// Reads the parameters and refuses what is no database file of the user's.
    pub fn new(config: &Config, context: &Context) -> Result<Self> {
        let file = config.required_text("file")?;
        if file == ":memory:" || file.starts_with("file:") {
            return Err(Error::config("file", format!("`{file}` is not the path of a file"))
                .with_hint(
                    "A database in memory ends with its connection, and every reader and writer has its own: give a path",
                ));
        }
        let parsed = Self { queries_may_write: context.queries_may_write(), ..config.parse()? };
        if parsed.file.is_dir() {
            return Err(Error::config("file", format!("`{file}` is a directory"))
                .with_hint("Give the path of a file in it"));
        }
        parsed.refuse_reserved(&context.host().reserved_files())?;
        Ok(parsed)
    }

    /// How long to wait for a lock.
    pub fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout_ms)
    }

    /// The path without links and relative parts; of a file that is not there, its directory's with its name.
    pub fn canonical(&self) -> PathBuf {
        canonical(&self.file)
    }

    /// The host has SQLite of its own in this process, and POSIX locks belong to the process: closing one
    /// copy's descriptor drops the other copy's locks, so both could write at once and break the file.
    fn refuse_reserved(&self, reserved: &[PathBuf]) -> Result<()> {
        let path = self.canonical();
        match reserved.iter().any(|other| canonical(other) == path || same_file(other, &path)) {
            false => Ok(()),
            true => Err(Error::config("file", format!("`{}` is the hub's own store", self.file.display()))
                .with_hint(
                    "Give another file: two copies of SQLite in one process break each other's locks",
                )),
        }
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match (parent.canonicalize(), path.file_name()) {
            (Ok(parent), Some(name)) => parent.join(name),
            _ => path.to_owned(),
        }
    })
}

/// Whether two paths are one file: hard links too.
#[cfg(unix)]
fn same_file(left: &Path, right: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((id(left), id(right)), (Some(left), Some(right)) if left == right)
}

#[cfg(not(unix))]
fn same_file(_: &Path, _: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_link_to_the_hubs_store_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (store, link) = (directory.path().join("store.db"), directory.path().join("link.db"));
        std::fs::write(&store, "").unwrap();
        std::fs::hard_link(&store, &link).unwrap();
        let config = |file: &Path| {
            Config::new().with("file", file.to_str().unwrap()).parse::<ConnectionConfig>().unwrap()
        };
        for file in [&store, &link, &directory.path().join("./store.db")] {
            let error = config(file).refuse_reserved(std::slice::from_ref(&store)).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("file"));
        }
        assert!(config(&directory.path().join("other.db")).refuse_reserved(&[store]).is_ok());
    }
}
