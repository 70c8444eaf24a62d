use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::{Config, Connector, Error, Result, Statement, StreamId, types::Column};

/// A connector and its surroundings, as its author knows them. The suite never talks to the server itself.
///
/// Defaults are for what a connector cannot do. A rule does not apply when the manifest has no strategy of its role;
/// with one, a hook that is left at its default breaks the rule.
pub trait Subject: Send + Sync + 'static {
    /// The connector.
    fn connector(&self) -> Arc<dyn Connector>;

    /// A connection's parameters that work, without passwords.
    fn config(&self) -> Config;

    /// The passwords that work, by parameter id.
    fn secrets(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Configs that do not work, at least one.
    fn broken(&self) -> Vec<Broken>;

    /// Makes a table with these rows at the source, in the connector's own way, and says how all of it is read. A table
    /// of this name that is already there is replaced.
    ///
    /// # Errors
    /// When the table cannot be made.
    fn source(&self, _table: &Table) -> Result<Source> {
        Err(Error::unsupported("`Subject::source`"))
    }

    /// How to read something that answers nothing for ten seconds or more, for the rule on cancelling.
    ///
    /// # Errors
    /// The default says why there is none; the suite then cancels between calls.
    fn blocked_source(&self) -> Result<Source> {
        Err(Error::unsupported("`Subject::blocked_source`"))
    }

    /// How the rows of a table are written to a place of its own, which is empty or not there yet, and is made as
    /// needed: mode `append`, where there are modes.
    ///
    /// # Errors
    /// When the place cannot be made ready.
    fn destination(&self, _table: &Table) -> Result<Destination> {
        Err(Error::unsupported("`Subject::destination`"))
    }

    /// How the rows behind the [`Subject::destination`] of a table are read. The columns must have the table's names.
    ///
    /// # Errors
    /// When that cannot be told.
    fn read_back(&self, _table: &Table) -> Result<ReadBack> {
        Err(Error::unsupported("`Subject::read_back`"))
    }

    /// A table and a destination that refuses some of its rows for their data, and accepts the others.
    ///
    /// # Errors
    /// The default says that the destination never refuses a row; the rule does not apply then.
    fn rejecting(&self) -> Result<Rejecting> {
        Err(Error::unsupported("`Subject::rejecting`"))
    }
}

/// A table that the suite makes up. Its first column is `id`: Int64, NOT NULL, the key.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name, to be used as it is.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: RecordBatch,
}

/// A config that does not work, and how the connection test must say so.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What is wrong with it, for the report.
    pub what: String,
    /// The parameters, without passwords.
    pub config: Config,
    /// The passwords.
    pub secrets: Vec<(String, String)>,
    /// The step that must fail; those before it pass.
    pub step: String,
    /// The parameter that must be named.
    pub field: String,
}

impl Broken {
    /// A config that fails in a step because of a parameter.
    pub fn new(
        what: impl Into<String>,
        config: Config,
        step: impl Into<String>,
        field: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), config, secrets: Vec::new(), step: step.into(), field: field.into() }
    }

    /// The same config with a password.
    #[must_use]
    pub fn with_secret(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.secrets.push((id.into(), secret.into()));
        self
    }
}

/// How a table is read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The strategy's id.
    pub strategy: String,
    /// Its options.
    pub options: Config,
    /// Why its boundaries have no positions, if they have none.
    pub without_positions: Option<String>,
}

impl Source {
    /// A table read by a strategy, whose boundaries have positions.
    pub fn new(strategy: impl Into<String>, options: Config) -> Self {
        Self { strategy: strategy.into(), options, without_positions: None }
    }

    /// The same, without positions, for a reason: an interrupted split is read again from its beginning.
    #[must_use]
    pub fn without_positions(mut self, reason: impl Into<String>) -> Self {
        self.without_positions = Some(reason.into());
        self
    }
}

/// How a table is written.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The strategy's id.
    pub strategy: String,
    /// Its options.
    pub options: Config,
    /// The stream whose rows go there.
    pub stream: StreamId,
}

impl Destination {
    /// A table written by a strategy.
    pub fn new(strategy: impl Into<String>, options: Config, stream: StreamId) -> Self {
        Self { strategy: strategy.into(), options, stream }
    }
}

/// How written rows are read.
#[derive(Clone, Debug)]
pub enum ReadBack {
    /// By [`crate::Connection::query`].
    Query(Statement),
    /// By a strategy that reads.
    Source(Source),
    /// By the subject itself: these are the rows.
    Rows(Vec<RecordBatch>),
}

/// A destination that refuses some rows.
#[derive(Clone, Debug)]
pub struct Rejecting {
    /// What is written.
    pub table: Table,
    /// Where to.
    pub destination: Destination,
    /// The rows that must be refused, counted from 0, ascending.
    pub refused: Vec<u64>,
}
