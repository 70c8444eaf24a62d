//! Packed dates and times.
//!
//! Source: MySQL internals manual "Date and Time Data Type Representation".

use super::cursor::{big, little};

/// A date that is none: year, month or day are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroDate;

/// Days from 1970-01-01 to a day of the Gregorian calendar; none for a day that does not exist.
///
/// Counted in eras of 400 years that begin in March, so that the leap day is the last of its year.
pub fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let shifted = i64::from(year) - i64::from(month <= 2);
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year =
        (153 * (i64::from(month) + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * 146_097 + day_of_era - 719_468).ok()
}

/// A DATE, as days since 1970-01-01.
pub fn date(bytes: &[u8]) -> Result<i32, ZeroDate> {
    let packed = little(bytes) as u32;
    days(packed >> 9, packed >> 5 & 15, packed & 31).ok_or(ZeroDate)
}

fn micros_of_day(hour: u64, minute: u64, second: u64) -> i64 {
    ((hour * 60 + minute) * 60 + second) as i64 * 1_000_000
}

fn fraction(bytes: &[u8]) -> u32 {
    big(bytes) as u32 * [1, 10_000, 100, 1][bytes.len().min(3)]
}

/// A DATETIME with fractions, as microseconds since 1970-01-01.
pub fn date_time(bytes: &[u8]) -> Result<i64, ZeroDate> {
    let (whole, rest) = bytes.split_at_checked(5).ok_or(ZeroDate)?;
    let packed = big(whole) & 0x7f_ffff_ffff;
    let (day_part, time) = (packed >> 17, packed & 0x1_ffff);
    let year_month = (day_part >> 5) as u32;
    let days = days(year_month / 13, year_month % 13, (day_part & 31) as u32).ok_or(ZeroDate)?;
    let time = micros_of_day(time >> 12, time >> 6 & 63, time & 63);
    Ok(i64::from(days) * 86_400_000_000 + time + i64::from(fraction(rest)))
}

/// A DATETIME of an old table: the decimal digits `YYYYMMDDhhmmss`.
pub fn old_date_time(bytes: &[u8]) -> Result<i64, ZeroDate> {
    let digits = little(bytes);
    let (date, time) = (digits / 1_000_000, digits % 1_000_000);
    let days =
        days((date / 10_000) as u32, (date / 100 % 100) as u32, (date % 100) as u32).ok_or(ZeroDate)?;
    Ok(i64::from(days) * 86_400_000_000 + micros_of_day(time / 10_000, time / 100 % 100, time % 100))
}

/// A TIMESTAMP with fractions, as microseconds since 1970-01-01 UTC.
pub fn timestamp(bytes: &[u8]) -> Result<i64, ZeroDate> {
    let (whole, rest) = bytes.split_at_checked(4).ok_or(ZeroDate)?;
    let (seconds, fraction) = (big(whole) as i64, i64::from(fraction(rest)));
    if seconds == 0 && fraction == 0 { Err(ZeroDate) } else { Ok(seconds * 1_000_000 + fraction) }
}

/// A TIMESTAMP of an old table.
pub fn old_timestamp(bytes: &[u8]) -> Result<i64, ZeroDate> {
    match little(bytes) {
        0 => Err(ZeroDate),
        seconds => Ok(seconds as i64 * 1_000_000),
    }
}

/// A TIME with fractions, as microseconds; may be negative and longer than a day.
pub fn time(bytes: &[u8]) -> i64 {
    // Whole and fraction are one number with a bias, so that bytes sort as times do.
    let bits = bytes.len() * 8;
    let biased = big(bytes) as i64 - (1i64 << (bits - 1));
    let shift = bits - 24;
    let magnitude = biased.unsigned_abs();
    let (whole, rest) = (magnitude >> shift, magnitude & ((1 << shift) - 1));
    let micros = rest * [1, 10_000, 100, 1][(shift / 8).min(3)];
    let time = micros_of_day(whole >> 12 & 0x3ff, whole >> 6 & 63, whole & 63) + micros as i64;
    if biased < 0 { -time } else { time }
}

/// A TIME of an old table: the decimal digits `hhmmss`.
pub fn old_time(bytes: &[u8]) -> i64 {
    let digits = (little(bytes) << 40) as i64 >> 40;
    let magnitude = digits.unsigned_abs();
    let time = micros_of_day(magnitude / 10_000, magnitude / 100 % 100, magnitude % 100);
    if digits < 0 { -time } else { time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for (date, expected) in [
            ((1970, 1, 1), Some(0)),
            ((1969, 12, 31), Some(-1)),
            ((2000, 2, 29), Some(11_016)),
            ((1900, 2, 29), None),
            ((9999, 12, 31), Some(2_932_896)),
            ((1000, 1, 1), Some(-354_285)),
            ((2020, 0, 1), None),
            ((2020, 13, 1), None),
            ((2020, 4, 31), None),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }

    #[test]
    fn packed_forms_of_the_manual() {
        // TIME(6) '-00:00:00.000001' and TIME(2) '00:00:00.10'.
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]), -1);
        assert_eq!(time(&[0x80, 0, 0, 10]), 100_000);
        assert_eq!(time(&[0x80, 0, 0]), 0);
        // '838:59:59' and its negative.
        assert_eq!(time(&[0xb4, 0x6e, 0xfb]), 3_020_399_000_000);
        assert_eq!(time(&[0x4b, 0x91, 0x05]), -3_020_399_000_000);
        assert_eq!(old_time(&(-8_385_959i32).to_le_bytes()[..3]), -3_020_399_000_000);
        assert_eq!(date(&(2024u32 << 9 | 2 << 5 | 29).to_le_bytes()[..3]), Ok(19_782));
        assert_eq!(date(&[0, 0, 0]), Err(ZeroDate));
        assert_eq!(
            old_date_time(&20_240_229_000_001u64.to_le_bytes()),
            Ok(19_782 * 86_400_000_000 + 1_000_000)
        );
        assert_eq!(timestamp(&[0, 0, 0, 0]), Err(ZeroDate));
        assert_eq!(timestamp(&[0, 0, 0, 1, 0, 0, 7]), Ok(1_000_007));
        let packed = 0x80_0000_0000u64 | (2024 * 13 + 2) << 22 | 29 << 17 | 23 << 12 | 59 << 6 | 59;
        let bytes = [&packed.to_be_bytes()[3..], &[99][..]].concat();
        assert_eq!(date_time(&bytes), Ok(19_782 * 86_400_000_000 + 86_399_990_000));
    }
}
