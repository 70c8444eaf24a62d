//! From a pipeline file to rows at the destination. Nothing here can tell one kind of plugin from another.

mod batches;
mod channel;
mod context;
mod dead_letters;
mod endpoint;
mod events;
mod held;
mod lane;
mod lane_reader;
mod masks;
mod options;
mod parked;
mod plan;
mod prepare;
mod progress;
mod reader;
mod retry;
mod runner;
mod schedule;
mod sides;
mod signals;
mod spec;
mod stop;
mod supervise;
#[cfg(test)]
mod tests;
mod tokens;

pub use batches::{Batches, Preview, PreviewStream};
pub use endpoint::{Catalog, Resolved};
pub use events::{RunEvent, Side, SplitCount, SplitSummary};
pub use options::{Outcome, RunOptions, RunSummary, Trust};

pub use spec::{
    CommitSpec, EndpointSpec, FILE_VERSION, FileError, OnLostSnapshot, OnRejected, PipelineFile,
    PipelineSpec, Place, Problem, RetrySpec, SecretReference, connector_schema, pipeline_schema,
};
pub use stop::StopSignal;

pub(crate) use batches::{preview, query, read};
pub(crate) use endpoint::{Endpoint, Host, Purpose, strategy};
pub(crate) use runner::{run, start_over};
