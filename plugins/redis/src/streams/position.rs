use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::EntryId;

/// Version of the position.
pub const POSITION: u32 = 1;

/// How far each stream is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsPosition {
    /// By key.
    pub streams: BTreeMap<String, StreamPosition>,
}

/// How far one stream is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// The last entry that came in order.
    pub last: EntryId,
    /// How many entries of all that were ever added came or were known to be gone; without a group.
    #[serde(default)]
    pub read: u64,
    /// How many entries were told to be gone; with a group.
    #[serde(default)]
    pub lost: u64,
    /// The newest removed entry that is known: what was removed up to it was told, or was before our time.
    #[serde(default)]
    pub removed: EntryId,
    /// Entries that were taken over from other consumers and not acknowledged yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claimed: BTreeSet<EntryId>,
}
