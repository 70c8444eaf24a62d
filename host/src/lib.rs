//! The host of Connector Hub: finds connector plugins, loads them, and moves rows between databases.

mod connection;
mod connection_config;
pub mod functions;
mod hub;
pub mod pipeline;
pub mod plugins;
pub mod store;
mod strategy;

pub use connection::ConnectionHandle;
pub use connection_config::{ConfigValue, ConnectionConfig, env, file, secret};
pub use hub::{Hub, HubBuilder};
pub use strategy::Strategy;

/// The contract's types, as plugins see them.
pub use hub_plugin_api as api;
