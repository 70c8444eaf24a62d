//! Questions about what there is, to `information_schema`.

use super::literal;

/// Columns of tables, in order: schema, table, column, type, whether it may be null, collation, place in the primary
/// key from 1, columns of that key, whether the server makes its values, default.
pub fn columns(tables: &[(String, String)]) -> String {
    let names: Vec<_> =
        tables.iter().map(|(schema, table)| format!("({}, {})", literal(schema), literal(table))).collect();
    format!(
        "SELECT c.TABLE_SCHEMA AS `schema`, c.TABLE_NAME AS `table`, c.COLUMN_NAME AS `column`, \
         c.COLUMN_TYPE AS `type`, c.IS_NULLABLE AS `nullable`, c.COLLATION_NAME AS `collation`, \
         k.SEQ_IN_INDEX AS `place`, c.EXTRA AS `extra`, c.COLUMN_DEFAULT AS `default`, \
         (SELECT COUNT(*) FROM information_schema.STATISTICS s WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA \
         AND s.TABLE_NAME = c.TABLE_NAME AND s.INDEX_NAME = 'PRIMARY') AS `key_length` \
         FROM information_schema.COLUMNS c \
         LEFT JOIN information_schema.STATISTICS k ON k.TABLE_SCHEMA = c.TABLE_SCHEMA \
         AND k.TABLE_NAME = c.TABLE_NAME AND k.COLUMN_NAME = c.COLUMN_NAME AND k.INDEX_NAME = 'PRIMARY' \
         WHERE (c.TABLE_SCHEMA, c.TABLE_NAME) IN ({}) \
         ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION",
        names.join(", ")
    )
}

/// Tables and views behind one, whose name or database holds a text: schema, table.
pub fn tables(filter: &str, schema: &str, table: &str, limit: u64) -> String {
    // LOCATE knows no wildcards.
    let filter = literal(&filter.to_lowercase());
    format!(
        "SELECT t.TABLE_SCHEMA AS `schema`, t.TABLE_NAME AS `table` FROM information_schema.TABLES t \
         WHERE t.TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') \
         AND (LOCATE({filter}, LOWER(t.TABLE_SCHEMA)) > 0 OR LOCATE({filter}, LOWER(t.TABLE_NAME)) > 0) \
         AND (BINARY t.TABLE_SCHEMA > {schema} OR (BINARY t.TABLE_SCHEMA = {schema} AND BINARY t.TABLE_NAME > {table})) \
         ORDER BY BINARY t.TABLE_SCHEMA, BINARY t.TABLE_NAME LIMIT {limit}",
        schema = literal(schema),
        table = literal(table),
    )
}

/// Kind, estimated rows and bytes of a table.
pub fn table(schema: &str, table: &str) -> String {
    format!(
        "SELECT t.TABLE_TYPE AS `kind`, t.TABLE_ROWS AS `rows`, t.DATA_LENGTH + t.INDEX_LENGTH AS `bytes`, \
         t.ENGINE AS `engine` FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = {} AND t.TABLE_NAME = {}",
        literal(schema),
        literal(table),
    )
}

/// The comment of a table.
pub fn comment(schema: &str, table: &str) -> String {
    format!(
        "SELECT t.TABLE_COMMENT FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = {} AND t.TABLE_NAME = {}",
        literal(schema),
        literal(table),
    )
}

/// Unique indexes of a table, a row a column: index, column, how much of its values counts where that is not all.
pub fn unique_indexes(schema: &str, table: &str) -> String {
    format!(
        "SELECT s.INDEX_NAME AS `index`, s.COLUMN_NAME AS `column`, s.SUB_PART AS `part` \
         FROM information_schema.STATISTICS s \
         WHERE s.TABLE_SCHEMA = {} AND s.TABLE_NAME = {} AND s.NON_UNIQUE = 0 \
         ORDER BY s.INDEX_NAME, s.SEQ_IN_INDEX",
        literal(schema),
        literal(table),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_values_in_the_catalog() {
        insta::assert_snapshot!(columns(&[("d'b".into(), "t\\".into()), ("d".into(), "u".into())]));
        insta::assert_snapshot!(tables("it's %", "a", "b", 11));
        insta::assert_snapshot!(table("d", "t"));
        insta::assert_snapshot!(unique_indexes("d", "t"));
    }
}
