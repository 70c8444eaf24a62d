//! By WAL: newer servers, standbys, servers that lost what is needed, and others that are busy beside it.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Database, Hub, servers::PostgresRelease, skip};
use serde_json::{Value, json};

use crate::{
    check_steps::{cluster, with},
    wal::{Over, content, destination, every_kind_of_change_arrives, soon, source, wait_until},
};

/// Fails at once instead of waiting for better times.
fn at_once() -> Value {
    with(&soon(), json!({ "retry": { "attempts": 1, "first_delay": "100ms" } }))
}

#[test]
fn every_kind_of_change_arrives_within_version_18_and_from_there_to_the_older_one() {
    let Some(from) = Database::create_on_18("wal_18_from") else { return skip("no PostgreSQL 18") };
    let Some(to) = Database::create_on_18("wal_18_to") else { return skip("no PostgreSQL 18") };
    every_kind_of_change_arrives(&from, &to);
    let Some(from) = Database::create_on_18("wal_18_old_from") else { return skip("no PostgreSQL 18") };
    let Some(to) = Database::create("wal_18_old_to") else { return skip("no PostgreSQL") };
    every_kind_of_change_arrives(&from, &to);
}

#[test]
fn a_standby_is_decoded_and_the_stream_outlives_its_promotion() {
    let Some(mut primary) = cluster(PostgresRelease::Eighteen, &[]) else { return };
    let Some(to) = Database::create("wal_standby_to") else { return skip("no PostgreSQL") };
    let standby = primary.standby().unwrap();
    let hub = Hub::new();
    let from = Database::create_at(&primary.url(), "wal_standby_from");
    from.execute(
        "create table t (id int primary key, n int); insert into t select i, i from generate_series(1, 100) i;
         create publication hub for table t",
    );
    let mut reading = source(&from, json!({ "publication": "hub" }));
    reading["config"] = with(&from.config(), json!({ "port": standby.port(), "connect_to_replica": true }));
    let file = hub.pipeline("standby", &reading, &destination(&to), &soon());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // An idle primary says nothing of its running transactions, which a new slot waits for.
        let (session, stop) = (from.session(), &stop);
        let over = Over(stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                session.execute("select pg_log_standby_snapshot()");
                thread::sleep(Duration::from_millis(200));
            }
        });
        let mut running = hub.spawn(&file);
        wait_until(&mut running, "the snapshot", || to.count("t") == 100);
        drop(over);
        from.execute("update t set n = -n where id <= 50; insert into t values (101, 101)");
        wait_until(&mut running, "the changes", || content(&from, "t") == content(&to, "t"));

        let expected = content(&from, "t");
        let promoted = Database::at(&standby.url(), from.name());
        wait_until(&mut running, "the standby", || content(&promoted, "t") == expected);
        primary.stop();
        promoted.execute("select pg_promote()");
        promoted.execute("insert into t values (102, 102); delete from t where id = 1");
        wait_until(&mut running, "changes of the new primary", || {
            content(&promoted, "t") == content(&to, "t")
        });
        running.stop();
        promoted.execute("update t set n = 0 where id = 2");
        let mut running = hub.spawn(&file);
        wait_until(&mut running, "changes behind a restart", || content(&promoted, "t") == content(&to, "t"));
        running.stop();
    });
    // Its server is gone: nothing is left to be dropped.
    std::mem::forget(from);
}

#[test]
fn a_promoted_server_without_the_slot_and_one_on_another_time_line_stop_the_pipeline() {
    let Some(mut primary) = cluster(PostgresRelease::Distribution, &[]) else { return };
    let Some(to) = Database::create("wal_failover_to") else { return skip("no PostgreSQL") };
    let standby = primary.standby().unwrap();
    let hub = Hub::new();
    let from = Database::create_at(&primary.url(), "wal_failover_from");
    from.execute("create table t (id int primary key); insert into t values (1)");
    let reading = source(&from, json!({}));
    let file = hub.pipeline("failover", &reading, &destination(&to), &at_once());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 1);
    running.stop();

    let mut refused = reading.clone();
    refused["config"] = with(&from.config(), json!({ "port": standby.port(), "connect_to_replica": true }));
    let run = hub.run(&hub.pipeline("refused", &refused, &destination(&to), &at_once()));
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(!run.status.success() && said.contains("Standbys decode from version 16 on"), "{said}");

    let promoted = Database::at(&standby.url(), from.name());
    let started = Instant::now();
    while content(&promoted, "t").is_empty() {
        assert!(started.elapsed() < Duration::from_secs(30), "The standby does not follow");
        thread::sleep(Duration::from_millis(50));
    }
    primary.stop();
    promoted.execute("select pg_promote()");
    promoted.execute("checkpoint; insert into t values (2)");
    let mut elsewhere = reading;
    elsewhere["config"] = with(&from.config(), json!({ "port": standby.port() }));
    let file = hub.pipeline("failover", &elsewhere, &destination(&to), &at_once());
    let run = hub.run(&file);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(!run.status.success() && said.contains("are of server"), "{said}");
    assert!(said.contains("--from-scratch"), "{said}");
    let mut running = hub.spawn_with(&file, &["--from-scratch"]);
    wait_until(&mut running, "everything again", || to.count("t") == 2);
    running.stop();
    std::mem::forget(from);
}

#[test]
fn a_server_that_was_restored_and_ends_before_the_position_stops_the_pipeline() {
    let Some(mut server) = cluster(PostgresRelease::Distribution, &[]) else { return };
    let Some(to) = Database::create("wal_restored_to") else { return skip("no PostgreSQL") };
    let from = Database::create_at(&server.url(), "wal_restored_from");
    let name = from.name().to_owned();
    from.execute("create table t (id int primary key); insert into t values (1)");
    let hub = Hub::new();
    let file = hub.pipeline("restored", &source(&from, json!({})), &destination(&to), &at_once());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 1);
    running.stop();
    std::mem::forget(from);
    server.stop();
    let kept = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(done.success());
    };
    copy(server.data(), &kept.path().join("data"));
    server.run().unwrap();
    let from = Database::at(&server.url(), &name);
    let mut running = hub.spawn(&file);
    from.execute("insert into t select i from generate_series(2, 1000) i; select pg_switch_wal()");
    wait_until(&mut running, "the changes", || to.count("t") == 1000);
    running.stop();
    drop(from);
    server.stop();
    fs::remove_dir_all(server.data()).unwrap();
    copy(&kept.path().join("data"), server.data());
    server.run().unwrap();
    // The same server by every name, and what it does next has places that were passed already.
    let run = hub.run(&file);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(!run.status.success() && said.contains("The server's WAL ends at"), "{said}");
    assert!(said.contains("restored from a backup") && said.contains("--from-scratch"), "{said}");
}

#[test]
fn a_slot_that_the_server_gave_up_stops_the_pipeline_with_the_choices() {
    let settings = [("max_slot_wal_keep_size", "32MB"), ("max_wal_size", "48MB"), ("min_wal_size", "32MB")];
    let Some(server) = cluster(PostgresRelease::Distribution, &settings) else { return };
    let from = Database::create_at(&server.url(), "wal_lost_from");
    let to = Database::create_at(&server.url(), "wal_lost_to");
    from.execute(
        "create table t (id int primary key); create table filling (words text); insert into t values (1)",
    );
    let hub = Hub::new();
    let options = json!({ "tables": ["t"] });
    let file = hub.pipeline("lost", &source(&from, options), &destination(&to), &at_once());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 1);
    running.stop();
    from.execute("insert into t values (2)");
    let status =
        "select coalesce(max(wal_status), '') from pg_replication_slots where database = current_database()";
    for _ in 0..20 {
        from.execute("insert into filling select repeat(md5(i::text), 30) from generate_series(1, 20000) i");
        from.execute("select pg_switch_wal()");
        from.execute("checkpoint");
        if from.row(status) == ["lost"] {
            break;
        }
    }
    assert_eq!(from.row(status), ["lost"]);
    let run = hub.run(&file);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(!run.status.success() && said.contains("has thrown away WAL"), "{said}");
    assert!(said.contains("--from-scratch") && said.contains("max_slot_wal_keep_size"), "{said}");
    let mut running = hub.spawn_with(&file, &["--from-scratch"]);
    wait_until(&mut running, "everything again", || to.count("t") == 2);
    running.stop();
}

#[test]
fn wal_of_other_databases_and_tables_is_given_back_to_a_role_without_rights() {
    let Some(server) = cluster(PostgresRelease::Distribution, &[]) else { return };
    let from = Database::create_at(&server.url(), "wal_held_from");
    let other = Database::create_at(&server.url(), "wal_held_other");
    let to = Database::create_at(&server.url(), "wal_held_to");
    from.execute(
        "create table idle (id int primary key); create table busy (id int, filling text);
         create publication hub for table idle;
         drop role if exists reader; create role reader login replication password 'a-secret';
         grant select on idle to reader;
         revoke execute on function pg_logical_emit_message(boolean, text, text) from public;
         revoke execute on function pg_logical_emit_message(boolean, text, bytea) from public",
    );
    other.execute("create table busy (id int, filling text)");
    let hub = Hub::new();
    let mut reading = source(&from, json!({ "publication": "hub" }));
    reading["config"] = with(&from.config(), json!({ "username": "reader", "password": "a-secret" }));
    let file = hub.pipeline("held", &reading, &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    let slot = "from pg_replication_slots where database = current_database()";
    wait_until(&mut running, "the stream", || {
        from.number(&format!("select count(*) {slot} and active")) == 1
    });
    // Both what is confirmed and what the server really keeps: the latter moves at checkpoints.
    let behind = |place: &str| {
        from.number(&format!(
            "select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), {place})), 0)::bigint {slot}"
        ))
    };
    for busy in [&other, &from, &other, &from, &other] {
        busy.execute("insert into busy select i, repeat(md5(i::text), 20) from generate_series(1, 20000) i");
        wait_until(&mut running, "the slot to move", || behind("confirmed_flush_lsn") < 1 << 20);
        from.execute("checkpoint");
        wait_until(&mut running, "the WAL to be free", || {
            from.execute("select pg_switch_wal(); checkpoint");
            thread::sleep(Duration::from_millis(200));
            behind("restart_lsn") < 40 << 20
        });
    }
    from.execute("insert into idle values (2)");
    wait_until(&mut running, "the change", || to.count("idle") == 1);
    running.stop();
    drop(from);
}
