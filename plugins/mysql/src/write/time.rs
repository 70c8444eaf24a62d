//! Days and times as the servers read them.

use super::digits::put_unsigned;

/// Appends `YYYY-MM-DD` of days since 1970; `None` outside the years 1 to 9999.
pub(super) fn put_date(days: i64, out: &mut String) -> Option<()> {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    // The servers know no day of the year 0 that they would compare rightly.
    if !(1..=9999).contains(&year) {
        return None;
    }
    put_unsigned(year as u64, 4, out);
    out.push('-');
    put_unsigned(month as u64, 2, out);
    out.push('-');
    put_unsigned(day as u64, 2, out);
    Some(())
}

/// Appends `YYYY-MM-DD HH:MM:SS.nnnnnnnnn` with as many digits as there are; `None` as for [`put_date`].
pub(super) fn put_timestamp(seconds: i64, nanos: u32, out: &mut String) -> Option<()> {
    put_date(seconds.div_euclid(86_400), out)?;
    out.push(' ');
    put_clock(seconds.rem_euclid(86_400) as u64, nanos, out);
    Some(())
}

/// Appends `HH:MM:SS.nnnnnnnnn` of seconds, with as many digits as there are.
pub(super) fn put_clock(seconds: u64, nanos: u32, out: &mut String) {
    put_unsigned(seconds / 3600, 2, out);
    out.push(':');
    put_unsigned(seconds / 60 % 60, 2, out);
    out.push(':');
    put_unsigned(seconds % 60, 2, out);
    let (mut rest, mut digits) = (nanos, 9);
    if rest > 0 {
        while rest % 10 == 0 {
            rest /= 10;
            digits -= 1;
        }
        out.push('.');
        put_unsigned(rest.into(), digits, out);
    }
}

/// Appends `+HH:MM` of minutes.
pub(super) fn put_offset(minutes: i16, out: &mut String) {
    out.push(if minutes < 0 { '-' } else { '+' });
    let minutes = u64::from(minutes.unsigned_abs());
    put_unsigned(minutes / 60, 2, out);
    out.push(':');
    put_unsigned(minutes % 60, 2, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raw::text::{self, Moment};

    fn written(put: impl Fn(&mut String)) -> String {
        let mut text = String::new();
        put(&mut text);
        text
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(days in -719_162_i64..=2_932_896, second in 0_i64..86_400, micros in 0_u32..1_000_000) {
            let day = written(|out| put_date(days, out).unwrap());
            prop_assert_eq!(text::date(day.as_bytes()), Some(Moment::Known(days as i32)));
            let moment = written(|out| put_timestamp(days * 86_400 + second, micros * 1000, out).unwrap());
            let expected = (days * 86_400 + second) * 1_000_000 + i64::from(micros);
            prop_assert_eq!(text::timestamp(moment.as_bytes()), Some(Moment::Known(expected)));
        }
    }

    #[test]
    fn years_that_the_servers_do_not_have_are_none() {
        assert_eq!(written(|out| put_date(-719_162, out).unwrap()), "0001-01-01");
        for day in [-719_163, 2_932_897] {
            assert_eq!(put_date(day, &mut String::new()), None);
        }
        assert_eq!(written(|out| put_clock(3_600 * 838, 500, out)), "838:00:00.0000005");
        assert_eq!(written(|out| put_offset(-90, out)), "-01:30");
    }
}
