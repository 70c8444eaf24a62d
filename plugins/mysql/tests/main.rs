//! The connectors against real servers of both vendors.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be set up fails its test")]

mod binlog;
mod checking;
mod conformance;
mod reading;
mod support;
mod types;
mod writing;
