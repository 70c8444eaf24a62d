//! Plans, readers and writers of a component, as the host sees those of any plugin.

use std::{collections::HashMap, sync::Arc, time::Duration};

use hub_plugin_api::{
    Canceller, CommitToken, Error, ErrorKind, Event, FlushReport, OpenRequest, Plan, PlanDescription, Reader,
    Result, Rows, Signal, StreamId, StreamSchema, Writer, WriterStart,
    arrow::{array::RecordBatch, array::RecordBatchOptions, datatypes::SchemaRef},
    async_trait,
    ffi::wire::{
        AcknowledgeRequest, NextRequest, RowsRequest, SchemaRequest, StreamsRequest, WireEvent, kind,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use wasmtime::component::ResourceAny;

use super::session::{Handle, Session};
use crate::functions::ipc;

/// The longest that a reader is asked to wait.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// A request as JSON text.
pub(super) fn text(request: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(request)?)
}

/// The request of a call that needs none.
pub(super) fn nothing() -> String {
    "{}".into()
}

/// An answer of the component's.
pub(super) fn parse<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        Error::new(ErrorKind::Protocol, "The component answered with a message of another shape")
            .with_hint("Host and component are of different versions: update the older one")
            .with_source(&error)
    })
}

/// An object of a component, which it hears of when it is not needed any more.
pub(super) struct Object {
    pub(super) session: Arc<Session>,
    pub(super) resource: ResourceAny,
    pub(super) handle: Handle,
}

impl Object {
    pub(super) fn new(session: Arc<Session>, resource: ResourceAny) -> Self {
        Self { session, resource, handle: Handle::default() }
    }

    fn canceller(&self) -> Canceller {
        self.session.canceller(&self.handle)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.session.release(self.resource);
    }
}

/// A plan. Its readers share its instance, in which is what they need.
pub(super) struct ComponentPlan {
    pub(super) object: Object,
    pub(super) description: PlanDescription,
}

#[async_trait]
impl Plan for ComponentPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let (request, Object { session, resource, handle }) = (text(request)?, &self.object);
        let reader = session
            .call(handle, async |store, guest| guest.plan().call_open(store, *resource, &request).await)?;
        Ok(Box::new(ComponentReader::new(Arc::clone(session), reader)))
    }

    fn canceller(&self) -> Canceller {
        self.object.canceller()
    }
}

/// A reader.
pub(super) struct ComponentReader {
    object: Object,
    /// The shapes that came, which rows refer to by number.
    schemas: HashMap<u32, SchemaRef>,
}

impl ComponentReader {
    pub(super) fn new(session: Arc<Session>, resource: ResourceAny) -> Self {
        Self { object: Object::new(session, resource), schemas: HashMap::new() }
    }

    fn event_of(&mut self, answer: &str, rows: Option<Vec<u8>>) -> Result<Event> {
        let event: WireEvent = parse(answer)?;
        let name = event.kind;
        let lacks =
            |what: &str| Error::new(ErrorKind::Protocol, format!("An event `{name}` came without {what}"));
        let rows = || rows.ok_or_else(|| lacks("its Arrow data"));
        Ok(match name.as_str() {
            kind::SCHEMA => {
                let arrow = ipc::import_schema(rows()?)?;
                let id = event.schema.ok_or_else(|| lacks("a schema's number"))?;
                self.schemas.insert(id, arrow.clone());
                let stream = event.stream.ok_or_else(|| lacks("a stream"))?;
                Event::Schema(StreamSchema { stream, id, arrow, change: event.change })
            }
            kind::ROWS => {
                let schema_id = event.schema.ok_or_else(|| lacks("a schema's number"))?;
                let schema = self.schemas.get(&schema_id).ok_or_else(|| lacks("a schema before it"))?;
                let batch = of_schema(&ipc::import(rows()?)?, schema)?;
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
                    format!("The component sent an event of a kind that this host does not know: `{other}`"),
                )
                .with_hint("The component was built for a newer version of the contract: update the host"));
            }
        })
    }
}

/// The rows in the shape that was announced for them.
fn of_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options).map_err(
        |error| {
            Error::new(ErrorKind::Protocol, "The component sent rows that do not fit their schema")
                .with_source(&error)
        },
    )
}

#[async_trait]
impl Reader for ComponentReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        let max_wait_ms = u64::try_from(max_wait.min(MAX_WAIT).as_millis()).unwrap_or_default();
        let request = text(&NextRequest { max_wait_ms })?;
        let Object { session, resource, handle } = &self.object;
        let event = session
            .call(handle, async |store, guest| guest.reader().call_next(store, *resource, &request).await)?;
        self.event_of(&event.answer, event.rows)
    }

    async fn acknowledge(&mut self, number: u64) -> Result<()> {
        let request = text(&AcknowledgeRequest { boundary: number })?;
        let Object { session, resource, handle } = &self.object;
        session
            .call(handle, async |store, guest| {
                guest.reader().call_acknowledge(store, *resource, &request).await
            })
            .map(drop)
    }

    async fn signal(&mut self, signal: &Signal) -> Result<()> {
        let request = text(signal)?;
        let Object { session, resource, handle } = &self.object;
        session
            .call(handle, async |store, guest| guest.reader().call_signal(store, *resource, &request).await)
            .map(drop)
    }

    fn canceller(&self) -> Canceller {
        self.object.canceller()
    }
}

/// A writer, in an instance of its own.
pub(super) struct ComponentWriter {
    pub(super) object: Object,
    pub(super) start: WriterStart,
}

#[async_trait]
impl Writer for ComponentWriter {
    fn start(&self) -> WriterStart {
        self.start.clone()
    }

    async fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let request = text(&SchemaRequest {
            stream: schema.stream.clone(),
            schema: schema.id,
            change: schema.change.clone(),
        })?;
        let arrow = ipc::export_schema(&schema.arrow)?;
        let Object { session, resource, handle } = &self.object;
        session
            .call(handle, async |store, guest| {
                guest.writer().call_schema(store, *resource, &request, &arrow).await
            })
            .map(drop)
    }

    async fn write(&mut self, rows: Rows) -> Result<()> {
        let request = text(&RowsRequest { stream: rows.stream, schema: rows.schema_id })?;
        let arrow = ipc::export(&rows.batch)?;
        let Object { session, resource, handle } = &self.object;
        session
            .call(handle, async |store, guest| {
                guest.writer().call_write(store, *resource, &request, &arrow).await
            })
            .map(drop)
    }

    async fn truncate(&mut self, streams: &[StreamId]) -> Result<()> {
        let request = text(&StreamsRequest { streams: streams.to_vec() })?;
        let Object { session, resource, handle } = &self.object;
        session
            .call(handle, async |store, guest| guest.writer().call_truncate(store, *resource, &request).await)
            .map(drop)
    }

    async fn flush(&mut self) -> Result<FlushReport> {
        let (request, Object { session, resource, handle }) = (nothing(), &self.object);
        let answer = session
            .call(handle, async |store, guest| guest.writer().call_flush(store, *resource, &request).await)?;
        parse(&answer)
    }

    async fn commit(&mut self, token: &CommitToken) -> Result<()> {
        let request = text(token)?;
        let Object { session, resource, handle } = &self.object;
        session
            .call(handle, async |store, guest| guest.writer().call_commit(store, *resource, &request).await)
            .map(drop)
    }

    async fn finish(&mut self, token: &CommitToken) -> Result<()> {
        let request = text(token)?;
        let Object { session, resource, handle } = &self.object;
        session
            .call(handle, async |store, guest| guest.writer().call_finish(store, *resource, &request).await)
            .map(drop)
    }

    fn canceller(&self) -> Canceller {
        self.object.canceller()
    }
}
