//! Real servers for tests: found or started, on 127.0.0.1, in a temporary directory, as an unprivileged user, and
//! stopped by their process id. No system service or cluster is ever made or started. One small file a server.

mod certificates;
mod docker;
mod mariadb;
mod mysql;
mod mysql_server;
mod packages;
mod pgbouncer;
mod postgres;
mod postgres_cluster;
mod postgres_programs;
mod process;
mod redis;
mod suites;
mod user;

pub use certificates::Authority;
pub use mysql_server::{MySqlRelease, MySqlServer};
pub use pgbouncer::{Pgbouncer, PoolMode};
pub use postgres_cluster::PostgresCluster;
pub use postgres_programs::PostgresRelease;
pub use process::stop;

use std::fmt;

use self::process::ServerProcess;

/// How durable the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Fast: nothing is synced to disk.
    Test,
    /// As a user runs it: everything is synced, with memory for a million rows.
    Bench,
}

/// A server that runs. Dropped, it stops if it was started here.
#[derive(Debug)]
pub struct Server {
    /// What programs under test are told, by environment variable.
    pub environment: Vec<(String, String)>,
    /// Where it came from, in words.
    pub origin: String,
    /// Keeps it running.
    _process: Option<Holder>,
}

/// What ends with the server.
#[derive(Debug)]
enum Holder {
    Processes(#[expect(dead_code, reason = "held for its Drop")] Vec<ServerProcess>),
    Postgres(#[expect(dead_code, reason = "held for its Drop")] Vec<PostgresCluster>),
    MySql(#[expect(dead_code, reason = "held for its Drop")] MySqlServer),
    Container(#[expect(dead_code, reason = "held for its Drop")] docker::Container),
    Several(#[expect(dead_code, reason = "held for their Drop")] Vec<Server>),
}

impl Server {
    /// Several as one: their tests need all of them.
    fn all_of(servers: Vec<Self>) -> Self {
        Self {
            environment: servers.iter().flat_map(|server| server.environment.clone()).collect(),
            origin: servers.iter().map(|server| server.origin.as_str()).collect::<Vec<_>>().join("; "),
            _process: Some(Holder::Several(servers)),
        }
    }
}

/// Why there is no server.
#[derive(Debug)]
pub enum NoServer {
    /// There is no way to have one on this machine.
    Missing(String),
    /// There is one, and it does not start.
    Broken(String),
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(reason) | Self::Broken(reason) => f.write_str(reason),
        }
    }
}

impl From<std::io::Error> for NoServer {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(format!("Input or output failed: {error}"))
    }
}

type Start = fn(Mode) -> Result<Server, NoServer>;

/// Every server that can be started, by the name of its tests' area.
const SERVERS: &[(&str, Start)] = &[
    ("mysql", mysql::start_area),
    ("postgres", postgres::start),
    ("redis", redis::start_area),
    ("wasm", start_for_guests),
];

/// One server of each kind, which functions query. Tests skip themselves where theirs is missing.
fn start_for_guests(mode: Mode) -> Result<Server, NoServer> {
    let mut servers = Vec::new();
    let starts: [(&str, Start); 4] = [
        ("PostgreSQL", postgres::start),
        ("MySQL", mysql::start),
        ("MariaDB", mariadb::start_long_term),
        // Without the sentinel and the cluster that Redis' own tests have.
        ("Redis", |_| redis::start(Mode::Bench)),
    ];
    for (name, start) in starts {
        match start(mode) {
            Ok(server) => servers.push(server),
            Err(NoServer::Missing(reason)) => eprintln!("No {name} server: {reason}"),
            Err(broken) => return Err(broken),
        }
    }
    if servers.is_empty() {
        Err(NoServer::Missing("there is none of any kind".into()))
    } else {
        Ok(Server::all_of(servers))
    }
}

/// These servers, and PostgreSQL as the other end. The tests that move rows between databases skip themselves without it.
fn beside_postgres(mut servers: Vec<Server>, mode: Mode) -> Result<Server, NoServer> {
    match postgres::start(mode) {
        Ok(server) => servers.push(server),
        Err(NoServer::Missing(reason)) => eprintln!("No PostgreSQL server: {reason}"),
        Err(broken) => return Err(broken),
    }
    Ok(Server::all_of(servers))
}

/// The names that [`start`] takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    SERVERS.iter().map(|(name, _)| *name)
}

/// Finds or starts a server: an address in the environment, installed programs, unpacked packages, Docker, in this
/// order.
///
/// # Errors
/// When there is none, or it does not start.
pub fn start(name: &str, mode: Mode) -> Result<Server, NoServer> {
    match SERVERS.iter().find(|(known, _)| *known == name) {
        Some((_, start)) => start(mode),
        None => Err(NoServer::Broken(format!("There is no server `{name}`"))),
    }
}

/// A way to have a server may be chosen with `HUB_TEST_SERVERS`: `installed`, `packages` or `docker`, comma-separated.
fn way_is_allowed(way: &str) -> bool {
    std::env::var("HUB_TEST_SERVERS")
        .map_or(true, |ways| ways.split(',').any(|allowed| allowed.trim() == way))
}
