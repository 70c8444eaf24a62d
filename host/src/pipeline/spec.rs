//! A pipeline as the runner gets it, and the file that people write it in.
//!
//! A file is read in two steps, because what a connector takes is known only from its manifest:
//! [`PipelineFile::read`] checks the file's own fields, [`PipelineFile::resolve`] what stands under `config`,
//! `strategy` and `options`. Both report everything that is wrong, with line, column and path of the field.
//!
//! Relative paths (parameters that are files, and `${file:PATH}`) start at the folder of the file, so that a
//! pipeline means the same from wherever it is run.

mod fields;
mod file;
mod json_schema;
mod problem;
mod references;
mod resolve;
#[cfg(test)]
mod tests;
mod texts;
mod tree;
mod units;

pub use file::{FILE_VERSION, PipelineFile};
pub use json_schema::{connector_schema, pipeline_schema};
pub use problem::{FileError, Place, Problem};

use std::{collections::BTreeMap, path::PathBuf};

use hub_plugin_api::{Config, Secret};
use serde::{Deserialize, Serialize};

/// A pipeline as its file describes it, checked and complete: every default is filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineSpec {
    /// The version of the file's format: 1.
    pub version: u32,
    /// Names the pipeline in the store, at the destination and on the source's server.
    pub name: String,
    /// Where rows come from.
    pub source: EndpointSpec,
    /// Where rows go.
    pub destination: EndpointSpec,
    /// When rows become visible at the destination.
    pub commit: CommitSpec,
    /// What happens to rows that a side refuses.
    pub on_rejected: OnRejected,
    /// What happens when an interrupted plan's snapshot is gone.
    pub on_lost_snapshot: OnLostSnapshot,
    /// Accepts that a repeat into `append` may double rows.
    pub allow_duplicates: bool,
    /// How many writers share the splits of a bounded source.
    pub lanes: u32,
    /// How many splits are read at the same time.
    pub parallel: u32,
    /// How often and how fast a retryable failure is tried again.
    pub retry: RetrySpec,
}

/// One side of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// A connector id, perhaps with a version requirement: `postgres`, `postgres@1`, `postgres@^1.2`.
    pub connector: String,
    /// The connection's parameters without the secret ones, as the user gave them.
    pub config: Config,
    /// Where the secret parameters' values are found, by parameter id.
    pub secrets: BTreeMap<String, SecretReference>,
    /// The strategy's id.
    pub strategy: String,
    /// The strategy's options, as the user gave them.
    pub options: Config,
}

/// Where a secret's value is found. Serialised without the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretReference {
    /// `${env:NAME}`: an environment variable.
    Env(String),
    /// `${file:PATH}`: a file's content without the final line break.
    File(PathBuf),
    /// Written out in the file.
    #[serde(skip)]
    Literal(Secret),
}

/// When rows become visible at the destination: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSpec {
    /// Milliseconds since the last commit.
    pub every_ms: u64,
    /// Bytes of rows since the last commit.
    pub bytes: u64,
    /// Rows since the last commit; absent: not counted.
    pub rows: Option<u64>,
}

/// `every: 10s`, `bytes: 64MiB`, rows not counted.
impl Default for CommitSpec {
    fn default() -> Self {
        Self { every_ms: 10_000, bytes: 64 << 20, rows: None }
    }
}

/// What happens to rows that a side refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRejected {
    /// The run stops.
    #[default]
    Stop,
    /// They are kept in the store, and the run goes on.
    DeadLetter,
}

/// What happens when an interrupted plan's snapshot is gone and no change stream repairs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLostSnapshot {
    /// The run stops and says the choices.
    #[default]
    Stop,
    /// Everything is read again, into a new generation.
    Restart,
    /// The rest is read from a newer state.
    Mixed,
}

/// How often and how fast a retryable failure is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrySpec {
    /// How many failures in a row, without a commit between them, are tried again; one more, and the run fails.
    pub attempts: u32,
    /// Milliseconds before the first retry; doubled each time, with jitter.
    pub first_delay_ms: u64,
    /// The longest delay in milliseconds.
    pub max_delay_ms: u64,
}

/// `attempts: 8`, `first_delay: 500ms`, `max_delay: 30s`: about a minute and a half in all.
impl Default for RetrySpec {
    fn default() -> Self {
        Self { attempts: 8, first_delay_ms: 500, max_delay_ms: 30_000 }
    }
}
