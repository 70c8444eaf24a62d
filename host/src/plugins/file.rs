//! Step `file`: what can be said about a file without knowing what is in it.

use std::{
    fs::{File, Metadata},
    io::{ErrorKind, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::report::{LoadStep, Refusal};

/// Larger files are no plugins.
const MAX_BYTES: u64 = 1 << 30;

/// What changes whenever a file's content does. The change time cannot be set back by its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    identity: (u64, u64),
    pub(super) bytes: u64,
    modified: Option<SystemTime>,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let (identity, changed) = {
            use std::os::unix::fs::MetadataExt;
            ((metadata.dev(), metadata.ino()), (metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (identity, changed) = ((0, 0), (0, 0));
        Self { identity, bytes: metadata.len(), modified: metadata.modified().ok(), changed }
    }

    /// Whether no change can go unnoticed: the system keeps a change time that writers cannot set.
    pub(super) fn tells_every_change(&self) -> bool {
        cfg!(unix)
    }

    /// Whether the last change is at least `settle` ago. A time in the future says nothing.
    pub(super) fn is_settled(&self, settle: Duration) -> bool {
        let age = self.modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        age.is_some_and(|age| age >= settle)
    }
}

/// A file that passed the step, open.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) stamp: Stamp,
    /// The first bytes, which tell formats apart.
    pub(super) start: Vec<u8>,
}

/// Whether a file's name is that of a library.
pub(super) fn named_like_a_library(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && extension.is_some_and(|extension| matches!(extension, "so" | "dylib" | "dll" | "wasm"))
}

fn refuse(reason: impl Into<String>) -> Refusal {
    Refusal::new(LoadStep::File, reason)
}

/// Checks everything but whether the file is still being written, which takes time.
pub(super) fn open(path: &Path) -> Result<OpenFile, Refusal> {
    if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
        return Err(refuse("Has a name that starts with a dot, as files have that are being copied")
            .hint("Give it another name to load it"));
    }
    let metadata = path.metadata().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            refuse("Is a link to a file that does not exist").hint("Put a file there, or remove the link")
        }
        _ => unreadable(&error),
    })?;
    if metadata.is_dir() {
        return Err(refuse("Is a folder, and plugins are files")
            .hint("Name the folder itself with `--plugin-dir` to load what is in it"));
    }
    if !metadata.is_file() {
        return Err(refuse("Is not a regular file"));
    }
    not_writable_by_everyone(path, &metadata)?;
    if metadata.len() > MAX_BYTES {
        return Err(refuse(format!("Has {} bytes, more than any plugin", metadata.len())));
    }
    let mut file = File::open(path).map_err(|error| unreadable(&error))?;
    let mut start = Vec::new();
    (&mut file).take(64).read_to_end(&mut start).map_err(|error| unreadable(&error))?;
    let stamp = Stamp::of(&file.metadata().map_err(|error| unreadable(&error))?);
    Ok(OpenFile { file, stamp, start })
}

pub(super) fn unreadable(error: &std::io::Error) -> Refusal {
    let refusal = refuse(format!("Cannot be read: {error}"));
    match error.kind() {
        ErrorKind::PermissionDenied => refusal.hint("Let the user that runs the hub read it (`chmod a+r`)"),
        _ => refusal,
    }
}

/// Refuses a settled file without content.
pub(super) fn not_empty(stamp: &Stamp) -> Result<(), Refusal> {
    if stamp.bytes == 0 { Err(refuse("Is empty").hint("Copy the plugin again")) } else { Ok(()) }
}

/// The refusal of a file that changed while it was looked at.
pub(super) fn still_written() -> Refusal {
    refuse("Is still being written").hint("Nothing to do: it is tried again at the next scan").transient()
}

#[cfg(unix)]
fn not_writable_by_everyone(path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
    use std::os::unix::fs::PermissionsExt;

    const WRITABLE_BY_EVERYONE: u32 = 0o002;
    if metadata.permissions().mode() & WRITABLE_BY_EVERYONE != 0 {
        return Err(refuse("Can be written by everyone, so everyone could run code in this host")
            .hint("Take the right away (`chmod o-w`) after making sure that the file is the one you trust"));
    }
    // A link is replaced where it lies, its target where that lies.
    let target = path.canonicalize().map_err(|error| unreadable(&error))?;
    for folder in [path.parent(), target.parent()].into_iter().flatten() {
        let metadata = folder.metadata().map_err(|error| unreadable(&error))?;
        if metadata.permissions().mode() & WRITABLE_BY_EVERYONE != 0 {
            return Err(refuse(format!(
                "Lies in folder `{}`, where everyone can write, so everyone could run code in this host",
                folder.display()
            ))
            .hint("Move the plugins to a folder of your own, or take the right away (`chmod o-w`)"));
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn not_writable_by_everyone(_path: &Path, _metadata: &Metadata) -> Result<(), Refusal> {
    Ok(())
}
