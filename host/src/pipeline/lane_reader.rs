use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use hub_plugin_api::{
    Boundary, Error, ErrorKind, Result, Rows, Split, SplitProgress, StreamId, StreamSchema,
};

use super::{reader::ReaderThread, schedule::Job};

/// Where a reader stands, as far as its lane has taken its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// At a boundary where a restart can go on, or at the very start.
    Boundary,
    /// Behind one: a commit now would cut what belongs together.
    Open,
    /// It ended.
    Ended,
}

/// One reader of a lane.
pub(crate) struct LaneReader {
    pub(crate) thread: ReaderThread,
    pub(crate) split: Split,
    pub(crate) state: State,
    /// As of the last boundary that a commit may stand at.
    pub(crate) progress: SplitProgress,
    /// Whether `progress` moved since the last commit.
    pub(crate) moved: bool,
    last_boundary: Option<u64>,
    /// Signals that the reader was given, and those among them that `progress` holds.
    signals: (Vec<i64>, Vec<i64>),
    /// The reader's own numbers, and the lane's.
    shapes: HashMap<StreamId, HashMap<u32, (u32, SchemaRef)>>,
}

impl LaneReader {
    pub(crate) fn new(thread: ReaderThread, job: Job) -> Self {
        Self {
            thread,
            split: job.split,
            state: State::Boundary,
            progress: job.progress,
            moved: false,
            last_boundary: None,
            signals: Default::default(),
            shapes: HashMap::new(),
        }
    }

    pub(crate) fn can_commit(&self) -> bool {
        self.state != State::Open
    }

    /// Takes a boundary, and says whether a commit must follow at once.
    pub(crate) fn take_boundary(&mut self, boundary: Boundary) -> bool {
        self.last_boundary = Some(boundary.number);
        // A bounded split that cannot go on here becomes visible in one step at its end.
        if boundary.position.is_none() && self.split.bounded && !boundary.must_commit {
            return false;
        }
        if boundary.position.is_some() {
            self.progress.position = boundary.position;
            let (given, held) = &mut self.signals;
            held.append(given);
        }
        (self.state, self.moved) = (State::Boundary, true);
        boundary.must_commit
    }

    /// The reader was given a signal: the next position holds it.
    pub(crate) fn take_signal(&mut self, id: i64) {
        self.signals.0.push(id);
    }

    /// The signals that the committed position holds.
    pub(crate) fn signals_held(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.signals.1)
    }

    pub(crate) fn take_end(&mut self) {
        (self.state, self.moved, self.progress.finished) = (State::Ended, true, true);
    }

    /// The boundary that the source may forget everything before, when one was committed.
    pub(crate) fn take_acknowledgement(&mut self) -> Option<u64> {
        std::mem::take(&mut self.moved).then_some(self.last_boundary).flatten()
    }

    pub(crate) fn take_schema(&mut self, schema: &StreamSchema, shape: u32) -> Result<()> {
        let known = self.shapes.entry(schema.stream.clone()).or_default();
        match known.get(&schema.id) {
            Some((_, arrow)) if *arrow != schema.arrow => Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "The source gave the number {} to two shapes of stream `{}`",
                    schema.id, schema.stream
                ),
            )),
            _ => {
                known.insert(schema.id, (shape, Arc::clone(&schema.arrow)));
                Ok(())
            }
        }
    }

    /// The lane's number of a batch's shape.
    pub(crate) fn shape_of(&self, rows: &Rows) -> Result<u32> {
        let protocol = |what: &str| {
            let message =
                format!("The source sent rows of stream `{}` {what} (shape {})", rows.stream, rows.schema_id);
            Error::new(ErrorKind::Protocol, message)
        };
        let known = self.shapes.get(&rows.stream).and_then(|shapes| shapes.get(&rows.schema_id));
        let (shape, arrow) = known.ok_or_else(|| protocol("before their schema"))?;
        if !same_columns(arrow, rows.batch.schema_ref()) {
            return Err(protocol("that do not have the columns of their schema"));
        }
        Ok(*shape)
    }
}

fn same_columns(expected: &SchemaRef, found: &SchemaRef) -> bool {
    let columns = |schema: &Schema| schema.fields().clone();
    Arc::ptr_eq(expected, found)
        || (columns(expected).len() == columns(found).len()
            && expected.fields().iter().zip(found.fields()).all(|(expected, found)| {
                Arc::ptr_eq(expected, found)
                    || (expected.name() == found.name()
                        && expected.data_type().equals_datatype(found.data_type()))
            }))
}
