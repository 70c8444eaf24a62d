//! By Write Operation: rows and the commit token in one transaction.

mod lane;
mod options;
mod rows;
mod state;
mod target;
mod writer;

pub use writer::SqliteWriter;
