//! JSON values as columns. A number stays the digits that stand in the file.

use std::{fmt, sync::Arc};

use hub_plugin_api::{
    arrow::array::{ArrayRef, BooleanBuilder, Int64Builder, StringBuilder},
    prelude::*,
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The most zeros that an exponent may stand for.
const MAX_EXPONENT: i64 = 10_000;

/// A line's fields in their order, values as they are written.
pub struct Fields<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields: Self::Value = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if fields.iter().any(|(other, _)| *other == name) {
                        return Err(M::Error::custom(format_args!("field `{name}` is there twice")));
                    }
                    fields.push((name, value));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object).map(Fields)
    }
}

/// The columns of the option `columns`.
pub fn declared_columns(declared: &[String]) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    for text in declared {
        let wrong = |what: &str| Error::config("columns", format!("`{text}` {what}"));
        let (name, kind) = text.rsplit_once(':').ok_or_else(|| wrong("is not of the form `name:type`"))?;
        let logical = match kind.trim() {
            "boolean" => LogicalType::Boolean,
            "integer" => LogicalType::Int64,
            "number" => LogicalType::DecimalText { precision: None, scale: None },
            "text" => LogicalType::Text,
            "json" => LogicalType::Json,
            _ => return Err(wrong("has no type among boolean, integer, number, text and json")),
        };
        if columns.iter().any(|column| column.name == name) {
            return Err(wrong("is there twice"));
        }
        columns.push(Column::new(name, logical));
    }
    Ok(columns)
}

/// The narrowest type of a value; none for null.
pub fn guess_type(value: &str) -> Option<LogicalType> {
    Some(match value.as_bytes().first()? {
        b'n' => return None,
        b't' | b'f' => LogicalType::Boolean,
        b'"' => LogicalType::Text,
        b'[' | b'{' => LogicalType::Json,
        _ if value.parse::<i64>().is_ok() => LogicalType::Int64,
        _ => LogicalType::DecimalText { precision: None, scale: None },
    })
}

/// The narrowest type that holds both; a struct without fields stands for a column of nulls.
pub fn merge_types(one: &LogicalType, other: LogicalType) -> LogicalType {
    let number =
        |logical: &LogicalType| matches!(logical, LogicalType::Int64 | LogicalType::DecimalText { .. });
    match one {
        LogicalType::Struct(_) => other,
        one if *one == other => other,
        one if number(one) && number(&other) => LogicalType::DecimalText { precision: None, scale: None },
        _ => LogicalType::Json,
    }
}

/// A column that is being filled.
pub enum Values {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Number(StringBuilder),
    Text(StringBuilder),
    Json(StringBuilder),
}

impl Values {
    /// An empty column of one of the types that [`guess_type`] and [`declared_columns`] know.
    pub fn of(logical: &LogicalType) -> Self {
        match logical {
            LogicalType::Boolean => Self::Boolean(BooleanBuilder::new()),
            LogicalType::Int64 => Self::Integer(Int64Builder::new()),
            LogicalType::DecimalText { .. } => Self::Number(StringBuilder::new()),
            LogicalType::Text => Self::Text(StringBuilder::new()),
            _ => Self::Json(StringBuilder::new()),
        }
    }

    /// Appends a value as it is written in the file; answers what the column holds when it does not fit.
    pub fn push(&mut self, json: &str) -> Result<(), &'static str> {
        let null = json == "null";
        match self {
            Self::Boolean(values) => match json {
                "true" | "false" => values.append_value(json == "true"),
                _ if null => values.append_null(),
                _ => return Err("boolean"),
            },
            Self::Integer(values) => match json.parse() {
                Ok(number) => values.append_value(number),
                Err(_) if null => values.append_null(),
                Err(_) => return Err("an integer from -2^63 to 2^63 - 1"),
            },
            Self::Number(values) => match digits(json) {
                Some(digits) => values.append_value(digits),
                None if null => values.append_null(),
                None => return Err("a number with an exponent up to 10,000"),
            },
            Self::Text(values) => match serde_json::from_str::<String>(json) {
                Ok(text) => values.append_value(text),
                Err(_) if null => values.append_null(),
                Err(_) => return Err("text"),
            },
            Self::Json(values) if null => values.append_null(),
            Self::Json(values) => values.append_value(json),
        }
        Ok(())
    }

    /// The column; the next values are those of another batch.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(values) => Arc::new(values.finish()),
            Self::Integer(values) => Arc::new(values.finish()),
            Self::Number(values) | Self::Text(values) | Self::Json(values) => Arc::new(values.finish()),
        }
    }
}

/// A JSON number without an exponent, digit by digit: 1.5e3 is 1500, 12e-3 is 0.012.
fn digits(json: &str) -> Option<String> {
    let (sign, number) = json.strip_prefix('-').map_or(("", json), |number| ("-", number));
    if !number.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else { return Some(json.into()) };
    let exponent: i64 = exponent.parse().ok().filter(|exponent: &i64| exponent.abs() <= MAX_EXPONENT)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()? + exponent;
    let length = i64::try_from(all.len()).ok()?;
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
    let plain = if point <= 0 {
        format!("0.{}{all}", zeros(-point))
    } else if point >= length {
        let whole = format!("{all}{}", zeros(point - length));
        let whole = whole.trim_start_matches('0');
        if whole.is_empty() { "0".into() } else { whole.into() }
    } else {
        let (whole, fraction) = all.split_at(usize::try_from(point).ok()?);
        let whole = whole.trim_start_matches('0');
        format!("{}.{fraction}", if whole.is_empty() { "0" } else { whole })
    };
    Some(format!("{sign}{plain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_written_out_exactly() {
        for (json, expected) in [
            ("1.50", Some("1.50")),
            ("-0.1", Some("-0.1")),
            ("1.5e3", Some("1500")),
            ("12e-3", Some("0.012")),
            ("-1.25E1", Some("-12.5")),
            ("0.5e1", Some("5")),
            ("0.05e1", Some("0.5")),
            ("0e5", Some("0")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            ("1e99999", None),
            ("\"1\"", None),
            ("null", None),
        ] {
            assert_eq!(digits(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn types_widen_without_loss() {
        let number = LogicalType::DecimalText { precision: None, scale: None };
        assert_eq!(guess_type("9223372036854775808"), Some(number.clone()));
        assert_eq!(merge_types(&LogicalType::Int64, number.clone()), number);
        assert_eq!(merge_types(&LogicalType::Text, LogicalType::Int64), LogicalType::Json);
        assert_eq!(guess_type("null"), None);
    }
}
