//! Servers of a test's own, which it may spoil.

use std::{
    thread,
    time::{Duration, Instant},
};

use hub_tests::{
    Hub, Running,
    changes::{MySqlStore, Rows, Store, connect},
    servers::{MySqlRelease, MySqlServer, NoServer},
    skip,
};
use serde_json::{Value, json};

/// How long a change may take to arrive.
const LIMIT: Duration = Duration::from_secs(60);
/// The database that is read.
pub(crate) const FROM: &str = "shop";
/// The database that is written.
pub(crate) const TO: &str = "copy";

/// The connector that is made for a server.
pub(crate) fn connector(release: MySqlRelease) -> &'static str {
    if release == MySqlRelease::MySql { "mysql" } else { "mariadb" }
}

/// A server of a test's own, with a database to read and one to write.
pub(crate) struct Own {
    pub(crate) server: MySqlServer,
    pub(crate) connector: &'static str,
    from: MySqlStore,
    admin: MySqlStore,
}

impl Own {
    /// Starts it; skips the test where there is none.
    pub(crate) fn start(release: MySqlRelease, settings: &[&str]) -> Option<Self> {
        let server = match MySqlServer::start(release, settings) {
            Ok(server) => server,
            Err(NoServer::Missing(reason)) => {
                skip(&reason);
                return None;
            }
            Err(NoServer::Broken(reason)) => panic!("{reason}"),
        };
        let own = Self::of(server, release);
        own.admin(&format!("create database {FROM}; create database {TO}"));
        Some(own)
    }

    /// One whose databases another server has, which it follows.
    pub(crate) fn of(server: MySqlServer, release: MySqlRelease) -> Self {
        let from = MySqlStore::at(&server.url(), FROM);
        let admin = MySqlStore::at(&server.url(), "hub");
        Self { server, connector: connector(release), from, admin }
    }

    /// Runs statements that need none of its databases.
    #[track_caller]
    pub(crate) fn admin(&self, sql: &str) -> Rows {
        match connect(&self.admin).run(sql) {
            Ok(rows) => rows,
            Err(failure) => panic!("{failure}: {sql}"),
        }
    }

    /// Where sessions of it are opened.
    pub(crate) fn store(&self) -> &dyn Store {
        &self.admin
    }

    /// All rows of a table with the columns `id` and `n`; none while there is no table.
    pub(crate) fn content(&self, table: &str) -> Rows {
        let sql = format!("select id, n from {FROM}.{table} order by id");
        connect(&self.admin).run(&sql).unwrap_or_default()
    }

    /// Runs statements in the database that is read.
    #[track_caller]
    pub(crate) fn run(&self, sql: &str) -> Rows {
        match connect(&self.from).run(sql) {
            Ok(rows) => rows,
            Err(failure) => panic!("{failure}: {sql}"),
        }
    }

    /// Whether rows are on both sides alike: those of a table, as far as `only` holds for them.
    pub(crate) fn is_same(&self, table: &str, columns: &[&str], only: &str) -> bool {
        let equal: Vec<_> = columns.iter().map(|column| format!("a.{column} <=> b.{column}")).collect();
        let sql = format!(
            "select (select count(*) from {FROM}.{table} where {only}), \
             (select count(*) from {TO}.{table} where {only}), \
             (select count(*) from {FROM}.{table} a join {TO}.{table} b on {} where a.{only})",
            equal.join(" and ")
        );
        // The table may not be there yet, or has not grown.
        let Ok(rows) = connect(&self.from).run(&sql) else { return false };
        rows.first().is_some_and(|row| row[0] == row[1] && row[0] == row[2])
    }

    /// What the program is told to reach a database of it.
    pub(crate) fn config(&self, database: &str) -> Value {
        json!({
            "host": "127.0.0.1", "port": self.server.port(), "username": "hub", "password": "only-for-tests",
            "database": database, "server_id": 7010,
        })
    }

    /// By Bin Logs from one database.
    pub(crate) fn source(&self, options: Value) -> Value {
        json!({ "connector": self.connector, "strategy": "binlog", "config": self.config(FROM), "options": options })
    }

    /// Into the other.
    pub(crate) fn destination(&self) -> Value {
        json!({
            "connector": self.connector, "strategy": "write", "config": self.config(TO),
            "options": { "mode": "apply-changes" },
        })
    }

    /// By Bin Logs from one database of it into the other.
    pub(crate) fn pipeline(&self, hub: &Hub, name: &str, options: Value) -> std::path::PathBuf {
        hub.pipeline(name, &self.source(options), &self.destination(), &soon())
    }
}

/// Waits until the program follows.
#[track_caller]
pub(crate) fn wait_for_stream(running: &mut Running) {
    let started = Instant::now();
    while !running.out().contains("\"opened\"") {
        assert!(!running.has_ended(), "The run ended before it followed: {}", running.log());
        assert!(started.elapsed() < LIMIT, "The stream does not begin\n{}", running.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Commits as soon as there is something.
pub(crate) fn soon() -> Value {
    json!({ "commit": { "every": "100ms" }, "retry": { "first_delay": "100ms" } })
}

/// Waits until something is so; what the run says is shown when it ends before.
#[track_caller]
pub(crate) fn wait_until(running: &mut Running, what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(!running.has_ended(), "The run ended before {what}: {}", running.log());
        assert!(started.elapsed() < LIMIT, "Nothing came in a minute: {what}\n{}", running.log());
        thread::sleep(Duration::from_millis(50));
    }
}
