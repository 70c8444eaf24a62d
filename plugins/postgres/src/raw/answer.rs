//! What the server answers, taken apart (PostgreSQL manual, section "Message Formats").

use hub_plugin_api::{Error, ErrorKind, Result};

use crate::error::{self, Answer};

/// Rows as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextRows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// A value a column; `None` is null.
    pub rows: Vec<Vec<Option<String>>>,
}

impl TextRows {
    /// One value; `None` is null, and also what is not there.
    pub fn get(&self, row: usize, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(place)?.as_deref()
    }

    /// Begins anew with the columns of a RowDescription.
    pub(super) fn describe(&mut self, body: &[u8]) -> Result<()> {
        let columns = columns(body)?.into_iter().map(|column| column.name).collect();
        *self = Self { columns, rows: Vec::new() };
        Ok(())
    }

    /// Takes a DataRow.
    pub(super) fn push(&mut self, body: &[u8]) -> Result<()> {
        let mut input = Fields(body);
        let values = (0..input.count()?).map(|_| match input.int()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| malformed())?;
                text(input.bytes(length)?).map(Some)
            }
        });
        self.rows.push(values.collect::<Result<_>>()?);
        Ok(())
    }
}

/// A column of a RowDescription.
pub(super) struct Column {
    pub name: String,
    pub type_oid: u32,
    pub type_modifier: i32,
}

/// What a RowDescription says.
pub(super) fn columns(body: &[u8]) -> Result<Vec<Column>> {
    let mut input = Fields(body);
    let count = input.count()?;
    let column = |_| {
        let name = text(input.until_nul()?)?;
        // The column's table and its number there.
        input.bytes(6)?;
        let type_oid = input.int()?.cast_unsigned();
        // The type's size.
        input.bytes(2)?;
        let type_modifier = input.int()?;
        // The format.
        input.bytes(2)?;
        Ok(Column { name, type_oid, type_modifier })
    };
    (0..count).map(column).collect()
}

/// An ErrorResponse as an error, said of what was being done.
pub(super) fn error_response(doing: &str, body: &[u8]) -> Error {
    let mut found: Vec<(u8, String)> = Vec::new();
    let mut input = Fields(body);
    // A type and its text, until a type of zero.
    while let Ok(&[kind]) = input.bytes(1) {
        match input.until_nul() {
            Ok(value) if kind != 0 => found.push((kind, String::from_utf8_lossy(value).into_owned())),
            _ => break,
        }
    }
    let field = |kind: u8| found.iter().find(|(found, _)| *found == kind).map(|(_, value)| value.as_str());
    let answer = Answer {
        code: field(b'C').unwrap_or_default(),
        message: field(b'M').unwrap_or_default(),
        detail: field(b'D'),
        hint: field(b'H'),
        character: field(b'P').and_then(|position| position.parse().ok()),
        table: field(b't'),
        column: field(b'c'),
        constraint: field(b'n'),
    };
    error::from_server(doing, &answer)
}

/// A message's contents, in order.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn int(&mut self) -> Result<i32> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*taken))
    }

    fn count(&mut self) -> Result<u16> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(malformed)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*taken))
    }

    pub(super) fn until_nul(&mut self) -> Result<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let taken = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(taken)
    }
}

fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Error::new(ErrorKind::InvalidData, "An answer of the server is not UTF-8"))
}

fn malformed() -> Error {
    Error::new(ErrorKind::Protocol, "A message of the server is not as documented")
}

/// A message that has no place where it came.
pub(super) fn unexpected(tag: u8, where_: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("The server sent a message `{}` {where_}", tag.escape_ascii()))
}
