use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Boundary, Budgets, Canceller, Error, ErrorKind, Event, Position, Reader, Result, Rows, StreamId,
    StreamSchema, async_trait,
};
use tokio::time;

use super::{cursor::CursorTracker, shape::Shape, snapshot::Pool};
use crate::{
    raw::{
        RawSession, Row,
        column::{Reading, ZeroDates},
        decode::RowDecoder,
    },
    sql::read::{Selection, select_in_order},
};

const READING: &str = "Could not read the rows";
/// Warnings about values that are not what the statement asked for, and what helps: a function's result longer than the
/// server's packets is null, one of GROUP_CONCAT is cut, and a number beyond its type becomes the greatest of it where
/// MariaDB puts a statement's rows aside.
const LOSSES: [(&str, &str); 3] = [
    ("1301", "Raise `max_allowed_packet` on the server, or select less of the value"),
    ("1260", "Raise `group_concat_max_len` on the server, or select less of the value"),
    ("1264", "Cast the value to a type that holds it"),
];

/// What a reader of a statement is to do.
pub struct ReaderSetup {
    /// The statement and its columns.
    pub shape: Arc<Shape>,
    /// Which of its rows.
    pub selection: Selection,
    /// The stream's name.
    pub stream: StreamId,
    /// How much may be collected.
    pub budgets: Budgets,
    /// What happens to zero dates.
    pub zero_dates: ZeroDates,
    /// Seconds that the session's zone is ahead of UTC.
    pub offset_seconds: i64,
    /// Follows the cursor, where there is one.
    pub cursor: Option<CursorTracker>,
    /// The position behind the last row of the range.
    pub end: Option<Position>,
    /// Where the session goes afterwards.
    pub pool: Option<Pool>,
}

/// Starts reading in a session whose transaction has begun.
///
/// # Errors
/// When the server refuses, or the statement's columns have changed since they were looked at.
pub async fn start(mut session: RawSession, setup: ReaderSetup) -> Result<Box<dyn Reader>> {
    let shape = &setup.shape;
    let statement = if shape.text.is_query() {
        select_in_order(session.server().vendor, &shape.text, &shape.forms(), &setup.selection)
    } else {
        shape.text.as_str().to_owned()
    };
    let refused = |error: Error| error.with_field("statement");
    let columns =
        session.start_rows(&statement, "The server refuses the statement").await.map_err(refused)?;
    shape.check_unchanged(&columns)?;
    let reading = Reading {
        zero_dates: setup.zero_dates,
        offset_seconds: setup.offset_seconds,
        max_value_bytes: usize::try_from(setup.budgets.max_value_bytes).unwrap_or(usize::MAX),
    };
    let canceller = session.canceller();
    Ok(Box::new(QueryReader {
        session: Some(session),
        canceller,
        decoder: RowDecoder::new(shape.schema(), &shape.types(), reading),
        stream: setup.stream,
        budgets: setup.budgets,
        cursor: setup.cursor,
        end: setup.end,
        pool: setup.pool,
        warnings: 0,
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
    /// Until all rows are read.
    session: Option<RawSession>,
    canceller: Canceller,
    decoder: RowDecoder,
    stream: StreamId,
    budgets: Budgets,
    cursor: Option<CursorTracker>,
    end: Option<Position>,
    pool: Option<Pool>,
    /// How many warnings the server has for the whole statement.
    warnings: u16,
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
        let Self { session, decoder, cursor, budgets, first_row, warnings, .. } = self;
        let Some(session) = session else { return Poll::Ready(Ok(false)) };
        loop {
            while let Some(row) = session.take_row(READING)? {
                let payload = match row {
                    Row::Row(payload) => payload,
                    Row::End(done) => {
                        *warnings = done.warnings;
                        return Poll::Ready(Ok(false));
                    }
                };
                let bytes = session.bytes(payload);
                if let Some(cursor) = cursor {
                    cursor.note(bytes)?;
                }
                decoder.append(bytes)?;
                if decoder.rows() as u64 >= budgets.max_batch_rows
                    || decoder.bytes() as u64 >= budgets.max_batch_bytes
                {
                    return Poll::Ready(Ok(true));
                }
            }
            if first_row.is_none() && decoder.rows() > 0 {
                *first_row = Some(Instant::now());
            }
            ready!(session.poll_receive(context, READING))?;
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

/// A value that the server could not give whole comes as another one, with nothing but a warning.
async fn check_complete(session: &mut RawSession) -> Result<()> {
    let warnings = session.ask("SHOW WARNINGS", READING).await?;
    let loss = |row: &usize| LOSSES.iter().find(|(code, _)| warnings.get(*row, "Code") == Some(code));
    let lost = (0..warnings.rows.len()).find_map(|row| Some((row, loss(&row)?)));
    let Some((row, (code, hint))) = lost else { return Ok(()) };
    let message = "The server could not give a value of the statement whole";
    Err(Error::new(ErrorKind::ResourceExhausted, message)
        .with_code(*code)
        .with_context("warning", warnings.get(row, "Message").unwrap_or_default())
        .with_hint(*hint))
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
                    self.state = State::Drained;
                    if let Some(mut session) = self.session.take() {
                        if self.warnings > 0 {
                            check_complete(&mut session).await?;
                        }
                        if let Some(pool) = &self.pool {
                            pool.give_back(session);
                        }
                    }
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
        self.canceller.clone()
    }
}
