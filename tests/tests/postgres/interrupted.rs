//! Runs that are killed: with a cursor they resume inside the table, without one nothing is visible before the end.

use std::{
    thread,
    time::{Duration, Instant},
};

use hub_tests::{
    Checksums, Database, Hub, Kills, kill_until_done, lineitem_in_postgres, lineitem_in_sqlite, skip,
};
use serde_json::{Value, json};

use crate::moves::{KEY, destination, in_sqlite, source};

/// So many that a kill hits the middle.
fn rows(hub: &Hub) -> u64 {
    if hub.environment.full { 1_000_000 } else { 300_000 }
}

fn times(hub: &Hub) -> u32 {
    if hub.environment.full { 10 } else { 3 }
}

/// Commits often.
fn often() -> Value {
    json!({ "commit": { "rows": 2_000, "every": "1s", "bytes": "64MiB" } })
}

#[test]
fn postgres_to_postgres_resumes_inside_the_table_after_each_kill() {
    let Some(database) = Database::create("killed") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let rows = rows(&hub);
    lineitem_in_postgres(&hub.environment, &database, "lineitem", rows);
    // Appending: a row that came twice would break the primary key.
    let (source, destination) =
        (source(&database, "lineitem", &KEY), destination(&database, "copied", "append"));
    let file = hub.pipeline("killed", &source, &destination, &often());
    let kills = Kills { times: times(&hub), rows };
    let (at, last) = kill_until_done(&hub, &file, kills, || database.count("copied"));
    assert_eq!(last.expect_success().rows(), rows - at.last().unwrap(), "killed at {at:?}");
    assert_eq!(Checksums::in_postgres(&database, "lineitem"), Checksums::in_postgres(&database, "copied"));
    assert_eq!(database.differences("lineitem", "copied"), 0);
}

#[test]
fn an_embedded_database_to_postgres_resumes_inside_the_table_after_each_kill() {
    let Some(database) = Database::create("killed_from_sqlite") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let rows = rows(&hub);
    lineitem_in_sqlite(&hub.environment, &hub.path("from.db"), rows);
    let mut source = in_sqlite(&hub, "from.db");
    source["strategy"] = json!("query");
    source["options"] = json!({ "statement": "select * from lineitem", "cursor": KEY });
    let file = hub.pipeline("killed", &source, &destination(&database, "copied", "append"), &often());
    let kills = Kills { times: times(&hub), rows };
    let (at, last) = kill_until_done(&hub, &file, kills, || database.count("copied"));
    assert_eq!(last.expect_success().rows(), rows - at.last().unwrap(), "killed at {at:?}");
    assert_eq!(
        Checksums::in_sqlite(&hub.path("from.db"), "lineitem"),
        Checksums::in_postgres(&database, "copied")
    );
}

#[test]
fn without_a_cursor_nothing_is_visible_until_the_end() {
    let Some(database) = Database::create("whole") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let rows = rows(&hub);
    lineitem_in_postgres(&hub.environment, &database, "lineitem", rows);
    let mut more = often();
    more["allow_duplicates"] = json!(true);
    let (source, destination) =
        (source(&database, "lineitem", &[]), destination(&database, "copied", "append"));
    let file = hub.pipeline("whole", &source, &destination, &more);

    let mut running = hub.spawn(&file);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(400) && !running.has_ended() {
        assert!(matches!(database.count("copied"), 0) || running.has_ended());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!running.has_ended(), "The run was through before it was killed");
    drop(running);
    assert_eq!(database.count("copied"), 0);

    assert_eq!(hub.run(&file).expect_success().rows(), rows);
    assert_eq!(Checksums::in_postgres(&database, "lineitem"), Checksums::in_postgres(&database, "copied"));
}
