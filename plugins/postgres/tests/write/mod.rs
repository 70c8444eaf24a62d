//! By Write Operation against a real server.

mod apply_changes;
mod delivery;
mod modes;
mod replace;
mod server;
mod templates;
mod types;
