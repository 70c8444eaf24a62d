use serde::{Deserialize, Serialize};

use crate::{CommitToken, Config, ErrorKind, Guarantee, StreamId};

/// What happens to rows at the destination. Ids in option `mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WriteMode {
    /// Every row is inserted.
    #[default]
    Append,
    /// A row with the same key is replaced.
    Upsert,
    /// Inserts, updates and deletes are applied as they happened.
    ApplyChanges,
    /// What was there is replaced by what this run brings, in one step at its end.
    Replace,
}

/// Takes a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriterRequest {
    /// The pipeline's id.
    pub pipeline: String,
    /// The lane, from 0.
    pub lane: u32,
    /// Raised by a reset and by a new snapshot.
    pub generation: u64,
    /// The run of the pipeline; a staging table of an older run is not gone on with.
    pub run: u64,
    /// The strategy's id.
    pub strategy: String,
    /// Its options.
    pub options: Config,
}

/// What a writer says when it has taken its lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriterStart {
    /// The last token that is durable in this lane, of whatever generation.
    pub last: Option<CommitToken>,
    /// What is really promised for these options.
    pub guarantee: Guarantee,
    /// Why, in one sentence.
    pub reason: String,
    /// Writing the same row twice leaves one row.
    pub idempotent: bool,
}

/// A row that the destination refused for its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Whose row.
    pub stream: StreamId,
    /// Which one: counted per stream from 0 over the batches since the last flush.
    pub row: u64,
    /// Why, as a kind.
    pub kind: ErrorKind,
    /// Why, in one sentence.
    pub reason: String,
}

/// What a flush found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushReport {
    /// The rest is still committable.
    pub rejected: Vec<RejectedRow>,
}
