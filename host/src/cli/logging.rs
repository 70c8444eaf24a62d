//! The log, on standard error. A progress bar steps aside for each line.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use indicatif::ProgressBar;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::{
    arguments::{Global, LogFormat, LogLevel},
    output::note,
};

/// The environment variable with directives for single modules, which `--log-level` gives way to.
pub const LOG_VARIABLE: &str = "CONNECTOR_HUB_LOG";

static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Log lines are written above this bar from now on.
pub fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Writes to the terminal without disturbing the bar.
pub fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Sends log lines to standard error.
pub fn start(global: &Global) {
    let level = match global.log_level {
        // A refused plugin is told by the command that needs it, and by `plugins doctor`.
        None => "warn,connector_hub::plugins=error",
        Some(LogLevel::Off) => "off",
        Some(LogLevel::Error) => "error",
        Some(LogLevel::Warn) => "warn",
        Some(LogLevel::Info) => "info",
        Some(LogLevel::Debug) => "debug",
        Some(LogLevel::Trace) => "trace",
    };
    let filter = env::var(LOG_VARIABLE).ok().and_then(|directives| {
        // Before there is a log that could say so.
        let refused = |error: &_| note(format!("warning: `{LOG_VARIABLE}` is not followed: {error}"));
        EnvFilter::try_new(directives).inspect_err(refused).ok()
    });
    let filter = filter.unwrap_or_else(|| EnvFilter::new(level));
    let color = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let registry = tracing_subscriber::registry().with(filter);
    match global.log_format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(|| Line).with_ansi(color)).init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(|| Line)).init(),
    }
}

/// One line of the log.
struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        above_bar(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
