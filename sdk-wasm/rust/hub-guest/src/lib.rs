//! Custom functions of Connector Hub in Rust.
//!
//! A function queries the connection that it belongs to, and yields batches of rows with positions. Implement
//! [`Function`], name the type in [`export_function!`], and build for `wasm32-wasip2`.

#[doc(hidden)]
pub mod bindings;
mod columns;
mod columns_in;
mod export;
mod failure;
mod field;
mod function;
mod query;
mod rows;
mod value;

pub use bindings::connector_hub::plugin::{
    log::Level,
    types::{
        Batch, Column, ColumnBatch, ColumnType, ColumnValues, Digits, Failure, Field, Flat, RowBatch, Value,
    },
};
pub use columns::Columns;
pub use columns_in::{Bytes, ColumnPage, Texts};
pub use failure::Result;
pub use function::{Event, Function};
pub use query::{Encoding, Statement, log, query, query_columns, query_command, query_rows};
pub use rows::{Row, RowPage, Rows};
pub use value::FromValue;

/// What [`export_function!`] needs; nothing of it is for use by hand.
#[doc(hidden)]
pub mod internal {
    pub use crate::export::*;
}
