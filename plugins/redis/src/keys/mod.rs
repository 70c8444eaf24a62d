//! Strategy `keys`: keys that are named, and keys that patterns find.

mod fetch;
mod json;
mod options;
mod plan;
mod reader;
mod scan;
mod seen;
mod shape;

pub(crate) use options::options;
pub(crate) use plan::plan;
