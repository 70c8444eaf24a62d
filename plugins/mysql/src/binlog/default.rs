//! Defaults: what an inserted row holds where the log leaves a column out.
//!
//! With `binlog_row_image = MINIMAL` the log of an inserted row has the columns that the statement named, and those
//! whose values the server computed. All others hold their default, which is a constant, or null, or, in a session
//! without strict mode, the zero of their type.

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{array::ArrayRef, datatypes::FieldRef},
};
use serde::{Deserialize, Serialize};

use super::definition::ColumnDefinition;
use crate::{
    catalog::TableColumn,
    flavor::Vendor,
    raw::column::{ColumnDecoder, Reading, ZeroDates},
    types::{ServerType, labels},
};

/// What a row gets that leaves a column out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnDefault {
    /// It is not known, or the server computes it.
    #[default]
    Unknown,
    /// None is declared, or null: null where the column may be null, otherwise the zero of its type.
    Undeclared,
    /// A number or a text, as it is written.
    Text(String),
    /// Bytes, written as bits or as hexadecimal digits.
    Bytes(Vec<u8>),
}

impl ColumnDefault {
    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// The default that the server's catalog tells.
    pub fn of(column: &TableColumn, vendor: Vendor) -> Self {
        if column.generated || column.computed_default {
            return Self::Unknown;
        }
        let Some(text) = &column.default else { return Self::Undeclared };
        match (vendor, column.server_type()) {
            // MySQL's catalog cuts such bytes off at the first zero, MariaDB's shows others as question marks.
            (_, Some(ServerType::Bytes)) => Self::Unknown,
            // Texts stand there as they are.
            (Vendor::MySql, Some(of)) if !matches!(of, ServerType::Bit(_)) => Self::Text(text.clone()),
            _ => super::ddl::constant(text),
        }
    }
}

/// The value of a column that a row leaves out, as an array of one; none where it is null.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when it is not known, [`ErrorKind::InvalidData`] for a zero date under this policy.
pub fn value(
    declaration: &ColumnDefinition,
    field: &FieldRef,
    zero_dates: ZeroDates,
) -> Result<Option<ArrayRef>> {
    if declaration.default == ColumnDefault::Undeclared && declaration.nullable {
        return Ok(None);
    }
    let of = ServerType::of_declared(&declaration.declared).ok_or_else(|| unknown(declaration))?;
    let text = text(declaration, &of).ok_or_else(|| unknown(declaration))?;
    let reading = Reading { zero_dates, offset_seconds: 0, max_value_bytes: usize::MAX };
    let mut decoder = ColumnDecoder::new(field, &of, reading);
    decoder.append(&text).map_err(|error| match error.field.as_deref() {
        Some("zero_dates") => error,
        _ => unknown(declaration).with_source(&error),
    })?;
    decoder.finish().map(Some)
}

fn unknown(declaration: &ColumnDefinition) -> Error {
    let message = format!(
        "The log of an inserted row leaves out column `{}`, and its default is not known",
        declaration.name
    );
    Error::new(ErrorKind::Unsupported, message)
        .with_hint("Inserts are logged whole with `SET GLOBAL binlog_row_image = 'FULL'` (or NOBLOB)")
}

/// The default as the server would send it as a value; none where that is not sure.
fn text(declaration: &ColumnDefinition, of: &ServerType) -> Option<Vec<u8>> {
    let declared = declaration.declared.as_str();
    match &declaration.default {
        ColumnDefault::Unknown => None,
        ColumnDefault::Undeclared => zero(declared, of),
        ColumnDefault::Text(text) => constant(text, declared, of),
        ColumnDefault::Bytes(bytes) => match of {
            ServerType::Bit(bits) => sized(bytes, usize::from(bits.div_ceil(8))),
            ServerType::Bytes => Some(padded(bytes.clone(), declared)),
            ServerType::Integer { .. } => {
                let number = u64::from_be_bytes(sized(bytes, 8)?.try_into().ok()?);
                Some(number.to_string().into_bytes())
            }
            _ => None,
        },
    }
}

/// What a column that may not be null gets in a session without strict mode.
fn zero(declared: &str, of: &ServerType) -> Option<Vec<u8>> {
    Some(match of {
        ServerType::Integer { .. } | ServerType::Float | ServerType::Double | ServerType::Decimal { .. } => {
            b"0".to_vec()
        }
        ServerType::Year => b"0000".to_vec(),
        ServerType::Date => b"0000-00-00".to_vec(),
        ServerType::DateTime | ServerType::Timestamp => b"0000-00-00 00:00:00".to_vec(),
        ServerType::Time => b"00:00:00".to_vec(),
        ServerType::Text | ServerType::Set => Vec::new(),
        ServerType::Bytes => padded(Vec::new(), declared),
        ServerType::Bit(bits) => vec![0; usize::from(bits.div_ceil(8))],
        ServerType::Enum(labels) => labels.first()?.clone().into_bytes(),
        ServerType::Json
        | ServerType::BitNumber(_)
        | ServerType::Geometry
        | ServerType::Uuid
        | ServerType::Inet(_)
        | ServerType::Vector => return None,
    })
}

/// A declared constant. What the server would round, complete or read in a time zone is not sure.
fn constant(text: &str, declared: &str, of: &ServerType) -> Option<Vec<u8>> {
    let sure = match of {
        ServerType::Integer { .. } | ServerType::Float | ServerType::Double | ServerType::Decimal { .. } => {
            text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte))
        }
        ServerType::Year => text.len() == 4,
        ServerType::Date | ServerType::Json => true,
        ServerType::Time | ServerType::DateTime => {
            text.split_once('.').map_or(0, |(_, digits)| digits.len()) <= length(declared)
        }
        ServerType::Timestamp => text.starts_with("0000-00-00 00:00:00"),
        ServerType::Text if declared.starts_with("char") => {
            return Some(text.trim_end_matches(' ').as_bytes().to_vec());
        }
        ServerType::Text => true,
        ServerType::Bytes if text.is_ascii() => {
            return Some(padded(text.as_bytes().to_vec(), declared));
        }
        ServerType::Enum(labels) => labels.iter().any(|label| label == text),
        ServerType::Set => {
            let labels = labels(declared.get(3..)?)?;
            let mut rest = labels.iter();
            text.is_empty() || text.split(',').all(|one| rest.any(|label| label == one))
        }
        ServerType::Bytes
        | ServerType::Bit(_)
        | ServerType::BitNumber(_)
        | ServerType::Geometry
        | ServerType::Uuid
        | ServerType::Inet(_)
        | ServerType::Vector => false,
    };
    sure.then(|| text.as_bytes().to_vec())
}

/// The number in parentheses: bytes of a `binary(16)`, digits behind the second of a `datetime(3)`; 0 without one.
fn length(declared: &str) -> usize {
    let digits = declared.split_once('(').and_then(|(_, rest)| rest.trim_end_matches(')').parse().ok());
    digits.unwrap_or_default()
}

/// The bytes of a `binary(n)` up to its length, with zeros behind.
fn padded(mut bytes: Vec<u8>, declared: &str) -> Vec<u8> {
    if declared.starts_with("binary") {
        bytes.resize(bytes.len().max(length(declared)), 0);
    }
    bytes
}

/// Bytes of a number, with zeros in front up to a length.
fn sized(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    let mut sized = vec![0; length.checked_sub(bytes.len())?];
    sized.extend_from_slice(bytes);
    Some(sized)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hub_plugin_api::arrow::{array::Array, util::display::array_value_to_string};

    use super::*;
    use crate::binlog::shape::carried;

    /// The value as text, or `?` where it is not known.
    fn shown(declared: &str, nullable: bool, default: ColumnDefault) -> String {
        let declaration = ColumnDefinition {
            name: "c".into(),
            declared: declared.into(),
            nullable,
            charset: Some("utf8mb4".into()),
            key: None,
            default,
        };
        let field = Arc::new(carried(&declaration, Vendor::MySql).unwrap().0.to_field());
        match value(&declaration, &field, ZeroDates::Error) {
            Ok(None) => "null".into(),
            Ok(Some(array)) => {
                assert_eq!((array.len(), array.data_type()), (1, field.data_type()));
                array_value_to_string(&array, 0).unwrap()
            }
            Err(error) => error.field.unwrap_or_else(|| "?".into()),
        }
    }

    #[test]
    fn constants_that_are_sure_are_values() {
        for (declared, written, expected) in [
            ("int", "-5", "-5"),
            ("int", "1.5", "?"),
            ("tinyint unsigned", "256", "?"),
            ("decimal(5,2)", "1.5", "1.50"),
            ("decimal(5,2)", "1.005", "?"),
            ("double", "1e10", "10000000000.0"),
            ("year", "1999", "1999"),
            ("year", "70", "?"),
            ("date", "2020-01-02", "2020-01-02"),
            ("date", "2020-1-2", "?"),
            ("date", "0000-00-00", "zero_dates"),
            ("datetime(3)", "2020-01-02 03:04:05.678", "2020-01-02T03:04:05.678"),
            ("datetime", "2020-01-02 03:04:05.678", "?"),
            ("timestamp", "2020-01-02 03:04:05", "?"),
            ("timestamp", "0000-00-00 00:00:00", "zero_dates"),
            ("char(5)", "a  ", "a"),
            ("varchar(5)", "a  ", "a  "),
            ("binary(3)", "ab", "616200"),
            ("varbinary(9)", "ä", "?"),
            ("enum('a','b')", "b", "b"),
            ("enum('a','b')", "B", "?"),
            ("set('a','b','c')", "a,c", "a,c"),
            ("set('a','b','c')", "c,a", "?"),
        ] {
            assert_eq!(
                shown(declared, true, ColumnDefault::Text(written.into())),
                expected,
                "{declared} {written}"
            );
        }
        for (declared, bytes, expected) in [
            ("bit(10)", &[5][..], "0005"),
            ("bit(1)", &[1], "true"),
            ("bit(3)", &[1, 0], "?"),
            ("varbinary(9)", &[0xff, 0], "ff00"),
            ("int", &[0x41], "65"),
            ("varchar(3)", &[0x41], "?"),
        ] {
            assert_eq!(
                shown(declared, true, ColumnDefault::Bytes(bytes.into())),
                expected,
                "{declared} {bytes:?}"
            );
        }
    }

    #[test]
    fn undeclared_default_is_null_or_the_zero_of_the_type() {
        assert_eq!(shown("int", true, ColumnDefault::Undeclared), "null");
        for (declared, expected) in [
            ("bigint unsigned", "0"),
            ("decimal(5,2)", "0.00"),
            ("varchar(5)", ""),
            ("binary(2)", "0000"),
            ("enum('x','y')", "x"),
            ("date", "zero_dates"),
            ("json", "?"),
        ] {
            assert_eq!(shown(declared, false, ColumnDefault::Undeclared), expected, "{declared}");
        }
        assert_eq!(shown("int", true, ColumnDefault::Unknown), "?");
    }
}
