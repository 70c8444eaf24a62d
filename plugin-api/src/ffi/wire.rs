//! The JSON of the control plane, the same for every kind of plugin. Unknown fields are ignored; absent ones have
//! defaults where an older side may lack them.

use std::path::PathBuf;

use hub_plugin_abi::Message;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Boundary, Config, Error, ErrorKind, Event, Level, PlanDescription, Rejected, Result, Statement, StreamId,
    WriterStart,
};

/// Of `connect`.
#[derive(Serialize, Deserialize)]
pub struct ConnectRequest {
    /// The connector's id.
    pub connector: String,
    /// Its checked parameters, without secrets.
    pub config: Config,
    /// The least important level that is kept.
    pub log_level: Level,
    /// Files that are the host's own.
    #[serde(default)]
    pub reserved_files: Vec<PathBuf>,
    /// Whether the statements of `query` may change data.
    #[serde(default)]
    pub queries_may_write: bool,
    /// Worker threads of the plugin's runtime.
    #[serde(default)]
    pub workers: usize,
}

/// Of `describe` and `truncate`.
#[derive(Serialize, Deserialize)]
pub struct StreamsRequest {
    /// Which.
    pub streams: Vec<StreamId>,
}

/// Of `query`; the parameters go beside it.
#[derive(Serialize, Deserialize)]
pub struct QueryRequest {
    /// What is asked.
    pub statement: Statement,
}

/// Of `release`.
#[derive(Serialize, Deserialize)]
pub struct ReleaseRequest {
    /// The pipeline's id.
    pub pipeline: String,
}

/// Of `next`.
#[derive(Serialize, Deserialize)]
pub struct NextRequest {
    /// Milliseconds after which `idle` is the answer; at most 1000.
    pub max_wait_ms: u64,
}

/// Of `acknowledge`.
#[derive(Serialize, Deserialize)]
pub struct AcknowledgeRequest {
    /// Everything up to this boundary is durable.
    pub boundary: u64,
}

/// Of a writer's `schema`; the Arrow schema goes beside it.
#[derive(Serialize, Deserialize)]
pub struct SchemaRequest {
    /// Whose shape.
    pub stream: StreamId,
    /// Its number.
    pub schema: u32,
    /// What changed since the last shape, for people.
    #[serde(default)]
    pub change: Option<String>,
}

/// Of `write`; the rows go beside it.
#[derive(Serialize, Deserialize)]
pub struct RowsRequest {
    /// Whose rows.
    pub stream: StreamId,
    /// Their shape's number.
    pub schema: u32,
}

/// Of `plan`; the plan goes beside it.
#[derive(Serialize, Deserialize)]
pub struct PlanAnswer {
    /// What it is like.
    pub plan: PlanDescription,
}

/// Of `writer`; the writer goes beside it.
#[derive(Serialize, Deserialize)]
pub struct WriterAnswer {
    /// What it found and promises.
    pub start: WriterStart,
}

/// Of `identity`.
#[derive(Serialize, Deserialize)]
pub struct IdentityAnswer {
    /// What every stored position is bound to.
    pub identity: String,
}

/// Of `secret` and `state-get`.
#[derive(Serialize, Deserialize)]
pub struct NamedRequest {
    /// Its name.
    pub name: String,
}

/// Of `state-put`.
#[derive(Serialize, Deserialize)]
pub struct StatePutRequest {
    /// The blob's name.
    pub name: String,
    /// Its content; absent: it is removed.
    pub blob: Option<String>,
}

/// Of `secret` and `state-get`.
#[derive(Serialize, Deserialize)]
pub struct ValueAnswer {
    /// Absent: there is none.
    pub value: Option<String>,
}

/// Of `state-list`.
#[derive(Serialize, Deserialize)]
pub struct NamesAnswer {
    /// Sorted.
    pub names: Vec<String>,
}

/// An event without its rows. The kind is text, so that one of a newer API can be named when it is refused.
#[derive(Default, Serialize, Deserialize)]
pub struct WireEvent {
    /// One of [`kind`].
    pub kind: String,
    /// Of `schema` and `rows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    /// The shape's number, of `schema` and `rows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<u32>,
    /// Of `schema`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Of `truncate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamId>,
    /// Of `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
    /// Of `boundary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Boundary>,
}

/// The kinds of events.
pub mod kind {
    /// `schema`.
    pub const SCHEMA: &str = "schema";
    /// `rows`.
    pub const ROWS: &str = "rows";
    /// `truncate`.
    pub const TRUNCATE: &str = "truncate";
    /// `rejected`.
    pub const REJECTED: &str = "rejected";
    /// `boundary`.
    pub const BOUNDARY: &str = "boundary";
    /// `idle`.
    pub const IDLE: &str = "idle";
    /// `end`.
    pub const END: &str = "end";
}

impl WireEvent {
    /// What goes into JSON of an event.
    pub fn of(event: &Event) -> Self {
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
