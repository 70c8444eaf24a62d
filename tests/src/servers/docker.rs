use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{NoServer, process::run};

/// A container that is removed when dropped.
#[derive(Debug)]
pub(super) struct Container {
    id: String,
}

impl Container {
    /// Runs an image in the background where a container engine answers.
    pub(super) fn start(
        image: &str,
        port: u16,
        options: &[&str],
        command: &[&str],
    ) -> Result<Self, NoServer> {
        let engine = Command::new("docker")
            .args(["version", "--format", "{{.Server.Version}}"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !engine.is_ok_and(|status| status.success()) {
            return Err(NoServer::Missing("no container engine answers".into()));
        }
        let publish = format!("127.0.0.1::{port}");
        let mut start = Command::new("docker");
        start.args(["run", "--detach", "--rm", "--publish", &publish]).args(options).arg(image).args(command);
        let id = run(&mut start)
            .map_err(|error| NoServer::Missing(format!("the image `{image}` does not run: {error}")))?;
        Ok(Self { id: id.trim().to_owned() })
    }

    /// The port on 127.0.0.1 that leads to this port inside.
    pub(super) fn port(&self, port: u16) -> Result<u16, NoServer> {
        let answer = run(Command::new("docker").args(["port", &self.id, &port.to_string()]))?;
        let found = answer.lines().find_map(|line| line.rsplit_once(':')?.1.trim().parse().ok());
        found.ok_or_else(|| NoServer::Broken(format!("The container publishes no port: {answer}")))
    }

    /// Repeats a command inside until it succeeds.
    pub(super) fn wait_until(&self, command: &[&str]) -> Result<(), NoServer> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = run(Command::new("docker").args(["exec", &self.id]).args(command)) {
            if Instant::now() > deadline {
                let log = Command::new("docker").args(["logs", &self.id]).output()?;
                let log = String::from_utf8_lossy(&log.stderr).into_owned();
                return Err(NoServer::Broken(format!("The container is not ready: {error}\n{log}")));
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("docker").args(["rm", "--force", "--volumes", &self.id])) {
            eprintln!("warning: {error}");
        }
    }
}
