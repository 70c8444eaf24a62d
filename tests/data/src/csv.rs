use std::io::{self, BufWriter, Write};

use crate::lineitem;

/// Writes the rows as CSV. No value holds a quotation mark, a comma may stand in the comment alone.
pub(crate) fn write(out: impl Write, rows: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    for row in lineitem::rows(rows) {
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},\"{}\"",
            row.l_orderkey,
            row.l_partkey,
            row.l_suppkey,
            row.l_linenumber,
            row.l_quantity,
            row.l_extendedprice,
            row.l_discount,
            row.l_tax,
            row.l_returnflag,
            row.l_linestatus,
            row.l_shipdate,
            row.l_commitdate,
            row.l_receiptdate,
            row.l_shipinstruct,
            row.l_shipmode,
            row.l_comment.replace('"', "\"\"")
        )?;
    }
    out.flush()
}
