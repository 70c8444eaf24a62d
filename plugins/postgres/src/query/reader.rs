use std::{future::poll_fn, sync::Arc, time::Duration};

use hub_plugin_api::{
    Boundary, Budgets, Canceller, Event, Position, Reader, Result, Rows, StreamId, StreamSchema, async_trait,
};
use tokio::time;

use super::{
    collector::Collector,
    cursor::CursorTracker,
    prepare::{Prepared, prepare, refused},
    source::Source,
};
use crate::{
    connection::Session,
    raw::RawSession,
    sql::read::{Selection, select},
};

/// What a reader of a statement is to do.
pub struct ReaderSetup {
    /// The statement and its columns.
    pub prepared: Arc<Prepared>,
    /// Which of its rows.
    pub selection: Selection,
    /// The stream's name.
    pub stream: StreamId,
    /// How much may be collected.
    pub budgets: Budgets,
    /// Follows the cursor, where there is one.
    pub cursor: Option<CursorTracker>,
    /// The position behind the last row of the range.
    pub end: Option<Position>,
}

impl ReaderSetup {
    /// The statement as it is sent.
    fn statement(&self) -> String {
        let Prepared { text, shape } = &*self.prepared;
        if text.is_query() {
            select(text.as_str(), &shape.casts(), &self.selection)
        } else {
            text.as_str().to_owned()
        }
    }
}

/// Starts to copy a query's rows, in a session whose transaction has begun.
///
/// # Errors
/// When the server refuses, or the statement's columns have changed since they were looked at.
pub async fn start_copy(mut session: RawSession, setup: ReaderSetup) -> Result<Box<dyn Reader>> {
    let Prepared { text, shape } = &*setup.prepared;
    // The locks that this takes hold until the end: nobody can change the columns any more.
    let columns = session.describe(text.as_str(), "The server refuses the statement").await;
    shape.check_unchanged(columns.map_err(refused)?.into_iter())?;
    let source = Source::copy(session, &setup.statement()).await?;
    reader(source, setup)
}

/// Starts any statement, in a session whose transaction has begun.
///
/// # Errors
/// As [`start_copy`].
pub async fn start(session: Session, setup: ReaderSetup) -> Result<Box<dyn Reader>> {
    let Prepared { text, shape } = &*setup.prepared;
    let statement = prepare(&session, text).await?;
    let columns = statement.columns().iter();
    shape.check_unchanged(columns.map(|column| (column.type_().oid(), column.type_modifier())))?;
    let source = Source::rows(session, &setup.statement()).await?;
    reader(source, setup)
}

fn reader(source: Source, setup: ReaderSetup) -> Result<Box<dyn Reader>> {
    Ok(Box::new(QueryReader {
        source,
        collector: Collector::new(&setup.prepared.shape, setup.budgets, setup.cursor)?,
        stream: setup.stream,
        end: setup.end,
        boundaries: 0,
        pending: None,
        state: State::Opened,
    }))
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Opened,
    Reading,
    /// All rows are handed over.
    Drained,
    Ended,
}

struct QueryReader {
    source: Source,
    collector: Collector,
    stream: StreamId,
    end: Option<Position>,
    boundaries: u64,
    /// Comes behind the batch that was handed over last.
    pending: Option<Boundary>,
    state: State,
}

impl QueryReader {
    fn batch(&mut self) -> Result<Event> {
        let batch = self.collector.finish()?;
        if let Some(position) = self.collector.position()? {
            self.boundaries += 1;
            self.pending = Some(Boundary::at(self.boundaries, position));
        }
        Ok(Event::Rows(Rows { stream: self.stream.clone(), schema_id: 0, batch }))
    }

    fn last_boundary(&mut self) -> Result<Event> {
        self.boundaries += 1;
        let last = self.collector.position()?;
        Ok(Event::Boundary(match self.end.take().or(last) {
            Some(position) => Boundary::at(self.boundaries, position),
            None => Boundary::without_position(self.boundaries),
        }))
    }
}

#[async_trait]
impl Reader for QueryReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        if let Some(boundary) = self.pending.take() {
            return Ok(Event::Boundary(boundary));
        }
        match self.state {
            State::Opened => {
                self.state = State::Reading;
                let schema = Arc::clone(self.collector.schema());
                return Ok(Event::Schema(StreamSchema::new(self.stream.clone(), 0, schema)));
            }
            State::Reading => {}
            State::Drained => {
                self.state = State::Ended;
                return self.last_boundary();
            }
            State::Ended => return Ok(Event::End),
        }
        let wait = self.collector.patience().map_or(max_wait, |patience| patience.min(max_wait));
        let Self { source, collector, .. } = self;
        match time::timeout(wait, poll_fn(|context| source.poll_rows(context, collector))).await {
            Ok(more) => {
                if !more? {
                    self.state = State::Drained;
                }
            }
            // Rows wait no longer than they may; the call itself no longer than it may.
            Err(_) if self.collector.patience().is_none_or(|patience| !patience.is_zero()) => {
                return Ok(Event::Idle);
            }
            Err(_) => {}
        }
        if self.collector.has_rows() {
            return self.batch();
        }
        self.state = State::Ended;
        self.last_boundary()
    }

    fn canceller(&self) -> Canceller {
        self.source.canceller()
    }
}
