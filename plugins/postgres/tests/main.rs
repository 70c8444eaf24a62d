//! The connector against a real server.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be set up fails its test")]

mod cancelling;
mod changing;
mod checking;
mod conformance;
mod cursors;
mod reading;
mod shapes;
mod support;
mod types;
mod write;
