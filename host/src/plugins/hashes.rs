//! Hashes of files that have not changed since they were read, kept between runs: plugins have tens of megabytes, and
//! every command would read each of them twice.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{cache::sha256, file::Stamp};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    stamp: Stamp,
    sha256: String,
}

#[derive(Default)]
struct Known {
    entries: BTreeMap<PathBuf, Entry>,
    /// What this process has hashed itself, or found unchanged since it did.
    own: Vec<PathBuf>,
    changed: bool,
}

/// The hashes that are known, by path.
pub(super) struct Hashes {
    file: PathBuf,
    known: Mutex<Known>,
}

impl Hashes {
    /// Reads what an earlier run kept in `folder`, which nobody else can write; what cannot be read is hashed again.
    pub(super) fn open(folder: &Path) -> Self {
        let file = folder.join("hashes.json");
        let read = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Vec<Entry>>(&bytes).ok());
        let entries = read.into_iter().flatten().map(|entry| (entry.path.clone(), entry)).collect();
        Self { file, known: Mutex::new(Known { entries, ..Known::default() }) }
    }

    /// The hash of an open file whose stamp was taken after it was opened. `strict`: earlier runs are not believed.
    /// Nothing when the file changed meanwhile.
    pub(super) fn of(
        &self,
        path: &Path,
        file: &mut File,
        stamp: Stamp,
        strict: bool,
    ) -> io::Result<Option<String>> {
        {
            let known = self.known();
            if let Some(entry) = known.entries.get(path)
                && entry.stamp == stamp
                && stamp.tells_every_change()
                && (!strict || known.own.iter().any(|own| own == path))
            {
                return Ok(Some(entry.sha256.clone()));
            }
        }
        let hash = sha256(file)?;
        if Stamp::of(&file.metadata()?) != stamp {
            return Ok(None);
        }
        self.record(path, stamp, &hash);
        Ok(Some(hash))
    }

    /// Takes the hash of a file that this process has just read or written.
    pub(super) fn record(&self, path: &Path, stamp: Stamp, hash: &str) {
        let mut known = self.known();
        let entry = Entry { path: path.to_owned(), stamp, sha256: hash.to_owned() };
        known.entries.insert(path.to_owned(), entry);
        if !known.own.iter().any(|own| own == path) {
            known.own.push(path.to_owned());
        }
        known.changed = true;
    }

    /// The hashes of the known files that still exist and do not lie in `folder`.
    pub(super) fn of_files_outside(&self, folder: &Path) -> HashSet<String> {
        let known = self.known();
        let outside = known.entries.values().filter(|entry| entry.path.parent() != Some(folder));
        outside.filter(|entry| entry.path.exists()).map(|entry| entry.sha256.clone()).collect()
    }

    /// Keeps the hashes for the next run. A cache that cannot be written costs time, nothing else.
    pub(super) fn save(&self) {
        let mut known = self.known();
        if !std::mem::take(&mut known.changed) {
            return;
        }
        known.entries.retain(|path, _| path.exists());
        // One whose path is no text cannot be written, and must not keep the others from it.
        let entries: Vec<_> = known.entries.values().filter(|entry| entry.path.to_str().is_some()).collect();
        let write = || -> io::Result<()> {
            let folder = self.file.parent().unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut file, &entries)?;
            file.persist(&self.file)?;
            Ok(())
        };
        if let Err(error) = write() {
            tracing::debug!(path = %self.file.display(), %error, "Hashes of plugins could not be kept");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(hashes: &Hashes, path: &Path, strict: bool) -> String {
        let mut file = File::open(path).unwrap();
        let stamp = Stamp::of(&file.metadata().unwrap());
        hashes.of(path, &mut file, stamp, strict).unwrap().unwrap()
    }

    #[test]
    fn earlier_runs_are_believed_until_the_file_changes_or_a_lock_asks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.so");
        fs::write(&path, "one").unwrap();
        let first = Hashes::open(folder.path());
        let one = hash(&first, &path, false);
        first.save();

        // A wrong hash shows where it comes from.
        let kept = folder.path().join("hashes.json");
        let text = fs::read_to_string(&kept).unwrap();
        assert!(text.contains(&one));
        fs::write(&kept, text.replace(&one, "of the earlier run")).unwrap();
        let second = Hashes::open(folder.path());
        assert_eq!(hash(&second, &path, false), "of the earlier run");
        assert_eq!(hash(&second, &path, true), one);

        fs::write(&path, "three").unwrap();
        let third = Hashes::open(folder.path());
        assert_ne!(hash(&third, &path, false), one);
        fs::write(&kept, "no json").unwrap();
        let fourth = Hashes::open(folder.path());
        assert_eq!(hash(&fourth, &path, false), hash(&third, &path, true));
    }
}
