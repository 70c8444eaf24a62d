//! Finds connector plugins, checks and loads them, and keeps the host's threads out of their hands.

mod supervisor;
mod task;

pub use supervisor::Supervisor;
pub use task::Task;
