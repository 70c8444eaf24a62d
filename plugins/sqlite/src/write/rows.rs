use hub_plugin_api::{ErrorKind, Result, types::Column};
use rusqlite::{CachedStatement, ErrorCode};
use rusqlite::types::ValueRef;

use super::target::Target;
use crate::{encode::ColumnEncoder, error::map, read::Borrowed};
use hub_plugin_api::arrow::array::RecordBatch;

/// Why a row was refused.
pub struct Refusal {
    /// As a kind.
    pub kind: ErrorKind,
    /// In one sentence.
    pub reason: String,
}

/// A batch whose values are asked for row by row.
pub struct Encoded<'a> {
    target: &'a Target,
    encoders: Vec<ColumnEncoder>,
    scratch: [String; 2],
}

impl<'a> Encoded<'a> {
    /// For a target's columns of a batch.
    pub fn new(target: &'a Target, columns: &[Column], batch: &RecordBatch) -> Result<Self> {
        let encoders = target
            .columns
            .iter()
            .map(|column| ColumnEncoder::new(&columns[column.place], batch.column(column.place)))
            .collect::<Result<_>>()?;
        Ok(Self { target, encoders, scratch: Default::default() })
    }

    /// Binds a row's values from parameter `first` on; the inner error refuses the row.
    pub fn bind(&mut self, row: usize, first: usize, statement: &mut CachedStatement<'_>) -> Result<Result<(), Refusal>> {
        for (index, (encoder, column)) in self.encoders.iter().zip(&self.target.columns).enumerate() {
            let [own, fitted] = &mut self.scratch;
            let value = encoder.value(row, own).and_then(|value| column.store.fit(value, fitted));
            let value = match value {
                Ok(ValueRef::Null) if column.never_null => {
                    return Ok(Err(Refusal {
                        kind: ErrorKind::ConstraintViolated,
                        reason: format!("Column `{}` is NULL, but NOT NULL in the table", column.name),
                    }));
                }
                Ok(value) => value,
                Err(reason) => {
                    return Ok(Err(Refusal {
                        kind: ErrorKind::InvalidData,
                        reason: format!("Column `{}` cannot be stored: {reason}", column.name),
                    }));
                }
            };
            statement
                .raw_bind_parameter(first + index, Borrowed(value))
                .map_err(|error| map("A value could not be bound", error).with_context("column", &column.name))?;
        }
        Ok(Ok(()))
    }
}

/// Whether a row was refused for its data, which leaves the transaction as it was; other errors are the call's.
pub fn refusal(error: rusqlite::Error) -> Result<Refusal> {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => Ok(Refusal {
            kind: crate::error::kind_of(&error),
            reason: format!("The table refused the row: {error}"),
        }),
        _ => Err(map("A row could not be written", error)),
    }
}
