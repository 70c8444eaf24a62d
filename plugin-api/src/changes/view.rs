use std::{fmt, str::FromStr};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, StructArray,
        TimestampMicrosecondArray, UInt64Array,
    },
    datatypes::{DataType, Fields, TimestampMicrosecondType, UInt64Type},
};

use super::{BEFORE, OP, PATCH, SEQ, TS, UNCHANGED, row_columns, row_schema, schema::role};
use crate::{Error, ErrorKind, Result, types::key_columns};

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// It is new.
    Insert,
    /// Some of its values changed, perhaps its key.
    Update,
    /// It went.
    Delete,
    /// It was there when the stream started.
    Snapshot,
}

impl Op {
    /// As it is written in `__op`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Snapshot => "snapshot",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Op {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Insert, Self::Update, Self::Delete, Self::Snapshot]
            .into_iter()
            .find(|op| op.as_str() == text)
            .ok_or_else(|| malformed(format!("`{text}` is no operation of a change")))
    }
}

/// A batch of changes, taken apart: the row's columns, the key's, and each change column by its meaning.
#[derive(Clone, Debug)]
pub struct Changes {
    rows: RecordBatch,
    keys: Vec<usize>,
    op: StringArray,
    ts: Option<TimestampMicrosecondArray>,
    seq: Option<UInt64Array>,
    before: Option<StructArray>,
    unchanged: Option<BinaryArray>,
    patch: Option<StringArray>,
}

impl Changes {
    /// Takes a batch apart. Copies no values.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when a change column is not of its type, or `__op` is missing.
    pub fn of(batch: &RecordBatch) -> Result<Self> {
        let schema = batch.schema_ref();
        let table = row_schema(schema);
        let columns = row_columns(schema).into_iter().map(|place| batch.column(place).clone()).collect();
        let keys = key_columns(&table).into_iter().filter_map(|name| table.index_of(name).ok()).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let before = of_role(batch, BEFORE, |array| array.as_struct_opt())?;
        let shape = |fields: &Fields| {
            fields.iter().map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
        };
        if before.is_some_and(|before| shape(before.fields()) != shape(table.fields())) {
            return Err(malformed(format!("`{BEFORE}` does not have the columns of the row")));
        }
        let op = of_role(batch, OP, |array| array.as_string_opt::<i32>())?
            .ok_or_else(|| malformed(format!("A batch of changes has no column `{OP}`")))?;
        Ok(Self {
            keys,
            op: op.clone(),
            ts: of_role(batch, TS, |array| array.as_primitive_opt::<TimestampMicrosecondType>())?.cloned(),
            seq: of_role(batch, SEQ, |array| array.as_primitive_opt::<UInt64Type>())?.cloned(),
            before: before.cloned(),
            unchanged: of_role(batch, UNCHANGED, |array| array.as_binary_opt::<i32>())?.cloned(),
            patch: of_role(batch, PATCH, |array| array.as_string_opt::<i32>())?.cloned(),
            rows: RecordBatch::try_new_with_options(table, columns, &options)?,
        })
    }

    /// The row's own columns.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The places of the key's columns in [`Changes::rows`], in the key's order.
    pub fn keys(&self) -> &[usize] {
        &self.keys
    }

    /// What happened to a row.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when it is none of the four.
    pub fn op(&self, row: usize) -> Result<Op> {
        if self.op.is_null(row) {
            return Err(malformed(format!("`{OP}` is null")));
        }
        self.op.value(row).parse()
    }

    /// The commit time, in µs since 1970 UTC.
    pub fn ts(&self, row: usize) -> Option<i64> {
        self.ts.as_ref().filter(|ts| ts.is_valid(row)).map(|ts| ts.value(row))
    }

    /// The place in the commit order of the reader.
    pub fn seq(&self, row: usize) -> Option<u64> {
        self.seq.as_ref().filter(|seq| seq.is_valid(row)).map(|seq| seq.value(row))
    }

    /// The rows as they were, null where the source did not send one. Its columns are those of [`Changes::rows`].
    pub fn before(&self) -> Option<&StructArray> {
        self.before.as_ref()
    }

    /// The bitmap of the values of a row that the source did not send; empty when it sent all.
    pub fn unchanged(&self, row: usize) -> &[u8] {
        self.unchanged.as_ref().filter(|bits| bits.is_valid(row)).map_or(&[], |bits| bits.value(row))
    }

    /// Whether the source did not send a value of a row; `column` counts the row's own columns.
    pub fn is_unchanged(&self, row: usize, column: usize) -> bool {
        bit(self.unchanged(row), column)
    }

    /// The difference of a document, as JSON, where the source sent that instead of the row.
    pub fn patch(&self, row: usize) -> Option<&str> {
        self.patch.as_ref().filter(|patch| patch.is_valid(row)).map(|patch| patch.value(row))
    }

    /// The columns of the key, in its order.
    pub(super) fn key_arrays(&self) -> Vec<ArrayRef> {
        self.keys.iter().map(|place| self.rows.column(*place).clone()).collect()
    }
}

pub(super) fn bit(bits: &[u8], place: usize) -> bool {
    bits.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1)
}

pub(super) fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

fn of_role<'a, T: 'a>(
    batch: &'a RecordBatch,
    name: &str,
    cast: impl Fn(&'a dyn Array) -> Option<&'a T>,
) -> Result<Option<&'a T>> {
    let place = batch.schema_ref().fields().iter().position(|field| role(field) == Some(name));
    let Some(place) = place else { return Ok(None) };
    let array = batch.column(place);
    let wrong =
        |data_type: &DataType| malformed(format!("Change column `{name}` is of the wrong type {data_type}"));
    cast(array.as_ref()).map(Some).ok_or_else(|| wrong(array.data_type()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_as_they_are_written() {
        for op in [Op::Insert, Op::Update, Op::Delete, Op::Snapshot] {
            assert_eq!(op.to_string().parse::<Op>().unwrap(), op);
        }
        assert_eq!("upsert".parse::<Op>().unwrap_err().message, "`upsert` is no operation of a change");
    }

    #[test]
    fn bits_behind_the_bitmap_are_sent_values() {
        assert!(bit(&[0b10, 1], 1) && bit(&[0b10, 1], 8));
        assert!(!bit(&[0b10, 1], 0) && !bit(&[], 3) && !bit(&[255], 8));
    }
}
