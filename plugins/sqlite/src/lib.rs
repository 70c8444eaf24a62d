//! The SQLite connector: the smallest real one, and the pattern of the others.
#![forbid(unsafe_code)]

mod check;
mod config;
mod connection;
mod database;
mod decode;
mod describe;
mod encode;
mod error;
mod manifest;
mod read;
mod sql;
mod text;
mod types;
mod write;

pub use connection::Sqlite;

hub_plugin_api::export_connectors!("sqlite" => Sqlite);
