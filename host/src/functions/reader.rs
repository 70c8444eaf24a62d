//! A function as a reader: an instance of its own, made when it is opened.

use std::time::Duration;

use hub_plugin_api::{
    Boundary, Canceller, Context, Error, ErrorKind, Event, Position, Reader, Result, Rows, StreamId,
    StreamSchema,
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    async_trait,
};
use wasmtime::Store;

use super::{
    bindings::{
        CustomFunction, CustomFunctionPre,
        connector_hub::plugin::types::{Batch, Failure},
        exports::connector_hub::plugin::reader::Event as GuestEvent,
    },
    columns_in,
    explain::{explain, failed},
    function::{Function, Start, guest, unwrap, wrap},
    guest::Guest,
    interrupt::Interrupt,
    ipc,
    limits::Limits,
    no_connection::NoConnection,
    rows_in,
    sandbox::Sandbox,
    shell::HasShell,
};

/// What the ids of a function's limits begin with.
pub(super) const NO_PREFIX: &str = "";

pub(super) fn start(
    function: &Function,
    ready: &CustomFunctionPre<Guest>,
    start: Start,
) -> Result<Box<dyn Reader>> {
    let made = guest((start.connection, start.context), start.limits, |_| {});
    let (instance, mut call) = instantiate(function, ready, made)?;
    let version = ask_version(&instance, &mut call)?;
    let sha256 = function.sha256.clone();
    let position = start
        .position
        .as_ref()
        .map(|position| unwrap(position, &sha256, version, &start.identity))
        .transpose()?;
    let arguments = start.arguments.to_string();
    let opened = call.run(async |store| {
        instance.connector_hub_plugin_reader().call_open(store, &arguments, position.as_deref()).await
    });
    call.answer(opened)?;
    Ok(Box::new(FunctionReader {
        call,
        instance,
        stream: start.stream,
        sha256,
        position_version: version,
        identity: start.identity,
        schema: None,
        pending: None,
        boundary: 0,
        open_rows: false,
        ended: false,
    }))
}

/// What an instance says of its positions, without any database.
pub(super) fn position_version(
    function: &Function,
    ready: &CustomFunctionPre<Guest>,
    limits: Limits,
    context: &Context,
) -> Result<u32> {
    let made = guest((std::sync::Arc::new(NoConnection), context.clone()), limits, |_| {});
    let (instance, mut call) = instantiate(function, ready, made)?;
    ask_version(&instance, &mut call)
}

fn instantiate(
    function: &Function,
    ready: &CustomFunctionPre<Guest>,
    (guest, interrupt): (Guest, Interrupt),
) -> Result<(CustomFunction, Call)> {
    let store = function.machine()?.store(guest);
    let mut call = Call { sandbox: function.sandbox.clone(), store, interrupt };
    let instance = call.run(async |store| ready.instantiate_async(store).await);
    let instance = instance.map_err(|error| explain(&error, call.store.data().shell(), NO_PREFIX))?;
    Ok((instance, call))
}

fn ask_version(instance: &CustomFunction, call: &mut Call) -> Result<u32> {
    let asked =
        call.run(async |store| instance.connector_hub_plugin_reader().call_position_version(store).await);
    asked.map_err(|error| explain(&error, call.store.data().shell(), NO_PREFIX))
}

/// An instance's store, and how it is called.
struct Call {
    sandbox: Sandbox,
    store: Store<Guest>,
    interrupt: Interrupt,
}

impl Call {
    fn run<T>(
        &mut self,
        guest: impl AsyncFnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let machine = self.sandbox.machine().map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        self.store.data_mut().shell.clock.start();
        machine.run(&self.interrupt, guest(&mut self.store))
    }

    /// The guest's answer, or what stopped it.
    fn answer<T>(&self, called: wasmtime::Result<Result<T, Failure>>) -> Result<T> {
        let shell = self.store.data().shell();
        match called {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => Err(failed(failure, shell)),
            Err(error) => Err(explain(&error, shell, NO_PREFIX)),
        }
    }
}

struct FunctionReader {
    call: Call,
    instance: CustomFunction,
    stream: StreamId,
    sha256: String,
    position_version: u32,
    identity: String,
    schema: Option<SchemaRef>,
    /// The rows behind a schema that was just handed over.
    pending: Option<Event>,
    boundary: u64,
    open_rows: bool,
    ended: bool,
}

impl FunctionReader {
    fn take(&mut self, event: GuestEvent) -> Result<Event> {
        match event {
            GuestEvent::Rows(batch) => self.take_rows(batch),
            // Without a position nothing could go on behind it: the rows wait for one, or for the end.
            GuestEvent::Boundary(None) => Ok(Event::Idle),
            GuestEvent::Boundary(Some(position)) => {
                self.boundary += 1;
                self.open_rows = false;
                let position: Position =
                    wrap(&position, &self.sha256, self.position_version, &self.identity)?;
                Ok(Event::Boundary(Boundary::at(self.boundary, position)))
            }
            GuestEvent::End => {
                self.ended = true;
                if !std::mem::take(&mut self.open_rows) && self.boundary > 0 {
                    return Ok(Event::End);
                }
                self.boundary += 1;
                Ok(Event::Boundary(Boundary::without_position(self.boundary)))
            }
        }
    }

    fn take_rows(&mut self, batch: Batch) -> Result<Event> {
        let limit = self.call.store.data().shell().limits.batch_bytes;
        // The columns of a stream share its bytes, which Arrow would count once a column.
        let counted = |batch: RecordBatch| (batch.get_array_memory_size(), batch);
        let (bytes, batch) = match batch {
            Batch::Rows(rows) => counted(rows_in::import(rows)?),
            Batch::Columns(columns) => counted(columns_in::import(columns)?),
            Batch::ArrowIpc(stream) => (stream.len(), ipc::import(stream)?),
        };
        if bytes > limit {
            let message =
                format!("The function yielded a batch of {bytes} bytes, more than its limit of {limit}");
            return Err(Error::new(ErrorKind::ResourceExhausted, message)
                .with_hint("Yield smaller batches, or raise the option `batch_mib`"));
        }
        self.open_rows = true;
        let event = announce(&mut self.schema, &self.stream, batch)?;
        let (event, rows) = event;
        self.pending = rows;
        Ok(event)
    }
}

/// The event of a batch; behind the schema when it is the first.
pub(super) fn announce(
    schema: &mut Option<SchemaRef>,
    stream: &StreamId,
    batch: RecordBatch,
) -> Result<(Event, Option<Event>)> {
    let found = batch.schema();
    let rows = Event::Rows(Rows { stream: stream.clone(), schema_id: 0, batch });
    match schema {
        Some(known) if *known == found => Ok((rows, None)),
        Some(known) => Err(Error::new(
            ErrorKind::SchemaMismatch,
            format!(
                "The function's columns changed from one batch to the next: {}",
                difference(known, &found)
            ),
        )
        .with_hint("Every batch of a run must have the same columns")),
        None => {
            *schema = Some(found.clone());
            Ok((Event::Schema(StreamSchema::new(stream.clone(), 0, found)), Some(rows)))
        }
    }
}

fn difference(known: &SchemaRef, found: &SchemaRef) -> String {
    let pairs = known.fields().iter().zip(found.fields());
    match pairs.clone().find(|(known, found)| known != found) {
        Some((known, found)) if known.name() != found.name() => {
            format!("`{}` stands where `{}` was", found.name(), known.name())
        }
        Some((known, found)) if known.data_type() != found.data_type() => {
            format!("`{}` was {} and is {}", known.name(), known.data_type(), found.data_type())
        }
        Some((known, _)) => format!("`{}` has another key or may be null now", known.name()),
        None => format!("there were {} and are {}", known.fields().len(), found.fields().len()),
    }
}

#[async_trait]
impl Reader for FunctionReader {
    async fn next(&mut self, _max_wait: Duration) -> Result<Event> {
        if let Some(event) = self.pending.take() {
            return Ok(event);
        }
        if self.ended {
            return Ok(Event::End);
        }
        let instance = &self.instance;
        let called =
            self.call.run(async |store| instance.connector_hub_plugin_reader().call_next(store).await);
        let event = self.call.answer(called)?;
        self.take(event)
    }

    fn canceller(&self) -> Canceller {
        self.call.interrupt.canceller()
    }
}
