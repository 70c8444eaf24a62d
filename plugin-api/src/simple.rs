//! For connectors that need less than the full traits: a reader made of batches, a plan made of one split, and a
//! writer that stores batches with a token.

mod changed;
mod writer;

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::SchemaRef,
};
use async_trait::async_trait;

use crate::{
    Boundary, Budgets, Canceller, Error, ErrorKind, Event, Guarantee, OpenRequest, Plan, PlanDescription,
    Position, Reader, Result, Rows, Snapshot, Split, StreamId, StreamSchema, Value,
};

pub use changed::{HOW_TO_GRANT, changed, check_may_change};
pub use writer::{BatchSink, batch_writer};

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
    let unlimited = Budgets {
        max_batch_bytes: u64::MAX,
        max_batch_rows: u64::MAX,
        max_delay_ms: 0,
        max_value_bytes: u64::MAX,
    };
    bounded_batch_reader(stream, source, unlimited)
}

/// As [`batch_reader`], within budgets: a batch beyond them is handed over in parts, and a value beyond its own is an
/// error. A source that reads far more at a time than the budgets still needs memory for it: that is the source's.
pub fn bounded_batch_reader(
    stream: StreamId,
    source: impl BatchSource + 'static,
    budgets: Budgets,
) -> Box<dyn Reader> {
    Box::new(BatchReader {
        stream,
        source: Box::new(source),
        budgets,
        pending: Vec::new(),
        boundary: 0,
        state: State::Opened,
    })
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
    budgets: Budgets,
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
                check_values(&batch, self.budgets.max_value_bytes)?;
                let mut parts = Vec::new();
                split(batch, &self.budgets, &mut parts)?;
                let rows = |batch| Event::Rows(Rows { stream: self.stream.clone(), schema_id: 0, batch });
                self.pending.extend(parts.into_iter().rev().map(rows));
                Ok(self.pending.pop().unwrap_or(Event::Idle))
            }
            State::Ended => Ok(Event::End),
        }
    }

    fn canceller(&self) -> Canceller {
        self.source.canceller()
    }
}

/// Fails for the first text or bytes beyond `max_bytes`.
fn check_values(batch: &RecordBatch, max_bytes: u64) -> Result<()> {
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let longest = if let Some(texts) = array.as_string_opt::<i32>() {
            texts.offsets().lengths().max()
        } else {
            array.as_binary_opt::<i32>().and_then(|bytes| bytes.offsets().lengths().max())
        };
        if let Some(bytes) = longest.filter(|bytes| *bytes as u64 > max_bytes) {
            let message =
                format!("A value of column `{}` has {bytes} bytes, more than {max_bytes}", field.name());
            return Err(Error::new(ErrorKind::InvalidData, message)
                .with_hint("Raise `max_value_bytes`, or leave the column out"));
        }
    }
    Ok(())
}

/// Cuts a batch into halves until each part is within the budgets, or one row.
fn split(batch: RecordBatch, budgets: &Budgets, parts: &mut Vec<RecordBatch>) -> Result<()> {
    let rows = batch.num_rows();
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    let bytes = sizes.sum::<Result<usize, _>>()?;
    if rows <= 1 || (rows as u64 <= budgets.max_batch_rows && bytes as u64 <= budgets.max_batch_bytes) {
        parts.push(batch);
        return Ok(());
    }
    let half = rows / 2;
    split(batch.slice(0, half), budgets, parts)?;
    split(batch.slice(half, rows - half), budgets, parts)
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
