//! What a column of the destination takes, as far as its binary form goes.

use tokio_postgres::types::{Kind, Type};

/// A type of the destination with what its modifier allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its binary form.
    pub wire: Wire,
    /// The oid, which the header of an array repeats for its elements. Of a domain: the base type's.
    pub oid: u32,
    /// The type as the server writes it, with its modifier: for messages.
    pub declared: String,
    /// The base type, quoted, without modifier: a cast to it neither cuts nor pads.
    pub cast: String,
}

/// The binary forms that are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    /// Unsigned, four bytes.
    Oid,
    Float4,
    Float8,
    /// Digits behind the point that the column keeps; more would be rounded by the server.
    Numeric {
        scale: Option<i32>,
    },
    /// Whatever reads its text: text, varchar, char, name, json, xml, citext, enums. The limit is in characters.
    Text {
        limit: Option<usize>,
    },
    Jsonb,
    Bytea,
    Uuid,
    Date,
    /// Step in microseconds that the column keeps.
    Time {
        step: i64,
    },
    Timestamp {
        step: i64,
        utc: bool,
    },
    /// A whole interval, or one that drops fields.
    Interval {
        step: i64,
        whole: bool,
    },
    Array(Box<Target>),
    /// Written as text, and cast by the server.
    Other,
}

impl Target {
    /// A base type by its catalogue entry.
    pub(crate) fn new(
        oid: u32,
        name: &str,
        kind: char,
        modifier: i32,
        declared: String,
        cast: String,
    ) -> Self {
        Self { wire: wire_of(oid, name, kind, modifier), oid, declared, cast }
    }

    /// The type that a prepared statement wants of a parameter.
    pub(crate) fn of_parameter(parameter: &Type) -> Self {
        let declared = parameter.name().to_owned();
        let base = match parameter.kind() {
            Kind::Domain(base) => return Self { declared, ..Self::of_parameter(base) },
            Kind::Array(item) => {
                let wire = Wire::Array(Box::new(Self::of_parameter(item)));
                return Self { wire, oid: parameter.oid(), declared, cast: String::new() };
            }
            Kind::Enum(_) => 'e',
            _ => 'b',
        };
        Self::new(parameter.oid(), parameter.name(), base, -1, declared, String::new())
    }
}

fn wire_of(oid: u32, name: &str, kind: char, modifier: i32) -> Wire {
    let Some(known) = Type::from_oid(oid) else {
        return if kind == 'e' || name == "citext" { Wire::Text { limit: None } } else { Wire::Other };
    };
    match known {
        Type::BOOL => Wire::Bool,
        Type::INT2 => Wire::Int2,
        Type::INT4 => Wire::Int4,
        Type::INT8 => Wire::Int8,
        Type::OID => Wire::Oid,
        Type::FLOAT4 => Wire::Float4,
        Type::FLOAT8 => Wire::Float8,
        Type::NUMERIC => Wire::Numeric { scale: numeric_scale(modifier) },
        Type::VARCHAR => Wire::Text { limit: usize::try_from(modifier - 4).ok() },
        Type::TEXT | Type::BPCHAR | Type::NAME | Type::JSON | Type::XML | Type::UNKNOWN => {
            Wire::Text { limit: None }
        }
        Type::JSONB => Wire::Jsonb,
        Type::BYTEA => Wire::Bytea,
        Type::UUID => Wire::Uuid,
        Type::DATE => Wire::Date,
        Type::TIME => Wire::Time { step: step(modifier) },
        Type::TIMESTAMP => Wire::Timestamp { step: step(modifier), utc: false },
        Type::TIMESTAMPTZ => Wire::Timestamp { step: step(modifier), utc: true },
        // The modifier of an interval: fields in the upper half (all of them: 0x7FFF), digits in the lower.
        Type::INTERVAL if modifier < 0 => Wire::Interval { step: 1, whole: true },
        Type::INTERVAL => {
            let digits = modifier & 0xFFFF;
            let step = if digits == 0xFFFF { 1 } else { step(digits) };
            Wire::Interval { step, whole: (modifier >> 16) & 0x7FFF == 0x7FFF }
        }
        _ => Wire::Other,
    }
}

/// The modifier of numeric, behind the length of a header: precision in the upper half, a signed scale of 11 bits below.
fn numeric_scale(modifier: i32) -> Option<i32> {
    (modifier >= 4).then(|| (((modifier - 4) & 0x7FF) ^ 1024) - 1024)
}

/// Microseconds that are one unit of the last digit kept.
fn step(digits: i32) -> i64 {
    match u32::try_from(digits) {
        Ok(digits @ 0..=5) => 10_i64.pow(6 - digits),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_say_what_a_column_keeps() {
        let wire = |known: Type, modifier| wire_of(known.oid(), known.name(), 'b', modifier);
        assert_eq!(wire(Type::NUMERIC, (12 << 16 | 2) + 4), Wire::Numeric { scale: Some(2) });
        assert_eq!(wire(Type::NUMERIC, (5 << 16 | 0x7FE) + 4), Wire::Numeric { scale: Some(-2) });
        assert_eq!(wire(Type::NUMERIC, -1), Wire::Numeric { scale: None });
        assert_eq!(wire(Type::VARCHAR, 14), Wire::Text { limit: Some(10) });
        assert_eq!(wire(Type::VARCHAR, -1), Wire::Text { limit: None });
        assert_eq!(wire(Type::TIMESTAMP, 3), Wire::Timestamp { step: 1000, utc: false });
        assert_eq!(wire(Type::TIMESTAMPTZ, -1), Wire::Timestamp { step: 1, utc: true });
        assert_eq!(wire(Type::INTERVAL, -1), Wire::Interval { step: 1, whole: true });
        assert_eq!(wire(Type::INTERVAL, (0x7FFF << 16) | 2), Wire::Interval { step: 10_000, whole: true });
        assert_eq!(wire(Type::INTERVAL, (0x0408 << 16) | 0xFFFF), Wire::Interval { step: 1, whole: false });
        assert_eq!(wire(Type::INET, -1), Wire::Other);
    }
}
