//! Finds connector plugins, checks and loads them, and keeps the host's threads out of their hands.

mod attempts;
mod cache;
mod container;
mod file;
mod folders;
mod hashes;
mod load;
mod lock;
mod native;
mod note;
mod registry;
mod report;
mod requirement;
mod supervisor;
mod task;
mod wasm;
mod watch;

pub use folders::{FolderOrigin, PLUGIN_PATH_VARIABLE, PluginFolder, plugin_folders};
pub use lock::{LOCK_FILE, LockPolicy, LockedPlugin, PluginLock};
pub use registry::{LoadedConnector, Registry, RegistryOptions};
pub use report::{FileReport, LoadStep, PassedStep, PluginNote, Refusal, Verdict};
pub use requirement::ConnectorRequirement;
pub use supervisor::Supervisor;
pub use task::Task;
pub use watch::RegistryWatch;
