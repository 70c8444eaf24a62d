//! MySQL and MariaDB: two connectors of one plugin.
#![forbid(unsafe_code)]

mod binlog;
mod catalog;
mod check;
mod config;
mod connection;
mod connector;
mod discover;
mod error;
mod flavor;
mod identity;
mod query;
mod raw;
mod sql;
mod tls;
mod types;
mod write;

pub use connector::{MariaDb, MySql};

hub_plugin_api::export_connectors!("mysql" => MySql, "mariadb" => MariaDb);
