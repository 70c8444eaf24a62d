//! Connectors of Connector Hub as WebAssembly components: for those that read, and have one stream a plan.
//!
//! Implement [`Connector`] and [`Batches`], name the type in [`export_connector!`], and build for `wasm32-wasip2`. A
//! connector that writes, or has several splits, implements the generated traits in [`bindings`] instead.

pub mod bindings;
mod connector;
mod context;
mod error;
mod events;
mod export;
mod objects;

pub use connector::{Batch, Batches, Budgets, Connector, Step};
pub use context::{Level, log, secret};
pub use error::{Error, Result};

/// What [`export_connector!`] needs; nothing of it is for use by hand.
#[doc(hidden)]
pub mod internal {
    pub use crate::{events::SourceReader, export::*, objects::*};
}
