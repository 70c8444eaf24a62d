//! By Bin Logs into PostgreSQL and into the other vendor's server: whatever happens arrives transaction by transaction,
//! whatever is killed, restarted or cut.

use std::{cell::RefCell, sync::Arc, thread, time::Duration};

use hub_tests::{
    Hub, Proxy,
    changes::{Equivalence, Fault, MySqlStore, PostgresBesideMySql, PostgresStore, Store, equivalence},
    servers::{MySqlRelease, MySqlServer, NoServer, PostgresCluster, PostgresRelease},
    skip,
};
use serde_json::{Value, json};

/// The pipeline, and the database on servers that have more than one.
const NAME: &str = "equivalence";
/// The number that the program follows under.
const SERVER_ID: u32 = 7001;

/// A server that can be stopped and started.
enum Server {
    MySql(RefCell<MySqlServer>),
    Postgres(RefCell<PostgresCluster>),
}

impl Server {
    fn mysql(release: MySqlRelease) -> Option<Self> {
        there(MySqlServer::start(release, &[])).map(|server| Self::MySql(RefCell::new(server)))
    }

    fn postgres() -> Option<Self> {
        let started = PostgresCluster::start(PostgresRelease::Distribution, &[]);
        there(started).map(|server| Self::Postgres(RefCell::new(server)))
    }

    fn port(&self) -> u16 {
        match self {
            Self::MySql(server) => server.borrow().port(),
            Self::Postgres(server) => server.borrow().port(),
        }
    }

    fn stop(&self) {
        match self {
            Self::MySql(server) => server.borrow_mut().stop(),
            Self::Postgres(server) => server.borrow_mut().stop(),
        }
    }

    fn run(&self) -> Result<(), NoServer> {
        match self {
            Self::MySql(server) => server.borrow_mut().run(),
            Self::Postgres(server) => server.borrow_mut().run(),
        }
    }

    fn restart(&self) {
        self.stop();
        // A server that had to be killed leaves processes that take a moment to notice.
        let mut tries = 0;
        while let Err(reason) = self.run() {
            tries += 1;
            assert!(tries < 40, "The server does not come back: {reason}");
            thread::sleep(Duration::from_millis(250));
        }
    }

    /// What the program is told to reach it over another port.
    fn config(&self, port: u16) -> Value {
        let mut config =
            json!({ "host": "127.0.0.1", "port": port, "username": "hub", "password": "only-for-tests" });
        match self {
            Self::MySql(_) => {
                config["database"] = json!(NAME);
                config["tls_mode"] = json!("disabled");
                config["server_id"] = json!(SERVER_ID);
            }
            Self::Postgres(_) => config["database"] = json!("postgres"),
        }
        config
    }

    /// Where changes are made or arrive.
    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::MySql(server) => Arc::new(MySqlStore::create(&server.borrow().url(), NAME)),
            Self::Postgres(server) => {
                Arc::new(PostgresBesideMySql(PostgresStore::new(&server.borrow().url(), "postgres")))
            }
        }
    }
}

fn there<S>(started: Result<S, NoServer>) -> Option<S> {
    match started {
        Ok(server) => Some(server),
        Err(NoServer::Missing(reason)) => {
            skip(&reason);
            None
        }
        Err(NoServer::Broken(reason)) => panic!("{reason}"),
    }
}

/// Random changes on one side, all of them on the other, and every fault `times` times.
fn random_changes(source: &str, from: Option<Server>, destination: &str, to: Option<Server>) {
    let (Some(from), Some(to)) = (from, to) else { return };
    let hub = Hub::new();
    let times = if hub.environment.full { 20 } else { 3 };
    let (source_store, destination_store) = (from.store(), to.store());
    // The program goes through ways that can be cut; whoever compares does not.
    let (from_way, to_way) = (Proxy::to(from.port()), Proxy::to(to.port()));
    let source = json!({
        "connector": source, "strategy": "binlog", "config": from.config(from_way.port()),
        "options": { "snapshot": "never" },
    });
    let destination = json!({
        "connector": destination, "strategy": "write", "config": to.config(to_way.port()),
        "options": { "mode": "apply-changes" },
    });
    let soon = json!({ "commit": { "every": "50ms" }, "retry": { "first_delay": "100ms" } });
    let file = hub.pipeline(NAME, &source, &destination, &soon);
    let outcome = equivalence(Equivalence {
        hub: &hub,
        file: &file,
        pipeline: NAME,
        source: source_store,
        destination: destination_store,
        changes: if hub.environment.full { 200_000 } else { 20_000 },
        kills: times,
        faults: vec![
            Fault::new("the source was restarted", times, || from.restart()),
            Fault::new("the destination was restarted", times, || to.restart()),
            Fault::new("the way to the source was cut", times, || {
                from_way.cut();
            }),
            Fault::new("the way to the destination was cut", times, || {
                to_way.cut();
            }),
        ],
        samples: 200,
    });
    println!("{outcome:?}");
    assert!(outcome.states >= 4 * times as usize, "The destination was seen in few states: {outcome:?}");
}

#[test]
fn random_changes_of_mysql_arrive_whole_in_postgres() {
    random_changes("mysql", Server::mysql(MySqlRelease::MySql), "postgres", Server::postgres());
}

#[test]
fn random_changes_of_mariadb_arrive_whole_in_postgres() {
    random_changes("mariadb", Server::mysql(MySqlRelease::MariaDb), "postgres", Server::postgres());
}

#[test]
fn random_changes_of_mysql_arrive_whole_in_mariadb() {
    let to = Server::mysql(MySqlRelease::NewMariaDb);
    random_changes("mysql", Server::mysql(MySqlRelease::MySql), "mariadb", to);
}

#[test]
fn random_changes_of_mariadb_arrive_whole_in_mysql() {
    let from = Server::mysql(MySqlRelease::NewMariaDb);
    random_changes("mariadb", from, "mysql", Server::mysql(MySqlRelease::MySql));
}
