use arrow::{array::RecordBatch, datatypes::SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Position, StreamId, types};

/// A stream's shape: the first event of a stream after every open, and again before each new shape.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSchema {
    /// Whose shape.
    pub stream: StreamId,
    /// Its number, unique among the shapes of this reader.
    pub id: u32,
    /// The columns, whose fields carry the metadata of [`types`].
    pub arrow: SchemaRef,
    /// What changed since the last shape, for people.
    pub change: Option<String>,
}

impl StreamSchema {
    /// The first shape of a stream.
    pub fn new(stream: StreamId, id: u32, arrow: SchemaRef) -> Self {
        Self { stream, id, arrow, change: None }
    }

    /// The names of the key's columns, in the key's order.
    pub fn keys(&self) -> Vec<&str> {
        types::key_columns(&self.arrow)
    }
}

/// Rows of one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Whose rows.
    pub stream: StreamId,
    /// Their shape.
    pub schema_id: u32,
    /// The rows.
    pub batch: RecordBatch,
}

/// A row that the source cannot decode or has given up on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Whose row.
    pub stream: StreamId,
    /// As the source sent it, as text; bytes that are not text are written as hex.
    pub payload: String,
    /// Why, in one sentence.
    pub reason: String,
}

/// All events before it may become visible together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boundary {
    /// Counts up in one reader.
    pub number: u64,
    /// Where a later open resumes exactly; without one a restart repeats the split or has a gap.
    #[serde(default)]
    pub position: Option<Position>,
    /// Commit now, without waiting for more.
    #[serde(default)]
    pub must_commit: bool,
}

impl Boundary {
    /// A boundary that a later open can resume at.
    pub fn at(number: u64, position: Position) -> Self {
        Self { number, position: Some(position), must_commit: false }
    }

    /// A boundary that only ends a transaction.
    pub fn without_position(number: u64) -> Self {
        Self { number, position: None, must_commit: false }
    }
}

/// What a reader hands over.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A stream's shape.
    Schema(StreamSchema),
    /// Rows of one stream.
    Rows(Rows),
    /// Streams were emptied.
    Truncate(Vec<StreamId>),
    /// A row that cannot be handed over.
    Rejected(Rejected),
    /// All before it may become visible together.
    Boundary(Boundary),
    /// Nothing came within the time.
    Idle,
    /// The split is finished. A boundary comes right before it.
    End,
}

/// A wish of the user's for a running stream; see [`Reader::signal`](crate::Reader::signal).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// [`Signal::SNAPSHOT`], or one of the connector's own.
    pub kind: String,
    /// What it needs.
    #[serde(default)]
    pub arguments: Value,
}

impl Signal {
    /// Read tables again while the stream goes on: `{"tables": ["schema.table", …]}`, names as the strategy's option
    /// for tables takes them. When it is fulfilled, the destination holds their rows as if they had just been added.
    pub const SNAPSHOT: &str = "snapshot";

    /// Whether an error of [`Reader::signal`](crate::Reader::signal) only refuses the wish: the reader goes on.
    pub fn is_refused_by(error: &Error) -> bool {
        use crate::ErrorKind::{InvalidConfig, NotFound, PermissionDenied, Unsupported};
        matches!(error.kind, Unsupported | InvalidConfig | NotFound | PermissionDenied)
    }

    /// Tables are to be read again.
    pub fn snapshot(tables: &[String]) -> Self {
        Self { kind: Self::SNAPSHOT.into(), arguments: serde_json::json!({ "tables": tables }) }
    }
}
