//! `numeric` as `numeric_send` writes it: digits to the base of 10,000, the weight of the first, sign and scale.

use std::io::Write;

use hub_plugin_api::arrow::datatypes::i256;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// A value's parts. Digits stay as they are on the wire, two bytes each.
pub(super) struct Numeric<'a> {
    digits: &'a [u8],
    /// The power of 10,000 of the first digit.
    weight: i32,
    sign: u16,
    /// Digits behind the point that are shown.
    scale: usize,
}

impl<'a> Numeric<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, &'static str> {
        const MALFORMED: &str = "a numeric is not as the protocol has it";
        let (head, digits) = value.split_first_chunk::<8>().ok_or(MALFORMED)?;
        let part = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if digits.len() != 2 * usize::from(part(0)) {
            return Err(MALFORMED);
        }
        Ok(Self {
            digits,
            weight: i32::from(part(2).cast_signed()),
            sign: part(4),
            scale: usize::from(part(6)),
        })
    }

    fn digits(&self) -> impl Iterator<Item = u16> + 'a {
        self.digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn count(&self) -> i32 {
        (self.digits.len() / 2) as i32
    }

    fn special(&self) -> Option<&'static str> {
        match self.sign {
            NAN => Some("NaN"),
            INFINITY => Some("Infinity"),
            NEGATIVE_INFINITY => Some("-Infinity"),
            _ => None,
        }
    }

    /// The power of ten that the digits, read as one whole number, are to be multiplied with to have `scale` digits
    /// behind the point.
    fn exponent(&self, scale: u8) -> i32 {
        4 * (self.weight - self.count() + 1) + i32::from(scale)
    }
}

/// 10⁰ to 10³⁸: all powers of ten that 128 bits hold.
const POWERS: [u128; 39] = {
    let mut powers = [1; 39];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// The value as a whole number of 10⁻ˢᶜᵃˡᵉ, when it has at most four digits to the base of 10,000 and the result fits
/// 64 bits: what nearly all values are. `None` says nothing about the value.
#[inline]
pub(super) fn to_short(value: &[u8], precision: u8, scale: u8) -> Option<i64> {
    let (head, digits) = value.split_first_chunk::<8>()?;
    let head = u64::from_be_bytes(*head);
    let (count, weight, sign) = ((head >> 48) as usize, (head >> 32) as i16, (head >> 16) as u16);
    if count > 4 || digits.len() != 2 * count || sign & !NEGATIVE != 0 {
        return None;
    }
    let digit = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], pair[1]]));
    let whole = digits.chunks_exact(2).fold(0, |sum, pair| sum * 10_000 + digit(pair));
    let exponent = 4 * (i32::from(weight) - count as i32 + 1) + i32::from(scale);
    let scaled = match exponent {
        0 => whole,
        // Division by a constant is a multiplication; nothing may be rounded.
        -1 if whole % 10 == 0 => whole / 10,
        -2 if whole % 100 == 0 => whole / 100,
        -3 if whole % 1000 == 0 => whole / 1000,
        1..=18 => whole.checked_mul(POWERS[exponent as usize] as u64)?,
        _ => return None,
    };
    let limit = POWERS[usize::from(precision.min(18))] as u64;
    let value = Some(scaled.cast_signed()).filter(|_| scaled < limit)?;
    Some(if sign == NEGATIVE { -value } else { value })
}

/// The value as a whole number of 10⁻ˢᶜᵃˡᵉ.
pub(super) fn to_i128(numeric: &Numeric<'_>, precision: u8, scale: u8) -> Result<i128, String> {
    if let Some(special) = numeric.special() {
        return Err(not_a_number(special, precision, scale));
    }
    let exponent = numeric.exponent(scale);
    let add = |sum: u128, digit: u16| sum.checked_mul(10_000)?.checked_add(u128::from(digit));
    let whole = numeric.digits().try_fold(0, add);
    let power = POWERS.get(exponent.unsigned_abs() as usize).copied();
    let scaled = match (whole, power) {
        (Some(whole), Some(power)) if exponent >= 0 => whole.checked_mul(power),
        (Some(whole), Some(power)) if whole % power == 0 => Some(whole / power),
        (Some(0), None) => Some(0),
        // More digits than 128 bits hold may still fit once the zeros behind the last one that counts are gone.
        (None, _) => {
            return to_i256(numeric, precision, scale)?.to_i128().ok_or_else(|| too_long(precision, scale));
        }
        _ => None,
    };
    let limit = POWERS.get(usize::from(precision)).copied().unwrap_or(u128::MAX);
    let value =
        scaled.filter(|value| *value < limit).ok_or_else(|| too_long(precision, scale))?.cast_signed();
    Ok(if numeric.sign == NEGATIVE { -value } else { value })
}

/// The value as a whole number of 10⁻ˢᶜᵃˡᵉ.
pub(super) fn to_i256(numeric: &Numeric<'_>, precision: u8, scale: u8) -> Result<i256, String> {
    if let Some(special) = numeric.special() {
        return Err(not_a_number(special, precision, scale));
    }
    let overflow = || too_long(precision, scale);
    let power = |exponent: u32| i256::from_i128(10).checked_pow(exponent);
    let base = i256::from_i128(10_000);
    let mut value = i256::ZERO;
    let mut place = 4 * numeric.weight + i32::from(scale);
    for digit in numeric.digits() {
        let digit = i256::from_i128(i128::from(digit));
        if place >= 0 {
            value =
                value.checked_mul(base).and_then(|value| value.checked_add(digit)).ok_or_else(overflow)?;
        } else if place > -4 {
            // This digit lies across the last place that counts.
            let divisor = power(place.unsigned_abs()).ok_or_else(overflow)?;
            let keep = power((place + 4).unsigned_abs()).ok_or_else(overflow)?;
            if digit % divisor != i256::ZERO {
                return Err(overflow());
            }
            value = value
                .checked_mul(keep)
                .and_then(|value| value.checked_add(digit / divisor))
                .ok_or_else(overflow)?;
        } else if digit != i256::ZERO {
            return Err(overflow());
        }
        place -= 4;
    }
    // Zeros between the last digit sent and the last place that counts.
    if place >= -3 && value != i256::ZERO {
        let zeros = power((place + 4).unsigned_abs()).ok_or_else(overflow)?;
        value = value.checked_mul(zeros).ok_or_else(overflow)?;
    }
    let limit = power(u32::from(precision)).ok_or_else(overflow)?;
    if value >= limit {
        return Err(overflow());
    }
    Ok(if numeric.sign == NEGATIVE { -value } else { value })
}

fn not_a_number(special: &str, precision: u8, scale: u8) -> String {
    format!("`{special}` cannot be carried as decimal({precision},{scale})")
}

fn too_long(precision: u8, scale: u8) -> String {
    format!("a numeric has more digits than decimal({precision},{scale})")
}

/// The value as the server writes it.
pub(super) fn write_text(numeric: &Numeric<'_>, out: &mut Vec<u8>) {
    if let Some(special) = numeric.special() {
        out.extend_from_slice(special.as_bytes());
        return;
    }
    if numeric.sign == NEGATIVE {
        out.push(b'-');
    }
    let digit = |power: i32| {
        let at = usize::try_from(numeric.weight - power).ok();
        let pair = at.and_then(|at| numeric.digits.get(2 * at..2 * at + 2));
        pair.map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    // Writing into memory does not fail.
    if numeric.weight < 0 {
        out.push(b'0');
    } else {
        let _ = write!(out, "{}", digit(numeric.weight));
        for power in (0..numeric.weight).rev() {
            let _ = write!(out, "{:04}", digit(power));
        }
    }
    if numeric.scale > 0 {
        out.push(b'.');
        let end = out.len() + numeric.scale;
        let mut power = -1;
        while out.len() < end {
            let _ = write!(out, "{:04}", digit(power));
            power -= 1;
        }
        out.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number as the server sends it: groups of four digits to both sides of the point, without zero groups at the
    /// ends.
    fn send(negative: bool, digits: &str, scale: usize) -> Vec<u8> {
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
        let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
        let joined = format!("{whole}{fraction}");
        let mut groups: Vec<u16> = joined
            .as_bytes()
            .chunks(4)
            .map(|group| std::str::from_utf8(group).unwrap().parse().unwrap())
            .collect();
        let mut weight = (whole.len() / 4) as i16 - 1;
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        if groups.is_empty() {
            weight = 0;
        }
        let sign = if negative && !groups.is_empty() { NEGATIVE } else { 0 };
        let head = [groups.len() as u16, weight.cast_unsigned(), sign, scale as u16];
        head.iter().chain(&groups).flat_map(|part| part.to_be_bytes()).collect()
    }

    fn text(wire: &[u8]) -> String {
        let mut out = Vec::new();
        write_text(&Numeric::parse(wire).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_come_back_digit_by_digit(
            negative: bool, digits in "[1-9][0-9]{0,37}", scale in 0usize..=38,
        ) {
            let value: i128 = digits.parse().unwrap();
            let value = if negative { -value } else { value };
            let wire = send(negative, &digits, scale);
            let numeric = Numeric::parse(&wire).unwrap();
            prop_assert_eq!(to_i128(&numeric, 38, scale as u8).unwrap(), value);
            let length = digits.len() as u8;
            let short = to_short(&wire, length, scale as u8);
            prop_assert!(short.is_none_or(|short| i128::from(short) == value));
            prop_assert!(short.is_some() || length > 12, "twelve digits never take the long way");
            prop_assert_eq!(to_short(&wire, length - 1, scale as u8), None);
            prop_assert_eq!(to_i256(&numeric, 76, scale as u8).unwrap(), i256::from_i128(value));
            // One digit less is refused rather than rounded, unless it is a zero.
            if scale > 0 {
                let shorter = to_i128(&numeric, 38, scale as u8 - 1);
                prop_assert_eq!(shorter.ok(), (value % 10 == 0).then_some(value / 10));
            }
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            let point = if scale > 0 { "." } else { "" };
            let sign = if negative { "-" } else { "" };
            prop_assert_eq!(text(&wire), format!("{sign}{whole}{point}{fraction}"));
        }

        #[test]
        fn long_numbers_fit_256_bits(digits in "[1-9][0-9]{0,75}", scale in 0usize..=76) {
            let wire = send(false, &digits, scale);
            let found = to_i256(&Numeric::parse(&wire).unwrap(), 76, scale as u8).unwrap();
            prop_assert_eq!(found.to_string(), digits);
        }

        #[test]
        fn bytes_that_are_no_number_are_refused_or_read_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let _ = to_short(&bytes, 38, 10);
            if let Ok(numeric) = Numeric::parse(&bytes) {
                let _ = to_i128(&numeric, 38, 10);
                let _ = to_i256(&numeric, 76, 10);
            }
        }
    }

    #[test]
    fn what_is_no_number_is_carried_as_text_only() {
        for (sign, name) in [(NAN, "NaN"), (INFINITY, "Infinity"), (NEGATIVE_INFINITY, "-Infinity")] {
            let wire: Vec<u8> = [0, 0, sign, 0].iter().flat_map(|part: &u16| part.to_be_bytes()).collect();
            let numeric = Numeric::parse(&wire).unwrap();
            assert_eq!(text(&wire), name);
            assert_eq!(
                to_i128(&numeric, 5, 2).unwrap_err(),
                format!("`{name}` cannot be carried as decimal(5,2)")
            );
            assert!(to_i256(&numeric, 76, 2).is_err());
        }
    }
}
