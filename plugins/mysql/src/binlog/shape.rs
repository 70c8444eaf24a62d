//! A table's shape on the boundary, from what the log says of it.

use std::collections::HashMap;

use hub_plugin_api::{
    Error, ErrorKind, Result, StreamId,
    arrow::datatypes::SchemaRef,
    changes::change_schema,
    types::{Column, LogicalType},
};

use super::{
    charset::Charset,
    column::Decoding,
    storage::{Family, Storage},
    table_map::{BINARY, MapColumn, TableMap},
};
use crate::{flavor::Vendor, types::ServerType};

/// A table's shape: what its changes look like, and how its rows lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Whose.
    pub stream: StreamId,
    /// The columns of the row.
    pub columns: Vec<Column>,
    /// The columns of a change.
    pub schema: SchemaRef,
    /// Places of the key's columns, in its order.
    pub key: Vec<usize>,
    /// How each column lies in a row image.
    pub storages: Vec<Storage>,
    /// How its bytes become values.
    pub decodings: Vec<Decoding>,
}

/// The character sets of the server's collations, by their number.
pub type Collations = HashMap<u16, String>;

impl Shape {
    /// The shape of a table whose map has names and signs.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] with the column's name for what cannot be carried.
    pub fn of(map: &TableMap, vendor: Vendor, collations: &Collations) -> Result<Self> {
        let stream = StreamId::new([map.database.clone()], map.table.clone());
        let key = map.key.clone().unwrap_or_default();
        let mut columns = Vec::with_capacity(map.columns.len());
        let mut decodings = Vec::with_capacity(map.columns.len());
        for (place, column) in map.columns.iter().enumerate() {
            let at_column =
                |error: Error| error.with_context("column", &column.name).with_context("table", &stream);
            let (logical, declared, decoding) = carried(column, vendor, collations).map_err(at_column)?;
            let mut carried = Column::new(&column.name, logical).declared(vendor.engine(), declared);
            carried.nullable = column.nullable;
            let ordinal = key.iter().position(|of_key| *of_key == place);
            carried.key = ordinal.and_then(|ordinal| u32::try_from(ordinal).ok());
            columns.push(carried);
            decodings.push(decoding);
        }
        Ok(Self {
            schema: change_schema(&columns),
            stream,
            columns,
            key,
            storages: map.columns.iter().map(|column| column.storage).collect(),
            decodings,
        })
    }
}

/// What a column means, its declared type, and how its bytes become values.
fn carried(
    column: &MapColumn,
    vendor: Vendor,
    collations: &Collations,
) -> Result<(LogicalType, String, Decoding)> {
    let (declared, decoding) = declared(column, collations)?;
    let of = ServerType::of_declared(&declared)
        .ok_or_else(|| Error::internal(format!("`{declared}` is not the name of a type")))?;
    Ok((of.logical(vendor), declared, decoding))
}

/// A column's type in the words of the servers, and how its bytes become values.
fn declared(column: &MapColumn, collations: &Collations) -> Result<(String, Decoding)> {
    let sign = if column.unsigned.unwrap_or(false) { " unsigned" } else { "" };
    let fraction = |digits: u8| if digits == 0 { String::new() } else { format!("({digits})") };
    let plain = |declared: String| Ok((declared, Decoding::Plain));
    match column.storage {
        Storage::Integer(bytes) => {
            let name = match bytes {
                1 => "tinyint",
                2 => "smallint",
                3 => "mediumint",
                4 => "int",
                _ => "bigint",
            };
            plain(format!("{name}{sign}"))
        }
        Storage::Float => plain(format!("float{sign}")),
        Storage::Double => plain(format!("double{sign}")),
        Storage::Decimal { precision, scale } => plain(format!("decimal({precision},{scale}){sign}")),
        Storage::Year => plain("year".into()),
        Storage::Date => plain("date".into()),
        Storage::Time(digits) => plain(format!("time{}", fraction(digits))),
        Storage::OldTime => plain("time".into()),
        Storage::DateTime(digits) => plain(format!("datetime{}", fraction(digits))),
        Storage::OldDateTime => plain("datetime".into()),
        Storage::Timestamp(digits) => plain(format!("timestamp{}", fraction(digits))),
        Storage::OldTimestamp => plain("timestamp".into()),
        Storage::Bit { bits } => plain(format!("bit({bits})")),
        Storage::Enum(_) => {
            let values = values(column, collations)?;
            Ok((format!("enum({})", quoted(&values)), Decoding::Enum(values)))
        }
        Storage::Set(_) => {
            let values = values(column, collations)?;
            Ok((format!("set({})", quoted(&values)), Decoding::Set(values)))
        }
        Storage::Bytes { family: Family::Json, .. } => plain("json".into()),
        Storage::Bytes { family: Family::Geometry, .. } => plain("geometry".into()),
        Storage::Bytes { family: Family::Vector, .. } => plain("vector".into()),
        Storage::Bytes { family, length, most } => {
            let collation = column.collation.ok_or_else(|| unknown("the collation of a text"))?;
            if collation == BINARY {
                return plain(binary_name(family, length, most));
            }
            let name = collations.get(&collation).ok_or_else(|| unknown("a collation's number"))?;
            let declared = text_name(family, length, most / characters(name));
            Ok((declared, Decoding::Text(Charset::of(name)?)))
        }
    }
}

fn unknown(what: &str) -> Error {
    Error::new(ErrorKind::UnsupportedType, format!("The log does not tell {what}"))
        .with_hint("Set `binlog_row_metadata = FULL` on the server")
}

fn values(column: &MapColumn, collations: &Collations) -> Result<Vec<String>> {
    let values = column.values.as_ref().ok_or_else(|| unknown("the values of an ENUM or SET"))?;
    let collation = column.collation.ok_or_else(|| unknown("the collation of an ENUM or SET"))?;
    // Values of a binary ENUM are bytes; the servers keep their names as text.
    let name = collations.get(&collation).map_or("utf8mb4", String::as_str);
    let charset = if name == "binary" { Charset::Utf8 } else { Charset::of(name)? };
    let text = |value: &Vec<u8>| {
        let mut text = Vec::new();
        charset.decode(value, &mut text).ok()?;
        String::from_utf8(text).ok()
    };
    let texts = values.iter().map(text).collect::<Option<Vec<_>>>();
    texts.ok_or_else(|| Error::new(ErrorKind::UnsupportedType, "A value of an ENUM or SET is not text"))
}

fn quoted(values: &[String]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
    quoted.join(",")
}

fn binary_name(family: Family, length: u8, most: u32) -> String {
    match (family, length) {
        (Family::Fixed, _) => format!("binary({most})"),
        (Family::Varying, _) => format!("varbinary({most})"),
        (_, 1) => "tinyblob".into(),
        (_, 2) => "blob".into(),
        (_, 3) => "mediumblob".into(),
        _ => "longblob".into(),
    }
}

fn text_name(family: Family, length: u8, most: u32) -> String {
    match (family, length) {
        (Family::Fixed, _) => format!("char({most})"),
        (Family::Varying, _) => format!("varchar({most})"),
        (_, 1) => "tinytext".into(),
        (_, 2) => "text".into(),
        (_, 3) => "mediumtext".into(),
        _ => "longtext".into(),
    }
}

/// The most bytes of a character: the log counts bytes, a declaration characters.
fn characters(charset: &str) -> u32 {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" => 4,
        "utf8mb3" | "utf8" => 3,
        "ucs2" => 2,
        _ => 1,
    }
}
