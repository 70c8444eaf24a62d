//! By Notification Channel: an outbox that nothing is missed of, and notifications as they are.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use hub_tests::{
    Database, Hub, Run, Running,
    servers::{PostgresCluster, PostgresRelease},
    skip,
};
use serde_json::{Value, json};

use crate::check_steps::{at_port, cluster, with};

const LIMIT: Duration = Duration::from_secs(60);

/// An outbox with a trigger that notifies channel `orders`.
const OUTBOX: &str = "
    create table outbox (id bigint generated always as identity primary key, what text not null);
    create function tell() returns trigger language plpgsql as
        $$begin perform pg_notify('orders', ''); return null; end$$;
    create trigger tell after insert on outbox for each statement execute function tell();";

fn source(database: &Database, options: Value) -> Value {
    let all = with(&json!({ "channels": ["orders"] }), options);
    json!({ "connector": "postgres", "config": database.config(), "strategy": "notify", "options": all })
}

/// Appending: a row that came twice would be there twice.
fn pipeline(hub: &Hub, database: &Database, options: Value) -> PathBuf {
    let options_to = json!({ "mode": "append", "table": "heard", "create_table": true });
    let to = json!({ "connector": "postgres", "config": database.config(), "options": options_to });
    hub.pipeline("notify", &source(database, options), &to, &json!({ "commit": { "every": "50ms" } }))
}

#[track_caller]
fn wait_until(what: &str, running: &mut Running, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(!running.has_ended(), "The run ended before {what}");
        assert!(started.elapsed() < LIMIT, "Not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn stop(running: Running) -> Run {
    running.signal("TERM");
    running.wait()
}

fn ids(database: &Database) -> String {
    if database.count("heard") == 0 {
        return String::new();
    }
    database.row("select coalesce(string_agg(id::text, ',' order by id), '') from heard").remove(0)
}

fn outbox() -> Value {
    json!({ "outbox": "outbox" })
}

#[test]
fn rows_of_an_outbox_arrive_once_from_before_during_and_between_runs() {
    let Some(database) = Database::create("outbox") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    database.execute("insert into outbox (what) select 'before ' || n from generate_series(1, 1000) n");
    let file = pipeline(&hub, &database, outbox());
    let mut running = hub.spawn(&file);
    wait_until("the first rows", &mut running, || database.count("heard") == 1_000);
    for n in 1..=50 {
        database.execute(&format!("insert into outbox (what) values ('during {n}')"));
    }
    let started = Instant::now();
    wait_until("the rows in between", &mut running, || database.count("heard") == 1_050);
    assert!(started.elapsed() < Duration::from_secs(10), "A notification wakes the reader, not the clock");
    let first = stop(running);
    assert!(first.stdout.contains("effectively-once"), "{}", first.stdout);

    database.execute("insert into outbox (what) select 'between' from generate_series(1, 200)");
    let mut running = hub.spawn(&file);
    wait_until("the rows from between the runs", &mut running, || database.count("heard") == 1_250);
    stop(running);
    assert_eq!(database.differences("outbox", "heard"), 0);
}

#[test]
fn a_row_that_is_committed_late_is_waited_for_and_keeps_its_place() {
    let Some(database) = Database::create("outbox_late") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    let mut running = hub.spawn(&pipeline(&hub, &database, outbox()));
    database.execute("insert into outbox (what) values ('first')");
    wait_until("the first row", &mut running, || ids(&database) == "1");

    let late = database.session();
    late.execute("begin; insert into outbox (what) values ('late')");
    database.execute("insert into outbox (what) values ('early')");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(ids(&database), "1", "Row 3 must wait for row 2, whose transaction is open");
    late.execute("commit");
    wait_until("both rows", &mut running, || ids(&database) == "1,2,3");

    // A writer that rolls back holds nobody up afterwards.
    late.execute("begin; insert into outbox (what) values ('never')");
    database.execute("insert into outbox (what) values ('after')");
    late.execute("rollback");
    wait_until("the row behind it", &mut running, || ids(&database) == "1,2,3,5");
    stop(running);
}

#[test]
fn a_key_that_was_drawn_long_before_its_row_is_found_as_a_gap() {
    let Some(database) = Database::create("outbox_gap") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    let file = pipeline(&hub, &database, outbox());
    let mut running = hub.spawn(&file);
    database.execute("insert into outbox (what) values ('one')");
    // The key is drawn in a transaction that takes no lock on the outbox.
    database.execute("select nextval('outbox_id_seq')");
    database.execute("insert into outbox (what) values ('three')");
    wait_until("the row behind the gap", &mut running, || ids(&database) == "1,3");
    stop(running);

    // The gap is remembered over a restart.
    database.execute("insert into outbox (id, what) overriding system value values (2, 'two')");
    let mut running = hub.spawn(&file);
    wait_until("the row in the gap", &mut running, || ids(&database) == "1,2,3");
    stop(running);
    assert_eq!(database.differences("outbox", "heard"), 0);
}

#[test]
fn a_key_that_never_comes_is_given_up_with_a_warning() {
    let Some(database) = Database::create("outbox_given_up") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    let options = json!({ "outbox": "outbox", "gap_wait_ms": 300 });
    let mut running = hub.spawn(&pipeline(&hub, &database, options));
    database.execute("insert into outbox (what) values ('one')");
    database.execute("select nextval('outbox_id_seq') from generate_series(1, 3)");
    database.execute("insert into outbox (what) values ('five')");
    wait_until("the row behind the gap", &mut running, || ids(&database) == "1,5");
    thread::sleep(Duration::from_secs(3));
    database.execute("insert into outbox (id, what) overriding system value values (3, 'too late')");
    database.execute("insert into outbox (what) values ('six')");
    wait_until("the last row", &mut running, || ids(&database) == "1,5,6");
    let run = stop(running);
    assert!(run.stderr.contains("Keys `2 to 4`"), "{}", run.stderr);
}

/// Adds rows in small transactions, some rolled back, and does something to the hub in between.
fn under_load(database: &Database, rounds: u32, mut meanwhile: impl FnMut(u32)) -> u64 {
    for round in 0..rounds {
        for _ in 0..20 {
            database.execute("insert into outbox (what) select 'row' from generate_series(1, 5)");
        }
        database.execute("begin; insert into outbox (what) values ('never'); rollback");
        meanwhile(round);
    }
    database.count("outbox")
}

#[test]
fn sessions_that_are_ended_under_load_cost_no_row_and_double_none() {
    let Some(database) = Database::create("outbox_ended") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    let source_name = "notify_under_load";
    let mut config = database.config();
    config["application_name"] = json!(source_name);
    let mut from = source(&database, outbox());
    from["config"] = config;
    let to = json!({
        "connector": "postgres", "config": database.config(),
        "options": { "mode": "append", "table": "heard", "create_table": true },
    });
    let file = hub.pipeline("ended", &from, &to, &json!({ "commit": { "every": "20ms" } }));
    let mut running = hub.spawn(&file);
    database.execute("insert into outbox (what) values ('first')");
    wait_until("the first row", &mut running, || database.count("heard") > 0);
    let end_sessions = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = '{source_name}'"
    );
    let rows = under_load(&database, 10, |_| database.execute(&end_sessions));
    wait_until("every row", &mut running, || database.count("heard") >= rows);
    let run = stop(running);
    assert_eq!(database.differences("outbox", "heard"), 0);
    assert!(run.stderr.contains("opened again"), "{}", run.stderr);
}

#[test]
fn writers_that_commit_in_any_order_lose_no_row() {
    let Some(database) = Database::create("outbox_writers") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    let file = pipeline(&hub, &database, outbox());
    let mut running = hub.spawn(&file);
    let rounds: u64 = if hub.environment.full { 300 } else { 30 };
    thread::scope(|scope| {
        for writer in 0..6u64 {
            let session = database.session();
            scope.spawn(move || {
                // Transactions of very different lengths; every fifth is rolled back, every seventh draws its key early.
                for round in 0..rounds {
                    let chance = writer * 31 + round * 17;
                    let nap = Duration::from_millis(chance * chance % 23);
                    if chance % 7 == 0 {
                        session.execute("create temporary table if not exists drawn (id bigint); truncate drawn");
                        session.execute("insert into drawn select nextval('public.outbox_id_seq')");
                        thread::sleep(nap);
                        session.execute(
                            "insert into outbox (id, what) overriding system value select id, 'early' from drawn",
                        );
                        continue;
                    }
                    session.execute("begin; insert into outbox (what) values ('first')");
                    thread::sleep(nap);
                    session.execute("insert into outbox (what) select 'more' from generate_series(1, 3)");
                    thread::sleep(nap / 2);
                    session.execute(if chance % 5 == 0 { "rollback" } else { "commit" });
                }
            });
        }
    });
    let rows = database.count("outbox");
    wait_until("every row", &mut running, || database.count("heard") >= rows);
    stop(running);
    assert_eq!(database.differences("outbox", "heard"), 0);
}

#[test]
fn a_hub_that_is_killed_under_load_misses_no_row_and_doubles_none() {
    let Some(database) = Database::create("outbox_killed") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    let file = pipeline(&hub, &database, outbox());
    let mut running = hub.spawn(&file);
    let times = if hub.environment.full { 20 } else { 4 };
    let rows = under_load(&database, times, |round| {
        // `kill -9` at whatever it does.
        thread::sleep(Duration::from_millis(u64::from(round * 37 % 100)));
        running = hub.spawn(&file);
    });
    // The last one may have found the pipeline still locked by the one that was killed.
    if running.has_ended() {
        running = hub.spawn(&file);
    }
    wait_until("every row", &mut running, || database.count("heard") >= rows);
    stop(running);
    assert_eq!(database.differences("outbox", "heard"), 0);
}

#[test]
fn a_server_that_is_restarted_is_found_again() {
    let Some(mut cluster) = cluster(PostgresRelease::Distribution, &[]) else { return };
    let Some(kept) = Database::create("outbox_restarted") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let far = with(&at_port(cluster.port()), json!({ "database": "postgres" }));
    let run_far = |cluster: &PostgresCluster, sql: &str| {
        let other = Database::create_at(&cluster.url(), "aside");
        other.in_postgres(sql);
    };
    run_far(&cluster, OUTBOX);
    let from = json!({
        "connector": "postgres", "config": far, "strategy": "notify",
        "options": { "channels": ["orders"], "outbox": "outbox" },
    });
    let to = json!({
        "connector": "postgres", "config": kept.config(),
        "options": { "mode": "append", "table": "heard", "create_table": true },
    });
    let mut running =
        hub.spawn(&hub.pipeline("restarted", &from, &to, &json!({ "commit": { "every": "20ms" } })));
    for round in 1..=3u64 {
        run_far(&cluster, "insert into outbox (what) select 'row' from generate_series(1, 100)");
        wait_until("the rows before the restart", &mut running, || kept.count("heard") == 200 * round - 100);
        cluster.restart().unwrap();
        run_far(&cluster, "insert into outbox (what) select 'row' from generate_series(1, 100)");
        wait_until("the rows behind the restart", &mut running, || kept.count("heard") == 200 * round);
    }
    stop(running);
    assert_eq!(kept.number("select count(distinct id) from heard"), 600);
}

#[test]
fn a_column_that_is_added_in_mid_stream_is_followed() {
    let Some(database) = Database::create("outbox_shape") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    let mut running = hub.spawn(&pipeline(&hub, &database, outbox()));
    database.execute("insert into outbox (what) values ('one')");
    wait_until("the first row", &mut running, || ids(&database) == "1");
    database.execute("alter table outbox add column price numeric(10,2)");
    database.execute("insert into outbox (what, price) values ('two', 2.50)");
    wait_until("the row with one more column", &mut running, || ids(&database) == "1,2");
    assert_eq!(database.row("select price::text from heard where id = 2"), ["2.50"]);
    stop(running);
}

#[test]
fn columns_that_go_and_change_in_mid_stream_are_followed() {
    let Some(database) = Database::create("outbox_shapes") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    database.execute("alter table outbox add column n int, add column old text, add column at time");
    let mut running = hub.spawn(&pipeline(&hub, &database, outbox()));
    database.execute("insert into outbox (what, n, old, at) values ('one', 1, 'x', '12:00')");
    wait_until("the first row", &mut running, || ids(&database) == "1");
    database.execute("alter table outbox drop column old; insert into outbox (what, n) values ('two', 2)");
    wait_until("the row without a column", &mut running, || ids(&database) == "1,2");
    // What the destination already has of a retyped column stays, and becomes wider with it.
    database.execute("alter table outbox alter n type bigint");
    database.execute("insert into outbox (what, n) values ('three', 3000000000)");
    wait_until("the row with a wider column", &mut running, || ids(&database) == "1,2,3");
    database.execute("alter table outbox rename at to at_time; insert into outbox (what) values ('four')");
    // The key as well, and several changes between two rows.
    database.execute("alter table outbox alter id type int, drop column n, add column n text default 'x'");
    database.execute("alter table outbox drop column n; insert into outbox (what) values ('five')");
    wait_until("the rows after it", &mut running, || ids(&database) == "1,2,3,4,5");
    stop(running);
    let rows = database.rows("select concat_ws(' ', id, what, n, old, at) from heard order by id");
    let rows: Vec<_> = rows.into_iter().flatten().flatten().collect();
    assert_eq!(rows, ["1 one 1 x 12:00:00", "2 two 2", "3 three 3000000000", "4 four", "5 five"]);
}

#[test]
fn an_outbox_whose_keys_begin_anew_stops_the_run_and_loses_no_row() {
    let Some(database) = Database::create("outbox_anew") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(OUTBOX);
    let to = json!({
        "connector": "postgres", "config": database.config(),
        "options": { "mode": "append", "table": "heard", "create_table": true },
    });
    // What was there is gone: nothing comes twice.
    let more = json!({ "commit": { "every": "50ms" }, "allow_duplicates": true });
    let file = hub.pipeline("notify", &source(&database, outbox()), &to, &more);
    let mut running = hub.spawn(&file);
    database.execute("insert into outbox (what) select 'old' from generate_series(1, 5)");
    wait_until("the first rows", &mut running, || ids(&database) == "1,2,3,4,5");
    database.execute("truncate outbox restart identity; insert into outbox (what) values ('new')");
    let said = running.wait().stderr;
    assert!(said.contains("set back from `5` to `1`") && said.contains("--from-scratch"), "{said}");
    // While nothing runs, too.
    let said = hub.run(&file).stderr;
    assert!(said.contains("set back from `5` to `1`"), "{said}");
    database.execute("truncate heard");
    let mut running = hub.spawn_with(&file, &["--from-scratch"]);
    wait_until("the new row", &mut running, || ids(&database) == "1");
    // A table of the same name whose keys cannot be compared with those of the other one.
    database.execute(&format!(
        "begin; drop table outbox; drop function tell; {OUTBOX}
         insert into outbox (what) values ('newest'); commit"
    ));
    let said = running.wait().stderr;
    assert!(said.contains("was dropped and made anew"), "{said}");
    let said = hub.run(&file).stderr;
    assert!(said.contains("was dropped and made anew"), "{said}");
}

#[test]
fn notifications_arrive_as_they_are_sent_while_somebody_listens() {
    let Some(database) = Database::create("payloads") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let channels = json!({ "channels": ["it's \"here\"", "Other"], "payload": "json" });
    let more = json!({ "commit": { "every": "20ms" }, "on_rejected": "dead_letter" });
    let to = json!({
        "connector": "postgres", "config": database.config(),
        "options": { "mode": "append", "table": "heard", "create_table": true },
    });
    let file = hub.pipeline("payloads", &source(&database, channels), &to, &more);
    let mut running = hub.spawn(&file);
    let listening =
        "select count(*) from pg_stat_activity where query like 'LISTEN%' and datname = current_database()";
    wait_until("somebody listens", &mut running, || database.number(listening) > 0);
    database.execute(
        "select pg_notify('it''s \"here\"', json_build_object('n', n, 'text', repeat('ü', 100))::text)
        from generate_series(1, 2000) n",
    );
    database.execute("select pg_notify('Other', repeat('9', 7999)), pg_notify('other', '1'), pg_notify('Other', 'no json')");
    wait_until("every notification", &mut running, || database.count("heard") == 2_001);
    let run = stop(running);
    assert!(run.stdout.contains("at-most-once"), "{}", run.stdout);
    let sums = database.row(
        "select sum((payload->>'n')::int)::text, min(payload->>'text') from heard where channel like 'it%'",
    );
    assert_eq!(sums, ["2001000".to_owned(), "ü".repeat(100)]);
    assert!(run.stdout.contains("\"dead_letters\":1"), "What is no JSON is put aside: {}", run.stdout);

    // What is sent now is gone, as the run said.
    database.execute("select pg_notify('Other', '1')");
    let mut running = hub.spawn(&file);
    wait_until("somebody listens again", &mut running, || database.number(listening) > 0);
    database.execute("select pg_notify('Other', '2')");
    wait_until("the notification", &mut running, || database.count("heard") == 2_002);
    stop(running);
    assert_eq!(database.number("select count(*) from heard where payload::text = '1'"), 0);
}
