use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hub_plugin_api::{Error, ErrorKind, HostContext, Level, LogRecord, Metric, Result, Secret, Spill};

use super::{Side, masks::Masks};
use crate::store::{Paths, Store};

/// Bytes that one plugin may spill, over all of its directories.
const SPILL_QUOTA_BYTES: u64 = 64 << 30;

static NEXT_SPILL: AtomicU64 = AtomicU64::new(0);

/// Takes a measurement of a plugin's.
pub(crate) type MetricSink = Arc<dyn Fn(Metric) + Send + Sync>;

/// What the host does for the plugin at one end of a pipeline, or of a connection outside one.
pub(crate) struct EndpointContext {
    pub(crate) store: Arc<Store>,
    pub(crate) paths: Paths,
    /// A directory of the pipeline's own, or of this process.
    pub(crate) spill_dir: PathBuf,
    /// Blobs are kept for pipelines only.
    pub(crate) pipeline: Option<String>,
    pub(crate) side: Side,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) masks: Masks,
    pub(crate) metrics: MetricSink,
    pub(crate) spills: Mutex<Vec<PathBuf>>,
    pub(crate) closed: AtomicBool,
}

impl EndpointContext {
    /// From now on a plugin that is still there can neither write the store nor spill; what it spilled is removed.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for directory in self.spills.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Err(error) = fs::remove_dir_all(&directory) {
                tracing::warn!(directory = %directory.display(), %error, "Spilled rows could not be removed");
            }
        }
    }

    fn pipeline(&self) -> Result<&str> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Cancelled, "The run is over: nothing is stored any more"));
        }
        self.pipeline.as_deref().ok_or_else(|| Error::unsupported("Stored state outside a pipeline"))
    }
}

impl Drop for EndpointContext {
    fn drop(&mut self) {
        self.close();
    }
}

impl HostContext for EndpointContext {
    fn log(&self, record: LogRecord) {
        let message = self.masks.text(&record.message);
        let fields = (!record.fields.is_empty())
            .then(|| self.masks.text(&serde_json::Value::Object(record.fields).to_string()));
        let (plugin, side, pipeline) = (record.target, self.side.as_str(), self.pipeline.as_deref());
        match record.level {
            Level::Error => tracing::error!(plugin, side, pipeline, fields, "{message}"),
            Level::Warn => tracing::warn!(plugin, side, pipeline, fields, "{message}"),
            Level::Info => tracing::info!(plugin, side, pipeline, fields, "{message}"),
            Level::Debug => tracing::debug!(plugin, side, pipeline, fields, "{message}"),
            Level::Trace => tracing::trace!(plugin, side, pipeline, fields, "{message}"),
        }
    }

    fn log_level(&self) -> Level {
        use tracing::level_filters::LevelFilter;
        match LevelFilter::current() {
            LevelFilter::TRACE => Level::Trace,
            LevelFilter::DEBUG => Level::Debug,
            LevelFilter::INFO => Level::Info,
            LevelFilter::WARN => Level::Warn,
            _ => Level::Error,
        }
    }

    fn metric(&self, metric: Metric) {
        if !self.closed.load(Ordering::SeqCst) {
            (self.metrics)(metric);
        }
    }

    fn secret(&self, id: &str) -> Result<Option<Secret>> {
        Ok(self.secrets.get(id).cloned())
    }

    fn state_get(&self, name: &str) -> Result<Option<String>> {
        self.store.state_get(self.pipeline()?, self.side.as_str(), name)
    }

    fn state_put(&self, name: &str, blob: Option<&str>) -> Result<()> {
        self.store.state_put(self.pipeline()?, self.side.as_str(), name, blob)
    }

    fn state_list(&self) -> Result<Vec<String>> {
        self.store.state_list(self.pipeline()?, self.side.as_str())
    }

    fn spill(&self) -> Result<Spill> {
        let mut spills = self.spills.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Cancelled, "The run is over: nothing is spilled any more"));
        }
        let number = NEXT_SPILL.fetch_add(1, Ordering::Relaxed);
        let directory = self.spill_dir.join(number.to_string());
        make_private_dir(&directory).map_err(|error| {
            Error::new(ErrorKind::ResourceExhausted, "No directory could be made for spilled rows")
                .with_source(&error)
                .with_context("directory", directory.display())
        })?;
        spills.push(directory.clone());
        Ok(Spill { directory, quota_bytes: SPILL_QUOTA_BYTES })
    }

    fn reserved_files(&self) -> Vec<PathBuf> {
        self.paths.reserved_files()
    }
}

fn make_private_dir(directory: &std::path::Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}
