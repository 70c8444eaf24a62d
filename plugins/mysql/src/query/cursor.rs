//! Where a run with a cursor is: the last tuple handed over, as the server writes it.

use hub_plugin_api::{Error, ErrorKind, Position, Result};
use serde::{Deserialize, Serialize};

use super::{
    options::{CursorTies, QueryOptions},
    shape::Shape,
};
use crate::{error, raw::result::Reader, types::ServerType};

/// The version of positions and carries.
pub const VERSION: u32 = 1;

/// What is stored between runs, and at each boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CursorPosition {
    /// The cursor's columns, by name.
    pub cursor: Vec<String>,
    /// The values behind which reading goes on, as the server writes them.
    pub after: Vec<String>,
    /// The zone that time stamps are written in.
    pub time_zone: String,
}

impl CursorPosition {
    /// Fails unless it is of this cursor.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when the pipeline's cursor or zone has changed.
    pub fn check(&self, cursor: &[String], time_zone: &str) -> Result<()> {
        if self.cursor != cursor || self.after.len() != cursor.len() {
            let (stored, given) = (self.cursor.join(", "), cursor.join(", "));
            return Err(Error::config(
                "cursor",
                format!("The stored position is of cursor `{stored}`, not `{given}`"),
            )
            .with_hint("Give the cursor that the position is of, or start again with `--from-scratch`"));
        }
        if self.time_zone != time_zone {
            let message = format!("The stored position is written in time zone `{}`", self.time_zone);
            return Err(Error::config("time_zone", message)
                .with_hint("Give that time zone, or start again with `--from-scratch`"));
        }
        Ok(())
    }

    /// As it crosses the boundary.
    ///
    /// # Errors
    /// When it is too long for a position.
    pub fn to_position(&self) -> Result<Position> {
        Position::new(VERSION, self)
    }
}

/// The cursor of a statement: its columns' places and what is promised of them.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// By name, in order.
    pub names: Vec<String>,
    /// Their places in the statement.
    pub columns: Vec<usize>,
    /// What equal tuples mean.
    pub ties: CursorTies,
    /// The zone of the session.
    pub time_zone: String,
}

impl Cursor {
    /// The cursor that the options name; `None` without one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when a column cannot be part of a cursor.
    pub fn of(options: &QueryOptions, shape: &Shape, time_zone: &str) -> Result<Option<Self>> {
        if options.cursor.is_empty() {
            return Ok(None);
        }
        let mut cursor = Self {
            names: options.cursor.clone(),
            columns: Vec::new(),
            ties: options.cursor_ties,
            time_zone: time_zone.to_owned(),
        };
        for name in &options.cursor {
            let missing = || Error::config("cursor", format!("The statement has no column `{name}`"));
            let place = shape.position(name).ok_or_else(missing)?;
            let column = &shape.columns[place];
            let refuse = |why: &str| {
                let of = column.column.declared.as_deref().unwrap_or("an expression");
                Err(Error::config("cursor", format!("Column `{name}` (`{of}`) cannot be part of a cursor"))
                    .with_hint(why))
            };
            match column.server_type {
                ServerType::Integer { .. }
                | ServerType::Year
                | ServerType::Decimal { .. }
                | ServerType::Date
                | ServerType::Time
                | ServerType::DateTime
                | ServerType::Timestamp
                | ServerType::Text
                | ServerType::Uuid
                | ServerType::Inet(_) => {}
                _ => return refuse("Its values have no one text that the server could compare them with"),
            }
            if !column.deterministic && cursor.ties == CursorTies::Refuse {
                return refuse(
                    "Texts that are written differently may be equal: use the key's only column or one that is \
                     collated by bytes, or set `cursor_ties: reread`",
                );
            }
            cursor.columns.push(place);
        }
        Ok(Some(cursor))
    }

    /// The position behind a tuple.
    pub fn position(&self, after: Vec<String>) -> CursorPosition {
        CursorPosition { cursor: self.names.clone(), after, time_zone: self.time_zone.clone() }
    }
}

/// Follows a cursor through the rows of a reader.
pub struct CursorTracker {
    cursor: Cursor,
    last: Vec<Vec<u8>>,
    started: bool,
}

impl CursorTracker {
    /// Before the first row.
    pub fn new(cursor: Cursor) -> Self {
        Self { last: vec![Vec::new(); cursor.columns.len()], cursor, started: false }
    }

    /// Takes note of a row.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] when it has the same cursor values as the row before, and that is refused.
    pub fn note(&mut self, row: &[u8]) -> Result<()> {
        let mut tie = self.started;
        let mut reader = Reader(row);
        let mut left = self.cursor.columns.len();
        let mut at = 0;
        while left > 0 {
            let field = reader.field().ok_or_else(|| error::protocol("a row has too few fields"))?;
            if let Some(index) = self.cursor.columns.iter().position(|column| *column == at) {
                let value = field.ok_or_else(|| null_in_cursor(&self.cursor.names))?;
                let last = &mut self.last[index];
                tie = tie && last.as_slice() == value;
                last.clear();
                last.extend_from_slice(value);
                left -= 1;
            }
            at += 1;
        }
        self.started = true;
        if tie && self.cursor.ties == CursorTies::Refuse {
            let columns = self.cursor.names.join(", ");
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!("Two rows have the same values of cursor `{columns}`"),
            )
            .with_field("cursor")
            .with_hint(
                "Add columns until the cursor is unique, or set `cursor_ties: reread` with a destination that updates \
                 by key",
            ));
        }
        Ok(())
    }

    /// The position behind the last row; `None` before the first.
    ///
    /// # Errors
    /// When the position is too long.
    pub fn position(&self) -> Result<Option<Position>> {
        if !self.started {
            return Ok(None);
        }
        let after = self.last.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        self.cursor.position(after).to_position().map(Some)
    }
}

/// A cursor's column that is null: the row would be in no range.
pub fn null_in_cursor(names: &[String]) -> Error {
    Error::new(ErrorKind::InvalidData, format!("A row has no value in cursor `{}`", names.join(", ")))
        .with_field("cursor")
        .with_hint(
            "Use columns that are NOT NULL, filter the rows out, or set `cursor_ties: reread` with a destination that \
             updates by key",
        )
}
