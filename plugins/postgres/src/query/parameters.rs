//! Values of a statement's parameters, as literals that stand for them: a COPY takes no bound values.

use hub_plugin_api::{
    Error, Result, Value,
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::DataType,
        util::display::FormatOptions,
    },
    types,
};
use tokio_postgres::types::{Kind, Type};

use crate::sql::{identifier, read::typed_literal};

/// An expression for each parameter.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] when they are not as many as the statement has, or one cannot be a
/// value.
pub fn expressions(values: &[Option<String>], types: &[Type]) -> Result<Vec<String>> {
    if values.len() != types.len() {
        let message = format!(
            "The statement has `{}` parameters, but `{}` values are given",
            types.len(),
            values.len()
        );
        return Err(Error::config("parameters", message));
    }
    let expression = |(index, (value, of)): (usize, (&Option<String>, &Type))| {
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            let message = format!("The value of `${}` holds a NUL character", index + 1);
            return Err(Error::config("parameters", message));
        }
        Ok(typed_literal(value.as_deref(), &type_name(of)))
    };
    values.iter().zip(types).enumerate().map(expression).collect()
}

fn type_name(of: &Type) -> String {
    format!("{}.{}", identifier(of.schema()), identifier(of.name()))
}

/// Values from a pipeline file, as the server's input functions read them.
pub fn from_json(values: &[Value], types: &[Type]) -> Vec<Option<String>> {
    let of = |index: usize| types.get(index);
    values.iter().enumerate().map(|(index, value)| json_text(value, of(index))).collect()
}

fn json_text(value: &Value, of: Option<&Type>) -> Option<String> {
    match (value, of.map(Type::kind)) {
        (Value::Null, _) => None,
        (Value::String(text), _) => Some(text.clone()),
        (Value::Array(items), Some(Kind::Array(item))) => {
            let items: Vec<_> =
                items.iter().map(|value| array_element(json_text(value, Some(item)))).collect();
            Some(format!("{{{}}}", items.join(",")))
        }
        (other, _) => Some(other.to_string()),
    }
}

/// An element of an array literal.
fn array_element(value: Option<String>) -> String {
    match value {
        None => "NULL".into(),
        Some(value) => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// Values from a batch of one row, a column a parameter.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] when it is not one row, or a column has a type without a text form.
pub fn from_batch(batch: &RecordBatch) -> Result<Vec<Option<String>>> {
    if batch.num_rows() != 1 {
        return Err(Error::config(
            "parameters",
            format!("Parameters are one row, not `{}`", batch.num_rows()),
        ));
    }
    batch.columns().iter().map(|column| cell_text(column)).collect()
}

fn cell_text(column: &dyn Array) -> Result<Option<String>> {
    if column.is_null(0) {
        return Ok(None);
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(Some(match column.data_type() {
        DataType::Binary => format!("\\x{}", hex(column.as_binary::<i32>().value(0))),
        // 16 bytes are most likely an identifier; those of another length can only be bytes.
        DataType::FixedSizeBinary(16) => hex(column.as_fixed_size_binary().value(0)),
        DataType::FixedSizeBinary(_) => format!("\\x{}", hex(column.as_fixed_size_binary().value(0))),
        nested if nested.is_nested() => {
            return Err(Error::config("parameters", format!("A parameter cannot be of type {nested}"))
                .with_hint("Give it as text, in the form that the server reads"));
        }
        _ => types::cell_text(column, 0, &FormatOptions::new())?,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hub_plugin_api::{
        arrow::array::{ArrayRef, Int32Array, StringArray},
        json,
    };

    use super::*;

    #[test]
    fn values_cannot_leave_their_literal() {
        let hostile = Some("'); drop table t; --".to_owned());
        let expression = expressions(&[hostile, None], &[Type::TEXT, Type::INT4]).unwrap();
        assert_eq!(expression[0], r#"CAST('''); drop table t; --' AS "pg_catalog"."text")"#);
        assert_eq!(expression[1], r#"CAST(NULL AS "pg_catalog"."int4")"#);
        assert!(expressions(&[Some("a\0".into())], &[Type::TEXT]).is_err());
        assert!(expressions(&[], &[Type::TEXT]).is_err());
    }

    #[test]
    fn lists_become_array_literals_where_the_parameter_is_an_array() {
        let values = [json!(["a\"b\\", null, 1]), json!({"k": [1]}), json!(1.50), json!(true)];
        let texts = from_json(&values, &[Type::TEXT_ARRAY, Type::JSONB, Type::NUMERIC, Type::BOOL]);
        let expected = [r#"{"a\"b\\",NULL,"1"}"#, r#"{"k":[1]}"#, "1.5", "true"];
        assert_eq!(texts, expected.map(|text| Some(text.to_owned())));
    }

    #[test]
    fn one_row_of_a_batch_becomes_texts() {
        let columns: [(&str, ArrayRef); 2] = [
            ("a", Arc::new(Int32Array::from(vec![7]))),
            ("b", Arc::new(StringArray::from(vec![None::<&str>]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(from_batch(&batch).unwrap(), [Some("7".to_owned()), None]);
        assert!(from_batch(&batch.slice(0, 0)).is_err());
    }
}
