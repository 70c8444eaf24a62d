//! Takes one file through the steps, in their order.

use std::{
    collections::HashMap,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hub_plugin_api::{Canceller, Connector, ConnectorSpec, Error, ErrorKind, ffi::import_plugin};
use object::ReadCache;

use super::{
    attempts::Attempt,
    cache::{CacheError, LibraryCache},
    container::{Container, Target, starts_like_a_library},
    file::{self, OpenFile},
    hashes::Hashes,
    lock::FolderLock,
    native::{self, OpenError},
    note::{self, HostApi},
    report::{FileReport, LoadStep, PluginNote, Refusal, Verdict},
    supervisor::Supervisor,
    wasm::{self, OpenComponent},
};
use crate::functions::{CONTRACT_VERSION, Module, Sandbox, World};

/// A library or component whose connectors can be used.
pub(super) struct LoadedPlugin {
    note: PluginNote,
    pub(super) supervisor: Supervisor,
    pub(super) connectors: Vec<(ConnectorSpec, Arc<dyn Connector>)>,
}

/// Loads files, each content once.
pub(super) struct Loader {
    host: HostApi,
    target: Target,
    sandbox: Sandbox,
    cache: LibraryCache,
    timeout: Duration,
    grace: Option<Duration>,
    hashes: Hashes,
    /// What became of a content when it was opened. It is not opened again: its library is still there.
    outcomes: Mutex<HashMap<String, Result<Arc<LoadedPlugin>, Refusal>>>,
}

impl Loader {
    pub(super) fn new(cache: &Path, sandbox: &Sandbox, timeout: Duration, grace: Option<Duration>) -> Self {
        let library_cache = LibraryCache::new(cache);
        Self {
            host: HostApi::current(),
            target: Target::host(),
            sandbox: sandbox.clone(),
            hashes: Hashes::open(library_cache.folder()),
            cache: library_cache,
            timeout,
            grace,
            outcomes: Mutex::default(),
        }
    }

    /// Takes a file through all steps. `unsettled`: it changed while it was watched.
    pub(super) fn load(
        &self,
        path: &Path,
        unsettled: bool,
        lock: &FolderLock,
    ) -> (FileReport, Option<Arc<LoadedPlugin>>) {
        let mut report = FileReport::new(path.to_owned());
        match self.steps(path, unsettled, lock, &mut report) {
            Ok(plugin) => (report, Some(plugin)),
            Err(refusal) => {
                report.verdict = Verdict::Refused(refusal);
                (report, None)
            }
        }
    }

    fn steps(
        &self,
        path: &Path,
        unsettled: bool,
        lock: &FolderLock,
        report: &mut FileReport,
    ) -> Result<Arc<LoadedPlugin>, Refusal> {
        let mut open = file::open(path)?;
        report.candidate |= starts_like_a_library(&open.start);
        if unsettled && report.candidate {
            return Err(file::still_written());
        }
        file::not_empty(&open.stamp)?;
        report.pass(LoadStep::File, format!("{} bytes", open.stamp.bytes));
        if wasm::starts_like_a_component(&open.start) {
            return self.component_steps(path, open, lock, report);
        }

        let note = self.inspect(&open, report)?;

        let hash = self.hash(path, &mut open, lock)?;
        report.sha256 = Some(hash.clone());
        report.pass(LoadStep::Lock, lock.check(&hash, &note)?.unwrap_or_else(|| "not asked for".into()));

        let known = self.outcomes().get(&hash).cloned();
        let outcome = match known {
            Some(outcome) => outcome,
            None => {
                let copy = self.copy(&mut open, &hash, lock)?;
                let outcome = self.open_watched(path, &hash, copy, &note);
                self.outcomes().insert(hash, outcome.clone());
                outcome
            }
        };
        let reached = outcome.as_ref().map_or_else(|refusal| refusal.step, |_| LoadStep::Manifest);
        for (step, found) in [(LoadStep::Open, "opened"), (LoadStep::Layout, "as this host's")] {
            if step < reached {
                report.pass(step, found);
            }
        }
        let plugin = outcome?;
        let ids: Vec<_> = plugin.connectors.iter().map(|(spec, _)| spec.id.as_str()).collect();
        report.pass(LoadStep::Manifest, ids.join(", "));
        Ok(plugin)
    }

    fn outcomes(&self) -> MutexGuard<'_, HashMap<String, Result<Arc<LoadedPlugin>, Refusal>>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps `container` and `note`.
    fn inspect(&self, open: &OpenFile, report: &mut FileReport) -> Result<PluginNote, Refusal> {
        let file = open.file.try_clone().map_err(|error| file::unreadable(&error))?;
        let data = ReadCache::new(file);
        let container = Container::read(&data, &open.start, self.target)?;
        report.pass(LoadStep::Container, container.found());
        let note = note::read(container.note()?, container.note_section())?;
        report.note = Some(note.clone());
        report.pass(LoadStep::Note, note::check(&note, &self.host)?);
        Ok(note)
    }

    /// The hash of the whole file, which must not have changed since it was looked at.
    fn hash(&self, path: &Path, open: &mut OpenFile, lock: &FolderLock) -> Result<String, Refusal> {
        let hash = self.hashes.of(path, &mut open.file, open.stamp, lock.is_asked_for());
        hash.map_err(|error| file::unreadable(&error))?.ok_or_else(file::still_written)
    }

    /// Keeps what the next run would have to find out again.
    pub(super) fn save(&self) {
        self.hashes.save();
    }

    fn copy(&self, open: &mut OpenFile, hash: &str, lock: &FolderLock) -> Result<PathBuf, Refusal> {
        self.cache.copy(&mut open.file, hash, &self.hashes, lock.is_asked_for()).map_err(
            |error| match error {
                CacheError::SourceChanged => file::still_written(),
                CacheError::Io(path, error) => Refusal::new(
                    LoadStep::Open,
                    format!("Could not be copied to the cache `{}`: {error}", path.display()),
                )
                .hint("Make room in the cache folder, and let the user that runs the hub write it, and nobody else"),
            },
        )
    }

    fn open_watched(
        &self,
        path: &Path,
        hash: &str,
        copy: PathBuf,
        note: &PluginNote,
    ) -> Result<Arc<LoadedPlugin>, Refusal> {
        let attempt = Attempt::begin(self.cache.folder(), hash, path)?;
        let plugin = self.open(copy, note)?;
        attempt.opened();
        Ok(plugin)
    }

    /// Steps `open`, `layout` and `manifest`: the first code of the plugin runs here, on a thread that can be given up.
    fn open(&self, copy: PathBuf, note: &PluginNote) -> Result<Arc<LoadedPlugin>, Refusal> {
        let supervisor = match self.grace {
            Some(grace) => Supervisor::with_grace(&note.plugin, grace),
            None => Supervisor::new(&note.plugin),
        };
        let opening = move || {
            let refused = native::open(&copy).map_err(refuse_opening);
            Ok(refused.and_then(|object| import_plugin(object).map_err(|error| refuse_manifest(&error))))
        };
        let imported =
            supervisor.call("load", Canceller::none(), Some(self.timeout), opening).map_err(|error| {
                let reason = match error.kind {
                    ErrorKind::PluginHung => {
                        format!("Did not finish loading within {} s", self.timeout.as_secs_f64())
                    }
                    _ => format!("Could not be loaded: {error}"),
                };
                Refusal::new(LoadStep::Open, reason)
                    .hint("Its code hangs or fails while it starts: report it to the plugin's author")
            })??;
        let connectors: Vec<_> =
            imported.connectors.into_iter().map(|connector| (connector.spec(), connector)).collect();
        check_manifest(&connectors, note)?;
        Ok(Arc::new(LoadedPlugin { note: note.clone(), supervisor, connectors }))
    }

    /// The steps of a component. Its note is what it says of itself, in an instance that can reach nothing; its code is
    /// compiled, not opened, so there is no copy of the file.
    fn component_steps(
        &self,
        path: &Path,
        mut open: OpenFile,
        lock: &FolderLock,
        report: &mut FileReport,
    ) -> Result<Arc<LoadedPlugin>, Refusal> {
        let hash = self.hash(path, &mut open, lock)?;
        let known = self.outcomes().get(&hash).cloned();
        let outcome = match known {
            Some(outcome) => outcome,
            None => {
                let outcome = self.open_component(path, &mut open, &hash);
                if !outcome.as_ref().is_err_and(|refusal| refusal.transient) {
                    self.outcomes().insert(hash.clone(), outcome.clone());
                }
                outcome
            }
        };
        report.sha256 = Some(hash.clone());
        let reached = outcome.as_ref().map_or_else(|refusal| refusal.step, |_| LoadStep::Manifest);
        if LoadStep::Container < reached {
            report.pass(LoadStep::Container, "WebAssembly component, world connector");
        }
        let plugin = outcome?;
        report.note = Some(plugin.note.clone());
        report.pass(LoadStep::Note, note::check(&plugin.note, &self.host)?);
        let locked = lock.check(&hash, &plugin.note)?;
        report.pass(LoadStep::Lock, locked.unwrap_or_else(|| "not asked for".into()));
        report.pass(LoadStep::Open, "compiled");
        report.pass(LoadStep::Layout, format!("contract {CONTRACT_VERSION}"));
        let ids: Vec<_> = plugin.connectors.iter().map(|(spec, _)| spec.id.as_str()).collect();
        report.pass(LoadStep::Manifest, ids.join(", "));
        Ok(plugin)
    }

    fn open_component(
        &self,
        path: &Path,
        open: &mut OpenFile,
        hash: &str,
    ) -> Result<Arc<LoadedPlugin>, Refusal> {
        let mut bytes = Vec::new();
        let read = open.file.seek(SeekFrom::Start(0)).and_then(|_| open.file.read_to_end(&mut bytes));
        read.map_err(|error| file::unreadable(&error))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let module =
            Module::from_bytes(name, bytes).map_err(|error| refuse_by(LoadStep::Container, &error))?;
        if module.sha256 != hash {
            return Err(file::still_written());
        }
        if module.world != World::Connector {
            return Err(Refusal::new(LoadStep::Container, "Is a custom function, not a plugin")
                .hint("Name it in the option `module` of the strategy `custom-function`"));
        }
        let (sandbox, timeout) = (self.sandbox.clone(), self.timeout);
        let loading = Supervisor::new("component");
        // Compiling takes the compiler's time, not the component's: only its own code is given up.
        let opened = loading
            .call("load", Canceller::none(), Some(timeout * 10), move || wasm::open(&sandbox, &module));
        let OpenComponent { plugin, version, requires_api, connectors } =
            opened.map_err(|error| refuse_by(LoadStep::Open, &error))?;
        let ids = connectors.iter().map(|(spec, _)| spec.id.clone()).collect();
        let (abi_revision, api) = (self.host.abi_revision, CONTRACT_VERSION);
        let note = PluginNote { plugin, version, abi_revision, api, requires_api, connectors: ids };
        check_manifest(&connectors, &note)?;
        let supervisor = match self.grace {
            Some(grace) => Supervisor::with_grace(&note.plugin, grace),
            None => Supervisor::new(&note.plugin),
        };
        Ok(Arc::new(LoadedPlugin { note, supervisor, connectors }))
    }
}

fn refuse_by(step: LoadStep, error: &Error) -> Refusal {
    let refusal = Refusal::new(step, format!("Cannot be used: {error}"));
    match &error.hint {
        Some(hint) => refusal.hint(hint.clone()),
        None => refusal,
    }
}

fn refuse_opening(error: OpenError) -> Refusal {
    match error {
        OpenError::Loader(text) => {
            Refusal::new(LoadStep::Open, format!("Was not opened by the system: {text}"))
                .hint("Install what the plugin needs, or get a build for this system")
        }
        OpenError::NoRootSymbol => Refusal::new(LoadStep::Open, "Has a note but does not export a plugin")
            .hint("Build it as `cdylib`, and keep the symbol of `export_connectors!` when stripping"),
        OpenError::Layout(text) => {
            Refusal::new(LoadStep::Layout, format!("Does not share this host's binary interface: {text}"))
                .hint("Build the plugin again with the hub-plugin-api of its revision")
        }
        OpenError::Root(text) => refuse_manifest(&Error::from_json(&text)),
    }
}

fn refuse_manifest(error: &Error) -> Refusal {
    let reason = format!("Could not say which connectors it has: {error}");
    Refusal::new(LoadStep::Manifest, reason)
        .hint(error.hint.clone().unwrap_or_else(|| "Report it to the plugin's author".into()))
}

fn check_manifest(
    connectors: &[(ConnectorSpec, Arc<dyn Connector>)],
    note: &PluginNote,
) -> Result<(), Refusal> {
    let refuse = |reason: String| {
        Refusal::new(LoadStep::Manifest, reason)
            .hint("This is a defect of the plugin: report it to its author")
    };
    for (spec, _) in connectors {
        spec.check()
            .map_err(|error| refuse(format!("Declares something that contradicts itself: {error}")))?;
    }
    let mut declared: Vec<_> = connectors.iter().map(|(spec, _)| spec.id.as_str()).collect();
    let mut noted: Vec<_> = note.connectors.iter().map(String::as_str).collect();
    declared.sort_unstable();
    noted.sort_unstable();
    if let Some(pair) = declared.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(refuse(format!("Declares connector `{}` twice", pair[0])));
    }
    if declared != noted {
        return Err(refuse(format!(
            "Declares connectors `{}`, and its note names `{}`",
            declared.join("`, `"),
            noted.join("`, `")
        )));
    }
    Ok(())
}
