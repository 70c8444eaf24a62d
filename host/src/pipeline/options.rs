use std::collections::BTreeMap;

use hub_plugin_api::{Guarantee, StartAt};
use serde::{Deserialize, Serialize};

/// How one run of a pipeline differs from the usual. Serialisable: a worker process gets it as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Forgets every position and reads everything again, in a new generation.
    #[serde(default)]
    pub from_scratch: bool,
    /// Where a pipeline that has not begun starts.
    #[serde(default)]
    pub start_at: Option<StartAt>,
    /// Which side is believed when store and destination disagree about what was committed.
    #[serde(default)]
    pub trust: Option<Trust>,
}

/// The side that is believed when store and destination disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The token beside the rows.
    Destination,
    /// The positions in the hub's store.
    Store,
}

impl Trust {
    /// As the command line writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Store => "store",
        }
    }
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every split ended and is committed.
    Completed,
    /// A signal stopped it after a commit; the next run goes on there.
    Stopped,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run's number in the store.
    pub run_id: i64,
    /// The pipeline's name.
    pub pipeline: String,
    /// Raised by `from_scratch` and by a snapshot that is made again.
    pub generation: u64,
    /// Counts the completed runs of the generation, from 1.
    pub run: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Rows that are durable at the destination, dead letters not counted.
    pub rows: u64,
    /// Bytes of these rows, as they lie in memory.
    pub bytes: u64,
    /// Commits at the destination.
    pub commits: u64,
    /// Rows that were refused and kept in the store.
    pub dead_letters: u64,
    /// What is really promised about each row; absent when the run ended before it was known.
    pub guarantee: Option<Guarantee>,
    /// Rows by stream, as a person reads the name.
    pub streams: BTreeMap<String, u64>,
    /// Wall time in milliseconds.
    pub elapsed_ms: u64,
}
