//! Redis: reads keys of every type, streams and what happens to keys, and writes rows as values.
#![forbid(unsafe_code)]

mod check;
mod cluster;
mod commands;
mod config;
mod connection;
mod connector;
mod error;
mod fields;
mod keys;
mod keyspace;
mod query;
mod reply;
mod streams;
mod text;
mod tls;
mod types;
mod write;

pub use connector::Redis;

hub_plugin_api::export_connectors!("redis" => Redis);
