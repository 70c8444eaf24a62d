//! Strategy `keyspace`: what happens to keys, as the servers publish it.

mod listen;
mod options;
mod plan;
mod publishing;
mod reader;
mod rows;

pub(crate) use options::options;
pub(crate) use plan::plan;
pub(crate) use publishing::sends_key_events;
