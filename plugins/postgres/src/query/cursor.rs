//! Where a run with a cursor is: the last tuple handed over, as the server prints it.

use hub_plugin_api::{Error, ErrorKind, Position, Result};
use serde::{Deserialize, Serialize};

use super::{
    options::{CursorTies, QueryOptions},
    shape::Shape,
    source::Fields,
};
use crate::{
    types::{Cast, Wire},
    wire::decode_text,
};

/// The version of positions and carries.
pub const VERSION: u32 = 1;

/// What is stored between runs, and at each boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CursorPosition {
    /// The cursor's columns, by name.
    pub cursor: Vec<String>,
    /// The values behind which reading goes on, as the server prints them.
    pub after: Vec<String>,
}

impl CursorPosition {
    /// Fails unless it is of this cursor.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when the pipeline's cursor has changed.
    pub fn check(&self, cursor: &[String]) -> Result<()> {
        if self.cursor == cursor && self.after.len() == cursor.len() {
            return Ok(());
        }
        Err(Error::config(
            "cursor",
            format!(
                "The stored position is of cursor `{}`, not `{}`",
                self.cursor.join(", "),
                cursor.join(", ")
            ),
        )
        .with_hint("Give the cursor that the position is of, or start again with `--from-scratch`"))
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
    wires: Vec<(Wire, bool)>,
    /// What equal tuples mean.
    pub ties: CursorTies,
}

impl Cursor {
    /// The cursor that the options name; `None` without one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when a column cannot be part of a cursor.
    pub fn of(options: &QueryOptions, shape: &Shape) -> Result<Option<Self>> {
        if options.cursor.is_empty() {
            return Ok(None);
        }
        let mut cursor = Self {
            names: options.cursor.clone(),
            columns: Vec::new(),
            wires: Vec::new(),
            ties: options.cursor_ties,
        };
        for name in &options.cursor {
            let missing = || Error::config("cursor", format!("The statement has no column `{name}`"));
            let place = shape.position(name).ok_or_else(missing)?;
            let column = &shape.columns[place];
            let refuse = |why: &str| {
                Err(Error::config(
                    "cursor",
                    format!("Column `{name}` (`{}`) cannot be part of a cursor", column.type_name),
                )
                .with_hint(why))
            };
            if matches!(column.reading.wire, Wire::Interval | Wire::Jsonb | Wire::List(_)) {
                return refuse("Its values have no one text that the server could compare them with");
            }
            if options.as_text.contains(name) {
                return refuse("Take the column out of `as_text`");
            }
            let equal_bytes = column.deterministic
                && (column.reading.cast == Cast::None || has_one_text(&column.type_name));
            if !equal_bytes && cursor.ties == CursorTies::Refuse {
                return refuse("Equal values may be written differently: set `cursor_ties: reread`");
            }
            cursor.columns.push(place);
            cursor.wires.push((column.reading.wire.clone(), column.type_name == "timestamp with time zone"));
        }
        Ok(Some(cursor))
    }
}

/// Types read as text whose equal values are always written alike.
fn has_one_text(type_name: &str) -> bool {
    matches!(type_name, "inet" | "cidr" | "macaddr" | "macaddr8" | "pg_lsn" | "xid8" | "\"char\"")
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
    pub fn note(&mut self, fields: &Fields<'_>) -> Result<()> {
        let mut tie = self.started;
        for ((place, (wire, _)), last) in
            self.cursor.columns.iter().zip(&self.cursor.wires).zip(&mut self.last)
        {
            let value = fields.field(*place).ok_or_else(|| null_in_cursor(&self.cursor.names))?;
            tie = tie && decode_text::same(wire, last, value);
            last.clear();
            last.extend_from_slice(value);
        }
        self.started = true;
        if tie && self.cursor.ties == CursorTies::Refuse {
            let columns = self.cursor.names.join(", ");
            return Err(Error::new(ErrorKind::InvalidData, format!("Two rows have the same values of cursor `{columns}`"))
                .with_field("cursor")
                .with_hint("Add columns until the cursor is unique, or set `cursor_ties: reread` with a destination that updates by key"));
        }
        Ok(())
    }

    /// The position behind the last row; `None` before the first.
    ///
    /// # Errors
    /// When a value has no text, or the position is too long.
    pub fn position(&self) -> Result<Option<Position>> {
        if !self.started {
            return Ok(None);
        }
        let text = |((wire, utc), value): (&(Wire, bool), &Vec<u8>)| decode_text::to_text(wire, *utc, value);
        let after: Option<Vec<_>> = self.cursor.wires.iter().zip(&self.last).map(text).collect();
        let after =
            after.ok_or_else(|| Error::new(ErrorKind::Protocol, "A cursor's value is not of its type"))?;
        CursorPosition { cursor: self.cursor.names.clone(), after }.to_position().map(Some)
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
