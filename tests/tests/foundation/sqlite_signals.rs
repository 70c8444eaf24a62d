//! Runs that do not end by themselves.

use std::{
    os::unix::process::ExitStatusExt,
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Checksums, Hub, Kills, kill_until_done, lineitem_in_sqlite};
use serde_json::json;

use crate::sqlite::{count, destination, source};

/// So many rows that a kill hits the middle, and commits so often that it does so with something durable.
const ROWS: u64 = 300_000;

fn often() -> serde_json::Value {
    json!({ "commit": { "rows": 2_000, "every": "1s", "bytes": "64MiB" } })
}

#[test]
fn resumes_inside_the_table_after_each_kill() {
    let hub = Hub::new();
    let rows = if hub.environment.full { 1_000_000 } else { ROWS };
    lineitem_in_sqlite(&hub.environment, &hub.path("source.db"), rows);
    // Appending: a row that came twice would break the primary key.
    let file = hub.pipeline("killed", &source(&hub), &destination(&hub, "append"), &often());
    let times = if hub.environment.full { 10 } else { 3 };
    let to = hub.path("destination.db");
    let (at, last) = kill_until_done(&hub, &file, Kills { times, rows }, || count(&to));
    let last = last.expect_success();
    assert_eq!(last.rows(), rows - at.last().unwrap(), "killed at {at:?}");
    assert_eq!(
        Checksums::in_sqlite(&hub.path("source.db"), "lineitem"),
        Checksums::in_sqlite(&to, "lineitem")
    );
}

#[test]
fn without_a_cursor_nothing_is_visible_until_the_end() {
    let hub = Hub::new();
    lineitem_in_sqlite(&hub.environment, &hub.path("source.db"), ROWS);
    let mut source = source(&hub);
    source["options"].as_object_mut().unwrap().remove("cursor");
    let mut more = often();
    more["allow_duplicates"] = json!(true);
    let file = hub.pipeline("whole", &source, &destination(&hub, "append"), &more);
    let to = hub.path("destination.db");

    let mut running = hub.spawn(&file);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(400) && !running.has_ended() {
        assert!(matches!(count(&to), 0 | ROWS));
        thread::sleep(Duration::from_millis(5));
    }
    assert!(!running.has_ended(), "The run was through before it was killed");
    drop(running);
    assert_eq!(count(&to), 0);

    assert_eq!(hub.run(&file).expect_success().rows(), ROWS);
    assert_eq!(
        Checksums::in_sqlite(&hub.path("source.db"), "lineitem"),
        Checksums::in_sqlite(&to, "lineitem")
    );
}

#[test]
fn a_signal_drains_commits_and_ends_with_its_code() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let hub = Hub::new();
        lineitem_in_sqlite(&hub.environment, &hub.path("source.db"), ROWS);
        let file = hub.pipeline("stopped", &source(&hub), &destination(&hub, "append"), &often());
        let to = hub.path("destination.db");
        let mut running = hub.spawn(&file);
        let started = Instant::now();
        while count(&to) < ROWS / 20 {
            assert!(!running.has_ended() && started.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(1));
        }
        running.signal(signal);
        let stopped = running.wait();
        assert_eq!(stopped.status.code(), Some(code), "{:?} {}", stopped.status.signal(), stopped.stderr);
        let durable = count(&to);
        assert_eq!(stopped.rows(), durable);
        assert!(durable < ROWS, "The run was through before it was stopped");

        assert_eq!(hub.run(&file).expect_success().rows(), ROWS - durable);
        assert_eq!(count(&to), ROWS);
    }
}
