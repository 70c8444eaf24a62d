//! Strategy `query`: the rows of any statement, with a cursor only the new ones.

mod cursor;
mod options;
mod parameters;
mod plan;
mod prepare;
mod ranges;
mod reader;
mod shape;
mod source;

pub use options::{QueryOptions, parameters};
pub use plan::plan;
pub use prepare::{Prepared, ServerInfo};
pub use reader::{ReaderSetup, open};
pub use shape::Shape;
