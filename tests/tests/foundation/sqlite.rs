//! From one embedded database to another.

use std::path::Path;

use hub_tests::{Checksums, Hub, lineitem_in_sqlite};
use serde_json::{Value, json};

/// Rows enough for many batches and commits.
pub(crate) fn rows(hub: &Hub) -> u64 {
    if hub.environment.full { 1_000_000 } else { 100_000 }
}

/// A source of the whole table, with a cursor.
pub(crate) fn source(hub: &Hub) -> Value {
    json!({
        "connector": "sqlite",
        "config": { "file": hub.path("source.db") },
        "strategy": "query",
        "options": { "statement": "select * from lineitem", "cursor": ["l_orderkey", "l_linenumber"] },
    })
}

/// A destination table of the same name.
pub(crate) fn destination(hub: &Hub, mode: &str) -> Value {
    json!({
        "connector": "sqlite",
        "config": { "file": hub.path("destination.db") },
        "options": { "mode": mode, "table": "lineitem", "create_table": true },
    })
}

/// The rows that are visible; 0 while there is no table.
pub(crate) fn count(file: &Path) -> u64 {
    let open = || -> rusqlite::Result<i64> {
        let database =
            rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(std::time::Duration::from_secs(10))?;
        database.query_row("select count(*) from lineitem", [], |row| row.get(0))
    };
    open().map_or(0, |count| u64::try_from(count).unwrap())
}

#[test]
fn every_row_arrives_once_and_a_second_run_moves_none() {
    let hub = Hub::new();
    let rows = rows(&hub);
    lineitem_in_sqlite(&hub.environment, &hub.path("source.db"), rows);
    let file = hub.pipeline("copy", &source(&hub), &destination(&hub, "append"), &json!({}));

    let first = hub.run(&file).expect_success();
    assert_eq!(first.rows(), rows);
    assert!(first.peak_mib > 0.0 && first.peak_mib < 96.0, "{} MiB", first.peak_mib);
    let [made, arrived] =
        ["source.db", "destination.db"].map(|name| Checksums::in_sqlite(&hub.path(name), "lineitem"));
    assert_eq!(made, arrived);

    let second = hub.run(&file).expect_success();
    assert_eq!(second.rows(), 0);
    assert_eq!(count(&hub.path("destination.db")), rows);
}

#[test]
fn a_later_run_moves_the_rows_that_came_since() {
    let hub = Hub::new();
    lineitem_in_sqlite(&hub.environment, &hub.path("source.db"), 1_000);
    let file = hub.pipeline("grow", &source(&hub), &destination(&hub, "append"), &json!({}));
    assert_eq!(hub.run(&file).expect_success().rows(), 1_000);

    let database = rusqlite::Connection::open(hub.path("source.db")).unwrap();
    let added = database
        .execute("insert into lineitem select 1000000, * from (select l_partkey, l_suppkey, l_linenumber, \
             l_quantity, l_extendedprice, l_discount, l_tax, l_returnflag, l_linestatus, l_shipdate, l_commitdate, \
             l_receiptdate, l_shipinstruct, l_shipmode, l_comment from lineitem where l_orderkey = 1)", [])
        .unwrap();
    drop(database);
    assert_eq!(hub.run(&file).expect_success().rows(), added as u64);
    let [made, arrived] =
        ["source.db", "destination.db"].map(|name| Checksums::in_sqlite(&hub.path(name), "lineitem"));
    assert_eq!(made, arrived);
}

#[test]
fn from_scratch_moves_everything_again() {
    let hub = Hub::new();
    lineitem_in_sqlite(&hub.environment, &hub.path("source.db"), 1_000);
    let file = hub.pipeline("again", &source(&hub), &destination(&hub, "upsert"), &json!({}));
    assert_eq!(hub.run(&file).expect_success().rows(), 1_000);
    let again = hub.call(&["run", "--json", "--from-scratch", &file.to_string_lossy()]).expect_success();
    assert_eq!(again.rows(), 1_000);
    assert_eq!(count(&hub.path("destination.db")), 1_000);
}

#[test]
fn the_columns_keep_their_declared_types_and_the_key() {
    let hub = Hub::new();
    lineitem_in_sqlite(&hub.environment, &hub.path("source.db"), 10);
    let file = hub.pipeline("types", &source(&hub), &destination(&hub, "append"), &json!({}));
    hub.run(&file).expect_success();
    let columns = |name: &str| -> Vec<(String, String, bool, i64)> {
        let database = rusqlite::Connection::open(hub.path(name)).unwrap();
        let mut statement = database
            .prepare("select name, upper(type), \"notnull\", pk from pragma_table_info('lineitem')")
            .unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .unwrap()
            .collect::<rusqlite::Result<Vec<_>>>();
        rows.unwrap()
    };
    assert_eq!(columns("source.db"), columns("destination.db"));
}
