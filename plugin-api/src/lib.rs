//! Everything that the author of a Connector Hub plugin depends on.
//!
//! A connector implements [`Connector`] and [`Connection`], and [`Reader`] or [`Writer`] or both; one line of
//! [`export_connectors!`] makes the library. The host sees the same traits, implemented by whatever it loaded.
//! `plugins/example` in the repository is a whole connector to start from.

mod cancel;
pub mod changes;
mod check;
mod config;
mod connector;
mod context;
mod error;
mod event;
pub mod ffi;
mod manifest;
mod parameter;
mod plan;
mod position;
pub mod settle;
pub mod simple;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
pub mod types;
mod write;

pub use arrow;
pub use async_trait::async_trait;
pub use cancel::Canceller;
pub use check::{CheckReport, CheckReporter, CheckRequest, CheckStatus, CheckStep};
pub use config::{Config, Secret};
pub use connector::{Connection, Connector, Plan, Reader, Statement, Writer};
pub use context::{Context, HostContext, Level, LogRecord, Metric, Spill};
pub use error::{Error, ErrorKind, Result};
pub use event::{Boundary, Event, Rejected, Rows, Signal, StreamSchema};
pub use manifest::{ConnectorKind, ConnectorSpec, Guarantee, Mode, Role, Strategy};
pub use parameter::{Group, Parameter, ParameterKind};
pub use plan::{Budgets, OpenRequest, PlanDescription, PlanRequest, Snapshot, Split, StartAt};
pub use position::{MAX_POSITION_BYTES, Position};
pub use serde_json::{Value, json};
pub use stream::{DiscoverRequest, StreamDescription, StreamId, StreamPage};
pub use token::{CommitToken, SplitProgress};
pub use write::{FlushReport, RejectedRow, WriteMode, WriterRequest, WriterStart};

/// The version of this API (semver), as the note of every plugin says it.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a connector's files start with.
pub mod prelude {
    pub use crate::types::{Column, LogicalType};
    pub use crate::{
        Boundary, Budgets, Canceller, CheckReporter, CheckRequest, CheckStatus, CheckStep, CommitToken,
        Config, Connection, Connector, ConnectorKind, ConnectorSpec, Context, DiscoverRequest, Error,
        ErrorKind, Event, FlushReport, Guarantee, Mode, OpenRequest, Parameter, Plan, PlanDescription,
        PlanRequest, Position, Reader, Rejected, RejectedRow, Result, Role, Rows, Secret, Snapshot, Split,
        SplitProgress, StartAt, Statement, Strategy, StreamDescription, StreamId, StreamPage, StreamSchema,
        Value, WriteMode, Writer, WriterRequest, WriterStart, async_trait, export_connectors, json,
    };
    pub use std::time::Duration;
}
