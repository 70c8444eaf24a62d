//! End to end with real servers of MySQL and MariaDB.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod binlog_equivalence;
mod binlog_faults;
mod binlog_reread;
mod binlog_settings;
mod binlog_tables;
mod check;
mod moves;
mod own;
