//! Where the log is followed from.

use hub_plugin_api::{Position, Result};
use serde::{Deserialize, Serialize};

use super::{definition::TableNames, follow::PreparedXa, gtid::Gtids};
use crate::flavor::Vendor;

/// The version of positions of this strategy.
pub const VERSION: u32 = 1;

/// A place between two transactions of a server's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The server whose file and offset these are: its UUID, or what stands for one. Empty in what a user wrote.
    #[serde(default)]
    pub server: String,
    /// The file of the log; empty in what a user wrote who names GTIDs only.
    #[serde(default)]
    pub file: String,
    /// The byte of the file at which the next transaction begins.
    #[serde(default)]
    pub offset: u64,
    /// What was seen, where the server counts transactions: valid on every server that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtids: Option<String>,
    /// How many changes came before: the number of the last one, `__seq`.
    #[serde(default, rename = "seq")]
    pub changes: u64,
    /// How many changes of tables' definitions came before.
    #[serde(default)]
    pub schema: u64,
    /// Tables that are to be read again from here on: database and table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: TableNames,
    /// XA transactions that are prepared, and not decided yet.
    #[serde(default, skip_serializing_if = "PreparedXa::is_empty")]
    pub prepared: PreparedXa,
}

/// A place in the log of one server, in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Numbers of files grow, and get longer when they do.
    digits: usize,
    file: String,
    offset: u64,
}

impl Place {
    /// A byte of a file.
    pub fn new(file: &str, offset: u64) -> Self {
        Self { digits: file.len(), file: file.to_owned(), offset }
    }
}

impl LogPosition {
    /// Its place in the server's own log.
    pub fn place(&self) -> Place {
        Place::new(&self.file, self.offset)
    }

    /// As the host stores it.
    ///
    /// # Errors
    /// When it is above the limit of positions.
    pub fn to_position(&self) -> Result<Position> {
        Position::new(VERSION, self)
    }

    /// As the host gave it back.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::PositionLost`] when it is none of this version.
    pub fn of(position: &Position) -> Result<Self> {
        position.read(VERSION)
    }

    /// The transactions that were seen; none where the server did not count them.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::PositionLost`] when they cannot be read.
    pub fn gtids(&self, vendor: Vendor) -> Result<Option<Gtids>> {
        let Some(text) = &self.gtids else { return Ok(None) };
        Ok(Some(match vendor {
            Vendor::MySql => Gtids::MySql(text.parse()?),
            Vendor::MariaDb => Gtids::MariaDb(text.parse()?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_order_of_the_log() {
        let place =
            |file: &str, offset| LogPosition { file: file.into(), offset, ..LogPosition::default() }.place();
        assert!(place("binlog.000009", 700) < place("binlog.000010", 4));
        assert!(place("binlog.999999", 4) < place("binlog.1000000", 4));
        assert!(place("binlog.000001", 4) < place("binlog.000001", 5));
    }
}
