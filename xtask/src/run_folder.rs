//! A fresh folder for one run: the plugins that were just built, and nothing else.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    Outcome,
    cargo::{self, Artifact},
};

/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes it in cargo's target directory, where nobody else may write, and removes what killed runs left.
    pub(crate) fn new(target_directory: &Path) -> Outcome<Self> {
        let runs = target_directory.join("xtask-runs");
        fs::create_dir_all(&runs)?;
        for entry in fs::read_dir(&runs)? {
            let entry = entry?;
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.parse::<u32>().ok());
            if process.is_some_and(|id| {
                Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{id}")).exists()
            }) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let path = runs.join(std::process::id().to_string());
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// A path inside.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes `plugins/` with the shared libraries of the packages under plugins/, and `fixtures/` with the others'.
    pub(crate) fn place_libraries(&self, artifacts: &[Artifact]) -> Outcome<(PathBuf, PathBuf)> {
        let plugins = self.path("plugins");
        let fixtures = self.path("fixtures");
        fs::create_dir_all(&plugins)?;
        fs::create_dir_all(&fixtures)?;
        let connectors = cargo::workspace_root().join("plugins");
        for artifact in artifacts {
            if let Some(library) = artifact.shared_library() {
                let folder = if artifact.folder.starts_with(&connectors) { &plugins } else { &fixtures };
                copy_with_time(library, folder)?;
            }
        }
        Ok((plugins, fixtures))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("warning: `{}` cannot be removed: {error}", self.path.display());
        }
    }
}

/// A copy, so that a test that spoils it does not spoil what cargo believes to be fresh. It keeps the time of
/// modification, because the host waits for files that have only just been written.
pub(crate) fn copy_with_time(file: &Path, folder: &Path) -> io::Result<PathBuf> {
    let copy = folder.join(file.file_name().unwrap_or_default());
    fs::copy(file, &copy)?;
    let modified = fs::metadata(file)?.modified()?;
    fs::File::options().append(true).open(&copy)?.set_modified(modified)?;
    Ok(copy)
}
