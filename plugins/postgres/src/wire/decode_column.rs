//! One column's values, from the forms that PostgreSQL's `*_send` functions give them into Arrow arrays.

use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{
            ArrayRef, BooleanArray, BooleanBufferBuilder, Decimal128Array, Decimal256Array,
            FixedSizeBinaryArray, GenericByteArray, ListArray, PrimitiveArray,
        },
        buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
        datatypes::{
            ArrowPrimitiveType, BinaryType, ByteArrayType, DataType, Date32Type, Field, FieldRef,
            Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
            IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, Utf8Type,
            i256,
        },
    },
};

use super::{
    decode_nulls::Nulls,
    decode_numeric::{self, Numeric},
    input::{Field as Element, Input},
};
use crate::types::Wire;

/// Days and microseconds from 1970-01-01, where Arrow counts from, to 2000-01-01, where PostgreSQL does.
pub(super) const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

const AS_TEXT: &str = "Name the column in option `as_text` to carry it as the server writes it";

/// An error that fits a register: there is one result a value.
type Decoded<T> = Result<T, Box<Error>>;

/// Collects the values of one column.
pub(super) struct ColumnDecoder {
    name: String,
    values: Values,
    nulls: Nulls,
    /// Elements of a list have no mark for infinities.
    is_item: bool,
}

enum Values {
    Bool(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt32(Vec<u32>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128 { values: Vec<i128>, precision: u8, scale: u8 },
    Decimal256 { values: Vec<i256>, precision: u8, scale: u8 },
    DecimalText(Bytes),
    Text(Bytes),
    Jsonb(Bytes),
    Binary(Bytes),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp { values: Vec<i64>, zone: Option<Arc<str>> },
    Interval(Vec<IntervalMonthDayNano>),
    Uuid(Vec<u8>),
    List { offsets: Vec<i32>, items: Box<ColumnDecoder>, field: FieldRef },
}

/// Values of varying length, one behind the other.
struct Bytes {
    data: Vec<u8>,
    offsets: Vec<i32>,
}

impl Bytes {
    fn new() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }

    /// Marks the end of a value.
    #[inline]
    fn end_value(&mut self, column: &str) -> Decoded<()> {
        let Ok(end) = i32::try_from(self.data.len()) else {
            return Err(wrong(column, "the values of one batch have more than 2 GiB")
                .with_hint("Lower `max_value_bytes`")
                .into());
        };
        self.offsets.push(end);
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        let end = self.offsets.last().copied().unwrap_or_default();
        self.data.truncate(usize::try_from(end).unwrap_or_default());
    }

    fn finish<T: ByteArrayType<Offset = i32>>(
        &mut self,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, String> {
        // The next batch will need about as much.
        let data = take(&mut self.data);
        let mut next = Vec::with_capacity(self.offsets.len());
        next.push(0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.offsets, next)));
        let array = GenericByteArray::<T>::try_new(offsets, Buffer::from_vec(data), nulls);
        array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| error.to_string())
    }
}

impl ColumnDecoder {
    pub(super) fn new(field: &Field, wire: &Wire) -> Result<Self> {
        Self::named(field.name(), field, wire, false)
    }

    fn named(name: &str, field: &Field, wire: &Wire, is_item: bool) -> Result<Self> {
        let values = match (wire, field.data_type()) {
            (Wire::Bool, _) => Values::Bool(BooleanBufferBuilder::new(0)),
            (Wire::Int2, _) => Values::Int16(Vec::new()),
            (Wire::Int4, _) => Values::Int32(Vec::new()),
            (Wire::Int8, _) => Values::Int64(Vec::new()),
            (Wire::Oid, _) => Values::UInt32(Vec::new()),
            (Wire::Float4, _) => Values::Float32(Vec::new()),
            (Wire::Float8, _) => Values::Float64(Vec::new()),
            (&Wire::Decimal { precision, scale }, DataType::Decimal128(..)) => {
                Values::Decimal128 { values: Vec::new(), precision, scale }
            }
            (&Wire::Decimal { precision, scale }, _) => {
                Values::Decimal256 { values: Vec::new(), precision, scale }
            }
            (Wire::DecimalText, _) => Values::DecimalText(Bytes::new()),
            (Wire::Text, _) => Values::Text(Bytes::new()),
            (Wire::Jsonb, _) => Values::Jsonb(Bytes::new()),
            (Wire::Bytea, _) => Values::Binary(Bytes::new()),
            (Wire::Date, _) => Values::Date(Vec::new()),
            (Wire::Time, _) => Values::Time(Vec::new()),
            (Wire::Timestamp, DataType::Timestamp(_, zone)) => {
                Values::Timestamp { values: Vec::new(), zone: zone.clone() }
            }
            (Wire::Interval, _) => Values::Interval(Vec::new()),
            (Wire::Uuid, _) => Values::Uuid(Vec::new()),
            (Wire::List(item), DataType::List(field)) => Values::List {
                offsets: vec![0],
                items: Box::new(Self::named(name, field, item, true)?),
                field: Arc::clone(field),
            },
            (wire, data_type) => {
                return Err(Error::internal(format!(
                    "Column `{name}`: {wire:?} is not carried as {data_type}"
                )));
            }
        };
        Ok(Self { name: name.to_owned(), values, nulls: Nulls::new(), is_item })
    }

    pub(super) fn append_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Bool(values) => values.append(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp { values, .. } => values.push(0),
            Values::UInt32(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal128 { values, .. } => values.push(0),
            Values::Decimal256 { values, .. } => values.push(i256::ZERO),
            Values::DecimalText(bytes)
            | Values::Text(bytes)
            | Values::Jsonb(bytes)
            | Values::Binary(bytes) => {
                let end = bytes.offsets.last().copied().unwrap_or_default();
                bytes.offsets.push(end);
            }
            Values::Interval(values) => values.push(IntervalMonthDayNano::ZERO),
            Values::Uuid(values) => values.extend_from_slice(&[0; 16]),
            Values::List { offsets, .. } => {
                let end = offsets.last().copied().unwrap_or_default();
                offsets.push(end);
            }
        }
    }

    /// Takes a value of at most so many bytes.
    #[inline]
    pub(super) fn append_within(&mut self, value: &[u8], most: usize) -> Result<()> {
        if value.len() > most {
            return Err(too_large(&self.name, value.len(), most));
        }
        self.append(value).map_err(|error| *error)
    }

    fn append(&mut self, value: &[u8]) -> Decoded<()> {
        self.nulls.append_non_null();
        let name = &self.name;
        match &mut self.values {
            Values::Bool(values) => values.append(fixed::<1>(name, value)?[0] != 0),
            Values::Int16(values) => values.push(i16::from_be_bytes(fixed(name, value)?)),
            Values::Int32(values) => values.push(i32::from_be_bytes(fixed(name, value)?)),
            Values::Int64(values) => values.push(i64::from_be_bytes(fixed(name, value)?)),
            Values::UInt32(values) => values.push(u32::from_be_bytes(fixed(name, value)?)),
            Values::Float32(values) => values.push(f32::from_be_bytes(fixed(name, value)?)),
            Values::Float64(values) => values.push(f64::from_be_bytes(fixed(name, value)?)),
            Values::Decimal128 { values, precision, scale } => {
                values.push(match decode_numeric::to_short(value, *precision, *scale) {
                    Some(short) => i128::from(short),
                    None => {
                        let numeric = Numeric::parse(value).map_err(|what| wrong(name, what))?;
                        let decimal = decode_numeric::to_i128(&numeric, *precision, *scale);
                        decimal.map_err(|what| wrong(name, what).with_hint(DECIMALS_AS_TEXT))?
                    }
                });
            }
            Values::Decimal256 { values, precision, scale } => {
                let numeric = Numeric::parse(value).map_err(|what| wrong(name, what))?;
                let decimal = decode_numeric::to_i256(&numeric, *precision, *scale);
                values.push(decimal.map_err(|what| wrong(name, what).with_hint(DECIMALS_AS_TEXT))?);
            }
            Values::DecimalText(bytes) => {
                let numeric = Numeric::parse(value).map_err(|what| wrong(name, what))?;
                decode_numeric::write_text(&numeric, &mut bytes.data);
                bytes.end_value(name)?;
            }
            Values::Text(bytes) | Values::Binary(bytes) => {
                bytes.data.extend_from_slice(value);
                bytes.end_value(name)?;
            }
            Values::Jsonb(bytes) => {
                let [1, text @ ..] = value else {
                    return Err(wrong(name, "a jsonb value is not of version 1").into());
                };
                bytes.data.extend_from_slice(text);
                bytes.end_value(name)?;
            }
            Values::Date(values) => {
                let days = i32::from_be_bytes(fixed(name, value)?);
                values.push(rebase(name, days, self.is_item, |days| days.checked_add(EPOCH_DAYS))?);
            }
            Values::Time(values) => {
                let micros = i64::from_be_bytes(fixed(name, value)?);
                if micros >= 86_400_000_000 {
                    return Err(wrong(name, "a time of day is 24:00:00").with_hint(AS_TEXT).into());
                }
                values.push(micros);
            }
            Values::Timestamp { values, .. } => {
                let micros = i64::from_be_bytes(fixed(name, value)?);
                values.push(rebase(name, micros, self.is_item, |micros| micros.checked_add(EPOCH_MICROS))?);
            }
            Values::Interval(values) => values.push(interval(name, value)?),
            Values::Uuid(values) => values.extend_from_slice(&fixed::<16>(name, value)?),
            Values::List { offsets, items, .. } => {
                let length = items.append_elements(value)?;
                let end = offsets.last().copied().unwrap_or_default().checked_add(length);
                offsets
                    .push(end.ok_or_else(|| wrong(name, "the lists of one batch have too many elements"))?);
            }
        }
        Ok(())
    }

    /// Takes the elements of an array as `array_send` writes them, and counts them.
    fn append_elements(&mut self, value: &[u8]) -> Decoded<i32> {
        let mut input = Input(value);
        let malformed = |name: &str| wrong(name, "an array is not as the protocol has it");
        let mut header = || input.i32().zip(input.i32()).zip(input.i32());
        let ((dimensions, _), _) = header().ok_or_else(|| malformed(&self.name))?;
        if dimensions == 0 {
            return Ok(0);
        }
        let (length, lower_bound) = input.i32().zip(input.i32()).ok_or_else(|| malformed(&self.name))?;
        if dimensions != 1 {
            return Err(wrong(
                &self.name,
                format!("an array has {dimensions} dimensions, and a list has one"),
            )
            .with_hint(AS_TEXT)
            .into());
        }
        if lower_bound != 1 {
            return Err(wrong(&self.name, format!("an array counts from {lower_bound}, and a list from 1"))
                .with_hint(AS_TEXT)
                .into());
        }
        for _ in 0..length {
            match input.field() {
                Element::Null => self.append_null(),
                Element::Value(element) => self.append(element)?,
                Element::Incomplete | Element::Impossible => return Err(malformed(&self.name).into()),
            }
        }
        Ok(length)
    }

    /// Drops all values but the first `length`.
    pub(super) fn truncate(&mut self, length: usize) {
        self.nulls.truncate(length);
        match &mut self.values {
            Values::Bool(values) => values.truncate(length),
            Values::Int16(values) => values.truncate(length),
            Values::Int32(values) | Values::Date(values) => values.truncate(length),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp { values, .. } => {
                values.truncate(length);
            }
            Values::UInt32(values) => values.truncate(length),
            Values::Float32(values) => values.truncate(length),
            Values::Float64(values) => values.truncate(length),
            Values::Decimal128 { values, .. } => values.truncate(length),
            Values::Decimal256 { values, .. } => values.truncate(length),
            Values::DecimalText(bytes)
            | Values::Text(bytes)
            | Values::Jsonb(bytes)
            | Values::Binary(bytes) => bytes.truncate(length),
            Values::Interval(values) => values.truncate(length),
            Values::Uuid(values) => values.truncate(16 * length),
            Values::List { offsets, items, .. } => {
                offsets.truncate(length + 1);
                let end = offsets.last().copied().unwrap_or_default();
                items.truncate(usize::try_from(end).unwrap_or_default());
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let nulls = self.nulls.finish();
        let name = &self.name;
        let not_text = |_| {
            wrong(name, "a text is not UTF-8")
                .with_hint("The database's encoding is SQL_ASCII, or the text is broken")
        };
        Ok(match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls),
            Values::UInt32(values) => primitive::<UInt32Type>(values, nulls),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls),
            Values::Decimal128 { values, precision, scale } => Arc::new(
                Decimal128Array::new(take(values).into(), nulls)
                    .with_precision_and_scale(*precision, (*scale).cast_signed())?,
            ),
            Values::Decimal256 { values, precision, scale } => Arc::new(
                Decimal256Array::new(take(values).into(), nulls)
                    .with_precision_and_scale(*precision, (*scale).cast_signed())?,
            ),
            Values::DecimalText(bytes) | Values::Text(bytes) | Values::Jsonb(bytes) => {
                bytes.finish::<Utf8Type>(nulls).map_err(not_text)?
            }
            Values::Binary(bytes) => bytes.finish::<BinaryType>(nulls).map_err(Error::internal)?,
            Values::Date(values) => primitive::<Date32Type>(values, nulls),
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls),
            Values::Timestamp { values, zone } => Arc::new(
                PrimitiveArray::<TimestampMicrosecondType>::new(take(values).into(), nulls)
                    .with_timezone_opt(zone.clone()),
            ),
            Values::Interval(values) => primitive::<IntervalMonthDayNanoType>(values, nulls),
            Values::Uuid(values) => {
                Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(take(values)), nulls)?)
            }
            Values::List { offsets, items, field } => {
                let mut next = Vec::with_capacity(offsets.len());
                next.push(0);
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, next)));
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, items.finish()?, nulls)?)
            }
        })
    }
}

const DECIMALS_AS_TEXT: &str = "Set option `decimals: text` to carry numerics as text";

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(take(values).into(), nulls))
}

/// The values so far; what stays has room for as many.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let capacity = values.len();
    std::mem::replace(values, Vec::with_capacity(capacity))
}

#[cold]
fn wrong(column: &str, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("Column `{column}`: {what}"))
}

#[cold]
fn too_large(column: &str, bytes: usize, most: usize) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!(
            "A value of column `{column}` has `{bytes}` bytes, more than the `{most}` that one value may have"
        ),
    )
    .with_hint("Raise `max_value_bytes`, or leave the column out of the statement")
}

#[inline]
fn fixed<const LENGTH: usize>(column: &str, value: &[u8]) -> Decoded<[u8; LENGTH]> {
    value.try_into().map_err(|_| other_length(column, value.len(), LENGTH).into())
}

#[cold]
fn other_length(column: &str, bytes: usize, expected: usize) -> Error {
    wrong(column, format!("a value has {bytes} bytes where its type has {expected}"))
}

/// Moves a date or a timestamp to the epoch of Arrow. The least and greatest integer are the infinities on both sides.
fn rebase<T: Copy + PartialEq + Extremes>(
    column: &str,
    value: T,
    is_item: bool,
    add: impl Fn(T) -> Option<T>,
) -> Decoded<T> {
    if value == T::LEAST || value == T::GREATEST {
        if is_item {
            return Err(wrong(column, "a list holds an infinite date or timestamp")
                .with_hint(AS_TEXT)
                .into());
        }
        return Ok(value);
    }
    let too_late = || wrong(column, "a date or timestamp is later than can be carried").with_hint(AS_TEXT);
    let moved = add(value).filter(|moved| *moved != T::GREATEST);
    moved.ok_or_else(|| too_late().into())
}

trait Extremes {
    const LEAST: Self;
    const GREATEST: Self;
}

impl Extremes for i32 {
    const LEAST: Self = i32::MIN;
    const GREATEST: Self = i32::MAX;
}

impl Extremes for i64 {
    const LEAST: Self = i64::MIN;
    const GREATEST: Self = i64::MAX;
}

fn interval(column: &str, value: &[u8]) -> Decoded<IntervalMonthDayNano> {
    let bytes = fixed::<16>(column, value)?;
    let mut input = Input(&bytes);
    let (Some(micros), Some(days), Some(months)) = (input.i64(), input.i32(), input.i32()) else {
        return Err(wrong(column, "an interval is not as the protocol has it").into());
    };
    let nanos = micros.checked_mul(1000).ok_or_else(|| {
        wrong(column, "an interval has more hours than can be carried in nanoseconds").with_hint(AS_TEXT)
    })?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}
