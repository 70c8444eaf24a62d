//! Functions of the user's own: WebAssembly modules that query their connection and yield rows.

mod bindings;
mod columns_in;
mod command;
mod connector;
mod declared;
mod deny;
mod explain;
mod function;
mod guest;
mod interrupt;
pub(crate) mod ipc;
mod limits;
mod lines;
mod module;
mod names;
mod no_connection;
mod options;
mod parameters;
mod pipe;
mod reader;
mod rows_in;
mod rows_out;
mod sandbox;
mod shell;
mod types;

pub use deny::{Grant, grant_of};
pub use function::{Function, Start};
pub use limits::Limits;
pub use module::{CONTRACT_VERSION, Module, World};
pub use options::CUSTOM_FUNCTION;
pub use sandbox::Sandbox;

pub(crate) use connector::with_functions;
pub(crate) use explain::{explain, with_denied};
pub(crate) use interrupt::Interrupt;
pub(crate) use names::guard_names;
pub(crate) use shell::{Denied, HasShell, Shell};
