//! The connection test: what is about to run out, on servers where it does.

use std::{thread, time::Duration};

use hub_tests::{Database, Hub, servers::PostgresRelease, skip};
use serde_json::json;

use crate::{
    check_steps::{at_port, check, cluster, with},
    wal::{destination, soon, source, wait_until},
};

fn statement() -> serde_json::Value {
    json!({ "statement": "select 1 as one" })
}

#[test]
fn scarce_sessions_are_warned_of() {
    let settings =
        [("max_connections", "10"), ("superuser_reserved_connections", "1"), ("max_wal_senders", "2")];
    let Some(server) = cluster(PostgresRelease::Distribution, &settings) else { return };
    let database = Database::create_at(&server.url(), "scarce");
    let hub = Hub::new();
    let config = database.config();
    assert_eq!(check(&hub, &config, "query", statement()).step("headroom")["status"], "passed");
    // The test's own, and the one that looks: one more is free.
    let _others: Vec<_> = (0..6).map(|_| database.session()).collect();
    for (strategy, options) in [("query", statement()), ("notify", json!({ "channels": ["c"] }))] {
        let steps = check(&hub, &config, strategy, options);
        steps.warning("headroom");
        let hint = steps.step("headroom")["hint"].as_str().unwrap();
        assert!(hint.contains("max_connections"), "{hint}");
    }
}

#[test]
fn a_queue_of_notifications_that_fills_and_idle_slots_that_are_dropped_are_warned_of_on_version_18() {
    let settings = [
        ("max_notify_queue_pages", "64"),
        ("max_slot_wal_keep_size", "10GB"),
        ("idle_replication_slot_timeout", "10min"),
    ];
    let Some(server) = cluster(PostgresRelease::Eighteen, &settings) else { return };
    let database = Database::create_at(&server.url(), "queue");
    database.execute("create table one (id int primary key)");
    let hub = Hub::new();
    let config = database.config();

    let steps = check(&hub, &config, "wal", json!({}));
    let fix = steps.warning("retention");
    assert!(steps.step("retention")["message"].as_str().unwrap().contains("`600` s"), "{steps:?}");
    fix.split("; ").for_each(|statement| database.execute(statement));
    thread::sleep(Duration::from_millis(300));
    check(&hub, &config, "wal", json!({})).expect_passed();

    let channels = json!({ "channels": ["c"] });
    assert_eq!(check(&hub, &config, "notify", channels.clone()).step("headroom")["status"], "passed");
    let listener = database.session();
    listener.execute("listen c");
    listener.execute("begin");
    listener.execute("select 1");
    for n in 0..45 {
        database.execute(&format!("select pg_notify('c', repeat('x', 7900) || {n})"));
    }
    let steps = check(&hub, &config, "notify", channels.clone());
    steps.warning("headroom");
    assert!(steps.step("headroom")["message"].as_str().unwrap().contains("queue"), "{steps:?}");
    listener.execute("rollback");
    drop(listener);
    database.execute("select pg_notify('c', 'last')");
    assert_eq!(check(&hub, &config, "notify", channels).step("headroom")["status"], "passed");
}

#[test]
fn a_slot_that_is_in_use_and_senders_that_are_all_taken_fail_the_test() {
    let Some(server) = cluster(PostgresRelease::Distribution, &[("max_wal_senders", "1")]) else { return };
    let database = Database::create_at(&server.url(), "used");
    let to = Database::create_at(&server.url(), "used_to");
    database.execute("create table one (id int primary key); create publication hub for table one");
    database.execute("select pg_create_logical_replication_slot('mine', 'pgoutput')");
    let hub = Hub::new();
    let config = with(&at_port(server.port()), json!({ "database": database.name() }));
    let options = json!({ "slot": "mine", "publication": "hub", "capture": "stream-only" });
    check(&hub, &config, "wal", options.clone()).step("slots");
    let file = hub.pipeline("used", &source(&database, options.clone()), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    let active = "select count(*) from pg_replication_slots where active";
    wait_until(&mut running, "the stream", || database.number(active) == 1);
    let fix = check(&hub, &config, "wal", options.clone()).fix("permissions");
    assert!(fix.contains("max_wal_senders"), "{fix}");
    running.stop();
    drop((database, to, server));

    let Some(database) = Database::create("used") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("used_to") else { return skip("no PostgreSQL") };
    database.execute("create table one (id int primary key); create publication hub for table one");
    database.execute("select pg_create_logical_replication_slot('hub_test_used', 'pgoutput')");
    let options = json!({ "slot": "hub_test_used", "publication": "hub", "capture": "stream-only" });
    let file = hub.pipeline("in_use", &source(&database, options.clone()), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    let active = format!("{active} and slot_name = 'hub_test_used'");
    wait_until(&mut running, "the stream", || database.number(&active) == 1);
    let steps = check(&hub, &database.config(), "wal", options);
    let step = steps.failed("slots");
    assert_eq!(step["field"], "slot");
    assert!(step["message"].as_str().unwrap().contains("is in use"), "{step}");
    running.stop();
    database.execute("select pg_drop_replication_slot('hub_test_used')");
}

/// Takes a minute of waiting, so it is part of the full run.
#[test]
fn a_standby_that_is_a_minute_behind_is_warned_of() {
    let hub = Hub::new();
    if !hub.environment.full {
        eprintln!("A standby is left behind for a minute with `cargo xtask test --full` only");
        return;
    }
    let Some(primary) = cluster(PostgresRelease::Distribution, &[]) else { return };
    let standby = primary.standby().unwrap();
    let database = Database::create_at(&primary.url(), "behind");
    database.execute("create table one (id int)");
    let behind = Database::at(&standby.url(), "postgres");
    thread::sleep(Duration::from_secs(1));
    behind.execute("select pg_wal_replay_pause()");
    database.execute("insert into one values (1)");
    thread::sleep(Duration::from_secs(61));
    let config = with(&at_port(standby.port()), json!({ "connect_to_replica": true }));
    let steps = check(&hub, &config, "query", statement());
    steps.warning("headroom");
    assert!(steps.step("headroom")["message"].as_str().unwrap().contains("behind its primary"), "{steps:?}");
    behind.execute("select pg_wal_replay_resume()");
}
