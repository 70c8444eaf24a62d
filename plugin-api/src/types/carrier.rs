//! What carries a logical type, and what a field carries: the table itself.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit};

use super::{Column, LogicalType, META_ENUM, META_PRECISION, META_SCALE, Unit};
use crate::{Error, ErrorKind, Result};

const EXTENSION_NAME: &str = "ARROW:extension:name";
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

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
pub(super) fn carrier(logical: &LogicalType) -> (DataType, HashMap<String, String>) {
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
pub(super) fn meaning(field: &Field) -> Result<LogicalType> {
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
