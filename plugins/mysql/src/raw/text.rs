//! Values as the servers write them: numbers, days, times.

/// Seconds of a day.
const DAY_S: i64 = 86_400;

/// A whole number; `None` where it is none or does not fit.
#[inline]
pub fn integer(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 38 {
        return None;
    }
    // Up to 18 digits cannot overflow, and are much faster so.
    let value = if digits.len() <= 18 {
        let mut value = 0_i64;
        for digit in digits {
            value = value * 10 + i64::from(decimal_digit(*digit)?);
        }
        i128::from(value)
    } else {
        let mut value = 0_i128;
        for digit in digits {
            value = value * 10 + i128::from(decimal_digit(*digit)?);
        }
        value
    };
    Some(if negative { -value } else { value })
}

#[inline]
fn decimal_digit(byte: u8) -> Option<u8> {
    let digit = byte.wrapping_sub(b'0');
    (digit < 10).then_some(digit)
}

/// The digits of a decimal without its point, for a column of this scale; `None` where it has more digits than fit.
#[inline]
pub fn decimal(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    let scale = usize::from(scale);
    if fraction.len() > scale || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = &whole[whole.iter().position(|byte| *byte != b'0').unwrap_or(whole.len())..];
    if whole.len() + scale > usize::from(precision) {
        return None;
    }
    let missing = scale - fraction.len();
    let value = if whole.len() + scale <= 18 {
        let mut value = 0_i64;
        for digit in whole.iter().chain(fraction) {
            value = value * 10 + i64::from(decimal_digit(*digit)?);
        }
        i128::from(value * 10_i64.pow(missing as u32))
    } else {
        let mut value = 0_i128;
        for digit in whole.iter().chain(fraction) {
            value = value.checked_mul(10)?.checked_add(decimal_digit(*digit)?.into())?;
        }
        value.checked_mul(10_i128.checked_pow(missing as u32)?)?
    };
    Some(if negative { -value } else { value })
}

/// What a text says about a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment<T> {
    /// There is such a day.
    Known(T),
    /// A zero date, or a day that no calendar has.
    Zero,
}

/// Days since 1970-01-01 of `YYYY-MM-DD`; `None` for another form.
#[inline]
pub fn date(text: &[u8]) -> Option<Moment<i32>> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let pair =
        |high: u8, low: u8| Some(i32::from(decimal_digit(high)?) * 10 + i32::from(decimal_digit(low)?));
    let year = pair(y1, y2)? * 100 + pair(y3, y4)?;
    let (month, day) = (pair(m1, m2)?, pair(d1, d2)?);
    Some(days(year, month, day).map_or(Moment::Zero, Moment::Known))
}

/// Days since 1970-01-01 in the Gregorian calendar, extended to the past.
pub fn days(year: i32, month: i32, day: i32) -> Option<i32> {
    const LENGTHS: [i32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = usize::try_from(month - 1).ok().and_then(|month| LENGTHS.get(month))?;
    if day < 1 || day > *length || month == 2 && day == 29 && !leap {
        return None;
    }
    // Years that begin in March, so that the leap day is the last.
    let year = year - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Microseconds since 1970-01-01 of `YYYY-MM-DD HH:MM:SS[.ffffff]`; `None` for another form.
#[inline]
pub fn timestamp(text: &[u8]) -> Option<Moment<i64>> {
    let (day, rest) = text.split_at_checked(10)?;
    let day = date(day)?;
    let (separator, clock) = rest.split_first()?;
    if *separator != b' ' || clock.len() < 8 {
        return None;
    }
    let micros = duration(clock)?;
    Some(match day {
        Moment::Known(day) => Moment::Known(i64::from(day) * DAY_S * 1_000_000 + micros),
        Moment::Zero => Moment::Zero,
    })
}

/// Microseconds of `[-]HHH:MM:SS[.ffffff]`; `None` for another form.
#[inline]
pub fn duration(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.first()? {
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    let colon = text.iter().position(|byte| *byte == b':')?;
    let mut hours = 0_i64;
    for digit in &text[..colon] {
        hours = hours.checked_mul(10)?.checked_add(decimal_digit(*digit)?.into())?;
    }
    let (clock, fraction) = text[colon..].split_at_checked(6)?;
    let &[b':', m1, m2, b':', s1, s2] = clock else { return None };
    let pair =
        |high: u8, low: u8| Some(i64::from(decimal_digit(high)?) * 10 + i64::from(decimal_digit(low)?));
    let seconds = hours.checked_mul(3600)? + pair(m1, m2)? * 60 + pair(s1, s2)?;
    let mut micros = 0_i64;
    match fraction {
        [] => {}
        [b'.', digits @ ..] if digits.len() <= 6 => {
            for digit in digits {
                micros = micros * 10 + i64::from(decimal_digit(*digit)?);
            }
            micros *= 10_i64.pow(6 - digits.len() as u32);
        }
        _ => return None,
    }
    let total = seconds.checked_mul(1_000_000)?.checked_add(micros)?;
    Some(if negative { -total } else { total })
}

/// The 16 bytes of a UUID in hex digits, with or without hyphens.
pub fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut digits = text.iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte).to_digit(16));
    for byte in &mut bytes {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_at_their_edges_are_exact() {
        assert_eq!(integer(b"18446744073709551615"), Some(u64::MAX.into()));
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN.into()));
        assert_eq!(integer(b"00042"), Some(42));
        assert_eq!((integer(b""), integer(b"-"), integer(b"1.5"), integer(b"1e3")), (None, None, None, None));
        assert_eq!(decimal(b"-12.30", 5, 2), Some(-1230));
        assert_eq!(decimal(b"7", 5, 2), Some(700));
        assert_eq!(decimal(b"-.5", 5, 2), Some(-50));
        assert_eq!(decimal(b"0099999.99", 7, 2), Some(9_999_999));
        let greatest = 10_i128.pow(38) - 1;
        assert_eq!(decimal(&[b'9'; 38], 38, 0), Some(greatest));
        assert_eq!((decimal(b"1000", 3, 0), decimal(b"1.234", 5, 2), decimal(b"", 5, 2)), (None, None, None));
    }

    #[test]
    fn days_that_no_calendar_has_are_zero_dates() {
        for zero in ["0000-00-00", "2024-00-10", "2024-02-00", "2023-02-29", "1900-02-29", "2024-13-01"] {
            assert_eq!(date(zero.as_bytes()), Some(Moment::Zero), "{zero}");
        }
        assert_eq!(date(b"1970-01-01"), Some(Moment::Known(0)));
        assert_eq!(date(b"2000-02-29"), Some(Moment::Known(11_016)));
        assert_eq!(date(b"0001-01-01"), Some(Moment::Known(-719_162)));
        assert_eq!(date(b"9999-12-31"), Some(Moment::Known(2_932_896)));
        assert_eq!((date(b"20240101"), date(b"2024-1-01x")), (None, None));
    }

    #[test]
    fn times_have_signs_many_hours_and_fractions() {
        assert_eq!(duration(b"-838:59:59.000001"), Some(-3_020_399_000_001));
        assert_eq!(duration(b"00:00:00.5"), Some(500_000));
        assert_eq!((duration(b"1:2:3"), duration(b"00:00:00."), duration(b"")), (None, Some(0), None));
        assert_eq!(timestamp(b"1969-12-31 23:59:59.999999"), Some(Moment::Known(-1)));
        assert_eq!(timestamp(b"0000-00-00 00:00:00"), Some(Moment::Zero));
        assert_eq!(timestamp(b"1969-12-31T23:59:59"), None);
    }

    #[test]
    fn uuids_have_32_digits() {
        let bytes = uuid(b"00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!((bytes[0], bytes[15]), (0, 0xff));
        assert_eq!((uuid(b"0011"), uuid(b"00112233-4455-6677-8899-aabbccddeeffa")), (None, None));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (integer(&bytes), decimal(&bytes, 38, 10), date(&bytes), timestamp(&bytes), duration(&bytes), uuid(&bytes));
        }

        #[test]
        fn whole_numbers_come_back(number in any::<i64>()) {
            prop_assert_eq!(integer(number.to_string().as_bytes()), Some(i128::from(number)));
        }
    }
}
