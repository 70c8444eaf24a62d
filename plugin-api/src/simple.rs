//! For connectors that need less than the full traits: a reader made of batches, and a plan made of one split.

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;

use crate::{
    Boundary, Canceller, Error, Event, Guarantee, OpenRequest, Plan, PlanDescription, Position, Reader, Result,
    Rows, Snapshot, Split, StreamId, StreamSchema, Value,
};

/// A source that yields batches, each perhaps with the position behind it.
#[async_trait]
pub trait BatchSource: Send {
    /// The columns of every batch.
    fn schema(&self) -> SchemaRef;

    /// The next batch and where a later open resumes behind it; `None` at the end. It may take as long as it needs:
    /// a call that is still under way when the reader's time is up goes on at the next call only if it is cancel safe,
    /// so the reader waits for it.
    ///
    /// # Errors
    /// When the source fails.
    async fn next_batch(&mut self) -> Result<Option<(RecordBatch, Option<Position>)>>;

    /// Makes a blocked call return; see [`Canceller`].
    fn canceller(&self) -> Canceller {
        Canceller::none()
    }
}

/// A reader of one stream made of a [`BatchSource`]: a boundary behind each batch that has a position, and one before the end.
pub fn batch_reader(stream: StreamId, source: impl BatchSource + 'static) -> Box<dyn Reader> {
    Box::new(BatchReader { stream, source: Box::new(source), pending: Vec::new(), boundary: 0, state: State::Opened })
}

#[derive(PartialEq)]
enum State {
    Opened,
    Reading,
    Ended,
}

struct BatchReader {
    stream: StreamId,
    source: Box<dyn BatchSource>,
    /// Events to hand over before the source is asked again, last first.
    pending: Vec<Event>,
    boundary: u64,
    state: State,
}

#[async_trait]
impl Reader for BatchReader {
    async fn next(&mut self, _max_wait: Duration) -> Result<Event> {
        if let Some(event) = self.pending.pop() {
            return Ok(event);
        }
        match self.state {
            State::Opened => {
                self.state = State::Reading;
                Ok(Event::Schema(StreamSchema::new(self.stream.clone(), 0, self.source.schema())))
            }
            State::Reading => {
                let next = self.source.next_batch().await?;
                self.boundary += 1;
                let Some((batch, position)) = next else {
                    self.state = State::Ended;
                    return Ok(Event::Boundary(Boundary::without_position(self.boundary)));
                };
                if let Some(position) = position {
                    self.pending.push(Event::Boundary(Boundary::at(self.boundary, position)));
                }
                Ok(Event::Rows(Rows { stream: self.stream.clone(), schema_id: 0, batch }))
            }
            State::Ended => Ok(Event::End),
        }
    }

    fn canceller(&self) -> Canceller {
        self.source.canceller()
    }
}

/// What makes the reader of a [`SingleSplit`].
pub type OpenSplit = dyn Fn(OpenRequest) -> Result<Box<dyn Reader>> + Send + Sync;

/// A plan of one bounded split, opened by a function.
pub struct SingleSplit {
    description: PlanDescription,
    open: Arc<OpenSplit>,
}

impl SingleSplit {
    /// A plan that reads `stream` from its beginning in every run, opened by `open`.
    pub fn new(
        run: u64,
        stream: StreamId,
        open: impl Fn(OpenRequest) -> Result<Box<dyn Reader>> + Send + Sync + 'static,
    ) -> Self {
        let split = Split {
            id: format!("all-{run}"),
            streams: vec![stream],
            bounded: true,
            after: Vec::new(),
            opaque: Value::Null,
            portable: true,
            estimated_rows: None,
        };
        Self {
            description: PlanDescription {
                splits: vec![split],
                snapshot: Snapshot::New,
                guarantee: Guarantee::AtLeastOnce,
                reason: "Every run reads everything again".into(),
                repeats_rows: true,
                carry: None,
            },
            open: Arc::new(open),
        }
    }
}

#[async_trait]
impl Plan for SingleSplit {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        if request.split.id != self.description.splits[0].id {
            return Err(Error::internal(format!("Split `{}` is not of this plan", request.split.id)));
        }
        (self.open)(request.clone())
    }
}
