//! The type matrix: every type with its edges arrives as it was, in a table of the same types.

use hub_tests::{Database, Hub, skip};
use serde_json::{Value, json};

use crate::{
    moves::{destination, in_sqlite, source},
    type_groups::{Column, GROUPS, Group, PREPARE},
};

/// Makes a group's table: a key of two columns; of each type one column that may be NULL and one that may not.
fn make(database: &Database, group: &Group) {
    let columns: Vec<String> = group
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            format!(
                "maybe_{index} {declared}, always_{index} {declared} not null",
                declared = column.declared
            )
        })
        .collect();
    database.execute(&format!(
        "create table {} (part text, id integer, {}, primary key (part, id))",
        group.name,
        columns.join(", ")
    ));
    // One row a literal, and one more in which all is NULL that may be.
    let rows = group.columns.iter().map(|column| column.literals.len()).max().unwrap_or(0) + 1;
    for row in 0..rows {
        let values: Vec<String> = group
            .columns
            .iter()
            .map(|column| {
                let quoted = |literal: &str| format!("E'{}'", literal.replace('\\', "\\\\"));
                let maybe = column.literals.get(row).map_or_else(|| "null".into(), |literal| quoted(literal));
                let always = quoted(column.literals.get(row).unwrap_or(&column.literals[0]));
                format!("{maybe}, {always}")
            })
            .collect();
        database.execute(&format!(
            "insert into {} values ('part', {row}, {})",
            group.name,
            values.join(", ")
        ));
    }
}

/// Columns with type, modifier and NOT NULL, and the primary key, as the catalog has them.
fn shape(database: &Database, table: &str) -> Vec<Vec<Option<String>>> {
    database.rows(&format!(
        "select attname, atttypid::regtype, atttypmod, attnotnull, attcollation,
                (select array_position(indkey, attnum) from pg_index where indrelid = attrelid and indisprimary)
         from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 order by attnum"
    ))
}

/// Rows of one table that the other lacks, both ways, compared as PostgreSQL prints them: not every type has `=`.
fn differences(database: &Database, left: &str, right: &str) -> Vec<String> {
    let rows = database.rows(&format!(
        "(select '- ' || l::text from {left} l except all select '- ' || r::text from {right} r)
         union all (select '+ ' || r::text from {right} r except all select '+ ' || l::text from {left} l)"
    ));
    rows.into_iter().flatten().flatten().collect()
}

fn group_source(database: &Database, group: &Group) -> Value {
    let mut source = source(database, group.name, &["part", "id"]);
    if group.as_text.is_some() {
        let columns =
            (0..group.columns.len()).flat_map(|index| [format!("maybe_{index}"), format!("always_{index}")]);
        source["options"]["as_text"] = columns.collect();
    }
    source
}

fn check(hub: &Hub, database: &Database, group: &Group) -> Result<(), String> {
    let copy = format!("{}_copy", group.name);
    let source = group_source(database, group);
    let file = hub.pipeline(group.name, &source, &destination(database, &copy, "append"), &json!({}));
    let run = hub.run(&file);
    if !run.status.success() {
        return Err(run.stderr);
    }
    let differences = differences(database, group.name, &copy);
    if !differences.is_empty() {
        return Err(differences.join("\n"));
    }
    let shapes = (shape(database, group.name), shape(database, &copy));
    if shapes.0 != shapes.1 {
        return Err(format!("was {:?}\nis  {:?}", shapes.0, shapes.1));
    }
    Ok(())
}

#[test]
fn every_type_arrives_as_it_was_in_a_table_of_the_same_shape() {
    let Some(database) = Database::create("types") else { return skip("no PostgreSQL") };
    check_every_type(&database, &[]);
}

/// Copies every group's table within a database, without the types that its server was built without.
pub(crate) fn check_every_type(database: &Database, left_out: &[&str]) {
    let hub = Hub::new();
    database.execute(PREPARE);
    let mut failures = Vec::new();
    for group in GROUPS {
        let columns = group.columns.iter().filter(|column| !left_out.contains(&column.declared)).copied();
        let group = &Group { columns: columns.collect::<Vec<_>>().leak(), ..*group };
        make(database, group);
        if let Err(message) = check(&hub, database, group) {
            failures.push(format!("== {}\n{message}", group.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a value reads as after a stay where only text and numbers are: cast back to its type by PostgreSQL itself.
fn returned(column: &Column, name: &str) -> String {
    if column.is_list {
        // A JSON list may come back as an array, as JSON, or as JSON in a text.
        format!(
            "case when jsonb_typeof(to_jsonb(b.{name})) = 'string' then ((to_jsonb(b.{name}) #>> '{{}}')::jsonb)::text \
             else to_jsonb(b.{name})::text end"
        )
    } else {
        format!("b.{name}::text::{}::text", column.declared)
    }
}

fn original(column: &Column, name: &str) -> String {
    if column.is_list { format!("to_jsonb(a.{name})::text") } else { format!("a.{name}::text") }
}

fn check_there_and_back(hub: &Hub, database: &Database, group: &Group) -> Result<(), String> {
    let there = format!("{}.db", group.name);
    let mut to = in_sqlite(hub, &there);
    to["options"] = json!({ "mode": "append", "table": group.name, "create_table": true });
    let file =
        hub.pipeline(&format!("{}_there", group.name), &group_source(database, group), &to, &json!({}));
    let run = hub.run(&file);
    if !run.status.success() {
        return Err(run.stderr);
    }
    let mut from = in_sqlite(hub, &there);
    from["strategy"] = json!("query");
    let statement = format!("select * from {}", group.name);
    from["options"] = json!({ "statement": statement, "cursor": ["part", "id"] });
    let back = format!("{}_back", group.name);
    let file = hub.pipeline(
        &format!("{}_back", group.name),
        &from,
        &destination(database, &back, "append"),
        &json!({}),
    );
    let run = hub.run(&file);
    if !run.status.success() {
        return Err(run.stderr);
    }
    let mut failures = Vec::new();
    for (index, column) in group.columns.iter().enumerate() {
        for name in [format!("maybe_{index}"), format!("always_{index}")] {
            let (was, is) = (original(column, &name), returned(column, &name));
            let rows = database.rows(&format!(
                "select a.id, {was}, {is} from {table} a full join {back} b on a.part = b.part and a.id = b.id
                 where ({was}) is distinct from ({is}) or a.id is null or b.id is null",
                table = group.name,
            ));
            failures.extend(rows.iter().map(|row| format!("{}: {row:?}", column.declared)));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

#[test]
fn every_value_survives_a_stay_in_an_embedded_database() {
    let Some(database) = Database::create("types_back") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute(PREPARE);
    let mut failures = Vec::new();
    for group in GROUPS.iter().filter(|group| !group.name.starts_with("lists_of_other")) {
        make(&database, group);
        if let Err(message) = check_there_and_back(&hub, &database, group) {
            failures.push(format!("== {}\n{message}", group.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_nan_in_a_declared_decimal_is_refused_and_carried_as_text_on_request() {
    let Some(database) = Database::create("nan") else { return skip("no PostgreSQL") };
    let hub = Hub::new();
    database.execute("create table amounts (id integer primary key, amount numeric(12,2))");
    database.execute("insert into amounts values (1, 1.50), (2, 'NaN'), (3, null)");
    let mut source = source(&database, "amounts", &["id"]);
    let to = destination(&database, "amounts_copy", "append");
    let run = hub.run(&hub.pipeline("nan", &source, &to, &json!({})));
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stderr.contains("amount") && run.stderr.contains("decimals"), "{}", run.stderr);
    assert_eq!(database.count("amounts_copy"), 0);

    source["options"]["decimals"] = json!("text");
    hub.run(&hub.pipeline("nan_as_text", &source, &to, &json!({}))).expect_success();
    assert_eq!(differences(&database, "amounts", "amounts_copy"), Vec::<String>::new());
    assert_eq!(shape(&database, "amounts"), shape(&database, "amounts_copy"));
}
