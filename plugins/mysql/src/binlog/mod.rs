//! By Bin Logs: follows the changes of tables through the binary log.

mod again;
mod charset;
mod column;
mod cursor;
mod ddl;
mod decimal;
mod default;
mod definition;
mod dump;
mod event;
mod filter;
mod follow;
mod foreign_keys;
mod gtid;
mod history;
mod json;
mod json_diff;
mod lexer;
mod log;
mod options;
mod plan;
mod position;
mod prepared;
mod query;
mod reader;
mod rows;
mod server;
mod shape;
mod snapshot;
mod start_time;
mod statement;
mod storage;
mod table_map;
mod temporal;

pub use foreign_keys::{listed, silent_children};
pub use options::{SnapshotWish, strategy};
pub use plan::plan;

/// What log records of this strategy are called after.
const TARGET: &str = "connector_mysql::binlog";
