//! Values of a statement's parameters, as literals that stand for them: the text protocol takes no bound values, and
//! rows of the other one are no faster.

use hub_plugin_api::{
    Error, Result, Value,
    arrow::{
        array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray},
        compute::cast,
        datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
        util::display::FormatOptions,
    },
    types::cell_text,
};

use crate::sql::{hex_literal, literal};

/// Values from a pipeline file as expressions.
pub fn from_json(values: &[Value]) -> Vec<String> {
    let expression = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(true) => "TRUE".to_owned(),
        Value::Bool(false) => "FALSE".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => literal(text),
        other => literal(&other.to_string()),
    };
    values.iter().map(expression).collect()
}

/// Values from a batch of one row, a column a parameter, as expressions. The session's zone is `offset_seconds` ahead of
/// UTC.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] when it is not one row, or a column has a type without a literal.
pub fn from_batch(batch: &RecordBatch, offset_seconds: i64) -> Result<Vec<String>> {
    if batch.num_rows() != 1 {
        return Err(Error::config(
            "parameters",
            format!("Parameters are one row, not `{}`", batch.num_rows()),
        ));
    }
    batch.columns().iter().map(|column| cell_expression(column, 0, offset_seconds)).collect()
}

/// A cell as a literal.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] for lists and the like.
fn cell_expression(column: &dyn Array, row: usize, offset_seconds: i64) -> Result<String> {
    if column.is_null(row) {
        return Ok("NULL".into());
    }
    let options = FormatOptions::new().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.6f"));
    let shown = || cell_text(column, row, &options);
    Ok(match column.data_type() {
        DataType::Boolean => if column.as_boolean().value(row) { "TRUE" } else { "FALSE" }.into(),
        DataType::Binary => hex_literal(column.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => hex_literal(column.as_fixed_size_binary().value(row)),
        number if number.is_integer() || number.is_floating() || number.is_decimal() => {
            let text = shown()?;
            if text.starts_with(|character: char| character.is_ascii_digit() || character == '-')
                && !text.contains("inf")
            {
                text
            } else {
                return Err(Error::config("parameters", format!("The servers know no number `{text}`")));
            }
        }
        nested if nested.is_nested() => {
            return Err(Error::config("parameters", format!("A parameter cannot be of type {nested}"))
                .with_hint("Give it as text, in the form that the server reads"));
        }
        // The server reads it in the session's zone; only MySQL reads an offset behind it.
        DataType::Timestamp(_, Some(_)) => {
            let micros = cast(&column.slice(row, 1), &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>().value(0);
            let local = TimestampMicrosecondArray::from(vec![micros + offset_seconds * 1_000_000]);
            literal(&cell_text(&local, 0, &options)?)
        }
        _ => literal(&shown()?),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hub_plugin_api::{
        arrow::array::{ArrayRef, BinaryArray, Float64Array, Int32Array, StringArray},
        json,
    };

    use super::*;

    #[test]
    fn values_cannot_leave_their_literal() {
        let hostile = json!(["'); drop table t; -- \\", null, 1.50, true, {"k": ["'"]}]);
        let expected = ["'''); drop table t; -- \\\\'", "NULL", "1.5", "TRUE", "'{\"k\":[\"''\"]}'"];
        assert_eq!(from_json(hostile.as_array().unwrap()), expected);
    }

    #[test]
    fn one_row_of_a_batch_becomes_literals() {
        let columns: [(&str, ArrayRef); 3] = [
            ("a", Arc::new(Int32Array::from(vec![-7]))),
            ("b", Arc::new(StringArray::from(vec![None::<&str>]))),
            ("c", Arc::new(BinaryArray::from_vec(vec![b"\0'"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(from_batch(&batch, 0).unwrap(), ["-7", "NULL", "x'0027'"]);
        assert!(from_batch(&batch.slice(0, 0), 0).is_err());
        let infinite = Float64Array::from(vec![f64::INFINITY]);
        assert!(cell_expression(&infinite, 0, 0).is_err());
    }

    #[test]
    fn an_instant_is_written_in_the_sessions_zone() {
        let local = TimestampMicrosecondArray::from(vec![1_500_000]);
        let instant = local.clone().with_timezone("UTC");
        assert_eq!(cell_expression(&local, 0, 7200).unwrap(), "'1970-01-01 00:00:01.500000'");
        assert_eq!(cell_expression(&instant, 0, 7200).unwrap(), "'1970-01-01 02:00:01.500000'");
        assert_eq!(cell_expression(&instant, 0, -5).unwrap(), "'1969-12-31 23:59:56.500000'");
    }
}
