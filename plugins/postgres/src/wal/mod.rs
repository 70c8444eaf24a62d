//! Strategy `wal`: the rows of tables as they are, then every change, from a replication slot of plugin pgoutput.

mod again;
mod convert;
mod decoder;
mod facts;
mod lsn;
mod message;
mod names;
mod options;
mod pattern;
mod plan;
mod position;
mod publication;
mod release;
mod slot;
mod snapshot;
mod spill;
mod stream;
mod table;
mod tables;
mod watch;
mod window;

pub use facts::Facts;
pub use options::{WalOptions, parameters as options};
pub use plan::plan;
pub use release::release;
pub use slot::check as check_slot;
pub use tables::{Captured, select as select_tables};
