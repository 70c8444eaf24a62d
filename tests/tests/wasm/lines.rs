//! The simplest form of a function: a program that prints one JSON object a line.

use std::{fs, path::Path};

use hub_tests::skip;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    guests::{compile_once, guest, hub},
    orders::{destination, in_sqlite, source, sqlite_config},
};

const GUESTS: [&str; 4] = ["lines-go", "lines-c", "lines-cpp", "lines-assemblyscript"];

/// What the examples print, said in SQL.
const EXPECTED: &str =
    "with recursive numbers(id) as (select 0 union all select id + 1 from numbers where id < 999)
    select id, id * id, id / 2.0, case when id % 10 = 0 then null else 'row ' || id end from numbers";

/// A program small enough to lie here too. Its compiler is the same on every machine, down to the version of its backend,
/// which cannot be said of a distribution's clang.
const COMMITTED: &[u8] = include_bytes!("fixtures/lines-assemblyscript.wasm");

fn run(name: &str, arguments: &Value, columns: Option<Value>) -> Result<(), String> {
    let Some(module) = guest(name) else {
        skip(&format!("no guest `{name}`"));
        return Ok(());
    };
    compile_once(name);
    run_module(name, &module, arguments, columns)
}

fn run_module(name: &str, module: &Path, arguments: &Value, columns: Option<Value>) -> Result<(), String> {
    let hub = hub();
    in_sqlite(&hub.path("source.db"), 1);
    let mut source = source("sqlite", &sqlite_config(&hub, "source.db"), module, arguments);
    if let Some(columns) = columns {
        source["options"]["columns"] = columns;
    }
    let destination = destination("sqlite", &sqlite_config(&hub, "destination.db"));
    let run = hub.run(&hub.pipeline("lines", &source, &destination, &json!({ "allow_duplicates": true })));
    if !run.status.success() {
        return Err(format!("{name}: {}", run.stderr));
    }
    let database = Connection::open(hub.path("destination.db")).unwrap();
    let result = "select id, square, half, name from result";
    let differences: i64 = database
        .query_row(
            &format!(
                "select (select count(*) from (select * from ({EXPECTED}) except {result}))
                      + (select count(*) from ({result} except select * from ({EXPECTED})))"
            ),
            [],
            |row| row.get(0),
        )
        .unwrap();
    match (run.rows(), differences) {
        (1_000, 0) => Ok(()),
        (rows, differences) => Err(format!("{name}: {rows} rows, {differences} of them differ")),
    }
}

#[test]
fn a_programs_lines_become_rows_whether_its_columns_are_declared_or_not() {
    let declared = json!([
        { "name": "id", "type": "integer", "nullable": false },
        { "name": "square", "type": "integer" },
        { "name": "half", "type": "float" },
        { "name": "name", "type": "text" },
    ]);
    let arguments = json!({ "rows": 1000 });
    let mut failures = Vec::new();
    for name in GUESTS {
        failures.extend(run(name, &arguments, None).err());
        failures.extend(run(name, &arguments, Some(declared.clone())).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_line_that_does_not_fit_its_column_stops_the_run_with_its_number() {
    for name in GUESTS {
        let columns = json!([
            { "name": "id", "type": "integer" },
            { "name": "square", "type": "integer" },
            { "name": "half", "type": "float" },
            { "name": "name", "type": "text", "nullable": false },
        ]);
        let error = match guest(name) {
            Some(_) => run(name, &json!({ "rows": 1000 }), Some(columns)).unwrap_err(),
            None => return skip(&format!("no guest `{name}`")),
        };
        assert!(error.contains("Line 1, column `name`"), "{error}");
    }
}

#[test]
fn a_program_that_ends_with_a_failure_stops_the_run_and_says_what_it_printed() {
    for name in ["lines-c", "lines-cpp", "lines-assemblyscript"] {
        match guest(name) {
            Some(_) => {
                let error = run(name, &json!({}), None).unwrap_err();
                assert!(error.contains("The argument `rows` is missing"), "{name}: {error}");
            }
            None => skip(&format!("no guest `{name}`")),
        }
    }
}

#[test]
fn the_committed_program_is_what_its_source_makes() {
    let Some(built) = guest("lines-assemblyscript") else {
        return skip("no guest `lines-assemblyscript`");
    };
    let is_same = fs::read(&built).unwrap() == COMMITTED;
    assert!(is_same, "Copy {} to tests/tests/wasm/fixtures/lines-assemblyscript.wasm", built.display());
}

#[test]
fn the_committed_program_runs_where_no_toolchain_is() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("committed.wasm");
    fs::write(&module, COMMITTED).unwrap();
    assert_eq!(run_module("committed", &module, &json!({ "rows": 1000 }), None), Ok(()));
}
