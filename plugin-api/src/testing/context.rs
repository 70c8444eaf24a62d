use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{Context, Error, ErrorKind, HostContext, Level, LogRecord, Metric, Result, Secret, Spill};

/// The host's side in memory: secrets that a test gives, and everything that the plugin hands over, to look at.
#[derive(Default)]
pub struct TestContext {
    secrets: BTreeMap<String, Secret>,
    reserved: Vec<PathBuf>,
    queries_may_write: bool,
    logs: Mutex<Vec<LogRecord>>,
    metrics: Mutex<Vec<Metric>>,
    state: Mutex<BTreeMap<String, String>>,
    spills: Mutex<Vec<PathBuf>>,
}

impl TestContext {
    /// Without secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same context with the secret of one more password parameter.
    #[must_use]
    pub fn with_secret(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.secrets.insert(id.into(), Secret::new(secret));
        self
    }

    /// The same context, whose user lets queries change data.
    #[must_use]
    pub fn granting_writes(mut self) -> Self {
        self.queries_may_write = true;
        self
    }

    /// The same context with one more file that is the host's own.
    #[must_use]
    pub fn with_reserved_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.reserved.push(path.into());
        self
    }

    /// What [`crate::Connector::connect`] takes; this one stays to look at.
    pub fn context(self: &Arc<Self>) -> Context {
        Context::new(Arc::clone(self) as Arc<dyn HostContext>)
    }

    /// Every line of the log so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        locked(&self.logs).clone()
    }

    /// Every measurement so far.
    pub fn metrics(&self) -> Vec<Metric> {
        locked(&self.metrics).clone()
    }

    /// Every named blob as it is now.
    pub fn state(&self) -> BTreeMap<String, String> {
        locked(&self.state).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostContext for TestContext {
    fn log(&self, record: LogRecord) {
        locked(&self.logs).push(record);
    }

    fn log_level(&self) -> Level {
        Level::Trace
    }

    fn queries_may_write(&self) -> bool {
        self.queries_may_write
    }

    fn metric(&self, metric: Metric) {
        locked(&self.metrics).push(metric);
    }

    fn secret(&self, id: &str) -> Result<Option<Secret>> {
        Ok(self.secrets.get(id).cloned())
    }

    fn state_get(&self, name: &str) -> Result<Option<String>> {
        Ok(locked(&self.state).get(name).cloned())
    }

    fn state_put(&self, name: &str, blob: Option<&str>) -> Result<()> {
        match blob {
            Some(blob) => locked(&self.state).insert(name.into(), blob.into()),
            None => locked(&self.state).remove(name),
        };
        Ok(())
    }

    fn state_list(&self) -> Result<Vec<String>> {
        Ok(locked(&self.state).keys().cloned().collect())
    }

    fn spill(&self) -> Result<Spill> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("hub-plugin-test-{}-{number}", process::id()));
        fs::create_dir_all(&directory).map_err(|error| {
            Error::new(ErrorKind::ResourceExhausted, "No directory for spilling could be made")
                .with_source(&error)
        })?;
        locked(&self.spills).push(directory.clone());
        Ok(Spill { directory, quota_bytes: 1 << 30 })
    }

    fn reserved_files(&self) -> Vec<PathBuf> {
        self.reserved.clone()
    }
}

impl Drop for TestContext {
    fn drop(&mut self) {
        for directory in locked(&self.spills).drain(..) {
            // What stays behind lies in the system's temporary directory.
            let _ = fs::remove_dir_all(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_hands_over_can_be_looked_at() {
        let test = Arc::new(TestContext::new().with_secret("password", "hunter2"));
        let context = test.context();
        context.log(Level::Info, "here", "Connected");
        assert_eq!(test.logs()[0].message, "Connected");
        assert_eq!(context.secret("password").unwrap().unwrap().expose(), "hunter2");
        assert_eq!(context.secret("other").unwrap(), None);
        context.host().state_put("schema", Some("1")).unwrap();
        assert_eq!(test.state(), BTreeMap::from([("schema".into(), "1".into())]));
        context.host().state_put("schema", None).unwrap();
        assert!(context.host().state_list().unwrap().is_empty());
    }

    #[test]
    fn spill_directories_go_with_the_context() {
        let test = Arc::new(TestContext::new());
        let (one, two) = (test.spill().unwrap(), test.spill().unwrap());
        assert!(one.directory != two.directory && one.directory.is_dir());
        drop(test);
        assert!(!one.directory.exists());
    }
}
