use std::{collections::HashMap, sync::Arc};

use hub_plugin_api::{
    CommitToken, Error, ErrorKind, FlushReport, RejectedRow, Result, Rows, StreamId, StreamSchema, WriteMode,
    WriterRequest,
    changes::{Changes, Op, is_change_schema, row_schema},
    types::{Column, columns_of},
};
use rusqlite::Connection;

use super::{
    changes::Applier,
    lane::Lane,
    options::WriteOptions,
    replace::Staging,
    rows::{Encoded, Refusal, execute},
    target::{self, Target},
    template,
};
use crate::{
    config::ConnectionConfig,
    database::{self, Interrupt, retry_busy},
    describe,
    error::map,
    sql,
};

/// A writer's connection and what it knows; every call on it blocks.
pub struct State {
    connection: Connection,
    config: ConnectionConfig,
    options: WriteOptions,
    /// Its lane.
    pub lane: Lane,
    interrupt: Arc<Interrupt>,
    is_in_transaction: bool,
    streams: HashMap<StreamId, Stream>,
    rejected: Vec<RejectedRow>,
    /// In mode `replace`.
    staging: Option<Staging>,
}

/// What is done with a stream's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Insert,
    Upsert,
    Apply,
    Templates,
}

/// A stream whose shape is known.
struct Stream {
    schema_id: u32,
    is_changes: bool,
    /// The row's own columns, without those of changes.
    columns: Vec<Column>,
    target: Target,
    action: Action,
    rows_since_flush: u64,
}

impl State {
    /// Opens the file and takes the lane.
    pub fn open(
        config: &ConnectionConfig,
        request: &WriterRequest,
        interrupt: Arc<Interrupt>,
    ) -> Result<Self> {
        let options = WriteOptions::new(&request.options)?;
        let staging = match options.mode {
            WriteMode::Replace if options.templates.is_empty() => Some(Staging::new(request)?),
            _ => None,
        };
        let connection = database::open_write(config)?;
        interrupt.watch(&connection);
        let lane = Lane::take(&connection, config, request, &interrupt)?;
        Ok(Self {
            connection,
            config: config.clone(),
            options,
            lane,
            interrupt,
            is_in_transaction: false,
            streams: HashMap::new(),
            rejected: Vec::new(),
            staging,
        })
    }

    /// What the mode is.
    pub fn mode(&self) -> WriteMode {
        self.options.mode
    }

    /// Begins at the first change, so that the file is not locked while nothing comes.
    fn begin(&mut self) -> Result<()> {
        self.interrupt.check()?;
        if !self.is_in_transaction {
            let begin = || self.connection.execute_batch("BEGIN IMMEDIATE");
            retry_busy(self.config.busy_timeout(), &self.interrupt, begin).map_err(|error| {
                self.interrupt.check().err().unwrap_or_else(|| map("The transaction could not begin", error))
            })?;
            self.is_in_transaction = true;
            if self.options.mode == WriteMode::ApplyChanges {
                // Changes of several tables come table by table: what points at a row may come before it.
                self.connection
                    .pragma_update(None, "defer_foreign_keys", true)
                    .map_err(|error| map("The transaction could not begin", error))?;
            }
        }
        Ok(())
    }

    /// Takes a stream's shape.
    pub fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let is_changes = is_change_schema(&schema.arrow);
        let mode = self.options.mode;
        let action = match mode {
            _ if !self.options.templates.is_empty() => Action::Templates,
            WriteMode::ApplyChanges if is_changes => Action::Apply,
            WriteMode::Upsert | WriteMode::ApplyChanges => Action::Upsert,
            WriteMode::Append | WriteMode::Replace => Action::Insert,
        };
        if is_changes && matches!(mode, WriteMode::Upsert | WriteMode::Replace) && action != Action::Templates
        {
            return Err(Error::config("mode", "A stream of changes needs mode `apply-changes`")
                .with_context("stream", &schema.stream)
                .with_hint("Mode `append` keeps every change as a row of its own"));
        }
        let mut columns = match is_changes {
            true if action != Action::Insert => columns_of(&row_schema(&schema.arrow))?,
            _ => columns_of(&schema.arrow)?,
        };
        if is_changes && action == Action::Insert {
            // Rows of a history: a key comes again, and a delete has nothing but its key.
            columns.iter_mut().for_each(|column| (column.nullable, column.key) = (true, None));
        }
        let target = match action {
            Action::Templates => {
                template::check(&self.connection, &self.options.templates, &columns)?;
                target::unchecked(&columns)
            }
            _ => self.target(&schema.stream, &columns)?,
        };
        let rows_since_flush = self.streams.get(&schema.stream).map_or(0, |known| known.rows_since_flush);
        let stream = Stream { schema_id: schema.id, is_changes, columns, target, action, rows_since_flush };
        self.streams.insert(schema.stream.clone(), stream);
        Ok(())
    }

    /// Makes the table ready that a stream's rows go to.
    fn target(&mut self, stream: &StreamId, columns: &[Column]) -> Result<Target> {
        let table = self.options.table_of(&stream.name);
        let physical = if self.staging.is_some() { Staging::name(&table) } else { table.clone() };
        let is_taken = |(other, known): (&StreamId, &Stream)| {
            other != stream && known.target.table.eq_ignore_ascii_case(&physical)
        };
        if self.streams.iter().any(is_taken) {
            return Err(Error::new(ErrorKind::SchemaMismatch, format!("Two streams go to table `{table}`"))
                .with_field("table")
                .with_context("stream", stream)
                .with_hint("Give each its own pipeline with its own `table`"));
        }
        self.begin()?;
        if let Some(staging) = &self.staging {
            // Made and grown where its users see it, so that the table beside is like it.
            if describe::table(&self.connection, &table)?.is_some() {
                target::prepare(&self.connection, &self.options, &table, columns)?;
            } else if !self.options.create_table {
                return Err(Error::new(ErrorKind::NotFound, format!("There is no table `{table}`"))
                    .with_field("table")
                    .with_hint("Make it, or set `create_table`"));
            }
            staging.prepare(&self.connection, &table)?;
        }
        let target = target::prepare(&self.connection, &self.options, &physical, columns)?;
        if matches!(self.options.mode, WriteMode::Upsert | WriteMode::ApplyChanges) {
            let text = sql::upsert(&target.table, &target.names(), &target.key_names());
            self.connection.prepare_cached(&text).map_err(|error| {
                map("The table cannot tell its rows by the key", error)
                    .with_field("key")
                    .with_context("table", &table)
                    .with_hint("The key needs a primary key or a unique index over exactly its columns")
            })?;
        }
        Ok(target)
    }

    /// Writes rows.
    pub fn write(&mut self, rows: &Rows) -> Result<()> {
        self.begin()?;
        let stream = self
            .streams
            .get_mut(&rows.stream)
            .filter(|stream| stream.schema_id == rows.schema_id)
            .ok_or_else(|| {
            Error::new(ErrorKind::Protocol, format!("Rows of `{}` came before their shape", rows.stream))
        })?;
        let count = rows.batch.num_rows();
        let mut refuse = |row: usize, Refusal { kind, reason }: Refusal| {
            let row = stream.rows_since_flush + row as u64;
            self.rejected.push(RejectedRow { stream: rows.stream.clone(), row, kind, reason });
        };
        let (connection, target) = (&self.connection, &stream.target);
        match stream.action {
            Action::Insert | Action::Upsert => {
                let text = match stream.action {
                    Action::Upsert => sql::upsert(&target.table, &target.names(), &target.key_names()),
                    _ => sql::insert(&target.table, &target.names(), 1),
                };
                let mut statement = connection.prepare_cached(&text).map_err(|error| {
                    map("The table does not take the rows", error).with_context("table", &target.table)
                })?;
                let mut encoded = Encoded::new(target, &stream.columns, &rows.batch)?;
                for row in 0..count {
                    let result = match encoded.bind(row, &mut statement)? {
                        Ok(()) => execute(&mut statement)?.map(drop),
                        Err(refused) => Err(refused),
                    };
                    result.unwrap_or_else(|refused| refuse(row, refused));
                }
            }
            Action::Apply => {
                let mut applier = Applier::new(connection, target, &stream.columns, &rows.batch)?;
                for row in 0..count {
                    applier.apply(row)?.unwrap_or_else(|refused| refuse(row, refused));
                }
            }
            Action::Templates => {
                let changes = if stream.is_changes { Some(Changes::of(&rows.batch)?) } else { None };
                let batch = changes.as_ref().map_or(&rows.batch, Changes::rows);
                let mut encoded = Encoded::new(target, &stream.columns, batch)?;
                for row in 0..count {
                    let op = changes.as_ref().map_or(Ok(Op::Insert), |changes| changes.op(row))?;
                    template::run(connection, &self.options.templates, op, target, &mut encoded, row)?
                        .unwrap_or_else(|refused| refuse(row, refused));
                }
            }
        }
        stream.rows_since_flush += count as u64;
        Ok(())
    }

    /// Empties tables.
    pub fn truncate(&mut self, streams: &[StreamId]) -> Result<()> {
        self.begin()?;
        for stream in streams {
            let table = match self.streams.get(stream) {
                Some(known) if known.action == Action::Apply || known.action == Action::Upsert => {
                    known.target.table.clone()
                }
                // A history is not over with it.
                _ if self.options.mode == WriteMode::Append => continue,
                // A stream that has not sent its shape may have rows of an earlier run.
                None if matches!(self.options.mode, WriteMode::ApplyChanges | WriteMode::Upsert) => {
                    let table = self.options.table_of(&stream.name);
                    let looked = self.connection.table_exists(Some("main"), &table);
                    if !looked.map_err(|error| map("The table could not be looked for", error))? {
                        continue;
                    }
                    table
                }
                _ => {
                    return Err(Error::unsupported("Emptying a table in a mode other than `apply-changes`")
                        .with_context("stream", stream)
                        .with_hint("Take mode `apply-changes`, or leave truncates out at the source"));
                }
            };
            self.connection.execute(&sql::delete_all(&table), []).map_err(|error| {
                map("The table could not be emptied", error).with_context("table", &table)
            })?;
        }
        Ok(())
    }

    /// What was refused since the last flush.
    pub fn flush(&mut self) -> FlushReport {
        self.streams.values_mut().for_each(|stream| stream.rows_since_flush = 0);
        FlushReport { rejected: std::mem::take(&mut self.rejected) }
    }

    /// Makes rows and token durable together.
    pub fn commit(&mut self, token: &CommitToken) -> Result<()> {
        self.begin()?;
        self.store(token)
    }

    /// Swaps replaced tables, together with the token.
    pub fn finish(&mut self, token: &CommitToken) -> Result<()> {
        let Some(staging) = self.staging.clone() else { return Ok(()) };
        self.begin()?;
        match staging.finish(&self.connection)? {
            true => self.store(token),
            false => Ok(()),
        }
    }

    fn store(&mut self, token: &CommitToken) -> Result<()> {
        self.lane.put(&self.connection, token)?;
        retry_busy(self.config.busy_timeout(), &self.interrupt, || self.connection.execute_batch("COMMIT"))
            .map_err(|error| map("The transaction could not be committed", error))?;
        self.is_in_transaction = false;
        self.lane.last = Some(token.clone());
        Ok(())
    }
}
