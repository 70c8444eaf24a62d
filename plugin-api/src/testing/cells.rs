//! Values in one spelling, so that equal values of different types compare equal: 1.50 of any decimal type, an
//! instant of any precision, a document with its keys in any order.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{
        Date32Type, Decimal128Type, Decimal256Type, DecimalType, DurationMicrosecondType,
        DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type,
        Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
        Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use serde_json::Value;

use crate::{
    Error, ErrorKind, Result,
    types::{Column, LogicalType, Unit},
};

/// What stands between the values of a line.
pub(super) const SEPARATOR: &str = " | ";

/// A value as text, behind a word for what it means: `number 1.5`, `text abc`; `null` where there is none.
///
/// # Errors
/// [`ErrorKind::UnsupportedType`] for an array that is not the carrier of the column's type.
pub fn cell(column: &Column, array: &dyn Array, row: usize) -> Result<String> {
    if array.is_null(row) {
        return Ok("null".into());
    }
    value(column, array, row).ok_or_else(|| {
        let message = format!("Column `{}` is carried as {}", column.name, array.data_type());
        Error::new(ErrorKind::UnsupportedType, message)
    })?
}

fn value(column: &Column, array: &dyn Array, row: usize) -> Option<Result<String>> {
    macro_rules! primitive {
        ($t:ty) => {
            array.as_primitive_opt::<$t>()?.value(row)
        };
    }
    macro_rules! number {
        ($t:ty) => {
            format!("number {}", primitive!($t))
        };
    }
    let text =
        |family: &str| array.as_string_opt::<i32>().map(|array| format!("{family} {}", array.value(row)));
    let instant = |family: &str, unit, value: i64| {
        if column.infinity && matches!(value, i64::MIN | i64::MAX) {
            return format!("{family} {}infinity", if value < 0 { "-" } else { "" });
        }
        let per_second = per_second(unit);
        let nanos = i128::from(value.rem_euclid(per_second)) * i128::from(1_000_000_000 / per_second);
        format!("{family} {}.{nanos:09}", value.div_euclid(per_second))
    };
    Some(Ok(match &column.logical {
        LogicalType::Boolean => format!("boolean {}", array.as_boolean_opt()?.value(row)),
        LogicalType::Int8 => number!(Int8Type),
        LogicalType::Int16 => number!(Int16Type),
        LogicalType::Int32 => number!(Int32Type),
        LogicalType::Int64 => number!(Int64Type),
        LogicalType::UInt8 => number!(UInt8Type),
        LogicalType::UInt16 => number!(UInt16Type),
        LogicalType::UInt32 => number!(UInt32Type),
        LogicalType::UInt64 => number!(UInt64Type),
        LogicalType::Float32 => format!("float {:?}", f64::from(primitive!(Float32Type))),
        LogicalType::Float64 => format!("float {:?}", primitive!(Float64Type)),
        LogicalType::Decimal { precision, scale } => {
            let scale = i8::try_from(*scale).ok()?;
            let digits = if *precision <= 38 {
                Decimal128Type::format_decimal(primitive!(Decimal128Type), *precision, scale)
            } else {
                Decimal256Type::format_decimal(primitive!(Decimal256Type), *precision, scale)
            };
            format!("number {}", plain(&digits))
        }
        LogicalType::DecimalText { .. } => {
            format!("number {}", plain(array.as_string_opt::<i32>()?.value(row)))
        }
        LogicalType::Text | LogicalType::Enum(_) | LogicalType::Opaque { binary: false, .. } => text("text")?,
        LogicalType::Json => match serde_json::from_str(array.as_string_opt::<i32>()?.value(row)) {
            Ok(json) => format!("json {}", sorted(json)),
            Err(error) => return Some(Err(error.into())),
        },
        LogicalType::Binary | LogicalType::Geometry | LogicalType::Opaque { binary: true, .. } => {
            format!("binary {}", hex(array.as_binary_opt::<i32>()?.value(row)))
        }
        LogicalType::FixedBinary(_) => {
            format!("binary {}", hex(array.as_fixed_size_binary_opt()?.value(row)))
        }
        LogicalType::Uuid => format!("uuid {}", hex(array.as_fixed_size_binary_opt()?.value(row))),
        LogicalType::Date => {
            let days = primitive!(Date32Type);
            match days {
                i32::MIN if column.infinity => "date -infinity".into(),
                i32::MAX if column.infinity => "date infinity".into(),
                _ => format!("date {days}"),
            }
        }
        LogicalType::Time(Unit::Nanosecond) => format!("time {}", primitive!(Time64NanosecondType)),
        LogicalType::Time(_) => format!("time {}", i128::from(primitive!(Time64MicrosecondType)) * 1000),
        LogicalType::Timestamp { unit, utc } => {
            let value = match unit {
                Unit::Second => primitive!(TimestampSecondType),
                Unit::Millisecond => primitive!(TimestampMillisecondType),
                Unit::Microsecond => primitive!(TimestampMicrosecondType),
                Unit::Nanosecond => primitive!(TimestampNanosecondType),
            };
            instant(if *utc { "instant" } else { "timestamp" }, *unit, value)
        }
        LogicalType::WideTimestamp => {
            let fields = array.as_struct_opt()?;
            let seconds = fields.column(0).as_primitive_opt::<Int64Type>()?.value(row);
            let nanos = fields.column(1).as_primitive_opt::<Int32Type>()?.value(row);
            let offsets = fields.column(2).as_primitive_opt::<Int16Type>()?;
            if offsets.is_valid(row) {
                format!("offset {seconds}.{nanos:09} {}", offsets.value(row))
            } else {
                format!("timestamp {seconds}.{nanos:09}")
            }
        }
        LogicalType::OffsetTimestamp(unit) => {
            let fields = array.as_struct_opt()?;
            let utc = Column::new("timestamp", LogicalType::Timestamp { unit: *unit, utc: true });
            let offset = fields.column(1).as_primitive_opt::<Int16Type>()?.value(row);
            match value(&utc, fields.column(0), row)? {
                Ok(text) => format!("{} {offset}", text.replace("instant", "offset")),
                error => return Some(error),
            }
        }
        LogicalType::Duration(unit) => {
            let value = match unit {
                Unit::Second => primitive!(DurationSecondType),
                Unit::Millisecond => primitive!(DurationMillisecondType),
                Unit::Microsecond => primitive!(DurationMicrosecondType),
                Unit::Nanosecond => primitive!(DurationNanosecondType),
            };
            format!("interval 0 0 {}", i128::from(value) * i128::from(1_000_000_000 / per_second(*unit)))
        }
        LogicalType::Interval => {
            let value = primitive!(IntervalMonthDayNanoType);
            format!("interval {} {} {}", value.months, value.days, value.nanoseconds)
        }
        LogicalType::List(item) => {
            let items = array.as_list_opt::<i32>()?.value(row);
            let item = Column::new("item", (**item).clone());
            match (0..items.len()).map(|index| cell(&item, &items, index)).collect::<Result<Vec<_>>>() {
                Ok(items) => format!("list {items:?}"),
                Err(error) => return Some(Err(error)),
            }
        }
        LogicalType::Struct(columns) => {
            let fields = array.as_struct_opt()?;
            let one =
                |(column, array): (&Column, &ArrayRef)| Ok((column.name.clone(), cell(column, array, row)?));
            match columns.iter().zip(fields.columns()).map(one).collect::<Result<Vec<_>>>() {
                Ok(fields) => format!("struct {fields:?}"),
                Err(error) => return Some(Err(error)),
            }
        }
        LogicalType::Map(key, item) => {
            let entries = array.as_map_opt()?.value(row);
            let (key, item) = (Column::new("key", (**key).clone()), Column::new("value", (**item).clone()));
            let one =
                |index| Ok((cell(&key, entries.column(0), index)?, cell(&item, entries.column(1), index)?));
            match (0..entries.len()).map(one).collect::<Result<std::collections::BTreeMap<_, _>>>() {
                Ok(entries) => format!("map {entries:?}"),
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

fn per_second(unit: Unit) -> i64 {
    match unit {
        Unit::Second => 1,
        Unit::Millisecond => 1000,
        Unit::Microsecond => 1_000_000,
        Unit::Nanosecond => 1_000_000_000,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digits without the zeros that say nothing.
fn plain(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let digits = digits.trim_start_matches('0');
    match digits {
        "" => "0".into(),
        _ if digits.starts_with('.') => format!("{sign}0{digits}"),
        _ => format!("{sign}{digits}"),
    }
}

fn sorted(json: Value) -> Value {
    match json {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.sort_by(|left, right| left.0.cmp(&right.0));
            Value::Object(fields.into_iter().collect())
        }
        other => other,
    }
}

/// One text a row: the values of `names`, in that order.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] for a column that is not there, and what [`cell`] answers.
pub fn lines(batch: &RecordBatch, names: &[&str]) -> Result<Vec<String>> {
    let columns = names.iter().map(|name| {
        let place = batch.schema_ref().index_of(name).map_err(|_| {
            let there: Vec<_> =
                batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
            Error::new(ErrorKind::SchemaMismatch, format!("There is no column `{name}` among {there:?}"))
        })?;
        Ok((Column::from_field(batch.schema_ref().field(place))?, batch.column(place)))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let line = |row| {
        let cells = columns.iter().map(|(column, array)| cell(column, array, row));
        Ok(cells.collect::<Result<Vec<_>>>()?.join(SEPARATOR))
    };
    (0..batch.num_rows()).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for (digits, expected) in
            [("1.50", "1.5"), ("-0.00", "0"), ("007", "7"), ("-.5", "-0.5"), ("100", "100"), ("NaN", "NaN")]
        {
            assert_eq!(plain(digits), expected);
        }
    }

    #[test]
    fn documents_have_one_order() {
        let json = sorted(serde_json::json!({ "b": [{ "d": 1, "c": 2 }], "a": null }));
        assert_eq!(json.to_string(), r#"{"a":null,"b":[{"c":2,"d":1}]}"#);
    }
}
