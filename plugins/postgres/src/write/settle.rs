//! How sent rows become settled: taken by the server, put off for a foreign key, or refused one by one.

use futures_util::future::join;
use hub_plugin_api::{
    Error, ErrorKind, RejectedRow, Result, WriteMode,
    settle::{Chunk, Halves, RowPlace, Segment},
};
use tokio_postgres::{SimpleQueryMessage, Statement, error::SqlState};

use super::{
    copy::CopyRows,
    table::left_out,
    writer::{Open, PostgresWriter, Table, sending},
};
use crate::{sql, wire::encode::CellError, wire::encode_plan::ColumnPlan};

/// Bytes of rows after which a COPY is ended: what is kept to find a refused row.
const SEGMENT_BYTES: usize = 8 << 20;
/// Bytes of rows that may wait for the row that their foreign key names.
const DEFERRED_BYTES: usize = 24 << 20;

pub(super) const SAVE: &str = "SAVEPOINT hub_rows";
pub(super) const KEEP: &str = "RELEASE SAVEPOINT hub_rows";
pub(super) const UNDO: &str = "ROLLBACK TO SAVEPOINT hub_rows; RELEASE SAVEPOINT hub_rows";

/// Why the server did not take rows.
pub(super) struct Refusal {
    pub kind: ErrorKind,
    pub reason: String,
    foreign_key: bool,
}

impl Refusal {
    /// What was found wrong with rows on this side.
    pub(super) fn of(error: &Error) -> Self {
        Self { kind: error.kind, reason: error.to_string(), foreign_key: false }
    }

    /// Sorts errors of the rows from all others.
    ///
    /// # Errors
    /// What is not the rows' fault.
    pub(super) fn sort(destination: &str, error: &tokio_postgres::Error) -> Result<Self> {
        let mut mapped = sending(destination, error);
        let place = error.as_db_error().and_then(|answer| answer.where_()).and_then(copied_column);
        if let Some(column) = place {
            mapped = mapped.with_context("column", column);
        }
        match error.code() {
            Some(code) if is_of_rows(code) => Ok(Self {
                kind: mapped.kind,
                reason: mapped.to_string(),
                foreign_key: *code == SqlState::FOREIGN_KEY_VIOLATION,
            }),
            _ => Err(mapped),
        }
    }
}

/// The column in the place that the server gives for an error of a COPY: `COPY t, line 1, column c: "value"`.
fn copied_column(place: &str) -> Option<&str> {
    let (_, column) = place.lines().find(|line| line.starts_with("COPY "))?.split_once(", column ")?;
    Some(column.split_once(": ").map_or(column, |(column, _)| column))
}

/// Classes of cardinality, data, constraints, views' checks, raised by triggers, and rows larger than a page can hold.
fn is_of_rows(code: &SqlState) -> bool {
    matches!(code.code().get(..2), Some("21" | "22" | "23" | "44" | "54"))
        || *code == SqlState::RAISE_EXCEPTION
}

impl PostgresWriter {
    /// Sends a batch through the open COPY, and ends it when enough was sent.
    pub(super) async fn send(&mut self, chunk: Chunk) -> Result<()> {
        let Some(Open { table, copy, segment }) = &mut self.open else {
            return Err(Error::internal("Rows were sent without a COPY"));
        };
        let table = &self.tables[*table];
        let order =
            table.stage.as_ref().map(|_| segment.chunks.iter().map(|one| one.batch.num_rows() as i64).sum());
        let place = segment.chunks.len() as u32;
        let rejected = &mut self.rejected;
        let refused = &mut segment.refused;
        let refuse = |row: usize, error: CellError| {
            refused.insert((place, row as u32));
            rejected.push(RejectedRow {
                stream: table.stream.clone(),
                row: chunk.first_row + row as u64,
                kind: ErrorKind::InvalidData,
                reason: reason(&table.shape.plan, error),
            });
        };
        self.session
            .work(copy.put(&table.shape.plan, &chunk.batch, 0..chunk.batch.num_rows(), order, refuse))
            .await?
            .map_err(|error| sending(&table.shape.destination, &error))?;
        segment.push(chunk);
        if segment.bytes >= SEGMENT_BYTES { self.close().await } else { Ok(()) }
    }

    /// Ends the open COPY, and gives the turn to the stream that has most waiting.
    pub(super) async fn next_table(&mut self) -> Result<()> {
        self.close().await?;
        let ready = |table: &Table| !table.waiting.is_empty() && !table.shape.changes;
        let waiting = self.tables.iter().enumerate().filter(|(_, table)| ready(table));
        let Some((index, _)) = waiting.max_by_key(|(_, table)| table.waiting.bytes) else { return Ok(()) };
        let waiting = std::mem::take(&mut self.tables[index].waiting);
        self.waiting_bytes -= waiting.bytes;
        if self.options.mode != WriteMode::Append && !self.tables[index].deferred.is_empty() {
            // Later rows of the same key must not overtake.
            return self.defer(index, waiting).await;
        }
        if self.tables[index].shape.statements.is_some() {
            let rows = waiting.rows();
            return match self.try_rows(index, &waiting, &rows).await? {
                Ok(()) => Ok(()),
                Err(refusal) if refusal.foreign_key => self.defer(index, waiting).await,
                Err(_) => self.bisect(index, &waiting).await,
            };
        }
        for chunk in waiting.chunks {
            if self.open.is_none() {
                self.open(index).await?;
            }
            self.send(chunk).await?;
        }
        Ok(())
    }

    async fn open(&mut self, index: usize) -> Result<()> {
        self.stage(index).await?;
        let statement = self.prepared_copy(index).await?;
        let client = self.session.client();
        // Both are sent before either is answered: a server that waits for rows takes none.
        let started = join(client.batch_execute(SAVE), CopyRows::start(client, &statement));
        let (saved, copy) = self.session.work(started).await;
        let failed = |error| sending(&self.tables[index].shape.destination, &error);
        saved.map_err(failed)?;
        let copy = copy.map_err(failed)?;
        self.open = Some(Open { table: index, copy, segment: Segment::default() });
        Ok(())
    }

    /// Makes the staging table where rows do not go straight into place.
    async fn stage(&mut self, index: usize) -> Result<()> {
        let shape = &self.tables[index].shape;
        let straight =
            !shape.needs_cast() && matches!(self.options.mode, WriteMode::Append | WriteMode::Replace);
        if straight || shape.statements.is_some() { Ok(()) } else { self.make_stage(index).await }
    }

    /// Makes the staging table of a stream, unless it is there.
    pub(super) async fn make_stage(&mut self, index: usize) -> Result<()> {
        if self.tables[index].stage.is_some() {
            return Ok(());
        }
        let shape = &self.tables[index].shape;
        let columns = shape.stage_columns();
        let stage = self.next_stage();
        self.session.run(&sql::create_stage(&stage, &columns), "Could not make a staging table").await?;
        self.tables[index].stage = Some(stage);
        Ok(())
    }

    /// The COPY of a table, prepared once for all its segments.
    async fn prepared_copy(&mut self, index: usize) -> Result<Statement> {
        let text = self.copy_statement(index);
        if let Some((known, statement)) = &self.tables[index].copy
            && *known == text
        {
            return Ok(statement.clone());
        }
        let failed = |error| sending(&self.tables[index].shape.destination, &error);
        let statement = self.session.work(self.session.client().prepare(&text)).await.map_err(failed)?;
        self.tables[index].copy = Some((text, statement.clone()));
        Ok(statement)
    }

    fn copy_statement(&self, index: usize) -> String {
        let table = &self.tables[index];
        let names = table.shape.plan.iter().map(|plan| plan.name.as_str());
        match &table.stage {
            Some(stage) => sql::copy_into(stage, std::iter::once(sql::ORDER).chain(names)),
            None => sql::copy_into(&table.shape.destination, names),
        }
    }

    /// Ends the open COPY and settles what was sent through it.
    pub(super) async fn close(&mut self) -> Result<()> {
        let Some(Open { table, copy, segment }) = self.open.take() else { return Ok(()) };
        match self.take_over(table, copy).await? {
            Ok(()) => Ok(()),
            Err(refusal) => {
                self.session.run(UNDO, "Could not take rows back").await?;
                if refusal.foreign_key {
                    self.defer(table, segment).await
                } else {
                    self.bisect(table, &segment).await
                }
            }
        }
    }

    /// Ends a COPY, merges what it staged, and keeps the rows: the savepoint is gone unless they are refused.
    async fn take_over(&self, index: usize, copy: CopyRows) -> Result<Result<(), Refusal>> {
        let table = &self.tables[index];
        let shape = &table.shape;
        // The server tells how many rows an upsert took, but not how many keys there were.
        let mut counts_keys = false;
        let then = match &table.stage {
            None => KEEP.to_owned(),
            Some(stage) => {
                let merge = match self.options.mode {
                    WriteMode::Append | WriteMode::Replace => {
                        sql::insert_staged(&shape.destination, stage, &shape.staged)
                    }
                    WriteMode::Upsert | WriteMode::ApplyChanges => {
                        counts_keys = shape.may_leave_out && shape.has_more_than_key();
                        let merge = sql::merge_staged(&shape.destination, stage, &shape.staged, &shape.key);
                        match counts_keys {
                            true => format!("{merge}; {}", sql::count_keys(stage, &shape.staged_key())),
                            false => merge,
                        }
                    }
                };
                format!("{merge}; TRUNCATE {stage}; {KEEP}")
            }
        };
        // What follows is sent with the end of the rows; a server that refuses those refuses it, too.
        let ended = join(copy.finish(), self.session.client().simple_query(&then));
        let (taken, kept) = self.session.work(ended).await;
        let refusal = match (taken, kept) {
            (Ok((sent, taken)), _) if sent != taken => {
                return Err(left_out(&shape.destination, taken, sent));
            }
            (Ok((sent, _)), Ok(answers)) => {
                let merged = answers.iter().find_map(|answer| match answer {
                    SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
                    _ => None,
                });
                let keys = answers.iter().find_map(|answer| match answer {
                    SimpleQueryMessage::Row(row) => row.get(0)?.parse::<u64>().ok(),
                    _ => None,
                });
                let appends = matches!(self.options.mode, WriteMode::Append | WriteMode::Replace);
                match (merged, keys) {
                    (Some(merged), _) if table.stage.is_some() && appends => {
                        shape.check_taken(merged, sent)?;
                    }
                    (Some(merged), Some(keys)) if counts_keys => shape.check_taken(merged, keys)?,
                    _ => {}
                }
                return Ok(Ok(()));
            }
            (Err(error), _) | (Ok(_), Err(error)) => error,
        };
        Refusal::sort(&shape.destination, &refusal).map(Err)
    }

    /// Keeps rows until the other streams' rows are in place.
    async fn defer(&mut self, index: usize, segment: Segment) -> Result<()> {
        self.deferred_bytes += segment.bytes;
        self.tables[index].deferred.push_back(segment);
        if self.deferred_bytes > DEFERRED_BYTES { self.settle_deferred().await } else { Ok(()) }
    }

    /// Tries deferred rows again as long as some of them find their place, then looks for the ones at fault.
    async fn settle_deferred(&mut self) -> Result<()> {
        let mut progress = true;
        while progress && self.deferred_bytes > 0 {
            progress = false;
            for index in 0..self.tables.len() {
                while let Some(segment) = self.tables[index].deferred.pop_front() {
                    let rows = segment.rows();
                    match self.try_rows(index, &segment, &rows).await? {
                        Ok(()) => progress = true,
                        Err(refusal) if refusal.foreign_key => {
                            self.tables[index].deferred.push_front(segment);
                            break;
                        }
                        Err(_) => {
                            self.bisect(index, &segment).await?;
                            progress = true;
                        }
                    }
                    self.deferred_bytes -= segment.bytes;
                }
            }
        }
        for index in 0..self.tables.len() {
            while let Some(segment) = self.tables[index].deferred.pop_front() {
                self.deferred_bytes -= segment.bytes;
                self.bisect(index, &segment).await?;
            }
        }
        Ok(())
    }

    /// Settles everything that was written so far.
    pub(super) async fn settle_all(&mut self) -> Result<()> {
        self.close().await?;
        while self.tables.iter().any(|table| !table.waiting.is_empty() && !table.shape.changes) {
            self.next_table().await?;
            self.close().await?;
        }
        self.settle_changes().await?;
        self.settle_deferred().await
    }

    /// Settles one stream's rows before its shape changes.
    pub(super) async fn settle_table(&mut self, index: usize) -> Result<()> {
        let table = &self.tables[index];
        let open = self.open.as_ref().is_some_and(|open| open.table == index);
        if open || !table.waiting.is_empty() || !table.deferred.is_empty() {
            self.settle_all().await
        } else {
            Ok(())
        }
    }

    /// Finds the rows at fault by halves, in order; all others are taken.
    async fn bisect(&mut self, index: usize, segment: &Segment) -> Result<()> {
        let rows = segment.rows();
        let mut halves = Halves::of(rows.len());
        while let Some(range) = halves.next() {
            let Err(refusal) = self.try_rows(index, segment, &rows[range.clone()]).await? else { continue };
            if let Some(row) = halves.refused(range) {
                self.rejected.push(RejectedRow {
                    stream: self.tables[index].stream.clone(),
                    row: segment.number(rows[row]),
                    kind: refusal.kind,
                    reason: refusal.reason,
                });
            }
        }
        Ok(())
    }

    /// Sends some rows of a segment, all or nothing.
    async fn try_rows(
        &mut self,
        index: usize,
        segment: &Segment,
        rows: &[RowPlace],
    ) -> Result<Result<(), Refusal>> {
        if rows.is_empty() {
            return Ok(Ok(()));
        }
        self.stage(index).await?;
        self.session.run(SAVE, "Could not set a savepoint").await?;
        let result = self.copy_rows(index, segment, rows).await?;
        if result.is_err() {
            self.session.run(UNDO, "Could not take rows back").await?;
        }
        Ok(result)
    }

    /// Sends rows behind a savepoint, which is gone unless they are refused.
    async fn copy_rows(
        &self,
        index: usize,
        segment: &Segment,
        rows: &[RowPlace],
    ) -> Result<Result<(), Refusal>> {
        let table = &self.tables[index];
        if let Some(statements) = &table.shape.statements {
            let result = self.session.work(statements.run(self.session.client(), segment, rows)).await?;
            if result.is_ok() {
                self.session.run(KEEP, "Could not keep rows").await?;
            }
            return Ok(result);
        }
        let failed = |error| sending(&table.shape.destination, &error);
        let mut copy =
            CopyRows::start(self.session.client(), &self.copy_statement(index)).await.map_err(failed)?;
        let mut sent = 0;
        for part in rows.chunk_by(|a, b| a.0 == b.0) {
            let batch = &segment.chunks[part[0].0 as usize].batch;
            let order = table.stage.as_ref().map(|_| sent);
            // Rows that do not fit were left out of `rows` when they were sent first.
            let places = part.iter().map(|(_, row)| *row as usize);
            let put = copy.put(&table.shape.plan, batch, places, order, |_, _| {});
            self.session.work(put).await?.map_err(failed)?;
            sent += part.len() as i64;
        }
        self.take_over(index, copy).await
    }
}

/// A refused value in words.
pub(super) fn reason(plan: &[ColumnPlan], error: CellError) -> String {
    let column = &plan[error.column];
    format!("The value of column `{}` {} (`{}`)", column.name, error.reason, column.target.declared)
}
