//! The table map event: what the log itself says of a table before its rows.
//!
//! Source: MySQL's documentation of `Table_map_event`; MariaDB knowledge base "Table_map_event", "Optional metadata".

use hub_plugin_api::Result;

use super::{
    cursor::{Cursor, malformed},
    storage::{Family, Storage},
};

/// A table as its table map event describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap {
    /// The table's database.
    pub database: String,
    /// Its name there.
    pub table: String,
    /// Its columns, in their order.
    pub columns: Vec<MapColumn>,
    /// Places of the primary key's columns; absent where the log does not say.
    pub key: Option<Vec<usize>>,
    /// Whether names and signs are there: `binlog_row_metadata=FULL`.
    pub full: bool,
}

/// A column as its table map event describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapColumn {
    /// How values lie in the row.
    pub storage: Storage,
    /// Whether it may be null.
    pub nullable: bool,
    /// The name; empty where the log does not say.
    pub name: String,
    /// Whether a number has no sign.
    pub unsigned: Option<bool>,
    /// The number of its text's collation.
    pub collation: Option<u16>,
    /// The values of an ENUM or SET, in its character set.
    pub values: Option<Vec<Vec<u8>>>,
    /// Which geometries it takes, as the server numbers them; 0 is any.
    pub geometry: Option<u8>,
}

/// The number of the collation of bytes.
pub const BINARY: u16 = 63;

mod field {
    pub const SIGNEDNESS: u8 = 1;
    pub const DEFAULT_CHARSET: u8 = 2;
    pub const COLUMN_CHARSET: u8 = 3;
    pub const COLUMN_NAME: u8 = 4;
    pub const SET_VALUES: u8 = 5;
    pub const ENUM_VALUES: u8 = 6;
    pub const GEOMETRY_TYPE: u8 = 7;
    pub const KEY: u8 = 8;
    pub const KEY_WITH_PREFIX: u8 = 9;
    pub const ENUM_SET_DEFAULT_CHARSET: u8 = 10;
    pub const ENUM_SET_CHARSET: u8 = 11;
}

/// The number that rows name their table by, and the rest of the event.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::Protocol`] when the event ends too early.
pub fn table_id(data: &[u8]) -> Result<(u64, &[u8])> {
    let mut cursor = Cursor(data);
    let id = cursor.uint(6)?;
    cursor.u16()?;
    Ok((id, cursor.0))
}

impl TableMap {
    /// The table's database and name, before the rest is worth reading.
    ///
    /// # Errors
    /// As [`TableMap::parse`].
    pub fn name(body: &[u8]) -> Result<(&[u8], &[u8])> {
        let mut cursor = Cursor(body);
        let mut name = || {
            let length = cursor.u8()?;
            let name = cursor.take(length.into());
            cursor.u8()?;
            name
        };
        Ok((name()?, name()?))
    }

    /// Reads what stands behind the table's number.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::Protocol`] when the event is not as documented.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let (database, table) = Self::name(body)?;
        let mut cursor = Cursor(&body[database.len() + table.len() + 4..]);
        let (database, table) = (text(database)?, text(table)?);
        let count = cursor.length()?;
        let codes = cursor.take(count)?;
        let mut metadata = Cursor(cursor.packed_bytes()?);
        let nullable = cursor.take(count.div_ceil(8))?;
        let at_column = |error: hub_plugin_api::Error, place: usize| {
            error.with_context("table", format!("{database}.{table}")).with_context("column", place + 1)
        };
        let mut columns = Vec::with_capacity(count);
        for (place, code) in codes.iter().enumerate() {
            columns.push(MapColumn {
                storage: Storage::parse(*code, &mut metadata).map_err(|error| at_column(error, place))?,
                nullable: bit(nullable, place),
                name: String::new(),
                unsigned: None,
                collation: None,
                values: None,
                geometry: None,
            });
        }
        let mut map = Self { database, table, columns, key: None, full: false };
        while !cursor.is_empty() {
            let field = cursor.u8()?;
            map.optional(field, Cursor(cursor.packed_bytes()?))?;
        }
        // A table without a primary key has no field for one.
        if map.full && map.key.is_none() {
            map.key = Some(Vec::new());
        }
        Ok(map)
    }

    fn optional(&mut self, field: u8, mut value: Cursor<'_>) -> Result<()> {
        match field {
            field::SIGNEDNESS => {
                let numbers = self.columns.iter_mut().filter(|column| is_number(column.storage));
                for (place, column) in numbers.enumerate() {
                    let byte = value.0.get(place / 8).copied().unwrap_or_default();
                    column.unsigned = Some(byte >> (7 - place % 8) & 1 == 1);
                }
            }
            field::DEFAULT_CHARSET => self.default_charset(value, is_text)?,
            field::ENUM_SET_DEFAULT_CHARSET => self.default_charset(value, is_list)?,
            field::COLUMN_CHARSET => self.charsets(value, is_text)?,
            field::ENUM_SET_CHARSET => self.charsets(value, is_list)?,
            field::COLUMN_NAME => {
                for column in &mut self.columns {
                    column.name = text(value.packed_bytes()?)?;
                }
                self.full = true;
            }
            field::SET_VALUES => self.values(value, |storage| matches!(storage, Storage::Set(_)))?,
            field::ENUM_VALUES => self.values(value, |storage| matches!(storage, Storage::Enum(_)))?,
            field::GEOMETRY_TYPE => {
                let is_geometry =
                    |storage| matches!(storage, Storage::Bytes { family: Family::Geometry, .. });
                for column in self.columns.iter_mut().filter(|column| is_geometry(column.storage)) {
                    column.geometry = Some(value.packed()? as u8);
                }
            }
            field::KEY | field::KEY_WITH_PREFIX => {
                let mut key = Vec::new();
                while !value.is_empty() {
                    let place = value.length()?;
                    if field == field::KEY_WITH_PREFIX {
                        value.packed()?;
                    }
                    if place >= self.columns.len() {
                        return Err(malformed("A table map names a key column that the table does not have"));
                    }
                    key.push(place);
                }
                self.key = Some(key);
            }
            // What is not needed here: visibility, dimensions of vectors, and what comes later.
            _ => {}
        }
        Ok(())
    }

    fn default_charset(&mut self, mut value: Cursor<'_>, of: fn(Storage) -> bool) -> Result<()> {
        let default = value.packed()? as u16;
        let mut others = Vec::new();
        while !value.is_empty() {
            others.push((value.length()?, value.packed()? as u16));
        }
        for (place, column) in self.columns.iter_mut().filter(|column| of(column.storage)).enumerate() {
            let other = others.iter().find(|(other, _)| *other == place);
            column.collation = Some(other.map_or(default, |(_, collation)| *collation));
        }
        Ok(())
    }

    fn charsets(&mut self, mut value: Cursor<'_>, of: fn(Storage) -> bool) -> Result<()> {
        for column in self.columns.iter_mut().filter(|column| of(column.storage)) {
            column.collation = Some(value.packed()? as u16);
        }
        Ok(())
    }

    fn values(&mut self, mut value: Cursor<'_>, of: fn(Storage) -> bool) -> Result<()> {
        for column in self.columns.iter_mut().filter(|column| of(column.storage)) {
            let count = value.length()?;
            let values = (0..count).map(|_| value.packed_bytes().map(<[u8]>::to_vec));
            column.values = Some(values.collect::<Result<_>>()?);
        }
        Ok(())
    }
}

/// The types that a sign is told of, YEAR among them.
fn is_number(storage: Storage) -> bool {
    matches!(
        storage,
        Storage::Integer(_) | Storage::Float | Storage::Double | Storage::Decimal { .. } | Storage::Year
    )
}

fn is_text(storage: Storage) -> bool {
    matches!(storage, Storage::Bytes { family: Family::Fixed | Family::Varying | Family::Large, .. })
}

fn is_list(storage: Storage) -> bool {
    matches!(storage, Storage::Enum(_) | Storage::Set(_))
}

/// Bit `place` of a bitmap, least bit first.
pub fn bit(bits: &[u8], place: usize) -> bool {
    bits.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1)
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed("A name in the binary log is not UTF-8"))
}
