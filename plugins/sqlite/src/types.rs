//! Declared types of SQLite ↔ the types of the boundary.
//!
//! SQLite has five classes of values and turns a value into its column's class where it thinks that this loses
//! nothing; for a decimal that is not so. What has no exact class of its own is therefore declared with text
//! affinity, and its true type is in the name: `DECIMAL_TEXT(12,2)`. No such name may hold `INT` (that is integer
//! affinity), which is why an interval is `MONTH_DAY_NANO_TEXT`.

use hub_plugin_api::types::{LogicalType, Unit};

/// The class that a column turns values into: <https://www.sqlite.org/datatype3.html>, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// Whole numbers; texts that look like one become one.
    Integer,
    /// Numbers become text.
    Text,
    /// Nothing changes.
    Blob,
    /// Numbers become floats.
    Real,
    /// Texts that look like a number become one.
    Numeric,
}

/// The affinity of a declared type, by the five rules in their order.
pub fn affinity(declared: &str) -> Affinity {
    let upper = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    if has(&["INT"]) {
        Affinity::Integer
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        Affinity::Text
    } else if upper.is_empty() || has(&["BLOB"]) {
        Affinity::Blob
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

/// The declared type of a column that the hub makes.
pub fn declared_of(logical: &LogicalType) -> String {
    match logical {
        LogicalType::Boolean => "BOOLEAN".into(),
        LogicalType::Int8 => "TINYINT".into(),
        LogicalType::Int16 => "SMALLINT".into(),
        LogicalType::Int32 => "INT".into(),
        LogicalType::Int64 => "INTEGER".into(),
        LogicalType::UInt8 => "TINYINT UNSIGNED".into(),
        LogicalType::UInt16 => "SMALLINT UNSIGNED".into(),
        LogicalType::UInt32 => "INT UNSIGNED".into(),
        // Its upper half does not fit SQLite's integers.
        LogicalType::UInt64 => "UNSIGNED64_TEXT".into(),
        LogicalType::Float32 => "FLOAT".into(),
        LogicalType::Float64 => "DOUBLE".into(),
        LogicalType::Decimal { precision, scale } => format!("DECIMAL_TEXT({precision},{scale})"),
        LogicalType::DecimalText { precision: Some(precision), scale: Some(scale) } => {
            format!("NUMERIC_TEXT({precision},{scale})")
        }
        LogicalType::DecimalText { precision: Some(precision), scale: None } => {
            format!("NUMERIC_TEXT({precision})")
        }
        LogicalType::DecimalText { .. } => "NUMERIC_TEXT".into(),
        LogicalType::Text => "TEXT".into(),
        LogicalType::Binary => "BLOB".into(),
        LogicalType::FixedBinary(length) => format!("FIXED_BLOB({length})"),
        LogicalType::Date => "DATE_TEXT".into(),
        LogicalType::Time(unit) => format!("TIME_TEXT({})", digits(*unit)),
        LogicalType::Timestamp { unit, utc: false } => format!("TIMESTAMP_TEXT({})", digits(*unit)),
        LogicalType::Timestamp { unit, utc: true } => format!("TIMESTAMPTZ_TEXT({})", digits(*unit)),
        LogicalType::WideTimestamp => "WIDE_TIMESTAMP_TEXT".into(),
        LogicalType::OffsetTimestamp(unit) => format!("OFFSET_TIMESTAMP_TEXT({})", digits(*unit)),
        // Whole seconds, milliseconds …, as the digits say.
        LogicalType::Duration(unit) => format!("DURATION({})", digits(*unit)),
        LogicalType::Interval => "MONTH_DAY_NANO_TEXT".into(),
        LogicalType::Uuid => "UUID_TEXT".into(),
        LogicalType::Json => "JSON_TEXT".into(),
        LogicalType::Geometry => "GEOMETRY_BLOB".into(),
        LogicalType::Enum(_) => "ENUM_TEXT".into(),
        LogicalType::List(_) => "LIST_JSON_TEXT".into(),
        LogicalType::Struct(_) => "STRUCT_JSON_TEXT".into(),
        LogicalType::Map(..) => "MAP_JSON_TEXT".into(),
        LogicalType::Opaque { binary: true, .. } => "OPAQUE_BLOB".into(),
        // A type of a newer API is refused before it comes here: `encode` does not know it.
        _ => "OPAQUE_TEXT".into(),
    }
}

/// What a declared type says of a column's values; none where only the values can tell.
pub fn logical_of(declared: &str) -> Option<LogicalType> {
    let upper = declared.trim().to_ascii_uppercase();
    let (name, arguments) = split(&upper);
    let unit = || unit_of(arguments.first().copied().unwrap_or(6));
    let decimal = || match *arguments.as_slice() {
        [precision] => exact_decimal(precision, 0),
        [precision, scale] => exact_decimal(precision, scale),
        _ => LogicalType::DecimalText { precision: None, scale: None },
    };
    Some(match name {
        "BOOLEAN" | "BOOL" => LogicalType::Boolean,
        "UNSIGNED64_TEXT" => LogicalType::UInt64,
        "DECIMAL_TEXT" | "DECIMAL" | "NUMERIC" | "DEC" | "NUMBER" => decimal(),
        "NUMERIC_TEXT" => LogicalType::DecimalText {
            precision: arguments.first().and_then(|value| u32::try_from(*value).ok()),
            scale: arguments.get(1).and_then(|value| i32::try_from(*value).ok()),
        },
        "FIXED_BLOB" => {
            i32::try_from(*arguments.first()?).map_or(LogicalType::Binary, LogicalType::FixedBinary)
        }
        "DATE_TEXT" | "DATE" => LogicalType::Date,
        "TIME_TEXT" | "TIME" => LogicalType::Time(match unit()? {
            Unit::Nanosecond => Unit::Nanosecond,
            _ => Unit::Microsecond,
        }),
        "TIMESTAMP_TEXT" => LogicalType::Timestamp { unit: unit()?, utc: false },
        "TIMESTAMPTZ_TEXT" => LogicalType::Timestamp { unit: unit()?, utc: true },
        "DATETIME" | "TIMESTAMP" => LogicalType::Timestamp { unit: Unit::Microsecond, utc: false },
        "WIDE_TIMESTAMP_TEXT" => LogicalType::WideTimestamp,
        "OFFSET_TIMESTAMP_TEXT" => LogicalType::OffsetTimestamp(unit()?),
        "DURATION" => LogicalType::Duration(unit()?),
        "MONTH_DAY_NANO_TEXT" => LogicalType::Interval,
        "UUID_TEXT" | "UUID" => LogicalType::Uuid,
        "JSON_TEXT" | "JSON" | "LIST_JSON_TEXT" | "STRUCT_JSON_TEXT" | "MAP_JSON_TEXT" => LogicalType::Json,
        "GEOMETRY_BLOB" => LogicalType::Geometry,
        "" => return None,
        _ => match affinity(&upper) {
            Affinity::Integer => LogicalType::Int64,
            Affinity::Text => LogicalType::Text,
            Affinity::Blob => LogicalType::Binary,
            Affinity::Real => LogicalType::Float64,
            Affinity::Numeric => return None,
        },
    })
}

/// A name of a type and the numbers in its parentheses.
fn split(declared: &str) -> (&str, Vec<i64>) {
    let Some((name, rest)) = declared.split_once('(') else { return (declared, Vec::new()) };
    let arguments = rest.trim_end().trim_end_matches(')').split(',');
    (name.trim_end(), arguments.filter_map(|one| one.trim().parse().ok()).collect())
}

fn exact_decimal(precision: i64, scale: i64) -> LogicalType {
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision @ 1..=76), Ok(scale)) if scale <= precision => {
            LogicalType::Decimal { precision, scale }
        }
        _ => LogicalType::DecimalText {
            precision: u32::try_from(precision).ok(),
            scale: i32::try_from(scale).ok(),
        },
    }
}

/// Digits behind the second that a unit has.
pub fn digits(unit: Unit) -> u8 {
    match unit {
        Unit::Second => 0,
        Unit::Millisecond => 3,
        Unit::Microsecond => 6,
        Unit::Nanosecond => 9,
    }
}

fn unit_of(digits: i64) -> Option<Unit> {
    Some(match digits {
        0 => Unit::Second,
        1..=3 => Unit::Millisecond,
        4..=6 => Unit::Microsecond,
        7..=9 => Unit::Nanosecond,
        _ => return None,
    })
}

/// How many of a unit make a second.
pub fn per_second(unit: Unit) -> i64 {
    10_i64.pow(digits(unit).into())
}

/// Whether a declared type of another SQLite file may be written into a statement: words and up to two numbers.
pub fn is_plain(declared: &str) -> bool {
    let (name, rest) = declared.split_once('(').map_or((declared, None), |(name, rest)| (name, Some(rest)));
    let words_fit = !name.trim().is_empty()
        && name.split_ascii_whitespace().all(|word| {
            word.starts_with(|c: char| c.is_ascii_alphabetic())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !RESERVED.contains(&word.to_ascii_uppercase().as_str())
        });
    let number_fits = |number: &str| {
        let digits = number.trim().trim_start_matches(['+', '-']);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let numbers_fit = rest.is_none_or(|rest| {
        rest.trim_end()
            .strip_suffix(')')
            .is_some_and(|inside| inside.split(',').count() <= 2 && inside.split(',').all(number_fits))
    });
    words_fit && numbers_fit
}

/// Words that end a type's name in a column's definition.
const RESERVED: [&str; 14] = [
    "AS",
    "CHECK",
    "COLLATE",
    "CONSTRAINT",
    "DEFAULT",
    "FOREIGN",
    "GENERATED",
    "NOT",
    "NULL",
    "ON",
    "PRIMARY",
    "REFERENCES",
    "UNIQUE",
    "ALWAYS",
];

#[cfg(test)]
mod tests {
    use hub_plugin_api::types::LogicalType as L;

    use super::*;

    fn scalars() -> Vec<L> {
        let mut all = vec![
            L::Boolean,
            L::Int8,
            L::Int16,
            L::Int32,
            L::Int64,
            L::UInt8,
            L::UInt16,
            L::UInt32,
            L::UInt64,
            L::Float32,
            L::Float64,
            L::Decimal { precision: 12, scale: 2 },
            L::Decimal { precision: 76, scale: 76 },
            L::DecimalText { precision: Some(1000), scale: Some(-3) },
            L::DecimalText { precision: Some(99), scale: None },
            L::DecimalText { precision: None, scale: None },
            L::Text,
            L::Binary,
            L::FixedBinary(3),
            L::Date,
            L::WideTimestamp,
            L::Interval,
            L::Uuid,
            L::Json,
            L::Geometry,
            L::Enum(vec!["a".into()]),
            L::List(Box::new(L::Int32)),
            L::Struct(vec![]),
            L::Map(Box::new(L::Text), Box::new(L::Text)),
            L::Opaque { type_name: "int4range".into(), vendor_name: "v".into(), binary: false },
            L::Opaque { type_name: "t".into(), vendor_name: "v".into(), binary: true },
        ];
        for unit in [Unit::Second, Unit::Millisecond, Unit::Microsecond, Unit::Nanosecond] {
            all.extend([false, true].map(|utc| L::Timestamp { unit, utc }));
            all.extend([L::OffsetTimestamp(unit), L::Duration(unit)]);
        }
        all.extend([L::Time(Unit::Microsecond), L::Time(Unit::Nanosecond)]);
        all
    }

    #[test]
    fn declared_names_have_the_affinity_that_keeps_their_values() {
        for logical in scalars() {
            let declared = declared_of(&logical);
            let expected = match &logical {
                L::Boolean | L::Duration(_) => Affinity::Numeric,
                L::Int8 | L::Int16 | L::Int32 | L::Int64 | L::UInt8 | L::UInt16 | L::UInt32 => {
                    Affinity::Integer
                }
                L::Float32 | L::Float64 => Affinity::Real,
                L::Binary | L::FixedBinary(_) | L::Geometry | L::Opaque { binary: true, .. } => {
                    Affinity::Blob
                }
                _ => Affinity::Text,
            };
            assert_eq!(affinity(&declared), expected, "{declared}");
            assert!(is_plain(&declared), "{declared}");
        }
    }

    #[test]
    fn true_type_is_in_the_name_where_the_name_can_hold_it() {
        for logical in scalars() {
            let expected = match &logical {
                L::Int8 | L::Int16 | L::Int32 | L::UInt8 | L::UInt16 | L::UInt32 => L::Int64,
                L::Float32 => L::Float64,
                L::Enum(_) | L::Opaque { binary: false, .. } => L::Text,
                L::Opaque { .. } => L::Binary,
                L::List(_) | L::Struct(_) | L::Map(..) => L::Json,
                other => other.clone(),
            };
            assert_eq!(logical_of(&declared_of(&logical)), Some(expected));
        }
    }

    #[test]
    fn declared_types_of_others_follow_their_affinity() {
        for (declared, logical) in [
            ("varchar(20)", Some(L::Text)),
            ("bigint unsigned", Some(L::Int64)),
            ("double precision", Some(L::Float64)),
            ("decimal(20, 2)", Some(L::Decimal { precision: 20, scale: 2 })),
            ("numeric", Some(L::DecimalText { precision: None, scale: None })),
            ("decimal(5,-2)", Some(L::DecimalText { precision: Some(5), scale: Some(-2) })),
            ("datetime", Some(L::Timestamp { unit: Unit::Microsecond, utc: false })),
            ("", None),
            ("money", None),
        ] {
            assert_eq!(logical_of(declared), logical, "{declared}");
        }
    }

    #[test]
    fn declared_type_that_is_no_type_is_not_copied() {
        for declared in [
            "TEXT); DROP TABLE t; --",
            "TEXT DEFAULT 1",
            "INT PRIMARY KEY",
            "\"x\"",
            "",
            "A(1,2,3)",
            "A(x)",
            "A(1",
        ] {
            assert!(!is_plain(declared), "{declared}");
        }
        assert!(is_plain("DOUBLE PRECISION") && is_plain("VARCHAR(20)") && is_plain("NUMERIC (10, -2)"));
    }
}
