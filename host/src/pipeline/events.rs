use std::collections::BTreeMap;

use hub_plugin_api::{
    Error, ErrorKind, Guarantee, Position, Signal, Snapshot, SplitProgress, StreamId, types::Column,
};
use serde::{Deserialize, Serialize};

use super::RunSummary;

/// What a run tells whoever started it. Serialisable: one JSON object each, told apart by `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunEvent {
    /// The run has its lock and its number.
    Started {
        /// The run's number in the store.
        run_id: i64,
        /// The pipeline's name.
        pipeline: String,
        /// The generation.
        generation: u64,
        /// The run within the generation, from 1.
        run: u64,
        /// It goes on with a run that did not complete.
        resumed: bool,
    },
    /// What is to be read.
    Plan {
        /// Every split.
        splits: Vec<SplitSummary>,
        /// What a restart would see.
        snapshot: Snapshot,
        /// How many writers share the work.
        lanes: u32,
        /// How many splits are read at the same time.
        parallel: u32,
    },
    /// What is really promised: the weaker of plan's and writer's.
    Guarantee {
        /// The promise.
        guarantee: Guarantee,
        /// Why, one sentence a side.
        reasons: Vec<String>,
    },
    /// A split was opened.
    Opened {
        /// Its id.
        split: String,
        /// Where it resumes; absent: at its beginning.
        position: Option<Position>,
    },
    /// A stream's shape.
    Schema {
        /// The split that it comes from.
        split: String,
        /// The stream.
        stream: StreamId,
        /// Its columns.
        columns: Vec<Column>,
        /// What changed since the last shape.
        change: Option<String>,
    },
    /// How far the run is; about twice a second.
    Progress {
        /// Rows read so far.
        rows: u64,
        /// Their bytes.
        bytes: u64,
        /// Rows that are durable at the destination.
        committed_rows: u64,
        /// By split, those that were opened in this run.
        splits: Vec<SplitCount>,
        /// Wall time in milliseconds.
        elapsed_ms: u64,
    },
    /// Rows and token are durable, and the store has the positions.
    Committed {
        /// The lane.
        lane: u32,
        /// The token's number.
        n: u64,
        /// Rows of this commit.
        rows: u64,
        /// Their bytes.
        bytes: u64,
        /// Where each split of the lane stands.
        splits: BTreeMap<String, SplitProgress>,
    },
    /// A measurement of a plugin's.
    Metric {
        /// With its unit at the end.
        name: String,
        /// Its value now.
        value: f64,
    },
    /// It works, but not as one may expect.
    Warning {
        /// One sentence.
        message: String,
    },
    /// A row was refused and kept in the store.
    Rejected {
        /// The stream.
        stream: StreamId,
        /// Who refused it.
        side: Side,
        /// Why, as a kind.
        kind: ErrorKind,
        /// Why, in one sentence.
        reason: String,
    },
    /// A signal is part of what is durable, or was refused.
    Signal {
        /// Its number in the store.
        id: i64,
        /// What is wished.
        signal: Signal,
        /// Why it was refused.
        refused: Option<Error>,
    },
    /// A failure that may pass: the run goes on from the last durable position after a while.
    Retrying {
        /// Failures in a row, this one included.
        attempt: u32,
        /// How many are tried again.
        attempts: u32,
        /// How long the run waits.
        delay_ms: u64,
        /// What failed.
        error: Error,
    },
    /// The run ended without a failure.
    Finished {
        /// What it did.
        summary: RunSummary,
    },
    /// The run failed. What was committed stays; the next run goes on there.
    Failed {
        /// What failed.
        error: Error,
    },
}

/// One of the two ends of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Where rows come from.
    Source,
    /// Where rows go.
    Destination,
}

impl Side {
    /// As it is written in messages and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// A split as [`RunEvent::Plan`] tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// Its id.
    pub id: String,
    /// What it reads.
    pub streams: Vec<StreamId>,
    /// Whether it ends.
    pub bounded: bool,
    /// The source's own estimate.
    pub estimated_rows: Option<u64>,
    /// An earlier attempt finished it.
    pub finished: bool,
    /// Where it resumes.
    pub position: Option<Position>,
}

/// How much was read of a split in this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCount {
    /// Its id.
    pub id: String,
    /// Rows read.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// It ended and is committed.
    pub finished: bool,
    /// The source's own estimate.
    pub estimated_rows: Option<u64>,
}
