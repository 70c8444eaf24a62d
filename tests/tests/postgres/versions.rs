//! The same on a newer major version.

use hub_tests::{Checksums, Database, Hub, lineitem_in_postgres, skip};
use serde_json::json;

use crate::{
    check_steps::check,
    moves::{KEY, destination, source},
    types::check_every_type,
};

#[test]
fn every_type_arrives_as_it_was_on_version_18() {
    let Some(database) = Database::create_on_18("types") else { return skip("no PostgreSQL 18") };
    // The server of the wheel is built without libxml.
    check_every_type(&database, &["xml"]);
}

#[test]
fn rows_move_within_version_18_and_from_one_version_to_the_other() {
    let Some(old) = Database::create("versions") else { return skip("no PostgreSQL") };
    let Some(new) = Database::create_on_18("versions") else { return skip("no PostgreSQL 18") };
    assert!(new.number("select current_setting('server_version_num')") >= 180_000);
    let hub = Hub::new();
    lineitem_in_postgres(&hub.environment, &old, "lineitem", 20_000);
    let moved = |name: &str, from: &Database, table: &str, to: &Database, copied: &str| {
        let (source, destination) = (source(from, table, &KEY), destination(to, copied, "upsert"));
        let run = hub.run(&hub.pipeline(name, &source, &destination, &json!({}))).expect_success();
        assert_eq!(run.rows(), 20_000);
    };
    moved("forth", &old, "lineitem", &new, "lineitem");
    moved("within", &new, "lineitem", &new, "copied");
    moved("back", &new, "copied", &old, "returned");
    assert_eq!(new.differences("lineitem", "copied"), 0);
    assert_eq!(old.differences("lineitem", "returned"), 0);
    assert_eq!(Checksums::in_postgres(&old, "lineitem"), Checksums::in_postgres(&new, "copied"));
}

#[test]
fn the_connection_test_passes_for_every_strategy_on_version_18() {
    let Some(database) = Database::create_on_18("checks") else { return skip("no PostgreSQL 18") };
    let hub = Hub::new();
    database.execute("create table one (id int primary key)");
    let config = database.config();
    check(&hub, &config, "query", json!({ "statement": "select * from one" })).expect_passed();
    check(&hub, &config, "write", json!({ "table": "one" })).expect_passed();
    check(&hub, &config, "wal", json!({ "tables": ["one"] })).warning("retention");
    check(&hub, &config, "notify", json!({ "channels": ["c"] })).warning("outbox");
}
