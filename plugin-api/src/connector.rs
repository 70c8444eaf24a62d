use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Canceller, CheckReporter, CheckRequest, CommitToken, Config, ConnectorSpec, Context, DiscoverRequest,
    Error, Event, FlushReport, OpenRequest, PlanDescription, PlanRequest, Result, Rows, Signal,
    StreamDescription, StreamId, StreamPage, StreamSchema, WriterRequest, WriterStart,
};

/// A statement in the connector's own language.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statement {
    /// SQL and the like.
    Text(String),
    /// A command and its arguments.
    Command(Vec<Value>),
    /// A query document.
    Document(Value),
}

/// A kind of database. One value a library, shared by all its connections.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// What it declares. Called before any connection, and expected to answer the same every time.
    fn spec(&self) -> ConnectorSpec;

    /// Makes a connection. Need not reach the server yet, but must not wait for it longer than its own time-out.
    ///
    /// # Errors
    /// When the config does not make sense together, or the server cannot be reached.
    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>>;
}

/// A database that readers and writers are made for: each of them has a server session of its own.
/// Calls may come from several threads at the same time.
#[async_trait]
pub trait Connection: Send + Sync {
    /// What every stored position is bound to: server UUID, system identifier, file id …
    ///
    /// # Errors
    /// When the server cannot be asked.
    async fn identity(&self) -> Result<String>;

    /// The connection test: ordered steps, each reported as it happens. A failed step skips the later ones, and says so.
    ///
    /// # Errors
    /// Only when the test itself cannot be run; a step that fails is reported, not returned.
    async fn check(&self, request: &CheckRequest, reporter: &CheckReporter) -> Result<()>;

    /// Lists streams, a page at a time.
    ///
    /// # Errors
    /// When the server cannot be asked.
    async fn discover(&self, _request: &DiscoverRequest) -> Result<StreamPage> {
        Err(Error::unsupported("Discovery"))
    }

    /// Columns, keys and estimates of named streams, in the order asked for.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when one does not exist.
    async fn describe(&self, _streams: &[StreamId]) -> Result<Vec<StreamDescription>> {
        Err(Error::unsupported("Description of streams"))
    }

    /// A statement's rows: schema, rows and end. `parameters` is one row, a column a parameter.
    ///
    /// # Errors
    /// When the statement is not of this connector's language, or the server refuses it.
    async fn query(
        &self,
        _statement: &Statement,
        _parameters: Option<RecordBatch>,
    ) -> Result<Box<dyn Reader>> {
        Err(Error::unsupported("Query"))
    }

    /// Cuts what is to be read into splits. What the splits need (a snapshot, a lock) lives until the plan is dropped.
    ///
    /// # Errors
    /// When the options do not fit the source, or the server refuses.
    async fn plan(&self, _request: &PlanRequest) -> Result<Box<dyn Plan>> {
        Err(Error::unsupported("Reading"))
    }

    /// Takes a lane: raises the fence kept beside the token, so that every earlier writer of the lane fails from now on.
    ///
    /// # Errors
    /// When the options do not fit the destination, or the server refuses.
    async fn writer(&self, _request: &WriterRequest) -> Result<Box<dyn Writer>> {
        Err(Error::unsupported("Writing"))
    }

    /// Drops everything that plans of this pipeline made on the server. Again is the same as once.
    ///
    /// # Errors
    /// When the server refuses; the message says what is left.
    async fn release(&self, _pipeline: &str) -> Result<()> {
        Ok(())
    }

    /// Makes a blocked call on the connection return; see [`Canceller`].
    fn canceller(&self) -> Canceller {
        Canceller::none()
    }
}

/// What is to be read, and what its splits need on the server until it is dropped.
#[async_trait]
pub trait Plan: Send + Sync {
    /// The splits and what is promised. The same every time.
    fn description(&self) -> PlanDescription;

    /// Opens one split. Several may be open at the same time.
    ///
    /// # Errors
    /// When the position does not fit, or the server refuses.
    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>>;

    /// Makes a blocked `open` return; see [`Canceller`].
    fn canceller(&self) -> Canceller {
        Canceller::none()
    }
}

/// Reads one split. Calls come one after another; after a failed one the reader is only dropped.
#[async_trait]
pub trait Reader: Send {
    /// The next event, or [`Event::Idle`] when none came within `max_wait` (at most one second).
    ///
    /// # Errors
    /// When the source fails; retry is decided by the kind.
    async fn next(&mut self, max_wait: Duration) -> Result<Event>;

    /// Everything up to boundary `number` is durable. Cumulative.
    ///
    /// # Errors
    /// When the source cannot be told.
    async fn acknowledge(&mut self, _number: u64) -> Result<()> {
        Ok(())
    }

    /// A wish of the user's for a running stream.
    ///
    /// The hub keeps each wish in its store and gives it to the reader of every unbounded split, between two calls of
    /// [`next`](Self::next), when the last of its rows was followed by a boundary. From the return on **every boundary
    /// that `next` hands over must hold the wish in its position** until it is fulfilled, also boundaries that were
    /// made before: the hub calls a wish taken, and gives it to nobody again, when the first boundary behind the call is
    /// committed. So hand one over soon, even if the stream stands still. A wish that was on its way when the process
    /// died is given again to the next reader, perhaps although its position holds it: it must do no harm twice.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a kind that the reader does not know, and
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig), [`NotFound`](crate::ErrorKind::NotFound) or
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for a wish that cannot be fulfilled: it is refused, the
    /// user is told why, and unlike after any other call that fails the reader goes on. Any other error ends the reader,
    /// and the next one gets the wish again.
    async fn signal(&mut self, signal: &Signal) -> Result<()> {
        Err(Error::unsupported(format_args!("Signal `{}`", signal.kind)))
    }

    /// Makes a blocked call return; see [`Canceller`].
    fn canceller(&self) -> Canceller {
        Canceller::none()
    }
}

/// Writes one lane. Calls come one after another; after a failed or cancelled one the writer is only dropped, and
/// the outcome of such a commit is unknown until the token is read again. Dropped without commit: rolled back.
#[async_trait]
pub trait Writer: Send {
    /// The last token that was durable when the lane was taken, and what is promised.
    fn start(&self) -> WriterStart;

    /// A stream's shape: before its first rows, and before each new shape. May create or grow the table.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UnsupportedType`] or [`crate::ErrorKind::SchemaMismatch`], before the first row.
    async fn schema(&mut self, schema: &StreamSchema) -> Result<()>;

    /// Rows of a stream whose shape is known.
    ///
    /// # Errors
    /// When the destination fails.
    async fn write(&mut self, rows: Rows) -> Result<()>;

    /// Empties streams, in order with the rows around it.
    ///
    /// # Errors
    /// When the destination fails.
    async fn truncate(&mut self, _streams: &[StreamId]) -> Result<()> {
        Err(Error::unsupported("Truncate"))
    }

    /// Sends what is buffered. Rows refused for their data are answered; the rest is still committable.
    ///
    /// # Errors
    /// When the destination fails.
    async fn flush(&mut self) -> Result<FlushReport> {
        Ok(FlushReport::default())
    }

    /// Makes rows and token durable together, where the destination can. Durable on return.
    ///
    /// # Errors
    /// [`crate::ErrorKind::TokenConflict`] when `n` is not next, [`crate::ErrorKind::Fenced`] when another writer
    /// took the lane.
    async fn commit(&mut self, token: &CommitToken) -> Result<()>;

    /// After every split ended and was committed: swaps a replaced table, drops staging tables. Stores `token`
    /// in the same step, where there is anything to do.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    async fn finish(&mut self, _token: &CommitToken) -> Result<()> {
        Ok(())
    }

    /// Makes a blocked call return; see [`Canceller`].
    fn canceller(&self) -> Canceller {
        Canceller::none()
    }
}
