//! The connector through its public traits, against real files.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod check;
mod conformance;
mod cursor;
mod harness;
mod locks;
mod modes;
mod reading;
mod speed;
mod types;
