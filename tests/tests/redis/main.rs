//! End to end with a real Redis.

mod killed;
mod moves;
mod server;
