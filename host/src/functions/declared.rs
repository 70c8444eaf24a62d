//! The columns that a user declares for a program that prints rows.

use hub_plugin_api::{
    Error, Result,
    types::{Column, LogicalType, Unit},
};
use serde::Deserialize;

use super::lines::EXACT;

/// The columns that the option `columns` declares: `name: type`, or `{name, type, nullable, key}`.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] with the column.
pub(super) fn declared(columns: &serde_json::Value) -> Result<Vec<Column>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Declared {
        name: String,
        r#type: String,
        #[serde(default = "yes")]
        nullable: bool,
        key: Option<u32>,
    }
    const fn yes() -> bool {
        true
    }
    let wrong = |what: String| Error::config("columns", what);
    let declared: Vec<Declared> = match columns {
        serde_json::Value::Object(names) => names
            .iter()
            .map(|(name, kind)| {
                let kind = kind.as_str().ok_or_else(|| wrong(format!("`{name}` has no type")))?;
                Ok(Declared { name: name.clone(), r#type: kind.into(), nullable: true, key: None })
            })
            .collect::<Result<_>>()?,
        list => serde_json::from_value(list.clone()).map_err(|error| {
            wrong("`columns` is not a list of `{name, type, nullable, key}`".into()).with_source(&error)
        })?,
    };
    let mut columns: Vec<Column> = Vec::new();
    for one in declared {
        let logical = type_named(&one.r#type).ok_or_else(|| {
            wrong(format!("Column `{}` is of type `{}`, which is not known", one.name, one.r#type)).with_hint(
                "There are boolean, integer, unsigned, float, number, decimal(p,s), text, date, time, timestamp, \
                 instant and json",
            )
        })?;
        if columns.iter().any(|column| column.name == one.name) {
            return Err(wrong(format!("Column `{}` is declared twice", one.name)));
        }
        let mut column = Column::new(one.name, logical);
        (column.nullable, column.key) = (one.nullable, one.key);
        columns.push(column);
    }
    Ok(columns)
}

fn type_named(name: &str) -> Option<LogicalType> {
    let unit = Unit::Microsecond;
    Some(match name.trim() {
        "boolean" => LogicalType::Boolean,
        "integer" => LogicalType::Int64,
        "unsigned" => LogicalType::UInt64,
        "float" => LogicalType::Float64,
        "number" => EXACT,
        "text" => LogicalType::Text,
        "date" => LogicalType::Date,
        "time" => LogicalType::Time(unit),
        "timestamp" => LogicalType::Timestamp { unit, utc: false },
        "instant" => LogicalType::Timestamp { unit, utc: true },
        "json" => LogicalType::Json,
        other => {
            let digits = other.strip_prefix("decimal(")?.strip_suffix(')')?;
            let (precision, scale) = digits.split_once(',')?;
            let (precision, scale): (u8, u8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            if precision == 0 || precision > 76 || scale > precision {
                return None;
            }
            LogicalType::Decimal { precision, scale }
        }
    })
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{arrow::array::AsArray, json};

    use super::{super::lines::Lines, *};

    #[test]
    fn declared_columns_are_read() {
        let columns = declared(&json!({
            "d": "decimal(10,2)", "on": "date", "at": "instant", "u": "unsigned", "j": "json", "b": "boolean"
        }))
        .unwrap();
        let line = br#"{"d":1.5,"on":"2024-02-29","at":"2024-01-01T00:00:00Z","u":18446744073709551615,"j":{"x":[1]},"b":true}"#;
        let batch = Lines::new(columns, 1 << 20).take(line, true).unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 6));
        assert_eq!(batch.column(4).as_string::<i32>().value(0), r#"{"x":[1]}"#);
        for wrong in [json!({"a": "int"}), json!([{"name": "a"}]), json!({"a": "decimal(3,4)"})] {
            assert_eq!(declared(&wrong).unwrap_err().field.as_deref(), Some("columns"));
        }
    }
}
