//! A million rows, or fewer without `--full`, from and to PostgreSQL.

use hub_tests::{Checksums, Database, Hub, Run, lineitem_in_postgres, lineitem_in_sqlite, skip};
use serde_json::{Value, json};

/// What the process tree may use, in MiB.
const MEMORY_LIMIT: f64 = 96.0;

pub(crate) fn rows(hub: &Hub) -> u64 {
    if hub.environment.full { 1_000_000 } else { 100_000 }
}

/// A source of a whole table, with a cursor where columns are given.
pub(crate) fn source(database: &Database, table: &str, cursor: &[&str]) -> Value {
    let mut options = json!({ "statement": format!("select * from {table}") });
    if !cursor.is_empty() {
        options["cursor"] = json!(cursor);
    }
    json!({ "connector": "postgres", "config": database.config(), "strategy": "query", "options": options })
}

/// A table that the hub makes.
pub(crate) fn destination(database: &Database, table: &str, mode: &str) -> Value {
    let options = json!({ "mode": mode, "table": table, "create_table": true });
    json!({ "connector": "postgres", "config": database.config(), "options": options })
}

pub(crate) fn in_sqlite(hub: &Hub, name: &str) -> Value {
    json!({ "connector": "sqlite", "config": { "file": hub.path(name) } })
}

pub(crate) const KEY: [&str; 2] = ["l_orderkey", "l_linenumber"];

fn assert_small(run: &Run) {
    assert!(run.peak_mib > 0.0 && run.peak_mib < MEMORY_LIMIT, "{:.1} MiB", run.peak_mib);
}

#[test]
fn postgres_to_postgres_keeps_every_row_and_moves_none_twice() {
    let Some(database) = Database::create("moves") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let rows = rows(&hub);
    lineitem_in_postgres(&hub.environment, &database, "lineitem", rows);
    let (source, destination) =
        (source(&database, "lineitem", &KEY), destination(&database, "copied", "append"));
    let file = hub.pipeline("moves", &source, &destination, &json!({}));

    let run = hub.run(&file).expect_success();
    assert_eq!(run.rows(), rows);
    assert_small(&run);
    assert_eq!(Checksums::in_postgres(&database, "lineitem"), Checksums::in_postgres(&database, "copied"));
    assert_eq!(database.differences("lineitem", "copied"), 0);

    let again = hub.run(&file).expect_success();
    assert_eq!(again.rows(), 0);
    assert_eq!(database.count("copied"), rows);
}

#[test]
fn postgres_to_an_embedded_database_and_back_keeps_every_row() {
    let Some(database) = Database::create("there_and_back") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    let rows = rows(&hub);
    lineitem_in_postgres(&hub.environment, &database, "lineitem", rows);
    let mut there = in_sqlite(&hub, "there.db");
    there["options"] = json!({ "mode": "append", "table": "lineitem", "create_table": true });
    let file = hub.pipeline("there", &source(&database, "lineitem", &KEY), &there, &json!({}));
    let run = hub.run(&file).expect_success();
    assert_eq!(run.rows(), rows);
    assert_small(&run);
    let made = Checksums::in_postgres(&database, "lineitem");
    assert_eq!(made, Checksums::in_sqlite(&hub.path("there.db"), "lineitem"));

    let mut back = in_sqlite(&hub, "there.db");
    back["strategy"] = json!("query");
    back["options"] = json!({ "statement": "select * from lineitem", "cursor": KEY });
    let file = hub.pipeline("back", &back, &destination(&database, "returned", "append"), &json!({}));
    let run = hub.run(&file).expect_success();
    assert_eq!(run.rows(), rows);
    assert_small(&run);
    assert_eq!(made, Checksums::in_postgres(&database, "returned"));
    assert_eq!(database.differences("lineitem", "returned"), 0);
}

#[test]
fn upsert_replaces_rows_with_the_same_key() {
    let Some(database) = Database::create("upsert") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    lineitem_in_postgres(&hub.environment, &database, "lineitem", 5_000);
    database.execute("create table copied (like lineitem including all)");
    database.execute("insert into copied select * from lineitem where l_orderkey % 3 = 0");
    database.execute("update copied set l_comment = 'old', l_tax = 9");
    let (source, destination) =
        (source(&database, "lineitem", &KEY), destination(&database, "copied", "upsert"));
    let run = hub.run(&hub.pipeline("upsert", &source, &destination, &json!({}))).expect_success();
    assert_eq!(run.rows(), 5_000);
    assert_eq!(database.differences("lineitem", "copied"), 0);
}

#[test]
fn replace_shows_the_new_rows_in_one_step() {
    let Some(database) = Database::create("replace") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    lineitem_in_sqlite(&hub.environment, &hub.path("from.db"), 5_000);
    lineitem_in_postgres(&hub.environment, &database, "lineitem", 5_000);
    database.execute("create table copied (like lineitem including all)");
    database.execute("insert into copied select * from lineitem limit 100");
    database.execute("update copied set l_orderkey = -l_orderkey");
    let mut source = in_sqlite(&hub, "from.db");
    source["strategy"] = json!("query");
    source["options"] = json!({ "statement": "select * from lineitem" });
    let file = hub.pipeline("replace", &source, &destination(&database, "copied", "replace"), &json!({}));
    assert_eq!(hub.run(&file).expect_success().rows(), 5_000);
    assert_eq!(database.differences("lineitem", "copied"), 0);
}
