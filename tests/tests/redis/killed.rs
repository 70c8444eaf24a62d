//! Runs that are killed, with a consumer group and without.

use std::{
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Database, Hub, skip};
use serde_json::{Value, json};

use crate::server::Redis;

fn entries(hub: &Hub) -> u64 {
    if hub.environment.full { 200_000 } else { 20_000 }
}

fn kills(hub: &Hub) -> u64 {
    if hub.environment.full { 10 } else { 2 }
}

fn add(redis: &mut Redis, stream: &str, entries: u64) {
    for part in (1..=entries).collect::<Vec<_>>().chunks(5000) {
        let commands: Vec<Vec<String>> = part
            .iter()
            .map(|number| {
                ["XADD", stream, &format!("{number}-0"), "n", &number.to_string()].map(str::to_owned).into()
            })
            .collect();
        redis.ask_all(&commands);
    }
}

fn source(redis: &Redis, options: &Value) -> Value {
    let mut all = json!({ "shape": "fields", "fields": [{ "name": "n", "type": "int64" }] });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    json!({ "connector": "redis", "config": redis.config(), "strategy": "streams", "options": all })
}

/// Commits often, so that kills hit the middle.
fn often() -> Value {
    json!({ "commit": { "rows": 1000, "every": "1s", "bytes": "64MiB" } })
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stream_without_a_group_arrives_once_and_in_order_whatever_is_killed() {
    let Some(mut redis) = Redis::open(5) else { return skip("no Redis") };
    let Some(database) = Database::create("redis_stream") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let (entries, kills) = (entries(&hub), kills(&hub));
    add(&mut redis, "orders", entries);
    let destination = json!({
        "connector": "postgres", "config": database.config(),
        "options": { "mode": "append", "table": "orders", "create_table": true }
    });
    let file =
        hub.pipeline("stream", &source(&redis, &json!({ "streams": ["orders"] })), &destination, &often());
    for kill in 1..=kills {
        let running = hub.spawn(&file);
        wait_until("rows are durable", || database.count("orders") > entries * kill / (kills + 1));
        drop(running);
    }
    let running = hub.spawn(&file);
    wait_until("every row is durable", || database.count("orders") == entries);
    thread::sleep(Duration::from_millis(500));
    running.signal("TERM");
    drop(running.wait());
    // Appending: an entry that came twice would break the primary key.
    assert_eq!(database.count("orders"), entries);
    assert_eq!(database.number("select count(distinct n) from orders"), entries);
    // Rows lie in the table as they were appended.
    assert_eq!(steps_back(&database, "orders"), 0);
}

#[test]
fn three_consumers_of_a_group_are_killed_also_between_commit_and_acknowledgement() {
    let Some(mut redis) = Redis::open(6) else { return skip("no Redis") };
    let Some(database) = Database::create("redis_group") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let (entries, kills) = (entries(&hub), kills(&hub));
    add(&mut redis, "jobs", entries);
    let durable = |database: &Database| (0..3).map(|one| database.count(&format!("jobs{one}"))).sum::<u64>();
    let files: Vec<_> = (0..3)
        .map(|one| {
            let options = json!({
                "streams": ["jobs"], "group": "g", "consumer": format!("c{one}"), "claim_idle_ms": 5000, "count": 500
            });
            let destination = json!({
                "connector": "postgres", "config": database.config(),
                "options": { "mode": "append", "table": format!("jobs{one}"), "key": ["entry_id"], "create_table": true }
            });
            hub.pipeline(&format!("group{one}"), &source(&redis, &options), &destination, &often())
        })
        .collect();
    let mut runs: Vec<_> = files.iter().map(|file| hub.spawn(file)).collect();
    for kill in 1..kills {
        wait_until("rows are durable", || durable(&database) > entries * kill / (kills + 2));
        let victim = usize::try_from(kill % 3).unwrap();
        runs[victim] = hub.spawn(&files[victim]);
    }
    // The last kill lies between a commit and its acknowledgement, for the server refuses those.
    wait_until("rows are durable", || durable(&database) > entries * kills / (kills + 2));
    redis.ask(&["ACL", "SETUSER", "hub", "-xack"]);
    let before = durable(&database);
    wait_until("something was committed", || durable(&database) > before || runs[0].has_ended());
    thread::sleep(Duration::from_millis(300));
    drop(runs);
    redis.ask(&["ACL", "SETUSER", "hub", "+xack"]);
    let pending = redis.ask(&["XPENDING", "jobs", "g"]).list()[0].number();
    assert!(pending > 0, "committed, not acknowledged");

    // The third consumer is dead for good: the others take over what it left.
    let runs: Vec<_> = files[..2].iter().map(|file| hub.spawn(file)).collect();
    wait_until("every entry is at a destination", || distinct(&database) == entries);
    wait_until("none is left pending", || redis.ask(&["XPENDING", "jobs", "g"]).list()[0].number() == 0);
    for run in runs {
        run.signal("TERM");
        drop(run.wait());
    }
    let twice = durable(&database) - entries;
    let back: u64 = tables(&database).iter().map(|table| steps_back(&database, table)).sum();
    println!(
        "{kills} kills: {twice} of {entries} entries are at two destinations, {back} steps back (taken over from others)"
    );
    // At least once: what a consumer had committed and not acknowledged may be at another one too.
    assert!(twice <= pending.unsigned_abs(), "{twice} of {pending}");
}

/// How often an entry stands behind a newer one.
fn steps_back(database: &Database, table: &str) -> u64 {
    database.number(&format!(
        "select count(*) from (select n, lag(n) over (order by ctid) as before from {table}) t where n < before"
    ))
}

/// The destinations' tables. A consumer that was given nothing has made none.
fn tables(database: &Database) -> Vec<String> {
    let is_there = |table: &String| {
        database.number(&format!("select count(*) from pg_tables where tablename = '{table}'")) == 1
    };
    (0..3).map(|one| format!("jobs{one}")).filter(is_there).collect()
}

/// Different entries at the three destinations.
fn distinct(database: &Database) -> u64 {
    let tables: Vec<_> = tables(database).iter().map(|table| format!("select n from {table}")).collect();
    if tables.is_empty() {
        return 0;
    }
    database.number(&format!("select count(distinct n) from ({}) all_of_them", tables.join(" union all ")))
}
