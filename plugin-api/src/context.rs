use std::{fmt, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Result, Secret};

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something works, but not as it should.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Per batch, never per row.
    Trace,
}

/// A line for the host's log. Never values of cells, never secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// How important.
    pub level: Level,
    /// The module.
    pub target: String,
    /// One sentence.
    pub message: String,
    /// Names and values.
    #[serde(default)]
    pub fields: Map<String, Value>,
}

/// A measurement: lag, retained WAL …
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// With its unit at the end: `lag_ms`, `retained_wal_bytes`.
    pub name: String,
    /// Its value now.
    pub value: f64,
}

/// A private directory for what does not fit into memory. Removed by the host when the pipeline stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spill {
    /// An empty directory of the caller's own.
    pub directory: PathBuf,
    /// The most bytes that may lie in it.
    pub quota_bytes: u64,
}

/// What the host does for a plugin. Every call may come from any thread and outlive the connection.
pub trait HostContext: Send + Sync {
    /// Takes a line for the log.
    fn log(&self, record: LogRecord);

    /// The least important level that is kept.
    fn log_level(&self) -> Level;

    /// Takes a measurement.
    fn metric(&self, metric: Metric);

    /// The secret of a password parameter, if the user gave one.
    ///
    /// # Errors
    /// When the secret's store cannot be read.
    fn secret(&self, id: &str) -> Result<Option<Secret>>;

    /// Reads a named blob of this pipeline.
    ///
    /// # Errors
    /// When the host's store cannot be read.
    fn state_get(&self, name: &str) -> Result<Option<String>>;

    /// Stores a named blob of this pipeline, or removes it; durable on return.
    ///
    /// # Errors
    /// When the host's store cannot be written.
    fn state_put(&self, name: &str, blob: Option<&str>) -> Result<()>;

    /// The names of this pipeline's blobs, sorted.
    ///
    /// # Errors
    /// When the host's store cannot be read.
    fn state_list(&self) -> Result<Vec<String>>;

    /// Makes a private directory with a quota.
    ///
    /// # Errors
    /// When no directory can be made.
    fn spill(&self) -> Result<Spill>;

    /// Files that are the host's own: a connector to files must not open them.
    fn reserved_files(&self) -> Vec<PathBuf>;

    /// Whether the statements of [`crate::Connection::query`] may change data: only where the user granted it.
    fn queries_may_write(&self) -> bool {
        false
    }
}

/// The host's side, as a plugin sees it. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<dyn HostContext>);

impl Context {
    /// Wraps the host's side.
    pub fn new(host: Arc<dyn HostContext>) -> Self {
        Self(host)
    }

    /// The host's side itself.
    pub fn host(&self) -> &Arc<dyn HostContext> {
        &self.0
    }

    /// Whether a line of this level is kept.
    pub fn enabled(&self, level: Level) -> bool {
        level <= self.0.log_level()
    }

    /// Writes a line into the host's log.
    pub fn log(&self, level: Level, target: &str, message: impl Into<String>) {
        if self.enabled(level) {
            let (target, message) = (target.to_owned(), message.into());
            self.0.log(LogRecord { level, target, message, fields: Map::new() });
        }
    }

    /// Reports a measurement.
    pub fn metric(&self, name: &str, value: f64) {
        self.0.metric(Metric { name: name.to_owned(), value });
    }

    /// Whether the statements of [`crate::Connection::query`] may change data: only where the user granted it. Without
    /// the grant a query's session is read-only, where the server has such sessions.
    pub fn queries_may_write(&self) -> bool {
        self.0.queries_may_write()
    }

    /// The secret of a password parameter, if the user gave one.
    ///
    /// # Errors
    /// When the secret's store cannot be read.
    pub fn secret(&self, id: &str) -> Result<Option<Secret>> {
        self.0.secret(id)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Context")
    }
}
