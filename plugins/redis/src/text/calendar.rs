//! Days and times as ISO 8601 writes them, for every number that a column can hold: a day of 32 bits reaches five
//! million years, where the calendars of libraries end at ten or some hundred thousand.

/// `2024-02-29`; years beyond four digits have a sign.
pub fn date(days: i128) -> String {
    // Days since 0000-03-01, in eras of 400 years (the proleptic Gregorian calendar).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+07}-{month:02}-{day:02}")
    }
}

/// `2024-02-29T12:00:00.5`, of so many parts of a second since 1970, 10⁻ᵈⁱᵍⁱᵗˢ each.
pub fn moment(value: i128, digits: u32) -> String {
    let day = 86_400 * 10_i128.pow(digits);
    let time = clock(value.rem_euclid(day), digits);
    format!("{}T{time}", date(value.div_euclid(day)))
}

/// `23:59:59.5`; nothing for what lies outside a day.
pub fn time(value: i64, digits: u32) -> Option<String> {
    let value = i128::from(value);
    (0..86_400 * 10_i128.pow(digits)).contains(&value).then(|| clock(value, digits))
}

fn clock(value: i128, digits: u32) -> String {
    let second = 10_i128.pow(digits);
    let whole = value / second;
    let fraction = fraction(value % second, digits);
    format!("{:02}:{:02}:{:02}{fraction}", whole / 3600, whole / 60 % 60, whole % 60)
}

/// `1.5`, of parts of a second.
pub fn seconds(value: i128, digits: u32) -> String {
    let (sign, value) = if value < 0 { ("-", -value) } else { ("", value) };
    let second = 10_i128.pow(digits);
    format!("{sign}{}{}", value / second, fraction(value % second, digits))
}

/// `.5`; nothing where there is none.
fn fraction(value: i128, digits: u32) -> String {
    if value == 0 {
        return String::new();
    }
    let text = format!("{value:0width$}", width = digits as usize);
    format!(".{}", text.trim_end_matches('0'))
}

/// `+01:30`.
pub fn offset(minutes: i16) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_moments_are_those_of_the_calendar() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (-719_528, "0000-01-01"),
            (-719_529, "-000001-12-31"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+010000-01-01"),
        ] {
            assert_eq!(date(days), text);
        }
        assert_eq!(moment(-1, 6), "1969-12-31T23:59:59.999999");
        assert_eq!(moment(1_500, 3), "1970-01-01T00:00:01.5");
        assert_eq!(time(86_399_000_000, 6).unwrap(), "23:59:59");
        assert!(time(86_400_000_000, 6).is_none() && time(-1, 9).is_none());
        assert_eq!(seconds(-1_500_000, 6), "-1.5");
        assert_eq!((offset(90), offset(-90)), ("+01:30".into(), "-01:30".into()));
    }
}
