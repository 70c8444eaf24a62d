//! The JSON of the control plane. Unknown fields are ignored; absent ones have defaults where an older side may lack them.

use std::path::PathBuf;

use hub_plugin_abi::Message;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Boundary, Config, Error, ErrorKind, Event, Level, PlanDescription, Rejected, Result, Statement, StreamId,
    WriterStart,
};

#[derive(Serialize, Deserialize)]
pub(super) struct ConnectRequest {
    pub connector: String,
    pub config: Config,
    pub log_level: Level,
    #[serde(default)]
    pub reserved_files: Vec<PathBuf>,
    /// Worker threads of the plugin's runtime.
    #[serde(default)]
    pub workers: usize,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StreamsRequest {
    pub streams: Vec<StreamId>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct QueryRequest {
    pub statement: Statement,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ReleaseRequest {
    pub pipeline: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct NextRequest {
    pub max_wait_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AcknowledgeRequest {
    pub boundary: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SchemaRequest {
    pub stream: StreamId,
    pub schema: u32,
    #[serde(default)]
    pub change: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RowsRequest {
    pub stream: StreamId,
    pub schema: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PlanAnswer {
    pub plan: PlanDescription,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WriterAnswer {
    pub start: WriterStart,
}

#[derive(Serialize, Deserialize)]
pub(super) struct IdentityAnswer {
    pub identity: String,
}

/// An event without its rows. The kind is text, so that one of a newer API can be named when it is refused.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct WireEvent {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Boundary>,
}

pub(super) mod kind {
    pub const SCHEMA: &str = "schema";
    pub const ROWS: &str = "rows";
    pub const TRUNCATE: &str = "truncate";
    pub const REJECTED: &str = "rejected";
    pub const BOUNDARY: &str = "boundary";
    pub const IDLE: &str = "idle";
    pub const END: &str = "end";
}

impl WireEvent {
    pub(super) fn of(event: &Event) -> Self {
        let named = |kind: &str| Self { kind: kind.into(), ..Self::default() };
        match event {
            Event::Schema(schema) => Self {
                stream: Some(schema.stream.clone()),
                schema: Some(schema.id),
                change: schema.change.clone(),
                ..named(kind::SCHEMA)
            },
            Event::Rows(rows) => {
                Self { stream: Some(rows.stream.clone()), schema: Some(rows.schema_id), ..named(kind::ROWS) }
            }
            Event::Truncate(streams) => Self { streams: streams.clone(), ..named(kind::TRUNCATE) },
            Event::Rejected(rejected) => Self { rejected: Some(rejected.clone()), ..named(kind::REJECTED) },
            Event::Boundary(boundary) => Self { boundary: Some(boundary.clone()), ..named(kind::BOUNDARY) },
            Event::Idle => named(kind::IDLE),
            Event::End => named(kind::END),
        }
    }
}

/// Reads a request or an answer.
pub(super) fn read<T: DeserializeOwned>(message: &Message) -> Result<T> {
    serde_json::from_str(&message.json).map_err(|error| {
        Error::new(ErrorKind::Protocol, "The other side sent a message of another shape")
            .with_hint("Host and plugin are of different versions: update the older one")
            .with_source(&error)
    })
}

/// Writes a request or an answer.
pub(super) fn write(value: &impl Serialize) -> Result<Message> {
    Ok(Message::text(serde_json::to_string(value)?))
}

/// The answer of a call that has none.
pub(super) fn nothing() -> Message {
    Message::text("{}".into())
}

/// The answer to a method of a newer API.
pub(super) fn unknown_method(method: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("The call `{method}` is not known to this plugin"))
        .with_hint("The plugin was built for an older version of the API: update it")
}
