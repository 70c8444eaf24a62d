//! The host of Connector Hub: finds connector plugins, loads them, and moves rows between databases.

pub mod pipeline;
pub mod plugins;

/// The contract's types, as plugins see them.
pub use hub_plugin_api as api;
