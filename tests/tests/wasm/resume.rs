//! A function that is killed between two pages goes on from its last position: no row is lost, none comes twice.

use std::{
    thread,
    time::{Duration, Instant},
};

use hub_tests::{Database, Hub, skip};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::{
    guests::{compile_once, guest, hub},
    orders::{count, destination, differences_in_sqlite, in_postgres, in_sqlite, source, sqlite_config},
};

/// Few enough to be quick, and many pages.
const ROWS: i64 = 600;
const PAGE_ROWS: i64 = 20;

const GUESTS: [&str; 5] = ["orders-rust", "orders-c", "orders-go", "orders-python", "orders-js"];

/// Commits after every page.
fn often() -> Value {
    json!({ "commit": { "rows": 1, "every": "1s", "bytes": "64MiB" } })
}

/// Runs a pipeline, kills it in the middle, and runs it to its end. The rows that were durable at the kill, and those
/// that the second run moved.
fn killed(hub: &Hub, file: &std::path::Path, durable: impl Fn() -> u64) -> (u64, u64) {
    let mut running = hub.spawn(file);
    let started = Instant::now();
    while durable() < count(ROWS) / 4 {
        if running.has_ended() {
            let run = running.wait();
            panic!("The run ended before it was killed\n{}", run.stderr);
        }
        assert!(started.elapsed() < Duration::from_secs(120), "Only {} rows are durable", durable());
        thread::sleep(Duration::from_millis(1));
    }
    drop(running);
    // The server may still end the killed client's last transaction.
    thread::sleep(Duration::from_millis(300));
    let at = durable();
    assert!(at < count(ROWS), "The run was through before it was killed");
    (at, hub.run(file).expect_success().rows())
}

#[test]
fn every_language_goes_on_in_postgres_after_a_kill_between_two_pages() {
    let Some(database) = Database::create("wasm_resume") else { return skip("no PostgreSQL") };
    in_postgres(&database, ROWS);
    // Each page takes its time, so that a kill hits the middle.
    let statement = "select id, customer, quantity, cents, discount
                     from orders, (select pg_sleep(0.03) from (select 1) one) slow
                     where id > $1 order by id limit $2";
    for name in GUESTS {
        let Some(module) = guest(name) else {
            skip(&format!("no guest `{name}`"));
            continue;
        };
        compile_once(name);
        database.execute("drop table if exists result");
        let hub = hub();
        let config = database.config();
        let arguments = json!({ "statement": statement, "page_rows": PAGE_ROWS });
        let source = source("postgres", &config, &module, &arguments);
        // The destination remembers a pipeline by its name.
        let file =
            hub.pipeline(&format!("killed-{name}"), &source, &destination("postgres", &config), &often());
        let (at, moved) = killed(&hub, &file, || database.count("result"));
        assert_eq!(at + moved, count(ROWS), "{name}: killed at {at}");
        assert_eq!(database.differences("expected", "result"), 0, "{name}");
    }
}

#[test]
fn every_language_goes_on_in_sqlite_after_a_kill_between_two_pages() {
    // Each page counts far, as this database has no way to sleep.
    let statement = "with recursive slow(n) as (select 1 union all select n + 1 from slow where n < 60000)
                     select id, customer, quantity, cents, discount
                     from orders, (select count(*) from slow)
                     where id > $1 order by id limit $2";
    for name in GUESTS {
        let Some(module) = guest(name) else {
            skip(&format!("no guest `{name}`"));
            continue;
        };
        compile_once(name);
        let hub = hub();
        let [from, to] = ["source.db", "destination.db"].map(|file| hub.path(file));
        in_sqlite(&from, ROWS);
        let arguments = json!({ "statement": statement, "page_rows": PAGE_ROWS });
        let source = source("sqlite", &sqlite_config(&hub, "source.db"), &module, &arguments);
        let destination = destination("sqlite", &sqlite_config(&hub, "destination.db"));
        let file = hub.pipeline("killed", &source, &destination, &often());
        let (at, moved) = killed(&hub, &file, || rows_in(&to));
        assert_eq!(at + moved, count(ROWS), "{name}: killed at {at}");
        assert_eq!(differences_in_sqlite(&from, &to), 0, "{name}");
    }
}

/// The rows of the table `result`; 0 while there is none.
fn rows_in(file: &std::path::Path) -> u64 {
    let open = || -> rusqlite::Result<i64> {
        let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(Duration::from_secs(10))?;
        database.query_row("select count(*) from result", [], |row| row.get(0))
    };
    open().map_or(0, |count| u64::try_from(count).unwrap())
}
