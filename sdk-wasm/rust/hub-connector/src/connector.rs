use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Result;

/// A connector that reads. The value is a connection.
pub trait Connector: Sized + 'static {
    /// The plugin's id, its version, and the JSON of the connector's specification, as its manifest has it.
    fn spec() -> (&'static str, &'static str, Value);

    /// A connection with checked parameters. Need not reach the server yet.
    ///
    /// # Errors
    /// When the parameters make no sense.
    fn connect(config: &Map<String, Value>) -> Result<Self>;

    /// What every stored position is bound to.
    ///
    /// # Errors
    /// When the server must be asked, and does not answer.
    fn identity(&self) -> Result<String>;

    /// The connection test: reports each step as it is done.
    ///
    /// # Errors
    /// Only when the test cannot be run at all.
    fn check(&self, options: &Map<String, Value>, report: &mut dyn FnMut(Step)) -> Result<()>;

    /// The name of the stream that these options read.
    ///
    /// # Errors
    /// When they name none.
    fn stream(&self, options: &Map<String, Value>) -> Result<String>;

    /// Opens the stream, behind a position that an earlier batch had. Versions of positions are the connector's own: `v`.
    ///
    /// # Errors
    /// When it cannot be read, or the position does not fit.
    fn open(
        &self,
        options: &Map<String, Value>,
        position: Option<Value>,
        budgets: Budgets,
    ) -> Result<Box<dyn Batches>>;
}

/// Rows in batches, each with the position behind it.
pub trait Batches {
    /// The shape of all of them.
    fn schema(&self) -> SchemaRef;

    /// The next rows, within the budgets; none at the end.
    ///
    /// # Errors
    /// When the source fails.
    fn next(&mut self) -> Result<Option<Batch>>;

    /// Called at least every 5 seconds while nobody asks for rows: the place for keep-alives.
    ///
    /// # Errors
    /// When the source is lost. Told as soon as rows are asked for.
    fn tick(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Rows, and where to go on behind them: a JSON object with `v`.
pub struct Batch {
    /// The rows.
    pub rows: RecordBatch,
    /// Where to go on.
    pub position: Value,
}

/// What a batch may hold.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Budgets {
    /// Bytes of its values.
    pub max_batch_bytes: u64,
    /// Its rows.
    pub max_batch_rows: u64,
    /// Bytes of one value: a longer one is an error that names its column.
    pub max_value_bytes: u64,
}

/// A finished step of a connection test.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    step: String,
    status: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Step {
    /// It went well.
    pub fn passed(step: &str, message: impl Into<String>) -> Self {
        Self { step: step.into(), status: "passed", message: message.into(), field: None, hint: None }
    }

    /// It was not tried.
    pub fn skipped(step: &str, message: impl Into<String>) -> Self {
        Self { status: "skipped", ..Self::passed(step, message) }
    }

    /// It failed.
    pub fn failed(step: &str, error: &crate::Error) -> Self {
        let (field, hint) = (error.field.clone(), error.hint.clone());
        Self { status: "failed", field, hint, ..Self::passed(step, error.message.clone()) }
    }
}
