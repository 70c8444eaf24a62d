//! A statement's rows for a function: value by value, or column by column.

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::{
            DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
            Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type,
            UInt16Type, UInt32Type, UInt64Type,
        },
    },
    types::columns_of,
};

use super::{
    bindings::connector_hub::plugin::types::{
        Column, ColumnBatch, ColumnType, ColumnValues, Field, Flat, RowBatch, Value,
    },
    types::field_of,
};

fn fields_of(batch: &RecordBatch) -> Result<Vec<Field>> {
    // Offsets of flat columns have 32 bits.
    let bytes = batch.get_array_memory_size();
    if bytes > i32::MAX as usize {
        let message =
            format!("The statement's rows came in a batch of {bytes} bytes, more than a column can hold");
        return Err(Error::new(ErrorKind::ResourceExhausted, message));
    }
    columns_of(batch.schema_ref())?.iter().map(field_of).collect()
}

/// The rows one list a row.
///
/// # Errors
/// When a column is of a type that only `arrow-ipc` carries.
pub(super) fn export_rows(batch: &RecordBatch) -> Result<RowBatch> {
    let fields = fields_of(batch)?;
    let mut rows: Vec<Vec<Value>> = (0..batch.num_rows()).map(|_| Vec::with_capacity(fields.len())).collect();
    for (field, array) in fields.iter().zip(batch.columns()) {
        let values = values_of(field, array);
        for (row, target) in rows.iter_mut().enumerate() {
            target.push(if array.is_null(row) {
                Value::Null
            } else {
                value_at(&values, row, &field.column_type)
            });
        }
    }
    Ok(RowBatch { fields, rows })
}

/// The rows one list a column.
///
/// # Errors
/// When a column is of a type that only `arrow-ipc` carries.
pub(super) fn export_columns(batch: &RecordBatch) -> Result<ColumnBatch> {
    let fields = fields_of(batch)?;
    let columns = fields.iter().zip(batch.columns()).map(|(field, array)| Column {
        values: values_of(field, array),
        validity: array.nulls().map(|nulls| nulls.iter().map(u8::from).collect()),
    });
    Ok(ColumnBatch {
        columns: columns.collect(),
        length: u32::try_from(batch.num_rows()).unwrap_or(u32::MAX),
        fields,
    })
}

fn value_at(values: &ColumnValues, row: usize, column_type: &ColumnType) -> Value {
    match values {
        ColumnValues::Boolean(values) => Value::Boolean(values[row] != 0),
        ColumnValues::Signed(values) => Value::Signed(values[row]),
        ColumnValues::Unsigned(values) => Value::Unsigned(values[row]),
        ColumnValues::Float(values) => Value::Float(values[row]),
        ColumnValues::Date(values) => Value::Date(values[row]),
        ColumnValues::Time(values) => Value::Time(values[row]),
        ColumnValues::Timestamp(values) => Value::Timestamp(values[row]),
        ColumnValues::Instant(values) => Value::Instant(values[row]),
        ColumnValues::Bytes(flat) => Value::Bytes(piece(flat, row).to_vec()),
        ColumnValues::Decimal(flat) | ColumnValues::Text(flat) | ColumnValues::Json(flat) => {
            let text = String::from_utf8_lossy(piece(flat, row)).into_owned();
            match column_type {
                ColumnType::Decimal(_) => Value::Decimal(text),
                ColumnType::Json => Value::Json(text),
                _ => Value::Text(text),
            }
        }
    }
}

fn piece(flat: &Flat, row: usize) -> &[u8] {
    let at = |index: usize| usize::try_from(flat.offsets[index]).unwrap_or_default();
    &flat.data[at(row)..at(row + 1)]
}

/// The values of a column; what is null has any value in its place.
fn values_of(field: &Field, array: &dyn Array) -> ColumnValues {
    macro_rules! numbers {
        ($kind:ident, $arrow:ty) => {
            ColumnValues::$kind(
                array.as_primitive::<$arrow>().values().iter().map(|value| (*value).into()).collect(),
            )
        };
    }
    match (field.column_type, array.data_type()) {
        (ColumnType::Boolean, _) => {
            ColumnValues::Boolean(array.as_boolean().values().iter().map(u8::from).collect())
        }
        (_, DataType::Int8) => numbers!(Signed, Int8Type),
        (_, DataType::Int16) => numbers!(Signed, Int16Type),
        (_, DataType::Int32) => numbers!(Signed, Int32Type),
        (_, DataType::Int64) => numbers!(Signed, Int64Type),
        (_, DataType::UInt8) => numbers!(Unsigned, UInt8Type),
        (_, DataType::UInt16) => numbers!(Unsigned, UInt16Type),
        (_, DataType::UInt32) => numbers!(Unsigned, UInt32Type),
        (_, DataType::UInt64) => numbers!(Unsigned, UInt64Type),
        (_, DataType::Float32) => numbers!(Float, Float32Type),
        (_, DataType::Float64) => numbers!(Float, Float64Type),
        (_, DataType::Date32) => numbers!(Date, Date32Type),
        (_, DataType::Time64(_)) => numbers!(Time, Time64MicrosecondType),
        (ColumnType::Timestamp, _) => numbers!(Timestamp, TimestampMicrosecondType),
        (ColumnType::Instant, _) => numbers!(Instant, TimestampMicrosecondType),
        (_, DataType::Decimal128(..)) => {
            let values = array.as_primitive::<Decimal128Type>();
            ColumnValues::Decimal(flat(array, |row| values.value_as_string(row)))
        }
        (_, DataType::Decimal256(..)) => {
            let values = array.as_primitive::<Decimal256Type>();
            ColumnValues::Decimal(flat(array, |row| values.value_as_string(row)))
        }
        // The only text in sixteen bytes is a UUID.
        (ColumnType::Text, DataType::FixedSizeBinary(_)) => {
            ColumnValues::Text(flat(array, |row| uuid_text(array.as_fixed_size_binary().value(row))))
        }
        (_, DataType::FixedSizeBinary(_)) => {
            ColumnValues::Bytes(flat(array, |row| array.as_fixed_size_binary().value(row).to_vec()))
        }
        (_, DataType::Binary) => {
            ColumnValues::Bytes(flat(array, |row| array.as_binary::<i32>().value(row).to_vec()))
        }
        (ColumnType::Json, _) => {
            ColumnValues::Json(flat(array, |row| array.as_string::<i32>().value(row).to_owned()))
        }
        _ => ColumnValues::Text(flat(array, |row| array.as_string::<i32>().value(row).to_owned())),
    }
}

fn flat<T: AsRef<[u8]>>(array: &dyn Array, value: impl Fn(usize) -> T) -> Flat {
    let (mut offsets, mut data) = (Vec::with_capacity(array.len() + 1), Vec::new());
    offsets.push(0);
    for row in 0..array.len() {
        if array.is_valid(row) {
            data.extend_from_slice(value(row).as_ref());
        }
        // `fields_of` has seen to it that they fit.
        offsets.push(i32::try_from(data.len()).unwrap_or(i32::MAX));
    }
    Flat { offsets, data }
}

fn uuid_text(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match hex.len() {
        32 => [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"),
        _ => hex,
    }
}
