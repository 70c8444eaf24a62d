use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder,
        FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder,
        Int64Builder, IntervalMonthDayNanoBuilder, NullBufferBuilder, StringBuilder, StructArray,
        UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder, make_array,
    },
    datatypes::{DataType, Fields, IntervalMonthDayNano},
};
use hub_plugin_api::{
    Error, ErrorKind, Result, arrow,
    types::{Column, LogicalType, Unit},
};
use rusqlite::types::ValueRef;

use super::{Misfit, nested::NestedDecoder, scalar};
use crate::types;

/// Collects one column's values.
pub struct ColumnDecoder {
    kind: Kind,
    infinity: bool,
}

enum Kind {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, u8),
    Decimal256(Decimal256Builder, u8, u8),
    DecimalText(StringBuilder),
    Text(StringBuilder),
    Enumeration(StringBuilder, Vec<String>),
    Binary(BinaryBuilder),
    Fixed(FixedSizeBinaryBuilder, usize),
    Date(Int32Builder),
    Time(Int64Builder, i64, DataType),
    Timestamp(Int64Builder, i64, bool, DataType),
    Duration(Int64Builder, DataType),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Wide {
        seconds: Int64Builder,
        nanos: Int32Builder,
        offset: Int16Builder,
        nulls: NullBufferBuilder,
    },
    Offset {
        count: Int64Builder,
        per_second: i64,
        offset: Int16Builder,
        nulls: NullBufferBuilder,
        fields: Fields,
    },
    Nested(NestedDecoder),
}

impl ColumnDecoder {
    /// For a column's values.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] for a type of a newer API.
    pub fn new(column: &Column) -> Result<Self> {
        let data_type = column.to_field().data_type().clone();
        let kind = match &column.logical {
            LogicalType::Boolean => Kind::Boolean(BooleanBuilder::new()),
            LogicalType::Int8 => Kind::Int8(Int8Builder::new()),
            LogicalType::Int16 => Kind::Int16(Int16Builder::new()),
            LogicalType::Int32 => Kind::Int32(Int32Builder::new()),
            LogicalType::Int64 => Kind::Int64(Int64Builder::new()),
            LogicalType::UInt8 => Kind::UInt8(UInt8Builder::new()),
            LogicalType::UInt16 => Kind::UInt16(UInt16Builder::new()),
            LogicalType::UInt32 => Kind::UInt32(UInt32Builder::new()),
            LogicalType::UInt64 => Kind::UInt64(UInt64Builder::new()),
            LogicalType::Float32 => Kind::Float32(Float32Builder::new()),
            LogicalType::Float64 => Kind::Float64(Float64Builder::new()),
            LogicalType::Decimal { precision, scale } => match data_type {
                DataType::Decimal128(..) => {
                    Kind::Decimal128(Decimal128Builder::new().with_data_type(data_type), *precision, *scale)
                }
                _ => Kind::Decimal256(Decimal256Builder::new().with_data_type(data_type), *precision, *scale),
            },
            LogicalType::DecimalText { .. } => Kind::DecimalText(StringBuilder::new()),
            LogicalType::Text | LogicalType::Json => Kind::Text(StringBuilder::new()),
            LogicalType::Enum(values) => Kind::Enumeration(StringBuilder::new(), values.clone()),
            LogicalType::Opaque { binary: false, .. } => Kind::Text(StringBuilder::new()),
            LogicalType::Binary | LogicalType::Geometry | LogicalType::Opaque { .. } => {
                Kind::Binary(BinaryBuilder::new())
            }
            LogicalType::FixedBinary(length) => {
                Kind::Fixed(FixedSizeBinaryBuilder::new(*length), usize::try_from(*length).unwrap_or(0))
            }
            LogicalType::Date => Kind::Date(Int32Builder::new()),
            LogicalType::Time(unit) => Kind::Time(Int64Builder::new(), types::per_second(*unit), data_type),
            LogicalType::Timestamp { unit, utc } => {
                Kind::Timestamp(Int64Builder::new(), types::per_second(*unit), *utc, data_type)
            }
            LogicalType::Duration(_) => Kind::Duration(Int64Builder::new(), data_type),
            LogicalType::Interval => Kind::Interval(IntervalMonthDayNanoBuilder::new()),
            LogicalType::Uuid => Kind::Uuid(FixedSizeBinaryBuilder::new(16)),
            LogicalType::WideTimestamp => Kind::Wide {
                seconds: Int64Builder::new(),
                nanos: Int32Builder::new(),
                offset: Int16Builder::new(),
                nulls: NullBufferBuilder::new(0),
            },
            LogicalType::OffsetTimestamp(unit) => Kind::Offset {
                count: Int64Builder::new(),
                per_second: types::per_second(*unit),
                offset: Int16Builder::new(),
                nulls: NullBufferBuilder::new(0),
                fields: offset_fields(*unit),
            },
            LogicalType::List(_) | LogicalType::Struct(_) | LogicalType::Map(..) => {
                Kind::Nested(NestedDecoder::new(&column.logical, column.infinity)?)
            }
            other => {
                return Err(Error::new(
                    ErrorKind::UnsupportedType,
                    format!("Column `{}`: this version does not read {other:?}", column.name),
                ));
            }
        };
        Ok(Self { kind, infinity: column.infinity })
    }

    /// Takes one value.
    pub fn append(&mut self, value: ValueRef<'_>) -> Result<(), Misfit> {
        if matches!(value, ValueRef::Null) {
            self.append_null();
            return Ok(());
        }
        let infinity = if self.infinity { scalar::infinity(value) } else { None };
        match &mut self.kind {
            Kind::Int64(builder) => builder.append_value(scalar::integer(value)?),
            Kind::Text(builder) => builder.append_value(scalar::utf8(value)?),
            Kind::Decimal128(builder, precision, scale) => {
                builder.append_value(scalar::decimal128(value, *precision, *scale)?);
            }
            Kind::Date(builder) => builder.append_value(match infinity {
                Some(positive) => {
                    if positive {
                        i32::MAX
                    } else {
                        i32::MIN
                    }
                }
                None => scalar::date(value)?,
            }),
            Kind::Int32(builder) => builder.append_value(scalar::narrow(value)?),
            Kind::Float64(builder) => builder.append_value(scalar::float(value)?),
            Kind::Boolean(builder) => builder.append_value(scalar::boolean(value)?),
            Kind::Int8(builder) => builder.append_value(scalar::narrow(value)?),
            Kind::Int16(builder) => builder.append_value(scalar::narrow(value)?),
            Kind::UInt8(builder) => builder.append_value(scalar::narrow(value)?),
            Kind::UInt16(builder) => builder.append_value(scalar::narrow(value)?),
            Kind::UInt32(builder) => builder.append_value(scalar::narrow(value)?),
            Kind::UInt64(builder) => builder.append_value(scalar::unsigned(value)?),
            Kind::Float32(builder) => builder.append_value(scalar::float32(value)?),
            Kind::Decimal256(builder, precision, scale) => {
                builder.append_value(scalar::decimal256(value, *precision, *scale)?);
            }
            Kind::DecimalText(builder) => builder.append_value(scalar::any_decimal(value)?),
            Kind::Enumeration(builder, values) => {
                let text = scalar::utf8(value)?;
                if !values.iter().any(|one| one == text) {
                    return Err(Misfit::new("a text that is none of the enum's", "Cast the column to text"));
                }
                builder.append_value(text);
            }
            Kind::Binary(builder) => builder.append_value(scalar::blob(value)?),
            Kind::Fixed(builder, length) => {
                let bytes = scalar::blob(value)?;
                if bytes.len() != *length || builder.append_value(bytes).is_err() {
                    return Err(Misfit::new("a blob of another length", "Cast the column to blob"));
                }
            }
            Kind::Time(builder, per_second, _) => builder.append_value(scalar::time(value, *per_second)?),
            Kind::Timestamp(builder, per_second, utc, _) => builder.append_value(match infinity {
                Some(positive) => {
                    if positive {
                        i64::MAX
                    } else {
                        i64::MIN
                    }
                }
                None => scalar::timestamp(value, *per_second, *utc)?,
            }),
            Kind::Duration(builder, _) => builder.append_value(scalar::integer(value)?),
            Kind::Interval(builder) => {
                let (months, days, nanoseconds) = scalar::interval(value)?;
                builder.append_value(IntervalMonthDayNano { months, days, nanoseconds });
            }
            Kind::Uuid(builder) => {
                let bytes = scalar::uuid(value)?;
                builder.append_value(bytes).map_err(|_| Misfit::new("a UUID of another length", ""))?;
            }
            Kind::Wide { seconds, nanos, offset, nulls } => {
                let (second, nano, minutes) = match infinity {
                    Some(positive) => (if positive { i64::MAX } else { i64::MIN }, 0, None),
                    None => scalar::wide_timestamp(value)?,
                };
                seconds.append_value(second);
                nanos.append_value(nano as i32);
                offset.append_option(minutes);
                nulls.append_non_null();
            }
            Kind::Offset { count, per_second, offset, nulls, .. } => {
                let (units, minutes) = match infinity {
                    Some(positive) => (if positive { i64::MAX } else { i64::MIN }, 0),
                    None => scalar::offset_timestamp(value, *per_second)?,
                };
                count.append_value(units);
                offset.append_value(minutes);
                nulls.append_non_null();
            }
            Kind::Nested(nested) => nested.append(scalar::utf8(value)?)?,
        }
        Ok(())
    }

    /// Takes a NULL.
    pub fn append_null(&mut self) {
        match &mut self.kind {
            Kind::Boolean(builder) => builder.append_null(),
            Kind::Int8(builder) => builder.append_null(),
            Kind::Int16(builder) => builder.append_null(),
            Kind::Int32(builder) | Kind::Date(builder) => builder.append_null(),
            Kind::Int64(builder)
            | Kind::Time(builder, ..)
            | Kind::Timestamp(builder, ..)
            | Kind::Duration(builder, _) => builder.append_null(),
            Kind::UInt8(builder) => builder.append_null(),
            Kind::UInt16(builder) => builder.append_null(),
            Kind::UInt32(builder) => builder.append_null(),
            Kind::UInt64(builder) => builder.append_null(),
            Kind::Float32(builder) => builder.append_null(),
            Kind::Float64(builder) => builder.append_null(),
            Kind::Decimal128(builder, ..) => builder.append_null(),
            Kind::Decimal256(builder, ..) => builder.append_null(),
            Kind::DecimalText(builder) | Kind::Text(builder) | Kind::Enumeration(builder, _) => {
                builder.append_null()
            }
            Kind::Binary(builder) => builder.append_null(),
            Kind::Fixed(builder, _) | Kind::Uuid(builder) => builder.append_null(),
            Kind::Interval(builder) => builder.append_null(),
            Kind::Wide { seconds, nanos, offset, nulls } => {
                seconds.append_value(0);
                nanos.append_value(0);
                offset.append_null();
                nulls.append_null();
            }
            Kind::Offset { count, offset, nulls, .. } => {
                count.append_value(0);
                offset.append_value(0);
                nulls.append_null();
            }
            Kind::Nested(nested) => nested.append_null(),
        }
    }

    /// The column of all values taken since the last call.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when Arrow refuses them.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match &mut self.kind {
            Kind::Boolean(builder) => Arc::new(builder.finish()),
            Kind::Int8(builder) => Arc::new(builder.finish()),
            Kind::Int16(builder) => Arc::new(builder.finish()),
            Kind::Int32(builder) => Arc::new(builder.finish()),
            Kind::Int64(builder) => Arc::new(builder.finish()),
            Kind::UInt8(builder) => Arc::new(builder.finish()),
            Kind::UInt16(builder) => Arc::new(builder.finish()),
            Kind::UInt32(builder) => Arc::new(builder.finish()),
            Kind::UInt64(builder) => Arc::new(builder.finish()),
            Kind::Float32(builder) => Arc::new(builder.finish()),
            Kind::Float64(builder) => Arc::new(builder.finish()),
            Kind::Decimal128(builder, ..) => Arc::new(builder.finish()),
            Kind::Decimal256(builder, ..) => Arc::new(builder.finish()),
            Kind::DecimalText(builder) | Kind::Text(builder) | Kind::Enumeration(builder, _) => {
                Arc::new(builder.finish())
            }
            Kind::Binary(builder) => Arc::new(builder.finish()),
            Kind::Fixed(builder, _) | Kind::Uuid(builder) => Arc::new(builder.finish()),
            Kind::Date(builder) => retyped(&builder.finish(), &DataType::Date32)?,
            Kind::Time(builder, _, data_type)
            | Kind::Timestamp(builder, _, _, data_type)
            | Kind::Duration(builder, data_type) => retyped(&builder.finish(), data_type)?,
            Kind::Interval(builder) => Arc::new(builder.finish()),
            Kind::Wide { seconds, nanos, offset, nulls } => Arc::new(StructArray::try_new(
                hub_plugin_api::types::wide_timestamp_fields(),
                vec![Arc::new(seconds.finish()), Arc::new(nanos.finish()), Arc::new(offset.finish())],
                nulls.finish(),
            )?),
            Kind::Offset { count, offset, nulls, fields, .. } => Arc::new(StructArray::try_new(
                fields.clone(),
                vec![retyped(&count.finish(), fields[0].data_type())?, Arc::new(offset.finish())],
                nulls.finish(),
            )?),
            Kind::Nested(nested) => nested.finish()?,
        })
    }
}

fn offset_fields(unit: Unit) -> Fields {
    hub_plugin_api::types::offset_timestamp_fields(unit)
}

/// The same numbers under the type that says what they count.
fn retyped(numbers: &dyn Array, data_type: &DataType) -> Result<ArrayRef> {
    Ok(make_array(numbers.to_data().into_builder().data_type(data_type.clone()).build()?))
}
