//! Collects one column's values.

use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{
            ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Decimal128Array, Decimal256Array,
            DurationMicrosecondArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, StringArray,
            TimestampMicrosecondArray,
        },
        buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
        datatypes::{
            ArrowPrimitiveType, DataType, Date32Type, FieldRef, Float32Type, Float64Type, Int8Type,
            Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
        },
    },
};

use super::text::{self, Moment};
use crate::types::ServerType;

/// What happens to days that no calendar has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZeroDates {
    /// They stop the run.
    Error,
    /// They become null.
    Null,
}

/// How texts of a column become values.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// What happens to zero dates.
    pub zero_dates: ZeroDates,
    /// Seconds that the session's zone is ahead of UTC.
    pub offset_seconds: i64,
    /// Bytes that one value may have.
    pub max_value_bytes: usize,
}

/// The values collected so far.
enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128(Vec<i128>),
    Decimal256(Vec<i256>),
    Date(Vec<i32>),
    /// Time stamps and durations.
    Micros(Vec<i64>),
    Text(Bytes),
    Binary(Bytes),
    /// Numbers that become so many bytes, highest first.
    Bits(Bytes, usize),
    Geometry(Bytes),
    Uuid(Vec<u8>),
    Vector(Vec<f32>, Vec<i32>),
}

/// Bytes of any length one behind the other.
struct Bytes {
    data: Vec<u8>,
    offsets: Vec<i32>,
}

impl Bytes {
    fn new() -> Self {
        Self { data: Vec::new(), offsets: vec![0] }
    }

    #[inline]
    fn push(&mut self, value: &[u8]) -> Option<()> {
        self.data.extend_from_slice(value);
        self.offsets.push(i32::try_from(self.data.len()).ok()?);
        Some(())
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(offsets.into()), Buffer::from_vec(std::mem::take(&mut self.data)))
    }
}

/// One column of a batch in the making.
pub struct ColumnDecoder {
    field: FieldRef,
    server_type: ServerType,
    reading: Reading,
    values: Values,
    rows: usize,
    /// Made with the first null.
    validity: Option<BooleanBufferBuilder>,
}

impl ColumnDecoder {
    /// A column whose values are of a server's type.
    pub fn new(field: &FieldRef, server_type: &ServerType, reading: Reading) -> Self {
        Self {
            field: Arc::clone(field),
            server_type: server_type.clone(),
            reading,
            values: values_of(server_type),
            rows: 0,
            validity: None,
        }
    }

    /// Takes a null.
    pub fn append_null(&mut self) {
        let rows = self.rows;
        self.validity
            .get_or_insert_with(|| {
                let mut validity = BooleanBufferBuilder::new(rows + 1);
                validity.append_n(rows, true);
                validity
            })
            .append(false);
        self.rows += 1;
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int8(values) => values.push(0),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Micros(values) => values.push(0),
            Values::UInt8(values) => values.push(0),
            Values::UInt16(values) => values.push(0),
            Values::UInt32(values) => values.push(0),
            Values::UInt64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal128(values) => values.push(0),
            Values::Decimal256(values) => values.push(i256::ZERO),
            Values::Text(bytes)
            | Values::Binary(bytes)
            | Values::Geometry(bytes)
            | Values::Bits(bytes, _) => {
                bytes.offsets.push(bytes.offsets.last().copied().unwrap_or_default());
            }
            Values::Uuid(values) => values.extend_from_slice(&[0; 16]),
            Values::Vector(_, offsets) => offsets.push(offsets.last().copied().unwrap_or_default()),
        }
    }

    /// Takes a value as the text protocol carries it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when it cannot be carried.
    #[inline]
    pub fn append(&mut self, value: &[u8]) -> Result<()> {
        if value.len() > self.reading.max_value_bytes {
            return Err(self.too_long(value.len()));
        }
        match self.push(value) {
            Some(Moment::Known(())) => {
                if let Some(validity) = &mut self.validity {
                    validity.append(true);
                }
                self.rows += 1;
                Ok(())
            }
            Some(Moment::Zero) if self.reading.zero_dates == ZeroDates::Null => {
                self.append_null();
                Ok(())
            }
            Some(Moment::Zero) => Err(self.zero_date(value)),
            None => Err(self.wrong(value)),
        }
    }

    #[inline]
    fn push(&mut self, value: &[u8]) -> Option<Moment<()>> {
        let number = || text::integer(value);
        match &mut self.values {
            Values::Boolean(values) => values.append(match self.server_type {
                ServerType::BitNumber(_) => number()? != 0,
                // A bit is sent as a byte.
                _ => *value.last()? != 0,
            }),
            Values::Int8(values) => values.push(number()?.try_into().ok()?),
            Values::Int16(values) => values.push(number()?.try_into().ok()?),
            Values::Int32(values) => values.push(number()?.try_into().ok()?),
            Values::Int64(values) => values.push(number()?.try_into().ok()?),
            Values::UInt8(values) => values.push(number()?.try_into().ok()?),
            Values::UInt16(values) => values.push(number()?.try_into().ok()?),
            Values::UInt32(values) => values.push(number()?.try_into().ok()?),
            Values::UInt64(values) => values.push(number()?.try_into().ok()?),
            Values::Float32(values) => {
                // Sent with the digits of a double, which name the four bytes exactly.
                let double: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
                values.push(double as f32);
            }
            Values::Float64(values) => values.push(std::str::from_utf8(value).ok()?.parse().ok()?),
            Values::Decimal128(values) => {
                let ServerType::Decimal { precision, scale } = self.server_type else { return None };
                values.push(text::decimal(value, precision, scale)?);
            }
            Values::Decimal256(values) => {
                let ServerType::Decimal { precision, scale } = self.server_type else { return None };
                values.push(long_decimal(value, precision, scale)?);
            }
            Values::Date(values) => match text::date(value)? {
                Moment::Known(day) => values.push(day),
                Moment::Zero => return Some(Moment::Zero),
            },
            Values::Micros(values) => match self.server_type {
                ServerType::Time => values.push(text::duration(value)?),
                ServerType::Timestamp => match text::timestamp(value)? {
                    Moment::Known(micros) => values.push(micros - self.reading.offset_seconds * 1_000_000),
                    Moment::Zero => return Some(Moment::Zero),
                },
                _ => match text::timestamp(value)? {
                    Moment::Known(micros) => values.push(micros),
                    Moment::Zero => return Some(Moment::Zero),
                },
            },
            Values::Text(bytes) | Values::Binary(bytes) => bytes.push(value)?,
            Values::Bits(bytes, width) => {
                let number = u64::try_from(number()?).ok()?.to_be_bytes();
                let (above, kept) = number.split_at_checked(number.len().checked_sub(*width)?)?;
                if above.iter().any(|byte| *byte != 0) {
                    return None;
                }
                bytes.push(kept)?;
            }
            Values::Geometry(bytes) => push_geometry(bytes, value)?,
            Values::Uuid(values) => values.extend_from_slice(&text::uuid(value)?),
            Values::Vector(values, offsets) => {
                let numbers = value.as_chunks::<4>();
                if !numbers.1.is_empty() {
                    return None;
                }
                values.extend(numbers.0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
                offsets.push(i32::try_from(values.len()).ok()?);
            }
        }
        Some(Moment::Known(()))
    }

    /// The values collected so far; the column is empty afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when text is not UTF-8.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let nulls = self.validity.take().map(|mut validity| NullBuffer::new(validity.finish()));
        let rows = std::mem::take(&mut self.rows);
        fn primitive<T: ArrowPrimitiveType>(
            values: &mut Vec<T::Native>,
            nulls: Option<NullBuffer>,
        ) -> ArrayRef {
            Arc::new(PrimitiveArray::<T>::new(take(values), nulls))
        }
        fn take<T: hub_plugin_api::arrow::datatypes::ArrowNativeType>(
            values: &mut Vec<T>,
        ) -> ScalarBuffer<T> {
            let capacity = values.len();
            std::mem::replace(values, Vec::with_capacity(capacity)).into()
        }
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int8(values) => primitive::<Int8Type>(values, nulls),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls),
            Values::UInt8(values) => primitive::<UInt8Type>(values, nulls),
            Values::UInt16(values) => primitive::<UInt16Type>(values, nulls),
            Values::UInt32(values) => primitive::<UInt32Type>(values, nulls),
            Values::UInt64(values) => primitive::<UInt64Type>(values, nulls),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls),
            Values::Date(values) => primitive::<Date32Type>(values, nulls),
            Values::Decimal128(values) => Arc::new(
                Decimal128Array::new(take(values), nulls).with_data_type(self.field.data_type().clone()),
            ),
            Values::Decimal256(values) => Arc::new(
                Decimal256Array::new(take(values), nulls).with_data_type(self.field.data_type().clone()),
            ),
            Values::Micros(values) => match self.field.data_type() {
                DataType::Duration(_) => Arc::new(DurationMicrosecondArray::new(take(values), nulls)),
                DataType::Timestamp(_, zone) => Arc::new(
                    TimestampMicrosecondArray::new(take(values), nulls).with_timezone_opt(zone.clone()),
                ),
                other => return Err(Error::internal(format!("A time is not carried as {other}"))),
            },
            Values::Text(bytes) => {
                let (offsets, data) = bytes.take();
                Arc::new(StringArray::try_new(offsets, data, nulls).map_err(|error| {
                    Error::new(
                        ErrorKind::InvalidData,
                        format!("Column `{}` holds text that is not UTF-8", self.field.name()),
                    )
                    .with_source(&error)
                    .with_hint(
                        "The server's own character set conversion lets it pass: read CAST(… AS BINARY)",
                    )
                })?)
            }
            Values::Binary(bytes) | Values::Geometry(bytes) | Values::Bits(bytes, _) => {
                let (offsets, data) = bytes.take();
                Arc::new(BinaryArray::try_new(offsets, data, nulls)?)
            }
            Values::Uuid(values) => {
                let values = Buffer::from_vec(std::mem::take(values));
                Arc::new(FixedSizeBinaryArray::try_new_with_len(16, values, nulls, rows)?)
            }
            Values::Vector(values, offsets) => {
                let offsets = std::mem::replace(offsets, vec![0]);
                let DataType::List(item) = self.field.data_type() else {
                    return Err(Error::internal("A vector is carried as a list"));
                };
                let values = primitive::<Float32Type>(values, None);
                Arc::new(ListArray::try_new(
                    Arc::clone(item),
                    OffsetBuffer::new(offsets.into()),
                    values,
                    nulls,
                )?)
            }
        })
    }

    #[cold]
    fn too_long(&self, length: usize) -> Error {
        Error::new(
            ErrorKind::InvalidData,
            format!("A value of column `{}` has `{length}` bytes", self.field.name()),
        )
        .with_hint(format!("At most `{}` are taken; raise `max_value_bytes`", self.reading.max_value_bytes))
    }

    #[cold]
    fn zero_date(&self, value: &[u8]) -> Error {
        let value = String::from_utf8_lossy(value);
        Error::new(
            ErrorKind::InvalidData,
            format!("Column `{}` holds `{value}`, a day that no calendar has", self.field.name()),
        )
        .with_field("zero_dates")
        .with_hint("Set `zero_dates: null` to read it as null, or leave such rows out of the statement")
    }

    #[cold]
    fn wrong(&self, value: &[u8]) -> Error {
        let name = self.field.name();
        let shown = String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned();
        Error::new(
            ErrorKind::InvalidData,
            format!("Column `{name}` holds `{shown}`, which does not fit {}", self.field.data_type()),
        )
    }
}

fn values_of(server_type: &ServerType) -> Values {
    match server_type {
        ServerType::Integer { bytes: 1, unsigned: false } => Values::Int8(Vec::new()),
        ServerType::Integer { bytes: 2, unsigned: false } | ServerType::Year => Values::Int16(Vec::new()),
        ServerType::Integer { bytes: 4, unsigned: false } => Values::Int32(Vec::new()),
        ServerType::Integer { unsigned: false, .. } => Values::Int64(Vec::new()),
        ServerType::Integer { bytes: 1, .. } => Values::UInt8(Vec::new()),
        ServerType::Integer { bytes: 2, .. } => Values::UInt16(Vec::new()),
        ServerType::Integer { bytes: 4, .. } => Values::UInt32(Vec::new()),
        ServerType::Integer { .. } => Values::UInt64(Vec::new()),
        ServerType::Float => Values::Float32(Vec::new()),
        ServerType::Double => Values::Float64(Vec::new()),
        ServerType::Decimal { precision: ..=38, .. } => Values::Decimal128(Vec::new()),
        ServerType::Decimal { .. } => Values::Decimal256(Vec::new()),
        ServerType::Bit(1) | ServerType::BitNumber(1) => Values::Boolean(BooleanBufferBuilder::new(0)),
        ServerType::BitNumber(bits) => Values::Bits(Bytes::new(), usize::from(bits.div_ceil(8))),
        ServerType::Date => Values::Date(Vec::new()),
        ServerType::Time | ServerType::DateTime | ServerType::Timestamp => Values::Micros(Vec::new()),
        ServerType::Text | ServerType::Set | ServerType::Enum(_) | ServerType::Json | ServerType::Inet(_) => {
            Values::Text(Bytes::new())
        }
        ServerType::Bytes | ServerType::Bit(_) => Values::Binary(Bytes::new()),
        ServerType::Geometry => Values::Geometry(Bytes::new()),
        ServerType::Uuid => Values::Uuid(Vec::new()),
        ServerType::Vector => Values::Vector(Vec::new(), vec![0]),
    }
}

/// The server puts four bytes of SRID in front of the WKB. One that is not 0 moves into it, as EWKB has it.
fn push_geometry(bytes: &mut Bytes, value: &[u8]) -> Option<()> {
    let (srid, wkb) = value.split_first_chunk::<4>()?;
    if *srid == [0; 4] {
        return bytes.push(wkb);
    }
    // Little-endian is all that the servers store.
    let (&[1, t1, t2, t3, t4], rest) = wkb.split_first_chunk::<5>()? else { return None };
    let kind = u32::from_le_bytes([t1, t2, t3, t4]) | EWKB_SRID;
    bytes.data.push(1);
    bytes.data.extend_from_slice(&kind.to_le_bytes());
    bytes.data.extend_from_slice(srid);
    bytes.push(rest)
}

/// Bit of a WKB type that says that an SRID follows (PostGIS manual, "EWKB").
pub const EWKB_SRID: u32 = 0x2000_0000;

fn long_decimal(text: &[u8], precision: u8, scale: u8) -> Option<i256> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let missing = usize::from(scale).checked_sub(fraction.len())?;
    let digits = format!("{whole}{fraction}{}", "0".repeat(missing));
    let significant = digits.trim_start_matches('-').trim_start_matches('0').len();
    let valid = digits.trim_start_matches('-').bytes().all(|digit| digit.is_ascii_digit());
    (valid && significant <= usize::from(precision)).then(|| i256::from_string(&digits))?
}
