//! The table that the examples of all SDKs read, and what they make of it, said in SQL.

use std::{fmt::Write, path::Path};

use hub_tests::{Database, Hub};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// Reads a page: the same text for both databases.
pub(crate) const STATEMENT: &str =
    "select id, customer, quantity, cents, discount from orders where id > $1 order by id limit $2";

/// A guest, and the encoding that it is asked for.
pub(crate) const CASES: [(&str, &str); 8] = [
    ("orders-rust", "rows"),
    ("orders-rust", "columns"),
    ("orders-c", "rows"),
    ("orders-c", "columns"),
    ("orders-go", "rows"),
    ("orders-go", "columns"),
    ("orders-python", "rows"),
    ("orders-js", "rows"),
];

/// Orders with values at the edges: beyond the whole numbers of a float, negative, empty, null, of several bytes.
pub(crate) fn insert(rows: i64) -> String {
    let mut values = String::from(
        "(-9223372036854775807, 'first', 1, 1, 0.0), (-5, '', -3, 250, 0.125), (0, null, 0, 9223372036854775807, 0.5),
         (9007199254740993, 'Zoë O''Brien', 1, 9007199254740993, 0.1),
         (9223372036854775807, '日本 last', 9007199254740993, 1000, 0.9)",
    );
    for row in 1..=rows {
        let id = row * 7;
        let customer = if row % 11 == 0 { "null".to_owned() } else { format!("'customer {}'", row % 97) };
        let discount = (row % 40) as f64 / 100.0;
        write!(values, ",\n({id}, {customer}, {}, {}, {discount:?})", row % 13, row * 31 % 100_000).unwrap();
    }
    format!("insert into orders values {values}")
}

/// How many rows [`insert`] makes of so many.
pub(crate) fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap() + 5
}

pub(crate) fn in_postgres(database: &Database, rows: i64) {
    database.execute(
        "create table orders (id bigint primary key, customer text, quantity bigint not null,
                              cents bigint not null, discount double precision not null)",
    );
    database.execute(&insert(rows));
    database.execute(
        "create table expected as
         select id, translate(customer, 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') as customer,
                quantity * cents as total_cents,
                (quantity * cents)::double precision * (1.0 - discount) as net_cents,
                coalesce(customer, 'unknown') || ' #' || id as label
         from orders",
    );
}

pub(crate) fn in_sqlite(file: &Path, rows: i64) {
    let database = Connection::open(file).unwrap();
    database
        .execute_batch(&format!(
            "create table orders (id bigint primary key, customer text, quantity bigint not null,
                                  cents bigint not null, discount double precision not null);
             {};
             create view expected as
             select id, upper(customer) as customer, quantity * cents as total_cents,
                    cast(quantity * cents as real) * (1.0 - discount) as net_cents,
                    coalesce(customer, 'unknown') || ' #' || id as label
             from orders",
            insert(rows)
        ))
        .unwrap();
}

/// Rows that are in one and not in the other, both ways, duplicates counted.
pub(crate) fn differences_in_sqlite(source: &Path, destination: &Path) -> u64 {
    let database = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.execute("attach ?1 as destination", [destination.to_string_lossy()]).unwrap();
    let columns = "id, customer, total_cents, net_cents, label";
    let rows = |table: &str| format!("select {columns}, count(*) from {table} group by 1, 2, 3, 4, 5");
    let [expected, result] = [rows("main.expected"), rows("destination.result")];
    let number: i64 = database
        .query_row(
            &format!(
                "select (select count(*) from ({expected} except {result}))
                      + (select count(*) from ({result} except {expected}))"
            ),
            [],
            |row| row.get(0),
        )
        .unwrap();
    u64::try_from(number).unwrap()
}

/// A source of orders through a guest.
pub(crate) fn source(connector: &str, config: &Value, guest: &Path, arguments: &Value) -> Value {
    json!({
        "connector": connector,
        "config": config,
        "strategy": "custom-function",
        "options": { "module": guest, "arguments": arguments },
    })
}

/// A table `result` that the hub makes.
pub(crate) fn destination(connector: &str, config: &Value) -> Value {
    json!({
        "connector": connector,
        "config": config,
        "options": { "mode": "append", "table": "result", "create_table": true },
    })
}

pub(crate) fn sqlite_config(hub: &Hub, file: &str) -> Value {
    json!({ "file": hub.path(file) })
}
