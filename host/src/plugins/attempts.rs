//! Which contents took a process down while they were opened. A damaged library can end the process in the system's
//! loader, where nothing catches it: then every command that looks through its folder would end so, and none could say
//! which file it is.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use super::report::{LoadStep, Refusal};

/// How many processes a content may take down. More than one, as somebody may have ended the first for other reasons.
const DEATHS: usize = 2;
/// What stands in the file of a content that was opened once: it is not watched again.
const OPENED: &[u8] = b"opened";
/// One for each process that began to open the content and did not come back.
const BEGUN: &[u8] = b"x";

/// The endings of the files beside the copies.
pub(super) const ENDING: &str = ".opening";

/// One attempt to open a content. Dropped without [`opened`](Attempt::opened) it leaves no trace, as the process lives.
pub(super) struct Attempt {
    path: PathBuf,
    /// Locked for as long as the attempt lasts; absent when the content needs no watching, or cannot have any.
    file: Option<File>,
}

impl Attempt {
    /// Notes in the folder of the copies that a process begins to open one; `shown` is the file that the user knows.
    ///
    /// # Errors
    /// When two processes died of it.
    pub(super) fn begin(folder: &Path, sha256: &str, shown: &Path) -> Result<Self, Refusal> {
        let path = folder.join(format!("{sha256}{ENDING}"));
        if fs::read(&path).is_ok_and(|content| content == OPENED) {
            return Ok(Self { path, file: None });
        }
        let (file, deaths) = match begun(&path) {
            Ok(begun) => begun,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "The opening of a library is not watched");
                return Ok(Self { path, file: None });
            }
        };
        if deaths >= DEATHS {
            return Err(Refusal::new(
                LoadStep::Open,
                format!("Took the process down {deaths} times while it was opened, so it is not opened again"),
            )
            .hint(format!(
                "Copy the plugin again: it is damaged, or built for another system; to try this file once more, remove \
                 `{}`",
                path.display()
            )));
        }
        if deaths > 0 {
            tracing::error!(path = %shown.display(), "The last process that opened this plugin died of it; trying once more");
        }
        Ok(Self { path, file: Some(file) })
    }

    /// The content was opened and has said what it is.
    pub(super) fn opened(mut self) {
        if let Some(mut file) = self.file.take() {
            let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(OPENED));
            tracing::debug!(path = %self.path.display(), ?written, "A library was opened for the first time");
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let removed = fs::remove_file(&self.path);
            tracing::debug!(path = %self.path.display(), ?removed, "A library was refused, and the process lives");
        }
    }
}

/// The locked file with one more attempt in it, and how many there were before. At the limit none is added.
fn begun(path: &Path) -> io::Result<(File, usize)> {
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    // Locked by a process that opens the same content at this moment: its watching is enough.
    file.try_lock()?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    let deaths = content.iter().filter(|byte| BEGUN.contains(byte)).count();
    if deaths < DEATHS {
        file.write_all(BEGUN)?;
    }
    Ok((file, deaths))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(folder: &Path) -> Result<Attempt, Refusal> {
        Attempt::begin(folder, "abc", Path::new("/plugins/plugin.so"))
    }

    /// Ends as a process does that dies: locks are freed, and nothing else happens.
    fn die(mut attempt: Attempt) {
        attempt.file = None;
    }

    #[test]
    fn content_that_took_two_processes_down_is_not_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        die(begin(folder.path()).ok().unwrap());
        die(begin(folder.path()).ok().unwrap());
        for _ in 0..2 {
            let refusal = begin(folder.path()).err().unwrap();
            assert_eq!(refusal.step, LoadStep::Open);
            assert!(refusal.reason.starts_with("Took the process down 2 times"), "{refusal}");
            assert!(refusal.hint.unwrap().contains("abc.opening"));
        }
        fs::remove_file(folder.path().join("abc.opening")).unwrap();
        assert!(begin(folder.path()).is_ok());
    }

    #[test]
    fn content_that_was_opened_or_refused_in_good_order_leaves_no_attempt() {
        let folder = tempfile::tempdir().unwrap();
        die(begin(folder.path()).ok().unwrap());
        begin(folder.path()).ok().unwrap().opened();
        for _ in 0..4 {
            die(begin(folder.path()).ok().unwrap());
        }
        fs::remove_file(folder.path().join("abc.opening")).unwrap();
        for _ in 0..4 {
            drop(begin(folder.path()).ok().unwrap());
        }
        assert!(!folder.path().join("abc.opening").exists());
    }

    #[test]
    fn content_that_another_process_opens_at_this_moment_is_not_counted_twice() {
        let folder = tempfile::tempdir().unwrap();
        let first = begin(folder.path()).ok().unwrap();
        drop(begin(folder.path()).ok().unwrap());
        die(first);
        assert_eq!(fs::read(folder.path().join("abc.opening")).unwrap(), BEGUN);
    }
}
