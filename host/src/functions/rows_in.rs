//! Rows that a function yields value by value, as Arrow.

use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{
            ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder, PrimitiveBuilder,
            RecordBatch, RecordBatchOptions, StringBuilder,
        },
        compute::kernels::cast_utils::parse_decimal,
        datatypes::{
            ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type,
            SchemaRef, Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
        },
    },
};

use super::{
    bindings::connector_hub::plugin::types::{RowBatch, Value},
    types::{mismatch, schema_from},
};

/// Microseconds of a day.
pub(super) const DAY_MICROS: i64 = 86_400_000_000;

/// The rows of a batch.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] or [`ErrorKind::InvalidData`], with row and column.
pub(super) fn import(batch: RowBatch) -> Result<RecordBatch> {
    let schema = schema_from(&batch.fields)?;
    let length = batch.rows.len();
    let fields = schema.fields();
    let mut columns: Vec<Builder> =
        fields.iter().map(|field| Builder::new(field.data_type(), length)).collect();
    let nullable: Vec<bool> = fields.iter().map(|field| field.is_nullable()).collect();
    for (index, row) in batch.rows.into_iter().enumerate() {
        if row.len() != columns.len() {
            return Err(mismatch(format!(
                "Row {index} has {} values where the batch has {} columns",
                row.len(),
                columns.len()
            )));
        }
        for (column, ((builder, nullable), value)) in columns.iter_mut().zip(&nullable).zip(row).enumerate() {
            let what = match value {
                Value::Null if !nullable => "is null in a column that is not nullable".to_owned(),
                value => match builder.append(value) {
                    Ok(()) => continue,
                    Err(what) => what,
                },
            };
            return Err(invalid(fields[column].name(), index, what));
        }
    }
    finish(&schema, columns.into_iter().map(Builder::finish).collect(), length)
}

/// Columns of one length as a batch.
pub(super) fn finish(schema: &SchemaRef, columns: Vec<ArrayRef>, length: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(length));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| mismatch("The function's columns do not make a batch").with_source(&error))
}

pub(super) fn invalid(column: &str, row: usize, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("Column `{column}`, row {row}: the value {what}"))
}

pub(super) enum Builder {
    Boolean(BooleanBuilder),
    Signed(PrimitiveBuilder<Int64Type>),
    Unsigned(PrimitiveBuilder<UInt64Type>),
    Float(PrimitiveBuilder<Float64Type>),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    /// Text, and JSON when the flag is set.
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Instant(PrimitiveBuilder<TimestampMicrosecondType>),
}

fn primitive<T: ArrowPrimitiveType>(data_type: &DataType, rows: usize) -> PrimitiveBuilder<T> {
    PrimitiveBuilder::with_capacity(rows).with_data_type(data_type.clone())
}

impl Builder {
    /// A builder for a type that `schema_from` makes; nothing else comes here.
    pub(super) fn new(data_type: &DataType, rows: usize) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int64 => Self::Signed(primitive(data_type, rows)),
            DataType::UInt64 => Self::Unsigned(primitive(data_type, rows)),
            DataType::Float64 => Self::Float(primitive(data_type, rows)),
            DataType::Decimal128(precision, scale) => Self::Decimal128(
                Decimal128Builder::with_capacity(rows).with_data_type(data_type.clone()),
                *precision,
                *scale,
            ),
            DataType::Decimal256(precision, scale) => Self::Decimal256(
                Decimal256Builder::with_capacity(rows).with_data_type(data_type.clone()),
                *precision,
                *scale,
            ),
            DataType::Binary => Self::Bytes(BinaryBuilder::with_capacity(rows, rows * 16)),
            DataType::Date32 => Self::Date(primitive(data_type, rows)),
            DataType::Time64(_) => Self::Time(primitive(data_type, rows)),
            DataType::Timestamp(_, None) => Self::Timestamp(primitive(data_type, rows)),
            DataType::Timestamp(_, Some(_)) => Self::Instant(primitive(data_type, rows)),
            _ => Self::Text(StringBuilder::with_capacity(rows, rows * 16)),
        }
    }

    #[inline]
    pub(super) fn append(&mut self, value: Value) -> Result<(), String> {
        match (self, value) {
            (Self::Boolean(builder), Value::Boolean(value)) => builder.append_value(value),
            (Self::Signed(builder), Value::Signed(value)) => builder.append_value(value),
            (Self::Unsigned(builder), Value::Unsigned(value)) => builder.append_value(value),
            (Self::Float(builder), Value::Float(value)) => builder.append_value(value),
            (Self::Decimal128(builder, precision, scale), Value::Decimal(digits)) => {
                let exact = exact_digits(&digits, *scale)?;
                builder.append_value(
                    parse_decimal::<Decimal128Type>(exact, *precision, *scale)
                        .map_err(|error| error.to_string())?,
                );
            }
            (Self::Decimal256(builder, precision, scale), Value::Decimal(digits)) => {
                let exact = exact_digits(&digits, *scale)?;
                builder.append_value(
                    parse_decimal::<Decimal256Type>(exact, *precision, *scale)
                        .map_err(|error| error.to_string())?,
                );
            }
            (Self::Text(builder), Value::Text(value) | Value::Json(value)) => builder.append_value(value),
            (Self::Bytes(builder), Value::Bytes(value)) => builder.append_value(value),
            (Self::Date(builder), Value::Date(value)) => builder.append_value(value),
            (Self::Time(builder), Value::Time(value)) if (0..DAY_MICROS).contains(&value) => {
                builder.append_value(value)
            }
            (Self::Time(_), Value::Time(value)) => {
                return Err(format!("`{value}` is not a time of day in microseconds"));
            }
            (Self::Timestamp(builder), Value::Timestamp(value)) => builder.append_value(value),
            (Self::Instant(builder), Value::Instant(value)) => builder.append_value(value),
            (builder, Value::Null) => builder.append_null(),
            (builder, value) => {
                return Err(format!("is {} where the column is {}", kind_of(&value), builder.kind()));
            }
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Signed(builder) => builder.append_null(),
            Self::Unsigned(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Decimal128(builder, ..) => builder.append_null(),
            Self::Decimal256(builder, ..) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) | Self::Instant(builder) => builder.append_null(),
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Signed(mut builder) => Arc::new(builder.finish()),
            Self::Unsigned(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Decimal128(mut builder, ..) => Arc::new(builder.finish()),
            Self::Decimal256(mut builder, ..) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Bytes(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) | Self::Instant(mut builder) => Arc::new(builder.finish()),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "boolean",
            Self::Signed(_) => "signed",
            Self::Unsigned(_) => "unsigned",
            Self::Float(_) => "float",
            Self::Decimal128(..) | Self::Decimal256(..) => "decimal",
            Self::Text(_) => "text or json",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Timestamp(_) => "timestamp",
            Self::Instant(_) => "instant",
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Signed(_) => "signed",
        Value::Unsigned(_) => "unsigned",
        Value::Float(_) => "a float",
        Value::Decimal(_) => "a decimal",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Date(_) => "a date",
        Value::Time(_) => "a time",
        Value::Timestamp(_) => "a timestamp",
        Value::Instant(_) => "an instant",
        Value::Json(_) => "json",
    }
}

/// Refuses what the parser would round or reads in a way of its own: more digits behind the point than the column
/// has, exponents, blanks.
pub(super) fn exact_digits(digits: &str, scale: i8) -> Result<&str, String> {
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_number = !(whole.is_empty() && fraction.is_empty())
        && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(format!("`{digits}` is not a decimal"));
    }
    if fraction.trim_end_matches('0').len() > usize::try_from(scale).unwrap_or_default() {
        return Err(format!("`{digits}` has more than {scale} digits behind the point"));
    }
    Ok(digits)
}
