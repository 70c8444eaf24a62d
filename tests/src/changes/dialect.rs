use std::fmt;

/// Rows of a query, every value as text.
pub type Rows = Vec<Vec<Option<String>>>;

/// Why a statement did not go through.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In the driver's words.
    pub message: String,
    /// The session or the server went, rather than the statement being wrong.
    pub is_lost: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// A database that sessions are opened on, as often as faults make it necessary.
pub trait Store: Send + Sync {
    /// Opens a session.
    ///
    /// # Errors
    /// When the server is not there.
    fn open(&self) -> Result<Box<dyn Session>, Failure>;

    /// How its SQL is spoken.
    fn dialect(&self) -> &dyn Dialect;
}

/// A session.
pub trait Session: Send {
    /// Runs statements, one after another, and returns the rows of the last that gives any.
    ///
    /// # Errors
    /// When one fails.
    fn run(&mut self, sql: &str) -> Result<Rows, Failure>;
}

/// What servers say differently. Names are small letters only, and need no quotes.
pub trait Dialect: Send + Sync {
    /// Makes a table of the workload: `id` its key, `version` and `filling` whole numbers, `words` a short text,
    /// `large` a text that is stored apart from its row where the server does so.
    fn create_table(&self, name: &str) -> String;

    /// Makes the ledger: `tx` its key, then text `state` and whole number `changes`.
    fn create_ledger(&self, name: &str) -> String;

    /// An expression: a text of some thousand characters, another one for every number, that does not shrink much.
    fn large_text(&self, number: u64) -> String;

    /// A whole transaction of statements that change rows only, which may be begun and ended in any way that the server
    /// knows.
    fn transaction(&self, _tx: u64, statements: &str) -> String {
        format!("begin; {statements}; commit")
    }

    /// Commits what a lost session left of transaction `tx`, where that may be decided by another one; fails where
    /// nothing is left.
    fn decide(&self, _tx: u64) -> Option<String> {
        None
    }

    /// Begins a transaction that sees one state of the database.
    fn begin_snapshot(&self) -> &'static str;

    /// What comes right behind the beginning of a snapshot, where an emptied table looks empty to older snapshots too:
    /// the tables are held, so that none is emptied between the snapshot and the last look.
    fn hold(&self, _tables: &[String]) -> Option<String> {
        None
    }

    /// Adds a column with whole numbers.
    fn add_column(&self, table: &str, column: &str) -> String;

    /// Takes a column away.
    fn drop_column(&self, table: &str, column: &str) -> String;

    /// Empties a table.
    fn truncate(&self, table: &str) -> String;

    /// How many changes that is, of a table with so many rows.
    fn changes_of_truncate(&self, _rows: u64) -> u64 {
        1
    }

    /// A query with one row: the state of a table as [`super::TableState`] writes it.
    fn state(&self, table: &str) -> String;

    /// A query with one row: the tables' rows to the last byte, in one short text. Columns are named, as their order
    /// may differ.
    fn digest(&self, table: &str, columns: &[String]) -> String;

    /// A query with one row, or none while there is no token: the commit token of a pipeline, as JSON.
    fn token(&self, pipeline: &str) -> String;

    /// Whether a table is there: a query with one row when it is.
    fn exists(&self, table: &str) -> String;
}
