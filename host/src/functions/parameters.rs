//! The values that a function passes with a statement.

use hub_plugin_api::{Error, ErrorKind, Result, Value as Json, arrow::array::RecordBatch};

use super::{
    bindings::connector_hub::plugin::types::{ColumnType, Digits, Field, RowBatch, Value},
    rows_in,
};

/// One row, a column a value; none without values.
pub(super) fn to_batch(values: Vec<Value>) -> Result<Option<RecordBatch>> {
    if values.is_empty() {
        return Ok(None);
    }
    let fields = values.iter().enumerate().map(|(index, value)| Field {
        name: format!("p{}", index + 1),
        column_type: type_of(value),
        nullable: true,
        key: None,
    });
    let batch = rows_in::import(RowBatch { fields: fields.collect(), rows: vec![values] })?;
    Ok(Some(batch))
}

fn type_of(value: &Value) -> ColumnType {
    match value {
        Value::Boolean(_) => ColumnType::Boolean,
        Value::Signed(_) => ColumnType::Signed,
        Value::Unsigned(_) => ColumnType::Unsigned,
        Value::Float(_) => ColumnType::Float,
        Value::Decimal(digits) => ColumnType::Decimal(digits_of(digits)),
        Value::Bytes(_) => ColumnType::Bytes,
        Value::Date(_) => ColumnType::Date,
        Value::Time(_) => ColumnType::Time,
        Value::Timestamp(_) => ColumnType::Timestamp,
        Value::Instant(_) => ColumnType::Instant,
        Value::Json(_) => ColumnType::Json,
        // A null has the type that every database converts from.
        Value::Text(_) | Value::Null => ColumnType::Text,
    }
}

/// The digits that a decimal's text has.
fn digits_of(text: &str) -> Digits {
    let unsigned = text.trim_start_matches(['-', '+']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let scale = u8::try_from(fraction.len()).unwrap_or(u8::MAX);
    let precision =
        u8::try_from((whole.trim_start_matches('0').len() + fraction.len()).max(1)).unwrap_or(u8::MAX);
    Digits { precision, scale }
}

/// The parts of a command.
///
/// # Errors
/// [`ErrorKind::InvalidStatement`] for a value that no command takes.
pub(super) fn to_json(values: Vec<Value>) -> Result<Vec<Json>> {
    values
        .into_iter()
        .map(|value| {
            Ok(match value {
                Value::Null => Json::Null,
                Value::Boolean(value) => value.into(),
                Value::Signed(value) => value.into(),
                Value::Unsigned(value) => value.into(),
                Value::Float(value) => value.into(),
                Value::Text(text) | Value::Decimal(text) | Value::Json(text) => text.into(),
                Value::Bytes(_)
                | Value::Date(_)
                | Value::Time(_)
                | Value::Timestamp(_)
                | Value::Instant(_) => {
                    return Err(Error::new(
                        ErrorKind::InvalidStatement,
                        "A command takes numbers, texts, booleans and null only",
                    ));
                }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::arrow::array::Array;

    use super::*;

    #[test]
    fn values_become_one_row() {
        let batch =
            to_batch(vec![Value::Signed(7), Value::Decimal("-0.50".into()), Value::Null]).unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 3));
        assert_eq!(
            batch.column(1).data_type(),
            &hub_plugin_api::arrow::datatypes::DataType::Decimal128(2, 2)
        );
        assert!(batch.column(2).is_null(0));
        assert!(to_batch(Vec::new()).unwrap().is_none());
    }
}
