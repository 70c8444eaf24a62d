//! By Bin Logs where the log is not what it was: purged, reset, or another server's.

use std::{thread, time::Duration};

use hub_tests::{
    Database, Hub,
    servers::{MySqlRelease, MySqlServer},
    skip,
};
use serde_json::json;

use crate::own::{FROM, Own, soon, wait_for_stream, wait_until};

/// A pipeline that stands where `spoil` then takes the log away from: it says so, and begins again when it is told to.
fn begins_again(release: MySqlRelease, settings: &[&str], spoil: impl Fn(&Own), says: &str) {
    let Some(own) = Own::start(release, settings) else { return };
    own.run("create table t (id int primary key, n int); insert into t values (1, 1)");
    let hub = Hub::new();
    let file = own.pipeline(&hub, "spoiled", json!({}));
    let is_same = || own.is_same("t", &["id", "n"], "id > 0");
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", is_same);
    own.run("insert into t values (2, 2)");
    wait_until(&mut running, "a change", is_same);
    running.stop();
    own.run("insert into t values (3, 3)");
    spoil(&own);
    own.run("insert into t values (4, 4)");
    let failed = hub.run(&file);
    assert!(!failed.status.success(), "{}", failed.stdout);
    assert!(failed.stderr.contains(says) && failed.stderr.contains("--from-scratch"), "{}", failed.stderr);
    // Nothing was skipped on the quiet.
    assert!(!is_same());
    let mut running = hub.spawn_with(&file, &["--from-scratch"]);
    wait_until(&mut running, "everything again", is_same);
    own.run("update t set n = 10");
    wait_until(&mut running, "changes behind it", is_same);
    running.stop();
}

fn purge(own: &Own) {
    own.run("flush binary logs; insert into t values (30, 30); flush binary logs");
    let last = own.run("show binary logs").last().and_then(|row| row[0].clone()).unwrap();
    let mut tries = 0;
    // MariaDB keeps what the session of a reader that is gone has not read, until it notices.
    while own.run("show binary logs").len() > 1 {
        own.run(&format!("insert into t values ({}, 0); purge binary logs to '{last}'", 100 + tries));
        tries += 1;
        assert!(tries < 100, "The log cannot be purged");
        thread::sleep(Duration::from_millis(100));
    }
}

fn reset(own: &Own) {
    own.run(if own.connector == "mysql" { "reset binary logs and gtids" } else { "reset master" });
}

#[test]
fn purged_log_of_mysql_stops_the_run_with_the_choice() {
    begins_again(MySqlRelease::MySql, &[], purge, "purged transactions that were not read");
}

#[test]
fn purged_log_of_mysql_without_gtids_stops_the_run_with_the_choice() {
    let settings = ["gtid-mode=OFF", "enforce-gtid-consistency=OFF"];
    begins_again(MySqlRelease::MySql, &settings, purge, "no longer has the file");
}

#[test]
fn purged_log_of_mariadb_stops_the_run_with_the_choice() {
    begins_again(MySqlRelease::MariaDb, &[], purge, "Could not follow the binary log");
}

#[test]
fn reset_log_of_mysql_stops_the_run_with_the_choice() {
    begins_again(MySqlRelease::MySql, &[], reset, "does not have all transactions that were read");
}

#[test]
fn reset_log_of_mariadb_stops_the_run_with_the_choice() {
    begins_again(MySqlRelease::NewMariaDb, &[], reset, "Could not follow the binary log");
}

/// A replica of a server, which logs what it takes over.
fn replica(release: MySqlRelease, primary: &MySqlServer) -> Own {
    let server = MySqlServer::start(release, &["server-id=909"]).unwrap();
    let replica = Own::of(server, release);
    let port = primary.port();
    replica.admin(&match release {
        MySqlRelease::MySql => format!(
            "reset binary logs and gtids; change replication source to source_host = '127.0.0.1', \
             source_port = {port}, source_user = 'hub', source_password = 'only-for-tests', \
             source_auto_position = 1, get_source_public_key = 1; start replica"
        ),
        _ => format!(
            "reset master; set global gtid_slave_pos = ''; change master to master_host = '127.0.0.1', \
             master_port = {port}, master_user = 'hub', master_password = 'only-for-tests', \
             master_use_gtid = slave_pos; start slave"
        ),
    });
    replica
}

/// Changes before and after a replica takes its primary's place: each comes once.
fn fails_over(release: MySqlRelease) {
    let Some(mut primary) = Own::start(release, &[]) else { return };
    let Some(to) = Database::create(&format!("failover_{release:?}").to_lowercase()) else {
        return skip("no PostgreSQL");
    };
    primary.run("create table t (id int primary key, n int)");
    let replica = replica(release, &primary.server);
    let hub = Hub::new();
    let pipeline = |own: &Own| {
        let mut source = own.source(json!({ "snapshot": "never" }));
        source["config"]["server_group"] = json!("shop");
        let destination = json!({
            "connector": "postgres", "strategy": "write", "config": to.config(), "options": { "mode": "append" },
        });
        hub.pipeline("failover", &source, &destination, &soon())
    };
    let mut running = hub.spawn(&pipeline(&primary));
    wait_for_stream(&mut running);
    primary.run("insert into t values (1, 1), (2, 2); update t set n = 20 where id = 2");
    let is_there = || !to.rows("select 1 where to_regclass('t') is not null").is_empty();
    let arrived = |count: u64| is_there() && to.count("t") == count;
    wait_until(&mut running, "changes of the primary", || arrived(3));
    running.stop();
    // Not read from the primary any more.
    primary.run("insert into t values (3, 3); delete from t where id = 1");
    let mut tries = 0;
    while replica.content("t") != primary.content("t") {
        tries += 1;
        assert!(tries < 300, "The replica does not follow: {:?}", replica.admin("show replica status"));
        thread::sleep(Duration::from_millis(100));
    }
    replica.admin(if replica.connector == "mysql" { "stop replica" } else { "stop slave" });
    primary.server.stop();
    replica.admin(&format!("insert into {FROM}.t values (4, 4); update {FROM}.t set n = 30 where id = 3"));
    let mut running = hub.spawn(&pipeline(&replica));
    wait_until(&mut running, "changes of the replica", || arrived(7));
    running.stop();
    let log = to.rows("select __op, id, n from t order by __seq");
    let log: Vec<String> = log
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        log,
        ["insert 1 1", "insert 2 2", "update 2 20", "insert 3 3", "delete 1 1", "insert 4 4", "update 3 30"]
    );
}

#[test]
fn replica_of_mysql_takes_its_primarys_place_without_a_change_lost_or_doubled() {
    fails_over(MySqlRelease::MySql);
}

#[test]
fn replica_of_mariadb_takes_its_primarys_place_without_a_change_lost_or_doubled() {
    fails_over(MySqlRelease::MariaDb);
}

const ROWS: u32 = 60_000;

/// A table that is read again when its server goes: the replica's rows take the place of the rest.
fn rereads_over_a_failover(release: MySqlRelease) {
    let Some(mut primary) = Own::start(release, &[]) else { return };
    let Some(to) = Database::create(&format!("reread_{release:?}").to_lowercase()) else {
        return skip("no PostgreSQL");
    };
    primary.run("create table t (id int primary key, n int, words varchar(300)); create table other (id int primary key)");
    let replica = replica(release, &primary.server);
    primary.run(&format!(
        "insert into t with recursive a as (select 0 as i union all select i + 1 from a where i < 299) \
         select x.i * 200 + y.i, 0, repeat('w', 250) from a x join a y on y.i < 200 where x.i * 200 + y.i < {ROWS}"
    ));
    let hub = Hub::new();
    let pipeline = |own: &Own| {
        let mut source = own.source(json!({ "heartbeat_ms": 300 }));
        source["config"]["server_group"] = json!("shop");
        let destination = json!({
            "connector": "postgres", "strategy": "write", "config": to.config(), "options": { "mode": "apply-changes" },
        });
        hub.pipeline("rereading", &source, &destination, &soon())
    };
    let is_there = || !to.rows("select 1 where to_regclass('t') is not null").is_empty();
    let sums = |own: &Own| own.admin(&format!("select count(*), sum(id), sum(n) from {FROM}.t"));
    let is_same = |own: &Own| is_there() && to.rows("select count(*), sum(id), sum(n) from t") == sums(own);
    let mut running = hub.spawn(&pipeline(&primary));
    wait_until(&mut running, "the snapshot", || is_same(&primary));
    to.rows("with gone as (delete from t where id % 3 = 0 returning 1) select count(*) from gone");
    let spoiled = || {
        to.rows(&format!("select {ROWS} - count(*) from t"))[0][0].clone().unwrap().parse::<u32>().unwrap()
    };
    let before = spoiled();
    hub.call(&["signal", "rereading", "reread", "t", "--wait", "60"]).expect_success();
    wait_until(&mut running, "the first rows again", || spoiled() < before);
    drop(running);
    println!("killed with {} of {before} rows to mend", spoiled());
    assert!(spoiled() > before / 20, "It was killed too late");
    primary
        .run("update t set n = 1 where id % 7 = 0; delete from t where id = 6; insert into other values (1)");
    let mut tries = 0;
    while replica.content("t") != primary.content("t") {
        tries += 1;
        assert!(tries < 300, "The replica does not follow");
        thread::sleep(Duration::from_millis(100));
    }
    replica.admin(if replica.connector == "mysql" { "stop replica" } else { "stop slave" });
    primary.server.stop();
    replica.admin(&format!(
        "update {FROM}.t set n = 2 where id % 11 = 0; insert into {FROM}.t values (-1, 3, '')"
    ));
    let mut running = hub.spawn(&pipeline(&replica));
    wait_until(&mut running, "all rows of the replica", || is_same(&replica));
    replica.admin(&format!("update {FROM}.t set n = 5 where id = 3"));
    wait_until(&mut running, "a change behind them", || is_same(&replica));
    running.stop();
}

#[test]
fn table_of_mysql_that_is_read_again_is_read_from_the_replica_that_takes_over() {
    rereads_over_a_failover(MySqlRelease::MySql);
}

#[test]
fn table_of_mariadb_that_is_read_again_is_read_from_the_replica_that_takes_over() {
    rereads_over_a_failover(MySqlRelease::MariaDb);
}
