//! Days and instants, from the boundary's epoch to the server's, 1970 to 2000.

use hub_plugin_api::types::Unit;

const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
pub(super) const DAY_MICROS: i64 = 86_400_000_000;

// What the server holds, from `datetime/timestamp.h` of its documentation's appendix: 4713 BC to 5874897 and 294276 AD.
const LEAST_DAY: i64 = -2_451_545;
const END_DAY: i64 = 2_145_031_949;
const LEAST_INSTANT: i64 = -211_813_488_000_000_000;
const END_INSTANT: i64 = 9_223_371_331_200_000_000;

pub(super) const OUT_OF_RANGE: &str = "is out of the range of the column";
pub(super) const TOO_FINE: &str = "is finer than the column keeps";

/// Days since 2000.
pub(super) fn date(days: i32, infinity: bool) -> Result<i32, &'static str> {
    if infinity && (days == i32::MIN || days == i32::MAX) {
        return Ok(days);
    }
    let shifted = i64::from(days) - EPOCH_DAYS;
    i32::try_from(shifted).ok().filter(|_| (LEAST_DAY..END_DAY).contains(&shifted)).ok_or(OUT_OF_RANGE)
}

/// Microseconds since 2000; `step` is what the column keeps.
pub(super) fn timestamp(value: i64, unit: Unit, infinity: bool, step: i64) -> Result<i64, &'static str> {
    if infinity && (value == i64::MIN || value == i64::MAX) {
        return Ok(value);
    }
    instant(micros(value, unit)?, step)
}

/// Microseconds since 1970 as microseconds since 2000.
pub(super) fn instant(micros: i64, step: i64) -> Result<i64, &'static str> {
    let shifted = micros.checked_sub(EPOCH_MICROS).ok_or(OUT_OF_RANGE)?;
    if !(LEAST_INSTANT..END_INSTANT).contains(&shifted) {
        return Err(OUT_OF_RANGE);
    }
    whole_steps(shifted, step)
}

/// A time of day in microseconds, below 24:00.
pub(super) fn time(value: i64, unit: Unit, step: i64) -> Result<i64, &'static str> {
    let micros = micros(value, unit)?;
    if !(0..DAY_MICROS).contains(&micros) {
        return Err(OUT_OF_RANGE);
    }
    whole_steps(micros, step)
}

/// Microseconds, exactly.
pub(super) fn micros(value: i64, unit: Unit) -> Result<i64, &'static str> {
    let exact = match unit {
        Unit::Second => value.checked_mul(1_000_000),
        Unit::Millisecond => value.checked_mul(1_000),
        Unit::Microsecond => Some(value),
        Unit::Nanosecond => return if value % 1_000 == 0 { Ok(value / 1_000) } else { Err(TOO_FINE) },
    };
    exact.ok_or(OUT_OF_RANGE)
}

/// The value, unless the column would round it.
pub(super) fn whole_steps(micros: i64, step: i64) -> Result<i64, &'static str> {
    if step == 1 || micros % step == 0 { Ok(micros) } else { Err(TOO_FINE) }
}

/// Seconds and nanoseconds since 1970 as microseconds since 2000.
pub(super) fn wide(seconds: i64, nanos: i32, step: i64) -> Result<i64, &'static str> {
    if nanos % 1_000 != 0 {
        return Err(TOO_FINE);
    }
    let micros =
        seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_add(i64::from(nanos / 1_000)));
    instant(micros.ok_or(OUT_OF_RANGE)?, step)
}

/// Year, month, day of a day since 1970 (proleptic Gregorian, astronomical years).
pub(super) fn civil(days: i64) -> (i64, u32, u32) {
    // Counted in eras of 400 years from 1 March of year 0, as in Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_are_only_those_of_a_marked_column() {
        assert_eq!(date(i32::MAX, true), Ok(i32::MAX));
        assert_eq!(timestamp(i64::MIN, Unit::Microsecond, true, 1), Ok(i64::MIN));
        assert_eq!(date(i32::MAX, false), Err(OUT_OF_RANGE));
        // This day, shifted, would be the server's own mark of -infinity.
        assert_eq!(date(i32::MIN + EPOCH_DAYS as i32, false), Err(OUT_OF_RANGE));
        assert_eq!(timestamp(i64::MIN, Unit::Microsecond, false, 1), Err(OUT_OF_RANGE));
        assert_eq!(timestamp(i64::MIN + EPOCH_MICROS, Unit::Microsecond, false, 1), Err(OUT_OF_RANGE));
    }

    #[test]
    fn nothing_is_rounded() {
        assert_eq!(timestamp(1_001, Unit::Nanosecond, false, 1), Err(TOO_FINE));
        assert_eq!(timestamp(946_684_800_001, Unit::Millisecond, false, 1_000), Ok(1_000));
        assert_eq!(timestamp(946_684_800_000_001, Unit::Microsecond, false, 10), Err(TOO_FINE));
        assert_eq!(time(86_400_000_000, Unit::Microsecond, 1), Err(OUT_OF_RANGE));
        assert_eq!(wide(946_684_800, 1_000, 1), Ok(1));
        assert_eq!(wide(946_684_800, 1, 1), Err(TOO_FINE));
        assert_eq!(wide(i64::MAX, 0, 1), Err(OUT_OF_RANGE));
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(-719_528), (0, 1, 1));
        assert_eq!(civil(-1), (1969, 12, 31));
        assert_eq!(civil(2_932_896), (9999, 12, 31));
    }
}
