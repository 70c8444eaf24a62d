//! By WAL: what the server says of rows, by replica identity, partition and kind of transaction.

use std::{thread, time::Duration};

use hub_tests::{Database, Hub, servers::PostgresRelease, skip};
use serde_json::json;

use crate::{
    check_steps::cluster,
    wal::{content, destination, soon, source, wait_until},
};

/// How many streams of a database are read at the moment.
fn streams(database: &Database) -> u64 {
    database
        .number("select count(*) from pg_replication_slots where active and database = current_database()")
}

#[test]
fn rows_as_they_were_come_as_the_replica_identity_says() {
    let Some(from) = Database::create("wal_identity_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_identity_to") else { return skip("no PostgreSQL") };
    let Some(log) = Database::create("wal_identity_log") else { return skip("no PostgreSQL") };
    from.execute(
        "create table wide (id int primary key, n int, big text); alter table wide replica identity full;
         create table coded (id int primary key, code text not null, n int);
         create unique index by_code on coded (code); alter table coded replica identity using index by_code;
         create table bare (n int, name text); alter table bare replica identity full;
         insert into wide select i, i, (select string_agg(md5(i * 1000 + j || ''), '') from generate_series(1, 200) j)
             from generate_series(1, 4) i;
         insert into coded select i, 'c' || i, i from generate_series(1, 4) i",
    );
    let hub = Hub::new();
    let options = json!({ "tables": ["wide", "coded"] });
    let file = hub.pipeline("identity", &source(&from, options), &destination(&to), &soon());
    let to_log = json!({
        "connector": "postgres", "config": log.config(), "options": { "mode": "append", "create_table": true },
    });
    let options = json!({ "capture": "stream-only" });
    let logged = hub.pipeline("logged", &source(&from, options), &to_log, &soon());
    let (mut running, mut logging) = (hub.spawn(&file), hub.spawn(&logged));
    wait_until(&mut running, "the snapshot", || to.count("wide") == 4 && to.count("coded") == 4);
    wait_until(&mut logging, "both streams", || streams(&from) == 2);
    from.execute(
        "update wide set n = 10 where id = 1; delete from wide where id = 2; update wide set id = 30 where id = 3;
         update coded set n = 10 where id = 1; delete from coded where id = 2;
         update coded set code = 'moved', n = 33 where id = 3;
         insert into bare values (1, 'a'), (1, 'a'); update bare set n = 2; delete from bare where n = 2",
    );
    for table in ["wide", "coded"] {
        wait_until(&mut running, table, || content(&from, table) == content(&to, table));
    }
    wait_until(&mut logging, "the log", || log.count("bare") == 6 && log.count("coded") == 3);
    let lines = |columns: &str, table: &str| {
        let rows = log.rows(&format!("select {columns} from {table} order by __seq"));
        let text = |row: Vec<Option<String>>| {
            row.into_iter().map(|value| value.unwrap_or_else(|| "-".into())).collect::<Vec<_>>().join(" ")
        };
        rows.into_iter().map(text).collect::<Vec<_>>()
    };
    let op = "left(__op, 1)";
    // With FULL the whole row as it was, also a large value that was not touched.
    let wide = format!(
        "{op}, id, n, length(big), __before::jsonb ->> 'id', __before::jsonb ->> 'n', length(__before::jsonb ->> 'big')"
    );
    assert_eq!(lines(&wide, "wide"), ["u 1 10 6400 1 1 6400", "d 2 2 6400 2 2 6400", "u 30 3 6400 3 3 6400"]);
    // With an index its columns, and only where they tell more than the row.
    let coded = format!("{op}, code, n, __before::jsonb ->> 'code', __before::jsonb ->> 'n'");
    assert_eq!(lines(&coded, "coded"), ["u c1 10 - -", "d c2 - - -", "u moved 33 c3 -"]);
    // Without any key a destination can still keep a log.
    let bare = format!("{op}, n, name, __before::jsonb ->> 'n'");
    assert_eq!(lines(&bare, "bare"), ["i 1 a -", "i 1 a -", "u 2 a 1", "u 2 a 1", "d 2 a 2", "d 2 a 2"]);
    running.stop();
    logging.stop();
}

#[test]
fn partitions_arrive_under_their_root_or_under_their_own_names_as_the_publication_says() {
    let Some(from) = Database::create("wal_parts_from") else { return skip("no PostgreSQL") };
    let Some(roots) = Database::create("wal_parts_roots") else { return skip("no PostgreSQL") };
    let Some(leaves) = Database::create("wal_parts_leaves") else { return skip("no PostgreSQL") };
    from.execute(
        "create table p (id int, year int, n int, primary key (id, year)) partition by range (year);
         create table p2023 partition of p for values from (2023) to (2024);
         create table p2024 partition of p for values from (2024) to (2025);
         create publication leaves for table p with (publish_via_partition_root = false);
         insert into p select i, 2023 + i % 2, i from generate_series(1, 10) i",
    );
    let hub = Hub::new();
    let by_root =
        hub.pipeline("roots", &source(&from, json!({ "tables": ["p"] })), &destination(&roots), &soon());
    let options = json!({ "publication": "leaves" });
    let by_leaf = hub.pipeline("leaves", &source(&from, options), &destination(&leaves), &soon());
    let (mut root, mut leaf) = (hub.spawn(&by_root), hub.spawn(&by_leaf));
    wait_until(&mut root, "the root", || roots.count("p") == 10);
    wait_until(&mut leaf, "the leaves", || leaves.count("p2023") == 5 && leaves.count("p2024") == 5);
    wait_until(&mut leaf, "both streams", || streams(&from) == 2);
    // A row that changes its partition, one that is emptied, and one that is new.
    from.execute(
        "update p set n = n + 100 where id = 1; update p set year = 2024 where id = 2; delete from p where id = 3;
         truncate p; insert into p values (21, 2023, 21), (22, 2024, 22); update p set year = 2023 where id = 22;
         create table p2025 partition of p for values from (2025) to (2026); insert into p values (30, 2025, 30)",
    );
    wait_until(&mut root, "all under the root", || content(&from, "p") == content(&roots, "p"));
    for table in ["p2023", "p2024"] {
        wait_until(&mut leaf, table, || content(&from, table) == content(&leaves, table));
    }
    // A partition that came in the middle is not part of the plan: the log says so, and the next run reads it.
    root.stop();
    let log = leaf.stop().stderr;
    assert!(log.contains("Table `public.p2025` is published and not part of the plan"), "{log}");
    let mut leaf = hub.spawn(&by_leaf);
    from.execute("update p set n = 31 where id = 30");
    wait_until(&mut leaf, "the new partition", || content(&from, "p2025") == content(&leaves, "p2025"));
    leaf.stop();
}

#[test]
fn prepared_transactions_arrive_when_they_are_committed_however_large() {
    let settings = [("max_prepared_transactions", "5"), ("logical_decoding_work_mem", "64kB")];
    let Some(server) = cluster(PostgresRelease::Distribution, &settings) else { return };
    {
        let from = Database::create_at(&server.url(), "wal_prepared_from");
        let to = Database::create_at(&server.url(), "wal_prepared_to");
        from.execute("create table t (id int primary key, words text)");
        let hub = Hub::new();
        let options = json!({ "tables": ["t"] });
        let file = hub.pipeline("prepared", &source(&from, options), &destination(&to), &soon());
        let mut running = hub.spawn(&file);
        wait_until(&mut running, "the stream", || streams(&from) == 1);
        let many = |first: u32| {
            format!("insert into t select i, md5(i::text) from generate_series({first}, {first} + 9999) i")
        };
        from.execute("begin; insert into t values (1, 'small'); prepare transaction 'small'");
        from.execute(&format!("begin; {}; prepare transaction 'large'", many(100_000)));
        from.execute(&format!("begin; {}; prepare transaction 'never'", many(200_000)));
        // In parts that are taken back, inside one that is kept.
        from.execute(&format!(
            "begin; {}; savepoint s; {}; rollback to s; update t set words = 'kept' where id = 300000; commit",
            many(300_000),
            many(400_000)
        ));
        wait_until(&mut running, "what was committed", || to.count("t") == 10_000);
        thread::sleep(Duration::from_millis(500));
        assert_eq!(to.count("t"), 10_000, "What is only prepared has not happened");
        // Prepared before a restart, committed behind it.
        running.stop();
        let mut running = hub.spawn(&file);
        from.execute("commit prepared 'small'");
        from.execute("rollback prepared 'never'");
        from.execute("commit prepared 'large'");
        wait_until(&mut running, "what was prepared", || to.count("t") == 20_001);
        assert_eq!(content(&from, "t"), content(&to, "t"));
        running.stop();
        // A slot that sends them when they are prepared is not taken.
        from.execute("select pg_create_logical_replication_slot('two', 'pgoutput', false, true)");
        let options = json!({ "tables": ["t"], "capture": "stream-only", "slot": "two" });
        let run = hub.run(&hub.pipeline("two", &source(&from, options), &destination(&to), &soon()));
        let said = run.stderr;
        assert!(!run.status.success() && said.contains("Slot `two` decodes two-phase commits"), "{said}");
        assert!(said.contains("without `two_phase`"), "{said}");
        from.execute("select pg_drop_replication_slot('two')");
    }
}

#[test]
fn generated_columns_are_left_out_and_said() {
    let Some(from) = Database::create("wal_generated_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_generated_to") else { return skip("no PostgreSQL") };
    from.execute(
        "create table t (id int primary key, n int, twice int generated always as (n * 2) stored);
         insert into t values (1, 1)",
    );
    to.execute("create table t (id int primary key, n int, twice int generated always as (n * 2) stored)");
    let hub = Hub::new();
    let file = hub.pipeline("generated", &source(&from, json!({})), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 1);
    from.execute("insert into t values (2, 2); update t set n = 10 where id = 1");
    // The destination computes it again.
    wait_until(&mut running, "the changes", || content(&from, "t") == content(&to, "t"));
    let log = running.stop().stderr;
    assert!(log.contains("Generated columns of `public.t` are not sent: `twice`"), "{log}");
}
