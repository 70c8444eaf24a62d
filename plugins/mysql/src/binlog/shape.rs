//! A table's shape on the boundary, from what the log says of it.

use hub_plugin_api::{
    Error, ErrorKind, Result, StreamId, arrow::datatypes::SchemaRef, changes::change_schema, types::Column,
};

use super::{
    charset::{Charset, Charsets},
    column::Decoding,
    default::ColumnDefault,
    definition::{ColumnDefinition, TableDefinition},
    storage::{Family, Storage},
    table_map::{BINARY, MapColumn, TableMap},
};
use crate::{
    flavor::Vendor,
    types::{ServerType, labels},
};

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
    /// How its columns are declared.
    pub declarations: Vec<ColumnDefinition>,
}

impl Shape {
    /// The shape of a table: what its map says, and of what the map leaves open what its declaration says.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] with the column's name for what cannot be carried,
    /// [`ErrorKind::SchemaMismatch`] when neither map nor declaration tell the columns.
    pub fn of(
        map: &TableMap,
        definition: Option<&TableDefinition>,
        vendor: Vendor,
        charsets: &Charsets,
    ) -> Result<Self> {
        let stream = StreamId::new([map.database.clone()], map.table.clone());
        let fits = definition.filter(|definition| fits(map, definition));
        let (mut declarations, mut key) = (Vec::with_capacity(map.columns.len()), Vec::new());
        if let Some(definition) = fits {
            declarations.clone_from(&definition.columns);
            for (declaration, column) in declarations.iter_mut().zip(&map.columns) {
                // What the log says is of the moment when the row was written.
                let charset = column.collation.and_then(|collation| charsets.of_collation(collation));
                if declaration.charset.is_some() || charset.is_some_and(|name| name != "binary") {
                    declaration.charset = charset.map(str::to_owned).or(declaration.charset.take());
                }
            }
        } else if map.full {
            for column in &map.columns {
                let declared = declared(column, charsets).map_err(|error| {
                    error.with_context("column", &column.name).with_context("table", &stream)
                })?;
                declarations.push(declared);
            }
        } else {
            return Err(unknown_table(&stream, definition));
        }
        if let Some(places) = &map.key {
            for (place, declaration) in declarations.iter_mut().enumerate() {
                let ordinal = places.iter().position(|of_key| *of_key == place);
                declaration.key = ordinal.and_then(|ordinal| u32::try_from(ordinal).ok());
            }
        }
        let mut columns = Vec::with_capacity(declarations.len());
        let mut decodings = Vec::with_capacity(declarations.len());
        for declaration in &declarations {
            let at_column =
                |error: Error| error.with_context("column", &declaration.name).with_context("table", &stream);
            let (column, of) = carried(declaration, vendor).map_err(at_column)?;
            columns.push(column);
            decodings.push(decoding(declaration, of, charsets).map_err(at_column)?);
        }
        let mut ordinals: Vec<_> =
            columns.iter().enumerate().filter_map(|(place, column)| Some((column.key?, place))).collect();
        ordinals.sort_unstable();
        key.extend(ordinals.into_iter().map(|(_, place)| place));
        Ok(Self {
            schema: change_schema(&columns),
            stream,
            columns,
            key,
            storages: map.columns.iter().map(|column| column.storage).collect(),
            decodings,
            declarations,
        })
    }

    /// Whether rows of both look and lie alike: only what they get that leave columns out may be another.
    pub fn is_like(&self, other: &Self) -> bool {
        self.columns == other.columns
            && self.key == other.key
            && self.storages == other.storages
            && self.decodings == other.decodings
    }
}

/// A declared column as it is carried, and its type.
///
/// # Errors
/// [`ErrorKind::UnsupportedType`] for what cannot be carried.
pub fn carried(declaration: &ColumnDefinition, vendor: Vendor) -> Result<(Column, ServerType)> {
    let declared = &declaration.declared;
    let of = ServerType::of_declared(declared).ok_or_else(|| {
        Error::new(
            ErrorKind::UnsupportedType,
            format!("`{declared}` is not the name of a type that is known"),
        )
    })?;
    let mut column = Column::new(&declaration.name, of.logical(vendor)).declared(vendor.engine(), declared);
    (column.nullable, column.key) = (declaration.nullable, declaration.key);
    Ok((column, of))
}

/// How the bytes of a column in a row image become values.
fn decoding(declaration: &ColumnDefinition, of: ServerType, charsets: &Charsets) -> Result<Decoding> {
    Ok(match of {
        ServerType::Text => Decoding::Text(match declaration.charset.as_deref() {
            None => return Err(unknown("the character set of a text")),
            Some("binary") => Charset::Utf8,
            Some(name) => charsets.named(name)?,
        }),
        ServerType::Enum(labels) => Decoding::Enum(labels),
        ServerType::Set => {
            let declared = declaration.declared.get(3..).unwrap_or_default();
            Decoding::Set(labels(declared).unwrap_or_default())
        }
        ServerType::Inet(_) => Decoding::Address,
        _ => Decoding::Plain,
    })
}

/// Whether a declaration is of the table that the map describes: as many columns, of the same names where the map
/// has them, that lie as they are declared.
fn fits(map: &TableMap, definition: &TableDefinition) -> bool {
    map.columns.len() == definition.columns.len()
        && map.columns.iter().zip(&definition.columns).all(|(column, declared)| {
            (!map.full || column.name == declared.name)
                && ServerType::of_declared(&declared.declared)
                    .is_some_and(|of| lies_as(column, &of, &declared.declared))
        })
}

/// Whether values of a declared type lie as the map says.
fn lies_as(column: &MapColumn, of: &ServerType, declared: &str) -> bool {
    let text = |family| matches!(family, Family::Fixed | Family::Varying | Family::Large);
    match (column.storage, of) {
        (Storage::Integer(bytes), ServerType::Integer { bytes: of, unsigned }) => {
            let bytes = if bytes == 3 { 4 } else { bytes };
            bytes == *of && column.unsigned.is_none_or(|sign| sign == *unsigned)
        }
        (Storage::Float, ServerType::Float)
        | (Storage::Double, ServerType::Double)
        | (Storage::Year, ServerType::Year)
        | (Storage::Date, ServerType::Date)
        | (Storage::Time(_) | Storage::OldTime, ServerType::Time)
        | (Storage::DateTime(_) | Storage::OldDateTime, ServerType::DateTime)
        | (Storage::Timestamp(_) | Storage::OldTimestamp, ServerType::Timestamp)
        | (Storage::Bytes { family: Family::Geometry, .. }, ServerType::Geometry)
        | (Storage::Bytes { family: Family::Vector, .. }, ServerType::Vector)
        | (Storage::Bytes { family: Family::Json | Family::Large, .. }, ServerType::Json) => true,
        // MariaDB keeps its vectors as bytes.
        (Storage::Bytes { family: Family::Varying, .. }, ServerType::Vector) => true,
        (Storage::Decimal { precision, scale }, ServerType::Decimal { precision: of, scale: of_scale }) => {
            (precision, scale) == (*of, *of_scale)
        }
        (Storage::Bit { bits }, ServerType::Bit(of)) => bits == u16::from(*of),
        (Storage::Enum(_), ServerType::Enum(_)) | (Storage::Set(_), ServerType::Set) => true,
        (Storage::Bytes { family, .. }, ServerType::Text) => {
            text(family) && column.collation.is_none_or(|collation| collation != BINARY)
        }
        (Storage::Bytes { family, .. }, ServerType::Bytes) => {
            text(family) && column.collation.is_none_or(|collation| collation == BINARY)
        }
        (Storage::Bytes { family: Family::Fixed, most: 16, .. }, ServerType::Uuid) => true,
        (Storage::Bytes { family: Family::Fixed, most, .. }, ServerType::Inet(_)) => {
            most == if declared == "inet4" { 4 } else { 16 }
        }
        _ => false,
    }
}

fn unknown_table(stream: &StreamId, definition: Option<&TableDefinition>) -> Error {
    let what = if definition.is_some() { "is another than was declared" } else { "was not declared" };
    let message = format!("The log does not tell the columns of table `{stream}`, and what it holds {what}");
    Error::new(ErrorKind::SchemaMismatch, message).with_hint(
        "Run `SET GLOBAL binlog_row_metadata = 'FULL'` on the server, and begin again with `--from-scratch`",
    )
}

/// A column as the log declares it.
fn declared(column: &MapColumn, charsets: &Charsets) -> Result<ColumnDefinition> {
    let sign = if column.unsigned.unwrap_or(false) { " unsigned" } else { "" };
    let fraction = |digits: u8| if digits == 0 { String::new() } else { format!("({digits})") };
    let mut charset = None;
    let declared = match column.storage {
        Storage::Integer(bytes) => {
            let name = match bytes {
                1 => "tinyint",
                2 => "smallint",
                3 => "mediumint",
                4 => "int",
                _ => "bigint",
            };
            format!("{name}{sign}")
        }
        Storage::Float => format!("float{sign}"),
        Storage::Double => format!("double{sign}"),
        Storage::Decimal { precision, scale } => format!("decimal({precision},{scale}){sign}"),
        Storage::Year => "year".into(),
        Storage::Date => "date".into(),
        Storage::Time(digits) => format!("time{}", fraction(digits)),
        Storage::OldTime => "time".into(),
        Storage::DateTime(digits) => format!("datetime{}", fraction(digits)),
        Storage::OldDateTime => "datetime".into(),
        Storage::Timestamp(digits) => format!("timestamp{}", fraction(digits)),
        Storage::OldTimestamp => "timestamp".into(),
        Storage::Bit { bits } => format!("bit({bits})"),
        Storage::Enum(_) => format!("enum({})", quoted(&values(column, charsets)?)),
        Storage::Set(_) => format!("set({})", quoted(&values(column, charsets)?)),
        Storage::Bytes { family: Family::Json, .. } => "json".into(),
        Storage::Bytes { family: Family::Geometry, .. } => "geometry".into(),
        Storage::Bytes { family: Family::Vector, .. } => "vector".into(),
        Storage::Bytes { family, length, most } => {
            let collation = column.collation.ok_or_else(|| unknown("the collation of a text"))?;
            if collation == BINARY {
                binary_name(family, length, most)
            } else {
                let name = charsets.of_collation(collation).ok_or_else(|| unknown("a collation's number"))?;
                charset = Some(name.to_owned());
                text_name(family, length, most / characters(name))
            }
        }
    };
    let (name, nullable) = (column.name.clone(), column.nullable);
    Ok(ColumnDefinition { name, declared, nullable, charset, key: None, default: ColumnDefault::Unknown })
}

fn unknown(what: &str) -> Error {
    Error::new(ErrorKind::UnsupportedType, format!("The log does not tell {what}"))
        .with_hint("Set `binlog_row_metadata = FULL` on the server")
}

fn values(column: &MapColumn, charsets: &Charsets) -> Result<Vec<String>> {
    let values = column.values.as_ref().ok_or_else(|| unknown("the values of an ENUM or SET"))?;
    let collation = column.collation.ok_or_else(|| unknown("the collation of an ENUM or SET"))?;
    // Values of a binary ENUM are bytes; the servers keep their names as text.
    let name = charsets.of_collation(collation).unwrap_or("utf8mb4");
    let charset = if name == "binary" { Charset::Utf8 } else { charsets.named(name)? };
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
