use std::{fmt::Display, fs, path::Path};

use rusqlite::{Connection, ToSql, params_from_iter};

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

fn text(value: impl Display) -> String {
    value.to_string()
}
