use tpchgen::generators::{LineItem, LineItemGenerator};

/// The columns with their types in PostgreSQL and in an embedded database, where a decimal and a date are exact only
/// as text.
pub(crate) const COLUMNS: [(&str, &str, &str); 16] = [
    ("l_orderkey", "bigint", "INTEGER"),
    ("l_partkey", "integer", "INT"),
    ("l_suppkey", "integer", "INT"),
    ("l_linenumber", "integer", "INT"),
    ("l_quantity", "numeric(15,2)", "DECIMAL_TEXT(15,2)"),
    ("l_extendedprice", "numeric(15,2)", "DECIMAL_TEXT(15,2)"),
    ("l_discount", "numeric(15,2)", "DECIMAL_TEXT(15,2)"),
    ("l_tax", "numeric(15,2)", "DECIMAL_TEXT(15,2)"),
    ("l_returnflag", "text", "TEXT"),
    ("l_linestatus", "text", "TEXT"),
    ("l_shipdate", "date", "DATE_TEXT"),
    ("l_commitdate", "date", "DATE_TEXT"),
    ("l_receiptdate", "date", "DATE_TEXT"),
    ("l_shipinstruct", "text", "TEXT"),
    ("l_shipmode", "text", "TEXT"),
    ("l_comment", "text", "TEXT"),
];

/// Rows of scale factor 1 hold about this many.
const ROWS_OF_SCALE_1: u64 = 6_000_000;

/// The first `rows` rows in the order of the key; the same ones for every number of rows up to six million.
pub(crate) fn rows(rows: u64) -> impl Iterator<Item = LineItem<'static>> {
    let scale = rows.div_ceil(ROWS_OF_SCALE_1).max(1);
    let generator = LineItemGenerator::new(scale as f64, 1, 1);
    generator.into_iter().take(usize::try_from(rows).unwrap_or(usize::MAX))
}

/// Makes the table in PostgreSQL. The name is taken as it is.
pub(crate) fn postgres_ddl(table: &str) -> String {
    ddl(table, |(_, postgres, _)| postgres)
}

/// Makes the table in an embedded database.
pub(crate) fn sqlite_ddl(table: &str) -> String {
    ddl(table, |(_, _, sqlite)| sqlite)
}

fn ddl(table: &str, declared: impl Fn((&str, &'static str, &'static str)) -> &'static str) -> String {
    let columns: Vec<String> =
        COLUMNS.iter().map(|column| format!("  {} {} NOT NULL", column.0, declared(*column))).collect();
    format!("CREATE TABLE {table} (\n{},\n  PRIMARY KEY (l_orderkey, l_linenumber)\n)", columns.join(",\n"))
}
