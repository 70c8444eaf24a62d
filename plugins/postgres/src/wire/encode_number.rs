//! The binary form of numeric: groups of four decimal digits, exact from every carrier.
//!
//! `numeric_send` and `numeric_recv` of the server: group count, weight of the first group, sign, digits behind the
//! point, then the groups; all of them 16 bits.

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Powers of ten that fit.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut index = 1;
    while index < 20 {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// A power of ten, where it fits.
pub(super) fn power(exponent: u32) -> Option<u128> {
    10_u128.checked_pow(exponent)
}

/// Whether `value` at `scale` has no digits below the `kept` ones.
pub(super) fn fits_scale(value: i128, scale: u32, kept: i32) -> bool {
    let dropped = i64::from(scale) - i64::from(kept);
    if dropped <= 0 || value == 0 {
        return true;
    }
    u32::try_from(dropped).ok().and_then(power).is_some_and(|unit| value.unsigned_abs().is_multiple_of(unit))
}

/// Digits behind the point, with which [`put_short`] stays within 64 bits.
const SHORT_SCALE: u32 = 16;

/// Appends length and value of `value` × 10^-`scale`.
#[inline]
pub(super) fn put_decimal(out: &mut Vec<u8>, value: i128, scale: u32) {
    let sign = if value < 0 { NEGATIVE } else { POSITIVE };
    match u64::try_from(value.unsigned_abs()) {
        Ok(magnitude) if scale <= SHORT_SCALE => put_short(out, magnitude, sign, scale),
        _ => put_long(out, value.unsigned_abs(), sign, scale),
    }
}

/// What nearly all values are: divisions of 128 bits cost more than everything else here.
fn put_short(out: &mut Vec<u8>, magnitude: u64, sign: u16, scale: u32) {
    // Five groups before the point, four behind it.
    let mut groups = [0_u16; 9];
    let mut start = groups.len();
    let unit = POWERS[scale as usize];
    let fraction_groups = scale.div_ceil(4);
    // The last group is filled up with zeros on its right.
    let mut fraction = magnitude % unit * POWERS[(fraction_groups * 4 - scale) as usize];
    for _ in 0..fraction_groups {
        start -= 1;
        groups[start] = (fraction % 10_000) as u16;
        fraction /= 10_000;
    }
    let (mut whole, mut weight) = (magnitude / unit, -1);
    while whole != 0 {
        start -= 1;
        groups[start] = (whole % 10_000) as u16;
        whole /= 10_000;
        weight += 1;
    }
    let mut groups = &groups[start..];
    if weight == -1 {
        while let [0, rest @ ..] = groups {
            groups = rest;
            weight -= 1;
        }
    }
    while let [rest @ .., 0] = groups {
        groups = rest;
    }
    put_groups(out, groups, weight, sign, scale);
}

fn put_long(out: &mut Vec<u8>, magnitude: u128, sign: u16, scale: u32) {
    // 128 bits are at most ten groups, and the point may cut one more; the head takes six 16-bit words.
    let mut groups = [0_u16; 16];
    let mut start = groups.len();
    let fraction_groups = scale.div_ceil(4) as usize;
    let padding = fraction_groups as u32 * 4 - scale;
    let (whole, mut fraction) = match (u64::try_from(magnitude), POWERS.get(scale as usize)) {
        (Ok(small), Some(unit)) => (u128::from(small / unit), u128::from(small % unit)),
        _ => match power(scale) {
            Some(unit) => (magnitude / unit, magnitude % unit),
            None => (0, magnitude),
        },
    };
    let mut written = 0;
    if fraction != 0 {
        // The last group is filled up with zeros on its right.
        let last = POWERS[(4 - padding) as usize] as u128;
        start -= 1;
        groups[start] = ((fraction % last) as u16) * POWERS[padding as usize] as u16;
        fraction /= last;
        written = 1;
        while fraction != 0 && start > 0 {
            start -= 1;
            groups[start] = (fraction % 10_000) as u16;
            fraction /= 10_000;
            written += 1;
        }
    }
    let mut weight = -1 - (fraction_groups as i32 - written);
    if whole != 0 {
        // Zero groups between the point and the first digit behind it.
        if written != 0 {
            while (written as usize) < fraction_groups {
                start -= 1;
                groups[start] = 0;
                written += 1;
            }
        }
        weight = -1;
        match u64::try_from(whole) {
            Ok(mut small) => {
                while small != 0 {
                    start -= 1;
                    groups[start] = (small % 10_000) as u16;
                    small /= 10_000;
                    weight += 1;
                }
            }
            Err(_) => {
                let mut large = whole;
                while large != 0 {
                    start -= 1;
                    groups[start] = (large % 10_000) as u16;
                    large /= 10_000;
                    weight += 1;
                }
            }
        }
    }
    let mut end = groups.len();
    while end > start && groups[end - 1] == 0 {
        end -= 1;
    }
    put_groups(out, &groups[start..end], weight, sign, scale);
}

/// Appends length and value of a number in text: canonical digits, `NaN`, `Infinity`, `-Infinity`. `kept` is the
/// number of digits behind the point that the column keeps.
pub(super) fn put_decimal_text(out: &mut Vec<u8>, text: &str, kept: Option<i32>) -> Result<(), &'static str> {
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" => Some(INFINITY),
        "-Infinity" => Some(NEGATIVE_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        put_groups(out, &[], 0, sign, 0);
        return Ok(());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (NEGATIVE, rest),
        None => (POSITIVE, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty()
        || !all_digits(whole)
        || !all_digits(fraction)
        || (fraction.is_empty() && text.contains('.'))
    {
        return Err("is not a decimal in digits");
    }
    let dropped = match kept {
        Some(kept) if kept < 0 => {
            let place = whole.len().saturating_sub(kept.unsigned_abs() as usize);
            whole[place..].bytes().chain(fraction.bytes()).any(|byte| byte != b'0')
        }
        Some(kept) => fraction.bytes().skip(kept.unsigned_abs() as usize).any(|byte| byte != b'0'),
        None => false,
    };
    if dropped {
        return Err("has more digits behind the point than the column keeps");
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > 131_072 || fraction.len() > 16_383 {
        return Err("has more digits than the server holds");
    }
    let mut groups = Vec::with_capacity((whole.len() + fraction.len()) / 4 + 2);
    let first = whole.len() % 4;
    let (head, rest) = whole.as_bytes().split_at(first);
    if !head.is_empty() {
        groups.push(group(head));
    }
    groups.extend(rest.chunks(4).map(group));
    let weight = groups.len() as i32 - 1;
    groups.extend(fraction.as_bytes().chunks(4).map(|chunk| group(chunk) * POWERS[4 - chunk.len()] as u16));
    let leading = groups.iter().take_while(|group| **group == 0).count();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let significant = groups.get(leading..).unwrap_or_default();
    put_groups(out, significant, weight - leading as i32, sign, fraction.len() as u32);
    Ok(())
}

fn group(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'))
}

#[inline]
fn put_groups(out: &mut Vec<u8>, groups: &[u16], weight: i32, sign: u16, scale: u32) {
    // Zero has no groups, no weight and no sign.
    let (weight, sign) = if groups.is_empty() && sign == NEGATIVE { (0, POSITIVE) } else { (weight, sign) };
    let weight = if groups.is_empty() { 0 } else { weight };
    let mut head = [0; 12];
    head[..4].copy_from_slice(&(8 + 2 * groups.len() as u32).to_be_bytes());
    head[4..6].copy_from_slice(&(groups.len() as u16).to_be_bytes());
    head[6..8].copy_from_slice(&(weight as i16).to_be_bytes());
    head[8..10].copy_from_slice(&sign.to_be_bytes());
    head[10..12].copy_from_slice(&(scale as u16).to_be_bytes());
    out.extend_from_slice(&head);
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the server makes of the bytes, written by the definition of the format.
    fn read_back(bytes: &[u8]) -> String {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
        let (count, weight, sign, scale) =
            (word(4) as usize, word(6) as i16 as i32, word(8), word(10) as i32);
        match sign {
            NAN => return "NaN".into(),
            INFINITY => return "Infinity".into(),
            NEGATIVE_INFINITY => return "-Infinity".into(),
            _ => {}
        }
        let at = |place: i32| {
            usize::try_from(weight - place)
                .ok()
                .filter(|index| *index < count)
                .map_or(0, |index| word(12 + 2 * index))
        };
        let mut text = String::new();
        for place in (0..=weight.max(0)).rev() {
            text.push_str(&format!("{:04}", at(place)));
        }
        let text_whole = text.trim_start_matches('0');
        let mut text = if text_whole.is_empty() { "0".to_owned() } else { text_whole.to_owned() };
        if scale > 0 {
            let mut fraction = String::new();
            for place in 1..=(scale + 3) / 4 {
                fraction.push_str(&format!("{:04}", at(-place)));
            }
            text = format!("{text}.{}", &fraction[..scale as usize]);
        }
        if sign == NEGATIVE { format!("-{text}") } else { text }
    }

    fn plain(value: i128, scale: usize) -> String {
        let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let point = if scale == 0 { "" } else { "." };
        format!("{}{whole}{point}{fraction}", if value < 0 { "-" } else { "" })
    }

    fn check(value: i128, scale: usize) {
        let (mut out, mut from_text) = (Vec::new(), Vec::new());
        put_decimal(&mut out, value, scale as u32);
        assert_eq!(read_back(&out), plain(value, scale), "{value} at {scale}");
        put_decimal_text(&mut from_text, &plain(value, scale), None).unwrap();
        assert_eq!(from_text, out, "{value} at {scale}");
    }

    #[test]
    fn edges_are_exact() {
        for scale in 0..=38 {
            for exponent in 0..=38 {
                let unit = 10_i128.pow(exponent);
                for value in [unit, -unit, unit - 1, 1 - unit, unit.saturating_add(1)] {
                    check(value, scale);
                }
            }
            check(i128::MAX, scale);
            check(i128::MIN, scale);
        }
    }

    proptest! {
        #[test]
        fn every_decimal_is_exact(value: i128, shift in 0_u32..128, scale in 0_usize..39) {
            check(value >> shift, scale);
        }
    }

    #[test]
    fn text_that_is_no_decimal_is_refused() {
        for text in ["", "-", ".5", "5.", "1e3", "+1", " 1", "1 ", "0x1", "nan", "1.2.3", "--1", "１"] {
            assert!(put_decimal_text(&mut Vec::new(), text, None).is_err(), "{text}");
        }
        for text in [
            "NaN",
            "Infinity",
            "-Infinity",
            "0.000",
            "-0.5",
            "12345678901234567890123456789012345678901234567890.1",
        ] {
            let mut out = Vec::new();
            put_decimal_text(&mut out, text, None).unwrap();
            assert_eq!(read_back(&out), text);
        }
    }

    #[test]
    fn digits_that_the_column_would_round_are_refused() {
        assert!(fits_scale(1200, 4, 2) && !fits_scale(1234, 4, 2) && fits_scale(1234, 2, 5));
        assert!(fits_scale(120_000, 2, -2) && !fits_scale(12_000, 2, -2));
        let put = |text, kept| put_decimal_text(&mut Vec::new(), text, Some(kept)).is_ok();
        assert!(
            put("1.2300", 2) && !put("1.2310", 2) && put("1200", -2) && !put("1210", -2) && !put("5", -2)
        );
    }
}
