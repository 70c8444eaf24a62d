use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Boundary, Budgets, Canceller, Error, ErrorKind, Event, Position, Reader, Result, Rows, StreamId,
    StreamSchema,
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    async_trait,
    types::schema_of,
};
use rusqlite::types::{Value, ValueRef};
use tokio::sync::mpsc;

use super::{
    Bound, Ties,
    plan::{After, POSITION_VERSION, SplitSpec, bind_tuple},
};
use crate::{
    config::ConnectionConfig,
    database::{self, Interrupt},
    decode::{ColumnDecoder, Misfit},
    error::map,
    sql::{self, Limits},
};

/// Events that wait for the host: the thread reads the next batch while the host works on one.
const CHANNEL_EVENTS: usize = 2;
/// Rows between two looks at the clock.
const CLOCK_ROWS: usize = 256;

/// What to read.
pub struct ReadRequest {
    /// What the rows are handed over as.
    pub stream: StreamId,
    /// The split.
    pub spec: SplitSpec,
    /// The tuple behind which to go on.
    pub resume: Option<Vec<Bound>>,
    /// How much may be collected.
    pub budgets: Budgets,
}

/// Opens a reader: a thread with its own connection, because SQLite's calls block.
///
/// # Errors
/// When no thread can be made.
pub fn open(config: &ConnectionConfig, request: ReadRequest) -> Result<Box<dyn Reader>> {
    let (sender, receiver) = mpsc::channel(CHANNEL_EVENTS);
    let interrupt = Arc::new(Interrupt::default());
    let (config, watched) = (config.clone(), Arc::clone(&interrupt));
    std::thread::Builder::new()
        .name("sqlite-read".into())
        .spawn(move || {
            let result = read(&config, &request, &watched, &sender);
            if let Err(error) = result {
                let error = if watched.is_cancelled() {
                    Error { kind: ErrorKind::Cancelled, ..error }
                } else {
                    error
                };
                // The host may be gone: nobody is left to tell then.
                let _ = sender.blocking_send(Err(error));
            }
        })
        .map_err(|error| {
            Error::new(ErrorKind::ResourceExhausted, "No thread could be started").with_source(&error)
        })?;
    Ok(Box::new(QueryReader { receiver, interrupt, ended: false }))
}

struct QueryReader {
    receiver: mpsc::Receiver<Result<Event>>,
    interrupt: Arc<Interrupt>,
    ended: bool,
}

#[async_trait]
impl Reader for QueryReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        self.interrupt.check()?;
        if self.ended {
            return Ok(Event::End);
        }
        match tokio::time::timeout(max_wait, self.receiver.recv()).await {
            Err(_) => Ok(Event::Idle),
            Ok(Some(event)) => {
                self.ended = matches!(event, Ok(Event::End));
                event
            }
            Ok(None) => {
                Err(Error::new(ErrorKind::PluginPanicked, "The reading thread ended without a result"))
            }
        }
    }

    fn canceller(&self) -> Canceller {
        let interrupt = Arc::clone(&self.interrupt);
        Canceller::new(move || interrupt.cancel())
    }
}

impl Drop for QueryReader {
    fn drop(&mut self) {
        self.interrupt.cancel();
    }
}

type Sender = mpsc::Sender<Result<Event>>;

/// Reads to the end, or until nobody listens.
fn read(
    config: &ConnectionConfig,
    request: &ReadRequest,
    interrupt: &Interrupt,
    sender: &Sender,
) -> Result<()> {
    let spec = &request.spec;
    let failed = |error| map("The statement failed", error).with_field("statement");
    let connection = database::open_read(config)?;
    interrupt.watch(&connection);
    interrupt.check()?;
    let cursor = spec.cursor_columns();
    let rereads = spec.ties == Ties::Reread;
    let after = request.resume.as_ref().or(spec.after.as_ref());
    let limits = Limits {
        after: after.map(|_| rereads),
        upto: spec.upto.is_some(),
        from: spec.from.is_some(),
        below: spec.below.is_some(),
        nulls: rereads,
    };
    let text = match cursor.is_empty() {
        true => spec.statement.clone(),
        false => sql::select_by_cursor(&spec.statement, &cursor, limits),
    };
    let mut statement = connection.prepare(&text).map_err(failed)?;
    spec.parameters.bind(&mut statement)?;
    bind_tuple(&mut statement, "after", after.map(Vec::as_slice).unwrap_or_default())?;
    bind_tuple(&mut statement, "upto", spec.upto.as_deref().unwrap_or_default())?;
    for (side, bound) in [("from", spec.from), ("below", spec.below)] {
        bind_tuple(&mut statement, side, bound.map(Bound::Integer).as_slice())?;
    }
    if statement.column_count() != spec.columns.len() {
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            "The statement's columns changed since the run was planned",
        )
        .with_field("statement"));
    }

    let mut batch = Batch::new(request)?;
    let mut ties = TieCheck::new(spec)?;
    let mut number = 0;
    if !send(sender, Event::Schema(StreamSchema::new(request.stream.clone(), 0, Arc::clone(&batch.schema)))) {
        return Ok(());
    }
    let mut rows = statement.raw_query();
    loop {
        // A row is looked at before the batch in front of it gets its boundary: were it a tie of the last one,
        // going on behind that boundary would lose it.
        let row = rows.next().map_err(failed)?;
        if let Some(row) = row {
            ties.check(row)?;
        }
        if batch.rows > 0 && (row.is_none() || batch.is_full()) {
            interrupt.check()?;
            if !send(sender, Event::Rows(batch.take()?)) {
                return Ok(());
            }
            if let Some(position) = ties.position()? {
                number += 1;
                if !send(sender, Event::Boundary(Boundary::at(number, position))) {
                    return Ok(());
                }
            }
        }
        let Some(row) = row else { break };
        batch.append(row)?;
        ties.remember(row)?;
    }
    // The end needs a boundary right before it: without a cursor it is the first, and behind no rows too.
    if number == 0 && !send(sender, Event::Boundary(Boundary::without_position(1))) {
        return Ok(());
    }
    send(sender, Event::End);
    Ok(())
}

/// Whether somebody still listens.
fn send(sender: &Sender, event: Event) -> bool {
    sender.blocking_send(Ok(event)).is_ok()
}

/// Rows on their way into Arrow.
struct Batch<'a> {
    request: &'a ReadRequest,
    schema: SchemaRef,
    decoders: Vec<ColumnDecoder>,
    rows: usize,
    bytes: u64,
    total: u64,
    started: Instant,
    is_late: bool,
}

impl<'a> Batch<'a> {
    fn new(request: &'a ReadRequest) -> Result<Self> {
        let decoders = request.spec.columns.iter().map(ColumnDecoder::new).collect::<Result<_>>()?;
        let schema = schema_of(&request.spec.columns);
        Ok(Self {
            request,
            schema,
            decoders,
            rows: 0,
            bytes: 0,
            total: 0,
            started: Instant::now(),
            is_late: false,
        })
    }

    fn append(&mut self, row: &rusqlite::Row<'_>) -> Result<()> {
        if self.rows == 0 {
            (self.started, self.is_late) = (Instant::now(), false);
        }
        for (index, decoder) in self.decoders.iter_mut().enumerate() {
            let value = row.get_ref(index).map_err(|error| map("A value could not be read", error))?;
            if let ValueRef::Text(bytes) | ValueRef::Blob(bytes) = value {
                let length = bytes.len() as u64;
                if length > self.request.budgets.max_value_bytes {
                    let found = format!("{length} bytes, more than {}", self.request.budgets.max_value_bytes);
                    return Err(misfit(
                        self.request,
                        index,
                        self.total,
                        &Misfit { found, hint: "Raise `max_value_bytes`" },
                    ));
                }
                self.bytes += length;
            }
            decoder.append(value).map_err(|found| misfit(self.request, index, self.total, &found))?;
        }
        self.bytes += 8 * self.decoders.len() as u64;
        self.rows += 1;
        self.total += 1;
        if self.rows.is_multiple_of(CLOCK_ROWS) {
            self.is_late = self.started.elapsed() > Duration::from_millis(self.request.budgets.max_delay_ms);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let budgets = &self.request.budgets;
        self.rows as u64 >= budgets.max_batch_rows || self.bytes >= budgets.max_batch_bytes || self.is_late
    }

    fn take(&mut self) -> Result<Rows> {
        let columns = self.decoders.iter_mut().map(ColumnDecoder::finish).collect::<Result<_>>()?;
        (self.rows, self.bytes) = (0, 0);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| {
            Error::new(ErrorKind::InvalidData, "The rows do not fit their columns")
                .with_source(&error)
                .with_hint("A column that is NOT NULL in its table is NULL in the statement: use an expression, `+column`")
        })?;
        Ok(Rows { stream: self.request.stream.clone(), schema_id: 0, batch })
    }
}

/// A value that its column's type cannot hold.
fn misfit(request: &ReadRequest, index: usize, row: u64, misfit: &Misfit) -> Error {
    let column = &request.spec.columns[index];
    let declared = column.declared.as_deref().unwrap_or("no declared type");
    let error = Error::new(
        ErrorKind::InvalidData,
        format!("Column `{}` ({declared}) holds {}", column.name, misfit.found),
    )
    .with_field("statement")
    .with_hint(misfit.hint)
    .with_context("row", row + 1);
    match &request.spec.table {
        Some(table) => error.with_context("table", table),
        None => error,
    }
}

/// Follows the cursor: finds ties, and makes positions.
struct TieCheck<'a> {
    spec: &'a SplitSpec,
    places: Vec<usize>,
    last: Vec<Value>,
    has_last: bool,
    /// The last tuple without NULL, for `reread`.
    whole: Option<Vec<Bound>>,
}

impl<'a> TieCheck<'a> {
    fn new(spec: &'a SplitSpec) -> Result<Self> {
        let place = |(name, _): &(String, bool)| {
            spec.columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                Error::internal(format!("Cursor column `{name}` is not among the statement's"))
            })
        };
        let places: Vec<_> = spec.cursor.iter().map(place).collect::<Result<_>>()?;
        Ok(Self { spec, last: vec![Value::Null; places.len()], places, has_last: false, whole: None })
    }

    fn check(&self, row: &rusqlite::Row<'_>) -> Result<()> {
        if self.spec.ties == Ties::Reread || !self.has_last || self.places.is_empty() {
            return Ok(());
        }
        for (place, last) in self.places.iter().zip(&self.last) {
            let value = row.get_ref(*place).map_err(|error| map("A value could not be read", error))?;
            if !is_equal(value, last) {
                return Ok(());
            }
        }
        let names: Vec<_> = self.spec.cursor.iter().map(|(name, _)| name.as_str()).collect();
        Err(Error::new(ErrorKind::InvalidData, "Two rows have the same cursor, so a restart between them would lose one")
            .with_field("cursor")
            .with_context("cursor", names.join(", "))
            .with_hint("Add a column that makes it unique, or take `cursor_ties: reread` with a destination in mode upsert"))
    }

    fn remember(&mut self, row: &rusqlite::Row<'_>) -> Result<()> {
        for (place, last) in self.places.iter().zip(&mut self.last) {
            let value = row.get_ref(*place).map_err(|error| map("A value could not be read", error))?;
            match (value, last) {
                (ValueRef::Text(bytes), Value::Text(text)) => {
                    text.clear();
                    text.push_str(std::str::from_utf8(bytes).map_err(|_| {
                        Error::new(ErrorKind::InvalidData, "A text of the cursor is not UTF-8")
                            .with_field("cursor")
                    })?);
                }
                (value, last) => {
                    *last = Value::try_from(value).map_err(|error| {
                        Error::new(ErrorKind::InvalidData, "A value of the cursor cannot be kept")
                            .with_source(&error)
                    })?;
                }
            }
        }
        self.has_last = true;
        if self.spec.ties == Ties::Reread && !self.last.contains(&Value::Null) {
            self.whole = Some(self.tuple()?);
        }
        Ok(())
    }

    fn tuple(&self) -> Result<Vec<Bound>> {
        self.last.iter().map(|value| Bound::of(value.into())).collect()
    }

    /// Where a later open goes on behind the last row.
    fn position(&self) -> Result<Option<Position>> {
        if self.places.is_empty() {
            return Ok(None);
        }
        let after = match self.spec.ties {
            Ties::Refuse => Some(self.tuple()?),
            Ties::Reread => self.whole.clone(),
        };
        Position::new(POSITION_VERSION, &After { after }).map(Some)
    }
}

/// Equal as SQLite compares: a whole float equals its integer.
fn is_equal(left: ValueRef<'_>, right: &Value) -> bool {
    match (left, right) {
        (ValueRef::Integer(integer), Value::Real(float)) => is_whole(*float, integer),
        (ValueRef::Real(float), Value::Integer(integer)) => is_whole(float, *integer),
        (left, right) => left == ValueRef::from(right),
    }
}

/// Both ways, so that an integer beyond 2^53 does not equal its rounded neighbour.
fn is_whole(float: f64, integer: i64) -> bool {
    integer as f64 == float && float as i64 == integer
}
