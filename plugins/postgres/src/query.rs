//! Strategy `query`: the rows of any statement, with a cursor only the new ones.

mod change;
mod collector;
mod cursor;
mod once;
mod options;
mod parameters;
mod plan;
mod prepare;
mod ranges;
mod reader;
mod shape;
mod snapshot;
mod source;

pub use cursor::Cursor;
pub use once::read_once;
pub use options::{Decimals, QueryOptions, parameters as options};
pub use plan::plan;
pub use prepare::{Prepared, ServerInfo, prepare};
pub use reader::{ReaderSetup, start_copy};
pub use shape::Shape;
pub use snapshot::{ReaderSessions, open_now};
