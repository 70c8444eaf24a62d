//! The servers' types and the types of the boundary: the one table, both ways.

mod width;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    types::{Column, LogicalType, Unit},
};

pub use self::width::narrowed;
use self::width::sized;
use crate::{
    flavor::{Server, Vendor},
    raw::result::{ColumnDefinition, flag},
    sql::{self, read::AskedAs},
};

/// The collation that means bytes.
pub const BINARY_COLLATION: u16 = 63;
/// The most digits of a decimal.
const MAX_PRECISION: u8 = 65;

/// The most digits behind the point of a column's decimal.
fn max_scale(server: &Server) -> u8 {
    if server.vendor == Vendor::MariaDb { 38 } else { 30 }
}

/// A type of the servers', as far as its values differ from those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerType {
    /// `tinyint` to `bigint`. A `mediumint` counts as 4 bytes.
    Integer {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// Without a sign.
        unsigned: bool,
    },
    /// `year`: 0, or 1901 to 2155.
    Year,
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// Exact.
    Decimal {
        /// All digits, at most 65.
        precision: u8,
        /// Digits behind the point; in a table at most 30, or 38 on MariaDB.
        scale: u8,
    },
    /// So many bits, as bytes, highest first.
    Bit(u8),
    /// The same of an expression, asked for as a whole number: the servers send some as bytes, others as digits.
    BitNumber(u8),
    /// A day, which may be a zero date.
    Date,
    /// A length of time up to 838 hours, either sign.
    Time,
    /// Day and time without a zone.
    DateTime,
    /// An instant.
    Timestamp,
    /// Any text.
    Text,
    /// Any bytes.
    Bytes,
    /// One of some texts; empty where a wrong value was stored once.
    Enum(Vec<String>),
    /// Some of some texts, joined by commas.
    Set,
    /// A document.
    Json,
    /// Four bytes of SRID, then WKB.
    Geometry,
    /// MariaDB's.
    Uuid,
    /// MariaDB's, by its name.
    Inet(&'static str),
    /// Numbers of four bytes.
    Vector,
}

impl ServerType {
    /// What its values mean.
    pub fn logical(&self, vendor: Vendor) -> LogicalType {
        let opaque = |name: &str, binary| LogicalType::Opaque {
            type_name: name.to_owned(),
            vendor_name: vendor.engine().to_owned(),
            binary,
        };
        match self {
            Self::Integer { bytes: 1, unsigned: false } => LogicalType::Int8,
            Self::Integer { bytes: 2, unsigned: false } => LogicalType::Int16,
            Self::Integer { bytes: 4, unsigned: false } => LogicalType::Int32,
            Self::Integer { unsigned: false, .. } => LogicalType::Int64,
            Self::Integer { bytes: 1, .. } => LogicalType::UInt8,
            Self::Integer { bytes: 2, .. } => LogicalType::UInt16,
            Self::Integer { bytes: 4, .. } => LogicalType::UInt32,
            Self::Integer { .. } => LogicalType::UInt64,
            Self::Year => LogicalType::Int16,
            Self::Float => LogicalType::Float32,
            Self::Double => LogicalType::Float64,
            Self::Decimal { precision, scale } => {
                LogicalType::Decimal { precision: *precision, scale: *scale }
            }
            Self::Bit(1) | Self::BitNumber(1) => LogicalType::Boolean,
            Self::Bit(_) | Self::BitNumber(_) => opaque("bit", true),
            Self::Date => LogicalType::Date,
            Self::Time => LogicalType::Duration(Unit::Microsecond),
            Self::DateTime => LogicalType::Timestamp { unit: Unit::Microsecond, utc: false },
            Self::Timestamp => LogicalType::Timestamp { unit: Unit::Microsecond, utc: true },
            Self::Text | Self::Set => LogicalType::Text,
            Self::Bytes => LogicalType::Binary,
            Self::Enum(labels) => LogicalType::Enum(labels.clone()),
            Self::Json => LogicalType::Json,
            Self::Geometry => LogicalType::Geometry,
            Self::Uuid => LogicalType::Uuid,
            Self::Inet(name) => opaque(name, false),
            Self::Vector => LogicalType::List(Box::new(LogicalType::Float32)),
        }
    }

    /// The type of a table's column as the server declares it: `int(10) unsigned`, `enum('a','b')` …
    /// `None` for a word that is not known.
    pub fn of_declared(declared: &str) -> Option<Self> {
        let word_end =
            declared.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        let (word, rest) = declared.split_at(word_end.unwrap_or(declared.len()));
        let unsigned = rest.contains("unsigned") || rest.contains("zerofill");
        let mut numbers = rest
            .strip_prefix('(')
            .and_then(|rest| rest.split(')').next())
            .into_iter()
            .flat_map(|inner| inner.split(','))
            .map(|number| number.trim().parse::<u8>().ok());
        let mut number = || numbers.next().flatten();
        let integer = |bytes| Self::Integer { bytes, unsigned };
        Some(match word.to_ascii_lowercase().as_str() {
            "tinyint" | "bool" | "boolean" => integer(1),
            "smallint" => integer(2),
            "mediumint" | "int" | "integer" => integer(4),
            "bigint" => integer(8),
            "year" => Self::Year,
            "float" => Self::Float,
            "double" | "real" => Self::Double,
            "decimal" | "numeric" | "dec" | "fixed" => {
                let precision = number().unwrap_or(10);
                Self::Decimal { precision, scale: number().unwrap_or(0) }
            }
            "bit" => Self::Bit(number().unwrap_or(1)),
            "date" => Self::Date,
            "time" => Self::Time,
            "datetime" => Self::DateTime,
            "timestamp" => Self::Timestamp,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Self::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "enum" => Self::Enum(labels(rest)?),
            "set" => Self::Set,
            "json" => Self::Json,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            "uuid" => Self::Uuid,
            "inet4" => Self::Inet("inet4"),
            "inet6" => Self::Inet("inet6"),
            "vector" => Self::Vector,
            _ => return None,
        })
    }

    /// The type of a result's column (MySQL internals manual, "Column Types").
    pub fn of_definition(definition: &ColumnDefinition) -> Self {
        match definition.extended_type.as_deref() {
            Some("uuid") => return Self::Uuid,
            Some("inet4") => return Self::Inet("inet4"),
            Some("inet6") => return Self::Inet("inet6"),
            Some(name) if name.starts_with("vector") => return Self::Vector,
            _ => {}
        }
        let unsigned = definition.flags & flag::UNSIGNED != 0;
        let binary = definition.collation == BINARY_COLLATION;
        match definition.type_code {
            1 => Self::Integer { bytes: 1, unsigned },
            2 => Self::Integer { bytes: 2, unsigned },
            3 | 9 => Self::Integer { bytes: 4, unsigned },
            8 => Self::Integer { bytes: 8, unsigned },
            13 => Self::Year,
            4 => Self::Float,
            5 => Self::Double,
            0 | 246 => {
                let scale = definition.decimals.min(MAX_PRECISION);
                // The length counts sign and point, which are not digits.
                let others = u32::from(!unsigned) + u32::from(scale > 0);
                let precision = definition.length.saturating_sub(others).clamp(1, MAX_PRECISION.into());
                Self::Decimal {
                    precision: u8::try_from(precision).unwrap_or(MAX_PRECISION).max(scale),
                    scale,
                }
            }
            16 => Self::Bit(u8::try_from(definition.length).unwrap_or(64).clamp(1, 64)),
            10 | 14 => Self::Date,
            11 | 19 => Self::Time,
            12 | 18 => Self::DateTime,
            7 | 17 => Self::Timestamp,
            245 => Self::Json,
            255 => Self::Geometry,
            242 => Self::Vector,
            // Its labels are known to the table only.
            247 => Self::Text,
            248 => Self::Set,
            _ if definition.extended_format.as_deref() == Some("json") => Self::Json,
            6 => Self::Text,
            _ if definition.flags & flag::SET != 0 => Self::Set,
            _ if binary && definition.flags & flag::ENUM == 0 => Self::Bytes,
            _ => Self::Text,
        }
    }

    /// What the server is asked for in place of the column itself.
    pub fn asked_as(&self) -> AskedAs {
        match self {
            Self::Float => AskedAs::Double,
            Self::BitNumber(_) => AskedAs::Unsigned,
            _ => AskedAs::Itself,
        }
    }
}

/// The labels of an ENUM or SET: `('a','it''s')`.
pub fn labels(list: &str) -> Option<Vec<String>> {
    let mut rest = list.trim_start().strip_prefix('(')?;
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start().strip_prefix('\'')?;
        let mut label = String::new();
        loop {
            let end = rest.find('\'')?;
            label.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(behind) => {
                    label.push('\'');
                    rest = behind;
                }
                None => break,
            }
        }
        labels.push(label);
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None => return rest.starts_with(')').then_some(labels),
        }
    }
}

/// The type that a column is created with: its own where it comes from either of the two servers and this one has it,
/// else the narrowest that holds every value.
///
/// # Errors
/// [`ErrorKind::UnsupportedType`] with the column's name when its declared type is no type's name.
pub fn column_type(column: &Column, server: &Server) -> Result<String> {
    let own = match (&column.declared, column.engine.as_deref()) {
        (Some(declared), Some("mysql" | "mariadb")) => Some(declared),
        _ => None,
    };
    let Some(declared) = own else { return Ok(type_for(&column.logical, column.key.is_some(), server)) };
    let unknown = || {
        Error::new(
            ErrorKind::UnsupportedType,
            format!("Column `{}` is declared as `{declared}`, which is not the name of a type", column.name),
        )
    };
    let known = ServerType::of_declared(declared).ok_or_else(unknown)?;
    let same_engine = column.engine.as_deref() == Some(server.vendor.engine());
    // It becomes part of a statement, and may come from a database that somebody else controls.
    let plain = is_plain(declared);
    Ok(match known {
        ServerType::Enum(labels) => list_type("enum", &labels, server),
        ServerType::Set => {
            let set = labels(declared.get(3..).unwrap_or_default()).ok_or_else(unknown)?;
            list_type("set", &set, server)
        }
        _ if !plain => return Err(unknown()),
        ServerType::Text => format!("{}{}", sized(declared), collation(server)),
        ServerType::Decimal { scale, .. } if scale > max_scale(server) => {
            type_for(&column.logical, column.key.is_some(), server)
        }
        ServerType::Uuid | ServerType::Inet(_) | ServerType::Vector | ServerType::Json if !same_engine => {
            type_for(&column.logical, column.key.is_some(), server)
        }
        _ => declared.clone(),
    })
}

/// Whether a declared type is a word, perhaps digits in parentheses, and perhaps what changes a number's range.
fn is_plain(declared: &str) -> bool {
    let end = declared.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(declared.len());
    let rest = &declared[end..];
    let behind = match rest.strip_prefix('(') {
        Some(inner) => {
            let Some((digits, behind)) = inner.split_once(')') else { return false };
            if !digits.chars().all(|character| character.is_ascii_digit() || matches!(character, ',' | ' ')) {
                return false;
            }
            behind
        }
        None => rest,
    };
    behind.split_whitespace().all(|word| matches!(word, "unsigned" | "signed" | "zerofill"))
}

fn list_type(name: &str, labels: &[String], server: &Server) -> String {
    let labels: Vec<_> = labels.iter().map(|label| sql::literal(label)).collect();
    format!("{name}({}){}", labels.join(","), collation(server))
}

/// Texts that differ in case, accents or blanks at the end are different keys.
fn collation(server: &Server) -> &'static str {
    match server.vendor {
        Vendor::MySql if server.version >= (8, 0, 17) => " CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin",
        Vendor::MySql => " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        Vendor::MariaDb => " CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    }
}

/// The type for a meaning that no column of the two servers stands behind. A key's columns have a length.
pub fn type_for(logical: &LogicalType, in_key: bool, server: &Server) -> String {
    let text = || format!("{}{}", if in_key { "varchar(255)" } else { "longtext" }, collation(server));
    let bytes = || if in_key { "varbinary(255)" } else { "longblob" }.to_owned();
    match logical {
        LogicalType::Boolean => "boolean".into(),
        LogicalType::Int8 => "tinyint".into(),
        LogicalType::Int16 => "smallint".into(),
        LogicalType::Int32 => "int".into(),
        LogicalType::Int64 => "bigint".into(),
        LogicalType::UInt8 => "tinyint unsigned".into(),
        LogicalType::UInt16 => "smallint unsigned".into(),
        LogicalType::UInt32 => "int unsigned".into(),
        LogicalType::UInt64 => "bigint unsigned".into(),
        LogicalType::Float32 => "float".into(),
        LogicalType::Float64 => "double".into(),
        LogicalType::Decimal { precision, scale }
            if *precision <= MAX_PRECISION && *scale <= max_scale(server) =>
        {
            format!("decimal({precision},{scale})")
        }
        LogicalType::Binary => bytes(),
        LogicalType::FixedBinary(length @ 1..=255) => format!("binary({length})"),
        LogicalType::FixedBinary(_) => bytes(),
        LogicalType::Geometry => "geometry".into(),
        LogicalType::Date => "date".into(),
        LogicalType::Time(_) | LogicalType::Duration(_) => "time(6)".into(),
        // A `timestamp` ends in 2038.
        LogicalType::Timestamp { .. } => "datetime(6)".into(),
        LogicalType::Uuid if server.is(Vendor::MariaDb, (10, 7, 0)) => "uuid".into(),
        LogicalType::Uuid => "char(36) CHARACTER SET ascii COLLATE ascii_bin".into(),
        LogicalType::Enum(labels) if is_enum(labels) => list_type("enum", labels, server),
        LogicalType::Opaque { binary: true, .. } => bytes(),
        LogicalType::Json if !in_key => "json".into(),
        _ => text(),
    }
}

/// Whether labels can be those of an ENUM: the server cuts blanks at the end off.
fn is_enum(labels: &[String]) -> bool {
    (1..=1000).contains(&labels.len())
        && labels.iter().all(|label| {
            !label.is_empty() && !label.ends_with(' ') && label.len() <= 255 && !label.contains('\0')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql() -> Server {
        Server::of_handshake("9.7.4")
    }

    fn mariadb() -> Server {
        Server::of_handshake("11.8.6-MariaDB")
    }

    #[test]
    fn declared_types_of_both_servers_are_read() {
        let integer = |bytes, unsigned| ServerType::Integer { bytes, unsigned };
        for (declared, expected) in [
            ("tinyint(1)", integer(1, false)),
            ("int(10) unsigned", integer(4, true)),
            ("int unsigned zerofill", integer(4, true)),
            ("mediumint", integer(4, false)),
            ("bigint(20)", integer(8, false)),
            ("decimal(65,30) unsigned", ServerType::Decimal { precision: 65, scale: 30 }),
            ("decimal", ServerType::Decimal { precision: 10, scale: 0 }),
            ("bit(7)", ServerType::Bit(7)),
            ("year(4)", ServerType::Year),
            ("double(5,2)", ServerType::Double),
            ("datetime(6)", ServerType::DateTime),
            ("varchar(20)", ServerType::Text),
            ("varbinary(20)", ServerType::Bytes),
            ("enum('a','it''s','b,c)')", ServerType::Enum(vec!["a".into(), "it's".into(), "b,c)".into()])),
            ("set('a','b')", ServerType::Set),
            ("point", ServerType::Geometry),
            ("vector(3)", ServerType::Vector),
            ("inet6", ServerType::Inet("inet6")),
        ] {
            assert_eq!(ServerType::of_declared(declared), Some(expected), "{declared}");
        }
        assert_eq!(ServerType::of_declared("hologram"), None);
        assert_eq!(ServerType::of_declared("enum('a"), None);
    }

    #[test]
    fn columns_from_here_keep_their_type_and_others_get_one_that_holds_every_value() {
        let column = |logical| Column::new("c", logical);
        let own = column(LogicalType::Decimal { precision: 5, scale: 2 })
            .declared("mysql", "decimal(5,2) unsigned");
        assert_eq!(column_type(&own, &mysql()).unwrap(), "decimal(5,2) unsigned");
        let own = column(LogicalType::Uuid).declared("mariadb", "uuid");
        assert_eq!(column_type(&own, &mariadb()).unwrap(), "uuid");
        assert!(column_type(&own, &mysql()).unwrap().starts_with("char(36)"));
        let fine = LogicalType::Decimal { precision: 40, scale: 38 };
        let own = column(fine).declared("mariadb", "decimal(40,38)");
        assert_eq!(column_type(&own, &mariadb()).unwrap(), "decimal(40,38)");
        assert!(column_type(&own, &mysql()).unwrap().starts_with("longtext"));
        let other = column(LogicalType::Int64).declared("postgres", "bigint");
        assert_eq!(column_type(&other, &mysql()).unwrap(), "bigint");
        let labels = column(LogicalType::Enum(vec!["it's".into()])).declared("mysql", "enum('it''s')");
        assert_eq!(
            column_type(&labels, &mariadb()).unwrap(),
            "enum('it''s') CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
        );
        assert_eq!(
            type_for(&LogicalType::Decimal { precision: 66, scale: 0 }, false, &mysql()),
            type_for(&LogicalType::Text, false, &mysql())
        );
    }

    #[test]
    fn declared_type_that_is_no_name_is_refused() {
        for bad in [
            "int; drop table x",
            "int) , b int",
            "varchar(20) default 'x'",
            "int -- ",
            "nothing",
            "set('a'",
            "int unique",
        ] {
            let column = Column::new("c", LogicalType::Text).declared("mysql", bad);
            assert_eq!(column_type(&column, &mysql()).unwrap_err().kind, ErrorKind::UnsupportedType, "{bad}");
        }
    }
}
