use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread,
    time::Duration,
};

use hub_plugin_api::{Connector, ConnectorSpec, Error, Result};
use semver::Version;

use super::{
    file::{Stamp, named_like_a_library},
    folders::PluginFolder,
    load::{LoadedPlugin, Loader},
    lock::{FolderLock, LOCK_FILE, LockPolicy},
    report::{FileReport, LoadStep, Refusal, Verdict},
    requirement::ConnectorRequirement,
    supervisor::Supervisor,
};
use crate::functions::{Sandbox, with_functions};

/// Where plugins are looked for, and how.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// In order; [`super::plugin_folders`] makes the usual list.
    pub folders: Vec<PluginFolder>,
    /// A folder of the host's own, in whose `plugins/` it keeps the copies that it opens.
    pub cache: PathBuf,
    /// Which lock file the plugins are compared with.
    pub lock: LockPolicy,
    /// How long a file must not have changed before it is looked at.
    pub settle: Duration,
    /// How long a plugin may take to start.
    pub load_timeout: Duration,
    /// How long a call of a plugin's may go on after it was cancelled; absent: 10 seconds.
    pub grace: Option<Duration>,
}

impl RegistryOptions {
    /// Plugins of `folders`, opened in copies under `cache`.
    pub fn new(folders: Vec<PluginFolder>, cache: impl Into<PathBuf>) -> Self {
        Self {
            folders,
            cache: cache.into(),
            lock: LockPolicy::Beside,
            settle: Duration::from_millis(500),
            load_timeout: Duration::from_secs(30),
            grace: None,
        }
    }
}

/// A connector of a loaded plugin. It stays usable when its file is replaced or removed.
#[derive(Clone)]
pub struct LoadedConnector {
    /// The plugin's id.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: Version,
    /// The plugin's file, where the user put it.
    pub path: PathBuf,
    /// The SHA-256 of its content in hex.
    pub sha256: String,
    /// What it declares.
    pub spec: ConnectorSpec,
    /// The connector itself. Its calls block and may hang: they are made through `supervisor`.
    pub connector: Arc<dyn Connector>,
    /// Runs the calls of its plugin.
    pub supervisor: Supervisor,
}

impl fmt::Debug for LoadedConnector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} of {} {} ({})",
            self.spec.id,
            self.plugin,
            self.plugin_version,
            self.path.display()
        )
    }
}

/// The plugins that were found. Cheap to clone; all clones see the same.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    options: RegistryOptions,
    sandbox: Sandbox,
    loader: Loader,
    /// Held during a scan, so that two never run at the same time.
    scanning: Mutex<()>,
    found: RwLock<Arc<Found>>,
}

#[derive(Default)]
struct Found {
    folders: Vec<PluginFolder>,
    files: Vec<FileReport>,
    connectors: Vec<LoadedConnector>,
}

impl Registry {
    /// Looks through the folders for the first time. Never fails: a file that cannot be used is in [`Registry::files`]
    /// with the reason, a folder in [`Registry::folders`].
    pub fn open(options: RegistryOptions) -> Self {
        let sandbox = Sandbox::new(&options.cache);
        let loader = Loader::new(&options.cache, &sandbox, options.load_timeout, options.grace);
        let (scanning, found) = (Mutex::default(), RwLock::default());
        let registry = Self(Arc::new(Inner { options, sandbox, loader, scanning, found }));
        registry.rescan();
        registry
    }

    /// Looks through the folders again; whether anything is different now. What is in use stays usable.
    pub fn rescan(&self) -> bool {
        let _scanning = self.0.scanning.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.scan();
        let before = self.found();
        let changed = before.files != found.files || before.folders != found.folders;
        if changed {
            log_changes(&before.files, &found.files);
        }
        *self.0.found.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
        changed
    }

    /// The connectors that can be used, by id and then newest first.
    pub fn connectors(&self) -> Vec<LoadedConnector> {
        self.found().connectors.clone()
    }

    /// Every file of the folders, in the order in which they were looked at.
    pub fn files(&self) -> Vec<FileReport> {
        self.found().files.clone()
    }

    /// The folders that were looked through, with what was wrong with them.
    pub fn folders(&self) -> Vec<PluginFolder> {
        self.found().folders.clone()
    }

    /// The newest connector that a requirement names: `postgres`, `postgres@1`, `postgres@^1.2`, `postgres@=1.2.3`.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with field `connector`; the hint lists what there is, and the
    /// refused files that may be meant.
    pub fn find(&self, requirement: &str) -> Result<LoadedConnector> {
        let requirement: ConnectorRequirement = requirement.parse()?;
        let found = self.found();
        let same: Vec<_> = found.connectors.iter().filter(|one| one.spec.id == requirement.id).collect();
        let matching = same.iter().filter(|one| requirement.matches(&one.plugin_version));
        // A release goes before a pre-release of a later version.
        let newest = matching.max_by_key(|one| (one.plugin_version.pre.is_empty(), &one.plugin_version));
        match newest {
            Some(connector) => Ok(LoadedConnector::clone(connector)),
            None => Err(found.explain_missing(&requirement, !same.is_empty())),
        }
    }

    /// What runs custom functions.
    pub fn sandbox(&self) -> &Sandbox {
        &self.0.sandbox
    }

    pub(super) fn options(&self) -> &RegistryOptions {
        &self.0.options
    }

    fn found(&self) -> Arc<Found> {
        Arc::clone(&self.0.found.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn scan(&self) -> Found {
        let mut found = Found { folders: self.0.options.folders.clone(), ..Found::default() };
        let mut listed = Vec::new();
        for folder in found.folders.iter_mut().filter(|folder| folder.problem.is_none()) {
            match list(&folder.path) {
                Ok(paths) => listed.push((FolderLock::of(&folder.path, &self.0.options.lock), paths)),
                Err(error) => folder.problem = Some(format!("Cannot be listed: {error}")),
            }
        }
        let unsettled = wait_until_settled(listed.iter().flat_map(|(_, paths)| paths), self.0.options.settle);
        let mut owners = HashMap::new();
        for (lock, paths) in &listed {
            for path in paths {
                let (mut report, plugin) = self.0.loader.load(path, unsettled.contains(path), lock);
                if let Some(plugin) = plugin {
                    match connectors_of(&report, &plugin, &self.0.sandbox, &mut owners) {
                        Ok(connectors) => found.connectors.extend(connectors),
                        Err(refusal) => report.verdict = Verdict::Refused(refusal),
                    }
                }
                found.files.push(report);
            }
        }
        self.0.loader.save();
        found.connectors.sort_by(|a, b| {
            (&a.spec.id, &b.plugin_version, &a.path).cmp(&(&b.spec.id, &a.plugin_version, &b.path))
        });
        found
    }
}

impl Found {
    fn explain_missing(&self, requirement: &ConnectorRequirement, other_version: bool) -> Error {
        let id = &requirement.id;
        let message = match &requirement.version {
            Some(version) if other_version => {
                format!("No plugin offers connector `{id}` in a version that matches `{version}`")
            }
            _ => format!("No plugin offers connector `{id}`"),
        };
        let mut hints = Vec::new();
        let there: Vec<_> = self
            .connectors
            .iter()
            .filter(|one| !other_version || one.spec.id == *id)
            .map(|one| format!("`{}@{}`", one.spec.id, one.plugin_version))
            .collect();
        if !there.is_empty() {
            hints.push(format!("There are: {}", there.join(", ")));
        }
        let refused = self.files.iter().filter(|file| file.candidate && self.may_offer(file, id));
        for (file, refusal) in refused.filter_map(|file| Some((file, file.refusal()?))) {
            hints.push(format!("`{}` was refused: {refusal}", file.path.display()));
        }
        if !other_version {
            let looked = self.folders.iter().map(|folder| match &folder.problem {
                Some(problem) => format!("`{}` ({problem})", folder.path.display()),
                None => format!("`{}`", folder.path.display()),
            });
            hints.push(format!("Looked in {}", looked.collect::<Vec<_>>().join(", ")));
        }
        Error::config("connector", message).with_hint(hints.join("\n"))
    }

    /// Whether a refused file may have been meant: its note or its name says so, or nothing at all was loaded.
    fn may_offer(&self, file: &FileReport, id: &str) -> bool {
        let named = || file.path.file_stem().is_some_and(|name| name.to_string_lossy().contains(id));
        match &file.note {
            Some(note) => note.connectors.iter().any(|connector| connector == id),
            None => named() || self.connectors.is_empty(),
        }
    }
}

type Owners = HashMap<(String, Version), PathBuf>;

/// The connectors of a loaded file, unless another file offers one of them in the same version.
fn connectors_of(
    report: &FileReport,
    plugin: &LoadedPlugin,
    sandbox: &Sandbox,
    owners: &mut Owners,
) -> Result<Vec<LoadedConnector>, Refusal> {
    let (Some(note), Some(sha256)) = (&report.note, &report.sha256) else { return Ok(Vec::new()) };
    for (spec, _) in &plugin.connectors {
        if let Some(other) = owners.get(&(spec.id.clone(), note.version.clone())) {
            return Err(Refusal::new(
                LoadStep::Manifest,
                format!(
                    "Offers connector `{}` in version {}, as `{}` does, which was found first",
                    spec.id,
                    note.version,
                    other.display()
                ),
            )
            .hint("Remove one of the two files"));
        }
    }
    let connector = |(spec, connector): &(ConnectorSpec, Arc<dyn Connector>)| {
        owners.insert((spec.id.clone(), note.version.clone()), report.path.clone());
        let (spec, connector) = with_functions(sandbox, spec.clone(), Arc::clone(connector));
        LoadedConnector {
            plugin: note.plugin.clone(),
            plugin_version: note.version.clone(),
            path: report.path.clone(),
            sha256: sha256.clone(),
            spec,
            connector,
            supervisor: plugin.supervisor.clone(),
        }
    };
    Ok(plugin.connectors.iter().map(connector).collect())
}

/// Everything in a folder but its lock file and its sub-folders; a folder that is named like a library is a mistake
/// to be told.
fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_lock = path.file_name().is_some_and(|name| name == LOCK_FILE);
        if !is_lock && (named_like_a_library(&path) || !path.is_dir()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Waits once for all files that were changed just now; those that still change.
fn wait_until_settled<'a>(paths: impl Iterator<Item = &'a PathBuf>, settle: Duration) -> Vec<PathBuf> {
    let stamp = |path: &PathBuf| {
        path.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| Stamp::of(&metadata))
    };
    let fresh: Vec<_> = paths
        .filter_map(|path| Some((path, stamp(path)?)))
        .filter(|(_, stamp)| !stamp.is_settled(settle))
        .collect();
    if fresh.is_empty() {
        return Vec::new();
    }
    thread::sleep(settle);
    fresh
        .into_iter()
        .filter(|(path, before)| stamp(path) != Some(*before))
        .map(|(path, _)| path.clone())
        .collect()
}

fn log_changes(before: &[FileReport], after: &[FileReport]) {
    for file in after.iter().filter(|file| !before.contains(file)) {
        let path = file.path.display();
        match (file.refusal(), &file.note) {
            (None, Some(note)) => {
                tracing::info!(%path, plugin = note.plugin, version = %note.version, "A plugin was loaded");
            }
            (Some(refusal), _) if file.candidate => {
                tracing::warn!(%path, "A file is not used as a plugin: {refusal}")
            }
            _ => {}
        }
    }
    for file in
        before.iter().filter(|file| file.is_loaded() && !after.iter().any(|other| other.path == file.path))
    {
        tracing::info!(path = %file.path.display(), "The file of a plugin is gone; what uses it goes on");
    }
}
