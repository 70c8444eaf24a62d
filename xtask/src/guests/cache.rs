//! Where guests and their toolchains are kept, and under which names.

use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use super::{NoGuest, languages::Language};
use crate::{Outcome, cargo, failed};

/// Folders that builds make inside of sources.
const MADE: [&str; 4] = ["target", "node_modules", "__pycache__", ".git"];

/// The folder of all that is fetched for tests.
#[derive(Debug)]
pub(super) struct Cache(PathBuf);

impl Cache {
    /// The same folder that the tests' servers are fetched into.
    pub(super) fn open() -> Outcome<Self> {
        let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
            (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
            (_, Some(home)) => PathBuf::from(home).join(".cache"),
            _ => return failed("Neither `XDG_CACHE_HOME` nor `HOME` is set, so guests have no cache"),
        };
        let folder = base.join("connector-hub-tests");
        fs::create_dir_all(folder.join("guests"))?;
        Ok(Self(folder))
    }

    /// A folder for a toolchain, or for what builds leave behind.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where a guest lies.
    pub(super) fn guest(&self, name: &str, key: &str) -> PathBuf {
        self.folder("guests").join(format!("{name}-{key}.wasm"))
    }

    /// Removes what was built of a guest from other sources. Two clones may share the cache: what is younger than a
    /// week stays.
    pub(super) fn forget_others(&self, name: &str, kept: &Path) -> io::Result<()> {
        const WEEK: u64 = 7 * 24 * 60 * 60;
        for entry in fs::read_dir(self.folder("guests"))? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let key = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            let is_other =
                key.is_some_and(|key| key.len() == KEY_LENGTH + ".wasm".len()) && entry.path() != kept;
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if is_other && age.as_secs() > WEEK {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

const KEY_LENGTH: usize = 32;

/// The folder of the SDKs.
pub(super) fn sources() -> PathBuf {
    cargo::workspace_root().join("sdk-wasm")
}

/// The hash of a language's sources, the contract, and the toolchain's version.
pub(super) fn key(language: &Language, version: &str) -> Result<String, NoGuest> {
    let mut files = Vec::new();
    for folder in ["wit", language.folder] {
        collect(&sources().join(folder), &mut files)?;
    }
    files.sort();
    let mut hashers = [DefaultHasher::new(), DefaultHasher::new()];
    for (seed, hasher) in hashers.iter_mut().enumerate() {
        (seed, version).hash(hasher);
    }
    for file in files {
        let content = fs::read(&file)?;
        let name = file.strip_prefix(sources()).unwrap_or(&file);
        for hasher in &mut hashers {
            (name, &content).hash(hasher);
        }
    }
    Ok(hashers.iter().map(|hasher| format!("{:016x}", hasher.finish())).collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if MADE.iter().any(|made| entry.file_name() == *made) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().extension().is_none_or(|extension| extension != "md") {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Copies a folder of the SDKs, for tools that write into sources.
pub(super) fn copy_sources(folder: &str, to: &Path) -> io::Result<()> {
    let from = sources();
    let mut files = Vec::new();
    collect(&from.join(folder), &mut files)?;
    let target = to.join(folder);
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    for file in files {
        let copy = to.join(file.strip_prefix(&from).unwrap_or(&file));
        if let Some(parent) = copy.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&file, &copy)?;
    }
    Ok(())
}
