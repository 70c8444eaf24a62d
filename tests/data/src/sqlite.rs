use std::{fmt::Display, fs, path::Path};

use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};

use crate::lineitem;

/// Makes the table `lineitem` with this many rows in a new file. An older file of that name is replaced.
pub(crate) fn write(file: &Path, rows: u64) -> Result<(), Box<dyn std::error::Error>> {
    if file.exists() {
        fs::remove_file(file)?;
    }
    let mut database = Connection::open(file)?;
    // The file is made from nothing: after a crash it is made again.
    database.pragma_update(None, "journal_mode", "off")?;
    database.pragma_update(None, "synchronous", "off")?;
    let transaction = database.transaction()?;
    transaction.execute_batch(&lineitem::sqlite_ddl("lineitem"))?;
    let places = ["?"; lineitem::COLUMNS.len()].join(", ");
    let mut insert = transaction.prepare(&format!("INSERT INTO lineitem VALUES ({places})"))?;
    for row in lineitem::rows(rows) {
        let [quantity, price, discount, tax] = [
            format!("{}.00", row.l_quantity),
            text(row.l_extendedprice),
            text(row.l_discount),
            text(row.l_tax),
        ];
        let [shipped, committed, received] = [row.l_shipdate, row.l_commitdate, row.l_receiptdate].map(text);
        let values: [&dyn ToSql; lineitem::COLUMNS.len()] = [
            &row.l_orderkey,
            &row.l_partkey,
            &row.l_suppkey,
            &row.l_linenumber,
            &quantity,
            &price,
            &discount,
            &tax,
            &row.l_returnflag,
            &row.l_linestatus,
            &shipped,
            &committed,
            &received,
            &row.l_shipinstruct,
            &row.l_shipmode,
            &row.l_comment,
        ];
        insert.execute(params_from_iter(values))?;
    }
    drop(insert);
    transaction.commit()?;
    Ok(())
}

/// Counts the rows of both tables `lineitem`.
///
/// # Errors
/// When they do not hold the same rows.
pub(crate) fn compare(left: &Path, right: &Path) -> Result<i64, Box<dyn std::error::Error>> {
    let database = Connection::open_with_flags(left, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.execute("ATTACH DATABASE ? AS other", [right.to_string_lossy()])?;
    let columns: Vec<&str> = lineitem::COLUMNS.iter().map(|column| column.0).collect();
    let different: Vec<String> =
        columns.iter().map(|column| format!("a.{column} IS NOT b.{column}")).collect();
    // The key is in both tables, so each row of the one has at most one partner in the other.
    let (rows, others, unequal): (i64, i64, i64) = database.query_row(
        &format!(
            "SELECT (SELECT count(*) FROM main.lineitem), (SELECT count(*) FROM other.lineitem),
               (SELECT count(*) FROM main.lineitem a LEFT JOIN other.lineitem b
                  ON a.l_orderkey = b.l_orderkey AND a.l_linenumber = b.l_linenumber
                WHERE {})",
            different.join(" OR ")
        ),
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    if rows == others && unequal == 0 {
        Ok(rows)
    } else {
        Err(format!("{rows} rows on the one side, {others} on the other, {unequal} are missing or differ")
            .into())
    }
}

fn text(value: impl Display) -> String {
    value.to_string()
}
