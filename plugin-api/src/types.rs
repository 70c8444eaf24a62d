//! The one table of types on the boundary: what a value means ([`LogicalType`]) and what carries it (an Arrow field).
//!
//! A connector maps its database's types to [`LogicalType`] and back in its own `types.rs`; nothing else decides how
//! a value is carried. What is not in the table is refused by name.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

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

const EXTENSION_NAME: &str = "ARROW:extension:name";
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

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
    /// [`ErrorKind::UnsupportedType`] with the column's name for what is not in the table.
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
/// [`ErrorKind::UnsupportedType`] with the name of the first column that is not in the table.
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

fn list_item(item: &LogicalType) -> Field {
    Column::new("item", item.clone()).to_field()
}

fn map_entries(key: &LogicalType, value: &LogicalType) -> Field {
    let key = Column::new("key", key.clone()).not_null().to_field().with_nullable(false);
    let value = Column::new("value", value.clone()).to_field();
    Field::new("entries", DataType::Struct(Fields::from(vec![key, value])), false)
}

/// The struct behind `hub.timestamp`.
pub fn wide_timestamp_fields() -> Fields {
    Fields::from(vec![
        Field::new("seconds", DataType::Int64, false),
        Field::new("nanos", DataType::Int32, false),
        Field::new("offset_minutes", DataType::Int16, true),
    ])
}

/// The struct behind `arrow.timestamp_with_offset`.
pub fn offset_timestamp_fields(unit: Unit) -> Fields {
    Fields::from(vec![
        Field::new("timestamp", DataType::Timestamp(unit.to_arrow(), Some("UTC".into())), false),
        Field::new("offset_minutes", DataType::Int16, false),
    ])
}

/// A logical type's Arrow type and the metadata that goes with it.
fn carrier(logical: &LogicalType) -> (DataType, HashMap<String, String>) {
    let extension = |name: &str, metadata: &str| {
        HashMap::from([
            (EXTENSION_NAME.to_owned(), name.to_owned()),
            (EXTENSION_METADATA.to_owned(), metadata.to_owned()),
        ])
    };
    let mut metadata = HashMap::new();
    let data_type = match logical {
        LogicalType::Boolean => DataType::Boolean,
        LogicalType::Int8 => DataType::Int8,
        LogicalType::Int16 => DataType::Int16,
        LogicalType::Int32 => DataType::Int32,
        LogicalType::Int64 => DataType::Int64,
        LogicalType::UInt8 => DataType::UInt8,
        LogicalType::UInt16 => DataType::UInt16,
        LogicalType::UInt32 => DataType::UInt32,
        LogicalType::UInt64 => DataType::UInt64,
        LogicalType::Float32 => DataType::Float32,
        LogicalType::Float64 => DataType::Float64,
        LogicalType::Decimal { precision, scale } => decimal_type(*precision, *scale),
        LogicalType::DecimalText { precision, scale } => {
            metadata = extension("hub.decimal", "");
            if let Some(precision) = precision {
                metadata.insert(META_PRECISION.into(), precision.to_string());
            }
            if let Some(scale) = scale {
                metadata.insert(META_SCALE.into(), scale.to_string());
            }
            DataType::Utf8
        }
        LogicalType::Text => DataType::Utf8,
        LogicalType::Binary => DataType::Binary,
        LogicalType::FixedBinary(length) => DataType::FixedSizeBinary(*length),
        LogicalType::Date => DataType::Date32,
        LogicalType::Time(unit) => DataType::Time64(unit.to_arrow()),
        LogicalType::Timestamp { unit, utc } => {
            DataType::Timestamp(unit.to_arrow(), utc.then(|| Arc::from("UTC")))
        }
        LogicalType::WideTimestamp => {
            metadata = extension("hub.timestamp", "");
            DataType::Struct(wide_timestamp_fields())
        }
        LogicalType::OffsetTimestamp(unit) => {
            metadata = extension("arrow.timestamp_with_offset", "");
            DataType::Struct(offset_timestamp_fields(*unit))
        }
        LogicalType::Duration(unit) => DataType::Duration(unit.to_arrow()),
        LogicalType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        LogicalType::Uuid => {
            metadata = extension("arrow.uuid", "");
            DataType::FixedSizeBinary(16)
        }
        LogicalType::Json => {
            metadata = extension("arrow.json", "");
            DataType::Utf8
        }
        LogicalType::Geometry => {
            metadata = extension("geoarrow.wkb", "{}");
            DataType::Binary
        }
        LogicalType::Enum(values) => {
            metadata.insert(META_ENUM.into(), serde_json::json!(values).to_string());
            DataType::Utf8
        }
        LogicalType::List(item) => DataType::List(Arc::new(list_item(item))),
        LogicalType::Struct(columns) => DataType::Struct(columns.iter().map(Column::to_field).collect()),
        LogicalType::Map(key, value) => DataType::Map(Arc::new(map_entries(key, value)), false),
        LogicalType::Opaque { type_name, vendor_name, binary } => {
            let json = serde_json::json!({ "type_name": type_name, "vendor_name": vendor_name });
            metadata = extension("arrow.opaque", &json.to_string());
            if *binary { DataType::Binary } else { DataType::Utf8 }
        }
    };
    (data_type, metadata)
}

fn decimal_type(precision: u8, scale: u8) -> DataType {
    match i8::try_from(scale) {
        Ok(scale) if precision <= 38 => DataType::Decimal128(precision, scale),
        Ok(scale) => DataType::Decimal256(precision, scale),
        // A scale above 127 breaks the rule of the variant; nothing maps it back.
        Err(_) => DataType::Null,
    }
}

/// What a field means; the inverse of [`carrier`].
fn meaning(field: &Field) -> Result<LogicalType> {
    let metadata = field.metadata();
    let text = |key: &str| metadata.get(key).map(String::as_str);
    let refuse = |what: String| {
        Error::new(ErrorKind::UnsupportedType, format!("Column `{}`: {what}", field.name()))
            .with_hint("Only the types of the boundary's table are carried; see `hub_plugin_api::types`")
    };
    let json = |key: &str| text(key).map(serde_json::from_str::<serde_json::Value>);
    Ok(match (text(EXTENSION_NAME), field.data_type()) {
        (Some("hub.decimal"), DataType::Utf8) => LogicalType::DecimalText {
            precision: text(META_PRECISION).and_then(|value| value.parse().ok()),
            scale: text(META_SCALE).and_then(|value| value.parse().ok()),
        },
        (Some("hub.timestamp"), DataType::Struct(fields)) if *fields == wide_timestamp_fields() => {
            LogicalType::WideTimestamp
        }
        (Some("arrow.timestamp_with_offset"), DataType::Struct(fields)) => {
            let unit = match fields.first().map(|first| first.data_type()) {
                Some(DataType::Timestamp(unit, _)) => Unit::from_arrow(*unit),
                _ => return Err(refuse("a timestamp with offset needs the fields of its extension".into())),
            };
            if *fields != offset_timestamp_fields(unit) {
                return Err(refuse("a timestamp with offset needs the fields of its extension".into()));
            }
            LogicalType::OffsetTimestamp(unit)
        }
        (Some("arrow.uuid"), DataType::FixedSizeBinary(16)) => LogicalType::Uuid,
        (Some("arrow.json"), DataType::Utf8) => LogicalType::Json,
        (Some("geoarrow.wkb"), DataType::Binary) => LogicalType::Geometry,
        (Some("arrow.opaque"), carrier @ (DataType::Utf8 | DataType::Binary)) => {
            let Some(Ok(json)) = json(EXTENSION_METADATA) else {
                return Err(refuse("an opaque type needs its names".into()));
            };
            let name =
                |key: &str| json.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
            LogicalType::Opaque {
                type_name: name("type_name"),
                vendor_name: name("vendor_name"),
                binary: *carrier == DataType::Binary,
            }
        }
        (Some(extension), data_type) => {
            return Err(refuse(format!("extension `{extension}` over {data_type} is not in the table")));
        }
        (None, DataType::Boolean) => LogicalType::Boolean,
        (None, DataType::Int8) => LogicalType::Int8,
        (None, DataType::Int16) => LogicalType::Int16,
        (None, DataType::Int32) => LogicalType::Int32,
        (None, DataType::Int64) => LogicalType::Int64,
        (None, DataType::UInt8) => LogicalType::UInt8,
        (None, DataType::UInt16) => LogicalType::UInt16,
        (None, DataType::UInt32) => LogicalType::UInt32,
        (None, DataType::UInt64) => LogicalType::UInt64,
        (None, DataType::Float32) => LogicalType::Float32,
        (None, DataType::Float64) => LogicalType::Float64,
        (None, DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) => {
            let scale = u8::try_from(*scale)
                .ok()
                .filter(|scale| scale <= precision)
                .ok_or_else(|| refuse(format!("scale {scale} is not between 0 and precision {precision}")))?;
            LogicalType::Decimal { precision: *precision, scale }
        }
        (None, DataType::Utf8) => match json(META_ENUM) {
            Some(values) => LogicalType::Enum(
                values
                    .and_then(serde_json::from_value)
                    .map_err(|_| refuse("the values of an enum must be a list of texts".into()))?,
            ),
            None => LogicalType::Text,
        },
        (None, DataType::Binary) => LogicalType::Binary,
        (None, DataType::FixedSizeBinary(length)) => LogicalType::FixedBinary(*length),
        (None, DataType::Date32) => LogicalType::Date,
        (None, DataType::Time64(unit)) => LogicalType::Time(Unit::from_arrow(*unit)),
        (None, DataType::Timestamp(unit, None)) => {
            LogicalType::Timestamp { unit: Unit::from_arrow(*unit), utc: false }
        }
        (None, DataType::Timestamp(unit, Some(zone))) if matches!(&**zone, "UTC" | "+00:00") => {
            LogicalType::Timestamp { unit: Unit::from_arrow(*unit), utc: true }
        }
        (None, DataType::Timestamp(_, Some(zone))) => {
            return Err(refuse(format!("timestamps are carried in UTC, not in `{zone}`")));
        }
        (None, DataType::Duration(unit)) => LogicalType::Duration(Unit::from_arrow(*unit)),
        (None, DataType::Interval(IntervalUnit::MonthDayNano)) => LogicalType::Interval,
        (None, DataType::List(item)) => LogicalType::List(Box::new(meaning(item)?)),
        (None, DataType::Struct(fields)) => {
            LogicalType::Struct(fields.iter().map(|field| Column::from_field(field)).collect::<Result<_>>()?)
        }
        (None, DataType::Map(entries, _)) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                LogicalType::Map(Box::new(meaning(&fields[0])?), Box::new(meaning(&fields[1])?))
            }
            _ => return Err(refuse("a map needs a key and a value".into())),
        },
        (None, other) => return Err(refuse(format!("the Arrow type {other} is not carried"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
