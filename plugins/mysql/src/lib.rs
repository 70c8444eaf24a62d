//! MySQL and MariaDB: two connectors of one plugin.
#![forbid(unsafe_code)]

mod config;
mod connection;
mod error;
mod flavor;
mod identity;
mod raw;
mod sql;
mod tls;
mod types;

