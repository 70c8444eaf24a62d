//! Batches as the events of a reader.

use std::collections::VecDeque;

use arrow_array::{Array, RecordBatch, cast::AsArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Schema;
use serde_json::{Value, json};

use crate::{Batches, Budgets, Error, Result, bindings::exports::connector_hub::plugin::plugin::Event};

/// A reader of one stream: its schema, then rows and a boundary in turn, then the end.
pub struct SourceReader {
    stream: Value,
    batches: Box<dyn Batches>,
    budgets: Budgets,
    waiting: VecDeque<Event>,
    boundary: u64,
    state: State,
    /// What a tick ended with.
    lost: Option<Error>,
}

#[derive(PartialEq)]
enum State {
    Opened,
    Reading,
    Ended,
}

impl SourceReader {
    pub(crate) fn new(stream: Value, batches: Box<dyn Batches>, budgets: Budgets) -> Self {
        let (waiting, state) = (VecDeque::new(), State::Opened);
        Self { stream, batches, budgets, waiting, boundary: 0, state, lost: None }
    }

    /// Lets the source be kept alive.
    pub(crate) fn tick(&mut self) {
        if self.state != State::Ended && self.lost.is_none() {
            self.lost = self.batches.tick().err();
        }
    }

    pub(crate) fn next(&mut self) -> Result<Event> {
        if let Some(event) = self.waiting.pop_front() {
            return Ok(event);
        }
        match self.state {
            State::Opened => {
                self.state = State::Reading;
                let answer = json!({ "kind": "schema", "stream": self.stream, "schema": 0 });
                Ok(event(&answer, Some(stream_of(&self.batches.schema(), None)?)))
            }
            State::Reading => self.read(),
            State::Ended => Ok(event(&json!({ "kind": "end" }), None)),
        }
    }

    fn read(&mut self) -> Result<Event> {
        if let Some(lost) = self.lost.take() {
            return Err(lost);
        }
        self.boundary += 1;
        let Some(batch) = self.batches.next()? else {
            self.state = State::Ended;
            return Ok(boundary(self.boundary, &Value::Null));
        };
        check_values(&batch.rows, self.budgets.max_value_bytes)?;
        self.split(&batch.rows)?;
        self.waiting.push_back(boundary(self.boundary, &batch.position));
        self.next()
    }

    /// Cuts rows into pieces that keep the budgets.
    fn split(&mut self, rows: &RecordBatch) -> Result<()> {
        let count = rows.num_rows();
        let sizes = rows.columns().iter().map(|column| column.to_data().get_slice_memory_size());
        let bytes = sizes.sum::<Result<usize, _>>()? as u64;
        let fits = count as u64 <= self.budgets.max_batch_rows && bytes <= self.budgets.max_batch_bytes;
        if count > 1 && !fits {
            self.split(&rows.slice(0, count / 2))?;
            return self.split(&rows.slice(count / 2, count - count / 2));
        }
        let answer = json!({ "kind": "rows", "stream": self.stream, "schema": 0 });
        self.waiting.push_back(event(&answer, Some(stream_of(&rows.schema(), Some(rows))?)));
        Ok(())
    }
}

fn event(answer: &Value, rows: Option<Vec<u8>>) -> Event {
    Event { answer: answer.to_string(), rows }
}

fn boundary(number: u64, position: &Value) -> Event {
    event(&json!({ "kind": "boundary", "boundary": { "number": number, "position": position } }), None)
}

/// A schema, and perhaps rows, as an Arrow IPC stream.
fn stream_of(schema: &Schema, rows: Option<&RecordBatch>) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    if let Some(rows) = rows {
        writer.write(rows)?;
    }
    writer.finish()?;
    Ok(writer.into_inner()?)
}

fn check_values(rows: &RecordBatch, max_bytes: u64) -> Result<()> {
    for (field, array) in rows.schema().fields().iter().zip(rows.columns()) {
        let Some(texts) = array.as_string_opt::<i32>() else { continue };
        if let Some(bytes) = texts.offsets().lengths().max().filter(|bytes| *bytes as u64 > max_bytes) {
            let message =
                format!("A value of column `{}` has {bytes} bytes, more than {max_bytes}", field.name());
            return Err(Error::new("invalid-data", message)
                .with_hint("Raise `max_value_bytes`, or leave the column out"));
        }
    }
    Ok(())
}
