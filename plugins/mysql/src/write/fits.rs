//! Which meanings a column can hold: the table that decides before the first row.

use hub_plugin_api::types::LogicalType;

use crate::types::ServerType;

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
