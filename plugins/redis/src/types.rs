//! What Redis has: kinds of values, and the types that a field's bytes may be read as.

use std::sync::Arc;

use hub_plugin_api::{
    Parameter,
    arrow::array::{ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder},
    types::{Column, LogicalType},
};
use serde::Deserialize;

/// The connector's id, as columns name it.
pub const ENGINE: &str = "redis";

/// What a key holds, as `TYPE` says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes.
    String,
    /// Fields and values.
    Hash,
    /// Values in order.
    List,
    /// Values, each once.
    Set,
    /// Values with a score, each once.
    SortedSet,
    /// Entries with an id.
    Stream,
    /// A document of the JSON module.
    Json,
    /// Of a module that this connector does not know.
    Other(String),
}

impl Kind {
    /// All that can be read.
    pub const KNOWN: [(&str, &str); 7] = [
        ("string", "String"),
        ("hash", "Hash"),
        ("list", "List"),
        ("set", "Set"),
        ("zset", "Sorted Set"),
        ("stream", "Stream"),
        ("json", "JSON"),
    ];

    /// As our options write it.
    pub fn of_option(text: &str) -> Option<Self> {
        Some(match text {
            "string" => Self::String,
            "hash" => Self::Hash,
            "list" => Self::List,
            "set" => Self::Set,
            "zset" => Self::SortedSet,
            "stream" => Self::Stream,
            "json" => Self::Json,
            _ => return None,
        })
    }

    /// As the server writes it.
    pub fn of_server(text: &str) -> Self {
        match text {
            "ReJSON-RL" => Self::Json,
            other => Self::of_option(other).unwrap_or_else(|| Self::Other(other.to_owned())),
        }
    }

    /// As the server writes it.
    pub fn server_name(&self) -> &str {
        match self {
            Self::Json => "ReJSON-RL",
            other => other.name(),
        }
    }

    /// As our options and rows write it.
    pub fn name(&self) -> &str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Stream => "stream",
            Self::Json => "json",
            Self::Other(name) => name,
        }
    }
}

/// Whether keys and values are handed over as text or as bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// What is not UTF-8 is rejected.
    #[default]
    Text,
    /// Any bytes.
    Binary,
}

impl Encoding {
    /// The option `encoding`; each strategy says what it is for.
    pub fn option() -> Parameter {
        Parameter::dropdown("encoding", "Encoding", &[("text", "Text"), ("binary", "Binary")]).default("text")
    }

    /// The type of a column of keys or values.
    pub fn field_type(self) -> FieldType {
        match self {
            Self::Text => FieldType::Text,
            Self::Binary => FieldType::Binary,
        }
    }
}

/// What a field's bytes are read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldType {
    /// UTF-8.
    #[default]
    Text,
    /// Any bytes.
    Binary,
    /// `true` or `false`, `1` or `0`.
    Boolean,
    /// Digits with an optional sign.
    Int64,
    /// A number as Redis writes it, `inf` and `nan` among them.
    Float64,
    /// A JSON document.
    Json,
}

impl FieldType {
    fn logical(self) -> LogicalType {
        match self {
            Self::Text => LogicalType::Text,
            Self::Binary => LogicalType::Binary,
            Self::Boolean => LogicalType::Boolean,
            Self::Int64 => LogicalType::Int64,
            Self::Float64 => LogicalType::Float64,
            Self::Json => LogicalType::Json,
        }
    }

    /// The column of such values.
    pub fn column(self, name: &str) -> Column {
        Column::new(name, self.logical())
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// Why they are not of the type, in words that follow the column's name.
    pub fn read(self, bytes: &[u8]) -> Result<Cell<'_>, &'static str> {
        let text = || std::str::from_utf8(bytes).map_err(|_| "is not UTF-8 text");
        Ok(match self {
            Self::Binary => Cell::Bytes(bytes),
            Self::Text => Cell::Text(text()?),
            Self::Boolean => Cell::Boolean(match bytes {
                b"true" | b"1" => true,
                b"false" | b"0" => false,
                _ => return Err("is neither `true` nor `false`"),
            }),
            Self::Int64 => Cell::Integer(text()?.parse().map_err(|_| "is no whole number of 64 bits")?),
            Self::Float64 => Cell::Float(text()?.parse().map_err(|_| "is no number")?),
            Self::Json => {
                let text = text()?;
                let checked: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
                Cell::Text(checked.map(|_| text).map_err(|_| "is no JSON document")?)
            }
        })
    }
}

/// One value of a row, before it goes into its column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// None.
    Null,
    /// UTF-8.
    Text(&'a str),
    /// UTF-8 made here.
    Owned(String),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Yes or no.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
}

impl Cell<'_> {
    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Boolean(_) => 1,
            Self::Text(text) => text.len() + 4,
            Self::Owned(text) => text.len() + 4,
            Self::Bytes(bytes) => bytes.len() + 4,
            Self::Integer(_) | Self::Float(_) => 8,
        }
    }
}

/// A column that is being filled.
pub enum ColumnBuilder {
    /// Of text and JSON.
    Text(StringBuilder),
    /// Of bytes.
    Binary(BinaryBuilder),
    /// Of yes and no.
    Boolean(BooleanBuilder),
    /// Of whole numbers.
    Int64(Int64Builder),
    /// Of numbers.
    Float64(Float64Builder),
}

impl ColumnBuilder {
    /// An empty one.
    pub fn new(field: FieldType) -> Self {
        match field {
            FieldType::Text | FieldType::Json => Self::Text(StringBuilder::new()),
            FieldType::Binary => Self::Binary(BinaryBuilder::new()),
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
            FieldType::Int64 => Self::Int64(Int64Builder::new()),
            FieldType::Float64 => Self::Float64(Float64Builder::new()),
        }
    }

    /// Adds a value that [`FieldType::read`] made for this type; what does not fit becomes null, which none does.
    pub fn push(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Text(builder), Cell::Text(text)) => builder.append_value(text),
            (Self::Text(builder), Cell::Owned(text)) => builder.append_value(text),
            (Self::Binary(builder), Cell::Bytes(bytes)) => builder.append_value(bytes),
            (Self::Boolean(builder), Cell::Boolean(value)) => builder.append_value(*value),
            (Self::Int64(builder), Cell::Integer(value)) => builder.append_value(*value),
            (Self::Float64(builder), Cell::Float(value)) => builder.append_value(*value),
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Binary(builder), _) => builder.append_null(),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Int64(builder), _) => builder.append_null(),
            (Self::Float64(builder), _) => builder.append_null(),
        }
    }

    /// The column, and an empty builder in its place.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Binary(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_their_type_or_refused_with_a_reason() {
        assert_eq!(FieldType::Int64.read(b"-7"), Ok(Cell::Integer(-7)));
        assert_eq!(FieldType::Float64.read(b"inf"), Ok(Cell::Float(f64::INFINITY)));
        assert_eq!(FieldType::Boolean.read(b"1"), Ok(Cell::Boolean(true)));
        assert_eq!(FieldType::Binary.read(b"\xff"), Ok(Cell::Bytes(b"\xff")));
        for (field, bytes) in [
            (FieldType::Text, &b"\xff"[..]),
            (FieldType::Int64, b"1.5"),
            (FieldType::Int64, b""),
            (FieldType::Int64, b"9223372036854775808"),
            (FieldType::Float64, b"one"),
            (FieldType::Boolean, b"yes"),
            (FieldType::Json, b"{"),
        ] {
            assert!(field.read(bytes).is_err(), "{field:?} {bytes:?}");
        }
    }
}
