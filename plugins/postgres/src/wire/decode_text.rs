//! Binary values as the text that PostgreSQL prints for them, with the settings that every session has. Positions
//! hold this text; the server reads it back as the column's type.

use super::{
    decode_column::EPOCH_DAYS,
    decode_numeric::{self, Numeric},
    input::Input,
};
use crate::types::Wire;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The text of a value; `None` when the type has no text here, or the bytes are not of the type.
pub fn to_text(wire: &Wire, utc: bool, value: &[u8]) -> Option<String> {
    Some(match wire {
        Wire::Bool => if value == [0] { "false" } else { "true" }.to_owned(),
        Wire::Int2 => i16::from_be_bytes(value.try_into().ok()?).to_string(),
        Wire::Int4 => i32::from_be_bytes(value.try_into().ok()?).to_string(),
        Wire::Int8 => i64::from_be_bytes(value.try_into().ok()?).to_string(),
        Wire::Oid => u32::from_be_bytes(value.try_into().ok()?).to_string(),
        Wire::Float4 => {
            let value = f32::from_be_bytes(value.try_into().ok()?);
            float(&format!("{value:e}"), f64::from(value), 6)
        }
        Wire::Float8 => {
            let value = f64::from_be_bytes(value.try_into().ok()?);
            float(&format!("{value:e}"), value, 15)
        }
        Wire::Decimal { .. } | Wire::DecimalText => {
            let mut text = Vec::new();
            decode_numeric::write_text(&Numeric::parse(value).ok()?, &mut text);
            String::from_utf8(text).ok()?
        }
        Wire::Text => std::str::from_utf8(value).ok()?.to_owned(),
        Wire::Bytea => {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{hex}")
        }
        Wire::Date => match i32::from_be_bytes(value.try_into().ok()?) {
            i32::MIN => "-infinity".to_owned(),
            i32::MAX => "infinity".to_owned(),
            days => {
                let (date, era) = date(i64::from(days) + i64::from(EPOCH_DAYS));
                format!("{date}{era}")
            }
        },
        Wire::Time => time(i64::from_be_bytes(value.try_into().ok()?)),
        Wire::Timestamp => match i64::from_be_bytes(value.try_into().ok()?) {
            i64::MIN => "-infinity".to_owned(),
            i64::MAX => "infinity".to_owned(),
            micros => {
                let (date, era) = date(micros.div_euclid(MICROS_PER_DAY) + i64::from(EPOCH_DAYS));
                let zone = if utc { "+00" } else { "" };
                format!("{date} {}{zone}{era}", time(micros.rem_euclid(MICROS_PER_DAY)))
            }
        },
        Wire::Uuid => {
            let mut input = Input(value);
            let mut part = |length| -> Option<String> {
                Some(input.take(length)?.iter().map(|byte| format!("{byte:02x}")).collect())
            };
            [part(4)?, part(2)?, part(2)?, part(2)?, part(6)?].join("-")
        }
        Wire::Jsonb | Wire::Interval | Wire::List(_) => return None,
    })
}

/// Whether two values of a cursor's column, as bytes, are one value to the server. Texts are compared as bytes; a
/// column whose collation says otherwise is no cursor.
pub fn same(wire: &Wire, left: &[u8], right: &[u8]) -> bool {
    match wire {
        // 1.0 and 1.00 differ in the digits shown (bytes 6 and 7) alone.
        Wire::Decimal { .. } | Wire::DecimalText if left.len() >= 8 && left.len() == right.len() => {
            left[..6] == right[..6] && left[8..] == right[8..]
        }
        Wire::Float4 | Wire::Float8 => left == right || (is_zero(left) && is_zero(right)),
        _ => left == right,
    }
}

fn is_zero(float: &[u8]) -> bool {
    matches!(float, [0 | 0x80, rest @ ..] if rest.iter().all(|byte| *byte == 0))
}

/// Digits that read back as the same number (as few as possible, where the server may take one more), with an exponent where C's `%g` has one: `digits` is the
/// number in Rust's exponent form, `precision` the digits that C would show.
fn float(digits: &str, value: f64, precision: i32) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let Some((mantissa, exponent)) = digits.split_once('e') else { return digits.to_owned() };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    if exponent < -4 || exponent >= precision {
        let side = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{side}{:02}", exponent.abs());
    }
    let figures: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < 0 {
        return format!("{sign}0.{}{figures}", "0".repeat(exponent.unsigned_abs() as usize - 1));
    }
    let whole = exponent as usize + 1;
    match figures.split_at_checked(whole) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, rest)) => format!("{sign}{whole}.{rest}"),
        None => format!("{sign}{figures}{}", "0".repeat(whole - figures.len())),
    }
}

/// Year, month and day of a day since 1970-01-01, and the era behind everything else where it is not ours. Days of
/// the Gregorian calendar, counted in eras of 400 years that start on 1 March.
fn date(days: i64) -> (String, &'static str) {
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day_of_month:02}"), era)
}

fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 { text } else { format!("{text}.{fraction:06}").trim_end_matches('0').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_as_the_server_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e-4, "0.0001"),
            (1.25e-5, "1.25e-05"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(to_text(&Wire::Float8, false, &value.to_be_bytes()).unwrap(), text);
        }
        assert_eq!(to_text(&Wire::Float4, false, &1e6f32.to_be_bytes()).unwrap(), "1e+06");
    }

    #[test]
    fn dates_look_as_the_server_prints_them() {
        for (days, text) in [
            (0, "2000-01-01"),
            (-10_957, "1970-01-01"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (i32::MAX, "infinity"),
        ] {
            assert_eq!(to_text(&Wire::Date, false, &days.to_be_bytes()).unwrap(), text);
        }
        let micros = -1i64;
        assert_eq!(
            to_text(&Wire::Timestamp, true, &micros.to_be_bytes()).unwrap(),
            "1999-12-31 23:59:59.999999+00"
        );
        let micros = -730_120i64 * MICROS_PER_DAY;
        assert_eq!(
            to_text(&Wire::Timestamp, false, &micros.to_be_bytes()).unwrap(),
            "0001-12-31 00:00:00 BC"
        );
    }

    #[test]
    fn equal_numbers_are_one_value_however_they_are_written() {
        // 1.0 and 1.00: one digit, weight 0, positive, shown with one and with two digits behind the point.
        let one = |scale| [0, 1, 0, 0, 0, 0, 0, scale, 0, 1];
        assert!(same(&Wire::DecimalText, &one(1), &one(2)));
        assert!(!same(&Wire::DecimalText, &one(1), &[0, 1, 0, 0, 0, 0, 0, 1, 0, 2]));
        assert!(same(&Wire::Float8, &0f64.to_be_bytes(), &(-0f64).to_be_bytes()));
        assert!(!same(&Wire::Text, b"a", b"A"));
    }
}
