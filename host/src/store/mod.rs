//! What the hub remembers: pipelines, plans, positions, state of plugins, runs, refused rows. The only SQL of the host.

mod database;
mod lock;
mod paths;
mod pipelines;
mod runs;
mod schema;
mod signals;

pub use database::Store;
pub use lock::PipelineLock;
pub(crate) use lock::file_stem;
pub use paths::{HOME_VARIABLE, Paths};
pub use pipelines::{LaneState, PipelineState, SourceIdentity, StoredPlan};
pub use runs::{DeadLetter, RunEnd, RunRecord};
pub use signals::{SignalRecord, SignalState};
