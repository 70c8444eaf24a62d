//! The columns that a change stream adds to its rows, and how they are named.

/// Name of the column that says what happened: `insert`, `update`, `delete` or `snapshot` (Utf8).
pub const OP: &str = "__op";
/// Name of the column with the commit time: Timestamp(µs, UTC).
pub const TS: &str = "__ts";
/// Name of the column that counts this reader's changes in commit order over all streams: UInt64.
pub const SEQ: &str = "__seq";
/// Name of the column with the row as it was: a nullable struct.
pub const BEFORE: &str = "__before";
/// Name of the column with a bitmap of the values that the source did not send, least bit first: Binary.
pub const UNCHANGED: &str = "__unchanged";
/// Name of the column with a document's difference: `arrow.json`.
pub const PATCH: &str = "__patch";
