//! The host's own copies of libraries, by content: what is opened never changes under a running host.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{attempts, file::Stamp, hashes::Hashes};

/// The SHA-256 of a whole file in hex.
pub(super) fn sha256(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    copy_hashed(file, &mut io::sink())
}

fn copy_hashed(from: &mut impl Read, to: &mut impl Write) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// What went wrong with a copy.
#[derive(Debug)]
pub(super) enum CacheError {
    /// The source has another hash by now.
    SourceChanged,
    /// The cache cannot be used.
    Io(PathBuf, io::Error),
}

/// `<cache>/plugins`.
#[derive(Clone, Debug)]
pub(super) struct LibraryCache {
    folder: PathBuf,
}

impl LibraryCache {
    pub(super) fn new(cache: &Path) -> Self {
        Self { folder: cache.join("plugins") }
    }

    /// Where the copies are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a copy of `source`, whose hash is `expected`. A copy that is there is verified, and made again
    /// when it is not what its name says.
    pub(super) fn copy(
        &self,
        source: &mut File,
        expected: &str,
        hashes: &Hashes,
        strict: bool,
    ) -> Result<PathBuf, CacheError> {
        let path = self.folder.join(expected);
        let failed = |error| CacheError::Io(self.folder.clone(), error);
        let hash = |mut file: File| {
            let stamp = Stamp::of(&file.metadata()?);
            hashes.of(&path, &mut file, stamp, strict)
        };
        match File::open(&path).and_then(hash) {
            Ok(Some(found)) if found == expected => return Ok(path),
            Ok(_) => {
                tracing::warn!(path = %path.display(), "A cached library was not what its name says; it is copied again")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(CacheError::Io(path, error)),
        }
        create_private(&self.folder).map_err(failed)?;
        not_writable_by_everyone(&self.folder).map_err(failed)?;
        let mut copy = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        source.seek(SeekFrom::Start(0)).map_err(failed)?;
        if copy_hashed(source, copy.as_file_mut()).map_err(failed)? != expected {
            return Err(CacheError::SourceChanged);
        }
        copy.as_file().sync_all().map_err(failed)?;
        let copy = copy.persist(&path).map_err(|error| failed(error.error))?;
        self.remove_unused(hashes, KEEP_UNUSED);
        hashes.record(&path, Stamp::of(&copy.metadata().map_err(failed)?), expected);
        Ok(path)
    }

    /// Removes copies that are older than `keep` and of no file that is still there. Whoever has one open keeps it.
    fn remove_unused(&self, hashes: &Hashes, keep: Duration) {
        let used = hashes.of_files_outside(&self.folder);
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = name.strip_suffix(attempts::ENDING).unwrap_or(&name);
            let is_copy = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            let age = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|at| at.elapsed().ok());
            if is_copy && !used.contains(name) && age.is_some_and(|age| age >= keep) {
                let removed = fs::remove_file(entry.path());
                tracing::debug!(path = %entry.path().display(), ?removed, "A cached library is of no plugin any more");
            }
        }
    }
}

/// How long a copy stays that no file of a plugin folder needs any more: another hub may be about to open it.
const KEEP_UNUSED: Duration = Duration::from_secs(24 * 60 * 60);

fn not_writable_by_everyone(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&folder.metadata()?.permissions()) & 0o002 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "everyone can write there"));
    }
    Ok(())
}

/// Nobody else may put a library where this host opens it.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(folder: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            fs::read_dir(folder.join("plugins")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn copy_is_named_after_its_content_and_verified() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("abc");
        fs::write(&source, "abc").unwrap();
        let cache = LibraryCache::new(folder.path());
        let mut file = File::open(&source).unwrap();
        let hash = sha256(&mut file).unwrap();
        let hashes = Hashes::open(folder.path());
        assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

        let copy = cache.copy(&mut file, &hash, &hashes, false).unwrap();
        assert_eq!(fs::read_to_string(&copy).unwrap(), "abc");
        fs::write(&copy, "abd").unwrap();
        assert_eq!(cache.copy(&mut file, &hash, &hashes, false).unwrap(), copy);
        assert_eq!(fs::read_to_string(&copy).unwrap(), "abc");
        assert_eq!(cached(folder.path()), [copy]);
    }

    #[test]
    fn source_that_changed_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("abc");
        fs::write(&source, "abc").unwrap();
        let mut file = File::open(&source).unwrap();
        let error = LibraryCache::new(folder.path())
            .copy(&mut file, "00", &Hashes::open(folder.path()), false)
            .unwrap_err();
        assert!(matches!(error, CacheError::SourceChanged));
        assert!(cached(folder.path()).is_empty());
    }

    #[test]
    fn copies_of_no_file_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, hashes) = (LibraryCache::new(folder.path()), Hashes::open(folder.path()));
        let copy = |name: &str| {
            let source = folder.path().join(name);
            fs::write(&source, name).unwrap();
            let mut file = File::open(&source).unwrap();
            let stamp = Stamp::of(&file.metadata().unwrap());
            let hash = hashes.of(&source, &mut file, stamp, false).unwrap().unwrap();
            (source, cache.copy(&mut file, &hash, &hashes, false).unwrap())
        };
        let (kept, removed) = (copy("kept"), copy("removed"));
        fs::remove_file(removed.0).unwrap();
        cache.remove_unused(&hashes, KEEP_UNUSED);
        assert_eq!(cached(folder.path()).len(), 2, "not yet");
        cache.remove_unused(&hashes, Duration::ZERO);
        assert_eq!(cached(folder.path()), [kept.1]);
    }

    #[cfg(unix)]
    #[test]
    fn cache_that_everyone_can_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        fs::set_permissions(folder.path().join("plugins"), fs::Permissions::from_mode(0o777)).unwrap();
        let source = folder.path().join("abc");
        fs::write(&source, "abc").unwrap();
        let mut file = File::open(&source).unwrap();
        let hash = sha256(&mut file).unwrap();
        let hashes = Hashes::open(folder.path());
        let copied = LibraryCache::new(folder.path()).copy(&mut file, &hash, &hashes, false);
        assert!(
            matches!(copied, Err(CacheError::Io(_, error)) if error.to_string() == "everyone can write there")
        );
    }
}
