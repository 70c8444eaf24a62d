use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use hub_plugin_api::{Error, ErrorKind, Result};
use serde::Serialize;

/// The environment variable that moves everything below one directory.
pub const HOME_VARIABLE: &str = "CONNECTOR_HUB_HOME";

/// Where the hub keeps its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// The store, and locks. Worth a backup.
    pub data: PathBuf,
    /// Copies of plugins, spilled rows. May be removed while no hub runs.
    pub cache: PathBuf,
    /// Logs.
    pub logs: PathBuf,
}

impl Paths {
    /// Below `CONNECTOR_HUB_HOME` when it is set, else where the operating system wants them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the user has no home directory.
    pub fn from_environment() -> Result<Self> {
        if let Some(home) = std::env::var_os(HOME_VARIABLE).filter(|home| !home.is_empty()) {
            return Ok(Self::below(Path::new(&home)));
        }
        let project = ProjectDirs::from("", "", "connector-hub").ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "The user has no home directory")
                .with_hint(format!("Set `{HOME_VARIABLE}` to a directory for the hub's files"))
        })?;
        let data = project.data_local_dir().to_path_buf();
        let logs = project.state_dir().map_or_else(|| data.join("logs"), |state| state.join("logs"));
        Ok(Self { data, cache: project.cache_dir().to_path_buf(), logs })
    }

    /// All below one directory: `data`, `cache`, `logs`.
    pub fn below(home: &Path) -> Self {
        Self { data: home.join("data"), cache: home.join("cache"), logs: home.join("logs") }
    }

    /// The hub's own database.
    pub fn store_file(&self) -> PathBuf {
        self.data.join("hub.db")
    }

    /// Where plugins may spill what does not fit into memory.
    pub fn spill_dir(&self) -> PathBuf {
        self.cache.join("spill")
    }

    /// Files that no connector may open.
    pub fn reserved_files(&self) -> Vec<PathBuf> {
        let store = self.store_file();
        let beside = ["-wal", "-shm", "-journal"].map(|suffix| {
            let mut name = store.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        });
        std::iter::once(store).chain(beside).collect()
    }
}
