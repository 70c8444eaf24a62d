//! Values as JSON and as text: for structs, maps and nested lists, which have no binary form at the destination.

use std::io::Write as _;

use arrow::{
    array::{Array, AsArray, ListArray, MapArray, StructArray},
    datatypes::{
        Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType,
        DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, Time64NanosecondType,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
        UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use hub_plugin_api::{
    arrow,
    types::{LogicalType, Unit},
};

use super::encode_time::{OUT_OF_RANGE, civil};

/// Appends a value as JSON text. Decimals keep every digit as JSON numbers; what JSON has no form for is a text.
pub(super) fn put_json(
    out: &mut Vec<u8>,
    logical: &LogicalType,
    array: &dyn Array,
    row: usize,
) -> Result<(), &'static str> {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match logical {
        LogicalType::List(item) => put_json_list(out, item, array.as_list(), row),
        LogicalType::Struct(_) => put_json_struct(out, logical, array.as_struct(), row),
        LogicalType::Map(key, value) => put_json_map(out, key, value, array.as_map(), row),
        LogicalType::Json => {
            // A document within a document: its own text, which the server parses with the rest.
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
            Ok(())
        }
        _ if is_bare(logical, array, row) => put_text(out, logical, array, row),
        _ => {
            let mut text = Vec::new();
            put_text(&mut text, logical, array, row)?;
            put_json_string(out, &text)
        }
    }
}

fn put_json_list(
    out: &mut Vec<u8>,
    item: &LogicalType,
    list: &ListArray,
    row: usize,
) -> Result<(), &'static str> {
    let values = list.value(row);
    out.push(b'[');
    for index in 0..values.len() {
        if index > 0 {
            out.push(b',');
        }
        put_json(out, item, &values, index)?;
    }
    out.push(b']');
    Ok(())
}

fn put_json_struct(
    out: &mut Vec<u8>,
    logical: &LogicalType,
    array: &StructArray,
    row: usize,
) -> Result<(), &'static str> {
    let LogicalType::Struct(columns) = logical else { return Err("is not a struct") };
    out.push(b'{');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_json_string(out, column.name.as_bytes())?;
        out.push(b':');
        put_json(out, &column.logical, array.column(index), row)?;
    }
    out.push(b'}');
    Ok(())
}

fn put_json_map(
    out: &mut Vec<u8>,
    key: &LogicalType,
    value: &LogicalType,
    map: &MapArray,
    row: usize,
) -> Result<(), &'static str> {
    let entries = map.value(row);
    out.push(b'{');
    let mut text = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for index in 0..entries.len() {
        if index > 0 {
            out.push(b',');
        }
        text.clear();
        put_text(&mut text, key, entries.column(0), index)?;
        if !seen.insert(text.clone()) {
            return Err("holds a key twice, of which JSON would keep one");
        }
        put_json_string(out, &text)?;
        out.push(b':');
        put_json(out, value, entries.column(1), index)?;
    }
    out.push(b'}');
    Ok(())
}

/// Whether the value's text is also its JSON.
fn is_bare(logical: &LogicalType, array: &dyn Array, row: usize) -> bool {
    use LogicalType as T;
    match logical {
        T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::UInt8
        | T::UInt16
        | T::UInt32
        | T::UInt64 => true,
        T::Decimal { .. } => true,
        T::DecimalText { .. } => {
            !matches!(array.as_string::<i32>().value(row), "NaN" | "Infinity" | "-Infinity")
        }
        T::Float32 => array.as_primitive::<Float32Type>().value(row).is_finite(),
        T::Float64 => array.as_primitive::<Float64Type>().value(row).is_finite(),
        _ => false,
    }
}

fn put_json_string(out: &mut Vec<u8>, text: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8")?;
    serde_json::to_writer(out, text).map_err(|_| "cannot be written as JSON")
}

/// Whether [`put_text`] writes such values.
pub(super) fn has_text(logical: &LogicalType) -> bool {
    !matches!(logical, LogicalType::List(_) | LogicalType::Struct(_) | LogicalType::Map(..))
}

/// Appends a value that is not null as text that names it exactly: ISO 8601, canonical digits, hex after `\x`.
pub(super) fn put_text(
    out: &mut Vec<u8>,
    logical: &LogicalType,
    array: &dyn Array,
    row: usize,
) -> Result<(), &'static str> {
    use LogicalType as T;
    macro_rules! show {
        ($type:ty) => {
            print(out, format_args!("{}", array.as_primitive::<$type>().value(row)))
        };
    }
    match logical {
        T::Boolean => print(out, format_args!("{}", array.as_boolean().value(row))),
        T::Int8 => show!(Int8Type),
        T::Int16 => show!(Int16Type),
        T::Int32 => show!(Int32Type),
        T::Int64 => show!(Int64Type),
        T::UInt8 => show!(UInt8Type),
        T::UInt16 => show!(UInt16Type),
        T::UInt32 => show!(UInt32Type),
        T::UInt64 => show!(UInt64Type),
        T::Float32 => put_float(out, array.as_primitive::<Float32Type>().value(row)),
        T::Float64 => put_float(out, array.as_primitive::<Float64Type>().value(row)),
        T::Decimal { precision: 0..=38, scale } => {
            put_digits(out, &array.as_primitive::<Decimal128Type>().value(row).to_string(), *scale);
        }
        T::Decimal { scale, .. } => {
            put_digits(out, &array.as_primitive::<Decimal256Type>().value(row).to_string(), *scale);
        }
        T::Text | T::DecimalText { .. } | T::Json | T::Enum(_) | T::Opaque { binary: false, .. } => {
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
        }
        T::Binary | T::Geometry | T::Opaque { binary: true, .. } => {
            put_hex(out, b"\\x", array.as_binary::<i32>().value(row));
        }
        T::FixedBinary(_) => put_hex(out, b"\\x", array.as_fixed_size_binary().value(row)),
        T::Uuid => {
            let bytes = array.as_fixed_size_binary().value(row);
            for (index, part) in
                [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]].iter().enumerate()
            {
                put_hex(out, if index == 0 { b"" } else { b"-" }, part);
            }
        }
        T::Date => put_date(out, i64::from(array.as_primitive::<Date32Type>().value(row))),
        T::Time(unit) => {
            let value = match unit {
                Unit::Nanosecond => array.as_primitive::<Time64NanosecondType>().value(row),
                _ => array.as_primitive::<Time64MicrosecondType>().value(row),
            };
            let per_second = per_second(*unit);
            put_time(out, value / per_second, ((value % per_second) * (1_000_000_000 / per_second)) as u32);
        }
        T::Timestamp { unit, utc } => {
            put_instant(out, timestamp_value(array, *unit, row), *unit, 0);
            if *utc {
                out.push(b'Z');
            }
        }
        T::WideTimestamp => {
            let fields = array.as_struct();
            let offset = fields.column(2).as_primitive::<Int16Type>();
            let offset = offset.is_valid(row).then(|| offset.value(row));
            let seconds = fields.column(0).as_primitive::<Int64Type>().value(row);
            let nanos = fields.column(1).as_primitive::<Int32Type>().value(row);
            let nanos =
                u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000).ok_or(OUT_OF_RANGE)?;
            let local = seconds.checked_add(i64::from(offset.unwrap_or(0)) * 60).ok_or(OUT_OF_RANGE)?;
            put_date_time(out, local, nanos);
            if let Some(offset) = offset {
                put_offset(out, offset);
            }
        }
        T::OffsetTimestamp(unit) => {
            let fields = array.as_struct();
            let offset = fields.column(1).as_primitive::<Int16Type>().value(row);
            put_instant(out, timestamp_value(fields.column(0), *unit, row), *unit, offset);
            put_offset(out, offset);
        }
        T::Duration(unit) => put_duration(out, array, *unit, row),
        T::Interval => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            print(out, format_args!("P{}M{}DT", value.months, value.days));
            put_seconds(out, i128::from(value.nanoseconds));
        }
        _ => return Err("has no text form"),
    }
    Ok(())
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(text);
}

fn put_float<F: std::fmt::Debug + PartialEq + Copy + Into<f64>>(out: &mut Vec<u8>, value: F) {
    let wide: f64 = value.into();
    match wide {
        _ if wide.is_nan() => out.extend_from_slice(b"NaN"),
        _ if wide == f64::INFINITY => out.extend_from_slice(b"Infinity"),
        _ if wide == f64::NEG_INFINITY => out.extend_from_slice(b"-Infinity"),
        // The shortest digits that come back as the same value.
        _ => print(out, format_args!("{value:?}")),
    }
}

/// Puts the point into the digits of a scaled number.
fn put_digits(out: &mut Vec<u8>, digits: &str, scale: u8) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let scale = usize::from(scale);
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let point = if scale == 0 { "" } else { "." };
    print(out, format_args!("{sign}{whole}{point}{fraction}"));
}

fn put_hex(out: &mut Vec<u8>, prefix: &[u8], bytes: &[u8]) {
    out.extend_from_slice(prefix);
    for byte in bytes {
        out.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
        out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
    }
}

fn per_second(unit: Unit) -> i64 {
    match unit {
        Unit::Second => 1,
        Unit::Millisecond => 1_000,
        Unit::Microsecond => 1_000_000,
        Unit::Nanosecond => 1_000_000_000,
    }
}

pub(super) fn timestamp_value(array: &dyn Array, unit: Unit, row: usize) -> i64 {
    match unit {
        Unit::Second => array.as_primitive::<TimestampSecondType>().value(row),
        Unit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
        Unit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        Unit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
    }
}

fn put_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    // Years beyond four digits, and those before 1, as ISO 8601 expands them.
    match year {
        0..=9999 => print(out, format_args!("{year:04}-{month:02}-{day:02}")),
        _ => print(out, format_args!("{year:+05}-{month:02}-{day:02}")),
    }
}

fn put_time(out: &mut Vec<u8>, seconds: i64, nanos: u32) {
    print(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    if nanos != 0 {
        let digits = format!("{nanos:09}");
        print(out, format_args!(".{}", digits.trim_end_matches('0')));
    }
}

fn put_date_time(out: &mut Vec<u8>, seconds: i64, nanos: u32) {
    put_date(out, seconds.div_euclid(86_400));
    out.push(b'T');
    put_time(out, seconds.rem_euclid(86_400), nanos);
}

fn put_instant(out: &mut Vec<u8>, value: i64, unit: Unit, offset_minutes: i16) {
    let per_second = per_second(unit);
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    put_date_time(out, value.div_euclid(per_second) + i64::from(offset_minutes) * 60, nanos as u32);
}

fn put_offset(out: &mut Vec<u8>, minutes: i16) {
    let sign = if minutes < 0 { '-' } else { '+' };
    print(out, format_args!("{sign}{:02}:{:02}", minutes.unsigned_abs() / 60, minutes.unsigned_abs() % 60));
}

pub(super) fn duration_value(array: &dyn Array, unit: Unit, row: usize) -> i64 {
    match unit {
        Unit::Second => array.as_primitive::<DurationSecondType>().value(row),
        Unit::Millisecond => array.as_primitive::<DurationMillisecondType>().value(row),
        Unit::Microsecond => array.as_primitive::<DurationMicrosecondType>().value(row),
        Unit::Nanosecond => array.as_primitive::<DurationNanosecondType>().value(row),
    }
}

fn put_duration(out: &mut Vec<u8>, array: &dyn Array, unit: Unit, row: usize) {
    let nanos = i128::from(duration_value(array, unit, row)) * i128::from(1_000_000_000 / per_second(unit));
    out.extend_from_slice(b"PT");
    put_seconds(out, nanos);
}

fn put_seconds(out: &mut Vec<u8>, nanos: i128) {
    let sign = if nanos < 0 { "-" } else { "" };
    let magnitude = nanos.unsigned_abs();
    print(out, format_args!("{sign}{}", magnitude / 1_000_000_000));
    let rest = magnitude % 1_000_000_000;
    if rest != 0 {
        let digits = format!("{rest:09}");
        print(out, format_args!(".{}", digits.trim_end_matches('0')));
    }
    out.push(b'S');
}
