//! Exact texts of dates, times, decimals and the like: written so that SQLite's own date functions read them where
//! their year has four digits, and read back strictly.

use std::fmt::Write;

/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
pub fn civil_of(days: i64) -> (i64, u32, u32) {
    // Counted from 0000-03-01, so that a leap day ends its year; 146,097 days are 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day counted from 1970-01-01; none for a day that the calendar does not have.
pub fn days_of(year: i64, month: u32, day: u32) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) || year.checked_abs()? > 400_000_000_000 {
        return None;
    }
    let shifted_year = year - i64::from(month <= 2);
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let shifted_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

fn two(out: &mut String, value: u32) {
    out.push(char::from(b'0' + (value / 10) as u8));
    out.push(char::from(b'0' + (value % 10) as u8));
}

/// `YYYY-MM-DD`; a year outside 0 to 9999 has a sign.
pub fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = civil_of(days);
    if (0..=9999).contains(&year) {
        two(out, (year / 100) as u32);
        two(out, (year % 100) as u32);
    } else {
        let _ = write!(out, "{year:+05}");
    }
    out.push('-');
    two(out, month);
    out.push('-');
    two(out, day);
}

/// `HH:MM:SS` and as many further digits as asked for (0, 3, 6 or 9).
pub fn write_time(out: &mut String, seconds: u32, nanos: u32, digits: u8) {
    two(out, seconds / 3600);
    out.push(':');
    two(out, seconds / 60 % 60);
    out.push(':');
    two(out, seconds % 60);
    if digits > 0 {
        let mut rest = nanos;
        let mut power = 100_000_000;
        out.push('.');
        for _ in 0..digits {
            out.push(char::from(b'0' + (rest / power) as u8));
            rest %= power;
            power = (power / 10).max(1);
        }
    }
}

/// `YYYY-MM-DD HH:MM:SS.…` of seconds and nanoseconds since 1970.
pub fn write_timestamp(out: &mut String, seconds: i64, nanos: u32, digits: u8) {
    write_date(out, seconds.div_euclid(DAY_SECONDS));
    out.push(' ');
    write_time(out, seconds.rem_euclid(DAY_SECONDS) as u32, nanos, digits);
}

/// `+HH:MM`; hours have as many digits as they need.
pub fn write_offset(out: &mut String, minutes: i32) {
    let sign = if minutes < 0 { '-' } else { '+' };
    let _ = write!(out, "{sign}{:02}:{:02}", minutes.unsigned_abs() / 60, minutes.unsigned_abs() % 60);
}

/// A whole number, all of whose bytes are digits.
fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |sum: i64, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// The inverse of [`write_date`].
pub fn parse_date(text: &[u8]) -> Option<i64> {
    let [head @ .., b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = match head {
        [b'-', rest @ ..] if rest.len() >= 4 => -digits(rest)?,
        [b'+', rest @ ..] if rest.len() >= 4 => digits(rest)?,
        rest if rest.len() == 4 => digits(rest)?,
        _ => return None,
    };
    days_of(year, digits(&[*m1, *m2])? as u32, digits(&[*d1, *d2])? as u32)
}

/// Seconds of the day, nanoseconds, and how many digits of them were given; below 24:00. Seconds may be left out.
pub fn parse_time(text: &[u8]) -> Option<(u32, u32, u8)> {
    let (clock, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], Some(&text[point + 1..])),
        None => (text, None),
    };
    let (hour, minute, second) = match *clock {
        [h1, h2, b':', m1, m2, b':', s1, s2] => (digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?),
        [h1, h2, b':', m1, m2] if fraction.is_none() => (digits(&[h1, h2])?, digits(&[m1, m2])?, 0),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, count) = match fraction {
        Some(fraction) if fraction.len() <= 9 => {
            (digits(fraction)? * 10_i64.pow(9 - fraction.len() as u32), fraction.len() as u8)
        }
        Some(_) => return None,
        None => (0, 0),
    };
    Some(((hour * 3600 + minute * 60 + second) as u32, nanos as u32, count))
}

/// A zone behind a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// None.
    Local,
    /// `Z`.
    Utc,
    /// `+HH:MM`, in minutes.
    Offset(i32),
}

/// Seconds since 1970 as written, nanoseconds, digits of them, and the zone behind.
pub fn parse_timestamp(text: &[u8]) -> Option<(i64, u32, u8, Zone)> {
    let space = text.iter().position(|byte| matches!(byte, b' ' | b'T'))?;
    let days = parse_date(&text[..space])?;
    let rest = &text[space + 1..];
    let (time, zone) = match rest.iter().position(|byte| matches!(byte, b'Z' | b'+' | b'-')) {
        Some(at) if rest[at] == b'Z' && at + 1 == rest.len() => (&rest[..at], Zone::Utc),
        Some(at) => {
            let [hours @ .., b':', m1, m2] = &rest[at + 1..] else { return None };
            let minutes = digits(&[*m1, *m2])?;
            if hours.len() < 2 || minutes > 59 {
                return None;
            }
            let total = i32::try_from(digits(hours)? * 60 + minutes).ok()?;
            (&rest[..at], Zone::Offset(if rest[at] == b'-' { -total } else { total }))
        }
        None => (rest, Zone::Local),
    };
    let (seconds, nanos, count) = parse_time(time)?;
    Some((days * DAY_SECONDS + i64::from(seconds), nanos, count, zone))
}

/// A number scaled by 10^scale, with its point.
pub fn write_decimal(out: &mut String, value: i128, scale: u8) {
    let mut buffer = [0_u8; 48];
    let (mut at, mut rest, scale) = (buffer.len(), value.unsigned_abs(), usize::from(scale));
    if let Ok(mut small) = u64::try_from(rest) {
        // Divisions of 128 bits are slow, and most numbers are short.
        while small > 0 {
            at -= 1;
            buffer[at] = b'0' + (small % 10) as u8;
            small /= 10;
        }
    } else {
        while rest > 0 {
            at -= 1;
            buffer[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    let digits = buffer[at..].iter().map(|byte| char::from(*byte));
    place_point(out, value < 0, digits, buffer.len() - at, scale);
}

/// The same of digits that are text already, with their sign.
pub fn write_decimal_digits(out: &mut String, signed: &str, scale: u8) {
    let digits = signed.trim_start_matches('-').trim_start_matches('0');
    place_point(out, signed.starts_with('-'), digits.chars(), digits.len(), usize::from(scale));
}

fn place_point(
    out: &mut String,
    negative: bool,
    digits: impl Iterator<Item = char>,
    count: usize,
    scale: usize,
) {
    if negative {
        out.push('-');
    }
    if count <= scale {
        out.push('0');
    }
    let mut left = count.max(scale);
    let zeros = left - count;
    for digit in std::iter::repeat_n('0', zeros).chain(digits) {
        if left == scale {
            out.push('.');
        }
        out.push(digit);
        left -= 1;
    }
}

/// Sign, digits without leading zeros, and how many of them stand behind the point.
pub fn split_decimal(text: &str) -> Option<(bool, String, usize)> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || rest.ends_with('.') {
        return None;
    }
    Some((negative, format!("{whole}{fraction}").trim_start_matches('0').to_owned(), fraction.len()))
}

/// The number times 10^scale as signed digits; none when digits behind the scale are not zero or there are too many.
pub fn scaled_digits(text: &str, precision: u8, scale: u8) -> Option<String> {
    let (negative, mut digits, behind) = split_decimal(text)?;
    let scale = usize::from(scale);
    if behind <= scale {
        if !digits.is_empty() {
            digits.extend(std::iter::repeat_n('0', scale - behind));
        }
    } else {
        for _ in 0..(behind - scale) {
            if !matches!(digits.pop(), Some('0') | None) {
                return None;
            }
        }
    }
    if digits.len() > usize::from(precision) {
        return None;
    }
    Some(match (digits.is_empty(), negative) {
        (true, _) => "0".into(),
        (false, true) => format!("-{digits}"),
        (false, false) => digits,
    })
}

/// The fast way of [`scaled_digits`] for what has at most 38 digits.
pub fn parse_decimal128(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    // 18 digits and a point: anything longer goes the careful way.
    if rest.len() > 19 {
        return scaled_digits(std::str::from_utf8(text).ok()?, precision, scale)?.parse().ok();
    }
    let (mut value, mut behind, mut point, mut count) = (0_i64, 0_u8, false, 0);
    for byte in rest {
        match byte {
            b'0'..=b'9' if point && behind == scale => {
                if *byte != b'0' {
                    return None;
                }
            }
            b'0'..=b'9' => {
                value = value * 10 + i64::from(byte - b'0');
                behind += u8::from(point);
                count += 1;
            }
            b'.' if !point && count > 0 => point = true,
            _ => return None,
        }
    }
    if count == 0 || rest.ends_with(b".") {
        return None;
    }
    let value = i128::from(value).checked_mul(10_i128.checked_pow(u32::from(scale - behind))?)?;
    let fits = 10_i128.checked_pow(u32::from(precision)).is_none_or(|limit| value < limit);
    fits.then_some(if negative { -value } else { value })
}

/// Whether a text is a decimal in canonical form: digits, one point at most, or one of the three words.
pub fn is_decimal(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity") || split_decimal(text).is_some()
}

/// Months, days and nanoseconds as an ISO 8601 duration, each part with its own sign.
pub fn write_interval(out: &mut String, months: i32, days: i32, nanos: i64) {
    let sign = if nanos < 0 { "-" } else { "" };
    let _ = write!(
        out,
        "P{months}M{days}DT{sign}{}.{:09}S",
        nanos.unsigned_abs() / 1_000_000_000,
        nanos.unsigned_abs() % 1_000_000_000
    );
}

/// The inverse of [`write_interval`].
pub fn parse_interval(text: &str) -> Option<(i32, i32, i64)> {
    let (months, rest) = text.strip_prefix('P')?.split_once('M')?;
    let (days, rest) = rest.split_once("DT")?;
    let (negative, seconds) = match rest.strip_suffix('S')?.strip_prefix('-') {
        Some(seconds) => (true, seconds),
        None => (false, rest.strip_suffix('S')?),
    };
    let (seconds, fraction) = seconds.split_once('.')?;
    if fraction.len() != 9 {
        return None;
    }
    let nanos =
        i128::from(digits(seconds.as_bytes())?) * 1_000_000_000 + i128::from(digits(fraction.as_bytes())?);
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
    Some((months.parse().ok()?, days.parse().ok()?, nanos))
}

/// Bytes as lower-case hex.
pub fn write_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            out.push(char::from(b"0123456789abcdef"[usize::from(half)]));
        }
    }
}

/// The inverse of [`write_hex`]; upper case is read too.
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let half = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(half(*high)? << 4 | half(*low)?)).collect()
}

/// The five groups of a UUID.
pub fn write_uuid(out: &mut String, bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        write_hex(out, &[*byte]);
    }
}

/// The inverse of [`write_uuid`]; upper case is read too.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    let hyphens = [8, 13, 18, 23].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    let plain: String = text.chars().filter(|one| *one != '-').collect();
    (hyphens && bytes.len() == 36).then_some(())?;
    parse_hex(&plain)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn dates_are_written_as_the_calendar_has_them() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_897, "+10000-01-01"),
        ] {
            assert_eq!(written(|out| write_date(out, days)), text);
            assert_eq!(parse_date(text.as_bytes()), Some(days));
        }
        for wrong in ["2001-02-29", "2001-13-01", "2001-1-1", "2001-01-00", "", "12345-01-01", "2001-01-01x"]
        {
            assert_eq!(parse_date(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn decimals_keep_every_digit() {
        assert_eq!(written(|out| write_decimal(out, -5, 2)), "-0.05");
        assert_eq!(written(|out| write_decimal(out, 0, 2)), "0.00");
        assert_eq!(written(|out| write_decimal(out, 0, 0)), "0");
        assert_eq!(written(|out| write_decimal(out, i128::MIN, 0)), i128::MIN.to_string());
        assert_eq!(parse_decimal128(b"123456789012345678.91", 20, 2), Some(12_345_678_901_234_567_891));
        assert_eq!(parse_decimal128(b"0.10", 3, 1), Some(1));
        for wrong in ["0.15", "1e3", "", ".", "1.", "-", "+1", "12345", "NaN", "1.2.3"] {
            assert_eq!(parse_decimal128(wrong.as_bytes(), 4, 1), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_date_comes_back(days in i32::MIN..=i32::MAX) {
            let text = written(|out| write_date(out, days.into()));
            prop_assert_eq!(parse_date(text.as_bytes()), Some(days.into()));
        }

        #[test]
        fn every_timestamp_comes_back(seconds in i64::MIN / 1000..=i64::MAX / 1000, nanos in 0..1_000_000_000_u32) {
            let text = written(|out| write_timestamp(out, seconds, nanos, 9));
            prop_assert_eq!(parse_timestamp(text.as_bytes()), Some((seconds, nanos, 9, Zone::Local)));
        }

        #[test]
        fn every_decimal_comes_back(value in any::<i128>(), scale in 0..=38_u8) {
            let value = value % 10_i128.pow(38);
            let text = written(|out| write_decimal(out, value, scale));
            prop_assert_eq!(written(|out| write_decimal_digits(out, &value.to_string(), scale)), text.clone());
            prop_assert_eq!(parse_decimal128(text.as_bytes(), 38, scale), Some(value));
            prop_assert_eq!(scaled_digits(&text, 38, scale), Some(value.to_string()));
        }

        #[test]
        fn every_interval_comes_back(months: i32, days: i32, nanos: i64) {
            let text = written(|out| write_interval(out, months, days, nanos));
            prop_assert_eq!(parse_interval(&text), Some((months, days, nanos)));
        }

        #[test]
        fn every_uuid_comes_back(bytes: [u8; 16]) {
            prop_assert_eq!(parse_uuid(&written(|out| write_uuid(out, &bytes))), Some(bytes));
        }
    }
}
