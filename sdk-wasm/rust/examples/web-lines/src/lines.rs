//! A file as batches of rows, with the place behind each.

use std::{
    io::{BufRead, Read},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use hub_connector::{Batch, Batches, Budgets, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    http::{Body, Url},
    values::{Column, Fields, Kind, Values},
};

/// The version of [`At`] as a position.
const VERSION: u32 = 1;

/// How many lines are looked at to tell the columns.
const LINES_TO_GUESS_FROM: u64 = 1000;

/// The place behind a line.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct At {
    v: u32,
    /// Bytes before it.
    byte: u64,
    /// Lines before it.
    line: u64,
}

/// A file that is being read.
pub(crate) struct Lines {
    name: String,
    body: Body,
    at: At,
    columns: Vec<Column>,
    /// Whether the user chose the columns: others are left out then, and an error otherwise.
    chosen: bool,
    budgets: Budgets,
}

impl Lines {
    pub(crate) fn open(
        url: Url,
        name: &str,
        columns: &[&str],
        position: Option<Value>,
        budgets: Budgets,
    ) -> Result<Self> {
        let at = match position {
            None => At { v: VERSION, ..At::default() },
            Some(position) => read_position(&position)?,
        };
        let start = At { v: VERSION, ..At::default() };
        let (name, chosen) = (name.to_owned(), !columns.is_empty());
        if chosen {
            let columns = columns.iter().map(|text| Column::declared(text)).collect::<Result<Vec<_>>>()?;
            return Ok(Self { name, body: url.get(at.byte)?, at, columns, chosen, budgets });
        }
        let body = url.get(0)?;
        let mut lines = Self { name, body, at: start, columns: Vec::new(), chosen, budgets };
        lines.columns = lines.guess_columns()?;
        (lines.body, lines.at) = (url.get(at.byte)?, at);
        Ok(lines)
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns.len()
    }

    fn guess_columns(&mut self) -> Result<Vec<Column>> {
        let mut columns: Vec<(String, Option<Kind>)> = Vec::new();
        while self.at.line < LINES_TO_GUESS_FROM {
            let Some(line) = self.next_line()? else { break };
            for (name, value) in self.fields(&line)?.0 {
                let found = Kind::of(value.get());
                match columns.iter_mut().find(|(known, _)| *known == name) {
                    None => columns.push((name, found)),
                    Some((_, kind)) => {
                        // Null fits every kind.
                        *kind = match (*kind, found) {
                            (Some(one), Some(other)) => Some(one.or_wider(other)),
                            (one, other) => one.or(other),
                        };
                    }
                }
            }
        }
        if columns.is_empty() {
            let message = format!("`{}` has no lines to tell its columns from", self.name);
            return Err(
                Error::config("columns", message).with_hint("Declare the columns by the option `columns`")
            );
        }
        let column = |(name, kind): (String, Option<Kind>)| Column { name, kind: kind.unwrap_or(Kind::Text) };
        Ok(columns.into_iter().map(column).collect())
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        // A line holds a value for each column; names and punctuation come on top.
        let columns = self.columns.len().max(16) as u64;
        let limit = self.budgets.max_value_bytes.saturating_mul(columns).saturating_add(1 << 20);
        loop {
            let mut line = Vec::new();
            let read = self.body.by_ref().take(limit).read_until(b'\n', &mut line).map_err(|error| {
                Error::new("network", format!("The rest of `{}` cannot be read: {error}", self.name))
            })?;
            if read == 0 {
                return Ok(None);
            }
            self.at.byte += read as u64;
            self.at.line += 1;
            if read as u64 == limit && line.last() != Some(&b'\n') {
                return Err(self.wrong(&format!("is longer than {limit} bytes")));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    fn fields<'a>(&self, line: &'a [u8]) -> Result<Fields<'a>> {
        serde_json::from_slice(line).map_err(|error| {
            // The line that the parser counts is always the first.
            let reason = error.to_string().replace(" at line 1 column ", ", at column ");
            self.wrong(&format!("is not a JSON object that can be read: {reason}"))
        })
    }

    /// What is wrong with the line that was read last.
    fn wrong(&self, what: &str) -> Error {
        Error::new("invalid-data", format!("Line {} of `{}` {what}", self.at.line, self.name))
    }

    fn push(&self, line: &[u8], values: &mut [Values]) -> Result<()> {
        let mut fields = self.fields(line)?.0;
        for (column, values) in self.columns.iter().zip(values) {
            let at = fields.iter().position(|(name, _)| *name == column.name);
            let value = at.map_or("null", |at| fields.swap_remove(at).1.get());
            values.push(value).map_err(|expected| {
                let shown: String = value.chars().take(40).collect();
                self.wrong(&format!("has `{shown}` in column `{}`, which is {expected}", column.name))
                    .with_hint("Declare the columns by the option `columns`")
            })?;
        }
        match fields.first() {
            Some((name, _)) if !self.chosen => Err(self
                .wrong(&format!("has a field `{name}`, which the first lines have not"))
                .with_hint("Declare the columns by the option `columns`; fields beyond them are left out")),
            _ => Ok(()),
        }
    }
}

fn read_position(position: &Value) -> Result<At> {
    match serde_json::from_value::<At>(position.clone()) {
        Ok(at) if at.v == VERSION => Ok(at),
        _ => Err(Error::new("position-lost", format!("The stored position cannot be read: `{position}`"))
            .with_hint("Start again with `--from-scratch`, or use the version of the plugin that stored it")),
    }
}

impl Batches for Lines {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        let (mut rows, start) = (0, self.at.byte);
        let mut values: Vec<Values> = self.columns.iter().map(|column| Values::new(column.kind)).collect();
        while rows < self.budgets.max_batch_rows && self.at.byte - start < self.budgets.max_batch_bytes {
            let Some(line) = self.next_line()? else { break };
            self.push(&line, &mut values)?;
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let rows = RecordBatch::try_new(self.schema(), values.into_iter().map(Values::finish).collect())?;
        Ok(Some(Batch { rows, position: serde_json::to_value(self.at)? }))
    }
}
