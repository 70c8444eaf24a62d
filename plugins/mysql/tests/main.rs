//! The connectors against real servers of both vendors.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what cannot be set up fails its test")]

mod reading;
mod support;
mod types;
