use hub_plugin_api::{Position, Result};
use serde::{Deserialize, Serialize};

use super::lsn::Lsn;
use crate::sql::wal;

/// The version of positions.
pub const VERSION: u32 = 1;

/// Where the stream goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// Behind the last transaction that is complete.
    pub lsn: Lsn,
    /// The number of its last change.
    pub seq: u64,
    /// Tables whose rows are to be read in the middle of the stream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<wal::Table>,
}

impl StreamPosition {
    /// As the host keeps it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn to_position(&self) -> Result<Position> {
        Position::new(VERSION, self)
    }
}
