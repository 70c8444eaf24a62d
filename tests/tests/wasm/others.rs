//! The strategy is the hub's: functions query every connector that answers queries, with no code of the connector's.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
};

use hub_tests::{Hub, skip};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    guests::{compile_once, guest, hub},
    orders::{count, destination, differences_in_sqlite, in_sqlite, insert, source, sqlite_config},
};

/// Rows enough for many pages.
const ROWS: i64 = 1_000;

/// User, password, host and port of the server that a variable names.
fn login(variable: &str) -> Option<[String; 4]> {
    let url = env::var(variable).ok()?;
    let (login, place) = url.split_once("://")?.1.rsplit_once('@')?;
    let (user, password) = login.split_once(':')?;
    let (host, port) = place.split('/').next()?.rsplit_once(':')?;
    Some([user, password, host, port].map(str::to_owned))
}

/// A database of MySQL or MariaDB, through the vendor's own client; dropped with it.
struct Store {
    client: PathBuf,
    login: [String; 4],
    name: String,
}

impl Store {
    fn create(connector: &str) -> Option<Self> {
        let variable = format!("HUB_TEST_{}", connector.to_uppercase());
        let client = PathBuf::from(env::var_os(format!("{variable}_BIN"))?).join(connector);
        let name = format!("hub_functions_{}", std::process::id());
        let store = Self { client, login: login(&format!("{variable}_URL"))?, name };
        store.call(&format!("create database {}", store.name));
        Some(store)
    }

    fn call(&self, statements: &str) {
        let [user, password, host, port] = &self.login;
        let output = Command::new(&self.client)
            .args(["--no-defaults", "--default-character-set=utf8mb4", "--host", host, "--port", port])
            .args(["--user", user, "--execute", statements])
            .env("MYSQL_PWD", password)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn config(&self) -> Value {
        let [user, password, host, port] = &self.login;
        json!({
            "host": host, "port": port.parse::<u16>().unwrap(), "username": user, "password": password,
            "database": self.name,
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.call(&format!("drop database {}", self.name));
        }
    }
}

/// What a function makes of a server's orders, against what SQLite makes of the same ones.
fn orders_of(connector: &str) {
    let Some(module) = guest("orders-rust") else { return skip("no guests in Rust") };
    let Some(store) = Store::create(connector) else { return skip(&format!("no server of {connector}")) };
    compile_once("orders-rust");
    let name = &store.name;
    store.call(&format!(
        "create table {name}.orders (id bigint primary key, customer text, quantity bigint not null,
                                     cents bigint not null, discount double precision not null) charset utf8mb4;
         use {name}; {}",
        insert(ROWS)
    ));
    for encoding in ["rows", "columns"] {
        let hub = hub();
        let [same, to] = ["same.db", "destination.db"].map(|file| hub.path(file));
        in_sqlite(&same, ROWS);
        let statement =
            "select id, customer, quantity, cents, discount from orders where id > ? order by id limit ?";
        let arguments = json!({ "statement": statement, "page_rows": 150, "encoding": encoding });
        let source = source(connector, &store.config(), &module, &arguments);
        let destination = destination("sqlite", &sqlite_config(&hub, "destination.db"));
        let run = hub.run(&hub.pipeline("others", &source, &destination, &json!({}))).expect_success();
        assert_eq!(run.rows(), count(ROWS), "{connector} by {encoding}");
        assert_eq!(differences_in_sqlite(&same, &to), 0, "{connector} by {encoding}");
    }
}

#[test]
fn a_function_makes_of_mysql_what_sql_makes_of_it() {
    orders_of("mysql");
}

#[test]
fn a_function_makes_of_mariadb_what_sql_makes_of_it() {
    orders_of("mariadb");
}

/// Says one command to Redis, whose answer is one line.
fn say(stream: &mut BufReader<TcpStream>, command: &str) {
    stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    assert!(answer.starts_with(['+', ':']), "{command}: {answer}");
}

fn members_in(hub: &Hub) -> Vec<(i64, String)> {
    let database = Connection::open(hub.path("destination.db")).unwrap();
    let mut statement = database.prepare("select rank, member from result order by rank").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn a_function_pages_through_redis_with_commands() {
    const DATABASE: u8 = 11;
    let Some(module) = guest("members") else { return skip("no guests in Rust") };
    let Some([user, password, host, port]) = login("HUB_TEST_REDIS_URL") else { return skip("no Redis") };
    compile_once("members");
    let mut stream = BufReader::new(TcpStream::connect(format!("{host}:{port}")).unwrap());
    say(&mut stream, &format!("AUTH {user} {password}"));
    say(&mut stream, &format!("SELECT {DATABASE}"));
    say(&mut stream, "FLUSHDB");
    for rank in 0..ROWS {
        say(&mut stream, &format!("ZADD members {} member-{rank:04}", rank * 3));
    }
    let hub = hub();
    let config = json!({
        "host": host, "port": port.parse::<u16>().unwrap(), "username": user, "password": password,
        "database_index": DATABASE,
    });
    let source = source("redis", &config, &module, &json!({ "key": "members", "page_rows": 150 }));
    let destination = destination("sqlite", &sqlite_config(&hub, "destination.db"));
    let run = hub.run(&hub.pipeline("members", &source, &destination, &json!({}))).expect_success();
    assert_eq!(run.rows(), u64::try_from(ROWS).unwrap());
    let expected: Vec<_> = (0..ROWS).map(|rank| (rank, format!("MEMBER-{rank:04}"))).collect();
    assert_eq!(members_in(&hub), expected);

    // What the connector does not speak it refuses by name, through the function.
    let orders = guest("orders-rust").unwrap();
    let source = self::source("redis", &config, &orders, &json!({ "statement": "select 1" }));
    let refused = hub.run(&hub.pipeline("refused", &source, &destination, &json!({})));
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("command"), "{}", refused.stderr);
    say(&mut stream, "FLUSHDB");
}
