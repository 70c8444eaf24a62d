//! Statements that write.

use super::{identifier, qualified};
use crate::flavor::{Server, Vendor};

/// A column that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    /// Unquoted.
    pub name: String,
    /// As a statement has it.
    pub type_name: String,
    /// NOT NULL.
    pub required: bool,
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

fn definition(column: &NewColumn) -> String {
    // Without the word an old server's `timestamp` takes no null.
    let null = if column.required { "NOT NULL" } else { "NULL" };
    format!("{} {} {null}", identifier(&column.name), column.type_name)
}

/// Makes a table with transactions, unless it is there.
pub fn create_table(table: &str, columns: &[NewColumn], key: &[String]) -> String {
    let mut parts: Vec<_> = columns.iter().map(definition).collect();
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", list(key.iter().map(String::as_str))));
    }
    format!("CREATE TABLE IF NOT EXISTS {table} ({}) ENGINE = InnoDB", parts.join(", "))
}

/// Adds a column. Rows that are there already have no value in it.
pub fn add_column(table: &str, column: &NewColumn) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {}", definition(column))
}

/// Makes an empty table of the same shape, unless it is there.
pub fn create_like(table: &str, like: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {table} LIKE {like}")
}

/// A column on its way into a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenColumn {
    /// Unquoted.
    pub name: String,
    /// What is made of the text in a file: `UNHEX(@v)` …; absent where the text is the value.
    pub from_text: Option<&'static str>,
}

/// Loads a file of the client's: columns apart by tabs, rows by line feeds, `\` escapes, `\N` is null. The bytes are
/// UTF-8, and values that are no text come as hexadecimal digits.
pub fn load(table: &str, columns: &[WrittenColumn]) -> String {
    let mut targets = Vec::with_capacity(columns.len());
    let mut assignments = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        match column.from_text {
            Some(expression) => {
                let variable = format!("@hub_{index}");
                assignments.push(format!(
                    "{} = {}",
                    identifier(&column.name),
                    expression.replace("@v", &variable)
                ));
                targets.push(variable);
            }
            None => targets.push(identifier(&column.name)),
        }
    }
    let set = if assignments.is_empty() { String::new() } else { format!(" SET {}", assignments.join(", ")) };
    format!(
        "LOAD DATA LOCAL INFILE 'connector-hub' INTO TABLE {table} CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
        targets.join(", ")
    )
}

/// What stands in front of the rows of an INSERT.
pub fn insert_head(table: &str, columns: &[WrittenColumn]) -> String {
    format!("INSERT INTO {table} ({}) VALUES ", list(columns.iter().map(|column| column.name.as_str())))
}

/// What stands behind the rows of an INSERT that puts them in place of those with the same key. MySQL names the new row;
/// MariaDB knows only the function for it.
pub fn upsert_tail(server: &Server, columns: &[WrittenColumn], key: &[String]) -> String {
    let names_row = server.is(Vendor::MySql, (8, 0, 19));
    let value = |name: &str| {
        if names_row {
            format!("{name} = hub_new.{name}", name = identifier(name))
        } else {
            format!("{name} = VALUES({name})", name = identifier(name))
        }
    };
    let others: Vec<_> = columns
        .iter()
        .filter(|column| !key.contains(&column.name))
        .map(|column| value(&column.name))
        .collect();
    let set = if others.is_empty() { key.iter().map(|name| value(name)).collect() } else { others };
    let alias = if names_row { " AS hub_new" } else { "" };
    format!("{alias} ON DUPLICATE KEY UPDATE {}", set.join(", "))
}

/// The condition that a row has a key. `values` are expressions, in the key's order.
pub fn same_key(key: &[String], values: &[String]) -> String {
    let equal = key.iter().zip(values).map(|(name, value)| format!("{} = {value}", identifier(name)));
    equal.collect::<Vec<_>>().join(" AND ")
}

/// Removes rows by their keys; `rows` are lists of expressions in parentheses.
pub fn delete(table: &str, key: &[String], rows: &str) -> String {
    format!("DELETE FROM {table} WHERE ({}) IN ({rows})", list(key.iter().map(String::as_str)))
}

/// Sets values in the row with a key. Without any it only finds the row.
pub fn update(table: &str, set: &[(String, String)], condition: &str) -> String {
    let set: Vec<_> = set.iter().map(|(name, value)| format!("{} = {value}", identifier(name))).collect();
    format!("UPDATE {table} SET {} WHERE {condition}", set.join(", "))
}

/// Copies all rows from one table into another, by columns that both have.
pub fn copy_all(table: &str, from: &str, columns: &[String]) -> String {
    let names = list(columns.iter().map(String::as_str));
    format!("INSERT INTO {table} ({names}) SELECT {names} FROM {from}")
}

/// Makes the table of tokens.
pub fn create_commits(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (pipeline varbinary(1024) NOT NULL, lane int unsigned NOT NULL, \
         fence bigint unsigned NOT NULL, generation bigint unsigned NULL, n bigint unsigned NULL, \
         token longtext CHARACTER SET utf8mb4 NULL, PRIMARY KEY (pipeline, lane)) ENGINE = InnoDB"
    )
}

/// Raises the fence of a lane.
pub fn take_lane(table: &str, pipeline: &str, lane: u32) -> String {
    format!(
        "INSERT INTO {table} (pipeline, lane, fence) VALUES ({pipeline}, {lane}, 1) \
         ON DUPLICATE KEY UPDATE fence = fence + 1"
    )
}

/// Fence and token of a lane.
pub fn lane(table: &str, pipeline: &str, lane: u32) -> String {
    format!("SELECT fence, token FROM {table} WHERE pipeline = {pipeline} AND lane = {lane} FOR UPDATE")
}

/// Stores a token, unless the lane was taken.
pub fn store_token(table: &str, of: (&str, u32, u64), generation: u64, n: u64, token: &str) -> String {
    let (pipeline, lane, fence) = of;
    format!(
        "UPDATE {table} SET generation = {generation}, n = {n}, token = {token} \
         WHERE pipeline = {pipeline} AND lane = {lane} AND fence = {fence}"
    )
}

/// Staging tables of a database and what they are for.
pub fn staging_tables(database: &str) -> String {
    format!(
        "SELECT t.TABLE_NAME AS `name`, t.TABLE_COMMENT AS `note` FROM information_schema.TABLES t \
         WHERE t.TABLE_SCHEMA = {} AND t.TABLE_NAME LIKE '\\\\_\\\\_hub\\\\_stage\\\\_%' ORDER BY t.TABLE_NAME",
        super::literal(database)
    )
}

/// Writes down what a table is for.
pub fn comment_on(table: &str, comment: &str) -> String {
    format!("ALTER TABLE {table} COMMENT = {}", super::literal(comment))
}

/// A table of a database, quoted.
pub fn table_name(database: &str, table: &str) -> String {
    qualified(Some(database), table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<WrittenColumn> {
        let column = |name: &str, from_text| WrittenColumn { name: name.into(), from_text };
        vec![column("id", None), column("b`ad\\", None), column("bytes", Some("UNHEX(@v)"))]
    }

    #[test]
    fn statements_quote_every_name() {
        let key = vec!["id".to_owned(), "b`ad\\".to_owned()];
        let new = |name: &str, type_name: &str, required| NewColumn {
            name: name.into(),
            type_name: type_name.into(),
            required,
        };
        let table = table_name("d`b", "t`; drop table x");
        let made =
            [new("id", "bigint", true), new("b`ad\\", "varchar(255)", true), new("bytes", "longblob", false)];
        insta::assert_snapshot!(
            [
                create_table(&table, &made, &key),
                add_column(&table, &made[2]),
                create_like("`a`", "`b`"),
                load(&table, &columns()),
                insert_head(&table, &columns()),
                delete(&table, &key, "(1, 'a'), (2, 'b')"),
                update(
                    &table,
                    &[("b`ad\\".into(), "'x'".into())],
                    &same_key(&key, &["1".into(), "'o'".into()])
                ),
                copy_all(&table, "`s`", &key),
                create_commits("`d`.`__hub_commits`"),
                take_lane("`c`", "x'61'", 3),
                lane("`c`", "x'61'", 3),
                store_token("`c`", ("x'61'", 3, 7), 1, 2, "'{}'"),
                staging_tables("d'b"),
                comment_on("`s`", "{\"a\":\"'\"}"),
            ]
            .join("\n")
        );
    }

    #[test]
    fn the_vendors_name_the_new_row_differently() {
        let key = vec!["id".to_owned()];
        for version in ["9.7.4", "8.0.11", "11.8.6-MariaDB"] {
            let server = Server::of_handshake(version);
            insta::assert_snapshot!(upsert_tail(&server, &columns(), &key));
        }
        let server = Server::of_handshake("9.7.4");
        insta::assert_snapshot!(upsert_tail(&server, &columns()[..1], &key));
    }
}
