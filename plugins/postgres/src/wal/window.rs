//! The changes of one table that wait to be handed over, as columns.

use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{
            ArrayRef, BinaryArray, NullBufferBuilder, RecordBatch, StringArray, StructArray,
            TimestampMicrosecondArray, UInt64Array, new_null_array,
        },
        datatypes::{DataType, Fields},
    },
    changes::Op,
};

use super::{
    message::{Image, Value},
    table::TableShape,
};
use crate::{types::Wire, wire::decode::RowDecoder};

/// Bytes of the change columns of one row.
const CHANGE_BYTES: usize = 48;

/// What happened, when, and as which change of the reader.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// What happened.
    pub op: Op,
    /// When its transaction was committed, in microseconds since 1970 UTC.
    pub time: Option<i64>,
    /// Its number.
    pub seq: u64,
}

/// Collects changes of one shape.
pub struct Window {
    /// Whose.
    pub shape: Arc<TableShape>,
    rows: RowDecoder,
    before: Option<Before>,
    max_value_bytes: u64,
    ops: Vec<&'static str>,
    times: Vec<Option<i64>>,
    numbers: Vec<u64>,
    /// Bitmaps of the rows that have one.
    unchanged: Vec<(usize, Vec<u8>)>,
}

/// Rows as they were.
struct Before {
    rows: RowDecoder,
    valid: NullBufferBuilder,
    count: usize,
}

impl Window {
    /// An empty one.
    ///
    /// # Errors
    /// When a column cannot be carried.
    pub fn new(shape: Arc<TableShape>, max_value_bytes: u64) -> Result<Self> {
        Ok(Self {
            rows: RowDecoder::new(Arc::clone(&shape.row), &shape.wires(), max_value_bytes)?,
            before: None,
            max_value_bytes,
            ops: Vec::new(),
            times: Vec::new(),
            numbers: Vec::new(),
            unchanged: Vec::new(),
            shape,
        })
    }

    /// Changes that wait.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Bytes of the changes that wait.
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
            + self.before.as_ref().map_or(0, |before| before.rows.bytes())
            + self.ops.len() * CHANGE_BYTES
    }

    /// Takes a change. `new` is the row as it is, `old` as it was, where the server sent it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when a value cannot be carried.
    pub fn push(
        &mut self,
        stamp: Stamp,
        old: Option<(Image, &[Value<'_>])>,
        new: Option<&[Value<'_>]>,
    ) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        let width = shape.columns.len();
        if [old.map(|(_, values)| values), new].into_iter().flatten().any(|values| values.len() != width) {
            let name = &shape.stream;
            return Err(Error::new(ErrorKind::Protocol, format!("A row of `{name}` is not of its shape")));
        }
        let full = old.filter(|(image, _)| *image == Image::Full).map(|(_, values)| values);
        let mut bitmap = Vec::new();
        let row = self.ops.len();
        // A value that was not sent with the new row is the one of the old row.
        let value = |place: usize| -> Option<Value<'_>> {
            match (new, old) {
                (Some(new), _) => match (new[place], full.map(|full| full[place])) {
                    (Value::Unchanged, Some(old)) => Some(old),
                    (value, _) => Some(value),
                },
                (None, Some((_, old))) => Some(old[place]),
                (None, None) => None,
            }
        };
        for place in 0..width {
            if value(place) == Some(Value::Unchanged) {
                bitmap.resize(width.div_ceil(8), 0);
                bitmap[place / 8] |= 1 << (place % 8);
            }
        }
        check(&shape, value)?;
        self.rows.append((0..width).map(|place| bytes(value(place))))?;
        if !bitmap.is_empty() {
            self.unchanged.push((row, bitmap));
        }
        match old {
            // The old key alone says no more than the columns of the row do, when the row is gone.
            Some((image, old)) if new.is_some() || image == Image::Full => self.push_before(row, old)?,
            _ => {}
        }
        self.ops.push(stamp.op.as_str());
        self.times.push(stamp.time);
        self.numbers.push(stamp.seq);
        Ok(())
    }

    fn push_before(&mut self, row: usize, old: &[Value<'_>]) -> Result<()> {
        let shape = &self.shape;
        let before = match &mut self.before {
            Some(before) => before,
            none => none.insert(Before {
                rows: RowDecoder::new(Arc::clone(&shape.row), &shape.wires(), self.max_value_bytes)?,
                valid: NullBufferBuilder::new(0),
                count: 0,
            }),
        };
        check(shape, |place| Some(old[place]))?;
        before.fill(row, old.len())?;
        before.rows.append(old.iter().map(|value| bytes(Some(*value))))?;
        before.valid.append_non_null();
        before.count += 1;
        Ok(())
    }

    /// The changes as a batch; the window is empty afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when text is not UTF-8.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let count = self.ops.len();
        let mut columns: Vec<ArrayRef> = self.rows.finish()?.columns().to_vec();
        columns.push(Arc::new(StringArray::from_iter_values(std::mem::take(&mut self.ops))));
        let times = TimestampMicrosecondArray::from(std::mem::take(&mut self.times));
        columns.push(Arc::new(times.with_timezone("UTC")));
        columns.push(Arc::new(UInt64Array::from(std::mem::take(&mut self.numbers))));
        let fields: Fields = self.shape.row.fields().clone();
        columns.push(match self.before.take() {
            Some(before) => Arc::new(before.finish(count, fields)?),
            None => new_null_array(&DataType::Struct(fields), count),
        });
        let mut bitmaps = std::mem::take(&mut self.unchanged).into_iter().peekable();
        let bitmaps: BinaryArray =
            (0..count).map(|row| bitmaps.next_if(|(at, _)| *at == row).map(|(_, bitmap)| bitmap)).collect();
        columns.push(Arc::new(bitmaps));
        Ok(RecordBatch::try_new(Arc::clone(&self.shape.changes), columns)?)
    }
}

impl Before {
    /// Rows up to this one have no image of what they were.
    fn fill(&mut self, row: usize, width: usize) -> Result<()> {
        while self.count < row {
            self.rows.append(std::iter::repeat_n(None, width))?;
            self.valid.append_null();
            self.count += 1;
        }
        Ok(())
    }

    fn finish(mut self, count: usize, fields: Fields) -> Result<StructArray> {
        self.fill(count, fields.len())?;
        let rows = self.rows.finish()?;
        Ok(StructArray::try_new(fields, rows.columns().to_vec(), self.valid.finish())?)
    }
}

/// Text stands for a type without a binary form; nothing else is read from it.
fn check<'a>(shape: &TableShape, value: impl Fn(usize) -> Option<Value<'a>>) -> Result<()> {
    for (place, column) in shape.columns.iter().enumerate() {
        if matches!(value(place), Some(Value::Text(_))) && column.reading.wire != Wire::Text {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "Column `{}` of `{}` came as text, although its type has a binary form",
                    column.column.name, shape.stream
                ),
            ));
        }
    }
    Ok(())
}

fn bytes(value: Option<Value<'_>>) -> Option<&[u8]> {
    match value {
        Some(Value::Binary(bytes) | Value::Text(bytes)) => Some(bytes),
        Some(Value::Null | Value::Unchanged) | None => None,
    }
}
