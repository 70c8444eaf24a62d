//! Plugins that are WebAssembly components: whole connectors in the sandbox, behind the same traits.

mod bindings;
mod connector;
#[cfg(test)]
mod contract;
mod load;
mod network;
mod objects;
mod session;
mod state;

pub(super) use load::{OpenComponent, open, starts_like_a_component};
