//! Days and times as the servers read them.

/// `YYYY-MM-DD` of days since 1970; `None` outside the years 0 to 9999.
pub(super) fn date(days: i64) -> Option<String> {
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
    (1..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// `YYYY-MM-DD HH:MM:SS.nnnnnnnnn` with as many digits as there are.
pub(super) fn timestamp(seconds: i64, nanos: u32) -> Option<String> {
    let day = date(seconds.div_euclid(86_400))?;
    let of_day = seconds.rem_euclid(86_400);
    Some(format!("{day} {}", clock(of_day, nanos)))
}

/// `HH:MM:SS.nnnnnnnnn` of seconds, with as many digits as there are.
pub(super) fn clock(seconds: i64, nanos: u32) -> String {
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if nanos > 0 {
        let digits = format!("{nanos:09}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text
}

/// `+HH:MM` of minutes.
pub(super) fn offset(minutes: i16) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raw::text::{self, Moment};

    proptest! {
        #[test]
        fn what_is_written_is_read_back(days in -719_162_i64..=2_932_896, second in 0_i64..86_400, micros in 0_u32..1_000_000) {
            let day = date(days).unwrap();
            prop_assert_eq!(text::date(day.as_bytes()), Some(Moment::Known(days as i32)));
            let moment = timestamp(days * 86_400 + second, micros * 1000).unwrap();
            let expected = (days * 86_400 + second) * 1_000_000 + i64::from(micros);
            prop_assert_eq!(text::timestamp(moment.as_bytes()), Some(Moment::Known(expected)));
        }
    }

    #[test]
    fn years_that_the_servers_do_not_have_are_none() {
        assert_eq!(date(-719_162).as_deref(), Some("0001-01-01"));
        assert_eq!((date(-719_163), date(2_932_897)), (None, None));
        assert_eq!((clock(3_600 * 838, 500), offset(-90)), ("838:00:00.0000005".into(), "-01:30".into()));
    }
}
