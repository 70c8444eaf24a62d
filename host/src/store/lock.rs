use std::fs::{self, File, TryLockError};

use hub_plugin_api::{Error, ErrorKind, Result};

use super::Store;

/// Held while a process works on a pipeline. The operating system lets go of it however the process ends.
#[derive(Debug)]
pub struct PipelineLock {
    _file: File,
}

impl Store {
    /// Takes a pipeline for this process.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when another process, or another run of this one, has it.
    pub fn lock_pipeline(&self, pipeline: &str) -> Result<PipelineLock> {
        let directory = self.directory().join("locks");
        let path = directory.join(format!("{}.lock", file_stem(pipeline)));
        let cannot = |error: std::io::Error| {
            Error::new(ErrorKind::PermissionDenied, format!("Pipeline `{pipeline}` cannot be locked"))
                .with_source(&error)
                .with_context("file", path.display())
        };
        fs::create_dir_all(&directory).map_err(cannot)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(PipelineLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                // Not retryable in the run's own sense: the other one may go on for days.
                Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    format!("Pipeline `{pipeline}` is already running"),
                )
                .with_hint("One process a pipeline at a time: wait for the other one, or stop it"))
            }
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

/// Letters, digits, `-` and `_` as they are, everything else as its bytes: one file a name, whatever it is.
pub(crate) fn file_stem(pipeline: &str) -> String {
    let mut name = String::with_capacity(pipeline.len());
    for byte in pipeline.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            // Capitals too: a file system may not tell them from small letters.
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Paths;

    #[test]
    fn one_holder_a_pipeline_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&Paths::below(home.path())).unwrap();
        let held = store.lock_pipeline("../a B").unwrap();
        assert_eq!(
            store.lock_pipeline("../a B").unwrap_err().message,
            "Pipeline `../a B` is already running"
        );
        store.lock_pipeline("../a b").unwrap();
        drop(held);
        store.lock_pipeline("../a B").unwrap();
    }
}
