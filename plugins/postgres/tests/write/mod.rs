//! By Write Operation against a real server.

mod apply_changes;
mod delivery;
mod modes;
mod replace;
mod round_trip;
mod server;
mod templates;
mod types;
