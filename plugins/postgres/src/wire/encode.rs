//! Rows of an Arrow batch in the server's binary form, straight from Arrow's buffers.
//!
//! What a value becomes is decided once per shape ([`ColumnPlan`]); a batch is bound to its plan ([`BoundRows`]) and
//! then written row by row. A value that does not fit exactly refuses its row, and nothing of that row is written.

use arrow::{
    array::{Array, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, RecordBatch, StringArray},
    buffer::NullBuffer,
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
        Int16Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
        Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, i256,
    },
};
use hub_plugin_api::{
    Error, ErrorKind, Result, arrow,
    types::{LogicalType, Unit},
};

use super::{
    encode_integer::{Integers, integers, put_integer},
    encode_json::{duration_value, put_json, put_text, timestamp_value},
    encode_number::{fits_scale, power, put_decimal, put_decimal_text},
    encode_plan::{ColumnPlan, Form, Width},
    encode_put::{put_bytes, put_eight, put_four, put_interval, put_measured, put_text_bytes, put_two},
    encode_time::{self, OUT_OF_RANGE, TOO_FINE},
};

/// What a COPY in binary form starts with: signature, no flags, no extension.
pub(crate) const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(crate) const COPY_TRAILER: [u8; 2] = [0xFF, 0xFF];

/// A value that has no exact place in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellError {
    /// The column, counted in the plan.
    pub column: usize,
    /// The end of a sentence that starts with "The value".
    pub reason: &'static str,
}

/// A batch and how its columns are written.
pub(crate) struct BoundRows<'a> {
    columns: Vec<BoundColumn<'a>>,
}

struct BoundColumn<'a> {
    nulls: Option<&'a NullBuffer>,
    required: bool,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a [i16]),
    Int4(&'a [i32]),
    Int8(&'a [i64]),
    Integer(Integers<'a>, Width),
    IntegerNumeric(Integers<'a>),
    Decimal { values: &'a [i128], scale: u32, kept: Option<i32> },
    DecimalInteger { values: &'a [i128], scale: u32, width: Width },
    WideDecimal { values: &'a [i256], scale: u32, kept: Option<i32> },
    DecimalText { array: &'a StringArray, kept: Option<i32> },
    Float4(&'a [f32]),
    Float8(&'a [f64]),
    Float4As8(&'a [f32]),
    Float8As4(&'a [f64]),
    // No value of the batch holds a NUL in these two.
    Text(&'a StringArray),
    LimitedText(&'a StringArray, usize),
    TextWithNul(&'a StringArray, usize),
    Jsonb(&'a StringArray),
    Bytes(&'a BinaryArray),
    FixedBytes(&'a FixedSizeBinaryArray),
    Date { values: &'a [i32], infinity: bool },
    Time { values: &'a [i64], unit: Unit, step: i64 },
    Timestamp { values: &'a [i64], unit: Unit, step: i64, infinity: bool },
    WideTimestamp { array: &'a dyn Array, step: i64, utc: bool },
    OffsetTimestamp { array: &'a dyn Array, unit: Unit, step: i64 },
    Duration { array: &'a dyn Array, unit: Unit, step: i64 },
    Interval { values: &'a [IntervalMonthDayNano], step: i64 },
    List { offsets: &'a [i32], items: Box<BoundColumn<'a>>, oid: u32 },
    Rendered { logical: &'a LogicalType, array: &'a dyn Array, limit: Option<usize> },
    RenderedJson { logical: &'a LogicalType, array: &'a dyn Array, binary: bool },
}

impl<'a> BoundRows<'a> {
    /// Binds a batch to its plan.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] when a column is not of the type that was planned for.
    pub(crate) fn bind(plan: &'a [ColumnPlan], batch: &'a RecordBatch) -> Result<Self> {
        let column = |plan: &'a ColumnPlan| match batch.columns().get(plan.index) {
            Some(array) => BoundColumn::bind(plan, array.as_ref()),
            None => Err(Error::internal(format!("A batch has no column {}", plan.index))),
        };
        Ok(Self { columns: plan.iter().map(column).collect::<Result<_>>()? })
    }

    /// Appends one row of a COPY, its number before its columns when there is one. After an error `out` is as it was.
    ///
    /// # Errors
    /// The first value that does not fit.
    #[inline]
    pub(crate) fn put_row(&self, row: usize, order: Option<i64>, out: &mut Vec<u8>) -> Result<(), CellError> {
        let start = out.len();
        let fields = self.columns.len() + usize::from(order.is_some());
        out.extend_from_slice(&(fields as u16).to_be_bytes());
        if let Some(order) = order {
            put_eight(out, order);
        }
        for (index, column) in self.columns.iter().enumerate() {
            if let Err(reason) = column.put(row, out) {
                out.truncate(start);
                return Err(CellError { column: index, reason });
            }
        }
        Ok(())
    }

    /// Appends one value with its length, as a field of a COPY has it; -1 is null.
    ///
    /// # Errors
    /// When the value does not fit.
    pub(crate) fn put_value(&self, column: usize, row: usize, out: &mut Vec<u8>) -> Result<(), CellError> {
        self.columns[column].put(row, out).map_err(|reason| CellError { column, reason })
    }
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

impl<'a> BoundColumn<'a> {
    fn bind(plan: &'a ColumnPlan, array: &'a dyn Array) -> Result<Self> {
        if !same_carrier(array.data_type(), &plan.carrier) {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                format!(
                    "Column `{}` came as {} after {} was announced",
                    plan.name,
                    array.data_type(),
                    plan.carrier
                ),
            ));
        }
        let cells = match &plan.form {
            Form::Bool => Cells::Bool(array.as_boolean()),
            Form::Same(Width::Two) => Cells::Int2(primitive::<Int16Type>(array)),
            Form::Same(Width::Four | Width::Oid) => Cells::Int4(primitive::<Int32Type>(array)),
            Form::Same(Width::Eight) => Cells::Int8(primitive::<Int64Type>(array)),
            Form::Integer(width) => Cells::Integer(integers(&plan.logical, array)?, *width),
            Form::IntegerNumeric => Cells::IntegerNumeric(integers(&plan.logical, array)?),
            Form::Decimal { scale, kept } => Cells::Decimal {
                values: primitive::<Decimal128Type>(array),
                scale: u32::from(*scale),
                kept: kept.filter(|kept| *kept < i32::from(*scale)),
            },
            Form::DecimalInteger { scale, width } => Cells::DecimalInteger {
                values: primitive::<Decimal128Type>(array),
                scale: u32::from(*scale),
                width: *width,
            },
            Form::WideDecimal { scale, kept } => Cells::WideDecimal {
                values: primitive::<Decimal256Type>(array),
                scale: u32::from(*scale),
                kept: *kept,
            },
            Form::DecimalText { kept } => Cells::DecimalText { array: array.as_string(), kept: *kept },
            Form::Float4 => Cells::Float4(primitive::<Float32Type>(array)),
            Form::Float8 => Cells::Float8(primitive::<Float64Type>(array)),
            Form::Float4As8 => Cells::Float4As8(primitive::<Float32Type>(array)),
            Form::Float8As4 => Cells::Float8As4(primitive::<Float64Type>(array)),
            Form::Text { limit } if holds_nul(array.as_string()) => {
                Cells::TextWithNul(array.as_string(), limit.unwrap_or(usize::MAX))
            }
            Form::Text { limit: None } => Cells::Text(array.as_string()),
            Form::Text { limit: Some(limit) } => Cells::LimitedText(array.as_string(), *limit),
            Form::Jsonb => Cells::Jsonb(array.as_string()),
            Form::Bytes => Cells::Bytes(array.as_binary()),
            Form::FixedBytes => Cells::FixedBytes(array.as_fixed_size_binary()),
            Form::Date => Cells::Date { values: primitive::<Date32Type>(array), infinity: plan.infinity },
            Form::Time { unit, step } => Cells::Time {
                values: match unit {
                    Unit::Nanosecond => primitive::<Time64NanosecondType>(array),
                    _ => primitive::<Time64MicrosecondType>(array),
                },
                unit: *unit,
                step: *step,
            },
            Form::Timestamp { unit, step } => Cells::Timestamp {
                values: match unit {
                    Unit::Second => primitive::<TimestampSecondType>(array),
                    Unit::Millisecond => primitive::<TimestampMillisecondType>(array),
                    Unit::Microsecond => primitive::<TimestampMicrosecondType>(array),
                    Unit::Nanosecond => primitive::<TimestampNanosecondType>(array),
                },
                unit: *unit,
                step: *step,
                infinity: plan.infinity,
            },
            Form::WideTimestamp { step, utc } => Cells::WideTimestamp { array, step: *step, utc: *utc },
            Form::OffsetTimestamp { unit, step } => {
                Cells::OffsetTimestamp { array, unit: *unit, step: *step }
            }
            Form::Duration { unit, step } => Cells::Duration { array, unit: *unit, step: *step },
            Form::Interval { step } => {
                Cells::Interval { values: primitive::<IntervalMonthDayNanoType>(array), step: *step }
            }
            Form::List { item, oid } => {
                let list = array.as_list::<i32>();
                let items = Box::new(Self::bind(item, list.values().as_ref())?);
                Cells::List { offsets: list.value_offsets(), items, oid: *oid }
            }
            Form::Rendered { limit } => Cells::Rendered { logical: &plan.logical, array, limit: *limit },
            Form::RenderedJson { binary } => {
                Cells::RenderedJson { logical: &plan.logical, array, binary: *binary }
            }
        };
        Ok(Self {
            nulls: array.nulls().filter(|nulls| nulls.null_count() > 0),
            required: plan.required,
            cells,
        })
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    #[inline]
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if self.is_null(row) {
            if self.required {
                return Err("is null in a column that takes none");
            }
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        match &self.cells {
            Cells::Int4(values) => put_four(out, values[row]),
            Cells::Int8(values) => put_eight(out, values[row]),
            Cells::Decimal { values, scale, kept } => {
                let value = values[row];
                if kept.is_some_and(|kept| !fits_scale(value, *scale, kept)) {
                    return Err("has more digits behind the point than the column keeps");
                }
                put_decimal(out, value, *scale);
            }
            Cells::Text(array) => put_bytes(out, array.value(row).as_bytes()),
            Cells::LimitedText(array, limit) => {
                let text = array.value(row);
                check_length(text, *limit)?;
                put_bytes(out, text.as_bytes());
            }
            Cells::Date { values, infinity } => put_four(out, encode_time::date(values[row], *infinity)?),
            Cells::Timestamp { values, unit, step, infinity } => {
                put_eight(out, encode_time::timestamp(values[row], *unit, *infinity, *step)?);
            }
            Cells::Float8(values) => put_eight(out, values[row].to_bits() as i64),
            Cells::Bool(array) => put_bytes(out, &[u8::from(array.value(row))]),
            Cells::Int2(values) => put_two(out, values[row]),
            Cells::Float4(values) => put_four(out, values[row].to_bits() as i32),
            Cells::Float4As8(values) => put_eight(out, f64::from(values[row]).to_bits() as i64),
            Cells::Bytes(array) => put_bytes(out, array.value(row)),
            Cells::FixedBytes(array) => put_bytes(out, array.value(row)),
            other => return other.put_slowly(row, out),
        }
        Ok(())
    }
}

/// Whether any text of a column holds a NUL. All of them at once take a tenth of what each by itself does.
fn holds_nul(array: &StringArray) -> bool {
    let offsets = array.value_offsets();
    let texts = match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => &array.value_data()[*first as usize..*last as usize],
        _ => &[],
    };
    texts.iter().fold(false, |found, byte| found | (*byte == 0))
}

/// The carriers of one logical type differ in the names and the nullability of what is inside of them.
fn same_carrier(came: &DataType, planned: &DataType) -> bool {
    match (came, planned) {
        (DataType::Struct(came), DataType::Struct(planned)) => {
            came.len() == planned.len()
                && came
                    .iter()
                    .zip(planned)
                    .all(|(came, planned)| same_carrier(came.data_type(), planned.data_type()))
        }
        (DataType::List(came), DataType::List(planned))
        | (DataType::Map(came, _), DataType::Map(planned, _)) => {
            same_carrier(came.data_type(), planned.data_type())
        }
        // UTC has more than one name.
        (DataType::Timestamp(came, zone), DataType::Timestamp(planned, utc)) => {
            came == planned && zone.is_some() == utc.is_some()
        }
        _ => came == planned,
    }
}

impl Cells<'_> {
    /// The forms that are rarer, out of the way of the loop.
    fn put_slowly(&self, row: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Cells::Integer(values, width) => return put_integer(out, values.get(row), *width),
            Cells::IntegerNumeric(values) => put_decimal(out, values.get(row), 0),
            Cells::DecimalInteger { values, scale, width } => {
                let unit = power(*scale).and_then(|unit| i128::try_from(unit).ok()).ok_or(OUT_OF_RANGE)?;
                if values[row] % unit != 0 {
                    return Err("is not a whole number");
                }
                return put_integer(out, values[row] / unit, *width);
            }
            Cells::WideDecimal { values, scale, kept } => {
                let digits = values[row].to_string();
                let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |rest| ("-", rest));
                let padded = format!("{digits:0>width$}", width = *scale as usize + 1);
                let (whole, fraction) = padded.split_at(padded.len() - *scale as usize);
                let point = if fraction.is_empty() { "" } else { "." };
                return put_decimal_text(out, &format!("{sign}{whole}{point}{fraction}"), *kept);
            }
            Cells::DecimalText { array, kept } => return put_decimal_text(out, array.value(row), *kept),
            Cells::Float8As4(values) => {
                let (value, narrow) = (values[row], values[row] as f32);
                if f64::from(narrow) != value && !value.is_nan() {
                    return Err("has more digits than `real` keeps");
                }
                put_four(out, narrow.to_bits() as i32);
            }
            Cells::TextWithNul(array, limit) => {
                let text = array.value(row);
                check_length(text, *limit)?;
                return put_text_bytes(out, text);
            }
            Cells::Jsonb(array) => {
                return put_measured(out, |out| {
                    out.push(1);
                    out.extend_from_slice(array.value(row).as_bytes());
                    Ok(())
                });
            }
            Cells::Time { values, unit, step } => {
                put_eight(out, encode_time::time(values[row], *unit, *step)?)
            }
            Cells::WideTimestamp { array, step, utc } => {
                let fields = array.as_struct();
                if fields.column(2).is_valid(row) != *utc {
                    return Err(if *utc { "has no offset from UTC" } else { "has an offset from UTC" });
                }
                let seconds = primitive::<Int64Type>(fields.column(0).as_ref())[row];
                let nanos = primitive::<Int32Type>(fields.column(1).as_ref())[row];
                put_eight(out, encode_time::wide(seconds, nanos, *step)?);
            }
            Cells::OffsetTimestamp { array, unit, step } => {
                let instant = timestamp_value(array.as_struct().column(0).as_ref(), *unit, row);
                put_eight(out, encode_time::timestamp(instant, *unit, false, *step)?);
            }
            Cells::Duration { array, unit, step } => {
                let micros = encode_time::micros(duration_value(*array, *unit, row), *unit)?;
                put_interval(out, encode_time::whole_steps(micros, *step)?, 0, 0);
            }
            Cells::Interval { values, step } => {
                let value = values[row];
                if value.nanoseconds % 1_000 != 0 {
                    return Err(TOO_FINE);
                }
                let micros = encode_time::whole_steps(value.nanoseconds / 1_000, *step)?;
                put_interval(out, micros, value.days, value.months);
            }
            Cells::List { offsets, items, oid } => {
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                return put_measured(out, |out| put_array(out, items, start..end, *oid));
            }
            Cells::Rendered { logical, array, limit } => {
                let start = out.len() + 4;
                put_measured(out, |out| put_text(out, logical, *array, row))?;
                if let (Some(limit), Ok(text)) = (limit, std::str::from_utf8(&out[start..])) {
                    check_length(text, *limit)?;
                }
            }
            Cells::RenderedJson { logical, array, binary } => {
                return put_measured(out, |out| {
                    if *binary {
                        out.push(1);
                    }
                    put_json(out, logical, *array, row)
                });
            }
            _ => return Err("has no form"),
        }
        Ok(())
    }
}

fn check_length(text: &str, limit: usize) -> Result<(), &'static str> {
    if text.len() > limit && text.chars().count() > limit {
        return Err("is longer than the column allows");
    }
    Ok(())
}

fn put_array(
    out: &mut Vec<u8>,
    items: &BoundColumn<'_>,
    range: std::ops::Range<usize>,
    oid: u32,
) -> Result<(), &'static str> {
    let dimensions = u32::from(!range.is_empty());
    let has_null = range.clone().any(|row| items.is_null(row));
    for word in [dimensions, u32::from(has_null), oid] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    if dimensions == 1 {
        // The length, and the index that the first item has.
        out.extend_from_slice(&(range.len() as u32).to_be_bytes());
        out.extend_from_slice(&1_u32.to_be_bytes());
    }
    range.into_iter().try_for_each(|row| items.put(row, out))
}
