//! What the global options say: where plugins and the hub's files are.

use std::{path::PathBuf, sync::OnceLock};

use connector_hub::{
    Hub,
    api::Result,
    plugins::{LoadedConnector, Registry, RegistryOptions, plugin_folders},
    store::Paths,
};

use super::arguments::Global;

/// Opens what a command needs, and nothing else.
pub struct Setup {
    plugin_dirs: Vec<PathBuf>,
    home: Option<PathBuf>,
    registry: OnceLock<Registry>,
}

impl Setup {
    pub fn new(global: Global) -> Self {
        let home = global.home.map(|home| std::path::absolute(&home).unwrap_or(home));
        Self { plugin_dirs: global.plugin_dir, home, registry: OnceLock::new() }
    }

    /// Where the hub's files are.
    pub fn paths(&self) -> Result<Paths> {
        self.home.as_deref().map_or_else(Paths::from_environment, |home| Ok(Paths::below(home)))
    }

    /// `--home`, when it was given.
    pub fn home(&self) -> Option<&PathBuf> {
        self.home.as_ref()
    }

    /// `--plugin-dir`, as often as it was given.
    pub fn plugin_dirs(&self) -> &[PathBuf] {
        &self.plugin_dirs
    }

    /// The plugins, looked for once.
    pub fn registry(&self) -> Result<&Registry> {
        if let Some(registry) = self.registry.get() {
            return Ok(registry);
        }
        let options = RegistryOptions::new(plugin_folders(&self.plugin_dirs), self.paths()?.cache);
        Ok(self.registry.get_or_init(|| Registry::open(options)))
    }

    /// The newest connector that fits an id with or without a version requirement.
    pub fn connector(&self, reference: &str) -> Result<LoadedConnector> {
        self.registry()?.find(reference)
    }

    /// The hub with its store.
    pub fn hub(&self) -> Result<Hub> {
        Hub::builder().paths(self.paths()?).registry(self.registry()?.clone()).build()
    }
}
