//! Values of columns as the bytes that Redis stores: text and bytes as they are, everything else as text that no two
//! different values share.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hub_plugin_api::{
    Error, ErrorKind, Result, Value,
    arrow::{
        array::{Array, AsArray},
        datatypes::{
            DataType, Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
            DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field, Float32Type,
            Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
            Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
            TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
            UInt32Type, UInt64Type,
        },
    },
    types::{Column, LogicalType},
};
use serde_json::Map;

mod calendar;

/// Writes the values of one column.
#[derive(Clone, Debug)]
pub struct TextColumn {
    column: Column,
}

impl TextColumn {
    /// Of a column that a field carries.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] with the column's name.
    pub fn of(field: &Field) -> Result<Self> {
        Ok(Self { column: Column::from_field(field)? })
    }

    /// The column.
    pub fn column(&self) -> &Column {
        &self.column
    }

    /// A value's bytes; nothing for null.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name for a value that is none of its type.
    pub fn bytes(&self, array: &dyn Array, row: usize) -> Result<Option<Vec<u8>>> {
        if array.is_null(row) {
            return Ok(None);
        }
        let logical = &self.column.logical;
        let bytes = match logical {
            LogicalType::Binary | LogicalType::Geometry | LogicalType::Opaque { binary: true, .. } => {
                array.as_binary_opt::<i32>().map(|array| array.value(row).to_vec())
            }
            LogicalType::FixedBinary(_) => {
                array.as_fixed_size_binary_opt().map(|array| array.value(row).to_vec())
            }
            LogicalType::List(_) | LogicalType::Struct(_) | LogicalType::Map(..) => {
                json(logical, array, row).map(|value| value.to_string().into_bytes())
            }
            _ => text(&self.column, array, row).map(String::into_bytes),
        };
        match bytes {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(Error::new(
                ErrorKind::InvalidData,
                format!("Column `{}` holds a value that is none of its type", self.column.name),
            )),
        }
    }
}

/// A scalar as text; nothing for what is no value of its type.
fn text(column: &Column, array: &dyn Array, row: usize) -> Option<String> {
    let logical = &column.logical;
    let infinite = |value: i64| {
        let text = match value {
            i64::MAX => "infinity",
            i64::MIN => "-infinity",
            _ => return None,
        };
        column.infinity.then(|| text.to_owned())
    };
    match logical {
        LogicalType::Date => {
            let days = array.as_primitive_opt::<Date32Type>()?.value(row);
            match days {
                i32::MAX if column.infinity => Some("infinity".into()),
                i32::MIN if column.infinity => Some("-infinity".into()),
                days => Some(calendar::date(days.into())),
            }
        }
        LogicalType::Timestamp { utc, .. } => {
            let (value, digits) = timestamp(array, row)?;
            infinite(value).or_else(|| {
                let zone = if *utc { "Z" } else { "" };
                Some(format!("{}{zone}", calendar::moment(value.into(), digits)))
            })
        }
        logical => plain(logical, array, row),
    }
}

fn plain(logical: &LogicalType, array: &dyn Array, row: usize) -> Option<String> {
    macro_rules! number {
        ($t:ty) => {
            Some(array.as_primitive_opt::<$t>()?.value(row).to_string())
        };
    }
    match logical {
        LogicalType::Boolean => Some(array.as_boolean_opt()?.value(row).to_string()),
        LogicalType::Int8 => number!(Int8Type),
        LogicalType::Int16 => number!(Int16Type),
        LogicalType::Int32 => number!(Int32Type),
        LogicalType::Int64 => number!(Int64Type),
        LogicalType::UInt8 => number!(UInt8Type),
        LogicalType::UInt16 => number!(UInt16Type),
        LogicalType::UInt32 => number!(UInt32Type),
        LogicalType::UInt64 => number!(UInt64Type),
        // The shortest text that is read as the same number.
        LogicalType::Float32 => Some(format!("{:?}", array.as_primitive_opt::<Float32Type>()?.value(row))),
        LogicalType::Float64 => Some(format!("{:?}", array.as_primitive_opt::<Float64Type>()?.value(row))),
        LogicalType::Decimal { .. } => match array.data_type() {
            DataType::Decimal128(..) => {
                Some(array.as_primitive_opt::<Decimal128Type>()?.value_as_string(row))
            }
            _ => Some(array.as_primitive_opt::<Decimal256Type>()?.value_as_string(row)),
        },
        LogicalType::Text
        | LogicalType::Json
        | LogicalType::Enum(_)
        | LogicalType::DecimalText { .. }
        | LogicalType::Opaque { binary: false, .. } => {
            Some(array.as_string_opt::<i32>()?.value(row).to_owned())
        }
        LogicalType::Uuid => {
            let bytes = array.as_fixed_size_binary_opt()?.value(row);
            let mut text = String::with_capacity(36);
            for (place, byte) in bytes.iter().enumerate() {
                if matches!(place, 4 | 6 | 8 | 10) {
                    text.push('-');
                }
                text.push_str(&format!("{byte:02x}"));
            }
            Some(text)
        }
        LogicalType::Date | LogicalType::Timestamp { .. } => {
            text(&Column::new("item", logical.clone()), array, row)
        }
        LogicalType::Time(_) => match array.data_type() {
            DataType::Time64(TimeUnit::Microsecond) => {
                calendar::time(array.as_primitive_opt::<Time64MicrosecondType>()?.value(row), 6)
            }
            _ => calendar::time(array.as_primitive_opt::<Time64NanosecondType>()?.value(row), 9),
        },
        LogicalType::WideTimestamp => {
            let parts = array.as_struct_opt()?;
            let seconds = parts.column(0).as_primitive_opt::<Int64Type>()?.value(row);
            let nanos = parts.column(1).as_primitive_opt::<Int32Type>()?.value(row);
            let offset = parts.column(2).as_primitive_opt::<Int16Type>()?;
            let offset = offset.is_valid(row).then(|| offset.value(row));
            let local = i128::from(seconds) + i128::from(offset.unwrap_or_default()) * 60;
            let moment = calendar::moment(local * 1_000_000_000 + i128::from(nanos), 9);
            Some(format!("{moment}{}", offset.map(calendar::offset).unwrap_or_default()))
        }
        LogicalType::OffsetTimestamp(_) => {
            let parts = array.as_struct_opt()?;
            let (value, digits) = timestamp(parts.column(0).as_ref(), row)?;
            let offset = parts.column(1).as_primitive_opt::<Int16Type>()?.value(row);
            let local = i128::from(value) + i128::from(offset) * 60 * 10_i128.pow(digits);
            Some(format!("{}{}", calendar::moment(local, digits), calendar::offset(offset)))
        }
        LogicalType::Duration(_) => {
            let (value, digits) = match array.data_type() {
                DataType::Duration(TimeUnit::Second) => {
                    (array.as_primitive_opt::<DurationSecondType>()?.value(row), 0)
                }
                DataType::Duration(TimeUnit::Millisecond) => {
                    (array.as_primitive_opt::<DurationMillisecondType>()?.value(row), 3)
                }
                DataType::Duration(TimeUnit::Microsecond) => {
                    (array.as_primitive_opt::<DurationMicrosecondType>()?.value(row), 6)
                }
                _ => (array.as_primitive_opt::<DurationNanosecondType>()?.value(row), 9),
            };
            Some(format!("PT{}S", calendar::seconds(value.into(), digits)))
        }
        LogicalType::Interval => {
            let value = array.as_primitive_opt::<IntervalMonthDayNanoType>()?.value(row);
            let seconds = calendar::seconds(value.nanoseconds.into(), 9);
            Some(format!("P{}M{}DT{seconds}S", value.months, value.days))
        }
        _ => None,
    }
}

/// The number and how many digits behind the second it has.
fn timestamp(array: &dyn Array, row: usize) -> Option<(i64, u32)> {
    Some(match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            (array.as_primitive_opt::<TimestampSecondType>()?.value(row), 0)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (array.as_primitive_opt::<TimestampMillisecondType>()?.value(row), 3)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (array.as_primitive_opt::<TimestampMicrosecondType>()?.value(row), 6)
        }
        _ => (array.as_primitive_opt::<TimestampNanosecondType>()?.value(row), 9),
    })
}

/// A value inside JSON: numbers and texts as they are, bytes as base64, everything else as text.
fn json(logical: &LogicalType, array: &dyn Array, row: usize) -> Option<Value> {
    if array.is_null(row) {
        return Some(Value::Null);
    }
    let number = |text: String| serde_json::from_str(&text).ok();
    Some(match logical {
        LogicalType::List(item) => {
            let items = array.as_list_opt::<i32>()?.value(row);
            let items = (0..items.len()).map(|place| json(item, items.as_ref(), place));
            Value::Array(items.collect::<Option<_>>()?)
        }
        LogicalType::Struct(columns) => {
            let parts = array.as_struct_opt()?;
            let mut object = Map::new();
            for (column, part) in columns.iter().zip(parts.columns()) {
                object.insert(column.name.clone(), json(&column.logical, part.as_ref(), row)?);
            }
            Value::Object(object)
        }
        LogicalType::Map(key, value) => {
            let entries = array.as_map_opt()?.value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let pairs = (0..entries.len())
                .map(|place| Some((json(key, keys.as_ref(), place)?, json(value, values.as_ref(), place)?)));
            map(pairs.collect::<Option<Vec<_>>>()?)
        }
        LogicalType::Boolean => Value::Bool(array.as_boolean_opt()?.value(row)),
        LogicalType::Int8
        | LogicalType::Int16
        | LogicalType::Int32
        | LogicalType::Int64
        | LogicalType::UInt8
        | LogicalType::UInt16
        | LogicalType::UInt32
        | LogicalType::UInt64 => number(plain(logical, array, row)?)?,
        LogicalType::Float32 | LogicalType::Float64 => {
            let text = plain(logical, array, row)?;
            number(text.clone()).unwrap_or(Value::String(text))
        }
        LogicalType::Binary | LogicalType::Geometry | LogicalType::Opaque { binary: true, .. } => {
            Value::String(BASE64_STANDARD.encode(array.as_binary_opt::<i32>()?.value(row)))
        }
        LogicalType::FixedBinary(_) => {
            Value::String(BASE64_STANDARD.encode(array.as_fixed_size_binary_opt()?.value(row)))
        }
        LogicalType::Json => {
            let text = array.as_string_opt::<i32>()?.value(row);
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        }
        other => Value::String(plain(other, array, row)?),
    })
}

/// An object where all keys are texts, each once; a list of pairs otherwise.
fn map(pairs: Vec<(Value, Value)>) -> Value {
    let mut object = Map::new();
    for (key, value) in &pairs {
        if let Value::String(key) = key {
            object.insert(key.clone(), value.clone());
        }
    }
    if object.len() == pairs.len() {
        return Value::Object(object);
    }
    Value::Array(pairs.into_iter().map(|(key, value)| Value::Array(vec![key, value])).collect())
}

/// A row's columns as a JSON object; null values are left out.
pub fn row_json(
    columns: &[(TextColumn, usize)],
    batch: &hub_plugin_api::arrow::array::RecordBatch,
    row: usize,
) -> Value {
    let mut object = Map::new();
    for (column, place) in columns {
        let array = batch.column(*place);
        if array.is_valid(row) {
            let value = json(&column.column.logical, array.as_ref(), row);
            object.insert(column.column.name.clone(), value.unwrap_or(Value::Null));
        }
    }
    Value::Object(object)
}
