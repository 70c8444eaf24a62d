use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Boundary, Budgets, Canceller, Context, Error, ErrorKind, Event, Position, Reader, Result, Rows, StreamId,
    StreamSchema, async_trait,
};
use tokio::time;

use super::{
    cursor::CursorTracker,
    prepare::{Prepared, ServerInfo, prepare},
    source::{Fields, Source},
};
use crate::{
    config::Settings,
    connection::Session,
    sql::read::{Selection, begin_snapshot, select},
    wire::decode::RowDecoder,
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

/// Opens a session of its own in which a snapshot is seen; without one, the state of now.
///
/// # Errors
/// When the session cannot be opened, or [`ErrorKind::SnapshotLost`] when the snapshot is gone.
pub async fn open_snapshot(
    settings: &Settings,
    context: &Context,
    snapshot: Option<&str>,
    lock_timeout_ms: u64,
) -> Result<Session> {
    let session = Session::open(settings, context).await?;
    let version = ServerInfo::of(&session).await?.version;
    let begin = begin_snapshot(snapshot, lock_timeout_ms, version);
    session.run(&begin, "Could not start reading").await.map_err(|error| {
        // An unknown snapshot, or one whose session has ended.
        if snapshot.is_some() && matches!(error.code.as_deref(), Some("22023" | "42704" | "55000")) {
            return Error {
                kind: ErrorKind::SnapshotLost,
                message: "The plan's snapshot is gone".into(),
                ..error
            };
        }
        error
    })?;
    Ok(session)
}

/// Starts reading in a session whose transaction has begun.
///
/// # Errors
/// When the server refuses, or the statement's columns have changed since they were looked at.
pub async fn start(session: Session, setup: ReaderSetup) -> Result<Box<dyn Reader>> {
    let Prepared { text, shape } = &*setup.prepared;
    // The locks that this takes hold until the end: nobody can change the columns any more.
    shape.check_unchanged(&prepare(&session, text).await?)?;
    let decoder = RowDecoder::new(shape.schema(), &shape.wires(), setup.budgets.max_value_bytes)?;
    let (user, is_query) = (text.as_str(), text.is_query());
    let statement = if is_query { select(user, &shape.casts(), &setup.selection) } else { user.to_owned() };
    let source = Source::start(&session, &statement, is_query).await?;
    session.set_busy(true);
    Ok(Box::new(QueryReader {
        session,
        source,
        decoder,
        stream: setup.stream,
        budgets: setup.budgets,
        cursor: setup.cursor,
        end: setup.end,
        first_row: None,
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
    session: Session,
    source: Source,
    decoder: RowDecoder,
    stream: StreamId,
    budgets: Budgets,
    cursor: Option<CursorTracker>,
    end: Option<Position>,
    /// When the first row of the batch in the making came.
    first_row: Option<Instant>,
    boundaries: u64,
    /// Comes behind the batch that was handed over last.
    pending: Option<Boundary>,
    state: State,
}

impl QueryReader {
    /// Collects rows until a batch is full (ready with `true`) or there are no more (ready with `false`).
    fn poll_batch(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<bool>> {
        let Self { source, decoder, cursor, budgets, first_row, .. } = self;
        loop {
            if decoder.rows() as u64 >= budgets.max_batch_rows
                || decoder.bytes() as u64 >= budgets.max_batch_bytes
            {
                return Poll::Ready(Ok(true));
            }
            let taken = source.poll_rows(context, |fields| {
                if let Some(cursor) = cursor {
                    cursor.note(fields)?;
                }
                match fields {
                    Fields::Tuple(tuple) => decoder.append(tuple.fields()),
                    Fields::List(fields) => decoder.append(fields.iter().copied()),
                }
            });
            match taken {
                Poll::Ready(Ok(true)) => {
                    if first_row.is_none() {
                        *first_row = Some(Instant::now());
                    }
                }
                other => return other,
            }
        }
    }

    fn batch(&mut self) -> Result<Event> {
        self.first_row = None;
        let batch = self.decoder.finish()?;
        if let Some(position) = self.cursor.as_ref().map(CursorTracker::position).transpose()?.flatten() {
            self.boundaries += 1;
            self.pending = Some(Boundary::at(self.boundaries, position));
        }
        Ok(Event::Rows(Rows { stream: self.stream.clone(), schema_id: 0, batch }))
    }

    fn last_boundary(&mut self) -> Result<Event> {
        self.boundaries += 1;
        let last = self.cursor.as_ref().map(CursorTracker::position).transpose()?.flatten();
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
                let schema = Arc::clone(self.decoder.schema());
                return Ok(Event::Schema(StreamSchema::new(self.stream.clone(), 0, schema)));
            }
            State::Reading => {}
            State::Drained => {
                self.state = State::Ended;
                return self.last_boundary();
            }
            State::Ended => return Ok(Event::End),
        }
        let max_delay = Duration::from_millis(self.budgets.max_delay_ms);
        let patience = self.first_row.map(|since| max_delay.saturating_sub(since.elapsed()));
        let wait = patience.map_or(max_wait, |patience| patience.min(max_wait));
        match time::timeout(wait, poll_fn(|context| self.poll_batch(context))).await {
            Ok(filled) => {
                if !filled? {
                    self.session.set_busy(false);
                    self.state = State::Drained;
                }
            }
            // Rows wait no longer than they may; the call itself no longer than it may.
            Err(_) if self.first_row.is_none_or(|since| since.elapsed() < max_delay) => {
                return Ok(Event::Idle);
            }
            Err(_) => {}
        }
        if self.decoder.rows() > 0 {
            return self.batch();
        }
        self.state = State::Ended;
        self.last_boundary()
    }

    fn canceller(&self) -> Canceller {
        self.session.canceller()
    }
}
