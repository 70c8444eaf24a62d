//! JSON values as columns. A number stays the digits that stand in the file.

use std::{collections::HashMap, fmt, sync::Arc};

use arrow_array::{
    ArrayRef,
    builder::{BooleanBuilder, Int64Builder, StringBuilder},
};
use arrow_schema::{DataType, Field};
use hub_connector::{Error, Result};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The most zeros that an exponent may stand for.
const MAX_EXPONENT: i64 = 10_000;

/// A line's fields in their order, values as they are written.
pub(crate) struct Fields<'a>(pub(crate) Vec<(String, &'a RawValue)>);

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

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    Number,
    Text,
    Json,
}

impl Kind {
    /// The narrowest kind of a value; none for null.
    pub(crate) fn of(json: &str) -> Option<Self> {
        Some(match json.as_bytes().first()? {
            b'n' => return None,
            b't' | b'f' => Self::Boolean,
            b'"' => Self::Text,
            b'[' | b'{' => Self::Json,
            _ if json.parse::<i64>().is_ok() => Self::Integer,
            _ => Self::Number,
        })
    }

    /// The narrowest kind that holds both.
    pub(crate) fn or_wider(self, other: Self) -> Self {
        let is_number = |kind| matches!(kind, Self::Integer | Self::Number);
        match (self, other) {
            (one, other) if one == other => one,
            (one, other) if is_number(one) && is_number(other) => Self::Number,
            _ => Self::Json,
        }
    }
}

/// A column of the file.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

impl Column {
    /// One of the option `columns`: `name:type`.
    pub(crate) fn declared(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::config("columns", format!("`{text}` {what}"));
        let (name, kind) = text.rsplit_once(':').ok_or_else(|| wrong("is not of the form `name:type`"))?;
        let kind = match kind.trim() {
            "boolean" => Kind::Boolean,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "text" => Kind::Text,
            "json" => Kind::Json,
            _ => return Err(wrong("has no type among boolean, integer, number, text and json")),
        };
        Ok(Self { name: name.into(), kind })
    }

    /// What carries it: a decimal and JSON are text with an extension's name.
    pub(crate) fn field(&self) -> Field {
        let (data_type, extension) = match self.kind {
            Kind::Boolean => (DataType::Boolean, None),
            Kind::Integer => (DataType::Int64, None),
            Kind::Number => (DataType::Utf8, Some("hub.decimal")),
            Kind::Text => (DataType::Utf8, None),
            Kind::Json => (DataType::Utf8, Some("arrow.json")),
        };
        let metadata = extension.map(|name| {
            HashMap::from([
                ("ARROW:extension:name".to_owned(), name.to_owned()),
                ("ARROW:extension:metadata".to_owned(), String::new()),
            ])
        });
        Field::new(&self.name, data_type, true).with_metadata(metadata.unwrap_or_default())
    }
}

/// A column that is being filled.
pub(crate) enum Values {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Number(StringBuilder),
    Text(StringBuilder),
    Json(StringBuilder),
}

impl Values {
    pub(crate) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::Number => Self::Number(StringBuilder::new()),
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Json => Self::Json(StringBuilder::new()),
        }
    }

    /// Appends a value as it is written in the file; answers what the column holds when it does not fit.
    pub(crate) fn push(&mut self, json: &str) -> Result<(), &'static str> {
        let is_null = json == "null";
        match self {
            Self::Boolean(values) => match json {
                "true" | "false" => values.append_value(json == "true"),
                _ if is_null => values.append_null(),
                _ => return Err("boolean"),
            },
            Self::Integer(values) => match json.parse() {
                Ok(number) => values.append_value(number),
                Err(_) if is_null => values.append_null(),
                Err(_) => return Err("an integer from -2^63 to 2^63 - 1"),
            },
            Self::Number(values) => match digits(json) {
                Some(digits) => values.append_value(digits),
                None if is_null => values.append_null(),
                None => return Err("a number with an exponent up to 10,000"),
            },
            Self::Text(values) => match serde_json::from_str::<String>(json) {
                Ok(text) => values.append_value(text),
                Err(_) if is_null => values.append_null(),
                Err(_) => return Err("text"),
            },
            Self::Json(values) if is_null => values.append_null(),
            Self::Json(values) => values.append_value(json),
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut values) => Arc::new(values.finish()),
            Self::Integer(mut values) => Arc::new(values.finish()),
            Self::Number(mut values) | Self::Text(mut values) | Self::Json(mut values) => {
                Arc::new(values.finish())
            }
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
    let trimmed = |whole: &str| match whole.trim_start_matches('0') {
        "" => "0".to_owned(),
        whole => whole.to_owned(),
    };
    let plain = if point <= 0 {
        format!("0.{}{all}", zeros(-point))
    } else if point >= length {
        trimmed(&format!("{all}{}", zeros(point - length)))
    } else {
        let (whole, fraction) = all.split_at(usize::try_from(point).ok()?);
        format!("{}.{fraction}", trimmed(whole))
    };
    Some(format!("{sign}{plain}"))
}
