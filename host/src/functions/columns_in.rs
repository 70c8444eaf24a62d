//! Columns that a function yields, as Arrow: buffers are taken over, and checked before anybody reads them.

use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{
            ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal128Builder, Decimal256Builder,
            PrimitiveArray, RecordBatch, StringArray,
        },
        buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
        compute::kernels::cast_utils::parse_decimal,
        datatypes::{
            DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float64Type, Int64Type,
            Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
        },
    },
};

use super::{
    bindings::connector_hub::plugin::types::{Column, ColumnBatch, ColumnValues, Flat},
    rows_in::{DAY_MICROS, exact_digits, finish, invalid},
    types::{mismatch, schema_from},
};

/// The rows of a batch.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] or [`ErrorKind::InvalidData`], with the column.
pub(super) fn import(batch: ColumnBatch) -> Result<RecordBatch> {
    let schema = schema_from(&batch.fields)?;
    if batch.columns.len() != batch.fields.len() {
        return Err(mismatch(format!(
            "The batch has {} columns and {} fields",
            batch.columns.len(),
            batch.fields.len()
        )));
    }
    let length = batch.length as usize;
    let columns = schema.fields().iter().zip(batch.columns);
    let columns =
        columns.map(|(field, column)| array_of(field, column, length)).collect::<Result<Vec<_>>>()?;
    finish(&schema, columns, length)
}

fn array_of(field: &Field, column: Column, length: usize) -> Result<ArrayRef> {
    let nulls = match column.validity {
        Some(validity) => {
            check_length(field, "validity", validity.len(), length)?;
            let nulls = NullBuffer::new(BooleanBuffer::from_iter(validity.iter().map(|byte| *byte != 0)));
            Some(nulls).filter(|nulls| nulls.null_count() > 0)
        }
        None => None,
    };
    if let Some(nulls) = &nulls
        && !field.is_nullable()
    {
        let row = nulls.iter().position(|valid| !valid).unwrap_or_default();
        return Err(invalid(field.name(), row, "is null in a column that is not nullable"));
    }
    let data_type = field.data_type();
    Ok(match (data_type, column.values) {
        (DataType::Boolean, ColumnValues::Boolean(bytes)) => {
            check_length(field, "values", bytes.len(), length)?;
            Arc::new(BooleanArray::new(BooleanBuffer::from_iter(bytes.iter().map(|byte| *byte != 0)), nulls))
        }
        (DataType::Int64, ColumnValues::Signed(values)) => {
            primitive::<Int64Type>(field, values, nulls, length)?
        }
        (DataType::UInt64, ColumnValues::Unsigned(values)) => {
            primitive::<UInt64Type>(field, values, nulls, length)?
        }
        (DataType::Float64, ColumnValues::Float(values)) => {
            primitive::<Float64Type>(field, values, nulls, length)?
        }
        (DataType::Date32, ColumnValues::Date(values)) => {
            primitive::<Date32Type>(field, values, nulls, length)?
        }
        (DataType::Time64(_), ColumnValues::Time(values)) => {
            let is_valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            let wrong = values
                .iter()
                .enumerate()
                .find(|(row, value)| !(0..DAY_MICROS).contains(*value) && is_valid(*row));
            if let Some((row, value)) = wrong {
                return Err(invalid(
                    field.name(),
                    row,
                    format_args!("`{value}` is not a time of day in microseconds"),
                ));
            }
            primitive::<Time64MicrosecondType>(field, values, nulls, length)?
        }
        (DataType::Timestamp(_, None), ColumnValues::Timestamp(values))
        | (DataType::Timestamp(_, Some(_)), ColumnValues::Instant(values)) => {
            primitive::<TimestampMicrosecondType>(field, values, nulls, length)?
        }
        (DataType::Decimal128(..) | DataType::Decimal256(..), ColumnValues::Decimal(flat)) => {
            decimals(field, &texts_of(field, flat, nulls, length)?)?
        }
        (DataType::Utf8, ColumnValues::Text(flat) | ColumnValues::Json(flat)) => {
            Arc::new(texts_of(field, flat, nulls, length)?)
        }
        (DataType::Binary, ColumnValues::Bytes(flat)) => {
            let (offsets, data) = parts_of(field, flat, length)?;
            let array = BinaryArray::try_new(offsets, data, nulls);
            Arc::new(array.map_err(|error| mismatch("The bytes do not make a column").with_source(&error))?)
        }
        _ => {
            return Err(mismatch(format!(
                "Column `{}` has values of another type than its field",
                field.name()
            )));
        }
    })
}

fn primitive<T: ArrowPrimitiveType>(
    field: &Field,
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
    length: usize,
) -> Result<ArrayRef> {
    check_length(field, "values", values.len(), length)?;
    let array = PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls);
    Ok(Arc::new(array.with_data_type(field.data_type().clone())))
}

fn check_length(field: &Field, what: &str, found: usize, length: usize) -> Result<()> {
    if found == length {
        return Ok(());
    }
    Err(mismatch(format!("Column `{}`: {found} {what} in a batch of {length} rows", field.name())))
}

fn texts_of(field: &Field, flat: Flat, nulls: Option<NullBuffer>, length: usize) -> Result<StringArray> {
    let (offsets, data) = parts_of(field, flat, length)?;
    StringArray::try_new(offsets, data, nulls).map_err(|error| not_text(field, &error))
}

/// Checked offsets and their bytes: `OffsetBuffer::new` would panic on what a guest may well send.
fn parts_of(field: &Field, flat: Flat, length: usize) -> Result<(OffsetBuffer<i32>, Buffer)> {
    let Flat { offsets, data } = flat;
    check_length(field, "offsets less one", offsets.len().saturating_sub(1), length)?;
    let ordered = offsets.first() == Some(&0) && offsets.windows(2).all(|pair| pair[0] <= pair[1]);
    let end = offsets.last().and_then(|last| usize::try_from(*last).ok());
    if !ordered || end != Some(data.len()) {
        return Err(mismatch(format!(
            "Column `{}`: offsets must begin with 0, never fall, and end at the {} bytes of data",
            field.name(),
            data.len()
        )));
    }
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(data)))
}

fn not_text(field: &Field, error: &hub_plugin_api::arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::InvalidData, format!("Column `{}` is not text in UTF-8", field.name()))
        .with_source(error)
}

fn decimals(field: &Field, texts: &StringArray) -> Result<ArrayRef> {
    macro_rules! build {
        ($builder:ty, $number:ty, $precision:expr, $scale:expr) => {{
            let mut builder =
                <$builder>::with_capacity(texts.len()).with_data_type(field.data_type().clone());
            for (row, text) in texts.iter().enumerate() {
                let value = text.map(|text| {
                    let exact = exact_digits(text, $scale)?;
                    parse_decimal::<$number>(exact, $precision, $scale).map_err(|error| error.to_string())
                });
                builder.append_option(value.transpose().map_err(|what| invalid(field.name(), row, what))?);
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    use hub_plugin_api::arrow::array::Array;
    Ok(match field.data_type() {
        DataType::Decimal128(precision, scale) => {
            build!(Decimal128Builder, Decimal128Type, *precision, *scale)
        }
        DataType::Decimal256(precision, scale) => {
            build!(Decimal256Builder, Decimal256Type, *precision, *scale)
        }
        other => return Err(Error::internal(format!("{other} is not a decimal"))),
    })
}
