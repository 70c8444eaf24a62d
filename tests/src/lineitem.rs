use std::{path::Path, process::Command};

use rusqlite::{Connection, OpenFlags};

use crate::{Database, Environment};

/// The number of rows and one weighted sum a column, made by the database's own SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksums(Vec<String>);

const WHOLE: [&str; 4] = ["l_orderkey", "l_partkey", "l_suppkey", "l_linenumber"];
const DECIMAL: [&str; 4] = ["l_quantity", "l_extendedprice", "l_discount", "l_tax"];
const DATE: [&str; 3] = ["l_shipdate", "l_commitdate", "l_receiptdate"];
const TEXT: [&str; 5] = ["l_returnflag", "l_linestatus", "l_shipinstruct", "l_shipmode", "l_comment"];

/// A row's weight, so that a value in another row's place changes the sum.
const WEIGHT: &str = "(1 + (l_orderkey * 7 + l_linenumber) % 9973)";

impl Checksums {
    /// Of a table in PostgreSQL.
    pub fn in_postgres(database: &Database, table: &str) -> Self {
        let mut values = vec!["count(*)".to_owned()];
        values.extend(WHOLE.map(|column| column.to_owned()));
        values.extend(DECIMAL.map(|column| format!("({column} * 100)")));
        values.extend(DATE.map(|column| format!("({column} - date '1970-01-01')")));
        values.extend(TEXT.map(|c| {
            format!(
                "(length({c}) + 31 * ascii({c}) + 37 * ascii(right({c}, 1)) \
                 + 41 * ascii(substr({c}, length({c}) / 2 + 1, 1)))"
            )
        }));
        for value in &mut values[1..] {
            *value = format!("trunc(sum({value}::numeric * {WEIGHT}))");
        }
        Self(database.row(&format!("select {} from {table}", values.join(", "))))
    }

    /// Of the table `lineitem` in an embedded database.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn in_sqlite(file: &Path, table: &str) -> Self {
        let mut values = vec!["count(*)".to_owned()];
        values.extend(WHOLE.map(|column| column.to_owned()));
        values.extend(DECIMAL.map(|column| format!("cast(replace({column}, '.', '') as integer)")));
        values.extend(DATE.map(|column| format!("cast(julianday({column}) - 2440587.5 as integer)")));
        values.extend(TEXT.map(|c| {
            format!(
                "(length({c}) + 31 * unicode({c}) + 37 * unicode(substr({c}, -1, 1)) \
                 + 41 * unicode(substr({c}, length({c}) / 2 + 1, 1)))"
            )
        }));
        for value in &mut values[1..] {
            *value = format!("sum({value} * {WEIGHT})");
        }
        // Two digits behind the point in every value: otherwise leaving out the point means something else.
        let exact = DECIMAL.map(|column| format!("{column} GLOB '*.[0-9][0-9]'")).join(" AND ");
        let read = || -> rusqlite::Result<Vec<i64>> {
            let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let inexact: i64 = database.query_row(
                &format!("SELECT count(*) FROM {table} WHERE NOT ({exact})"),
                [],
                |row| row.get(0),
            )?;
            assert_eq!(inexact, 0, "Decimals without two digits behind the point");
            database.query_row(&format!("SELECT {} FROM {table}", values.join(", ")), [], |row| {
                (0..values.len()).map(|index| row.get(index)).collect()
            })
        };
        match read() {
            Ok(sums) => Self(sums.iter().map(i64::to_string).collect()),
            Err(error) => panic!("`{}` cannot be read: {error}", file.display()),
        }
    }
}

/// Makes the table `lineitem` in an embedded database.
///
/// # Panics
/// When it cannot be made.
pub fn lineitem_in_sqlite(environment: &Environment, file: &Path, rows: u64) {
    let made =
        Command::new(&environment.data).args(["--rows", &rows.to_string(), "--sqlite"]).arg(file).status();
    assert!(made.is_ok_and(|status| status.success()), "`{}` was not made", file.display());
}

/// Makes a table of these rows in PostgreSQL, with its primary key.
///
/// # Panics
/// When it cannot be made.
pub fn lineitem_in_postgres(environment: &Environment, database: &Database, table: &str, rows: u64) {
    let output = |arguments: &[&str]| match Command::new(&environment.data).args(arguments).output() {
        Ok(output) if output.status.success() => output.stdout,
        other => panic!("The generator failed: {other:?}"),
    };
    database.execute(&String::from_utf8_lossy(&output(&["--postgres-ddl", table])));
    database.copy_csv(table, &output(&["--rows", &rows.to_string(), "--csv"]));
    database.execute(&format!("analyze {table}"));
}
