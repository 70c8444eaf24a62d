//! PostgreSQL: reads any query through COPY BINARY, and writes through it.
#![forbid(unsafe_code)]

mod check;
mod config;
mod connection;
mod connector;
mod discover;
mod error;
mod identity;
mod notify;
mod query;
mod raw;
mod sql;
mod tls;
mod types;
mod wal;
mod wire;
mod write;

pub use connector::Postgres;

hub_plugin_api::export_connectors!("postgres" => Postgres);
