//! The connector against a real server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be set up fails its test")]

mod checking;
mod cluster;
mod conformance;
mod keys;
mod keyspace;
mod queries;
mod sentinel;
mod speed;
mod streams;
mod strings;
mod support;
mod writing;
