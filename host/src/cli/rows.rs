//! Arrow rows as text for people and as JSON for programs.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{
        DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
        UInt32Type, UInt64Type,
    },
    util::display::FormatOptions,
};
use connector_hub::api::{Result, Value, json, types::cell_text};
use serde_json::Map;

/// Wider cells are cut, with a mark.
const MAX_CELL_CHARS: usize = 60;

/// The columns whose values are aligned by their last digit.
pub fn number_columns(batch: &RecordBatch) -> Vec<usize> {
    let fields = batch.schema();
    let is_number = |(index, field): (usize, &std::sync::Arc<arrow::datatypes::Field>)| {
        (field.data_type().is_numeric()).then_some(index)
    };
    fields.fields().iter().enumerate().filter_map(is_number).collect()
}

/// The cells of each row.
pub fn as_text(batch: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null("NULL");
    let cell = |column, row| Ok(short(cell_text(column, row, &options)?));
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|column| cell(column.as_ref(), row)).collect())
        .collect()
}

fn short(text: String) -> String {
    match text.char_indices().nth(MAX_CELL_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Each row as an object. Integers and finite floats are numbers, booleans and nulls themselves, lists and structs
/// nested; everything else is text: decimals so that no digit is lost, bytes as hex.
pub fn as_json(batch: &RecordBatch) -> Result<Vec<Value>> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| {
            let cells = schema.fields().iter().zip(batch.columns());
            let object: Result<Map<_, _>> = cells
                .map(|(field, column)| Ok((field.name().clone(), cell(column.as_ref(), row)?)))
                .collect();
            object.map(Value::Object)
        })
        .collect()
}

fn cell(array: &dyn Array, row: usize) -> Result<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| cell(items.as_ref(), item)).collect::<Result<_>>()?
        }
        DataType::Struct(fields) => {
            let parts = fields.iter().zip(array.as_struct().columns());
            let object: Result<Map<_, _>> = parts
                .map(|(field, column)| Ok((field.name().clone(), cell(column.as_ref(), row)?)))
                .collect();
            Value::Object(object?)
        }
        _ => cell_text(array, row, &FormatOptions::default())?.into(),
    })
}

/// JSON has no NaN and no infinity.
fn float(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { value.to_string().into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };

    use super::*;

    fn batch() -> RecordBatch {
        let decimals = Decimal128Array::from(vec![Some(-5), None]).with_precision_and_scale(30, 2).unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![i64::MAX, 2]))),
            ("price", Arc::new(decimals)),
            ("ratio", Arc::new(Float64Array::from(vec![0.5, f64::NAN]))),
            ("name", Arc::new(StringArray::from(vec![Some("a".repeat(70)), None]))),
            ("raw", Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice(), b""]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn instants_are_shown_in_utc() {
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![-1]).with_timezone("UTC"));
        let batch = RecordBatch::try_from_iter([("at", at)]).unwrap();
        assert_eq!(as_json(&batch).unwrap(), [json!({"at": "1969-12-31T23:59:59.999999Z"})]);
        assert_eq!(as_text(&batch).unwrap(), [["1969-12-31T23:59:59.999999Z"]]);
    }

    #[test]
    fn json_keeps_every_digit() {
        let rows = as_json(&batch()).unwrap();
        let name = "a".repeat(70);
        assert_eq!(
            rows[0],
            json!({"id": i64::MAX, "price": "-0.05", "ratio": 0.5, "name": name, "raw": "00ff"})
        );
        assert_eq!(rows[1], json!({"id": 2, "price": null, "ratio": "NaN", "name": null, "raw": ""}));
    }

    #[test]
    fn cells_are_cut_with_a_mark() {
        let rows = as_text(&batch()).unwrap();
        assert_eq!(rows[0][3].chars().count(), MAX_CELL_CHARS + 1);
        assert!(rows[0][3].ends_with('…'));
        assert_eq!(rows[1][1], "NULL");
        assert_eq!(number_columns(&batch()), [0, 1, 2]);
    }
}
