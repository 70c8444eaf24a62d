//! How rows that wait become settled: taken by the server, put off for a foreign key, or refused one by one.

use std::sync::{Arc, OnceLock};

use hub_plugin_api::{
    Error, ErrorKind, RejectedRow, Result, WriteMode,
    settle::{Halves, RowPlace, Segment},
};

use super::{
    rows::{self, BadRow, Lines},
    table::Shape,
    writer::TableWriter,
};
use crate::{connection::Session, error, sql::write as sql};

pub(super) const SAVE: &str = "SAVEPOINT hub_rows";
pub(super) const KEEP: &str = "RELEASE SAVEPOINT hub_rows";
pub(super) const UNDO: &str = "ROLLBACK TO SAVEPOINT hub_rows";

/// How deep a tree of rows may be whose children come before their parents.
const MOST_LEVELS: usize = 64;
/// A column without a default that nothing was written into (ER_NO_DEFAULT_FOR_FIELD).
const NO_DEFAULT: &str = "1364";

/// Why the server did not take rows.
#[derive(Debug)]
pub(super) struct Refusal {
    pub kind: ErrorKind,
    pub reason: String,
    foreign_key: bool,
}

impl Refusal {
    /// What was found wrong with rows on this side.
    pub(super) fn of(reason: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidData, reason: reason.into(), foreign_key: false }
    }

    /// Sorts errors of the rows from all others.
    ///
    /// # Errors
    /// What is not the rows' fault.
    pub(super) fn sort(error: Error) -> Result<Self> {
        // A row of the parent is missing, or its own rows are still there.
        let code = error.code.as_deref().unwrap_or_default();
        // No row of the stream has a value for that column.
        if code == NO_DEFAULT {
            let error = Error { kind: ErrorKind::SchemaMismatch, ..error };
            return Err(error.with_hint("Give the column a default, or have the source send it"));
        }
        let foreign_key = matches!(code, "1216" | "1217" | "1451" | "1452");
        match error.kind {
            ErrorKind::ConstraintViolated | ErrorKind::InvalidData => {
                Ok(Self { kind: error.kind, reason: error.to_string(), foreign_key })
            }
            _ => Err(error),
        }
    }
}

impl From<BadRow> for Refusal {
    fn from(bad: BadRow) -> Self {
        Self::of(bad.reason)
    }
}

impl TableWriter {
    /// Settles everything that was written so far. Rows that meet a foreign key are tried again after the others.
    pub(super) async fn settle_all(&mut self) -> Result<()> {
        let mut open = Vec::new();
        for table in 0..self.tables.len() {
            if !self.tables[table].shape.changes && !self.tables[table].waiting.is_empty() {
                open.push((table, std::mem::take(&mut self.tables[table].waiting)));
            }
        }
        let mut progress = true;
        while progress && !open.is_empty() {
            progress = false;
            for (table, segment) in std::mem::take(&mut open) {
                match self.try_rows(table, &segment, &segment.rows()).await? {
                    Ok(()) => progress = true,
                    Err(refusal) if refusal.foreign_key => open.push((table, segment)),
                    Err(_) => {
                        self.bisect(table, &segment).await?;
                        progress = true;
                    }
                }
            }
        }
        for (table, segment) in open {
            self.bisect(table, &segment).await?;
        }
        self.settle_changes().await?;
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Finds the rows at fault by halves, in order; all others are taken. A row whose parent comes behind it, in the
    /// same table, is tried again behind the others.
    async fn bisect(&mut self, table: usize, segment: &Segment) -> Result<()> {
        let mut rows = segment.rows();
        for level in 1..=MOST_LEVELS {
            let mut put_off = Vec::new();
            let mut halves = Halves::of(rows.len());
            while let Some(range) = halves.next() {
                let Err(refusal) = self.try_rows(table, segment, &rows[range.clone()]).await? else {
                    continue;
                };
                match halves.refused(range) {
                    Some(row) if refusal.foreign_key => put_off.push((rows[row], refusal)),
                    Some(row) => self.reject(table, segment, rows[row], refusal),
                    None => {}
                }
            }
            if put_off.len() == rows.len() || level == MOST_LEVELS {
                for (row, refusal) in put_off {
                    self.reject(table, segment, row, refusal);
                }
                return Ok(());
            }
            rows = put_off.into_iter().map(|(row, _)| row).collect();
        }
        Ok(())
    }

    fn reject(&mut self, table: usize, segment: &Segment, row: RowPlace, refusal: Refusal) {
        self.rejected.push(RejectedRow {
            stream: self.tables[table].stream.clone(),
            row: segment.number(row),
            kind: refusal.kind,
            reason: refusal.reason,
        });
    }

    /// Sends some rows of a segment, all or nothing.
    async fn try_rows(
        &mut self,
        table: usize,
        segment: &Segment,
        rows: &[RowPlace],
    ) -> Result<Result<(), Refusal>> {
        if rows.is_empty() {
            return Ok(Ok(()));
        }
        self.begin().await?;
        self.session.run(SAVE, "Could not set a savepoint").await?;
        let result = self.send(table, segment, rows).await?;
        let end = if result.is_ok() { KEEP } else { UNDO };
        self.session.run(end, "Could not settle rows").await?;
        Ok(result)
    }

    async fn send(
        &mut self,
        table: usize,
        segment: &Segment,
        rows: &[RowPlace],
    ) -> Result<Result<(), Refusal>> {
        let shape = &self.tables[table].shape;
        if shape.statements.is_some() {
            return self.run_statements(table, segment, rows).await;
        }
        match self.options.mode {
            WriteMode::Append | WriteMode::Replace if self.loads && !shape.lacks_columns => {
                self.load(table, segment, rows).await
            }
            WriteMode::Append | WriteMode::Replace => self.insert(table, segment, rows, "").await,
            WriteMode::Upsert | WriteMode::ApplyChanges if shape.other_unique.is_some() => {
                self.put_one_by_one(table, segment, rows).await
            }
            WriteMode::Upsert | WriteMode::ApplyChanges => {
                let tail = sql::upsert_tail(self.session.server(), &shape.written, &shape.key);
                self.insert(table, segment, rows, &tail).await
            }
        }
    }

    /// LOAD DATA LOCAL turns errors into warnings, as the server cannot stop the client's data: rows behind a warning
    /// are taken back and go by INSERT, whose errors are errors.
    async fn load(
        &mut self,
        table: usize,
        segment: &Segment,
        rows: &[RowPlace],
    ) -> Result<Result<(), Refusal>> {
        let shape = &self.tables[table].shape;
        let refused = Arc::new(OnceLock::new());
        let lines = Lines::new(&shape.plan, segment, rows, &refused);
        let statement = sql::load(&shape.destination, &shape.written);
        let doing = format!("Could not load rows into {}", shape.destination);
        let loaded = self.session.load(&statement, lines, &doing).await;
        if let (Ok(_), Some(bad)) = (&loaded, refused.get()) {
            return Ok(Err(Refusal::of(&bad.reason)));
        }
        match loaded {
            Ok(done) if done.warnings == 0 && done.affected == rows.len() as u64 => return Ok(Ok(())),
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::Unsupported => self.loads = false,
            Err(error) => return Refusal::sort(error).map(Err),
        }
        self.session.run(UNDO, "Could not take rows back").await?;
        self.insert(table, segment, rows, "").await
    }

    /// INSERT of many rows at a time.
    async fn insert(
        &mut self,
        table: usize,
        segment: &Segment,
        rows: &[RowPlace],
        tail: &str,
    ) -> Result<Result<(), Refusal>> {
        let shape = &self.tables[table].shape;
        let head = sql::insert_head(&shape.destination, &shape.written);
        let doing = format!("Could not write to {}", shape.destination);
        let mut statement = head.clone();
        for (index, (chunk, row)) in rows.iter().enumerate() {
            let batch = &segment.chunks[*chunk as usize].batch;
            if statement.len() > head.len() {
                statement.push_str(", ");
            }
            if let Err(bad) = rows::put_tuple(&shape.plan, batch, *row as usize, &mut statement) {
                return Ok(Err(bad.into()));
            }
            if statement.len() >= self.statement_bytes || index + 1 == rows.len() {
                statement.push_str(tail);
                if let Err(refusal) = write_rows(&mut self.session, &statement, &doing).await? {
                    return Ok(Err(refusal));
                }
                statement.clone_from(&head);
            }
        }
        Ok(Ok(()))
    }

    /// For a table with another unique index than the key.
    async fn put_one_by_one(
        &mut self,
        table: usize,
        segment: &Segment,
        rows: &[RowPlace],
    ) -> Result<Result<(), Refusal>> {
        for (chunk, row) in rows {
            let shape = &self.tables[table].shape;
            let batch = &segment.chunks[*chunk as usize].batch;
            let values = match rows::values(&shape.plan, batch, *row as usize) {
                Ok(values) => values,
                Err(bad) => return Ok(Err(bad.into())),
            };
            let statements = PutRow::of(shape, &values);
            if let Err(refusal) = self.put_row(&statements).await? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// Puts one row in place of the one with its key.
    pub(super) async fn put_row(&mut self, row: &PutRow) -> Result<Result<(), Refusal>> {
        match write_rows(&mut self.session, &row.update, &row.doing).await? {
            Ok(0) => Ok(write_rows(&mut self.session, &row.insert, &row.doing).await?.map(drop)),
            other => Ok(other.map(drop)),
        }
    }

    async fn run_statements(
        &mut self,
        table: usize,
        segment: &Segment,
        rows: &[RowPlace],
    ) -> Result<Result<(), Refusal>> {
        for (chunk, row) in rows {
            let batch = &segment.chunks[*chunk as usize].batch;
            let Some(statements) = &self.tables[table].shape.statements else { return Ok(Ok(())) };
            let statements = match statements.of_row(batch, *row as usize)? {
                Ok(statements) => statements,
                Err(reason) => return Ok(Err(Refusal::of(reason))),
            };
            for statement in &statements {
                if let Err(error) = self.session.run(statement, "Could not run a statement of a row").await {
                    return Refusal::sort(error).map(Err);
                }
            }
        }
        Ok(Ok(()))
    }
}

/// Runs a statement that writes rows, and answers how many it found. In spite of its strict mode the server cuts
/// blanks off with no more than a warning.
pub(super) async fn write_rows(
    session: &mut Session,
    statement: &str,
    doing: &str,
) -> Result<Result<u64, Refusal>> {
    let done = match session.run(statement, doing).await {
        Ok(done) => done,
        Err(error) => return Refusal::sort(error).map(Err),
    };
    if done.warnings > 0 {
        let warnings = session.ask("SHOW WARNINGS", doing).await?;
        let changed = (0..warnings.rows.len()).find(|row| {
            let code = warnings.get(*row, "Code").and_then(|code| code.parse().ok());
            code.is_some_and(|code| error::kind_of(code, "") == ErrorKind::InvalidData)
        });
        if let Some(row) = changed {
            let (code, message) = (warnings.get(row, "Code"), warnings.get(row, "Message"));
            let (code, message) = (code.unwrap_or_default(), message.unwrap_or_default());
            return Ok(Err(Refusal::of(format!("{doing}: {message} [{code}]"))));
        }
    }
    Ok(Ok(done.affected))
}

/// What puts one row in place of the one with its key.
pub(super) struct PutRow {
    update: String,
    insert: String,
    doing: String,
}

impl PutRow {
    /// Of a row's values, in the order of the shape's columns.
    pub(super) fn of(shape: &Shape, values: &[String]) -> Self {
        let place = |name: &String| shape.plan.iter().position(|way| way.name == *name);
        let key: Vec<_> = shape.key.iter().filter_map(|name| Some(values[place(name)?].clone())).collect();
        let pairs = shape.plan.iter().zip(values).map(|(way, value)| (way.name.clone(), value.clone()));
        let pairs: Vec<_> = pairs.collect();
        let condition = sql::same_key(&shape.key, &key);
        let head = sql::insert_head(&shape.destination, &shape.written);
        Self {
            update: sql::update(&shape.destination, &pairs, &condition),
            insert: format!("{head}({})", values.join(", ")),
            doing: format!("Could not write to {}", shape.destination),
        }
    }
}
