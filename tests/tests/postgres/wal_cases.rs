//! By WAL: what is hard to apply, what grows while nobody looks, and what stops loudly.

use std::{thread, time::Duration};

use hub_tests::{Database, Hub, skip};
use serde_json::json;

use crate::wal::{destination, soon, source, wait_until};

#[test]
fn moved_keys_swapped_values_and_children_arrive_right() {
    let Some(from) = Database::create("wal_hard_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_hard_to") else { return skip("no PostgreSQL") };
    let tables = "create table big (id int primary key, n int, large text);
        create table seats (id int primary key, guest int, unique (guest) deferrable initially immediate);
        create table rooms (id int primary key, guest int unique);
        create table parents (id int primary key, name text);
        create table children (id int primary key, parent int not null references parents, name text)";
    from.execute(tables);
    to.execute(tables);
    from.execute(
        "insert into big select i, i, (select string_agg(md5(i * 1000 + j || ''), '') from generate_series(1, 200) j)
             from generate_series(1, 5) i;
         insert into seats select i, i from generate_series(1, 10) i;
         insert into rooms select i, i from generate_series(1, 10) i;
         insert into parents values (1, 'one'); insert into children values (1, 1, 'a')",
    );
    let hub = Hub::new();
    let file = hub.pipeline("hard", &source(&from, json!({})), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    let all = ["big", "seats", "rooms", "parents", "children"];
    let state = |database: &Database| -> Vec<_> {
        let digest = |table: &&str| {
            let query = format!("select count(*), md5(string_agg(t::text, ',' order by id)) from {table} t");
            if database.rows(&format!("select 1 where to_regclass('{table}') is not null")).is_empty() {
                return Vec::new();
            }
            database.rows(&query)
        };
        all.iter().map(digest).collect()
    };
    wait_until(&mut running, "the snapshot", || state(&from) == state(&to));
    from.execute("update big set id = 105 where id = 5; update big set id = 104, n = -4 where id = 4");
    from.execute("update seats set guest = 11 - guest");
    from.execute(
        "begin; update rooms set guest = null where id = 1; update rooms set guest = 1 where id = 2;
         update rooms set guest = 2 where id = 1; commit",
    );
    from.execute(
        "begin; insert into parents select i, 'p' || i from generate_series(2, 300) i;
         insert into children select i, 1 + i % 300, 'c' || i from generate_series(2, 900) i; commit;
         begin; update children set parent = 7 where parent = 9; delete from parents where id = 9;
         insert into parents values (9, 'again'); update children set parent = 9 where id = 20; commit;
         begin; delete from children where parent = 11; delete from parents where id = 11; commit",
    );
    wait_until(&mut running, "what is hard", || state(&from) == state(&to));
    running.stop();
}

#[test]
fn wal_is_given_back_while_the_captured_table_is_idle() {
    let Some(from) = Database::create("wal_idle_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_idle_to") else { return skip("no PostgreSQL") };
    from.execute(
        "create table idle (id int primary key); create table busy (id int, filling text);
         insert into idle values (1)",
    );
    let hub = Hub::new();
    let options = json!({ "tables": ["idle"] });
    let file = hub.pipeline("idle", &source(&from, options), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("idle") == 1);
    let unconfirmed = || {
        from.number(
            "select coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), 0)::bigint
             from pg_replication_slots where database = current_database()",
        )
    };
    let confirmed = || {
        from.row(
            "select max(confirmed_flush_lsn)::text from pg_replication_slots
             where database = current_database()",
        )
        .remove(0)
    };
    let mut moved = 0;
    let mut before = confirmed();
    let mut most = 0;
    for _ in 0..8 {
        from.execute("insert into busy select i, repeat(md5(i::text), 20) from generate_series(1, 10000) i");
        // What the other table wrote is given back within seconds, though no change of it is wanted.
        wait_until(&mut running, "the slot to move", || unconfirmed() < 2 << 20);
        most = most.max(unconfirmed());
        moved += u32::from(confirmed() != before);
        before = confirmed();
    }
    assert!(moved >= 8, "The slot moved {moved} times");
    println!("at most {most} bytes of some 64 MB were held back");
    from.execute("insert into idle values (2)");
    wait_until(&mut running, "the change", || to.count("idle") == 2);
    running.stop();
}

#[test]
fn a_snapshot_under_load_and_the_changes_behind_it_make_equal_tables() {
    let Some(from) = Database::create("wal_load_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_load_to") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let rows = if hub.environment.full { 1_000_000 } else { 100_000 };
    from.execute(&format!(
        "create table t (id bigint primary key, n bigint, words text);
         insert into t select i, 0, md5(i::text) from generate_series(1, {rows}) i"
    ));
    let file = hub.pipeline("load", &source(&from, json!({})), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    for turn in 0..60 {
        from.execute(&format!(
            "update t set n = n + 1 where id % 997 = {turn}; delete from t where id % 9973 = {turn};
             insert into t select {rows} + {turn} * 1000 + i, {turn}, 'new' from generate_series(1, 50) i;
             update t set id = -id where id % 4999 = {turn}"
        ));
        thread::sleep(Duration::from_millis(30));
    }
    from.execute("create table done (id int primary key)");
    let digest = "select count(*), sum(id), sum(id * n), md5(string_agg(words, '' order by id)) from t";
    let expected = from.rows(digest);
    wait_until(&mut running, "the last change", || to.count("t") > 0 && to.rows(digest) == expected);
    running.stop();
}

#[test]
fn one_transaction_of_many_rows_needs_little_memory() {
    let Some(from) = Database::create("wal_large_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_large_to") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let rows = if hub.environment.full { 1_000_000 } else { 300_000 };
    from.execute("create table t (id bigint primary key, n bigint, words text)");
    let options = json!({ "capture": "stream-only" });
    let file = hub.pipeline("large", &source(&from, options), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the slot", || {
        from.number(
            "select count(*) from pg_replication_slots where active and database = current_database()",
        ) == 1
    });
    // More than `logical_decoding_work_mem`, so the server sends it before it is committed; a part is taken back.
    from.execute(&format!(
        "begin; insert into t select i, i, md5(i::text) from generate_series(1, {rows}) i;
         savepoint s; update t set n = -1 where id <= {rows} / 3; rollback to s;
         update t set n = n + 1 where id % 10 = 0; commit"
    ));
    let digest = "select count(*), sum(id), sum(n), md5(string_agg(words, '' order by id)) from t";
    let expected = from.rows(digest);
    wait_until(&mut running, "the transaction", || to.count("t") == rows);
    assert_eq!(to.rows(digest), expected);
    let run = running.stop();
    println!("{:.0} MiB at most", run.peak_mib);
    assert!(run.peak_mib < 100.0, "{:.0} MiB", run.peak_mib);
}

#[test]
fn columns_that_come_go_and_change_are_followed() {
    let Some(from) = Database::create("wal_shape_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_shape_to") else { return skip("no PostgreSQL") };
    from.execute("create table t (id int primary key, a int, b text); insert into t values (1, 1, 'x')");
    let hub = Hub::new();
    let file = hub.pipeline("shape", &source(&from, json!({})), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 1);
    // Back and forth, with rows of each shape, also inside one transaction.
    from.execute("alter table t add column c int; insert into t values (2, 2, 'y', 2)");
    from.execute("begin; alter table t drop column c; insert into t values (3, 3, 'z'); commit");
    from.execute("alter table t alter column a type bigint; insert into t values (4, 5000000000, 'w')");
    from.execute("alter table t rename column b to d; insert into t values (5, 5, 'renamed')");
    wait_until(&mut running, "all shapes", || to.count("t") == 5);
    let rows = to.rows("select id, a, b, c, d from t order by id");
    let text = |row: &Vec<Option<String>>| {
        row.iter().map(|value| value.as_deref().unwrap_or("-")).collect::<Vec<_>>().join(" ")
    };
    let rows: Vec<_> = rows.iter().map(text).collect();
    assert_eq!(rows, ["1 1 x - -", "2 2 y 2 -", "3 3 z - -", "4 5000000000 w - -", "5 5 - - renamed"]);
    running.stop();
}

#[test]
fn what_cannot_go_on_stops_with_the_choices() {
    let Some(from) = Database::create("wal_stop_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_stop_to") else { return skip("no PostgreSQL") };
    from.execute(
        "create table t (id int primary key); create table bare (n int); insert into t values (1);
         create publication narrow for table t with (publish = 'insert')",
    );
    let hub = Hub::new();
    let fails = |options: serde_json::Value, name: &str| {
        let mut more = soon();
        more["retry"] = json!({ "attempts": 1 });
        let file = hub.pipeline(name, &source(&from, options), &destination(&to), &more);
        let run = hub.run(&file);
        assert!(!run.status.success(), "{}", run.stdout);
        format!("{}{}", run.stdout, run.stderr)
    };
    let bare = fails(json!({}), "bare");
    assert!(bare.contains("has no replica identity") && bare.contains("REPLICA IDENTITY FULL"), "{bare}");
    let lacking = fails(json!({ "tables": ["bare"], "publication": "narrow" }), "lacking");
    assert!(lacking.contains("does not have table") && lacking.contains("ALTER PUBLICATION"), "{lacking}");
    let absent = fails(json!({ "publication": "absent", "tables": ["t"] }), "absent");
    assert!(absent.contains("Publication `absent` does not exist"), "{absent}");

    // A slot that was dropped is not made again: changes would be missing without a word.
    let options = json!({ "tables": ["t"] });
    let file = hub.pipeline("gone", &source(&from, options.clone()), &destination(&to), &soon());
    let mut running = hub.spawn(&file);
    wait_until(&mut running, "the snapshot", || to.count("t") == 1);
    let slot =
        from.row("select slot_name from pg_replication_slots where database = current_database()").remove(0);
    let active = format!("select count(*) from pg_replication_slots where slot_name = '{slot}' and active");
    wait_until(&mut running, "the stream", || from.number(&active) == 1);
    // Somebody else's consumer.
    let mut second = hub.spawn(&hub.pipeline(
        "second",
        &source(&from, json!({ "tables": ["t"], "capture": "stream-only", "slot": slot })),
        &destination(&to),
        &json!({ "retry": { "attempts": 1 } }),
    ));
    wait_until(&mut running, "the second to end", || second.has_ended());
    let log = second.log();
    assert!(log.contains("is in use"), "{log}");
    running.stop();
    while from.number(&active) > 0 {
        thread::sleep(Duration::from_millis(20));
    }
    from.execute(&format!("select pg_drop_replication_slot('{slot}')"));
    let gone = fails(options, "gone");
    assert!(gone.contains("does not exist any more") && gone.contains("--from-scratch"), "{gone}");

    // From scratch everything is made anew, and the old publication is gone.
    let mut running = hub.spawn_with(&file, &["--from-scratch"]);
    from.execute("insert into t values (2)");
    wait_until(&mut running, "the new generation", || to.count("t") == 2);
    running.stop();
    assert_eq!(from.number("select count(*) from pg_publication where pubname like 'hub_gone%'"), 1);
    let slots = "select count(*) from pg_replication_slots where database = current_database()";
    assert_eq!(from.number(slots), 1);
}

#[test]
fn a_table_that_is_added_later_is_read_without_a_gap() {
    let Some(from) = Database::create("wal_add_from") else { return skip("no PostgreSQL") };
    let Some(to) = Database::create("wal_add_to") else { return skip("no PostgreSQL") };
    from.execute(
        "create table a (id int primary key, n int); create table b (id int primary key, n int);
         insert into a values (1, 1); insert into b select i, i from generate_series(1, 1000) i",
    );
    let hub = Hub::new();
    let pipeline = |tables: &[&str]| {
        let source = source(&from, json!({ "tables": tables }));
        hub.pipeline("add", &source, &destination(&to), &soon())
    };
    let mut running = hub.spawn(&pipeline(&["a"]));
    wait_until(&mut running, "the first table", || to.count("a") == 1);
    running.stop();
    from.execute("update b set n = -n where id < 500; insert into a values (2, 2)");
    let mut running = hub.spawn(&pipeline(&["a", "b"]));
    from.execute("delete from b where id > 900; update b set n = 0 where id < 10");
    let state = |database: &Database, table: &str| {
        database.rows(&format!("select count(*), sum(id), sum(id * n) from {table}"))
    };
    wait_until(&mut running, "both tables", || {
        to.count("b") > 0 && state(&from, "b") == state(&to, "b") && state(&from, "a") == state(&to, "a")
    });
    running.stop();
}
