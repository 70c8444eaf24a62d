//! Servers and helpers of the end-to-end tests.
//!
//! Knows no connector: everything goes through the program and the plugins that `cargo xtask test` hands over.

pub mod changes;
mod environment;
mod hub;
mod kills;
mod lineitem;
mod memory;
mod postgres;
mod proxy;
pub mod servers;
mod skip;

pub use environment::Environment;
pub use hub::{Hub, Run, Running};
pub use kills::{Kills, kill_until_done};
pub use lineitem::{Checksums, lineitem_in_postgres, lineitem_in_sqlite};
pub use memory::PeakMemory;
pub use postgres::{Database, DatabaseSession};
pub use proxy::Proxy;
pub use skip::skip;
