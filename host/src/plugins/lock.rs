//! Step `lock`: the SHA-256 of each plugin that is allowed, in a file beside the plugins or elsewhere.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use hub_plugin_api::{Error, ErrorKind, Result};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::report::{FileReport, LoadStep, PluginNote, Refusal};

/// The name of a lock file that lies beside the plugins.
pub const LOCK_FILE: &str = "plugins.lock";

const FORMAT: u32 = 1;

/// Which lock file the plugins of a folder are compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LockPolicy {
    /// The `plugins.lock` of the folder, when there is one.
    #[default]
    Beside,
    /// This one, for all folders; without it no plugin loads.
    File(PathBuf),
}

/// The plugins that may be loaded, by the SHA-256 of their files. It holds no signatures: whoever can write it
/// decides what runs, so keep it where the plugins cannot be written from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginLock {
    version: u32,
    /// In the order in which they were locked.
    pub plugins: Vec<LockedPlugin>,
}

/// One plugin that may be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    /// The plugin's id; for people.
    pub plugin: String,
    /// The plugin's version; for people.
    pub version: Version,
    /// The SHA-256 of its file in hex.
    pub sha256: String,
}

impl PluginLock {
    /// A lock on the files that are loaded now.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a FileReport>) -> Self {
        let loaded = files.into_iter().filter(|file| file.is_loaded());
        let locked = loaded.filter_map(|file| {
            let (note, sha256) = (file.note.as_ref()?, file.sha256.as_ref()?);
            let (plugin, version) = (note.plugin.clone(), note.version.clone());
            Some(LockedPlugin { plugin, version, sha256: sha256.clone() })
        });
        Self { version: FORMAT, plugins: locked.collect() }
    }

    /// Reads a lock file.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::InvalidConfig`] when it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |kind, error: &(dyn std::error::Error + 'static)| {
            Error::new(kind, format!("The lock file `{}` cannot be read", path.display())).with_source(error)
        };
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failed(ErrorKind::NotFound, &error),
            _ => failed(ErrorKind::InvalidConfig, &error),
        })?;
        let lock: Self =
            serde_json::from_str(&text).map_err(|error| failed(ErrorKind::InvalidConfig, &error))?;
        if lock.version != FORMAT {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("The lock file `{}` is of version {}, not {FORMAT}", path.display(), lock.version),
            ));
        }
        Ok(lock)
    }

    /// Writes a lock file in one step.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let write = || -> io::Result<()> {
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error| {
            Error::new(
                ErrorKind::InvalidConfig,
                format!("The lock file `{}` cannot be written", path.display()),
            )
            .with_source(&error)
        })
    }
}

/// The lock that the files of one folder are compared with: none, one, or one that cannot be read.
pub(super) struct FolderLock(Option<(PathBuf, Result<PluginLock>)>);

impl FolderLock {
    pub(super) fn of(folder: &Path, policy: &LockPolicy) -> Self {
        let (path, required) = match policy {
            LockPolicy::Beside => (folder.join(LOCK_FILE), false),
            LockPolicy::File(path) => (path.clone(), true),
        };
        match PluginLock::read(&path) {
            Err(error) if error.kind == ErrorKind::NotFound && !required => Self(None),
            lock => Self(Some((path, lock))),
        }
    }

    /// Whether hashes decide what is loaded.
    pub(super) fn is_asked_for(&self) -> bool {
        self.0.is_some()
    }

    /// Compares a file's hash; what was found, in a few words, or nothing without a lock.
    pub(super) fn check(&self, sha256: &str, note: &PluginNote) -> Result<Option<String>, Refusal> {
        let Some((path, lock)) = &self.0 else { return Ok(None) };
        let refuse = |reason: String| Refusal::new(LoadStep::Lock, reason);
        let lock = lock.as_ref().map_err(|error| {
            refuse(format!("Cannot be compared with its lock: {error}"))
                .hint("Write the lock file again, or do not ask for one")
        })?;
        if lock.plugins.iter().any(|locked| locked.sha256.eq_ignore_ascii_case(sha256)) {
            return Ok(Some(format!("as in `{}`", path.display())));
        }
        let named = format!("{} {}", note.plugin, note.version);
        let same = |locked: &&LockedPlugin| locked.plugin == note.plugin && locked.version == note.version;
        Err(match lock.plugins.iter().find(same) {
            Some(locked) => refuse(format!(
                "Is not the {named} that `{}` allows: its SHA-256 is {sha256}, and the locked one is {}",
                path.display(),
                locked.sha256
            ))
            .hint("Put the locked build back, or lock this one if you know where it comes from"),
            None => refuse(format!("Is {named}, which `{}` does not list", path.display()))
                .hint(format!("Add it with its SHA-256 {sha256} if you know where it comes from")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> PluginNote {
        let version = Version::new(1, 0, 0);
        PluginNote {
            plugin: "demo".into(),
            version: version.clone(),
            abi_revision: 1,
            api: version.clone(),
            requires_api: version,
            connectors: vec!["one".into()],
        }
    }

    fn lock_with(sha256: &str, version: Version) -> PluginLock {
        PluginLock {
            version: FORMAT,
            plugins: vec![LockedPlugin { plugin: "demo".into(), version, sha256: sha256.into() }],
        }
    }

    fn verdict(folder: &Path, policy: &LockPolicy) -> Result<Option<String>, String> {
        FolderLock::of(folder, policy)
            .check("aa", &note())
            .map_err(|refusal| refusal.reason.replace(folder.to_str().unwrap(), "DIR"))
    }

    #[test]
    fn only_listed_files_pass() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK_FILE);
        assert_eq!(verdict(folder.path(), &LockPolicy::Beside), Ok(None));

        lock_with("AA", Version::new(1, 0, 0)).write(&path).unwrap();
        assert!(verdict(folder.path(), &LockPolicy::Beside).unwrap().is_some());

        lock_with("bb", Version::new(1, 0, 0)).write(&path).unwrap();
        assert_eq!(
            verdict(folder.path(), &LockPolicy::Beside).unwrap_err(),
            "Is not the demo 1.0.0 that `DIR/plugins.lock` allows: its SHA-256 is aa, and the locked one is bb"
        );
        lock_with("bb", Version::new(2, 0, 0)).write(&path).unwrap();
        assert_eq!(
            verdict(folder.path(), &LockPolicy::Beside).unwrap_err(),
            "Is demo 1.0.0, which `DIR/plugins.lock` does not list"
        );
    }

    #[test]
    fn lock_that_is_asked_for_must_be_there_and_readable() {
        let folder = tempfile::tempdir().unwrap();
        let policy = LockPolicy::File(folder.path().join("elsewhere.lock"));
        assert!(verdict(folder.path(), &policy).unwrap_err().starts_with(
            "Cannot be compared with its lock: The lock file `DIR/elsewhere.lock` cannot be read: No such file"
        ));
        fs::write(folder.path().join(LOCK_FILE), "{\"version\":1,\"plugin\":[]}").unwrap();
        assert!(verdict(folder.path(), &LockPolicy::Beside).unwrap_err().starts_with(
            "Cannot be compared with its lock: The lock file `DIR/plugins.lock` cannot be read: unknown field"
        ));
    }
}
