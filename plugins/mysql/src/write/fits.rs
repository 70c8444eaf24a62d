//! What values go into, and which meanings it can hold: the table that decides before the first row.

use hub_plugin_api::types::LogicalType;

use crate::types::ServerType;

/// What a value goes into.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// The column's type; none for a value of a statement of the user's own.
    pub server_type: Option<ServerType>,
    /// In the server's words.
    pub declared: String,
    /// Seconds that the session's zone is ahead of UTC.
    pub offset_seconds: i64,
    /// The server writes -0 as 0.
    pub loses_negative_zero: bool,
}

impl Target {
    /// A place that the server converts values for.
    pub(super) fn any() -> Self {
        Self { server_type: None, declared: "a value".into(), offset_seconds: 0, loses_negative_zero: false }
    }

    /// The number in the parentheses of a declared type.
    pub(super) fn length(&self) -> Option<usize> {
        self.declared.split_once('(')?.1.split([')', ',']).next()?.parse().ok()
    }

    /// Digits behind the second.
    pub(super) fn digits(&self) -> u32 {
        match self.server_type {
            None => 6,
            Some(_) => self.length().and_then(|length| u32::try_from(length).ok()).unwrap_or(0),
        }
    }
}

/// Whether every value of a meaning can be stored as it is, or is refused by itself.
pub(super) fn fits(logical: &LogicalType, target: &ServerType) -> bool {
    use LogicalType as L;
    use ServerType as S;
    match (logical, target) {
        (
            L::Boolean | L::Int8 | L::Int16 | L::Int32 | L::Int64,
            S::Integer { .. } | S::Decimal { .. } | S::Text,
        ) => true,
        (L::UInt8 | L::UInt16 | L::UInt32 | L::UInt64, S::Integer { .. } | S::Decimal { .. } | S::Text) => {
            true
        }
        (L::Boolean, S::Bit(_)) => true,
        (L::Int16 | L::Int32 | L::Int64 | L::UInt8 | L::UInt16, S::Year) => true,
        (L::Int8 | L::Int16 | L::Int32 | L::UInt8 | L::UInt16 | L::UInt32, S::Double) => true,
        (L::Int8 | L::Int16 | L::UInt8 | L::UInt16, S::Float) => true,
        (L::Float32, S::Float | S::Double | S::Text) | (L::Float64, S::Double | S::Text) => true,
        (L::Decimal { .. } | L::DecimalText { .. }, S::Decimal { .. } | S::Text) => true,
        (L::Decimal { scale: 0, .. }, S::Integer { .. }) => true,
        (L::Text | L::Enum(_) | L::Json, S::Text | S::Json | S::Bytes) => true,
        (L::Text | L::Enum(_), S::Enum(_) | S::Set) => true,
        (L::Binary | L::FixedBinary(_), S::Bytes) => true,
        (L::Geometry, S::Geometry | S::Bytes) => true,
        (L::Date, S::Date | S::Text) => true,
        (L::Time(_) | L::Duration(_), S::Time | S::Text) => true,
        (L::Timestamp { utc: false, .. }, S::DateTime | S::Text) => true,
        (L::Timestamp { utc: true, .. }, S::DateTime | S::Timestamp | S::Text) => true,
        (L::WideTimestamp | L::OffsetTimestamp(_) | L::Interval, S::Text) => true,
        (L::Uuid, S::Uuid | S::Text | S::Bytes) => true,
        (L::List(item), S::Vector) => **item == L::Float32,
        (L::List(_) | L::Struct(_) | L::Map(..), S::Json | S::Text) => true,
        (L::Opaque { binary: true, type_name, .. }, S::Bit(_)) => type_name == "bit",
        (L::Opaque { binary: true, .. }, S::Bytes) => true,
        (L::Opaque { binary: false, type_name, .. }, S::Inet(name)) => type_name == name,
        (L::Opaque { binary: false, .. }, S::Text) => true,
        _ => false,
    }
}
