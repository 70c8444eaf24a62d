//! Objects of the interface as connectors. Every call blocks the calling thread and is done at its first poll.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use hub_plugin_abi::{
    Message, ObjectRef,
    methods::{connection, plan, plugin, reader, writer},
    reexport::ROption,
};
use serde::Serialize;

use super::{
    context::{call, export_context, export_reporter},
    rows,
    wire::{
        AcknowledgeRequest, ConnectRequest, IdentityAnswer, NextRequest, PlanAnswer, QueryRequest,
        ReleaseRequest, RowsRequest, SchemaRequest, StreamsRequest, WireEvent, WriterAnswer, kind, nothing,
        read, write,
    },
};
use crate::{
    Canceller, CheckReporter, CheckRequest, CommitToken, Config, Connection, Connector, ConnectorSpec,
    Context, DiscoverRequest, Error, ErrorKind, Event, FlushReport, OpenRequest, Plan, PlanDescription,
    PlanRequest, Reader, Result, Rows, Signal, Statement, StreamDescription, StreamId, StreamPage,
    StreamSchema, Writer, WriterRequest, WriterStart,
};

/// The longest that a reader is asked to wait.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// What a plugin consists of, as the host sees it.
pub struct ImportedPlugin {
    /// In the order in which the plugin names them.
    pub connectors: Vec<Arc<dyn Connector>>,
}

/// Asks a plugin for its connectors.
///
/// # Errors
/// When the plugin panics, or answers with something else.
pub fn import_plugin(plugin: ObjectRef) -> Result<ImportedPlugin> {
    let plugin = Arc::new(plugin);
    let specs: Vec<ConnectorSpec> = read(&call(&plugin, plugin::SPEC, nothing())?)?;
    let connector =
        |spec| Arc::new(ImportedConnector { plugin: Arc::clone(&plugin), spec }) as Arc<dyn Connector>;
    Ok(ImportedPlugin { connectors: specs.into_iter().map(connector).collect() })
}

fn ask(object: &ObjectRef, method: &str, request: &impl Serialize) -> Result<Message> {
    call(object, method, write(request)?)
}

fn object_of(answer: &mut Message) -> Result<Arc<ObjectRef>> {
    match answer.object.take() {
        ROption::RSome(object) => Ok(Arc::new(object)),
        ROption::RNone => {
            Err(Error::new(ErrorKind::Protocol, "The plugin answered without the object asked for"))
        }
    }
}

fn canceller_of(object: &Arc<ObjectRef>) -> Canceller {
    let object = Arc::clone(object);
    Canceller::new(move || object.cancel())
}

struct ImportedConnector {
    plugin: Arc<ObjectRef>,
    spec: ConnectorSpec,
}

#[async_trait]
impl Connector for ImportedConnector {
    fn spec(&self) -> ConnectorSpec {
        self.spec.clone()
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        let request = ConnectRequest {
            connector: self.spec.id.clone(),
            config: config.clone(),
            log_level: context.host().log_level(),
            reserved_files: context.host().reserved_files(),
            queries_may_write: context.queries_may_write(),
            workers: 1,
        };
        let message = write(&request)?.with_object(export_context(context));
        let mut answer = call(&self.plugin, plugin::CONNECT, message)?;
        Ok(Box::new(ImportedConnection { object: object_of(&mut answer)? }))
    }
}

struct ImportedConnection {
    object: Arc<ObjectRef>,
}

#[async_trait]
impl Connection for ImportedConnection {
    async fn identity(&self) -> Result<String> {
        let answer: IdentityAnswer = read(&ask(&self.object, connection::IDENTITY, &())?)?;
        Ok(answer.identity)
    }

    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        let message = write(request)?.with_object(export_reporter(reporter));
        call(&self.object, connection::CHECK, message).map(drop)
    }

    async fn discover(&self, request: &DiscoverRequest) -> Result<StreamPage> {
        read(&ask(&self.object, connection::DISCOVER, request)?)
    }

    async fn describe(&self, streams: &[StreamId]) -> Result<Vec<StreamDescription>> {
        read(&ask(&self.object, connection::DESCRIBE, &StreamsRequest { streams: streams.to_vec() })?)
    }

    async fn query(&self, statement: &Statement, parameters: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        let mut message = write(&QueryRequest { statement: statement.clone() })?;
        if let Some(parameters) = parameters {
            message = message.with_rows(rows::export_batch(&parameters)?);
        }
        let mut answer = call(&self.object, connection::QUERY, message)?;
        Ok(Box::new(ImportedReader::new(object_of(&mut answer)?)))
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        let mut answer = ask(&self.object, connection::PLAN, request)?;
        let PlanAnswer { plan: description } = read(&answer)?;
        Ok(Box::new(ImportedPlan { object: object_of(&mut answer)?, description }))
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        let mut answer = ask(&self.object, connection::WRITER, request)?;
        let WriterAnswer { start } = read(&answer)?;
        Ok(Box::new(ImportedWriter { object: object_of(&mut answer)?, start }))
    }

    async fn release(&self, pipeline: &str) -> Result<()> {
        ask(&self.object, connection::RELEASE, &ReleaseRequest { pipeline: pipeline.into() }).map(drop)
    }

    fn canceller(&self) -> Canceller {
        canceller_of(&self.object)
    }
}

struct ImportedPlan {
    object: Arc<ObjectRef>,
    description: PlanDescription,
}

#[async_trait]
impl Plan for ImportedPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let mut answer = ask(&self.object, plan::OPEN, request)?;
        Ok(Box::new(ImportedReader::new(object_of(&mut answer)?)))
    }

    fn canceller(&self) -> Canceller {
        canceller_of(&self.object)
    }
}

struct ImportedReader {
    object: Arc<ObjectRef>,
    /// The shapes that came, which rows refer to by number.
    schemas: HashMap<u32, SchemaRef>,
}

impl ImportedReader {
    fn new(object: Arc<ObjectRef>) -> Self {
        Self { object, schemas: HashMap::new() }
    }

    fn event_of(&mut self, mut answer: Message) -> Result<Event> {
        let event: WireEvent = read(&answer)?;
        let kind = event.kind;
        let lacks =
            |what: &str| Error::new(ErrorKind::Protocol, format!("An event `{kind}` came without {what}"));
        Ok(match kind.as_str() {
            kind::SCHEMA => {
                let arrow = rows::import_schema(&mut answer.rows)?;
                let id = event.schema.ok_or_else(|| lacks("a schema's number"))?;
                self.schemas.insert(id, arrow.clone());
                let stream = event.stream.ok_or_else(|| lacks("a stream"))?;
                Event::Schema(StreamSchema { stream, id, arrow, change: event.change })
            }
            kind::ROWS => {
                let schema_id = event.schema.ok_or_else(|| lacks("a schema's number"))?;
                let schema = self.schemas.get(&schema_id).ok_or_else(|| lacks("a schema before it"))?;
                let batch = rows::import_rows(&mut answer.rows, schema)?;
                Event::Rows(Rows { stream: event.stream.ok_or_else(|| lacks("a stream"))?, schema_id, batch })
            }
            kind::TRUNCATE => Event::Truncate(event.streams),
            kind::REJECTED => Event::Rejected(event.rejected.ok_or_else(|| lacks("a row"))?),
            kind::BOUNDARY => Event::Boundary(event.boundary.ok_or_else(|| lacks("a boundary"))?),
            kind::IDLE => Event::Idle,
            kind::END => Event::End,
            other => {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    format!("The plugin sent an event of a kind that this host does not know: `{other}`"),
                )
                .with_hint("The plugin was built for a newer version of the API: update the host"));
            }
        })
    }
}

#[async_trait]
impl Reader for ImportedReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        let max_wait_ms = u64::try_from(max_wait.min(MAX_WAIT).as_millis()).unwrap_or_default();
        let answer = ask(&self.object, reader::NEXT, &NextRequest { max_wait_ms })?;
        self.event_of(answer)
    }

    async fn acknowledge(&mut self, number: u64) -> Result<()> {
        ask(&self.object, reader::ACKNOWLEDGE, &AcknowledgeRequest { boundary: number }).map(drop)
    }

    async fn signal(&mut self, signal: &Signal) -> Result<()> {
        ask(&self.object, reader::SIGNAL, signal).map(drop)
    }

    fn canceller(&self) -> Canceller {
        canceller_of(&self.object)
    }
}

struct ImportedWriter {
    object: Arc<ObjectRef>,
    start: WriterStart,
}

#[async_trait]
impl Writer for ImportedWriter {
    fn start(&self) -> WriterStart {
        self.start.clone()
    }

    async fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let request =
            SchemaRequest { stream: schema.stream.clone(), schema: schema.id, change: schema.change.clone() };
        let message = write(&request)?.with_rows(rows::export_schema(&schema.arrow)?);
        call(&self.object, writer::SCHEMA, message).map(drop)
    }

    async fn write(&mut self, rows: Rows) -> Result<()> {
        let message = write(&RowsRequest { stream: rows.stream, schema: rows.schema_id })?;
        call(&self.object, writer::WRITE, message.with_rows(rows::export_rows(&rows.batch))).map(drop)
    }

    async fn truncate(&mut self, streams: &[StreamId]) -> Result<()> {
        ask(&self.object, writer::TRUNCATE, &StreamsRequest { streams: streams.to_vec() }).map(drop)
    }

    async fn flush(&mut self) -> Result<FlushReport> {
        read(&ask(&self.object, writer::FLUSH, &())?)
    }

    async fn commit(&mut self, token: &CommitToken) -> Result<()> {
        ask(&self.object, writer::COMMIT, token).map(drop)
    }

    async fn finish(&mut self, token: &CommitToken) -> Result<()> {
        ask(&self.object, writer::FINISH, token).map(drop)
    }

    fn canceller(&self) -> Canceller {
        canceller_of(&self.object)
    }
}
