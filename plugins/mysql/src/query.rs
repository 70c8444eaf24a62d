//! Strategy `query`: the rows of any statement, with a cursor only the new ones.

mod change;
mod cursor;
mod once;
mod options;
mod parameters;
mod plan;
mod ranges;
mod reader;
mod shape;
mod snapshot;

pub use once::read_once;
pub use options::{QueryOptions, parameters as options};
pub use plan::plan;
pub use shape::Shape;
