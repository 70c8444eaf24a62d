//! The same cases on the examples of all SDKs: what a guest makes of a table equals what SQL makes of it.

use hub_tests::{Database, Run, skip};
use serde_json::{Value, json};

use crate::{
    guests::{compile_once, guest, hub},
    orders::{
        CASES, STATEMENT, count, destination, differences_in_sqlite, in_postgres, in_sqlite, source,
        sqlite_config,
    },
};

/// Rows enough for many pages.
const ROWS: i64 = 2_000;

fn arguments(encoding: &str) -> Value {
    json!({ "statement": STATEMENT, "page_rows": 150, "encoding": encoding })
}

fn check(guest: &str, encoding: &str, run: &Run, differences: u64) -> Result<(), String> {
    if !run.status.success() {
        return Err(format!("{guest} by {encoding}: {}\n{}", run.status, run.stderr));
    }
    match (run.rows(), differences) {
        (rows, 0) if rows == count(ROWS) => Ok(()),
        (rows, differences) => {
            Err(format!("{guest} by {encoding}: {rows} rows, {differences} of them differ"))
        }
    }
}

#[test]
fn every_language_makes_of_postgres_what_sql_makes_of_it() {
    let Some(database) = Database::create("wasm_golden") else { return skip("no PostgreSQL") };
    in_postgres(&database, ROWS);
    let mut failures = Vec::new();
    for (name, encoding) in CASES {
        let Some(module) = guest(name) else {
            skip(&format!("no guest `{name}`"));
            continue;
        };
        compile_once(name);
        database.execute("drop table if exists result");
        let hub = hub();
        let config = database.config();
        let source = source("postgres", &config, &module, &arguments(encoding));
        // The destination remembers a pipeline by its name.
        let name_of_run = format!("golden-{name}-{encoding}");
        let file = hub.pipeline(&name_of_run, &source, &destination("postgres", &config), &json!({}));
        let run = hub.run(&file);
        let differences = if run.status.success() { database.differences("expected", "result") } else { 0 };
        failures.extend(check(name, encoding, &run, differences).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_language_makes_of_sqlite_what_sql_makes_of_it() {
    let mut failures = Vec::new();
    for (name, encoding) in CASES {
        let Some(module) = guest(name) else {
            skip(&format!("no guest `{name}`"));
            continue;
        };
        compile_once(name);
        let hub = hub();
        let [from, to] = ["source.db", "destination.db"].map(|file| hub.path(file));
        in_sqlite(&from, ROWS);
        let source = source("sqlite", &sqlite_config(&hub, "source.db"), &module, &arguments(encoding));
        let destination = destination("sqlite", &sqlite_config(&hub, "destination.db"));
        let file = hub.pipeline("golden", &source, &destination, &json!({}));
        let run = hub.run(&file);
        let differences = if run.status.success() { differences_in_sqlite(&from, &to) } else { 0 };
        failures.extend(check(name, encoding, &run, differences).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_failure_of_the_database_reaches_the_user_through_every_language() {
    let mut failures = Vec::new();
    for (name, encoding) in CASES {
        let Some(module) = guest(name) else {
            skip(&format!("no guest `{name}`"));
            continue;
        };
        compile_once(name);
        let hub = hub();
        in_sqlite(&hub.path("source.db"), 1);
        let arguments = json!({ "statement": "select id from no_such_table", "encoding": encoding });
        let source = source("sqlite", &sqlite_config(&hub, "source.db"), &module, &arguments);
        let destination = destination("sqlite", &sqlite_config(&hub, "destination.db"));
        let run = hub.run(&hub.pipeline("failing", &source, &destination, &json!({})));
        if run.status.code() != Some(1) || !run.stderr.contains("no_such_table") {
            failures.push(format!("{name} by {encoding}: {}\n{}", run.status, run.stderr));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
