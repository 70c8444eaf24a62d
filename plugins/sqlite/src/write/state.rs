use std::{collections::HashMap, sync::Arc};

use hub_plugin_api::{
    CommitToken, Error, ErrorKind, FlushReport, RejectedRow, Result, Rows, StreamId, StreamSchema, WriteMode,
    WriterRequest,
    types::{Column, columns_of},
};
use rusqlite::Connection;

use super::{
    lane::Lane,
    options::WriteOptions,
    rows::{Encoded, Refusal, refusal},
    target::{self, Target},
};
use crate::{
    config::ConnectionConfig,
    database::{self, Interrupt, retry_busy},
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
}

/// A stream whose shape is known.
struct Stream {
    schema_id: u32,
    columns: Vec<Column>,
    target: Target,
    rows_since_flush: u64,
}

impl State {
    /// Opens the file and takes the lane.
    pub fn open(config: &ConnectionConfig, request: &WriterRequest, interrupt: Arc<Interrupt>) -> Result<Self> {
        let options = WriteOptions::new(&request.options)?;
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
            retry_busy(self.config.busy_timeout(), &self.interrupt, begin)
                .map_err(|error| map("The transaction could not begin", error))?;
            self.is_in_transaction = true;
        }
        Ok(())
    }

    /// Takes a stream's shape.
    pub fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let columns = columns_of(&schema.arrow)?;
        let table = self.options.table.clone().filter(|table| !table.is_empty());
        let table = table.unwrap_or_else(|| schema.stream.name.clone());
        let is_taken = |(stream, known): (&StreamId, &Stream)| {
            *stream != schema.stream && known.target.table.eq_ignore_ascii_case(&table)
        };
        if self.streams.iter().any(is_taken) {
            return Err(Error::new(ErrorKind::SchemaMismatch, format!("Two streams go to table `{table}`"))
                .with_field("table")
                .with_context("stream", &schema.stream)
                .with_hint("Give each its own pipeline with its own `table`"));
        }
        self.begin()?;
        let placed: Vec<_> = columns.iter().cloned().enumerate().collect();
        let target = target::prepare(&self.connection, &self.options, &table, &placed)?;
        let rows_since_flush = self.streams.get(&schema.stream).map_or(0, |known| known.rows_since_flush);
        self.streams
            .insert(schema.stream.clone(), Stream { schema_id: schema.id, columns, target, rows_since_flush });
        Ok(())
    }

    /// Writes rows.
    pub fn write(&mut self, rows: &Rows) -> Result<()> {
        self.begin()?;
        let stream = self
            .streams
            .get_mut(&rows.stream)
            .filter(|stream| stream.schema_id == rows.schema_id)
            .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("Rows of `{}` came before their shape", rows.stream)))?;
        let target = &stream.target;
        let text = match self.options.mode {
            WriteMode::Upsert => sql::upsert(&target.table, &target.names(), &target.key_names()),
            _ => sql::insert(&target.table, &target.names(), 1),
        };
        let mut statement = self
            .connection
            .prepare_cached(&text)
            .map_err(|error| map("The table does not take the rows", error).with_context("table", &target.table))?;
        let mut encoded = Encoded::new(target, &stream.columns, &rows.batch)?;
        for row in 0..rows.batch.num_rows() {
            let refused = match encoded.bind(row, 1, &mut statement)? {
                Ok(()) => match statement.raw_execute() {
                    Ok(_) => None,
                    Err(error) => Some(refusal(error)?),
                },
                Err(refused) => Some(refused),
            };
            if let Some(Refusal { kind, reason }) = refused {
                let row = stream.rows_since_flush + row as u64;
                self.rejected.push(RejectedRow { stream: rows.stream.clone(), row, kind, reason });
            }
        }
        stream.rows_since_flush += rows.batch.num_rows() as u64;
        Ok(())
    }

    /// Empties tables.
    pub fn truncate(&mut self, streams: &[StreamId]) -> Result<()> {
        self.begin()?;
        for stream in streams {
            let table = self.options.table.as_ref().unwrap_or(&stream.name);
            self.connection
                .execute(&sql::delete_all(table), [])
                .map_err(|error| map("The table could not be emptied", error).with_context("table", table))?;
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
        self.lane.put(&self.connection, token)?;
        retry_busy(self.config.busy_timeout(), &self.interrupt, || self.connection.execute_batch("COMMIT"))
            .map_err(|error| map("The transaction could not be committed", error))?;
        self.is_in_transaction = false;
        self.lane.last = Some(token.clone());
        Ok(())
    }
}
