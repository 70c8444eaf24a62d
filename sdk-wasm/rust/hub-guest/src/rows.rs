use std::collections::VecDeque;

use crate::{Batch, Failure, Field, FromValue, Result, RowBatch, Value};

/// Rows that came from the connection.
#[derive(Default)]
pub struct RowPage {
    fields: Vec<Field>,
    rows: VecDeque<Vec<Value>>,
}

impl RowPage {
    pub(crate) fn append(&mut self, batch: RowBatch) {
        self.fields = batch.fields;
        self.rows.extend(batch.rows);
    }

    /// The columns; none where there was no row.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// How many rows are left.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is left.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The next row.
    pub fn next_row(&mut self) -> Option<Row<'_>> {
        let values = self.rows.pop_front()?;
        Some(Row { fields: &self.fields, values })
    }
}

/// A row that came from the connection.
pub struct Row<'a> {
    fields: &'a [Field],
    values: Vec<Value>,
}

impl Row<'_> {
    /// The value of a column.
    ///
    /// # Errors
    /// When there is no such column, or its value is of another type.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T> {
        let index = self.fields.iter().position(|field| field.name == column);
        let value = index.and_then(|index| self.values.get(index)).ok_or_else(|| missing(column))?;
        T::from_value(value).ok_or_else(|| {
            Failure::new("schema-mismatch", format!("Column `{column}` holds a value that is no {}", T::NAME))
        })
    }
}

pub(crate) fn missing(column: &str) -> Failure {
    Failure::new("schema-mismatch", format!("The statement has no column `{column}`"))
}

/// Rows to yield, one list a row: the easy way.
pub struct Rows(RowBatch);

impl Rows {
    /// No rows of these columns.
    pub fn new(fields: Vec<Field>) -> Self {
        Self::with_capacity(fields, 0)
    }

    /// The same, with room for so many.
    pub fn with_capacity(fields: Vec<Field>, rows: usize) -> Self {
        Self(RowBatch { fields, rows: Vec::with_capacity(rows) })
    }

    /// Appends a row, a value a column.
    pub fn push(&mut self, values: Vec<Value>) {
        self.0.rows.push(values);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.rows.is_empty()
    }
}

impl From<Rows> for Batch {
    fn from(rows: Rows) -> Self {
        Self::Rows(rows.0)
    }
}
