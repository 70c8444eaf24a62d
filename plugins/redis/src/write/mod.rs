//! Strategy `write`: rows become values of Redis.

mod lane;
mod options;
mod restore;
mod row;
mod target;
mod template;
mod writer;

pub(crate) use options::options;
pub(crate) use writer::writer;
