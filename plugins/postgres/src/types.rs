//! PostgreSQL's types and the types of the boundary: the one table, both ways.

use hub_plugin_api::{
    Error, ErrorKind, Result,
    types::{Column, LogicalType, MAX_DECIMAL_PRECISION, Unit},
};
use tokio_postgres::types::{Kind, Type};

/// What the connector calls itself in `hub:engine` and `vendor_name`.
pub const ENGINE: &str = "postgres";

/// How a value lies in COPY BINARY and in binary rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// One byte.
    Bool,
    /// Big-endian.
    Int2,
    /// Big-endian.
    Int4,
    /// Big-endian.
    Int8,
    /// Unsigned, big-endian.
    Oid,
    /// Big-endian IEEE 754.
    Float4,
    /// Big-endian IEEE 754.
    Float8,
    /// Digits to the base of 10,000, into a number.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// Digits to the base of 10,000, into text.
    DecimalText,
    /// Text in UTF-8.
    Text,
    /// A version byte, then text in UTF-8.
    Jsonb,
    /// Bytes.
    Bytea,
    /// Days since 2000-01-01.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 2000-01-01.
    Timestamp,
    /// Microseconds, days, months.
    Interval,
    /// 16 bytes.
    Uuid,
    /// Dimensions, then elements.
    List(Box<Wire>),
}

/// What the server must turn a column into so that its wire form is as [`Wire`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cast {
    /// Sent as it is.
    None,
    /// `::text`: what the type's own output function writes.
    Text,
    /// `::text[]`.
    TextList,
    /// For `inet`, whose cast to text adds the net mask that its output leaves out.
    InetOutput,
}

/// How a column of the server is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What its values mean on the boundary.
    pub logical: LogicalType,
    /// How they lie on the wire, after the cast.
    pub wire: Wire,
    /// What the server casts them to.
    pub cast: Cast,
}

impl Reading {
    fn plain(logical: LogicalType, wire: Wire) -> Self {
        Self { logical, wire, cast: Cast::None }
    }

    /// As the server writes it: what is carried for every type without a form of its own, and on request for any.
    pub fn opaque(of: &Type) -> Self {
        let cast = match *of {
            Type::INET => Cast::InetOutput,
            // Their cast to text drops blanks at the end.
            Type::BPCHAR => Cast::None,
            _ => Cast::Text,
        };
        let (type_name, vendor_name) = (of.name().to_owned(), ENGINE.to_owned());
        Self {
            logical: LogicalType::Opaque { type_name, vendor_name, binary: false },
            wire: Wire::Text,
            cast,
        }
    }

    /// Whether its values may be the infinities of dates and timestamps.
    pub fn has_infinity(&self) -> bool {
        matches!(self.wire, Wire::Date | Wire::Timestamp)
    }
}

/// How a column of this type is read. `decimals_as_text` carries every numeric as text.
pub fn reading(of: &Type, type_modifier: i32, decimals_as_text: bool) -> Reading {
    let timestamp = |utc| LogicalType::Timestamp { unit: Unit::Microsecond, utc };
    match *of {
        Type::BOOL => Reading::plain(LogicalType::Boolean, Wire::Bool),
        Type::INT2 => Reading::plain(LogicalType::Int16, Wire::Int2),
        Type::INT4 => Reading::plain(LogicalType::Int32, Wire::Int4),
        Type::INT8 => Reading::plain(LogicalType::Int64, Wire::Int8),
        Type::OID => Reading::plain(LogicalType::UInt32, Wire::Oid),
        Type::FLOAT4 => Reading::plain(LogicalType::Float32, Wire::Float4),
        Type::FLOAT8 => Reading::plain(LogicalType::Float64, Wire::Float8),
        Type::NUMERIC => numeric(type_modifier, decimals_as_text),
        // Functions that return nothing send an empty text.
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::VOID => {
            Reading::plain(LogicalType::Text, Wire::Text)
        }
        // One byte, of which the server writes those above 127 differently from version to version.
        Type::CHAR => Reading { cast: Cast::Text, ..Reading::plain(LogicalType::Text, Wire::Text) },
        Type::BYTEA => Reading::plain(LogicalType::Binary, Wire::Bytea),
        Type::DATE => Reading::plain(LogicalType::Date, Wire::Date),
        Type::TIME => Reading::plain(LogicalType::Time(Unit::Microsecond), Wire::Time),
        Type::TIMESTAMP => Reading::plain(timestamp(false), Wire::Timestamp),
        Type::TIMESTAMPTZ => Reading::plain(timestamp(true), Wire::Timestamp),
        Type::INTERVAL => Reading::plain(LogicalType::Interval, Wire::Interval),
        Type::UUID => Reading::plain(LogicalType::Uuid, Wire::Uuid),
        Type::JSON => Reading::plain(LogicalType::Json, Wire::Text),
        Type::JSONB => Reading::plain(LogicalType::Json, Wire::Jsonb),
        // Lists that count from 0.
        Type::INT2_VECTOR | Type::OID_VECTOR => Reading::opaque(of),
        _ => match of.kind() {
            Kind::Enum(labels) => Reading::plain(LogicalType::Enum(labels.clone()), Wire::Text),
            Kind::Domain(base) => reading(base, type_modifier, decimals_as_text),
            Kind::Array(item) => list(of, &reading(item, type_modifier, decimals_as_text)),
            _ => Reading::opaque(of),
        },
    }
}

fn numeric(type_modifier: i32, as_text: bool) -> Reading {
    let Some((precision, scale)) = numeric_modifier(type_modifier) else {
        return Reading::plain(LogicalType::DecimalText { precision: None, scale: None }, Wire::DecimalText);
    };
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision), Ok(scale))
            if !as_text && precision <= MAX_DECIMAL_PRECISION && scale <= precision =>
        {
            Reading::plain(LogicalType::Decimal { precision, scale }, Wire::Decimal { precision, scale })
        }
        _ => Reading::plain(
            LogicalType::DecimalText { precision: Some(precision), scale: Some(scale) },
            Wire::DecimalText,
        ),
    }
}

/// Precision and scale of a declared numeric. Scale has 11 bits and a sign since version 15; before, the same bits
/// held 0 to 1000.
fn numeric_modifier(type_modifier: i32) -> Option<(u32, i32)> {
    let packed = u32::try_from(type_modifier.checked_sub(4)?).ok()?;
    let scale = ((packed & 0x7ff) as i32 ^ 0x400) - 0x400;
    Some((packed >> 16 & 0xffff, scale))
}

fn list(of: &Type, item: &Reading) -> Reading {
    let cast = match item.cast {
        Cast::None if matches!(item.wire, Wire::List(_)) => return Reading::opaque(of),
        Cast::None => Cast::None,
        _ => Cast::TextList,
    };
    Reading {
        logical: LogicalType::List(Box::new(item.logical.clone())),
        wire: Wire::List(Box::new(item.wire.clone())),
        cast,
    }
}

/// The type that a column is created with: its own where it comes from PostgreSQL, else the narrowest that holds
/// every value.
///
/// # Errors
/// [`ErrorKind::UnsupportedType`] with the column's name when its declared type is no type's name.
pub fn column_type(column: &Column) -> Result<String> {
    match (&column.declared, column.engine.as_deref()) {
        (Some(declared), Some(ENGINE)) if is_type_name(declared) => Ok(declared.clone()),
        (Some(declared), Some(ENGINE)) => Err(Error::new(
            ErrorKind::UnsupportedType,
            format!("Column `{}` is declared as `{declared}`, which is not the name of a type", column.name),
        )),
        _ => Ok(type_for(&column.logical)),
    }
}

/// The type for a meaning that no PostgreSQL column stands behind.
pub fn type_for(logical: &LogicalType) -> String {
    match logical {
        LogicalType::Boolean => "boolean",
        LogicalType::Int8 | LogicalType::Int16 | LogicalType::UInt8 => "smallint",
        LogicalType::Int32 | LogicalType::UInt16 => "integer",
        LogicalType::Int64 | LogicalType::UInt32 => "bigint",
        LogicalType::UInt64 => "numeric(20,0)",
        LogicalType::Float32 => "real",
        LogicalType::Float64 => "double precision",
        LogicalType::Decimal { precision, scale } => return format!("numeric({precision},{scale})"),
        LogicalType::DecimalText { precision: Some(precision @ 1..=1000), scale: Some(scale) }
            if *scale >= 0 && scale.unsigned_abs() <= *precision =>
        {
            return format!("numeric({precision},{scale})");
        }
        LogicalType::DecimalText { .. } => "numeric",
        LogicalType::Binary | LogicalType::FixedBinary(_) | LogicalType::Geometry => "bytea",
        LogicalType::Date => "date",
        LogicalType::Time(_) => "time without time zone",
        LogicalType::Timestamp { utc: false, .. } => "timestamp without time zone",
        LogicalType::Timestamp { utc: true, .. } => "timestamp with time zone",
        LogicalType::Duration(_) | LogicalType::Interval => "interval",
        LogicalType::Uuid => "uuid",
        // `jsonb` would drop duplicate keys and the order of the others.
        LogicalType::Json | LogicalType::Struct(_) | LogicalType::Map(..) => "json",
        LogicalType::List(item) => return format!("{}[]", type_for(item)),
        LogicalType::Opaque { binary: true, .. } => "bytea",
        // Nine digits and offsets do not fit any time of the server's; text keeps them.
        _ => "text",
    }
    .into()
}

/// Whether a text can only be the name of a type: words, quoted names, dots, modifiers in parentheses, brackets.
/// It becomes part of a statement, and may come from a database that somebody else controls.
pub fn is_type_name(text: &str) -> bool {
    let (mut quoted, mut parentheses) = (false, 0u32);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            '\0' => return false,
            _ if quoted => {}
            '(' if parentheses == 0 => parentheses = 1,
            ')' if parentheses == 1 => parentheses = 0,
            '-' if parentheses == 1 => {}
            ',' if parentheses == 1 => {}
            ' ' | '.' | '_' | '[' | ']' | '$' => {}
            _ if character.is_alphanumeric() => {}
            _ => return false,
        }
    }
    !quoted && parentheses == 0 && !text.trim().is_empty() && !text.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn numerics_are_numbers_where_the_table_has_them() {
        let logical = |type_modifier, as_text| reading(&Type::NUMERIC, type_modifier, as_text).logical;
        let text = |precision, scale| LogicalType::DecimalText { precision, scale };
        assert_eq!(logical(modifier(12, 2), false), LogicalType::Decimal { precision: 12, scale: 2 });
        assert_eq!(logical(modifier(76, 76), false), LogicalType::Decimal { precision: 76, scale: 76 });
        assert_eq!(logical(modifier(77, 0), false), text(Some(77), Some(0)));
        assert_eq!(logical(modifier(3, 5), false), text(Some(3), Some(5)));
        assert_eq!(logical(modifier(5, -2), false), text(Some(5), Some(-2)));
        assert_eq!(logical(-1, false), text(None, None));
        assert_eq!(logical(modifier(12, 2), true), text(Some(12), Some(2)));
    }

    #[test]
    fn types_without_a_form_of_their_own_are_text_of_the_server() {
        let ranges = reading(&Type::INT4_RANGE_ARRAY, -1, false);
        assert_eq!((ranges.cast, &ranges.wire), (Cast::TextList, &Wire::List(Box::new(Wire::Text))));
        assert_eq!(reading(&Type::INET, -1, false).cast, Cast::InetOutput);
        assert_eq!(reading(&Type::TIMETZ, -1, false).cast, Cast::Text);
    }

    #[test]
    fn column_from_here_keeps_its_type_and_others_get_one_that_holds_every_value() {
        let column = |logical| Column::new("c", logical);
        let own = column(LogicalType::Text).declared(ENGINE, "character(7)");
        assert_eq!(column_type(&own).unwrap(), "character(7)");
        let other = column(LogicalType::UInt32).declared("mysql", "int unsigned");
        assert_eq!(column_type(&other).unwrap(), "bigint");
        assert_eq!(type_for(&LogicalType::List(Box::new(LogicalType::UInt64))), "numeric(20,0)[]");
    }

    #[test]
    fn declared_type_that_is_no_name_is_refused() {
        for good in [
            "numeric(5,-2)",
            "\"My; type\"",
            "public.geometry(Point,4326)",
            "interval day to second(3)",
            "text[]",
        ] {
            assert!(is_type_name(good), "{good}");
        }
        for bad in [
            "int; drop table x",
            "int)",
            "text default (select 1) check (true)--",
            "\"open",
            "",
            "int /* */",
            "int 'x'",
        ] {
            assert!(!is_type_name(bad), "{bad}");
        }
        let hostile = Column::new("c", LogicalType::Text).declared(ENGINE, "text; drop table x");
        assert_eq!(column_type(&hostile).unwrap_err().kind, ErrorKind::UnsupportedType);
    }
}
