//! Servers and helpers of the end-to-end tests.
//!
//! Knows no connector: everything goes through the program and the plugins that `cargo xtask test` hands over.

mod environment;
pub mod servers;
mod skip;

pub use environment::Environment;
pub use skip::skip;
