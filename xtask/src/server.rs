//! A server that the tests' launcher started, or found, and that stops with us.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{Outcome, failed};

/// A running server. The launcher stops it when its standard input closes, so also when we are killed.
#[derive(Debug)]
pub(crate) struct Server {
    launcher: Child,
    /// What the tests are told about it.
    pub environment: Vec<(String, String)>,
    /// Where it came from, for the terminal.
    pub origin: String,
}

/// What the launcher answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Running(Server),
    /// There is no way to have one here, and why.
    Missing(String),
}

/// The servers that the launcher knows.
pub(crate) fn known(launcher: &Path) -> Outcome<Vec<String>> {
    let output = Command::new(launcher).arg("list").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Starts a server; `mode` is `test` or `bench`.
pub(crate) fn start(launcher: &Path, name: &str, mode: &str) -> Outcome<Answer> {
    let mut child = Command::new(launcher)
        .args([name, "--mode", mode])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Its own group: an interrupt in the terminal ends us, and only then the server, in good order.
        .process_group(0)
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let Ok(answer) = serde_json::from_str::<Value>(&line) else {
        child.wait()?;
        return failed(format!("The launcher started no `{name}` server; its messages are above"));
    };
    if let Some(reason) = answer["missing"].as_str() {
        child.wait()?;
        return Ok(Answer::Missing(reason.to_owned()));
    }
    let environment = answer["environment"].as_object().into_iter().flatten();
    let environment =
        environment.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let origin = answer["origin"].as_str().unwrap_or_default().to_owned();
    Ok(Answer::Running(Server { launcher: child, environment, origin }))
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.launcher.stdin.take());
        if let Err(error) = self.launcher.wait() {
            eprintln!("warning: The server's launcher cannot be waited for: {error}");
        }
    }
}
