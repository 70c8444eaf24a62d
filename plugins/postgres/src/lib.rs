//! PostgreSQL: reads any query through COPY BINARY, and writes through it.
#![forbid(unsafe_code)]

mod config;
mod connection;
mod connector;
mod error;
mod query;
mod sql;
mod tls;
mod types;
mod wire;
mod write;

pub use connector::Postgres;
