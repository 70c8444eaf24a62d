use std::{
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::NoServer;

/// A server's process with its directory; both go when this is dropped.
#[derive(Debug)]
pub(super) struct ServerProcess {
    child: Child,
    log: PathBuf,
    /// Held for its Drop.
    _directory: TempDir,
    signal: &'static str,
}

impl ServerProcess {
    /// Starts it in the background; what it prints goes into a file of its directory.
    pub(super) fn start(mut command: Command, directory: TempDir) -> io::Result<Self> {
        let log = directory.path().join("server.log");
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Its own group, so that an interrupt in the terminal reaches us first.
            .process_group(0)
            .spawn()?;
        Ok(Self { child, log, _directory: directory, signal: "INT" })
    }

    /// The signal that it ends on by itself, `INT` where nothing else is said.
    pub(super) fn stopped_by(mut self, signal: &'static str) -> Self {
        self.signal = signal;
        self
    }

    /// The file with what it prints.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until it says that it is ready.
    pub(super) fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<(), NoServer> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.broken(&format!("The server ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.broken("The server is not ready after 60 s"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn broken(&self, message: &str) -> NoServer {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        NoServer::Broken(format!("{message}; its log:\n{log}"))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Err(error) = stop(&mut self.child, self.signal, Duration::from_secs(20)) {
            eprintln!("warning: A server cannot be stopped: {error}");
        }
    }
}

/// Sends a signal (`INT`, `TERM` …) to a process of ours and waits for its end; kills it after `patience`.
///
/// # Errors
/// When it cannot be signalled or waited for.
pub fn stop(child: &mut Child, signal: &str, patience: Duration) -> io::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status()?;
    let deadline = Instant::now() + patience;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A port on 127.0.0.1 that nobody listens on now.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Runs a program to its end; an error holds what it printed.
pub(super) fn run(command: &mut Command) -> Result<String, NoServer> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        NoServer::Broken(format!("`{}` cannot be started: {error}", command.get_program().to_string_lossy()))
    })?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(NoServer::Broken(format!("`{program}` ended with {}:\n{out}{errors}", output.status)))
}
