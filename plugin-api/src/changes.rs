//! Change streams: the columns that they add to their rows, and folding.
//!
//! A change is a flat row: the row as it is after the change, beside change columns that are known by the field
//! metadata [`META_CHANGE`](crate::types::META_CHANGE), whose value is the column's name of the constants below.
//! - `insert`, `snapshot`: every value of the row is sent.
//! - `update`: a value that the source did not send is null and has its bit in [`UNCHANGED`]. When the key changed,
//!   [`BEFORE`] holds the old key; otherwise it may be null.
//! - `delete`: the row's columns hold the key of the row that went; the other values may be null.
//!
//! Because a value may be missing in any row, every field of a change schema is nullable; NOT NULL is in the metadata
//! `hub:nullable`. [`row_schema`] tells the shape of the table behind it.

mod fold;
mod schema;
mod view;

pub use fold::{Folded, Input, Moves, Run, Step, Updates, fold};
pub use schema::{
    change_columns, change_schema, change_schema_with_patch, is_change_schema, row_columns, row_schema,
};
pub use view::{Changes, Op};

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
