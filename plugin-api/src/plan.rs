use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Config, Guarantee, Position, StreamId};

/// How much a reader may collect before it hands over, and how large one value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// Bytes of one batch of rows. Default 8 MiB.
    pub max_batch_bytes: u64,
    /// Rows of one batch. Default 16,384.
    pub max_batch_rows: u64,
    /// Milliseconds that a row may wait for its batch to fill. Default 500.
    pub max_delay_ms: u64,
    /// Bytes of one value; a larger one is an error that names its column. Default 256 MiB.
    pub max_value_bytes: u64,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            max_batch_bytes: 8 << 20,
            max_batch_rows: 16_384,
            max_delay_ms: 500,
            max_value_bytes: 256 << 20,
        }
    }
}

/// Where a user wants a pipeline to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartAt {
    /// At the oldest that the source still has.
    Earliest,
    /// At what happens from now on.
    Latest,
    /// At a time, RFC 3339.
    Time(String),
    /// At a position of the connector's own.
    Position(Position),
}

/// What is to be read, and what earlier plans of this pipeline left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// The pipeline's id: server-side names come from it and the generation.
    pub pipeline: String,
    /// Raised by a reset and by a new snapshot.
    pub generation: u64,
    /// Counts the completed runs of the generation, from 1: split ids of bounded reads hold it.
    pub run: u64,
    /// The strategy's id.
    pub strategy: String,
    /// Its options.
    pub options: Config,
    /// How many splits may be read at the same time.
    pub parallel: u32,
    /// The user's own start, if given.
    #[serde(default)]
    pub start_at: Option<StartAt>,
    /// [`PlanDescription::carry`] of the last run that completed.
    #[serde(default)]
    pub carry: Option<Value>,
    /// The plan of a run that did not complete. Splits returned with the same id go on where they were.
    #[serde(default)]
    pub interrupted: Option<PlanDescription>,
    /// For a preview: makes nothing on the server.
    #[serde(default)]
    pub peek: bool,
}

/// Whether an interrupted plan's data is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Snapshot {
    /// All splits see one state of the source, or the interrupted plan's state is still there.
    Same,
    /// Splits see the source as it is when they are opened: after a restart that is a newer state.
    New,
}

/// A part of what is to be read, with one reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Stable over restarts of one run.
    pub id: String,
    /// What it reads.
    pub streams: Vec<StreamId>,
    /// Whether it ends.
    pub bounded: bool,
    /// Ids of the splits that must be finished first.
    #[serde(default)]
    pub after: Vec<String>,
    /// The connector's own.
    #[serde(default)]
    pub opaque: Value,
    /// Whether another process may open it.
    #[serde(default)]
    pub portable: bool,
    /// For progress only.
    #[serde(default)]
    pub estimated_rows: Option<u64>,
}

/// A plan as the host stores it before it opens a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanDescription {
    /// Every key lies in exactly one of them.
    pub splits: Vec<Split>,
    /// What a restart sees.
    pub snapshot: Snapshot,
    /// What is really promised for these options.
    pub guarantee: Guarantee,
    /// Why, in one sentence.
    pub reason: String,
    /// Rows of an earlier run may come again: the host asks for an upsert destination.
    #[serde(default)]
    pub repeats_rows: bool,
    /// What the next run continues from, once this one is complete.
    #[serde(default)]
    pub carry: Option<Value>,
}

/// Which split to read, and from where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// One of the plan's, or of an interrupted plan's with the same id.
    pub split: Split,
    /// Where to resume; absent: at the split's own beginning.
    #[serde(default)]
    pub position: Option<Position>,
    /// How much may be collected.
    #[serde(default)]
    pub budgets: Budgets,
    /// For a preview: makes nothing on the server and consumes nothing.
    #[serde(default)]
    pub peek: bool,
}
