//! End to end with a real Redis.
#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod changes;
mod killed;
mod moves;
mod server;
