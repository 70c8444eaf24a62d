use hub_plugin_api::{
    ErrorKind, Result,
    arrow::array::{ArrayRef, RecordBatch},
    types::Column,
};
use rusqlite::{CachedStatement, ErrorCode, types::ValueRef};

use super::target::{Target, TargetColumn};
use crate::{encode::ColumnEncoder, error::map, read::Borrowed};

/// Why a row was refused.
#[derive(Debug)]
pub struct Refusal {
    /// As a kind.
    pub kind: ErrorKind,
    /// In one sentence.
    pub reason: String,
}

impl Refusal {
    /// The row breaks a rule of the table.
    pub fn constraint(reason: impl Into<String>) -> Self {
        Self { kind: ErrorKind::ConstraintViolated, reason: reason.into() }
    }
}

/// The outer error is the call's, the inner one refuses the row.
pub type RowResult<T = ()> = Result<std::result::Result<T, Refusal>>;

/// Leaves with what refused the row, if something did.
macro_rules! accepted {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refused) => return Ok(Err(refused)),
        }
    };
}
pub(super) use accepted;

/// A batch whose values are asked for row by row, by a target's columns.
pub struct Encoded<'a> {
    columns: &'a [TargetColumn],
    encoders: Vec<ColumnEncoder>,
    scratch: [String; 2],
}

impl<'a> Encoded<'a> {
    /// For a target's columns of a batch.
    pub fn new(target: &'a Target, columns: &[Column], batch: &RecordBatch) -> Result<Self> {
        Self::of_arrays(target, columns, batch.columns())
    }

    /// The same of arrays.
    pub fn of_arrays(target: &'a Target, columns: &[Column], arrays: &[ArrayRef]) -> Result<Self> {
        let encoders = target
            .columns
            .iter()
            .map(|column| ColumnEncoder::new(&columns[column.place], &arrays[column.place]))
            .collect::<Result<_>>()?;
        Ok(Self { columns: &target.columns, encoders, scratch: Default::default() })
    }

    /// Binds all of a row's values from parameter 1 on.
    pub fn bind(&mut self, row: usize, statement: &mut CachedStatement<'_>) -> RowResult {
        for index in 0..self.encoders.len() {
            accepted!(self.bind_one(index, row, index + 1, statement)?);
        }
        Ok(Ok(()))
    }

    /// Binds one value of a row to one parameter.
    pub fn bind_one(
        &mut self,
        index: usize,
        row: usize,
        parameter: usize,
        statement: &mut CachedStatement<'_>,
    ) -> RowResult {
        let column = &self.columns[index];
        let value = accepted!(self.value(index, row)?);
        statement
            .raw_bind_parameter(parameter, Borrowed(value))
            .map_err(|error| map("A value could not be bound", error).with_context("column", &column.name))?;
        Ok(Ok(()))
    }

    /// One value of a row, as the table takes it.
    pub fn value(&mut self, index: usize, row: usize) -> RowResult<ValueRef<'_>> {
        let column = &self.columns[index];
        let [own, fitted] = &mut self.scratch;
        let value = self.encoders[index].value(row, own).and_then(|value| column.store.fit(value, fitted));
        Ok(match value {
            Ok(ValueRef::Null) if column.never_null => Err(Refusal::constraint(format!(
                "Column `{}` is NULL, but NOT NULL in the table",
                column.name
            ))),
            Ok(value) => Ok(value),
            Err(reason) => Err(Refusal {
                kind: ErrorKind::InvalidData,
                reason: format!("Column `{}` cannot be stored: {reason}", column.name),
            }),
        })
    }
}

/// Runs a statement whose values are bound, and says how many rows it changed.
pub fn execute(statement: &mut CachedStatement<'_>) -> RowResult<usize> {
    match statement.raw_execute() {
        Ok(count) => Ok(Ok(count)),
        Err(error) => refusal(error).map(Err),
    }
}

/// Whether a row was refused for its data, which leaves the transaction as it was; other errors are the call's.
pub fn refusal(error: rusqlite::Error) -> Result<Refusal> {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            let reason = format!("The table refused the row: {error}");
            Ok(Refusal { kind: crate::error::kind_of(&error), reason })
        }
        _ => Err(map("A row could not be written", error)),
    }
}
