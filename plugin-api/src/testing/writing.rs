//! Writing as the host does it.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde_json::json;

use super::{
    block_on,
    reading::lines_of,
    report::{Stop, failed, require},
    session::{Run, Session},
    subject::{Destination, ReadBack, Table},
};
use crate::{
    Budgets, CommitToken, ErrorKind, Position, RejectedRow, Role, Rows, SplitProgress, StreamId,
    StreamSchema, Writer, WriterRequest, WriterStart,
};

/// A writer, and the connection that it came from.
pub(super) struct Writing {
    pub(super) writer: Box<dyn Writer>,
    pub(super) start: WriterStart,
    stream: StreamId,
    _session: Session,
}

impl Run {
    /// Has the subject make a destination ready.
    pub(super) fn destination(&self, table: &Table) -> Result<Destination, Stop> {
        let destination = self.subject.destination(table).map_err(|error| {
            Stop::from(error).during(format!("`Subject::destination` for the table `{}`", table.name))
        })?;
        match self.spec.find_strategy(&destination.strategy)?.role {
            Role::Destination => Ok(destination),
            Role::Source => failed(format!(
                "Strategy `{}` of `Subject::destination` does not write",
                destination.strategy
            )),
        }
    }

    /// Takes lane 0 of a pipeline.
    pub(super) fn writer(&self, destination: &Destination, pipeline: &str) -> Result<Writing, Stop> {
        let session = self.connect()?;
        let request = WriterRequest {
            pipeline: pipeline.into(),
            lane: 0,
            generation: 1,
            run: 1,
            strategy: destination.strategy.clone(),
            options: self.options(&destination.strategy, &destination.options)?,
        };
        let writer = block_on(session.connection.writer(&request))
            .map_err(|error| Stop::from(error).during("Taking the lane"))?;
        Ok(Writing { start: writer.start(), writer, stream: destination.stream.clone(), _session: session })
    }

    /// The rows of a destination, as lines; none where the table is not there.
    pub(super) fn read_back(&self, table: &Table) -> Result<Vec<String>, Stop> {
        self.read_back_batches(table)
            .and_then(|batches| lines_of(&batches, &table.names()))
            .map_err(|stop| stop.during(format!("Reading back the table `{}`", table.name)))
    }

    /// A place that is not there has no rows: before the first commit nothing may have made it.
    fn read_back_batches(&self, table: &Table) -> Result<Vec<RecordBatch>, Stop> {
        let read = match self.subject.read_back(table)? {
            ReadBack::Rows(batches) => Ok(batches),
            ReadBack::Source(source) => self
                .read_table(&source, Budgets::default(), table.rows.num_rows())
                .map(|reads| reads.into_iter().flat_map(|read| read.batches).collect()),
            ReadBack::Query(statement) => {
                let session = self.connect()?;
                let read = block_on(session.connection.query(&statement, None)).map_err(Stop::from);
                read.and_then(|mut reader| read_query(&mut *reader))
            }
        };
        match read {
            Err(Stop::Failed(message)) if message.contains(&of_kind(ErrorKind::NotFound)) => Ok(Vec::new()),
            other => other,
        }
    }
}

/// How [`Stop`] shows the kind of an unexpected error.
fn of_kind(kind: ErrorKind) -> String {
    format!("error of kind `{kind}`")
}

fn read_query(reader: &mut dyn crate::Reader) -> Result<Vec<RecordBatch>, Stop> {
    let mut batches = Vec::new();
    loop {
        match block_on(reader.next(std::time::Duration::from_millis(200)))? {
            crate::Event::Rows(rows) => batches.push(rows.batch),
            crate::Event::End => return Ok(batches),
            crate::Event::Rejected(row) => return failed(format!("A row was rejected: {}", row.reason)),
            _ => {}
        }
    }
}

impl Writing {
    pub(super) fn schema(&mut self, table: &Table) -> crate::Result<()> {
        let schema = StreamSchema::new(self.stream.clone(), 0, table.rows.schema());
        block_on(self.writer.schema(&schema))
    }

    pub(super) fn rows(&mut self, table: &Table) -> crate::Result<()> {
        let rows = Rows { stream: self.stream.clone(), schema_id: 0, batch: table.rows.clone() };
        block_on(self.writer.write(rows))
    }

    pub(super) fn flush(&mut self) -> crate::Result<Vec<RejectedRow>> {
        Ok(block_on(self.writer.flush())?.rejected)
    }

    pub(super) fn commit(&mut self, token: &CommitToken) -> crate::Result<()> {
        block_on(self.writer.commit(token))
    }

    /// Shape and rows, flushed: no row may be refused.
    pub(super) fn write_all(&mut self, table: &Table) -> Result<(), Stop> {
        self.schema(table).map_err(|error| Stop::from(error).during("The schema"))?;
        self.rows(table).map_err(|error| Stop::from(error).during("Writing"))?;
        let rejected = self.flush().map_err(|error| Stop::from(error).during("The flush"))?;
        match rejected.first() {
            None => Ok(()),
            Some(row) => failed(format!("Good row {} was refused: {}", row.row, row.reason)),
        }
    }
}

/// A token with a position that is not easy to quote.
pub(super) fn token(pipeline: &str, n: u64) -> CommitToken {
    let position = Position::from(json!({ "v": 1, "at": format!("{n} ' \" \\ ; -- ü ✓ {{}}") }));
    let progress = SplitProgress { position: Some(position), finished: false };
    CommitToken {
        pipeline: pipeline.into(),
        lane: 0,
        generation: 1,
        run: 1,
        n,
        splits: BTreeMap::from([("all 'rows'".into(), progress)]),
        applied_seq: None,
    }
}

/// Fails unless a call failed with this kind of error.
pub(super) fn require_kind<T>(what: &str, result: crate::Result<T>, kind: ErrorKind) -> Result<(), Stop> {
    match result {
        Ok(_) => failed(format!("{what} succeeded; it must fail with `{kind}`")),
        Err(error) => require(error.kind == kind, || {
            format!("{what} failed with `{}`, not with `{kind}`: {error}", error.kind)
        }),
    }
}
