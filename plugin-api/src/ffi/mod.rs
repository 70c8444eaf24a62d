//! The glue between the traits and the binary interface: the only `unsafe` code of this crate.
//!
//! [`export_plugin`] turns connectors into an object of the interface; [`import_plugin`] turns such an object into
//! connectors. Both ends implement the same traits, so [`loopback`] can put one end on the other for tests.

mod context;
mod export;
mod guard;
mod import;
mod macros;
mod rows;
mod runtime;
#[cfg(test)]
mod tests;
pub mod wire;

pub use context::export_context;
pub use export::{export_library, export_plugin};
pub use hub_plugin_abi as abi;
pub use import::{ImportedPlugin, import_plugin};

use std::sync::Arc;

use crate::{Connector, Result};

/// The connectors of a plugin as the export macro names them: id and connector.
pub type NamedConnectors = Vec<(&'static str, Arc<dyn Connector>)>;

/// A connector as the host would see it, without a library between: every call goes through the whole glue.
///
/// # Errors
/// When the connector panics in its `spec`.
pub fn loopback(connector: Arc<dyn Connector>) -> Result<Arc<dyn Connector>> {
    let plugin = import_plugin(export_plugin(vec![("", connector)]))?;
    plugin.connectors.into_iter().next().ok_or_else(|| crate::Error::internal("A plugin without connectors"))
}
