//! PostgreSQL: reads any query through COPY BINARY, and writes through it.
#![forbid(unsafe_code)]

mod config;
mod connection;
mod error;
mod sql;
mod tls;
mod types;
mod wire;
