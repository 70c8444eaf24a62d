//! The one table of types on the boundary: what a value means ([`LogicalType`]) and what carries it (an Arrow field).
//!
//! A connector maps its database's types to [`LogicalType`] and back in its own `types.rs`; nothing else decides how
//! a value is carried. What is not in the table is refused by name.

mod carrier;
mod text;

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use self::carrier::{carrier, meaning};
pub use self::{
    carrier::{offset_timestamp_fields, wide_timestamp_fields},
    text::cell_text,
};
use crate::Result;

/// Metadata of a field: the declared type in the source's words.
pub const META_TYPE: &str = "hub:type";
/// Metadata of a field: the connector id of the source.
pub const META_ENGINE: &str = "hub:engine";
/// Metadata of a field: its place in the key, from 0.
pub const META_KEY: &str = "hub:key";
/// Metadata of a field: `false` where the column is NOT NULL, also when the Arrow field is nullable.
pub const META_NULLABLE: &str = "hub:nullable";
/// Metadata of a field: the digits of a decimal in text.
pub const META_PRECISION: &str = "hub:precision";
/// Metadata of a field: the digits behind the point of a decimal in text.
pub const META_SCALE: &str = "hub:scale";
/// Metadata of a field: a JSON list of an enum's values.
pub const META_ENUM: &str = "hub:enum";
/// Metadata of a field: the least and greatest integer stand for the two infinities.
pub const META_INFINITY: &str = "hub:infinity";
/// Metadata of a field: this is a change column; see [`crate::changes`].
pub const META_CHANGE: &str = "hub:change";

/// The greatest precision that a decimal is carried with as a number.
pub const MAX_DECIMAL_PRECISION: u8 = 76;

/// The unit of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// 1 s
    Second,
    /// 10⁻³ s
    Millisecond,
    /// 10⁻⁶ s
    Microsecond,
    /// 10⁻⁹ s
    Nanosecond,
}

impl Unit {
    fn to_arrow(self) -> TimeUnit {
        match self {
            Self::Second => TimeUnit::Second,
            Self::Millisecond => TimeUnit::Millisecond,
            Self::Microsecond => TimeUnit::Microsecond,
            Self::Nanosecond => TimeUnit::Nanosecond,
        }
    }

    fn from_arrow(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self::Second,
            TimeUnit::Millisecond => Self::Millisecond,
            TimeUnit::Microsecond => Self::Microsecond,
            TimeUnit::Nanosecond => Self::Nanosecond,
        }
    }
}

/// What a value means.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LogicalType {
    /// Yes or no: Boolean.
    Boolean,
    /// Int8.
    Int8,
    /// Int16.
    Int16,
    /// Int32.
    Int32,
    /// Int64.
    Int64,
    /// UInt8.
    UInt8,
    /// UInt16.
    UInt16,
    /// UInt32.
    UInt32,
    /// UInt64.
    UInt64,
    /// Float32.
    Float32,
    /// Float64.
    Float64,
    /// A declared decimal, 0 ≤ scale ≤ precision ≤ 76: Decimal128 or Decimal256.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// Any other decimal: Utf8 `hub.decimal` with canonical digits, `NaN`, `Infinity` or `-Infinity`.
    DecimalText {
        /// All digits, where known.
        precision: Option<u32>,
        /// Digits behind the point, where known.
        scale: Option<i32>,
    },
    /// Unicode text: Utf8.
    Text,
    /// Bytes: Binary.
    Binary,
    /// Bytes of one length: FixedSizeBinary.
    FixedBinary(i32),
    /// A day: Date32.
    Date,
    /// A time of day without zone, below 24:00: Time64 of µs or ns.
    Time(Unit),
    /// A time without zone, or in UTC: Timestamp.
    Timestamp {
        /// Its unit; µs up to six digits.
        unit: Unit,
        /// An instant, carried in UTC.
        utc: bool,
    },
    /// Seven to nine digits, or years that nanoseconds cannot hold: struct `hub.timestamp`.
    WideTimestamp,
    /// An offset a value: struct `arrow.timestamp_with_offset`.
    OffsetTimestamp(Unit),
    /// A length of time: Duration.
    Duration(Unit),
    /// Months, days and nanoseconds: Interval.
    Interval,
    /// FixedSizeBinary(16) `arrow.uuid`.
    Uuid,
    /// Utf8 `arrow.json`.
    Json,
    /// Binary `geoarrow.wkb`.
    Geometry,
    /// Utf8 with the values in order.
    Enum(Vec<String>),
    /// A one-dimensional array: List.
    List(Box<LogicalType>),
    /// Named values: Struct.
    Struct(Vec<Column>),
    /// Keys to values: Map.
    Map(Box<LogicalType>, Box<LogicalType>),
    /// Anything else, as its server writes it: `arrow.opaque` over Utf8, or Binary.
    Opaque {
        /// The type in its server's words.
        type_name: String,
        /// The server.
        vendor_name: String,
        /// Carried as bytes rather than text.
        binary: bool,
    },
}

/// A column: what it means, and what its source says of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// The name.
    pub name: String,
    /// What its values mean.
    pub logical: LogicalType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Its place in the key, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    /// The declared type in the source's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// The connector id of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The least and greatest integer stand for the two infinities.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub infinity: bool,
}

impl Column {
    /// A nullable column.
    pub fn new(name: impl Into<String>, logical: LogicalType) -> Self {
        Self {
            name: name.into(),
            logical,
            nullable: true,
            key: None,
            declared: None,
            engine: None,
            infinity: false,
        }
    }

    /// The same column, NOT NULL.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// The same column at a place of the key.
    #[must_use]
    pub fn key(mut self, ordinal: u32) -> Self {
        self.key = Some(ordinal);
        self
    }

    /// The same column with its declared type and the connector id of the source.
    #[must_use]
    pub fn declared(mut self, engine: impl Into<String>, declared: impl Into<String>) -> Self {
        (self.engine, self.declared) = (Some(engine.into()), Some(declared.into()));
        self
    }

    /// The same column, which holds infinities.
    #[must_use]
    pub fn with_infinity(mut self) -> Self {
        self.infinity = true;
        self
    }

    /// The field that carries it.
    pub fn to_field(&self) -> Field {
        let (data_type, mut metadata) = carrier(&self.logical);
        let mut put = |key: &str, value: String| metadata.insert(key.to_owned(), value);
        if let Some(declared) = &self.declared {
            put(META_TYPE, declared.clone());
        }
        if let Some(engine) = &self.engine {
            put(META_ENGINE, engine.clone());
        }
        if let Some(key) = self.key {
            put(META_KEY, key.to_string());
        }
        if !self.nullable {
            put(META_NULLABLE, "false".into());
        }
        if self.infinity {
            put(META_INFINITY, "true".into());
        }
        Field::new(&self.name, data_type, self.nullable).with_metadata(metadata)
    }

    /// What a field carries.
    ///
    /// # Errors
    /// [`crate::ErrorKind::UnsupportedType`] with the column's name for what is not in the table.
    pub fn from_field(field: &Field) -> Result<Self> {
        let metadata = field.metadata();
        let not_null = metadata.get(META_NULLABLE).is_some_and(|value| value == "false");
        Ok(Self {
            name: field.name().clone(),
            logical: meaning(field)?,
            nullable: field.is_nullable() && !not_null,
            key: metadata.get(META_KEY).and_then(|value| value.parse().ok()),
            declared: metadata.get(META_TYPE).cloned(),
            engine: metadata.get(META_ENGINE).cloned(),
            infinity: metadata.get(META_INFINITY).is_some_and(|value| value == "true"),
        })
    }
}

/// The schema that carries columns.
pub fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::to_field).collect::<Vec<_>>()))
}

/// The columns that a schema carries, change columns included.
///
/// # Errors
/// [`crate::ErrorKind::UnsupportedType`] with the name of the first column that is not in the table.
pub fn columns_of(schema: &Schema) -> Result<Vec<Column>> {
    schema.fields().iter().map(|field| Column::from_field(field)).collect()
}

/// The names of a schema's key columns, in the key's order.
pub fn key_columns(schema: &Schema) -> Vec<&str> {
    let place = |field: &FieldRef| field.metadata().get(META_KEY).and_then(|value| value.parse::<u32>().ok());
    let mut keys: Vec<_> = schema
        .fields()
        .iter()
        .filter_map(|field| place(field).map(|key| (key, field.name().as_str())))
        .collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;
    use crate::ErrorKind;

    /// One of every row of the table.
    fn every_type() -> Vec<LogicalType> {
        use LogicalType::*;
        let timestamp = |utc| Timestamp { unit: Unit::Microsecond, utc };
        vec![
            Boolean,
            Int8,
            Int16,
            Int32,
            Int64,
            UInt8,
            UInt16,
            UInt32,
            UInt64,
            Float32,
            Float64,
            Decimal { precision: 38, scale: 0 },
            Decimal { precision: 76, scale: 76 },
            DecimalText { precision: Some(1000), scale: Some(-3) },
            DecimalText { precision: None, scale: None },
            Text,
            Binary,
            FixedBinary(3),
            Date,
            Time(Unit::Microsecond),
            Time(Unit::Nanosecond),
            timestamp(false),
            timestamp(true),
            WideTimestamp,
            OffsetTimestamp(Unit::Nanosecond),
            Duration(Unit::Microsecond),
            Interval,
            Uuid,
            Json,
            Geometry,
            Enum(vec!["a".into(), "b \"c\"".into()]),
            List(Box::new(Uuid)),
            List(Box::new(DecimalText { precision: None, scale: None })),
            Struct(vec![Column::new("x", Int32).not_null(), Column::new("y", Json)]),
            Map(Box::new(Text), Box::new(Decimal { precision: 5, scale: 2 })),
            Opaque { type_name: "int4range".into(), vendor_name: "postgres".into(), binary: false },
            Opaque { type_name: "hierarchyid".into(), vendor_name: "sqlserver".into(), binary: true },
        ]
    }

    #[test]
    fn every_type_comes_back_from_its_field() {
        for logical in every_type() {
            let mut column = Column::new("c", logical).declared("postgres", "t").key(2).with_infinity();
            assert_eq!(Column::from_field(&column.to_field()).unwrap(), column);
            column.nullable = false;
            assert_eq!(Column::from_field(&column.to_field()).unwrap(), column);
            let json = serde_json::to_string(&column).unwrap();
            assert_eq!(serde_json::from_str::<Column>(&json).unwrap(), column);
        }
    }

    #[test]
    fn types_outside_the_table_are_refused_by_name() {
        for data_type in [
            DataType::LargeUtf8,
            DataType::Utf8View,
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Paris".into())),
            DataType::Decimal128(5, -2),
        ] {
            let error = Column::from_field(&Field::new("price", data_type, true)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::UnsupportedType);
            assert!(error.message.starts_with("Column `price`: "), "{error}");
        }
    }

    #[test]
    fn key_columns_come_in_the_order_of_the_key() {
        let schema = schema_of(&[
            Column::new("a", LogicalType::Int32).key(1),
            Column::new("b", LogicalType::Int32),
            Column::new("c", LogicalType::Int32).key(0),
        ]);
        assert_eq!(key_columns(&schema), ["c", "a"]);
    }
}
