use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array,
        FixedSizeBinaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
        IntervalMonthDayNanoArray, PrimitiveArray, StringArray, StructArray, UInt64Array,
    },
    buffer::NullBuffer,
    compute::cast,
    datatypes::{ArrowPrimitiveType, DataType, Int64Type},
};
use hub_plugin_api::{
    Error, ErrorKind, Result, arrow,
    types::{Column, LogicalType},
};
use rusqlite::types::ValueRef;

use super::nested::NestedEncoder;
use crate::{text, types};

/// One column of a batch, of which each row's value is asked for.
pub struct ColumnEncoder {
    kind: Kind,
    nulls: Option<NullBuffer>,
    infinity: bool,
}

enum Kind {
    Boolean(BooleanArray),
    /// Every integer up to 64 bits with sign; narrower ones are widened, which costs less than a case each.
    Integer(Int64Array),
    Unsigned(UInt64Array),
    Float32(Float32Array),
    Float64(Float64Array),
    Decimal128(Decimal128Array, u8),
    Decimal256(Decimal256Array, u8),
    DecimalText(StringArray),
    Text(StringArray),
    Enumeration(StringArray, Vec<String>),
    Binary(BinaryArray),
    Fixed(FixedSizeBinaryArray),
    Uuid(FixedSizeBinaryArray),
    Date(Int32Array),
    Time {
        array: Int64Array,
        per_second: i64,
        digits: u8,
    },
    Timestamp {
        array: Int64Array,
        per_second: i64,
        digits: u8,
        utc: bool,
    },
    Interval(IntervalMonthDayNanoArray),
    Wide {
        seconds: Int64Array,
        nanos: Int32Array,
        offset: Int16Array,
    },
    Offset {
        array: Int64Array,
        per_second: i64,
        digits: u8,
        offset: Int16Array,
    },
    Nested(NestedEncoder),
}

impl ColumnEncoder {
    /// For an array that carries a column.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] for a type of a newer API, [`ErrorKind::Protocol`] for an array of another type.
    pub fn new(column: &Column, array: &ArrayRef) -> Result<Self> {
        let other = || {
            Error::new(
                ErrorKind::Protocol,
                format!(
                    "Column `{}` came as {}, which is not its stream's type",
                    column.name,
                    array.data_type()
                ),
            )
        };
        let kind = match &column.logical {
            LogicalType::Boolean => Kind::Boolean(array.as_boolean_opt().ok_or_else(other)?.clone()),
            LogicalType::Int8
            | LogicalType::Int16
            | LogicalType::Int32
            | LogicalType::Int64
            | LogicalType::UInt8
            | LogicalType::UInt16
            | LogicalType::UInt32 => {
                Kind::Integer(primitive(&cast(array, &DataType::Int64)?).ok_or_else(other)?)
            }
            LogicalType::Duration(_) => Kind::Integer(counted(array)?),
            LogicalType::UInt64 => Kind::Unsigned(primitive(array).ok_or_else(other)?),
            LogicalType::Float32 => Kind::Float32(primitive(array).ok_or_else(other)?),
            LogicalType::Float64 => Kind::Float64(primitive(array).ok_or_else(other)?),
            LogicalType::Decimal { scale, .. } => match array.data_type() {
                DataType::Decimal128(..) => Kind::Decimal128(primitive(array).ok_or_else(other)?, *scale),
                _ => Kind::Decimal256(primitive(array).ok_or_else(other)?, *scale),
            },
            LogicalType::DecimalText { .. } => {
                Kind::DecimalText(array.as_string_opt().ok_or_else(other)?.clone())
            }
            LogicalType::Text | LogicalType::Json | LogicalType::Opaque { binary: false, .. } => {
                Kind::Text(array.as_string_opt().ok_or_else(other)?.clone())
            }
            LogicalType::Enum(values) => {
                Kind::Enumeration(array.as_string_opt().ok_or_else(other)?.clone(), values.clone())
            }
            LogicalType::Binary | LogicalType::Geometry | LogicalType::Opaque { binary: true, .. } => {
                Kind::Binary(array.as_binary_opt().ok_or_else(other)?.clone())
            }
            LogicalType::FixedBinary(_) => {
                Kind::Fixed(array.as_fixed_size_binary_opt().ok_or_else(other)?.clone())
            }
            LogicalType::Uuid => Kind::Uuid(array.as_fixed_size_binary_opt().ok_or_else(other)?.clone()),
            LogicalType::Date => Kind::Date(primitive(&cast(array, &DataType::Int32)?).ok_or_else(other)?),
            LogicalType::Time(unit) => Kind::Time {
                array: counted(array)?,
                per_second: types::per_second(*unit),
                digits: types::digits(*unit),
            },
            LogicalType::Timestamp { unit, utc } => Kind::Timestamp {
                array: counted(array)?,
                per_second: types::per_second(*unit),
                digits: types::digits(*unit),
                utc: *utc,
            },
            LogicalType::Interval => Kind::Interval(primitive(array).ok_or_else(other)?),
            LogicalType::WideTimestamp => {
                let parts = parts(array, 3).ok_or_else(other)?;
                Kind::Wide {
                    seconds: primitive(parts.column(0)).ok_or_else(other)?,
                    nanos: primitive(parts.column(1)).ok_or_else(other)?,
                    offset: primitive(parts.column(2)).ok_or_else(other)?,
                }
            }
            LogicalType::OffsetTimestamp(unit) => {
                let parts = parts(array, 2).ok_or_else(other)?;
                Kind::Offset {
                    array: counted(parts.column(0))?,
                    per_second: types::per_second(*unit),
                    digits: types::digits(*unit),
                    offset: primitive(parts.column(1)).ok_or_else(other)?,
                }
            }
            LogicalType::List(_) | LogicalType::Struct(_) | LogicalType::Map(..) => {
                Kind::Nested(NestedEncoder::new(&column.logical, column.infinity, array).ok_or_else(other)??)
            }
            unknown => {
                return Err(Error::new(
                    ErrorKind::UnsupportedType,
                    format!("Column `{}`: this version does not write {unknown:?}", column.name),
                ));
            }
        };
        Ok(Self { kind, nulls: array.logical_nulls(), infinity: column.infinity })
    }

    /// A row's value; a text that has to be written first lies in `scratch`. The error says why the row cannot
    /// be stored.
    pub fn value<'a>(&'a self, row: usize, scratch: &'a mut String) -> Result<ValueRef<'a>, String> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(ValueRef::Null);
        }
        scratch.clear();
        Ok(match &self.kind {
            Kind::Integer(array) => ValueRef::Integer(array.value(row)),
            Kind::Text(array) => ValueRef::Text(array.value(row).as_bytes()),
            Kind::Decimal128(array, scale) => {
                text::write_decimal(scratch, array.value(row), *scale);
                ValueRef::Text(scratch.as_bytes())
            }
            Kind::Date(array) => match array.value(row) {
                i32::MAX if self.infinity => ValueRef::Text(b"infinity"),
                i32::MIN if self.infinity => ValueRef::Text(b"-infinity"),
                days => {
                    text::write_date(scratch, days.into());
                    ValueRef::Text(scratch.as_bytes())
                }
            },
            Kind::Boolean(array) => ValueRef::Integer(array.value(row).into()),
            Kind::Unsigned(array) => {
                scratch.push_str(&array.value(row).to_string());
                ValueRef::Text(scratch.as_bytes())
            }
            Kind::Float32(array) => float(array.value(row).into()),
            Kind::Float64(array) => float(array.value(row)),
            Kind::Decimal256(array, scale) => {
                text::write_decimal_digits(scratch, &array.value(row).to_string(), *scale);
                ValueRef::Text(scratch.as_bytes())
            }
            Kind::DecimalText(array) => match array.value(row) {
                digits if text::is_decimal(digits) => ValueRef::Text(digits.as_bytes()),
                _ => return Err("its decimal is not in canonical digits".into()),
            },
            Kind::Enumeration(array, values) => match array.value(row) {
                value if values.iter().any(|one| one == value) => ValueRef::Text(value.as_bytes()),
                _ => return Err("its value is none of the enum's".into()),
            },
            Kind::Binary(array) => ValueRef::Blob(array.value(row)),
            Kind::Fixed(array) => ValueRef::Blob(array.value(row)),
            Kind::Uuid(array) => {
                text::write_uuid(scratch, array.value(row));
                ValueRef::Text(scratch.as_bytes())
            }
            Kind::Time { array, per_second, digits } => {
                let (seconds, nanos) = split(array.value(row), *per_second);
                if !(0..text::DAY_SECONDS).contains(&seconds) {
                    return Err("its time of day is not between 00:00 and 24:00".into());
                }
                text::write_time(scratch, seconds as u32, nanos, *digits);
                ValueRef::Text(scratch.as_bytes())
            }
            Kind::Timestamp { array, per_second, digits, utc } => match array.value(row) {
                i64::MAX if self.infinity => ValueRef::Text(b"infinity"),
                i64::MIN if self.infinity => ValueRef::Text(b"-infinity"),
                count => {
                    let (seconds, nanos) = split(count, *per_second);
                    text::write_timestamp(scratch, seconds, nanos, *digits);
                    if *utc {
                        scratch.push('Z');
                    }
                    ValueRef::Text(scratch.as_bytes())
                }
            },
            Kind::Interval(array) => {
                let value = array.value(row);
                text::write_interval(scratch, value.months, value.days, value.nanoseconds);
                ValueRef::Text(scratch.as_bytes())
            }
            Kind::Wide { seconds, nanos, offset } => {
                let minutes = offset.is_valid(row).then(|| offset.value(row));
                match (seconds.value(row), nanos.value(row), minutes) {
                    (i64::MAX, 0, None) if self.infinity => ValueRef::Text(b"infinity"),
                    (i64::MIN, 0, None) if self.infinity => ValueRef::Text(b"-infinity"),
                    (seconds, nanos, minutes) => {
                        zoned(scratch, seconds, nanos, 9, minutes)?;
                        ValueRef::Text(scratch.as_bytes())
                    }
                }
            }
            Kind::Offset { array, per_second, digits, offset } => match array.value(row) {
                i64::MAX if self.infinity && offset.value(row) == 0 => ValueRef::Text(b"infinity"),
                i64::MIN if self.infinity && offset.value(row) == 0 => ValueRef::Text(b"-infinity"),
                count => {
                    let (seconds, nanos) = split(count, *per_second);
                    zoned(scratch, seconds, nanos as i32, *digits, Some(offset.value(row)))?;
                    ValueRef::Text(scratch.as_bytes())
                }
            },
            Kind::Nested(nested) => {
                nested.write(row, scratch)?;
                ValueRef::Text(scratch.as_bytes())
            }
        })
    }
}

/// SQLite makes NULL of NaN and 0 of the negative zero, so both go as texts, which its float columns keep.
fn float(value: f64) -> ValueRef<'static> {
    if value.is_nan() {
        ValueRef::Text(b"NaN")
    } else if value == 0.0 && value.is_sign_negative() {
        ValueRef::Text(b"-zero")
    } else {
        ValueRef::Real(value)
    }
}

fn split(count: i64, per_second: i64) -> (i64, u32) {
    (count.div_euclid(per_second), (count.rem_euclid(per_second) * (1_000_000_000 / per_second)) as u32)
}

fn zoned(out: &mut String, seconds: i64, nanos: i32, digits: u8, minutes: Option<i16>) -> Result<(), String> {
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let shown = seconds.checked_add(i64::from(minutes.unwrap_or(0)) * 60);
    let (Some(nanos), Some(shown)) = (nanos, shown) else {
        return Err("its timestamp is outside what a text can say".into());
    };
    text::write_timestamp(out, shown, nanos, digits);
    if let Some(minutes) = minutes {
        text::write_offset(out, minutes.into());
    }
    Ok(())
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().cloned()
}

/// The numbers beneath a type that says what they count.
fn counted(array: &ArrayRef) -> Result<Int64Array> {
    let data = array.to_data().into_builder().data_type(DataType::Int64).build()?;
    Ok(PrimitiveArray::<Int64Type>::from(data))
}

fn parts(array: &ArrayRef, count: usize) -> Option<&StructArray> {
    array.as_struct_opt().filter(|parts| parts.num_columns() == count)
}
