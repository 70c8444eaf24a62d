//! By Notification Channel: an outbox that nothing is missed of, and notifications as they are.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Database, Hub, Run, Running, skip};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// An outbox with a trigger that notifies channel `orders`.
const OUTBOX: &str = "
    create table outbox (id bigint generated always as identity primary key, what text not null);
    create function tell() returns trigger language plpgsql as
        $$begin perform pg_notify('orders', ''); return null; end$$;
    create trigger tell after insert on outbox for each statement execute function tell();";

fn source(database: &Database, options: Value) -> Value {
    let mut all = json!({ "channels": ["orders"] });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
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
