//! PgBouncer: what a connector meets where sessions are pooled.

use std::{fs, net::TcpStream};

use super::{
    NoServer, packages,
    postgres_cluster::{PASSWORD, url},
    process::{ServerProcess, free_port},
    user::User,
    way_is_allowed,
};

/// When a server's session goes to another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// After each transaction.
    Transaction,
    /// When the client has gone.
    Session,
}

/// A pooler in front of a server; it ends when this is dropped.
#[derive(Debug)]
pub struct Pgbouncer {
    port: u16,
    _process: ServerProcess,
}

impl Pgbouncer {
    /// Starts one in front of the server on a port of 127.0.0.1, for its role `hub`.
    ///
    /// # Errors
    /// When there is no program, or it does not start.
    pub fn start(server: u16, mode: PoolMode) -> Result<Self, NoServer> {
        let user = User::unprivileged("postgres");
        let installed = packages::in_path("pgbouncer").filter(|_| way_is_allowed("installed"));
        let (program, libraries) = match installed {
            Some(program) => (program, None),
            None if way_is_allowed("packages") => {
                let root = packages::unpacked("pgbouncer", "pgbouncer", user)?;
                (root.join("usr/sbin/pgbouncer"), Some(packages::library_path(&root)))
            }
            None => return Err(NoServer::Missing("there is no PgBouncer".into())),
        };
        let directory = tempfile::Builder::new().prefix("hub-pgbouncer-").tempdir()?;
        let home = directory.path();
        let port = free_port()?;
        let users = home.join("users.txt");
        fs::write(&users, format!("\"hub\" \"{PASSWORD}\"\n"))?;
        let mode = match mode {
            PoolMode::Transaction => "transaction",
            PoolMode::Session => "session",
        };
        let configuration = home.join("pgbouncer.ini");
        let settings = [
            "[databases]".to_owned(),
            format!("* = host=127.0.0.1 port={server}"),
            "[pgbouncer]".to_owned(),
            "listen_addr = 127.0.0.1".to_owned(),
            format!("listen_port = {port}"),
            "unix_socket_dir =".to_owned(),
            "auth_type = scram-sha-256".to_owned(),
            format!("auth_file = {}", users.display()),
            format!("pool_mode = {mode}"),
            String::new(),
        ];
        fs::write(&configuration, settings.join("\n"))?;
        for path in [home, &users, &configuration] {
            user.own(path)?;
        }
        let mut command = user.command(&program);
        command.arg(&configuration).current_dir("/");
        if let Some(libraries) = libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut process = ServerProcess::start(command, directory)?;
        process.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { port, _process: process })
    }

    /// How role `hub` reaches database `postgres` through it.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}
