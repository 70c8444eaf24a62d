use std::{
    fmt,
    path::{Path, PathBuf},
};

use semver::Version;
use serde::{Deserialize, Serialize, Serializer};

/// What is compared before a plugin's connectors are used, in this order. The first that fails refuses the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadStep {
    /// A regular, readable file that is no longer written, where not everyone can write.
    File,
    /// A whole library for this machine and system.
    Container,
    /// The note in the file: revision of the binary interface, version of the API, plugin and connectors.
    Note,
    /// The SHA-256 in `plugins.lock`, when there is one.
    Lock,
    /// The copy in the cache, opened by the system's loader.
    Open,
    /// The layout of the types on the boundary.
    Layout,
    /// What the connectors declare.
    Manifest,
}

impl LoadStep {
    /// The step as it is written in messages and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Container => "container",
            Self::Note => "note",
            Self::Lock => "lock",
            Self::Open => "open",
            Self::Layout => "layout",
            Self::Manifest => "manifest",
        }
    }
}

impl fmt::Display for LoadStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The step that failed.
    pub step: LoadStep,
    /// One sentence that goes on after the file's name: starts with a capital, no final period.
    pub reason: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The file may load as it is a moment later: it is still being written. The next scan tries it again.
    #[serde(default)]
    pub transient: bool,
}

impl Refusal {
    pub(super) fn new(step: LoadStep, reason: impl Into<String>) -> Self {
        Self { step, reason: reason.into(), hint: None, transient: false }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn transient(mut self) -> Self {
        self.transient = true;
        self
    }
}

impl fmt::Display for Refusal {
    /// One line; the hint is the caller's to show on a line of its own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (step `{}`)", self.reason, self.step)
    }
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Its connectors can be used.
    Loaded,
    /// It is not used, and why.
    Refused(Refusal),
}

/// What a plugin's note says, once it has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginNote {
    /// The plugin's id.
    pub plugin: String,
    /// The plugin's version.
    pub version: Version,
    /// The revision of the binary interface that it was built with.
    pub abi_revision: u32,
    /// The version of the plugin API that it was built with.
    pub api: Version,
    /// The oldest version of the plugin API that it can work with.
    pub requires_api: Version,
    /// The ids of its connectors.
    pub connectors: Vec<String>,
}

/// A step that a file passed, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedStep {
    /// The step.
    pub step: LoadStep,
    /// What was found, in a few words.
    pub found: String,
}

/// What became of one file of a plugin folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// The file, where the user put it.
    #[serde(serialize_with = "shown")]
    pub path: PathBuf,
    /// Whether it may be meant as a plugin: it looks like a library by its content or by its name. A list of plugins
    /// can leave out the others (`README.md` …).
    pub candidate: bool,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What its note says, when it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<PluginNote>,
    /// The SHA-256 of its content in hex, when it got that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The steps that it passed, in order.
    pub passed: Vec<PassedStep>,
}

/// A path as text: a folder may hold names that are not UTF-8, and one of them must not make a whole report unreadable.
pub(super) fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl FileReport {
    pub(super) fn new(path: PathBuf) -> Self {
        let candidate = super::file::named_like_a_library(&path);
        Self { path, candidate, verdict: Verdict::Loaded, note: None, sha256: None, passed: Vec::new() }
    }

    pub(super) fn pass(&mut self, step: LoadStep, found: impl Into<String>) {
        self.passed.push(PassedStep { step, found: found.into() });
    }

    /// Whether its connectors can be used.
    pub fn is_loaded(&self) -> bool {
        matches!(self.verdict, Verdict::Loaded)
    }

    /// Why it is not used.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.verdict {
            Verdict::Loaded => None,
            Verdict::Refused(refusal) => Some(refusal),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn file_whose_name_is_not_utf8_is_reported_as_json() {
        let report = FileReport::new(Path::new("/plugins").join(OsStr::from_bytes(b"\xff.so")));
        assert_eq!(serde_json::to_value(&report).unwrap()["path"], "/plugins/\u{fffd}.so");
    }
}
