//! By Bin Logs into PostgreSQL: whatever happens arrives transaction by transaction, whatever is killed or cut.

use std::{env, sync::Arc};

use hub_tests::{
    Database, Hub, Proxy,
    changes::{Equivalence, Fault, MySqlStore, PostgresBesideMySql, PostgresStore, equivalence},
    skip,
};
use serde_json::{Value, json};

/// A server of the area, by the name of its variable.
fn server(variable: &str) -> Option<url_parts::Parts> {
    match env::var(variable) {
        Ok(url) => Some(url_parts::Parts::of(&url)),
        Err(_) => {
            skip(&format!("`{variable}` is not set"));
            None
        }
    }
}

/// `mysql://user:password@host:port/database`.
mod url_parts {
    pub struct Parts {
        pub url: String,
        pub username: String,
        pub password: String,
        pub port: u16,
    }

    impl Parts {
        pub fn of(url: &str) -> Self {
            let rest = url.strip_prefix("mysql://").expect("an address of MySQL");
            let (account, place) = rest.split_once('@').expect("an account");
            let (username, password) = account.split_once(':').expect("a password");
            let port = place.split('/').next().and_then(|place| place.rsplit(':').next());
            Self {
                url: url.to_owned(),
                username: username.to_owned(),
                password: password.to_owned(),
                port: port.and_then(|port| port.parse().ok()).expect("a port"),
            }
        }
    }
}

fn soon() -> Value {
    json!({ "commit": { "every": "50ms" }, "retry": { "first_delay": "100ms" } })
}

fn random_changes(connector: &str, variable: &str, server_id: u32) {
    let Some(from) = server(variable) else { return };
    let Some(to) = Database::create(&format!("{connector}_equivalence")) else {
        return skip("no PostgreSQL");
    };
    let hub = Hub::new();
    let name = format!("equivalence_{}", std::process::id());
    let store = MySqlStore::create(&from.url, &name);
    let (from_way, to_way) = (Proxy::to(from.port), Proxy::to(port_of(&to)));
    let source = json!({
        "connector": connector, "strategy": "binlog", "options": { "snapshot": "never" },
        "config": {
            "host": "127.0.0.1", "port": from_way.port(), "username": from.username, "password": from.password,
            "database": name, "server_id": server_id, "tls_mode": "disabled",
        },
    });
    let mut config = to.config();
    config["port"] = json!(to_way.port());
    let destination = json!({
        "connector": "postgres", "strategy": "write", "config": config, "options": { "mode": "apply-changes" },
    });
    let pipeline = format!("{connector}_equivalence");
    let file = hub.pipeline(&pipeline, &source, &destination, &soon());
    let times = if hub.environment.full { 20 } else { 3 };
    let postgres = env::var("HUB_TEST_POSTGRES_URL").expect("there is a PostgreSQL server");
    let outcome = equivalence(Equivalence {
        hub: &hub,
        file: &file,
        pipeline: &pipeline,
        source: Arc::new(store),
        destination: Arc::new(PostgresBesideMySql(PostgresStore::new(&postgres, to.name()))),
        changes: if hub.environment.full { 100_000 } else { 10_000 },
        kills: times,
        faults: vec![
            Fault::new("the way to the source was cut", times, || {
                from_way.cut();
            }),
            Fault::new("the way to the destination was cut", times, || {
                to_way.cut();
            }),
        ],
        samples: 100,
    });
    println!("{outcome:?}");
    assert!(outcome.states > 5, "The destination was seen in few states: {outcome:?}");
}

fn port_of(database: &Database) -> u16 {
    let port = database.config()["port"].as_u64().expect("a port");
    u16::try_from(port).expect("a port")
}

#[test]
fn random_changes_of_mysql_arrive_whole_whatever_is_killed_or_cut() {
    random_changes("mysql", "HUB_TEST_MYSQL_URL", 7001);
}

#[test]
fn random_changes_of_mariadb_arrive_whole_whatever_is_killed_or_cut() {
    random_changes("mariadb", "HUB_TEST_MARIADB_URL", 7002);
}
