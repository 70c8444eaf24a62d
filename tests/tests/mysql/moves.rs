//! Tables from and to both vendors' servers, by query.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use hub_tests::{Database, Hub, Kills, kill_until_done, lineitem_in_postgres, skip};
use serde_json::{Value, json};

/// What the process tree may use, in MiB.
const MEMORY_LIMIT: f64 = 96.0;
const KEY: [&str; 2] = ["l_orderkey", "l_linenumber"];

/// Count and sums over every column, as both kinds of servers print them.
const SUMS: &str = "select count(*), sum(l_orderkey * l_linenumber), sum(l_partkey), sum(l_suppkey), sum(l_quantity),
    sum(l_extendedprice), sum(l_discount), sum(l_tax), count(distinct l_returnflag), count(distinct l_linestatus),
    min(l_shipdate), max(l_receiptdate), count(distinct l_commitdate), sum(length(l_shipinstruct)),
    sum(length(l_shipmode)), sum(length(l_comment)) from ";

/// A database of a test's own, through the vendor's own client; dropped with it.
struct Store {
    connector: &'static str,
    client: PathBuf,
    address: [String; 4],
    name: String,
}

impl Store {
    fn create(connector: &'static str, purpose: &str) -> Option<Self> {
        let variable = format!("HUB_TEST_{}", connector.to_uppercase());
        let url = env::var(format!("{variable}_URL")).ok()?;
        let programs = env::var_os(format!("{variable}_BIN"))?;
        let (login, place) = url.split_once("://")?.1.rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        let (host, port) = place.split('/').next()?.rsplit_once(':')?;
        let store = Self {
            connector,
            client: PathBuf::from(programs).join(connector),
            address: [host, port, user, password].map(str::to_owned),
            name: format!("hub_{purpose}_{}", std::process::id()),
        };
        store.call("", &format!("DROP DATABASE IF EXISTS {0}; CREATE DATABASE {0}", store.name));
        Some(store)
    }

    fn call(&self, database: &str, statements: &str) -> String {
        let [host, port, user, password] = &self.address;
        let output = Command::new(&self.client)
            .args(["--no-defaults", "--batch", "--skip-column-names"])
            .args(["--host", host, "--port", port, "--user", user, "--execute", statements])
            .args((!database.is_empty()).then_some(database))
            .env("MYSQL_PWD", password)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}: {statements}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn ask(&self, statements: &str) -> String {
        self.call(&self.name, statements)
    }

    /// The rows of a table; 0 while there is none.
    fn count(&self, table: &str) -> u64 {
        if self.ask(&format!("show tables like '{table}'")).is_empty() {
            return 0;
        }
        self.ask(&format!("select count(*) from {table}")).parse().unwrap()
    }

    fn sums(&self, table: &str) -> String {
        self.ask(&format!("{SUMS}{table}")).replace('\t', "|")
    }

    fn config(&self) -> Value {
        let [host, port, user, password] = &self.address;
        json!({
            "host": host, "port": port.parse::<u16>().unwrap(), "username": user, "password": password,
            "database": self.name,
        })
    }

    fn source(&self, table: &str, cursor: bool) -> Value {
        let mut options = json!({ "statement": format!("select * from {table}") });
        if cursor {
            options["cursor"] = json!(KEY);
        }
        json!({ "connector": self.connector, "config": self.config(), "strategy": "query", "options": options })
    }

    fn destination(&self, table: &str, mode: &str) -> Value {
        json!({ "connector": self.connector, "config": self.config(), "options": { "mode": mode, "table": table } })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.call("", &format!("DROP DATABASE {}", self.name));
        }
    }
}

fn rows(hub: &Hub) -> u64 {
    if hub.environment.full { 1_000_000 } else { 50_000 }
}

fn in_postgres(database: &Database, table: &str) -> Value {
    json!({
        "connector": "postgres", "config": database.config(),
        "options": { "mode": "append", "table": table, "create_table": true },
    })
}

/// From PostgreSQL into the server, on to the other vendor's, and back: every value is the same.
fn round(connector: &'static str, other: &'static str) {
    let Some(database) = Database::create(&format!("round_{connector}")) else {
        return skip("no PostgreSQL");
    };
    let Some(first) = Store::create(connector, "round") else { return skip("no server") };
    let Some(second) = Store::create(other, &format!("round_from_{connector}")) else {
        return skip("no server");
    };
    let hub = Hub::new();
    let rows = rows(&hub);
    lineitem_in_postgres(&hub.environment, &database, "lineitem", rows);
    let from = json!({
        "connector": "postgres", "config": database.config(), "strategy": "query",
        "options": { "statement": "select * from lineitem", "cursor": KEY },
    });
    for (name, source, destination) in [
        ("in", from, first.destination("copied", "append")),
        ("across", first.source("copied", true), second.destination("copied", "upsert")),
        ("back", second.source("copied", true), in_postgres(&database, "returned")),
    ] {
        let file = hub.pipeline(name, &source, &destination, &json!({}));
        let run = hub.run(&file).expect_success();
        assert_eq!(run.rows(), rows, "{name}");
        assert!(run.peak_mib < MEMORY_LIMIT, "{name}: {:.1} MiB", run.peak_mib);
        let again = hub.run(&file).expect_success();
        assert_eq!(again.rows(), 0, "{name}: a second run moves nothing");
    }
    assert_eq!(database.differences("lineitem", "returned"), 0);
    assert_eq!(first.sums("copied"), second.sums("copied"));
}

#[test]
fn rows_go_through_mysql_and_mariadb_and_come_back_the_same() {
    round("mysql", "mariadb");
}

#[test]
fn rows_go_through_mariadb_and_mysql_and_come_back_the_same() {
    round("mariadb", "mysql");
}

/// Appending: a row that came twice would break the primary key.
fn killed(connector: &'static str) {
    let Some(store) = Store::create(connector, "killed") else { return skip("no server") };
    let Some(database) = Database::create(&format!("killed_{connector}")) else {
        return skip("no PostgreSQL");
    };
    let hub = Hub::new();
    let rows = 6 * rows(&hub).min(50_000);
    lineitem_in_postgres(&hub.environment, &database, "lineitem", rows);
    let from = json!({
        "connector": "postgres", "config": database.config(), "strategy": "query",
        "options": { "statement": "select * from lineitem", "cursor": KEY },
    });
    let often = json!({ "commit": { "rows": 2_000, "every": "1s", "bytes": "64MiB" } });
    let file = hub.pipeline("killed", &from, &store.destination("copied", "append"), &often);
    let times = if hub.environment.full { 20 } else { 3 };
    let (at, last) = kill_until_done(&hub, &file, Kills { times, rows }, || store.count("copied"));
    assert_eq!(last.expect_success().rows(), rows - at.last().unwrap(), "killed at {at:?}");
    // And out of it again.
    let file =
        hub.pipeline("killed_back", &store.source("copied", true), &in_postgres(&database, "back"), &often);
    let (at, last) = kill_until_done(&hub, &file, Kills { times, rows }, || database.count("back"));
    assert_eq!(last.expect_success().rows(), rows - at.last().unwrap(), "killed at {at:?}");
    assert_eq!(database.differences("lineitem", "back"), 0);
}

#[test]
fn mysql_resumes_inside_the_table_after_each_kill() {
    killed("mysql");
}

#[test]
fn mariadb_resumes_inside_the_table_after_each_kill() {
    killed("mariadb");
}
