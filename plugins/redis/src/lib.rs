//! Redis: reads keys of every type, and writes rows as values.
#![forbid(unsafe_code)]

mod base64;
mod check;
mod cluster;
mod commands;
mod config;
mod connection;
mod connector;
mod error;
mod fields;
mod keys;
mod query;
mod reply;
mod text;
mod tls;
mod types;
mod write;

pub use connector::Redis;

hub_plugin_api::export_connectors!("redis" => Redis);
