//! One row of a batch, be it a plain one or a change.

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::array::{Array, RecordBatch},
    changes::{Changes, Op},
};

use super::template::{Part, Template};
use crate::text::TextColumn;

/// A batch whose rows are looked at one by one.
pub struct Batch<'a> {
    /// The row's own columns.
    pub rows: &'a RecordBatch,
    /// What happened, where the rows are changes.
    pub changes: Option<&'a Changes>,
    /// How the columns are written.
    pub columns: &'a [TextColumn],
}

/// Why a row cannot be written; the others can.
#[derive(Debug)]
pub struct Refused {
    /// As a kind.
    pub kind: ErrorKind,
    /// In one sentence.
    pub reason: String,
}

impl Refused {
    /// For its data.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidData, reason: reason.into() }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { kind: error.kind, reason: error.to_string() }
    }
}

impl Batch<'_> {
    /// What happened to a row; a plain one is new.
    ///
    /// # Errors
    /// When it says something else.
    pub fn op(&self, row: usize) -> Result<Op> {
        self.changes.map_or(Ok(Op::Insert), |changes| changes.op(row))
    }

    /// A column's value; nothing for null.
    pub fn value(&self, column: usize, row: usize) -> Result<Option<Vec<u8>>, Refused> {
        Ok(self.columns[column].bytes(self.rows.column(column).as_ref(), row)?)
    }

    /// A column's value before the change; nothing for null, or where the source did not send it.
    pub fn before(&self, column: usize, row: usize) -> Result<Option<Vec<u8>>, Refused> {
        let before = self.changes.and_then(Changes::before).filter(|before| before.is_valid(row));
        let Some(before) = before else { return Ok(None) };
        Ok(self.columns[column].bytes(before.column(column).as_ref(), row)?)
    }

    /// Whether the source did not send a value.
    pub fn is_unchanged(&self, column: usize, row: usize) -> bool {
        self.changes.is_some_and(|changes| changes.is_unchanged(row, column))
    }

    /// The place of a column.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with the option that names it.
    pub fn place(columns: &[TextColumn], field: &str, name: &str) -> Result<usize> {
        columns.iter().position(|column| column.column().name == name).ok_or_else(|| {
            let known: Vec<_> = columns.iter().map(|column| column.column().name.as_str()).collect();
            Error::config(field, format!("The rows have no column `{name}`"))
                .with_hint(format!("They have: {}", known.join(", ")))
        })
    }

    /// A template with values in it. With `old`, values are those before the change, where the source sent them.
    pub fn fill(&self, template: &Template, row: usize, old: bool) -> Result<Vec<u8>, Refused> {
        let mut bytes = Vec::new();
        for part in template {
            match part {
                Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Part::Column(placeholder) => {
                    let place = Self::place(self.columns, "commands", &placeholder.column)?;
                    // The source sends the row before only where that differs.
                    let before = if placeholder.before || old { self.before(place, row)? } else { None };
                    let value = if before.is_some() { before } else { self.value(place, row)? };
                    let value = value.ok_or_else(|| {
                        Refused::new(format!(
                            "Column `{}` is null, which Redis does not have",
                            placeholder.column
                        ))
                    })?;
                    bytes.extend_from_slice(&value);
                }
            }
        }
        Ok(bytes)
    }
}
