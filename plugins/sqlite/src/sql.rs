//! Every statement that the connector sends, as text. Values are always bound; names are always quoted.

use hub_plugin_api::{Error, ErrorKind, Result};

/// The table of commit tokens.
pub const COMMITS_TABLE: &str = "__hub_commits";
/// The table with the true types of columns that the hub created.
pub const COLUMNS_TABLE: &str = "__hub_columns";

/// A name as SQLite reads it back: in double quotes, a quote doubled.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names, quoted, with commas.
pub fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// Refuses what no quoting carries: an empty name, and NUL, which ends a statement's text.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] with the name.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!("{what} name `{}` is empty or holds NUL", name.escape_debug()),
        )
        .with_hint("Give it another name in the statement, or in option `table`"));
    }
    Ok(())
}

/// The statement without what may follow it, so that it can stand in parentheses.
pub fn inner(statement: &str) -> &str {
    statement.trim_end_matches(|c: char| c.is_whitespace() || c == ';')
}

/// All rows of a table.
pub fn select_table(table: &str) -> String {
    format!("SELECT * FROM {}", quoted(table))
}

/// One column of the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorColumn {
    /// Its name among the statement's columns.
    pub name: String,
    /// Compared byte by byte, where the column's own collation is another one: `a` and `A` are two values.
    pub binary: bool,
}

impl CursorColumn {
    fn text(&self) -> String {
        format!("{}{}", quoted(&self.name), if self.binary { " COLLATE BINARY" } else { "" })
    }
}

/// What a read by cursor is limited to. Each part is bound by the names that [`bound_names`] gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Rows behind a tuple; `Some(true)`: that tuple's own rows too.
    pub after: Option<bool>,
    /// Rows up to a tuple, with it.
    pub upto: bool,
    /// First column at least a number.
    pub from: bool,
    /// First column below a number.
    pub below: bool,
    /// Rows that have a NULL in the cursor too.
    pub nulls: bool,
}

/// Name of a bound of the cursor: the side and the column's place.
pub fn bound_name(side: &str, index: usize) -> String {
    format!(":hub_{side}_{index}")
}

/// The statement's rows between bounds, in the cursor's order.
pub fn select_by_cursor(statement: &str, cursor: &[CursorColumn], limits: Limits) -> String {
    let mut conditions = Vec::new();
    if let Some(inclusive) = limits.after {
        conditions.push(compare(cursor, if inclusive { ">=" } else { ">" }, "after"));
    }
    if limits.upto {
        conditions.push(compare(cursor, "<=", "upto"));
    }
    if limits.from {
        conditions.push(format!("{} >= {}", cursor[0].text(), bound_name("from", 0)));
    }
    if limits.below {
        conditions.push(format!("{} < {}", cursor[0].text(), bound_name("below", 0)));
    }
    let mut condition = conditions.join(" AND ");
    if limits.nulls && !condition.is_empty() {
        condition = format!("({condition}) OR {}", any_null(cursor));
    }
    let filter = if condition.is_empty() { String::new() } else { format!(" WHERE {condition}") };
    let order: Vec<_> = cursor.iter().map(CursorColumn::text).collect();
    format!("SELECT * FROM ({}\n) AS \"q\"{filter} ORDER BY {}", inner(statement), order.join(", "))
}

fn compare(cursor: &[CursorColumn], operator: &str, side: &str) -> String {
    let columns: Vec<_> = cursor.iter().map(CursorColumn::text).collect();
    let bounds: Vec<_> = (0..cursor.len()).map(|index| bound_name(side, index)).collect();
    match cursor.len() {
        1 => format!("{} {operator} {}", columns[0], bounds[0]),
        _ => format!("({}) {operator} ({})", columns.join(", "), bounds.join(", ")),
    }
}

fn any_null(cursor: &[CursorColumn]) -> String {
    let tests: Vec<_> = cursor.iter().map(|column| format!("{} IS NULL", quoted(&column.name))).collect();
    tests.join(" OR ")
}

/// The greatest tuple of the cursor.
pub fn select_upper_bound(statement: &str, cursor: &[CursorColumn]) -> String {
    let columns = quoted_list(cursor.iter().map(|column| column.name.as_str()));
    let not_null: Vec<_> =
        cursor.iter().map(|column| format!("{} IS NOT NULL", quoted(&column.name))).collect();
    let order: Vec<_> = cursor.iter().map(|column| format!("{} DESC", column.text())).collect();
    format!(
        "SELECT {columns} FROM ({}\n) AS \"q\" WHERE {} ORDER BY {} LIMIT 1",
        inner(statement),
        not_null.join(" AND "),
        order.join(", ")
    )
}

/// The least value of the cursor's first column behind a tuple.
pub fn select_first_value(statement: &str, cursor: &[CursorColumn], after: bool) -> String {
    let filter = if after { format!(" WHERE {}", compare(cursor, ">", "after")) } else { String::new() };
    let name = quoted(&cursor[0].name);
    let empty = if after { " AND" } else { " WHERE" };
    format!(
        "SELECT {name} FROM ({}\n) AS \"q\"{filter}{empty} {name} IS NOT NULL ORDER BY {} LIMIT 1",
        inner(statement),
        cursor[0].text()
    )
}

/// A row whose cursor holds NULL, if there is one.
pub fn select_null_cursor(statement: &str, cursor: &[CursorColumn]) -> String {
    format!("SELECT 1 FROM ({}\n) AS \"q\" WHERE {} LIMIT 1", inner(statement), any_null(cursor))
}

/// Columns of a table: name, declared type, NOT NULL, place in the primary key from 1, hidden.
pub const TABLE_COLUMNS: &str =
    "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid";

/// Kind, name and whether WITHOUT ROWID and STRICT, of one table or view.
pub const TABLE_KIND: &str =
    "SELECT type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";

/// Tables and views of the user's, by name.
pub const LIST_TABLES: &str = "SELECT name FROM sqlite_schema \
    WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_\\_hub\\_%' ESCAPE '\\' \
    AND (?1 IS NULL OR instr(lower(name), lower(?1)) > 0) AND (?2 IS NULL OR name > ?2) ORDER BY name LIMIT ?3";

/// A table's estimate by the last ANALYZE.
pub const TABLE_ESTIMATE: &str = "SELECT stat FROM sqlite_stat1 WHERE tbl = ?1 COLLATE NOCASE";

/// True types of a table's columns.
pub const TRUE_TYPES: &str =
    "SELECT column_name, declared, field FROM __hub_columns WHERE table_name = ?1 COLLATE NOCASE";

/// Makes the table of true types.
pub const CREATE_COLUMNS_TABLE: &str = "CREATE TABLE IF NOT EXISTS __hub_columns (table_name TEXT NOT NULL, \
    column_name TEXT NOT NULL, declared TEXT NOT NULL, field TEXT NOT NULL, \
    PRIMARY KEY (table_name, column_name)) WITHOUT ROWID";

/// Notes a column's true type.
pub const PUT_TRUE_TYPE: &str = "INSERT OR REPLACE INTO __hub_columns VALUES (?1, ?2, ?3, ?4)";

/// Forgets a table's true types.
pub const DROP_TRUE_TYPES: &str = "DELETE FROM __hub_columns WHERE table_name = ?1 COLLATE NOCASE";

/// Moves true types along with a renamed table.
pub const MOVE_TRUE_TYPES: &str =
    "UPDATE __hub_columns SET table_name = ?2 WHERE table_name = ?1 COLLATE NOCASE";

/// Notes a table's true types for another that is made like it.
pub const COPY_TRUE_TYPES: &str = "INSERT INTO __hub_columns \
    SELECT ?2, column_name, declared, field FROM __hub_columns WHERE table_name = ?1 COLLATE NOCASE";

/// Makes the table of commit tokens.
pub const CREATE_COMMITS_TABLE: &str = "CREATE TABLE IF NOT EXISTS __hub_commits (pipeline TEXT NOT NULL, \
    lane INTEGER NOT NULL, fence INTEGER NOT NULL, token TEXT, PRIMARY KEY (pipeline, lane)) WITHOUT ROWID";

/// Takes a lane: the fence behind every earlier writer's, and the last token.
pub const TAKE_LANE: &str = "INSERT INTO __hub_commits (pipeline, lane, fence) VALUES (?1, ?2, 1) \
    ON CONFLICT (pipeline, lane) DO UPDATE SET fence = fence + 1 RETURNING fence, token";

/// The lane's fence and last token.
pub const READ_LANE: &str = "SELECT fence, token FROM __hub_commits WHERE pipeline = ?1 AND lane = ?2";

/// Stores a token.
pub const PUT_TOKEN: &str =
    "UPDATE __hub_commits SET token = ?4 WHERE pipeline = ?1 AND lane = ?2 AND fence = ?3";

/// The table of tables that are about to replace others.
pub const STAGING_TABLE: &str = "__hub_staging";

/// Makes the table of tables that are about to replace others.
pub const CREATE_STAGING_TABLE: &str = "CREATE TABLE IF NOT EXISTS __hub_staging (table_name TEXT PRIMARY KEY, \
    pipeline TEXT NOT NULL, generation INTEGER NOT NULL, run INTEGER NOT NULL) WITHOUT ROWID";

/// Finds a table that a run fills.
pub const FIND_STAGING: &str = "SELECT 1 FROM __hub_staging \
    WHERE table_name = ?1 AND pipeline = ?2 AND generation = ?3 AND run = ?4";

/// Notes a table that a run fills.
pub const PUT_STAGING: &str = "INSERT OR REPLACE INTO __hub_staging VALUES (?1, ?2, ?3, ?4)";

/// Lists the tables that a run fills.
pub const LIST_STAGING: &str = "SELECT table_name FROM __hub_staging \
    WHERE pipeline = ?1 AND generation = ?2 AND run = ?3 ORDER BY table_name";

/// Forgets a table that a run filled.
pub const DROP_STAGING: &str = "DELETE FROM __hub_staging WHERE table_name = ?1";

/// Copies all rows of a table into another.
pub fn copy_rows(from: &str, to: &str, columns: &[&str]) -> String {
    let columns = quoted_list(columns.iter().copied());
    format!("INSERT INTO {} ({columns}) SELECT {columns} FROM {}", quoted(to), quoted(from))
}

/// A column of a table to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its declared type.
    pub declared: String,
    /// Whether it is NOT NULL.
    pub not_null: bool,
}

impl ColumnDefinition {
    fn text(&self) -> String {
        format!("{} {}{}", quoted(&self.name), self.declared, if self.not_null { " NOT NULL" } else { "" })
    }
}

/// Makes a table.
pub fn create_table(table: &str, columns: &[ColumnDefinition], key: &[&str]) -> String {
    let mut parts: Vec<_> = columns.iter().map(ColumnDefinition::text).collect();
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", quoted_list(key.iter().copied())));
    }
    format!("CREATE TABLE {} ({})", quoted(table), parts.join(", "))
}

/// Adds a column to a table. It is nullable: rows that are there have no value for it.
pub fn add_column(table: &str, column: &ColumnDefinition) -> String {
    format!("ALTER TABLE {} ADD COLUMN {} {}", quoted(table), quoted(&column.name), column.declared)
}

/// Drops a table.
pub fn drop_table(table: &str) -> String {
    format!("DROP TABLE IF EXISTS {}", quoted(table))
}

/// Gives a table another name.
pub fn rename_table(table: &str, to: &str) -> String {
    format!("ALTER TABLE {} RENAME TO {}", quoted(table), quoted(to))
}

/// Empties a table.
pub fn delete_all(table: &str) -> String {
    format!("DELETE FROM {}", quoted(table))
}

/// Inserts rows, each with a value for every column.
pub fn insert(table: &str, columns: &[&str], rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    let rows = vec![row.as_str(); rows].join(", ");
    format!("INSERT INTO {} ({}) VALUES {rows}", quoted(table), quoted_list(columns.iter().copied()))
}

/// Inserts a row, or gives the row with the same key its values.
pub fn upsert(table: &str, columns: &[&str], key: &[&str]) -> String {
    let values: Vec<_> = columns
        .iter()
        .filter(|column| !key.contains(column))
        .map(|column| format!("{0} = excluded.{0}", quoted(column)))
        .collect();
    let action =
        if values.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", values.join(", ")) };
    let key = quoted_list(key.iter().copied());
    format!("{} ON CONFLICT ({key}) DO {action}", insert(table, columns, 1))
}

/// Gives one row's columns values: first the new ones, then the key's.
pub fn update(table: &str, columns: &[&str], key: &[&str]) -> String {
    let values: Vec<_> = columns.iter().map(|column| format!("{} = ?", quoted(column))).collect();
    format!("UPDATE {} SET {} WHERE {}", quoted(table), values.join(", "), key_condition(key))
}

/// Deletes one row by its key.
pub fn delete(table: &str, key: &[&str]) -> String {
    format!("DELETE FROM {} WHERE {}", quoted(table), key_condition(key))
}

fn key_condition(key: &[&str]) -> String {
    let tests: Vec<_> = key.iter().map(|column| format!("{} = ?", quoted(column))).collect();
    tests.join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_as_reviewed() {
        let (a, b) = ("a", "b\"c");
        let cursor = [a, b].map(|name| CursorColumn { name: name.into(), binary: name == b });
        let limits = Limits { after: Some(false), upto: true, from: true, below: true, nulls: false };
        let reread = Limits { after: Some(true), upto: true, nulls: true, ..Limits::default() };
        let statement = "select * from t -- all\n ; ";
        let columns = [a, b].map(|name| ColumnDefinition {
            name: name.into(),
            declared: "TEXT".into(),
            not_null: name == a,
        });
        let all = [
            select_table("t"),
            select_by_cursor(statement, &cursor, limits),
            select_by_cursor(statement, &cursor[..1], reread),
            select_upper_bound(statement, &cursor),
            select_first_value(statement, &cursor, true),
            select_first_value(statement, &cursor, false),
            select_null_cursor(statement, &cursor),
            create_table("t", &columns, &[b, a]),
            add_column("t", &columns[1]),
            drop_table("t"),
            rename_table("t", "u"),
            delete_all("t"),
            copy_rows("t", "u", &[a, b]),
            insert("t", &[a, b], 2),
            upsert("t", &[a, b], &[a]),
            upsert("t", &[a], &[a]),
            update("t", &[a, b], &[a]),
            delete("t", &[a, b]),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn hostile_name_stays_a_name() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for name in
            ["a\"b", "x\"); drop table t; --", "select", " ", "a.b", "名", "'", "?1", ":a", "`[x]`", "-- \n"]
        {
            let column = ColumnDefinition { name: name.into(), declared: "TEXT".into(), not_null: true };
            connection.execute(&create_table(name, &[column], &[name]), []).unwrap();
            connection.execute(&upsert(name, &[name], &[name]), ["v"]).unwrap();
            connection.execute(&update(name, &[name], &[name]), ["w", "v"]).unwrap();
            let read: String = connection.query_row(&select_table(name), [], |row| row.get(0)).unwrap();
            assert_eq!(read, "w");
            connection.execute(&delete(name, &[name]), ["w"]).unwrap();
            connection.execute(&drop_table(name), []).unwrap();
        }
        assert!(check_name("Table", "a\0b").is_err() && check_name("Table", "").is_err());
    }
}
