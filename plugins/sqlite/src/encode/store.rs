use hub_plugin_api::types::LogicalType;
use rusqlite::types::ValueRef;

use crate::{
    text,
    types::{Affinity, affinity},
};

/// How values of one type are stored in a column of another, exactly or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// As they are encoded.
    Same,
    /// Whole numbers within bounds.
    Integer(i64, i64),
    /// Whole numbers that a float holds exactly.
    Float,
    /// Numbers as text.
    Text,
    /// Decimals in a column that turns them into integers and floats: only those that come back as they were.
    Number,
    /// Decimals in text, of at most so many digits and so many behind the point.
    Decimal(u8, u8),
}

/// How values of `logical` go into a column that was declared so and whose values mean `target`; none where not
/// every value has an exact place.
pub fn store_for(logical: &LogicalType, declared: &str, target: Option<&LogicalType>) -> Option<Store> {
    use LogicalType as L;
    let affinity = affinity(declared);
    let integral = |logical: &L| {
        matches!(logical, L::Int8 | L::Int16 | L::Int32 | L::Int64 | L::UInt8 | L::UInt16 | L::UInt32)
    };
    let decimal = |logical: &L| matches!(logical, L::Decimal { .. } | L::DecimalText { .. } | L::UInt64);
    let Some(target) = target else {
        // Declared without a type: it keeps every value as it is.
        return match affinity {
            Affinity::Blob => Some(Store::Same),
            _ if integral(logical) || *logical == L::Boolean => Some(Store::Same),
            _ if decimal(logical) => Some(Store::Number),
            _ => None,
        };
    };
    match (logical, target) {
        (L::Decimal { .. } | L::DecimalText { .. }, L::Decimal { precision, scale }) => {
            Some(match affinity {
                Affinity::Text if logical == target => Store::Same,
                Affinity::Text => Store::Decimal(*precision, *scale),
                _ => Store::Number,
            })
        }
        (L::Decimal { .. } | L::UInt64, L::DecimalText { .. })
        | (L::DecimalText { .. }, L::DecimalText { .. }) => {
            Some(if affinity == Affinity::Text { Store::Same } else { Store::Number })
        }
        (from, to) if from == to => Some(Store::Same),
        (from, L::Int8) if integral(from) => Some(Store::Integer(i8::MIN.into(), i8::MAX.into())),
        (from, L::Int16) if integral(from) => Some(Store::Integer(i16::MIN.into(), i16::MAX.into())),
        (from, L::Int32) if integral(from) => Some(Store::Integer(i32::MIN.into(), i32::MAX.into())),
        (from, L::Int64) if integral(from) || *from == L::Boolean => Some(Store::Same),
        (from, L::UInt8) if integral(from) => Some(Store::Integer(0, u8::MAX.into())),
        (from, L::UInt16) if integral(from) => Some(Store::Integer(0, u16::MAX.into())),
        (from, L::UInt32) if integral(from) => Some(Store::Integer(0, u32::MAX.into())),
        (from, L::UInt64) if integral(from) => Some(Store::Integer(0, i64::MAX)),
        (from, L::DecimalText { .. }) if integral(from) => Some(Store::Text),
        (from, L::Float64) if integral(from) => Some(Store::Float),
        (L::Float32, L::Float64) => Some(Store::Same),
        (L::Float32 | L::Float64 | L::Binary | L::FixedBinary(_) | L::Geometry, L::Text) => None,
        (L::Opaque { binary: true, .. }, L::Text) => None,
        (_, L::Text) => Some(Store::Text),
        (L::FixedBinary(_) | L::Geometry | L::Opaque { binary: true, .. }, L::Binary) => Some(Store::Same),
        (L::List(_) | L::Struct(_) | L::Map(..), L::Json) => Some(Store::Same),
        _ => None,
    }
}

impl Store {
    /// The value as the column takes it. The error says why the row cannot be stored.
    pub fn fit<'a>(self, value: ValueRef<'a>, scratch: &'a mut String) -> Result<ValueRef<'a>, String> {
        match (self, value) {
            (Self::Same, value) | (_, value @ ValueRef::Null) => Ok(value),
            (Self::Integer(min, max), ValueRef::Integer(integer)) => match (min..=max).contains(&integer) {
                true => Ok(value),
                false => Err(format!("it is not between {min} and {max}")),
            },
            (Self::Float, ValueRef::Integer(integer)) => match integer.unsigned_abs() <= 1 << 53 {
                true => Ok(value),
                false => Err("no float holds it exactly".into()),
            },
            (Self::Text | Self::Decimal(..), ValueRef::Integer(integer)) => {
                scratch.clear();
                scratch.push_str(&integer.to_string());
                Ok(ValueRef::Text(scratch.as_bytes()))
            }
            (Self::Decimal(precision, scale), ValueRef::Text(bytes)) => {
                let digits = std::str::from_utf8(bytes)
                    .ok()
                    .and_then(|text| text::scaled_digits(text, precision, scale));
                let digits = digits.ok_or_else(|| format!("it is no decimal({precision},{scale})"))?;
                scratch.clear();
                text::write_decimal_digits(scratch, &digits, scale);
                Ok(ValueRef::Text(scratch.as_bytes()))
            }
            (Self::Number, ValueRef::Text(bytes)) => number(bytes),
            (_, value) => Ok(value),
        }
    }
}

/// A decimal as an integer or as the float whose shortest digits are its own.
fn number<'a>(bytes: &[u8]) -> Result<ValueRef<'a>, String> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let rounded = || "the column would round it, because SQLite makes a float of it".to_string();
    let own = text::split_decimal(text).ok_or_else(rounded)?;
    if let Some(integer) = text::scaled_digits(text, 19, 0).and_then(|digits| digits.parse::<i64>().ok()) {
        return Ok(ValueRef::Integer(integer));
    }
    let float: f64 = text.parse().map_err(|_| rounded())?;
    let canonical = |(negative, mut digits, mut behind): (bool, String, usize)| {
        while behind > 0 && digits.ends_with('0') {
            digits.pop();
            behind -= 1;
        }
        (negative, digits, behind)
    };
    let back = text::split_decimal(&float.to_string()).ok_or_else(rounded)?;
    if canonical(back) == canonical(own) { Ok(ValueRef::Real(float)) } else { Err(rounded()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_that_a_float_would_round_is_refused() {
        assert_eq!(number(b"12.50"), Ok(ValueRef::Real(12.5)));
        assert_eq!(number(b"-7.00"), Ok(ValueRef::Integer(-7)));
        assert_eq!(number(b"9223372036854775807"), Ok(ValueRef::Integer(i64::MAX)));
        for rounded in ["123456789012345678.91", "9223372036854775808.5", "NaN", "0.10000000000000000001"] {
            assert!(number(rounded.as_bytes()).is_err(), "{rounded}");
        }
    }

    #[test]
    fn value_without_an_exact_place_has_none() {
        use LogicalType as L;
        let store =
            |from: L, declared: &str| store_for(&from, declared, crate::types::logical_of(declared).as_ref());
        assert_eq!(store(L::Text, "INTEGER"), None);
        assert_eq!(store(L::Float64, "TEXT"), None);
        assert_eq!(store(L::Date, "DATE"), Some(Store::Same));
        assert_eq!(store(L::Date, "DATETIME"), None);
        assert_eq!(store(L::Int32, "REAL"), Some(Store::Float));
        assert_eq!(store(L::Decimal { precision: 5, scale: 2 }, "NUMERIC(5,2)"), Some(Store::Number));
        assert_eq!(store(L::Decimal { precision: 5, scale: 2 }, "DECIMAL_TEXT(5,2)"), Some(Store::Same));
        assert_eq!(
            store(L::Decimal { precision: 9, scale: 4 }, "DECIMAL_TEXT(5,2)"),
            Some(Store::Decimal(5, 2))
        );
        assert_eq!(store(L::Json, ""), Some(Store::Same));
    }
}
