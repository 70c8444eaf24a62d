use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hub_plugin_api::{CheckReport, CheckStep, DiscoverRequest, Error, ErrorKind, Result, Signal, StreamPage};

use crate::{
    connection::ConnectionHandle,
    connection_config::ConnectionConfig,
    pipeline::{
        Batches, Catalog, EndpointSpec, FileError, Host, PipelineFile, PipelineSpec, Preview, Resolved,
        RunEvent, RunOptions, RunSummary, StopSignal, preview, run, start_over,
    },
    plugins::{LoadedConnector, Registry, RegistryOptions, plugin_folders},
    store::{Paths, Store},
    strategy::Strategy,
};

/// Finds connectors, connects, and moves rows. The one service layer: command line, HTTP and embedders call it alike.
///
/// It installs nothing in the process that it lives in: no subscriber, no panic hook, no runtime, and one kind of signal
/// handler, which [`HubBuilder`] tells of. It never prints and never exits. Cheap to clone, and usable from any thread.
#[derive(Clone)]
pub struct Hub {
    host: Host,
    registry: Registry,
}

/// What a [`Hub`] is made of.
///
/// # Signals
/// Nothing handles a signal until the first WebAssembly module is used: a function, or a component in a plugin folder.
/// From then on, for the life of the process, the engine wasmtime handles `SIGSEGV`, `SIGILL` and `SIGFPE` (on macOS the
/// exceptions of the same faults, on Windows a vectored exception handler), as that is how it ends a guest that leaves
/// its memory. A fault that is not a guest's goes to the handler that was there before, else to the system's. Whoever sets
/// handlers for these signals later must pass on what is not theirs to the one that they replace.
#[derive(Default)]
pub struct HubBuilder {
    plugin_dirs: Vec<PathBuf>,
    paths: Option<Paths>,
    catalog: Option<Arc<dyn Catalog>>,
    registry: Option<Registry>,
}

impl HubBuilder {
    /// Looks for plugins in a folder. Earlier folders do not hide later ones: all versions lie side by side.
    #[must_use]
    pub fn plugin_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.plugin_dirs.push(directory.into());
        self
    }

    /// Looks for plugins in several folders.
    #[must_use]
    pub fn plugin_dirs<P: Into<PathBuf>>(mut self, directories: impl IntoIterator<Item = P>) -> Self {
        self.plugin_dirs.extend(directories.into_iter().map(Into::into));
        self
    }

    /// Keeps all of the hub's files below one directory, as `CONNECTOR_HUB_HOME` does.
    #[must_use]
    pub fn home(mut self, directory: impl AsRef<Path>) -> Self {
        self.paths = Some(Paths::below(directory.as_ref()));
        self
    }

    /// Says for each kind of file where it is kept.
    #[must_use]
    pub fn paths(mut self, paths: Paths) -> Self {
        self.paths = Some(paths);
        self
    }

    /// Takes connectors from elsewhere than plugin folders, for example from the program itself.
    #[must_use]
    pub fn catalog(mut self, catalog: Arc<dyn Catalog>) -> Self {
        self.catalog = Some(catalog);
        self
    }

    /// Takes the plugins that a registry has found, and looks for no others.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Opens the store and looks for plugins.
    ///
    /// # Errors
    /// When the store cannot be opened. A file that is no plugin is not an error: it is refused with its reason.
    pub fn build(self) -> Result<Hub> {
        let paths = self.paths.map_or_else(Paths::from_environment, Ok)?;
        let store = Arc::new(Store::open(&paths)?);
        let registry = self.registry.unwrap_or_else(|| {
            Registry::open(RegistryOptions::new(plugin_folders(&self.plugin_dirs), &paths.cache))
        });
        let catalog = self.catalog.unwrap_or_else(|| Arc::new(registry.clone()));
        Ok(Hub { host: Host { catalog, store, paths }, registry })
    }
}

impl Hub {
    /// A hub with everything as usual.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// Where the hub's files are.
    pub fn paths(&self) -> &Paths {
        &self.host.paths
    }

    /// The plugins that were found, and those that were refused with their reasons. Its
    /// [`watch`](Registry::watch) picks up files that are dropped in later.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The connectors of all plugins.
    pub fn connectors(&self) -> Vec<LoadedConnector> {
        self.registry.connectors()
    }

    /// What the hub remembers: runs, positions, refused rows.
    pub fn store(&self) -> &Store {
        &self.host.store
    }

    /// Connects outside a pipeline. `connector` is an id, perhaps with a version requirement: `postgres@^1`.
    ///
    /// # Errors
    /// When there is no such connector, the config does not fit it, or it cannot connect.
    pub fn connect(&self, connector: &str, config: ConnectionConfig) -> Result<ConnectionHandle> {
        ConnectionHandle::open(&self.host, config.endpoint(connector))
    }

    /// Tests one end of a pipeline, or a connection with a strategy. Each step is reported as it happens.
    ///
    /// # Errors
    /// When the test cannot be run at all; a step that fails is in the report.
    pub fn check(
        &self,
        endpoint: &EndpointSpec,
        on_step: impl Fn(&CheckStep) + Send + Sync + 'static,
    ) -> Result<CheckReport> {
        crate::connection::check(&self.host, endpoint, on_step)
    }

    /// Lists the streams of a connection, a page at a time.
    ///
    /// # Errors
    /// When it cannot connect, or the server cannot be asked.
    pub fn discover(&self, endpoint: &EndpointSpec, request: &DiscoverRequest) -> Result<StreamPage> {
        ConnectionHandle::open(&self.host, endpoint.clone())?.discover(request)
    }

    /// The first rows of a source. Makes nothing on the server and consumes nothing.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn preview(&self, endpoint: &EndpointSpec, rows: u64) -> Result<Preview> {
        preview(&self.host, endpoint, rows)
    }

    /// Reads a source from beginning to end, outside any pipeline.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn read(&self, endpoint: &EndpointSpec) -> Result<Batches> {
        let strategy = Strategy::of(endpoint);
        ConnectionHandle::open(&self.host, endpoint.clone())?.read(strategy)
    }

    /// Reads a pipeline file, and checks it against the connectors that it names.
    ///
    /// # Errors
    /// Everything that is wrong in it, each with its line, column and field.
    pub fn pipeline(&self, file: impl AsRef<Path>) -> std::result::Result<PipelineSpec, FileError> {
        let find = |reference: &str| self.host.catalog.find(reference).map(|found| found.spec);
        PipelineFile::read(file.as_ref())?.resolve_with(find)
    }

    /// Runs a pipeline in this process until its source ends, `stop` is requested, or it fails. `on_event` is called
    /// on the caller's thread only; the last event is [`RunEvent::Finished`] or [`RunEvent::Failed`].
    ///
    /// ```no_run
    /// use connector_hub::{
    ///     Hub,
    ///     pipeline::{Outcome, RunEvent, RunOptions, StopSignal},
    /// };
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let hub = Hub::builder().plugin_dir("plugins").build()?;
    /// let pipeline = hub.pipeline("orders.yaml")?;
    /// let stop = StopSignal::new();
    /// let summary = hub.run(&pipeline, &RunOptions::default(), &stop, |event| match event {
    ///     RunEvent::Progress { committed_rows, .. } => eprintln!("{committed_rows} rows are durable"),
    ///     // A clone of `stop` can ask for this from another thread, too.
    ///     RunEvent::Warning { .. } => stop.request(),
    ///     _ => {}
    /// })?;
    /// if summary.outcome == Outcome::Stopped {
    ///     println!("The next run goes on behind {} rows", summary.rows);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What made the run fail. What was committed stays, and the next run goes on there.
    pub fn run(
        &self,
        spec: &PipelineSpec,
        options: &RunOptions,
        stop: &StopSignal,
        mut on_event: impl FnMut(RunEvent),
    ) -> Result<RunSummary> {
        run(&self.host, spec, options, stop, &mut on_event)
    }

    /// Gives a signal to the run of a pipeline that goes on, in whichever process, or else to its next one; returns its
    /// number in the store. The run looks for signals about twice a second, and tells what became of one with
    /// [`RunEvent::Signal`]; [`Store::signals`] knows it as well.
    ///
    /// # Errors
    /// When no pipeline of that name ever ran, or the store cannot be written.
    pub fn signal(&self, pipeline: &str, signal: &Signal) -> Result<i64> {
        if self.host.store.pipeline(pipeline)?.is_none() {
            let error = Error::new(ErrorKind::NotFound, format!("Pipeline `{pipeline}` never ran"));
            return Err(error.with_hint("Give the `name` in the pipeline's file, and the same `--home`"));
        }
        self.host.store.add_signal(pipeline, signal)
    }

    /// Drops what a pipeline's plans made on the source's server: slots, publications, groups. Its positions are lost
    /// with them, so the store forgets the pipeline too.
    ///
    /// # Errors
    /// When the pipeline runs, or the server refuses; the message says what is left.
    pub fn release(&self, spec: &PipelineSpec) -> Result<()> {
        start_over(&self.host, spec, true)
    }

    /// Forgets every position of a pipeline: its next run starts from the beginning, in a new generation.
    ///
    /// # Errors
    /// When the pipeline runs, or the server refuses; the message says what is left.
    pub fn reset(&self, spec: &PipelineSpec) -> Result<()> {
        start_over(&self.host, spec, false)
    }
}

impl Catalog for Registry {
    fn find(&self, reference: &str) -> Result<Resolved> {
        let found = Self::find(self, reference).or_else(|error| {
            // It may have been dropped into the folder since the last look.
            if self.rescan() { Self::find(self, reference) } else { Err(error) }
        })?;
        Ok(Resolved {
            plugin: found.plugin,
            plugin_version: found.plugin_version.to_string(),
            spec: found.spec,
            connector: found.connector,
            supervisor: found.supervisor,
        })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn readme_shows_the_example_as_it_is_compiled() {
        let readme = include_str!("../../README.md");
        assert!(readme.contains(include_str!("../examples/embed.rs").trim_end()));
    }
}
