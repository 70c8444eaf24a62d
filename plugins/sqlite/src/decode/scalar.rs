//! One value of SQLite's as one value of the boundary, without any rounding.

use arrow::datatypes::i256;
use hub_plugin_api::arrow;
use rusqlite::types::ValueRef;

use super::Misfit;
use crate::text;

const CAST: &str =
    "Cast the column in the statement to what it holds: `cast(... as text)`, `cast(... as integer)`";
const ROUND: &str = "Round the column in the statement, or cast it to text or real";
const DATES: &str =
    "Dates and times are read from ISO 8601 texts: use `date(...)`, `datetime(...)` or `cast(... as text)`";

/// The class of a value, for people.
pub fn class_of(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "NULL",
        ValueRef::Integer(_) => "an integer",
        ValueRef::Real(_) => "a float",
        ValueRef::Text(_) => "a text",
        ValueRef::Blob(_) => "a blob",
    }
}

fn misfit(value: ValueRef<'_>, hint: &'static str) -> Misfit {
    Misfit::new(class_of(value), hint)
}

/// A whole number.
pub fn integer(value: ValueRef<'_>) -> Result<i64, Misfit> {
    match value {
        ValueRef::Integer(integer) => Ok(integer),
        other => Err(misfit(other, CAST)),
    }
}

/// A whole number within a type's bounds.
pub fn narrow<T: TryFrom<i64>>(value: ValueRef<'_>) -> Result<T, Misfit> {
    T::try_from(integer(value)?).map_err(|_| Misfit::new("an integer outside its type's bounds", CAST))
}

/// 0 or 1.
pub fn boolean(value: ValueRef<'_>) -> Result<bool, Misfit> {
    match value {
        ValueRef::Integer(0) => Ok(false),
        ValueRef::Integer(1) => Ok(true),
        ValueRef::Integer(_) => Err(Misfit::new("an integer other than 0 and 1", CAST)),
        other => Err(misfit(other, CAST)),
    }
}

/// A whole number up to 2^64 - 1, as text.
pub fn unsigned(value: ValueRef<'_>) -> Result<u64, Misfit> {
    match value {
        ValueRef::Integer(_) => narrow(value),
        ValueRef::Text(_) => {
            let number =
                utf8(value)?.parse().map_err(|_| Misfit::new("a text that is no whole number", CAST))?;
            Ok(number)
        }
        other => Err(misfit(other, CAST)),
    }
}

/// A float; NaN and the negative zero are texts, because SQLite makes NULL and 0 of them.
pub fn float(value: ValueRef<'_>) -> Result<f64, Misfit> {
    match value {
        ValueRef::Real(float) => Ok(float),
        // Only an expression gives an integer here; 2^53 is the last whose neighbours are floats too.
        ValueRef::Integer(integer) if integer.unsigned_abs() <= 1 << 53 => Ok(integer as f64),
        ValueRef::Integer(_) => Err(Misfit::new("an integer that no float holds exactly", CAST)),
        ValueRef::Text(b"NaN") => Ok(f64::NAN),
        ValueRef::Text(b"-zero") => Ok(-0.0),
        other => Err(misfit(other, CAST)),
    }
}

/// A float that 32 bits hold exactly.
pub fn float32(value: ValueRef<'_>) -> Result<f32, Misfit> {
    let wide = float(value)?;
    let narrow = wide as f32;
    match f64::from(narrow) == wide || wide.is_nan() {
        true => Ok(narrow),
        false => Err(Misfit::new("a float that 32 bits do not hold exactly", CAST)),
    }
}

/// Text in UTF-8.
pub fn utf8(value: ValueRef<'_>) -> Result<&str, Misfit> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes)
            .map_err(|_| Misfit::new("a text that is not UTF-8", "Cast the column in the statement to blob")),
        other => Err(misfit(other, CAST)),
    }
}

/// Bytes.
pub fn blob(value: ValueRef<'_>) -> Result<&[u8], Misfit> {
    match value {
        ValueRef::Blob(bytes) => Ok(bytes),
        other => Err(misfit(other, "Cast the column in the statement to what it holds: `cast(... as blob)`")),
    }
}

/// A number as the digits that stand for it: a float's are the shortest that read back as the same float.
fn decimal_text(value: ValueRef<'_>) -> Result<std::borrow::Cow<'_, str>, Misfit> {
    match value {
        ValueRef::Integer(integer) => Ok(integer.to_string().into()),
        ValueRef::Real(float) if float.is_finite() => Ok(float.to_string().into()),
        ValueRef::Real(float) => Ok(if float > 0.0 { "Infinity" } else { "-Infinity" }.into()),
        ValueRef::Text(_) => Ok(utf8(value)?.into()),
        ValueRef::Null | ValueRef::Blob(_) => Err(misfit(value, CAST)),
    }
}

/// A decimal of up to 38 digits, times 10^scale.
pub fn decimal128(value: ValueRef<'_>, precision: u8, scale: u8) -> Result<i128, Misfit> {
    let parsed = match value {
        ValueRef::Text(bytes) => text::parse_decimal128(bytes, precision, scale),
        other => text::parse_decimal128(decimal_text(other)?.as_bytes(), precision, scale),
    };
    parsed.ok_or_else(|| no_decimal(value, precision, scale))
}

/// A decimal of up to 76 digits, times 10^scale.
pub fn decimal256(value: ValueRef<'_>, precision: u8, scale: u8) -> Result<i256, Misfit> {
    text::scaled_digits(&decimal_text(value)?, precision, scale)
        .and_then(|digits| i256::from_string(&digits))
        .ok_or_else(|| no_decimal(value, precision, scale))
}

fn no_decimal(value: ValueRef<'_>, precision: u8, scale: u8) -> Misfit {
    Misfit::new(format!("{} that is no decimal({precision},{scale})", class_of(value)), ROUND)
}

/// A decimal's own digits.
pub fn any_decimal(value: ValueRef<'_>) -> Result<std::borrow::Cow<'_, str>, Misfit> {
    let text = decimal_text(value)?;
    match text::is_decimal(&text) {
        true => Ok(text),
        false => Err(Misfit::new("a text that is no decimal", CAST)),
    }
}

/// Which of the two infinities a text names.
pub fn infinity(value: ValueRef<'_>) -> Option<bool> {
    match value {
        ValueRef::Text(b"infinity") => Some(true),
        ValueRef::Text(b"-infinity") => Some(false),
        _ => None,
    }
}

fn iso(value: ValueRef<'_>) -> Result<&[u8], Misfit> {
    match value {
        ValueRef::Text(bytes) => Ok(bytes),
        other => Err(misfit(other, DATES)),
    }
}

/// A day since 1970.
pub fn date(value: ValueRef<'_>) -> Result<i32, Misfit> {
    let days = text::parse_date(iso(value)?).and_then(|days| i32::try_from(days).ok());
    days.ok_or_else(|| Misfit::new("a text that is no date `YYYY-MM-DD`", DATES))
}

/// A time of day, counted in units of which a second has `per_second`.
pub fn time(value: ValueRef<'_>, per_second: i64) -> Result<i64, Misfit> {
    text::parse_time(iso(value)?)
        .and_then(|(seconds, nanos, _)| counted(seconds.into(), nanos, per_second))
        .ok_or_else(|| Misfit::new("a text that is no time `HH:MM:SS` of its digits below 24:00", DATES))
}

/// A timestamp with or without `Z`, counted in units of which a second has `per_second`.
pub fn timestamp(value: ValueRef<'_>, per_second: i64, utc: bool) -> Result<i64, Misfit> {
    let zone = if utc { text::Zone::Utc } else { text::Zone::Local };
    text::parse_timestamp(iso(value)?)
        .filter(|(.., found)| *found == zone)
        .and_then(|(seconds, nanos, ..)| counted(seconds, nanos, per_second))
        .ok_or_else(|| {
            let what = if utc { "`YYYY-MM-DD HH:MM:SSZ`" } else { "`YYYY-MM-DD HH:MM:SS` without zone" };
            Misfit::new(format!("a text that is no timestamp {what} of its digits"), DATES)
        })
}

/// Seconds since 1970 in UTC, nanoseconds, and the offset in minutes.
pub fn wide_timestamp(value: ValueRef<'_>) -> Result<(i64, u32, Option<i16>), Misfit> {
    text::parse_timestamp(iso(value)?)
        .and_then(|(seconds, nanos, _, zone)| {
            Some(match zone {
                text::Zone::Local => (seconds, nanos, None),
                text::Zone::Utc => (seconds, nanos, Some(0)),
                text::Zone::Offset(minutes) => {
                    (seconds.checked_sub(i64::from(minutes) * 60)?, nanos, Some(i16::try_from(minutes).ok()?))
                }
            })
        })
        .ok_or_else(|| Misfit::new("a text that is no timestamp", DATES))
}

/// A timestamp with its offset, counted in UTC.
pub fn offset_timestamp(value: ValueRef<'_>, per_second: i64) -> Result<(i64, i16), Misfit> {
    match wide_timestamp(value)? {
        (seconds, nanos, Some(offset)) => counted(seconds, nanos, per_second).map(|count| (count, offset)),
        _ => None,
    }
    .ok_or_else(|| Misfit::new("a text that is no timestamp with offset of its digits", DATES))
}

/// Units since the beginning; none when digits would be lost or there are too many.
fn counted(seconds: i64, nanos: u32, per_second: i64) -> Option<i64> {
    let per_unit = 1_000_000_000 / per_second;
    if i64::from(nanos) % per_unit != 0 {
        return None;
    }
    i64::try_from(i128::from(seconds) * i128::from(per_second) + i128::from(nanos) / i128::from(per_unit))
        .ok()
}

/// Months, days and nanoseconds.
pub fn interval(value: ValueRef<'_>) -> Result<(i32, i32, i64), Misfit> {
    text::parse_interval(utf8(value)?).ok_or_else(|| Misfit::new("a text that is no interval", CAST))
}

/// The bytes of a UUID: a text of five groups, or a blob of 16 bytes.
pub fn uuid(value: ValueRef<'_>) -> Result<[u8; 16], Misfit> {
    match value {
        ValueRef::Blob(bytes) => bytes.try_into().ok(),
        other => text::parse_uuid(utf8(other)?),
    }
    .ok_or_else(|| Misfit::new(format!("{} that is no UUID", class_of(value)), CAST))
}
