//! The writer of one lane: one session, one transaction at a time.

use std::collections::{HashMap, VecDeque};

use hub_plugin_api::{
    CommitToken, Context, Error, ErrorKind, FlushReport, Guarantee, Level, RejectedRow, Result, Rows,
    StreamId, StreamSchema, WriteMode, Writer, WriterRequest, WriterStart, async_trait,
    changes::{Changes, Op},
    settle::{Chunk, Segment},
};

use tokio_postgres::Statement;

use super::{
    copy::CopyRows,
    options::WriteOptions,
    replace::Staging,
    statements::{self, Statements},
    table::{Builder, Shape},
    template::Template,
    token::Lane,
};
use crate::{config::Settings, connection::Session, error, sql};

/// Bytes of rows of streams whose turn has not come.
const WAITING_BYTES: usize = 4 << 20;

/// Bytes of changes that are folded together.
const WINDOW_BYTES: usize = 8 << 20;

/// Bytes of changes that wait at most, where no place comes that they may be cut at.
const MOST_WINDOW_BYTES: usize = 3 * WINDOW_BYTES;

/// A stream and its table.
pub(super) struct Table {
    pub stream: StreamId,
    pub shape: Shape,
    /// The staging table of this session, once it is there.
    pub stage: Option<String>,
    /// The text of its COPY, and the statement that was prepared of it.
    pub copy: Option<(String, Statement)>,
    /// Rows whose turn has not come.
    pub waiting: Segment,
    /// Rows that met a foreign key whose row may still come.
    pub deferred: VecDeque<Segment>,
    pub next_row: u64,
}

/// The rows that are on their way to the server.
pub(super) struct Open {
    pub table: usize,
    pub copy: CopyRows,
    pub segment: Segment,
}

/// Writes one lane.
pub(super) struct PostgresWriter {
    pub session: Session,
    pub context: Context,
    pub options: WriteOptions,
    pub staging: Option<Staging>,
    templates: Vec<(Op, Template)>,
    lane: Lane,
    start: WriterStart,
    pub tables: Vec<Table>,
    by_stream: HashMap<StreamId, usize>,
    pub open: Option<Open>,
    pub waiting_bytes: usize,
    /// The greatest number of the changes that wait.
    pub waiting_seq: u64,
    pub deferred_bytes: usize,
    pub in_transaction: bool,
    pub rejected: Vec<RejectedRow>,
    stages: usize,
    failed: bool,
}

/// Takes a lane.
///
/// # Errors
/// When the options do not fit, or the server refuses.
pub(crate) async fn writer(
    settings: &Settings,
    context: &Context,
    request: &WriterRequest,
) -> Result<Box<dyn Writer>> {
    let options = WriteOptions::read(&request.options)?;
    let templates = statements::parse(&options.statements)?;
    let session = Session::open(settings, context).await?;
    // What is committed must be on disk when `commit` returns, whatever the role or the database set.
    session
        .run(
            "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local')",
            "Could not prepare the session",
        )
        .await?;
    let lane = Lane::take(&session, options.commit_schema(), request).await?;
    let start = WriterStart {
        last: lane.last().cloned(),
        guarantee: Guarantee::EffectivelyOnce,
        reason: "Rows and commit token are stored in one transaction".into(),
        idempotent: options.statements.is_empty()
            && matches!(options.mode, WriteMode::Upsert | WriteMode::ApplyChanges),
    };
    let staging = (options.mode == WriteMode::Replace).then(|| Staging::new(request));
    Ok(Box::new(PostgresWriter {
        session,
        context: context.clone(),
        options,
        staging,
        templates,
        lane,
        start,
        tables: Vec::new(),
        by_stream: HashMap::new(),
        open: None,
        waiting_bytes: 0,
        waiting_seq: 0,
        deferred_bytes: 0,
        in_transaction: false,
        rejected: Vec::new(),
        stages: 0,
        failed: false,
    }))
}

impl PostgresWriter {
    /// Opens the transaction unless it is open.
    pub(super) async fn begin(&mut self) -> Result<()> {
        if !self.in_transaction {
            self.session
                .run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "Could not begin a transaction")
                .await?;
            self.in_transaction = true;
        }
        Ok(())
    }

    async fn end(&mut self, how: &str) -> Result<()> {
        self.session.run(how, "Could not end the transaction").await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn take_schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let known = self.by_stream.get(&schema.stream).copied();
        if let Some(table) = known {
            self.settle_table(table).await?;
        }
        // An open COPY takes the session.
        self.close().await?;
        // Without rows under way the table is made at once: other lanes do not wait for the first commit.
        let alone = !self.in_transaction;
        self.begin().await?;
        let shape = self.shape(schema, known).await?;
        if alone {
            self.end("COMMIT").await?;
        }
        match known {
            Some(table) => {
                self.tables[table].shape = shape;
                self.tables[table].stage = None;
            }
            None => {
                self.check_not_shared(&schema.stream, &shape)?;
                self.by_stream.insert(schema.stream.clone(), self.tables.len());
                self.tables.push(Table {
                    stream: schema.stream.clone(),
                    shape,
                    stage: None,
                    copy: None,
                    waiting: Segment::default(),
                    deferred: VecDeque::new(),
                    next_row: 0,
                });
            }
        }
        Ok(())
    }

    async fn shape(&mut self, schema: &StreamSchema, known: Option<usize>) -> Result<Shape> {
        if !self.templates.is_empty() {
            let statements = Statements::prepare(self.session.client(), &self.templates, schema).await?;
            return Ok(Shape {
                schema_id: schema.id,
                destination: format!("the table of stream `{}`", schema.stream),
                statements: Some(statements),
                ..Shape::default()
            });
        }
        let table = self.options.table_of(&schema.stream).to_owned();
        super::options::check_name("table", &table)?;
        let in_schema = self.options.schema_of(&schema.stream);
        super::options::check_name("schema", in_schema)?;
        let name = match &self.staging {
            Some(staging) => staging.prepare(&self.session, &self.options.schema, &table).await?,
            None => table.clone(),
        };
        let builder = Builder {
            session: &self.session,
            context: &self.context,
            options: &self.options,
            schema: in_schema,
            name: &name,
            earlier: known.map(|table| self.tables[table].shape.columns.as_slice()),
        };
        let shape = builder.shape(schema).await?;
        if let Some(staging) = &self.staging {
            let columns = shape.plan.iter().map(|plan| plan.name.clone()).collect();
            staging.note(&self.session, &shape.destination, &table, columns).await?;
        }
        Ok(shape)
    }

    /// Two streams in one table would take each other's rows in every mode but append.
    fn check_not_shared(&self, stream: &StreamId, shape: &Shape) -> Result<()> {
        let other = self.tables.iter().find(|table| table.shape.destination == shape.destination);
        match other {
            Some(other) if self.options.mode != WriteMode::Append => Err(Error::config(
                "table",
                format!("Streams `{}` and `{stream}` would share table {}", other.stream, shape.destination),
            )
            .with_hint("Only mode `append` puts several streams into one table")),
            _ => Ok(()),
        }
    }

    async fn take_rows(&mut self, rows: Rows) -> Result<()> {
        let Some(&table) = self.by_stream.get(&rows.stream) else {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("Stream `{}` sent rows before its shape", rows.stream),
            ));
        };
        let Table { shape, next_row, .. } = &mut self.tables[table];
        if shape.schema_id != rows.schema_id {
            let message = format!("Stream `{}` sent rows of shape {}", rows.stream, rows.schema_id);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        let chunk = Chunk { first_row: *next_row, batch: rows.batch };
        *next_row += chunk.batch.num_rows() as u64;
        self.begin().await?;
        if self.tables[table].shape.changes {
            return self.take_changes(table, chunk).await;
        }
        match &self.open {
            Some(open) if open.table == table => self.send(chunk).await,
            _ => {
                self.waiting_bytes += self.tables[table].waiting.push(chunk);
                if self.open.is_none() || self.waiting_bytes > WAITING_BYTES {
                    self.next_table().await
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Keeps changes until their window is full. It is cut only in front of a change that all others of the window came
    /// before, whatever their stream: a child's change without its parent's would meet a foreign key.
    async fn take_changes(&mut self, table: usize, chunk: Chunk) -> Result<()> {
        let view = Changes::of(&chunk.batch)?;
        let rows = chunk.batch.num_rows();
        let (first, last) = (view.seq(0), rows.checked_sub(1).and_then(|row| view.seq(row)));
        let may_cut = first.is_none_or(|first| first > self.waiting_seq);
        if self.waiting_bytes > WINDOW_BYTES && (may_cut || self.waiting_bytes > MOST_WINDOW_BYTES) {
            self.settle_all().await?;
            self.begin().await?;
        }
        self.waiting_seq = last.unwrap_or_default().max(self.waiting_seq);
        self.waiting_bytes += self.tables[table].waiting.push(chunk);
        Ok(())
    }

    /// The name of the next staging table of this session.
    pub(super) fn next_stage(&mut self) -> String {
        self.stages += 1;
        format!("\"pg_temp\".\"__hub_stage_{}\"", self.stages)
    }

    async fn empty(&mut self, streams: &[StreamId]) -> Result<()> {
        if !self.templates.is_empty() {
            return Err(Error::unsupported("A truncate, for which `statements` has none,"));
        }
        if self.options.mode == WriteMode::Append {
            // A history is not over with it.
            for stream in streams {
                let message =
                    format!("Stream `{stream}` was emptied at the source: what was appended of it stays");
                self.context.log(Level::Warn, "postgres", message);
            }
            return Ok(());
        }
        self.settle_all().await?;
        self.begin().await?;
        let mut tables = Vec::new();
        for stream in streams {
            let table = self.by_stream.get(stream).map(|table| self.tables[*table].shape.destination.clone());
            let name = sql::qualified(Some(self.options.schema_of(stream)), self.options.table_of(stream));
            match table {
                Some(table) => tables.push(table),
                // A stream that has not sent its shape may have rows of an earlier run.
                None if self.staging.is_none() => {
                    let there = "SELECT pg_catalog.to_regclass($1::text) IS NOT NULL";
                    let row = self.session.work(self.session.client().query_one(there, &[&name])).await;
                    let row =
                        row.map_err(|error| error::from_driver("Could not look for a table", &error))?;
                    // Of one that is not there nothing ever came.
                    if row.get(0) {
                        tables.push(name);
                    }
                }
                None => {}
            }
        }
        super::replace::empty(&self.session, &tables).await
    }

    async fn store(&mut self, token: &CommitToken) -> Result<()> {
        self.settle_all().await?;
        if let Some(first) = self.rejected.first() {
            return Err(Error::new(
                first.kind,
                format!("Rows were refused and not asked for: {}", first.reason),
            ));
        }
        token.check_follows(self.lane.last())?;
        self.begin().await?;
        self.lane.store(self.session.client(), token).await
    }

    async fn commit_with(&mut self, token: &CommitToken) -> Result<()> {
        self.store(token).await?;
        self.end("COMMIT").await?;
        self.lane.advance(token);
        Ok(())
    }

    async fn swap(&mut self, token: &CommitToken) -> Result<()> {
        self.store(token).await?;
        if let Some(staging) = &self.staging {
            staging.swap(&self.session, &self.options).await?;
        }
        self.end("COMMIT").await?;
        self.lane.advance(token);
        Ok(())
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed {
            return Err(Error::new(
                ErrorKind::Poisoned,
                "The writer failed before and accepts nothing any more",
            ));
        }
        Ok(())
    }

    /// After an error nothing but a drop is accepted. Set first, so that a cancelled call counts as failed.
    fn guard(&mut self) -> Result<()> {
        self.check_usable()?;
        self.failed = true;
        Ok(())
    }

    fn settled<T>(&mut self, result: Result<T>) -> Result<T> {
        self.failed = result.is_err();
        result
    }
}

#[async_trait]
impl Writer for PostgresWriter {
    fn start(&self) -> WriterStart {
        self.start.clone()
    }

    async fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        self.guard()?;
        let result = self.take_schema(schema).await;
        self.settled(result)
    }

    async fn write(&mut self, rows: Rows) -> Result<()> {
        self.guard()?;
        let result = self.take_rows(rows).await;
        self.settled(result)
    }

    async fn truncate(&mut self, streams: &[StreamId]) -> Result<()> {
        self.guard()?;
        let result = self.empty(streams).await;
        self.settled(result)
    }

    async fn flush(&mut self) -> Result<FlushReport> {
        self.guard()?;
        let result = self.settle_all().await;
        self.settled(result)?;
        for table in &mut self.tables {
            table.next_row = 0;
        }
        let mut rejected = std::mem::take(&mut self.rejected);
        rejected.sort_by(|a, b| (&a.stream, a.row).cmp(&(&b.stream, b.row)));
        Ok(FlushReport { rejected })
    }

    async fn commit(&mut self, token: &CommitToken) -> Result<()> {
        self.guard()?;
        let result = self.commit_with(token).await;
        self.settled(result)
    }

    async fn finish(&mut self, token: &CommitToken) -> Result<()> {
        self.guard()?;
        let result = if self.staging.is_some() { self.swap(token).await } else { self.settle_all().await };
        self.settled(result)
    }

    fn canceller(&self) -> hub_plugin_api::Canceller {
        self.session.canceller()
    }
}

/// An error of the driver while rows were sent.
pub(super) fn sending(destination: &str, error: &tokio_postgres::Error) -> Error {
    error::from_driver(&format!("Could not write to {destination}"), error)
}
