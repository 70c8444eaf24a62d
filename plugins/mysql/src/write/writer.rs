//! The writer of one lane: one session, one transaction at a time.

use std::collections::HashMap;

use hub_plugin_api::{
    Canceller, CommitToken, Context, Error, ErrorKind, FlushReport, Guarantee, Level, RejectedRow, Result,
    Rows, StreamId, StreamSchema, WriteMode, Writer, WriterRequest, WriterStart, async_trait,
    changes::{Changes, Op},
    settle::{Chunk, Segment},
};

use super::{
    options::{Load, WriteOptions, check_name},
    replace::Staging,
    rows::statement_bytes,
    table::{Builder, Shape},
    template::{self, Statements, Template},
    token::Lane,
};
use crate::{config::Settings, connection::Session, raw::RawSession, sql::write as sql};

/// Bytes of rows that wait before they are sent.
const WINDOW_BYTES: usize = 8 << 20;
/// Bytes of changes that wait at most, where no place comes that they may be cut at.
const MOST_WINDOW_BYTES: usize = 3 * WINDOW_BYTES;

/// A stream and its table.
pub(super) struct Table {
    pub stream: StreamId,
    pub shape: Shape,
    /// Rows whose turn has not come.
    pub waiting: Segment,
    next_row: u64,
}

/// Writes one lane.
pub(super) struct TableWriter {
    pub session: Session,
    settings: Settings,
    context: Context,
    pub options: WriteOptions,
    staging: Option<Staging>,
    templates: Vec<(Op, Template)>,
    lane: Lane,
    start: WriterStart,
    pub tables: Vec<Table>,
    by_stream: HashMap<StreamId, usize>,
    pub waiting_bytes: usize,
    /// The greatest number of the changes that wait.
    pub waiting_seq: u64,
    in_transaction: bool,
    /// The server takes LOAD DATA LOCAL.
    pub loads: bool,
    /// After how many bytes of rows a statement ends.
    pub statement_bytes: usize,
    pub rejected: Vec<RejectedRow>,
    failed: bool,
}

/// Takes a lane.
///
/// # Errors
/// When the options do not fit, or the server refuses.
pub async fn writer(
    settings: &Settings,
    context: &Context,
    request: &WriterRequest,
) -> Result<Box<dyn Writer>> {
    const PREPARING: &str = "Could not prepare the session";
    let options = WriteOptions::read(&request.options)?;
    let templates = template::parse(&options.statements)?;
    let mut session = Session::open(settings, context).await?;
    // Without locks on gaps, lanes of one table do not wait for each other.
    session.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", PREPARING).await?;
    let allowed = "SELECT @@GLOBAL.local_infile AS loads, @@max_allowed_packet AS packet";
    let allowed = session.ask(allowed, PREPARING).await?;
    let loads = options.load == Load::Auto && allowed.get(0, "loads") == Some("1");
    let statement_bytes = statement_bytes(allowed.get(0, "packet").and_then(|bytes| bytes.parse().ok()));
    let lane = Lane::take(&mut session, &settings.database, request).await?;
    let start = WriterStart {
        last: lane.last().cloned(),
        guarantee: Guarantee::EffectivelyOnce,
        reason: "Rows and commit token are stored in one transaction".into(),
        idempotent: options.statements.is_empty()
            && matches!(options.mode, WriteMode::Upsert | WriteMode::ApplyChanges),
    };
    let staging = (options.mode == WriteMode::Replace).then(|| Staging::new(request, &settings.database));
    Ok(Box::new(TableWriter {
        session,
        settings: settings.clone(),
        context: context.clone(),
        options,
        staging,
        templates,
        lane,
        start,
        tables: Vec::new(),
        by_stream: HashMap::new(),
        waiting_bytes: 0,
        waiting_seq: 0,
        in_transaction: false,
        loads,
        statement_bytes,
        rejected: Vec::new(),
        failed: false,
    }))
}

impl TableWriter {
    /// Opens the transaction unless it is open.
    pub(super) async fn begin(&mut self) -> Result<()> {
        if !self.in_transaction {
            self.session.run("START TRANSACTION READ WRITE", "Could not begin a transaction").await?;
            self.in_transaction = true;
        }
        Ok(())
    }

    async fn take_schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let known = self.by_stream.get(&schema.stream).copied();
        if known.is_some_and(|table| !self.tables[table].waiting.is_empty()) {
            self.settle_all().await?;
        }
        let shape = self.shape(schema).await?;
        match known {
            Some(table) => self.tables[table].shape = shape,
            None => {
                self.check_not_shared(&schema.stream, &shape)?;
                self.by_stream.insert(schema.stream.clone(), self.tables.len());
                let (stream, waiting) = (schema.stream.clone(), Segment::default());
                self.tables.push(Table { stream, shape, waiting, next_row: 0 });
            }
        }
        Ok(())
    }

    async fn shape(&mut self, schema: &StreamSchema) -> Result<Shape> {
        if !self.templates.is_empty() {
            let mut session = RawSession::open(&self.settings, &self.context).await?;
            let statements = Statements::prepare(&mut session, &self.templates, schema).await?;
            return Ok(Shape {
                schema_id: schema.id,
                destination: format!("the table of stream `{}`", schema.stream),
                statements: Some(statements),
                ..Shape::default()
            });
        }
        let table = self.options.table_of(&schema.stream).to_owned();
        check_name("table", &table)?;
        // A statement that makes or changes a table ends the transaction of its session.
        let mut session = Session::open(&self.settings, &self.context).await?;
        let name = match &self.staging {
            Some(staging) => staging.prepare(&mut session, &table).await?,
            None => table.clone(),
        };
        let mut builder = Builder {
            session: &mut session,
            settings: &self.settings,
            context: &self.context,
            options: &self.options,
            name: &name,
        };
        let shape = builder.shape(schema).await?;
        if let Some(staging) = &self.staging {
            staging.comment(&mut session, &shape.destination, &table).await?;
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
            let message = format!("Stream `{}` sent rows before its shape", rows.stream);
            return Err(Error::new(ErrorKind::Protocol, message));
        };
        let Table { shape, next_row, .. } = &mut self.tables[table];
        if shape.schema_id != rows.schema_id {
            let message = format!("Stream `{}` sent rows of shape {}", rows.stream, rows.schema_id);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        let chunk = Chunk { first_row: *next_row, batch: rows.batch };
        *next_row += chunk.batch.num_rows() as u64;
        if shape.changes {
            // A window is cut only in front of a change that all others came before, whatever their stream: a child's
            // change without its parent's would meet a foreign key.
            let view = Changes::of(&chunk.batch)?;
            let rows = chunk.batch.num_rows();
            let (first, last) = (view.seq(0), rows.checked_sub(1).and_then(|row| view.seq(row)));
            let may_cut = first.is_none_or(|first| first > self.waiting_seq);
            if self.waiting_bytes > WINDOW_BYTES && (may_cut || self.waiting_bytes > MOST_WINDOW_BYTES) {
                self.settle_all().await?;
            }
            self.waiting_seq = last.unwrap_or_default().max(self.waiting_seq);
            self.waiting_bytes += self.tables[table].waiting.push(chunk);
            return Ok(());
        }
        self.waiting_bytes += self.tables[table].waiting.push(chunk);
        if self.waiting_bytes >= WINDOW_BYTES { self.settle_all().await } else { Ok(()) }
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
                self.context.log(Level::Warn, "connector_mysql::write", &message);
            }
            return Ok(());
        }
        self.settle_all().await?;
        self.begin().await?;
        for stream in streams {
            let known = self.by_stream.get(stream).map(|table| self.tables[*table].shape.destination.clone());
            let is_known = known.is_some();
            let table = match known {
                Some(table) => table,
                // A stream that has not sent its shape may have rows of an earlier run.
                None if self.staging.is_none() => {
                    sql::table_name(&self.settings.database, self.options.table_of(stream))
                }
                None => continue,
            };
            // TRUNCATE would end the transaction.
            match self.session.run(&format!("DELETE FROM {table}"), "Could not empty tables").await {
                // Nothing ever came of it.
                Err(error) if error.kind == ErrorKind::NotFound && !is_known => {}
                result => {
                    result?;
                }
            }
        }
        Ok(())
    }

    async fn store(&mut self, token: &CommitToken) -> Result<()> {
        self.settle_all().await?;
        if let Some(first) = self.rejected.first() {
            let message = format!("Rows were refused and not asked for: {}", first.reason);
            return Err(Error::new(first.kind, message));
        }
        token.check_follows(self.lane.last())?;
        self.begin().await?;
        self.lane.store(&mut self.session, token).await
    }

    async fn commit_with(&mut self, token: &CommitToken) -> Result<()> {
        self.store(token).await?;
        self.session.run("COMMIT", "Could not end the transaction").await?;
        self.in_transaction = false;
        self.lane.advance(token);
        Ok(())
    }

    async fn swap(&mut self, token: &CommitToken) -> Result<()> {
        let Some(staging) = self.staging.take() else { return Ok(()) };
        self.settle_all().await?;
        let mut other = Session::open(&self.settings, &self.context).await?;
        let stages = staging.lock(&mut other).await?;
        for (stage, table) in &stages {
            let like = sql::create_like(
                &sql::table_name(&self.settings.database, table),
                &sql::table_name(&self.settings.database, stage),
            );
            other.run(&like, "Could not make the table").await?;
        }
        self.store(token).await?;
        for (stage, table) in &stages {
            staging.swap(&mut self.session, stage, table).await?;
        }
        self.session.run("COMMIT", "Could not end the transaction").await?;
        self.in_transaction = false;
        self.lane.advance(token);
        for (stage, table) in &stages {
            staging.drop_stage(&mut other, stage).await?;
            // A table made like its staging table has that one's comment.
            let quoted = sql::table_name(&self.settings.database, table);
            let answer = crate::sql::catalog::comment(&self.settings.database, table);
            let comment = other.ask(&answer, "Could not look the table up").await?;
            if comment.first().is_some_and(|comment| comment.starts_with("{\"pipeline\":")) {
                other.run(&sql::comment_on(&quoted, ""), "Could not clear the table's comment").await?;
            }
        }
        staging.unlock(&mut other).await
    }

    /// After an error nothing but a drop is accepted. Set first, so that a cancelled call counts as failed.
    fn guard(&mut self) -> Result<()> {
        if self.failed {
            return Err(Error::new(
                ErrorKind::Poisoned,
                "The writer failed before and accepts nothing any more",
            ));
        }
        self.failed = true;
        Ok(())
    }

    fn settled<T>(&mut self, result: Result<T>) -> Result<T> {
        self.failed = result.is_err();
        result
    }
}

#[async_trait]
impl Writer for TableWriter {
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

    fn canceller(&self) -> Canceller {
        self.session.canceller()
    }
}
