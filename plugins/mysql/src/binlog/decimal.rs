//! Packed decimals: groups of nine digits in four bytes, the most significant bit flipped, negatives inverted.
//!
//! Source: MySQL's `decimal2bin` documentation.

use hub_plugin_api::arrow::datatypes::i256;

use super::{cursor::big, storage::DIGIT_BYTES};

/// Hands each group of digits to `each`: its value, and how many digits it has. Answers whether the number is
/// negative, or nothing when the bytes are not as many as the digits need or a group has too many digits.
fn groups(bytes: &[u8], precision: u8, scale: u8, mut each: impl FnMut(u32, u8)) -> Option<bool> {
    let first = bytes.first()?;
    let negative = first & 0x80 == 0;
    let mut start = true;
    let mut rest = bytes;
    let mut group = |digits: u8| -> Option<()> {
        let (head, tail) = rest.split_at_checked(DIGIT_BYTES[usize::from(digits)])?;
        rest = tail;
        if head.is_empty() {
            return Some(());
        }
        let mut value = big(head);
        if std::mem::take(&mut start) {
            value ^= 1 << (head.len() * 8 - 1);
        }
        if negative {
            value ^= (1 << (head.len() * 8)) - 1;
        }
        if value >= 10u64.pow(digits.into()) {
            return None;
        }
        each(value as u32, digits);
        Some(())
    };
    let whole = precision.checked_sub(scale)?;
    group(whole % 9)?;
    for _ in 0..whole / 9 {
        group(9)?;
    }
    for _ in 0..scale / 9 {
        group(9)?;
    }
    group(scale % 9)?;
    rest.is_empty().then_some(negative)
}

/// As a number without a point, of up to 38 digits.
pub fn to_i128(bytes: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let mut value = 0i128;
    let negative = groups(bytes, precision, scale, |group, digits| {
        value = value.wrapping_mul(10i128.pow(digits.into())).wrapping_add(group.into());
    })?;
    Some(if negative { -value } else { value })
}

/// As a number without a point, of up to 76 digits.
pub fn to_i256(bytes: &[u8], precision: u8, scale: u8) -> Option<i256> {
    let mut value = i256::ZERO;
    let negative = groups(bytes, precision, scale, |group, digits| {
        let power = i256::from_i128(10i128.pow(digits.into()));
        value = value.wrapping_mul(power).wrapping_add(i256::from_i128(group.into()));
    })?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// As digits with a point, as the server writes it.
pub fn write_text(bytes: &[u8], precision: u8, scale: u8, into: &mut String) -> Option<()> {
    let mut digits = String::new();
    let negative = groups(bytes, precision, scale, |group, count| {
        digits.push_str(&format!("{group:0width$}", width = usize::from(count)));
    })?;
    let (whole, fraction) = digits.split_at(usize::from(precision - scale));
    if negative {
        into.push('-');
    }
    let whole = whole.trim_start_matches('0');
    into.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        into.push('.');
        into.push_str(fraction);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_digits_become_numbers() {
        // The manual's example: 1234567890.1234 as DECIMAL(14,4).
        let bytes = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(to_i128(&bytes, 14, 4), Some(12_345_678_901_234));
        let negative: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        assert_eq!(to_i128(&negative, 14, 4), Some(-12_345_678_901_234));
        assert_eq!(to_i256(&negative, 14, 4), Some(i256::from_i128(-12_345_678_901_234)));
        let mut text = String::new();
        write_text(&negative, 14, 4, &mut text).unwrap();
        assert_eq!(text, "-1234567890.1234");
        text.clear();
        write_text(&[0x80, 0x01], 3, 2, &mut text).unwrap();
        assert_eq!(text, "0.01");
    }

    #[test]
    fn digits_that_are_none_are_refused() {
        assert_eq!(to_i128(&[0xff, 0xff, 0xff, 0xff], 9, 0), None);
        assert_eq!(to_i128(&[0x80, 0], 9, 0), None);
        assert_eq!(to_i128(&[], 0, 0), None);
    }
}
