//! The connection test: every fault on a real server that has it, mended by the statement that the test prints.

use hub_tests::{
    Database, Hub,
    servers::{NoServer, Pgbouncer, PoolMode, PostgresRelease},
    skip,
};
use serde_json::{Value, json};

use crate::check_steps::{at_port, check, cluster, with};

/// A role without rights, and the config to be it.
fn role(database: &Database, name: &str) -> Value {
    database.execute(&format!("drop role if exists {name}; create role {name} login password 'a-secret'"));
    with(&database.config(), json!({ "username": name, "password": "a-secret" }))
}

fn drop_role(database: &Database, name: &str) {
    database.execute(&format!("drop owned by {name}; drop role {name}"));
}

#[test]
fn each_right_that_a_capture_lacks_is_granted_by_the_statement_that_is_printed() {
    let Some(database) = Database::create("check_wal") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let role_name = "hub_check_wal";
    let config = role(&database, role_name);
    database.execute("create schema \"s \"\" x\"; create table \"s \"\" x\".plain (id int, note text)");
    let tables = json!(["\"s \"\" x\".plain"]);
    let own = json!({ "tables": tables });
    let named = json!({ "tables": tables, "publication": "hub" });

    let fix = check(&hub, &config, "wal", own.clone()).fix("permissions");
    assert_eq!(fix, format!("ALTER ROLE \"{role_name}\" REPLICATION"));
    database.execute(&fix);
    let fix = check(&hub, &config, "wal", own.clone()).fix("permissions");
    assert!(fix.contains("GRANT USAGE ON SCHEMA") && fix.contains("GRANT SELECT ON"), "{fix}");
    database.execute(&fix);
    // Only an owner may publish a table: the statement is for one.
    let fix = check(&hub, &config, "wal", own).fix("publication");
    assert_eq!(fix, check(&hub, &config, "wal", named.clone()).fix("publication"));
    database.execute(&fix);
    let fix = check(&hub, &config, "wal", named.clone()).fix("replica-identity");
    assert!(fix.contains("REPLICA IDENTITY FULL"), "{fix}");
    database.execute(&fix);
    check(&hub, &config, "wal", named.clone()).warning("replica-identity");
    database.execute("alter table \"s \"\" x\".plain add primary key (id)");
    assert_eq!(check(&hub, &config, "wal", named.clone()).step("replica-identity")["status"], "passed");
    let missing = check(&hub, &config, "wal", json!({ "tables": ["nothing"] }));
    assert_eq!(missing.failed("permissions")["field"], "tables");
    drop_role(&database, role_name);
}

#[test]
fn a_publication_of_the_users_own_is_held_against_the_tables() {
    let Some(database) = Database::create("check_publication") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let config = database.config();
    database.execute("create table one (id int primary key); create table two (id int primary key)");
    let options = json!({ "tables": ["one", "two"], "publication": "mine" });
    let publication = || check(&hub, &config, "wal", options.clone());

    let fix = publication().fix("publication");
    database.execute("create publication mine");
    let added = publication().fix("publication");
    assert!(fix.starts_with("CREATE PUBLICATION") && added.starts_with("ALTER PUBLICATION"), "{fix} {added}");
    database.execute("alter publication mine add table one");
    let fix = publication().fix("publication");
    assert_eq!(fix, "ALTER PUBLICATION \"mine\" ADD TABLE \"public\".\"two\"");
    database.execute(&fix);
    publication().step("publication");
    database.execute("alter publication mine set (publish = 'insert')");
    database.execute(&publication().fix("publication"));
    publication().step("publication");

    // What is generated is not sent, unless the publication says so.
    database.execute("alter table one add column twice int generated always as (id * 2) stored");
    check(&hub, &config, "wal", json!({ "tables": ["one"] })).warning("replica-identity");
}

#[test]
fn a_slot_of_the_users_own_is_looked_at() {
    let Some(database) = Database::create("check_slot") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let config = database.config();
    database.execute("create table one (id int primary key)");
    let options = json!({ "slot": "hub_check_slot", "capture": "stream-only" });
    let slot = || check(&hub, &config, "wal", options.clone());
    assert_eq!(slot().failed("slots")["field"], "slot");
    database.execute("select pg_create_logical_replication_slot('hub_check_slot', 'test_decoding')");
    assert!(slot().failed("slots")["message"].as_str().unwrap().contains("test_decoding"));
    database.execute("select pg_drop_replication_slot('hub_check_slot')");
    database.execute("select pg_create_logical_replication_slot('hub_check_slot', 'pgoutput')");
    slot().step("slots");
    database.execute("select pg_drop_replication_slot('hub_check_slot')");
}

#[test]
fn a_server_that_is_not_set_up_for_decoding_is_set_up_by_what_is_printed() {
    let settings = [("wal_level", "replica"), ("max_wal_senders", "0"), ("max_replication_slots", "0")];
    let Some(mut cluster) = cluster(PostgresRelease::Distribution, &settings) else { return };
    let hub = Hub::new();
    let config = at_port(cluster.port());
    {
        let database = Database::create_at(&cluster.url(), "tables");
        database.execute("create table one (id int primary key)");
        let config = with(&config, json!({ "database": database.name() }));
        let fix = check(&hub, &config, "wal", json!({})).fix("wal-level");
        assert_eq!(fix, "ALTER SYSTEM SET wal_level = 'logical'");
        database.execute(&fix);
    }
    cluster.restart().unwrap();
    let database = Database::create_at(&cluster.url(), "slots");
    database.execute("create table one (id int primary key)");
    let config = with(&config, json!({ "database": database.name() }));
    let fix = check(&hub, &config, "wal", json!({})).fix("permissions");
    assert!(fix.contains("max_wal_senders"), "{fix}");
    database.execute(&fix);
    drop(database);
    cluster.restart().unwrap();
    let database = Database::create_at(&cluster.url(), "slots");
    database.execute("create table one (id int primary key)");
    let fix = check(&hub, &config, "wal", json!({})).fix("slots");
    assert!(fix.contains("max_replication_slots"), "{fix}");
    database.execute(&fix);
    drop(database);
    cluster.restart().unwrap();

    // Now it works, with a remark on what may fill the disk.
    let database = Database::create_at(&cluster.url(), "slots");
    database.execute("create table one (id int primary key)");
    let fix = check(&hub, &config, "wal", json!({})).warning("retention");
    assert!(fix.contains("max_slot_wal_keep_size"), "{fix}");
    fix.split("; ").for_each(|statement| database.execute(statement));
    std::thread::sleep(std::time::Duration::from_millis(300));
    check(&hub, &config, "wal", json!({})).expect_passed();
    database.execute("alter system set max_slot_wal_keep_size = '64MB'");
    database.execute("select pg_reload_conf()");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(check(&hub, &config, "wal", json!({})).warning("retention").contains("10GB"));
    database.execute("alter system set max_slot_wal_keep_size = '10GB'");
    database.execute("select pg_reload_conf()");

    // A slot that nobody reads.
    database.execute("select pg_create_logical_replication_slot('left', 'pgoutput')");
    for _ in 0..10 {
        database.execute("select pg_logical_emit_message(false, 'x', 'x')");
        database.execute("select pg_switch_wal()");
    }
    let fix = check(&hub, &config, "wal", json!({})).warning("retention");
    assert_eq!(fix, "SELECT pg_drop_replication_slot('left')");
    database.execute(&fix);
    check(&hub, &config, "wal", json!({})).expect_passed();
}

#[test]
fn an_outbox_that_is_not_there_is_made_by_what_is_printed() {
    let Some(database) = Database::create("check_outbox") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let role_name = "hub_check_outbox";
    let config = role(&database, role_name);
    let options = json!({ "channels": ["it's \"here\""], "outbox": "out \" box", "outbox_key": "no." });
    let outbox = || check(&hub, &config, "notify", options.clone());
    let fix = outbox().fix("access");
    database.execute(&fix);
    outbox().expect_passed();
    database.execute("insert into \"out \"\" box\" (payload) values ('{}')");

    database.execute(&format!("revoke select on \"out \"\" box\" from {role_name}"));
    database.execute(&outbox().fix("permissions"));
    outbox().expect_passed();
    database.execute("drop trigger \"out \"\" box_notify\" on \"out \"\" box\"");
    let fix = outbox().warning("outbox");
    database.execute(&fix);
    outbox().expect_passed();
    database.execute("alter sequence \"out \"\" box_no._seq\" cache 20");
    database.execute(&outbox().fix("outbox"));
    outbox().expect_passed();
    drop_role(&database, role_name);
}

#[test]
fn an_outbox_that_cannot_be_drained_in_order_is_refused() {
    let Some(database) = Database::create("check_keys") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(
        "create table keys (id bigint generated always as identity primary key, maybe int, name text not null,
             plain bigint not null);
         create view seen as table keys",
    );
    let on = |table: &str, key: &str| {
        let options = json!({ "channels": ["c"], "outbox": table, "outbox_key": key });
        check(&hub, &database.config(), "notify", options)
    };
    assert_eq!(on("keys", "none").failed("outbox")["field"], "outbox_key");
    assert_eq!(on("keys", "name").failed("outbox")["field"], "outbox_key");
    assert_eq!(on("seen", "id").failed("outbox")["field"], "outbox");
    database.execute(&on("keys", "maybe").fix("outbox"));
    on("keys", "maybe").warning("outbox");
    let payloads = check(&hub, &database.config(), "notify", json!({ "channels": ["c"] }));
    payloads.warning("outbox");
    let hint = payloads.step("outbox")["hint"].as_str().unwrap();
    assert!(hint.contains("8,000 bytes"), "{hint}");
    // The trigger of another table does not help this one.
    let fix = on("keys", "plain").warning("outbox");
    database.execute(&fix);
    let fix = on("keys", "plain").warning("outbox");
    assert!(fix.starts_with("CREATE INDEX"), "{fix}");
    database.execute(&fix);
    on("keys", "plain").expect_passed();
}

#[test]
fn a_pooler_in_the_path_is_seen_where_it_does_harm() {
    let Some(cluster) = cluster(PostgresRelease::Distribution, &[]) else { return };
    let hub = Hub::new();
    let pooler = |mode| match Pgbouncer::start(cluster.port(), mode) {
        Ok(pooler) => Some(pooler),
        Err(NoServer::Missing(reason)) => {
            skip(&reason);
            None
        }
        Err(NoServer::Broken(reason)) => panic!("{reason}"),
    };
    let query = json!({ "statement": "select 1 as one" });
    let Some(by_transaction) = pooler(PoolMode::Transaction) else { return };
    for (strategy, options) in [
        ("query", query.clone()),
        ("wal", json!({})),
        ("notify", json!({ "channels": ["c"] })),
        ("write", json!({})),
    ] {
        let steps = check(&hub, &at_port(by_transaction.port()), strategy, options);
        assert!(steps.failed("access")["hint"].as_str().unwrap().contains("pooler"), "{steps:?}");
    }
    let Some(by_session) = pooler(PoolMode::Session) else { return };
    let config = at_port(by_session.port());
    check(&hub, &config, "query", query).expect_passed();
    check(&hub, &config, "notify", json!({ "channels": ["c"] })).warning("outbox");
    let steps = check(&hub, &config, "wal", json!({}));
    assert!(steps.failed("permissions")["hint"].as_str().unwrap().contains("Pooler"), "{steps:?}");
}

#[test]
fn what_pg_hba_refuses_says_where_to_look() {
    let Some(cluster) = cluster(PostgresRelease::Distribution, &[]) else { return };
    let hub = Hub::new();
    let options = json!({ "statement": "select 1 as one" });
    let config = at_port(cluster.port());
    cluster.admit("hostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let steps = check(&hub, &config, "query", options.clone());
    assert_eq!(steps.failed("authentication")["field"], "ssl_mode");
    check(&hub, &with(&config, json!({ "ssl_mode": "require" })), "query", options.clone()).expect_passed();
    cluster.admit("host all all 127.0.0.1/32 reject\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let steps = check(&hub, &with(&config, json!({ "ssl_mode": "require" })), "query", options);
    assert!(steps.failed("authentication")["hint"].as_str().unwrap().contains("pg_hba.conf"));
}
