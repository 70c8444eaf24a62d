//! The rows that are there when a pipeline starts, as changes.
//!
//! One session sees the state of the place in the log at which following begins:
//! - MariaDB tells the place of a consistent snapshot itself (`binlog_snapshot_file`, `binlog_snapshot_position`);
//! - MySQL is held still with FLUSH TABLES WITH READ LOCK for as long as it takes to begin a transaction;
//! - where the account may not do that, following begins a little before the snapshot, by GTID: what was committed in
//!   between comes once more.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, ready},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hub_plugin_api::{
    Boundary, Budgets, Canceller, Context, Error, ErrorKind, Event, Reader, Result, Rows, StreamId,
    StreamSchema,
    arrow::{
        array::{
            ArrayRef, BinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
            new_null_array,
        },
        datatypes::SchemaRef,
    },
    async_trait,
    changes::{Op, change_schema},
    types::schema_of,
};
use tokio::time;

use super::{
    definition::{Definitions, TableDefinition, TableNames, altered, hold, look_up},
    position::LogPosition,
    server::LogServer,
    shape::carried,
};
use crate::{
    config::Settings,
    connection::Session,
    flavor::Vendor,
    raw::{
        RawSession, Row,
        column::{Reading, ZeroDates},
        decode::RowDecoder,
    },
    sql::{
        self,
        read::{BEGIN_SNAPSHOT, LOCK_ALL, Selection, UNLOCK, lock_timeout, select},
    },
    types::ServerType,
};

const STARTING: &str = "Could not take a snapshot";
const READING: &str = "Could not read the rows of the snapshot";
/// How long to wait for statements that run before the lock is given up.
const LOCK_TIMEOUT_MS: u64 = 10_000;

/// A state of the database, and where the log goes on from it.
pub struct Start {
    /// Sees that state.
    pub session: SnapshotSession,
    /// Where following begins.
    pub position: LogPosition,
    /// The followed tables as they are declared there.
    pub definitions: Definitions,
    /// Whether the position is exactly that of the state, rather than a little before.
    pub exact: bool,
}

/// What the session of a snapshot goes back to behind each table: on MySQL a table that was read may be altered again,
/// though the transaction goes on for the others. MariaDB keeps its locks of tables up to the end.
const MARK: &str = "SAVEPOINT hub_snapshot";
const BACK_TO_MARK: &str = "ROLLBACK TO SAVEPOINT hub_snapshot";

/// The session of a snapshot, which the readers of its tables use one after the other.
#[derive(Clone, Default)]
pub struct SnapshotSession {
    session: Arc<Mutex<Option<RawSession>>>,
    lost: Arc<AtomicBool>,
}

impl SnapshotSession {
    fn new(session: RawSession) -> Self {
        Self { session: Arc::new(Mutex::new(Some(session))), lost: Arc::default() }
    }

    fn take(&self) -> Result<Option<RawSession>> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::SnapshotLost, "The session that saw the snapshot is gone"));
        }
        Ok(self.session.lock().unwrap_or_else(PoisonError::into_inner).take())
    }

    fn give_back(&self, session: RawSession) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    /// Ends it, whoever still holds it: its transaction would hold up every ALTER of the tables that it has read.
    pub fn end(&self) {
        self.lost.store(true, Ordering::Relaxed);
        drop(self.session.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Begins a snapshot of now, and finds where in the log it stands.
///
/// # Errors
/// When the server refuses; [`ErrorKind::PermissionDenied`] when neither lock nor GTIDs are to be had.
pub async fn begin(
    settings: &Settings,
    context: &Context,
    server: &mut LogServer,
    tables: &TableNames,
) -> Result<Start> {
    server.run("START TRANSACTION").await?;
    // Until COMMIT nobody alters these tables: declarations, position and snapshot fit together.
    hold(server, tables).await?;
    let definitions = look_up(server, tables).await?;
    let mut session = RawSession::open(settings, context).await?;
    let (position, exact) = match server.vendor() {
        Vendor::MariaDb => {
            session.run(BEGIN_SNAPSHOT, STARTING).await?;
            let status = session.ask("SHOW STATUS LIKE 'binlog_snapshot_%'", STARTING).await?;
            let find = |name: &str| {
                let row = status.rows.iter().find(|row| {
                    row.first()
                        .and_then(Option::as_deref)
                        .is_some_and(|found| found.eq_ignore_ascii_case(name))
                });
                row.and_then(|row| row.get(1).cloned().flatten())
            };
            let file = find("binlog_snapshot_file").filter(|file| !file.is_empty());
            let offset = find("binlog_snapshot_position").and_then(|text| text.parse().ok());
            let (Some(file), Some(offset)) = (file, offset) else {
                return Err(Error::unsupported("A snapshot of a server without a binary log")
                    .with_hint("Start the server with `log_bin`"));
            };
            (server.position_at(file, offset).await?, true)
        }
        Vendor::MySql => match lock(settings, context).await? {
            Some(mut lock) => {
                session.run(BEGIN_SNAPSHOT, STARTING).await?;
                let position = server.end_of_log().await?;
                lock.run(UNLOCK, STARTING).await?;
                (position, true)
            }
            None if server.counts => {
                // What is in this set is visible to every snapshot that begins later.
                let position = server.end_of_log().await?;
                session.run(BEGIN_SNAPSHOT, STARTING).await?;
                (position, false)
            }
            None => {
                return Err(Error::new(
                    ErrorKind::PermissionDenied,
                    "The place of a snapshot in the log cannot be found without a lock where transactions have no GTIDs",
                )
                .with_hint("GRANT RELOAD ON *.* to the account, or set `gtid_mode = ON`, or choose `snapshot: never`"));
            }
        },
    };
    server.run("COMMIT").await?;
    session.run(MARK, STARTING).await?;
    Ok(Start { session: SnapshotSession::new(session), position, definitions, exact })
}

/// Opens a session that sees the state of now, for the rest of a snapshot that was interrupted, and finds what its
/// tables look like now: they may have been altered or dropped since.
///
/// # Errors
/// When the server refuses.
pub async fn begin_again(
    settings: &Settings,
    context: &Context,
    tables: &TableNames,
) -> Result<(SnapshotSession, Definitions)> {
    let mut server = LogServer::open(settings, context).await?;
    server.run("START TRANSACTION").await?;
    let there = look_up(&mut server, tables).await?;
    let mut tables = tables.clone();
    tables.retain(|(database, table)| there.get(database).is_some_and(|of| of.contains_key(table)));
    hold(&mut server, &tables).await?;
    let definitions = look_up(&mut server, &tables).await?;
    let mut session = RawSession::open(settings, context).await?;
    session.run(BEGIN_SNAPSHOT, STARTING).await?;
    server.run("COMMIT").await?;
    session.run(MARK, STARTING).await?;
    Ok((SnapshotSession::new(session), definitions))
}

/// A session that holds all commits up; none where the account may not, or others take too long.
async fn lock(settings: &Settings, context: &Context) -> Result<Option<Session>> {
    let mut session = Session::open(settings, context).await?;
    session.run(&lock_timeout(LOCK_TIMEOUT_MS), STARTING).await?;
    match session.run(LOCK_ALL, STARTING).await {
        Ok(_) => Ok(Some(session)),
        Err(error) if matches!(error.kind, ErrorKind::PermissionDenied | ErrorKind::Busy) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads one table of a snapshot.
pub struct SnapshotReader {
    from: SnapshotSession,
    session: Option<RawSession>,
    statement: String,
    stream: StreamId,
    decoder: RowDecoder,
    schema: SchemaRef,
    budgets: Budgets,
    taken_micros: i64,
    /// The number of the last change before the next batch's.
    pub changes: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Reading,
    Drained,
    Ended,
}

impl SnapshotReader {
    /// Reads a table as it was declared when the snapshot began.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] with the column's name for what cannot be carried.
    pub fn new(
        from: SnapshotSession,
        vendor: Vendor,
        settings: &Settings,
        (database, table): (&str, &str),
        definition: &TableDefinition,
        zero_dates: ZeroDates,
        budgets: Budgets,
    ) -> Result<Self> {
        let stream = StreamId::new([database], table);
        let (mut columns, mut types) = (Vec::new(), Vec::new());
        for column in &definition.columns {
            let at_column =
                |error: Error| error.with_context("column", &column.name).with_context("table", &stream);
            let (column, of) = carried(column, vendor).map_err(at_column)?;
            columns.push(column);
            types.push(of);
        }
        let names: Vec<_> = definition.columns.iter().map(|column| sql::identifier(&column.name)).collect();
        let all = format!("SELECT {} FROM {}", names.join(", "), sql::qualified(Some(database), table));
        let forms: Vec<_> = types.iter().map(ServerType::asked_as).collect();
        let reading = Reading {
            zero_dates,
            offset_seconds: settings.offset_seconds(),
            max_value_bytes: usize::try_from(budgets.max_value_bytes).unwrap_or(usize::MAX),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            from,
            session: None,
            statement: select(&all, &forms, &Selection::default()),
            stream,
            decoder: RowDecoder::new(schema_of(&columns), &types, reading),
            schema: change_schema(&columns),
            budgets,
            taken_micros: i64::try_from(now.as_micros()).unwrap_or_default(),
            changes: 0,
            state: State::Waiting,
        })
    }

    /// Of a table that has gone there is nothing to read: the log says so itself.
    pub fn without_rows(mut self) -> Self {
        self.state = State::Drained;
        self
    }

    /// The rows so far as changes.
    fn batch(&mut self) -> Result<Event> {
        let rows = self.decoder.finish()?;
        let count = rows.num_rows();
        let first = self.changes + 1;
        self.changes += count as u64;
        let mut arrays = rows.columns().to_vec();
        arrays.push(std::sync::Arc::new(StringArray::from(vec![Op::Snapshot.as_str(); count])) as ArrayRef);
        let taken = TimestampMicrosecondArray::from(vec![self.taken_micros; count]).with_timezone("UTC");
        arrays.push(Arc::new(taken));
        arrays.push(Arc::new(UInt64Array::from_iter_values(first..=self.changes)));
        let before = self.schema.field(arrays.len()).data_type().clone();
        arrays.push(new_null_array(&before, count));
        arrays.push(Arc::new(BinaryArray::new_null(count)));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)?;
        Ok(Event::Rows(Rows { stream: self.stream.clone(), schema_id: 0, batch }))
    }
}

impl Drop for SnapshotReader {
    fn drop(&mut self) {
        if self.session.is_some() {
            self.from.lost.store(true, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Reader for SnapshotReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        match self.state {
            State::Waiting => {
                let since = Instant::now();
                loop {
                    if let Some(session) = self.from.take()? {
                        let session = self.session.insert(session);
                        session.start_rows(&self.statement, READING).await.map_err(altered)?;
                        self.state = State::Reading;
                        let schema = StreamSchema::new(self.stream.clone(), 0, Arc::clone(&self.schema));
                        return Ok(Event::Schema(schema));
                    }
                    if since.elapsed() >= max_wait {
                        return Ok(Event::Idle);
                    }
                    time::sleep(Duration::from_millis(20)).await;
                }
            }
            State::Reading => {}
            State::Drained => {
                self.state = State::Ended;
                return Ok(Event::Boundary(Boundary::without_position(1)));
            }
            State::Ended => return Ok(Event::End),
        }
        let Self { session, decoder, budgets, .. } = self;
        let Some(open) = session else { return Ok(Event::End) };
        let filling = poll_fn(|context| {
            loop {
                while let Some(row) = open.take_row(READING)? {
                    let Row::Row(payload) = row else { return Poll::Ready(Ok::<bool, Error>(false)) };
                    decoder.append(open.bytes(payload))?;
                    if decoder.rows() as u64 >= budgets.max_batch_rows
                        || decoder.bytes() as u64 >= budgets.max_batch_bytes
                    {
                        return Poll::Ready(Ok(true));
                    }
                }
                ready!(open.poll_receive(context, READING))?;
            }
        });
        match time::timeout(max_wait, filling).await {
            Ok(Ok(true)) => return self.batch(),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => return Err(error.with_context("table", &self.stream)),
            Err(_) => return Ok(Event::Idle),
        }
        self.state = State::Drained;
        if let Some(mut session) = self.session.take() {
            if let Err(error) = session.run(BACK_TO_MARK, READING).await {
                self.from.end();
                return Err(error);
            }
            self.from.give_back(session);
        }
        if self.decoder.rows() > 0 {
            return self.batch();
        }
        self.state = State::Ended;
        Ok(Event::Boundary(Boundary::without_position(1)))
    }

    fn canceller(&self) -> Canceller {
        self.session.as_ref().map_or_else(Canceller::none, RawSession::canceller)
    }
}
