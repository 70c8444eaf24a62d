//! Connectors as objects of the interface.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use hub_plugin_abi::{
    Answer, Message, Object, ObjectRef, make_object,
    methods::{connection, plan, plugin, reader, writer},
    reexport::{ROption, RStr},
};

use super::{
    NamedConnectors,
    context::{import_context, import_reporter},
    guard::{Cancelled, Kept, Serial, answered, install_panic_hook, log_panics_to},
    rows, runtime,
    wire::{
        AcknowledgeRequest, ConnectRequest, IdentityAnswer, NextRequest, PlanAnswer, QueryRequest,
        ReleaseRequest, RowsRequest, SchemaRequest, StreamsRequest, WireEvent, WriterAnswer, nothing, read,
        unknown_method, write,
    },
};
use crate::{
    Canceller, Connection, Connector, Error, ErrorKind, Event, Plan, Reader, Result, Rows, Signal, StreamId,
    StreamSchema, Writer,
};

/// The first object of a library made by the export macro: sends the library's panics to the host's log, and keeps
/// the note in the file by reading it.
pub fn export_library(
    note: &'static [u8],
    connectors: impl FnOnce() -> NamedConnectors,
) -> Answer<ObjectRef> {
    answered(|| {
        install_panic_hook();
        std::hint::black_box(note);
        Ok(export_plugin(connectors()))
    })
}

/// The first object of a plugin: the one that knows its connectors.
pub fn export_plugin(connectors: NamedConnectors) -> ObjectRef {
    make_object(PluginObject { connectors })
}

/// Answers of one object: the same guard for all of them.
trait Answers: Send + Sync {
    fn answer(&self, method: &str, message: Message) -> Result<Message>;
    fn cancel(&self);
}

struct Exported<T>(T);

impl<T: Answers> Object for Exported<T> {
    fn call(&self, method: RStr<'_>, message: Message) -> Answer<Message> {
        answered(|| self.0.answer(method.as_str(), message))
    }

    fn cancel(&self) {
        // A panic of the author's canceller has no one to answer to, and must not unwind.
        let _ = super::guard::caught(|| {
            self.0.cancel();
            Ok(())
        });
    }
}

struct PluginObject {
    connectors: NamedConnectors,
}

impl PluginObject {
    fn answer(&self, method: &str, mut message: Message) -> Result<Message> {
        match method {
            plugin::SPEC => {
                let specs: Vec<_> = self.connectors.iter().map(|(_, connector)| connector.spec()).collect();
                write(&specs)
            }
            plugin::CONNECT => {
                let request: ConnectRequest = read(&message)?;
                let ROption::RSome(context) = message.object.take() else {
                    return Err(Error::new(ErrorKind::Protocol, "The host sent no context"));
                };
                let connector = self.find(&request.connector)?;
                runtime::set_workers(request.workers);
                let context = import_context(context, &request);
                log_panics_to(&context);
                let made = runtime::block_on(connector.connect(&request.config, &context))?;
                Ok(nothing().with_object(make_object(Exported(ConnectionObject::new(made)))))
            }
            other => Err(unknown_method(other)),
        }
    }

    fn find(&self, id: &str) -> Result<&Arc<dyn Connector>> {
        let named = self.connectors.iter().find(|(name, connector)| *name == id || connector.spec().id == id);
        named
            .map(|(_, connector)| connector)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("The plugin has no connector `{id}`")))
    }
}

impl Object for PluginObject {
    fn call(&self, method: RStr<'_>, message: Message) -> Answer<Message> {
        answered(|| self.answer(method.as_str(), message))
    }

    fn cancel(&self) {}
}

struct ConnectionObject {
    connection: Kept<Box<dyn Connection>>,
    cancelled: Cancelled,
    canceller: Canceller,
}

impl ConnectionObject {
    fn new(connection: Box<dyn Connection>) -> Self {
        let canceller = connection.canceller();
        Self { connection: Kept::new(connection), cancelled: Cancelled::default(), canceller }
    }
}

impl Answers for ConnectionObject {
    fn answer(&self, method: &str, mut message: Message) -> Result<Message> {
        let Self { connection, cancelled, .. } = self;
        match method {
            connection::IDENTITY => {
                write(&IdentityAnswer { identity: cancelled.run(connection.identity())? })
            }
            connection::CHECK => {
                let ROption::RSome(object) = message.object.take() else {
                    return Err(Error::new(ErrorKind::Protocol, "The host sent no reporter"));
                };
                let reporter = import_reporter(object);
                cancelled.run(connection.check(&read(&message)?, &reporter))?;
                Ok(nothing())
            }
            connection::DISCOVER => write(&cancelled.run(connection.discover(&read(&message)?))?),
            connection::DESCRIBE => {
                let request: StreamsRequest = read(&message)?;
                write(&cancelled.run(connection.describe(&request.streams))?)
            }
            connection::QUERY => {
                let request: QueryRequest = read(&message)?;
                let parameters = rows::import_batch(&mut message.rows)?;
                let reader = cancelled.run(connection.query(&request.statement, parameters))?;
                Ok(nothing().with_object(make_object(Exported(ReaderObject::new(reader)))))
            }
            connection::PLAN => {
                let plan = cancelled.run(connection.plan(&read(&message)?))?;
                let answer = write(&PlanAnswer { plan: plan.description() })?;
                Ok(answer.with_object(make_object(Exported(PlanObject::new(plan)))))
            }
            connection::WRITER => {
                let writer = cancelled.run(connection.writer(&read(&message)?))?;
                let answer = write(&WriterAnswer { start: writer.start() })?;
                Ok(answer.with_object(make_object(Exported(WriterObject::new(writer)))))
            }
            connection::RELEASE => {
                let request: ReleaseRequest = read(&message)?;
                cancelled.run(connection.release(&request.pipeline))?;
                Ok(nothing())
            }
            other => Err(unknown_method(other)),
        }
    }

    fn cancel(&self) {
        self.cancelled.set();
        self.canceller.cancel();
    }
}

struct PlanObject {
    plan: Kept<Box<dyn Plan>>,
    cancelled: Cancelled,
    canceller: Canceller,
}

impl PlanObject {
    fn new(plan: Box<dyn Plan>) -> Self {
        let canceller = plan.canceller();
        Self { plan: Kept::new(plan), cancelled: Cancelled::default(), canceller }
    }
}

impl Answers for PlanObject {
    fn answer(&self, method: &str, message: Message) -> Result<Message> {
        match method {
            plan::OPEN => {
                let reader = self.cancelled.run(self.plan.open(&read(&message)?))?;
                Ok(nothing().with_object(make_object(Exported(ReaderObject::new(reader)))))
            }
            other => Err(unknown_method(other)),
        }
    }

    fn cancel(&self) {
        self.cancelled.set();
        self.canceller.cancel();
    }
}

struct ReaderObject {
    reader: Serial<Box<dyn Reader>>,
    cancelled: Cancelled,
    canceller: Canceller,
}

impl ReaderObject {
    fn new(reader: Box<dyn Reader>) -> Self {
        let canceller = reader.canceller();
        Self { reader: Serial::new(reader), cancelled: Cancelled::default(), canceller }
    }
}

impl Answers for ReaderObject {
    fn answer(&self, method: &str, message: Message) -> Result<Message> {
        if method == reader::SIGNAL {
            // A wish that is refused is no failure of the reader's.
            let answer =
                self.reader.call(|inner| match self.cancelled.run(inner.signal(&read(&message)?)) {
                    Err(error) if Signal::is_refused_by(&error) => Ok(Err(error)),
                    answer => answer.map(Ok),
                })?;
            return answer.map(|()| nothing());
        }
        self.reader.call(|inner| match method {
            reader::NEXT => {
                let request: NextRequest = read(&message)?;
                let event = self.cancelled.run(inner.next(Duration::from_millis(request.max_wait_ms)))?;
                let answer = write(&WireEvent::of(&event))?;
                Ok(match &event {
                    Event::Schema(schema) => answer.with_rows(rows::export_schema(&schema.arrow)?),
                    Event::Rows(batch) => answer.with_rows(rows::export_rows(&batch.batch)),
                    _ => answer,
                })
            }
            reader::ACKNOWLEDGE => {
                let request: AcknowledgeRequest = read(&message)?;
                self.cancelled.run(inner.acknowledge(request.boundary))?;
                Ok(nothing())
            }
            other => Err(unknown_method(other)),
        })
    }

    fn cancel(&self) {
        self.cancelled.set();
        self.canceller.cancel();
    }
}

struct WriterObject {
    writer: Serial<WriterState>,
    cancelled: Cancelled,
    canceller: Canceller,
}

struct WriterState {
    writer: Box<dyn Writer>,
    /// The shapes that came, which rows refer to by number.
    schemas: HashMap<(StreamId, u32), SchemaRef>,
}

impl WriterObject {
    fn new(writer: Box<dyn Writer>) -> Self {
        let canceller = writer.canceller();
        let state = WriterState { writer, schemas: HashMap::new() };
        Self { writer: Serial::new(state), cancelled: Cancelled::default(), canceller }
    }
}

impl Answers for WriterObject {
    fn answer(&self, method: &str, mut message: Message) -> Result<Message> {
        self.writer.call(|WriterState { writer: inner, schemas }| {
            match method {
                writer::SCHEMA => {
                    let SchemaRequest { stream, schema: id, change } = read(&message)?;
                    let arrow = rows::import_schema(&mut message.rows)?;
                    let shape = StreamSchema { stream: stream.clone(), id, arrow: arrow.clone(), change };
                    self.cancelled.run(inner.schema(&shape))?;
                    schemas.insert((stream, id), arrow);
                }
                writer::WRITE => {
                    let RowsRequest { stream, schema: schema_id } = read(&message)?;
                    let key = (stream, schema_id);
                    let schema = schemas.get(&key).ok_or_else(|| {
                        Error::new(
                            ErrorKind::Protocol,
                            format!("Rows of `{}` came before their schema", key.0),
                        )
                    })?;
                    let batch = rows::import_rows(&mut message.rows, schema)?;
                    self.cancelled.run(inner.write(Rows { stream: key.0, schema_id, batch }))?;
                }
                writer::TRUNCATE => {
                    let request: StreamsRequest = read(&message)?;
                    self.cancelled.run(inner.truncate(&request.streams))?;
                }
                writer::FLUSH => return write(&self.cancelled.run(inner.flush())?),
                writer::COMMIT => self.cancelled.run(inner.commit(&read(&message)?))?,
                writer::FINISH => self.cancelled.run(inner.finish(&read(&message)?))?,
                other => return Err(unknown_method(other)),
            }
            Ok(nothing())
        })
    }

    fn cancel(&self) {
        self.cancelled.set();
        self.canceller.cancel();
    }
}
