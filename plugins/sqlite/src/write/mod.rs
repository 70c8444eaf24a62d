//! By Write Operation: rows and the commit token in one transaction.

mod changes;
mod lane;
mod options;
mod replace;
mod rows;
mod state;
mod target;
mod template;
mod writer;

pub use options::WriteOptions;
pub use writer::SqliteWriter;
