//! A PostgreSQL server of our own: made, configured, restarted, copied as a standby.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;

use super::{
    NoServer,
    certificates::{Authority, LOCAL_NAMES},
    postgres_programs::{PostgresRelease, Programs},
    process::{ServerProcess, free_port, run},
    user::User,
};

/// The password of role `hub`, which may do everything.
pub(super) const PASSWORD: &str = "only-for-tests";
/// The replication slot that a standby reads from.
const STANDBY_SLOT: &str = "standby";

/// A server with a directory of its own; both go when this is dropped.
#[derive(Debug)]
pub struct PostgresCluster {
    process: Option<ServerProcess>,
    programs: Programs,
    user: User,
    port: u16,
    data: PathBuf,
    authority: Option<PathBuf>,
    home: Arc<TempDir>,
    /// The authority that a standby shares lies with its primary.
    _primary: Option<Arc<TempDir>>,
}

impl PostgresCluster {
    /// Makes and starts a server for a test: with TLS where it can, logical decoding, and nothing synced to disk.
    /// Settings that are given win.
    ///
    /// # Errors
    /// When there are no programs, or the server does not start.
    pub fn start(release: PostgresRelease, settings: &[(&str, &str)]) -> Result<Self, NoServer> {
        let user = User::unprivileged("postgres");
        Self::make(Programs::find(release, user)?, user, settings)
    }

    pub(super) fn make(programs: Programs, user: User, settings: &[(&str, &str)]) -> Result<Self, NoServer> {
        let home = Arc::new(directory(user)?);
        let path = home.path();
        let password = path.join("password");
        fs::write(&password, PASSWORD)?;
        user.own(&password)?;
        let data = path.join("data");
        run(programs
            .command(user, "initdb")
            .arg("--pgdata")
            .arg(&data)
            .args(["--username=hub", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg(format!("--pwfile={}", password.display())))?;
        let authority = if programs.has_tls { Authority::make(path, "Connector Hub tests")? } else { None };
        let mut cluster = Self {
            process: None,
            programs,
            user,
            port: free_port()?,
            data,
            authority: authority.as_ref().map(|authority| authority.certificate().to_path_buf()),
            home: Arc::clone(&home),
            _primary: None,
        };
        cluster.configure(DEFAULTS)?;
        if let Some(authority) = authority {
            cluster.use_certificate(&authority.issue("server", "localhost", LOCAL_NAMES, 30)?)?;
        }
        cluster.configure(settings)?;
        cluster.run()?;
        Ok(cluster)
    }

    /// A streaming standby of this server, on a port of its own.
    ///
    /// # Errors
    /// When it cannot be copied, or does not start.
    pub fn standby(&self) -> Result<Self, NoServer> {
        let home = Arc::new(directory(self.user)?);
        let data = home.path().join("data");
        run(self
            .programs
            .command(self.user, "pg_basebackup")
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "hub", "-D"])
            .arg(&data)
            .args(["-R", "-X", "stream", "-C", "-S", STANDBY_SLOT, "--no-sync", "-c", "fast"]))?;
        let mut standby = Self {
            process: None,
            programs: self.programs.clone(),
            user: self.user,
            port: free_port()?,
            data,
            authority: self.authority.clone(),
            home,
            _primary: Some(Arc::clone(&self.home)),
        };
        standby.configure(&[("hot_standby_feedback", "on")])?;
        standby.run()?;
        Ok(standby)
    }

    /// How its role `hub` reaches database `postgres`.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that signed the server's, where it speaks TLS.
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// The folder of its programs, and what they need as `LD_LIBRARY_PATH`.
    pub fn programs(&self) -> (&Path, Option<String>) {
        (&self.programs.folder, self.programs.libraries())
    }

    /// The folder of its data, which may be copied while it is stopped.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Adds settings to its configuration: they count after a reload or a restart.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, settings: &[(&str, &str)]) -> Result<(), NoServer> {
        let file = self.data.join("postgresql.conf");
        let mut text = fs::read_to_string(&file)?;
        for (name, value) in settings {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        Ok(fs::write(file, text)?)
    }

    /// Replaces `pg_hba.conf` and has the server read it.
    ///
    /// # Errors
    /// When the file cannot be written, or the server cannot be told.
    pub fn admit(&self, lines: &str) -> Result<(), NoServer> {
        fs::write(self.data.join("pg_hba.conf"), lines)?;
        self.reload()
    }

    /// Replaces `pg_ident.conf`, which maps the names in certificates to roles, and has the server read it.
    ///
    /// # Errors
    /// When the file cannot be written, or the server cannot be told.
    pub fn identify(&self, lines: &str) -> Result<(), NoServer> {
        fs::write(self.data.join("pg_ident.conf"), lines)?;
        self.reload()
    }

    /// Takes a certificate and its key: they count after a reload or a restart.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn use_certificate(&self, (certificate, key): &(PathBuf, PathBuf)) -> Result<(), NoServer> {
        self.configure(&[
            ("ssl", "on"),
            ("ssl_cert_file", self.install(certificate, "server.crt")?),
            ("ssl_key_file", self.install(key, "server.key")?),
        ])
    }

    /// Takes the authority that clients' certificates are checked against.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn trust(&self, authority: &Path) -> Result<(), NoServer> {
        self.configure(&[("ssl_ca_file", self.install(authority, "clients.crt")?)])
    }

    /// Makes a copy that belongs to the server, beside its data: a standby gets it with them.
    fn install<'a>(&self, file: &Path, name: &'a str) -> Result<&'a str, NoServer> {
        let own = self.data.join(name);
        fs::write(&own, fs::read(file)?)?;
        fs::set_permissions(&own, PermissionsExt::from_mode(0o600))?;
        self.user.own(&own)?;
        Ok(name)
    }

    /// Has the server read its configuration again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> Result<(), NoServer> {
        let text = fs::read_to_string(self.data.join("postmaster.pid"))?;
        let pid = text.lines().next().unwrap_or_default();
        run(Command::new("kill").args(["-HUP", pid])).map(drop)
    }

    /// Stops it in good order and starts it again on the same port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> Result<(), NoServer> {
        self.stop();
        self.run()
    }

    /// Stops it: open sessions are ended.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it after a stop.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&mut self) -> Result<(), NoServer> {
        let pid_file = self.data.join("postmaster.pid");
        let mut command = self.programs.command(self.user, "postgres");
        command.arg("-D").arg(&self.data).arg("-p").arg(self.port.to_string());
        // The log has a directory of its own, as the data outlives a restart.
        let logs = tempfile::Builder::new().prefix("hub-postgres-log-").tempdir()?;
        let mut process = ServerProcess::start(command, logs)?;
        // The last line that the server writes there says whether it takes connections.
        process.wait_until(|| {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            matches!(text.lines().nth(7).map(str::trim), Some("ready" | "standby"))
        })?;
        self.process = Some(process);
        Ok(())
    }
}

/// What every test's server is: decoding logically, and fast rather than durable.
const DEFAULTS: &[(&str, &str)] = &[
    ("unix_socket_directories", ""),
    ("listen_addresses", "127.0.0.1"),
    ("wal_level", "logical"),
    ("max_wal_senders", "20"),
    ("max_replication_slots", "20"),
    ("max_connections", "100"),
    ("timezone", "UTC"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "64MB"),
    ("max_wal_size", "1GB"),
];

/// What a server is that is measured: as durable as a user runs it, with memory for a million rows.
pub(super) const DURABLE: &[(&str, &str)] =
    &[("fsync", "on"), ("full_page_writes", "on"), ("shared_buffers", "256MB"), ("max_wal_size", "4GB")];

/// What a container is told on its command line.
pub(super) fn container_settings(durable: bool) -> Vec<String> {
    let more = if durable { DURABLE } else { &[] };
    let settings = DEFAULTS.iter().skip(2).chain(more);
    settings.map(|(name, value)| format!("{name}={value}")).collect()
}

pub(super) fn url(port: u16) -> String {
    format!("postgresql://hub:{PASSWORD}@127.0.0.1:{port}/postgres")
}

fn directory(user: User) -> Result<TempDir, NoServer> {
    let directory = tempfile::Builder::new().prefix("hub-postgres-").tempdir()?;
    user.own(directory.path())?;
    Ok(directory)
}
