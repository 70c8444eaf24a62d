//! A server of MySQL's or MariaDB's of our own: made, told what it is to be like, stopped, restarted, followed by a
//! replica.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    Mode, NoServer, mariadb,
    mysql::{self, PASSWORD},
    process::ServerProcess,
    suites::Root,
    user::User,
};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MySqlRelease {
    /// MySQL of the distribution's rolling release.
    MySql,
    /// MariaDB's long-term version.
    MariaDb,
    /// A newer MariaDB, with vectors.
    NewMariaDb,
}

/// What a server is started with.
#[derive(Debug)]
pub(super) struct Setup {
    pub root: Root,
    pub user: User,
    /// Its path in the root.
    pub program: &'static str,
    /// Its options.
    pub told: Vec<String>,
    pub port: u16,
    pub authority: Option<PathBuf>,
    pub home: TempDir,
}

/// A server with a directory of its own; both go when this is dropped.
#[derive(Debug)]
pub struct MySqlServer {
    // Stops before its directory goes.
    process: Option<ServerProcess>,
    setup: Setup,
}

impl MySqlServer {
    /// Makes and starts a server for a test: it logs whole rows with GTIDs, and syncs nothing to disk. Settings are
    /// options without their dashes, such as `gtid-mode=OFF`; they win.
    ///
    /// # Errors
    /// When there are no programs, or the server does not start.
    pub fn start(release: MySqlRelease, settings: &[&str]) -> Result<Self, NoServer> {
        match release {
            MySqlRelease::MySql => mysql::server(Mode::Test, settings),
            MySqlRelease::MariaDb => mariadb::server(&mariadb::LONG_TERM, Mode::Test, settings),
            MySqlRelease::NewMariaDb => mariadb::server(&mariadb::NEWER, Mode::Test, settings),
        }
    }

    pub(super) fn run_first(setup: Setup) -> Result<Self, NoServer> {
        let mut server = Self { process: None, setup };
        server.run()?;
        Ok(server)
    }

    /// How its user `hub`, who may do everything, reaches database `hub`.
    pub fn url(&self) -> String {
        format!("mysql://hub:{PASSWORD}@127.0.0.1:{}/hub", self.setup.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.setup.port
    }

    /// The certificate of the authority that signed the server's, where it speaks TLS.
    pub(super) fn authority(&self) -> Option<&Path> {
        self.setup.authority.as_deref()
    }

    /// The folder of its data and its programs.
    pub(super) fn home(&self) -> &Path {
        self.setup.home.path()
    }

    pub(super) fn root(&self) -> &Root {
        &self.setup.root
    }

    /// Where it came from, in words.
    pub(super) fn origin(&self) -> String {
        let Setup { root, program, port, .. } = &self.setup;
        format!("{} on port {port}", root.path(program).display())
    }

    /// Adds settings, as [`Self::start`] takes them: they count from the next start on.
    pub fn configure(&mut self, settings: &[&str]) {
        self.setup.told.extend(settings.iter().map(|setting| format!("--{setting}")));
    }

    /// Stops it in good order: open sessions are ended.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it after a stop, on the same port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&mut self) -> Result<(), NoServer> {
        let Setup { root, user, program, told, .. } = &self.setup;
        let mut command = root.command(*user, program)?;
        command.args(told);
        // The log has a directory of its own, as the data outlives a restart.
        let logs = tempfile::Builder::new().prefix("hub-mysql-log-").tempdir()?;
        let mut process = ServerProcess::start(command, logs)?.stopped_by("TERM");
        let log = process.log().to_owned();
        process.wait_until(|| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.lines().any(|line| line.contains("ready for connections"))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops it and starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> Result<(), NoServer> {
        self.stop();
        self.run()
    }
}
