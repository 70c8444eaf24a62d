use std::{path::PathBuf, sync::Arc};

use hub_plugin_api::{Context, Error, HostContext, Level, LogRecord, Metric, Result, Secret, Spill};

/// A host that gives the password and keeps nothing.
struct Host {
    password: String,
}

/// A context that knows one password.
pub(crate) fn context(password: &str) -> Context {
    Context::new(Arc::new(Host { password: password.to_owned() }))
}

impl HostContext for Host {
    fn log(&self, record: LogRecord) {
        eprintln!("{}: {}", record.target, record.message);
    }

    fn log_level(&self) -> Level {
        Level::Warn
    }

    fn metric(&self, _metric: Metric) {}

    fn secret(&self, id: &str) -> Result<Option<Secret>> {
        Ok((id == "password").then(|| Secret::new(self.password.clone())))
    }

    fn state_get(&self, _name: &str) -> Result<Option<String>> {
        Ok(None)
    }

    fn state_put(&self, _name: &str, _blob: Option<&str>) -> Result<()> {
        Err(Error::unsupported("State in a benchmark"))
    }

    fn state_list(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn spill(&self) -> Result<Spill> {
        Err(Error::unsupported("Spilling in a benchmark"))
    }

    fn reserved_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}
