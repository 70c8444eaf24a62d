//! A file as batches of rows, with the place behind each.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use hub_plugin_api::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    prelude::*,
    simple::BatchSource,
    types::schema_of,
};
use serde::{Deserialize, Serialize};

use crate::values::{Fields, Values, declared_columns, guess_type, merge_types};

/// The version of [`At`] as a position.
pub const VERSION: u32 = 1;

/// How many lines are looked at to tell the columns.
const LINES_TO_GUESS_FROM: u64 = 1000;

/// The place behind a line.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct At {
    /// Bytes before it.
    byte: u64,
    /// Lines before it.
    line: u64,
}

/// A file that is being read.
pub struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    at: At,
    columns: Vec<Column>,
    /// Whether the user chose the columns: others are left out then, and an error otherwise.
    chosen: bool,
    budgets: Budgets,
}

impl Lines {
    /// Opens a file at a place that an earlier reader gave.
    pub fn open(path: &Path, columns: &[String], at: At, budgets: Budgets) -> Result<Self> {
        let file = File::open(path).map_err(|error| no_access(path, &error))?;
        let metadata = file.metadata().map_err(|error| no_access(path, &error))?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::NotFound, format!("`{}` is not a file", path.display())));
        }
        if metadata.len() < at.byte {
            let message = format!("`{}` has become shorter than the place to go on at", path.display());
            return Err(Error::new(ErrorKind::PositionLost, message)
                .with_hint("The file was replaced: start again with `--from-scratch`"));
        }
        let (path, reader) = (path.to_owned(), BufReader::new(file));
        let mut lines = Self {
            path,
            reader,
            at: At::default(),
            columns: Vec::new(),
            chosen: !columns.is_empty(),
            budgets,
        };
        lines.columns = if lines.chosen { declared_columns(columns)? } else { lines.guess_columns()? };
        lines.reader.seek(SeekFrom::Start(at.byte)).map_err(|error| no_access(&lines.path, &error))?;
        lines.at = at;
        Ok(lines)
    }

    /// The columns that were declared or found.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn guess_columns(&mut self) -> Result<Vec<Column>> {
        let mut columns: Vec<Column> = Vec::new();
        while self.at.line < LINES_TO_GUESS_FROM {
            let Some(line) = self.next_line()? else { break };
            for (name, value) in self.fields(&line)?.0 {
                let Some(found) = guess_type(value.get()) else {
                    // Null fits every type, but the column must be there.
                    if columns.iter().all(|column| column.name != name) {
                        columns.push(Column::new(name, LogicalType::Struct(Vec::new())));
                    }
                    continue;
                };
                match columns.iter_mut().find(|column| column.name == name) {
                    Some(column) => column.logical = merge_types(&column.logical, found),
                    None => columns.push(Column::new(name, found)),
                }
            }
        }
        for column in columns.iter_mut().filter(|column| column.logical == LogicalType::Struct(Vec::new())) {
            column.logical = LogicalType::Text;
        }
        if columns.is_empty() {
            let message = format!("`{}` has no lines to tell its columns from", self.path.display());
            return Err(
                Error::config("columns", message).with_hint("Declare the columns by the option `columns`")
            );
        }
        Ok(columns)
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        // A line holds a value for each column; names and punctuation come on top.
        let columns = self.columns.len().max(16) as u64;
        let limit = self.budgets.max_value_bytes.saturating_mul(columns).saturating_add(1 << 20);
        loop {
            let mut line = Vec::new();
            let mut limited = self.reader.by_ref().take(limit);
            let read = limited.read_until(b'\n', &mut line).map_err(|error| no_access(&self.path, &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.at.byte += read as u64;
            self.at.line += 1;
            if read as u64 == limit && line.last() != Some(&b'\n') {
                return Err(self.wrong(format_args!("is longer than {limit} bytes")));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn fields<'a>(&self, line: &'a [u8]) -> Result<Fields<'a>> {
        serde_json::from_slice(line).map_err(|error| {
            let reason = error.to_string();
            // The line that the parser counts is always the first.
            let reason = reason.replace(" at line 1 column ", ", at column ");
            self.wrong(format_args!("is not a JSON object that can be read: {reason}"))
        })
    }

    /// What is wrong with the line that was read last.
    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        Error::new(ErrorKind::InvalidData, format!("Line {} of `{file}` {what}", self.at.line))
    }

    fn push(&self, line: &[u8], values: &mut [Values]) -> Result<()> {
        let mut fields = self.fields(line)?.0;
        for (column, values) in self.columns.iter().zip(values) {
            let value =
                fields.iter().position(|(name, _)| *name == column.name).map(|at| fields.swap_remove(at).1);
            let value = value.map_or("null", |value| value.get());
            values.push(value).map_err(|expected| {
                let column = &column.name;
                let shown: String = value.chars().take(40).collect();
                self.wrong(format_args!("has `{shown}` in column `{column}`, which is {expected}"))
                    .with_hint("Declare the columns by the option `columns`")
            })?;
        }
        match fields.first() {
            Some((name, _)) if !self.chosen => Err(self
                .wrong(format_args!("has a field `{name}`, which the first lines have not"))
                .with_hint("Declare the columns by the option `columns`; fields beyond them are left out")),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl BatchSource for Lines {
    fn schema(&self) -> SchemaRef {
        schema_of(&self.columns)
    }

    async fn next_batch(&mut self) -> Result<Option<(RecordBatch, Option<Position>)>> {
        let (mut rows, start) = (0, self.at.byte);
        let mut values: Vec<_> = self.columns.iter().map(|column| Values::of(&column.logical)).collect();
        while rows < self.budgets.max_batch_rows && self.at.byte - start < self.budgets.max_batch_bytes {
            let Some(line) = self.next_line()? else { break };
            self.push(&line, &mut values)?;
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let batch = RecordBatch::try_new(self.schema(), values.iter_mut().map(Values::finish).collect())?;
        Ok(Some((batch, Some(Position::new(VERSION, &self.at)?))))
    }
}

/// A file or directory that the system does not let us read.
pub fn no_access(path: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("`{}` cannot be read", path.display())).with_source(error)
}
