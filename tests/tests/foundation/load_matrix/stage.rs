//! What a case plays on, and what it says.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use connector_hub::{
    api::{Error, Result},
    plugins::{FileReport, LoadedConnector, PluginFolder, Registry, RegistryOptions, Verdict},
};

use super::patch::Library;

/// What a case plays on.
pub struct Stage {
    pub library: Library,
    folder: tempfile::TempDir,
    cache: PathBuf,
}

impl Stage {
    pub fn new(library: &Library, cache: &Path) -> Self {
        Self { library: library.clone(), folder: tempfile::tempdir().unwrap(), cache: cache.to_owned() }
    }

    pub fn options(&self) -> RegistryOptions {
        let mut options = RegistryOptions::new(vec![PluginFolder::given(self.folder.path())], &self.cache);
        options.settle = Duration::from_millis(100);
        options
    }

    /// A registry whose plugins are given up soon.
    pub fn impatient(&self) -> Registry {
        let mut options = self.options();
        options.load_timeout = Duration::from_millis(300);
        options.grace = Some(Duration::from_millis(300));
        Registry::open(options)
    }

    pub fn open(&self) -> Registry {
        Registry::open(self.options())
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// One file with a content that is no changed library.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path().join(name), content).unwrap();
        verdicts(&self.open())
    }

    /// One changed library.
    pub fn changed(&self, library: Library) -> String {
        library.write(self.path(), "plugin.so");
        verdicts(&self.open())
    }

    /// The library as it was built, and what a call through it says.
    pub fn call(&self, call: fn(&Registry) -> String) -> String {
        self.library.write(self.path(), "plugin.so");
        let registry = self.open();
        format!("{}{}", verdicts(&registry), call(&registry))
    }
}

fn describe(file: &FileReport) -> String {
    let name = file.path.file_name().unwrap().to_string_lossy();
    match &file.verdict {
        Verdict::Loaded => {
            let passed = file.passed.iter().map(|passed| format!("\n    {}: {}", passed.step, passed.found));
            format!("{name}: loaded{}\n", passed.collect::<String>())
        }
        Verdict::Refused(refusal) => {
            let mut text = format!("{name}: refused at step {}\n    {}\n", refusal.step, refusal.reason);
            if let Some(hint) = &refusal.hint {
                hint.lines().for_each(|line| writeln!(text, "    hint: {line}").unwrap());
            }
            if refusal.transient {
                text.push_str("    (transient)\n");
            }
            if !file.candidate {
                text.push_str("    (no candidate)\n");
            }
            text
        }
    }
}

pub fn verdicts(registry: &Registry) -> String {
    registry.files().iter().map(describe).collect()
}

pub fn told<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Ok(value) => format!("Ok({value:?})\n"),
        Err(error) => describe_error(&error),
    }
}

fn describe_error(error: &Error) -> String {
    let mut text = format!("{}: {error}\n", error.kind);
    if let Some(hint) = &error.hint {
        hint.lines().for_each(|line| writeln!(text, "    hint: {line}").unwrap());
    }
    text
}

pub fn fixture(registry: &Registry) -> LoadedConnector {
    registry.find("fixture").unwrap()
}
