//! Strategy `streams`: entries of streams, with a consumer group or without.

mod group;
mod id;
mod options;
mod plan;
mod position;
mod reader;
mod release;
mod rows;
mod trimmed;

pub(crate) use options::options;
pub(crate) use plan::plan;
pub(crate) use release::release;
