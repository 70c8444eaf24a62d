//! Numbers as digits. They are most of a file's values, and general formatting costs several times as much.

/// Appends a whole number.
pub(super) fn put_signed(value: i64, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    put_unsigned(value.unsigned_abs(), 1, out);
}

/// Appends a whole number, with zeros before it until it has `least` digits, of which there may be 20.
pub(super) fn put_unsigned(value: u64, least: usize, out: &mut String) {
    let mut digits = [b'0'; 20];
    let (mut rest, mut at) = (value, digits.len());
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let at = at.min(digits.len() - least.min(digits.len()));
    out.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// Appends a decimal that is `value` with `scale` digits behind the point; false, and nothing is appended, where it has
/// more digits than this knows of.
pub(super) fn put_decimal(value: i128, scale: i8, out: &mut String) -> bool {
    let (Ok(amount), Ok(scale)) = (u64::try_from(value.unsigned_abs()), u32::try_from(scale)) else {
        return false;
    };
    let Some(unit) = 10_u64.checked_pow(scale) else { return false };
    if value < 0 {
        out.push('-');
    }
    put_unsigned(amount / unit, 1, out);
    if scale > 0 {
        out.push('.');
        put_unsigned(amount % unit, scale as usize, out);
    }
    true
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::arrow::{
        array::Decimal128Array,
        datatypes::{Decimal128Type, DecimalType},
    };
    use proptest::prelude::*;

    use super::*;

    fn written(put: impl Fn(&mut String)) -> String {
        let mut text = String::new();
        put(&mut text);
        text
    }

    proptest! {
        #[test]
        fn numbers_are_as_they_are_formatted(signed in any::<i64>(), unsigned in any::<u64>(), least in 1_usize..=20) {
            prop_assert_eq!(written(|out| put_signed(signed, out)), signed.to_string());
            prop_assert_eq!(written(|out| put_unsigned(unsigned, least, out)), format!("{unsigned:0least$}"));
        }

        #[test]
        fn decimals_are_as_they_are_formatted(value in any::<i64>(), scale in 0_i8..=19) {
            let expected = Decimal128Type::format_decimal(value.into(), 38, scale);
            prop_assert_eq!(written(|out| assert!(put_decimal(value.into(), scale, out))), expected);
        }
    }

    #[test]
    fn edges_are_written_whole_or_left_to_others() {
        assert_eq!(written(|out| put_signed(i64::MIN, out)), i64::MIN.to_string());
        assert_eq!(written(|out| put_unsigned(0, 1, out)), "0");
        assert_eq!(written(|out| assert!(put_decimal(-5, 2, out))), "-0.05");
        let most = i128::from(u64::MAX);
        assert_eq!(written(|out| assert!(put_decimal(most, 0, out))), most.to_string());
        for (value, scale) in [(most + 1, 0), (1, 20), (1, -2)] {
            assert_eq!(written(|out| assert!(!put_decimal(value, scale, out))), "");
        }
        let array = Decimal128Array::from(vec![-5]).with_precision_and_scale(38, 2).unwrap();
        assert_eq!(array.value_as_string(0), "-0.05");
    }
}
