//! Connect To Replica: rows are read from a standby, which says how far behind it is.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use hub_tests::{Database, Hub, skip};
use serde_json::{Value, json};

use crate::check_steps::{check, with};

/// Primary and standby, by the variables that name them.
const PAIRS: [(&str, &str); 2] = [
    ("HUB_TEST_POSTGRES_URL", "HUB_TEST_POSTGRES_STANDBY_URL"),
    ("HUB_TEST_POSTGRES_18_URL", "HUB_TEST_POSTGRES_18_STANDBY_URL"),
];

/// A database on the primary, and the config to read it from the standby.
fn pair(primary: &str, standby: &str, purpose: &str) -> Option<(Database, Value)> {
    let database = Database::create_at(&env::var(primary).ok()?, purpose);
    let url = env::var(standby).ok()?;
    let (_, rest) = url.rsplit_once(':')?;
    let port: u16 = rest.split('/').next()?.parse().ok()?;
    let config = with(&database.config(), json!({ "port": port, "connect_to_replica": true }));
    Some((database, config))
}

/// Waits until the standby has what the primary has now.
fn replayed(hub: &Hub, config: &Value, statement: &str) {
    let started = Instant::now();
    while check(hub, config, "query", json!({ "statement": statement })).has_failed() {
        assert!(started.elapsed() < Duration::from_secs(30), "The standby does not follow");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn rows_are_read_from_a_standby_which_says_how_far_behind_it_is() {
    let mut found = 0;
    for (primary, standby) in PAIRS {
        let Some((database, config)) = pair(primary, standby, "standby") else { continue };
        found += 1;
        let hub = Hub::new();
        database.execute(
            "create table items as select n as id, 'item ' || n as name from generate_series(1, 20000) n",
        );
        database.execute("alter table items add primary key (id)");
        let statement = "select * from items";
        replayed(&hub, &config, statement);
        let options = json!({ "statement": statement });
        let steps = check(&hub, &config, "query", options);
        let headroom = steps.step("headroom");
        assert!(headroom["message"].as_str().unwrap().contains("replay lag"), "{headroom}");

        let source = json!({
            "connector": "postgres", "config": config, "strategy": "query",
            "options": { "statement": statement, "cursor": ["id"] },
        });
        let to = json!({
            "connector": "postgres", "config": database.config(),
            "options": { "mode": "append", "table": "copied", "create_table": true },
        });
        let file = hub.pipeline("standby", &source, &to, &json!({}));
        assert_eq!(hub.run(&file).expect_success().rows(), 20_000);
        assert_eq!(database.differences("items", "copied"), 0);
        assert_eq!(hub.run(&file).expect_success().rows(), 0);
    }
    if found < PAIRS.len() {
        skip("not both servers have a standby");
    }
}

#[test]
fn what_only_a_primary_can_do_is_refused_on_a_standby() {
    let (primary, standby) = PAIRS[0];
    let Some((database, config)) = pair(primary, standby, "standby_refuses") else {
        return skip("no standby");
    };
    let hub = Hub::new();
    replayed(&hub, &config, "select 1 as one");
    let steps = check(&hub, &config, "notify", json!({ "channels": ["c"] }));
    assert_eq!(steps.failed("access")["field"], "host");
    let steps = check(&hub, &config, "write", json!({ "table": "t" }));
    assert_eq!(steps.failed("access")["field"], "host");
    // Before version 16 a standby decodes nothing.
    if database.number("select current_setting('server_version_num')") < 160_000 {
        let steps = check(&hub, &config, "wal", json!({}));
        assert_eq!(steps.failed("access")["field"], "connect_to_replica");
    }
    // A primary is no standby, which is worth a remark and no more.
    let steps = check(
        &hub,
        &with(&database.config(), json!({ "connect_to_replica": true })),
        "query",
        json!({ "statement": "select 1 as one" }),
    );
    assert_eq!(steps.step("access")["field"], "connect_to_replica");
}

#[test]
fn a_standby_that_decodes_needs_a_publication_of_its_primary() {
    let (primary, standby) = PAIRS[1];
    let Some((database, config)) = pair(primary, standby, "standby_decodes") else {
        return skip("no standby of version 18");
    };
    let hub = Hub::new();
    database.execute("create table items (id int primary key)");
    replayed(&hub, &config, "select * from items");
    let fix = check(&hub, &config, "wal", json!({ "tables": ["items"] })).fix("publication");
    database.execute(&fix);
    let named = json!({ "tables": ["items"], "publication": "hub" });
    let started = Instant::now();
    while check(&hub, &config, "wal", named.clone()).has_failed() {
        assert!(started.elapsed() < Duration::from_secs(30), "The standby does not follow");
        thread::sleep(Duration::from_millis(50));
    }
    let steps = check(&hub, &config, "wal", named);
    let hint = steps.step("slots")["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("pg_log_standby_snapshot"), "{steps:?}");
}
