//! What the server says of tables.

use hub_plugin_api::{Result, StreamId};

use crate::{
    connection::{Session, TextRows},
    raw::{RawSession, result::ColumnDefinition},
    sql,
    types::ServerType,
};

const DOING: &str = "Could not look up the columns of tables";

/// A column of a table, as the server declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// The table's database.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The column.
    pub name: String,
    /// Its type in the server's words.
    pub declared: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// How its texts are compared.
    pub collation: Option<String>,
    /// Its place in the primary key, from 0.
    pub key: Option<u32>,
    /// How many columns that key has.
    pub key_length: u32,
    /// The server computes its values.
    pub generated: bool,
    /// Its default, as the server writes it.
    pub default: Option<String>,
    /// The server computes its default, or counts it up.
    pub computed_default: bool,
}

impl TableColumn {
    /// Whether a result's column is this one.
    pub fn is(&self, definition: &ColumnDefinition) -> bool {
        self.name == definition.column
            && self.table == definition.table
            && self.schema.eq_ignore_ascii_case(&definition.schema)
    }

    /// Its type; none for a word that is not known.
    pub fn server_type(&self) -> Option<ServerType> {
        ServerType::of_declared(&self.declared)
    }

    /// Whether a new row must bring a value of it.
    pub fn needs_value(&self) -> bool {
        !self.nullable && !self.generated && self.default.is_none() && !self.computed_default
    }

    /// Whether texts are equal only when their bytes are.
    pub fn collates_by_bytes(&self) -> bool {
        self.collation.as_deref().is_none_or(|name| {
            name == "binary" || name.ends_with("_0900_bin") || name.ends_with("_nopad_bin")
        })
    }

    /// Whether a result has all columns of the key that this one is part of. Half a key is none.
    pub fn table_has_whole_key(&self, result: &[ColumnDefinition], catalog: &[Self]) -> bool {
        let of_key = catalog.iter().filter(|column| {
            column.key.is_some() && column.table == self.table && column.schema == self.schema
        });
        let found = of_key.filter(|column| result.iter().filter(|one| column.is(one)).count() == 1);
        found.count() == self.key_length as usize
    }
}

/// The columns of some tables, in order. Tables that are not there have none.
///
/// # Errors
/// When the server cannot be asked.
pub async fn table_columns(
    session: &mut RawSession,
    tables: &[(String, String)],
) -> Result<Vec<TableColumn>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    Ok(columns_of(&session.ask(&sql::catalog::columns(tables), DOING).await?))
}

/// The columns of one table, in order; none where it does not exist.
///
/// # Errors
/// When the server cannot be asked.
pub async fn columns_of_table(session: &mut Session, schema: &str, table: &str) -> Result<Vec<TableColumn>> {
    let tables = [(schema.to_owned(), table.to_owned())];
    Ok(columns_of(&session.ask(&sql::catalog::columns(&tables), DOING).await?))
}

/// The columns of some tables, in order. Tables that are not there have none.
///
/// # Errors
/// When the server cannot be asked.
pub async fn columns_of_tables(
    session: &mut Session,
    tables: &[(String, String)],
) -> Result<Vec<TableColumn>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    Ok(columns_of(&session.ask(&sql::catalog::columns(tables), DOING).await?))
}

fn columns_of(answer: &TextRows) -> Vec<TableColumn> {
    let column = |row| {
        let text = |name| answer.get(row, name).unwrap_or_default().to_owned();
        let number = |name| answer.get(row, name)?.parse::<u32>().ok();
        let extra = text("extra").to_ascii_uppercase();
        TableColumn {
            schema: text("schema"),
            table: text("table"),
            name: text("column"),
            declared: text("type"),
            nullable: answer.get(row, "nullable") != Some("NO"),
            collation: answer.get(row, "collation").map(str::to_owned),
            key: number("place").and_then(|place| place.checked_sub(1)),
            key_length: number("key_length").unwrap_or_default(),
            generated: extra.contains(" GENERATED"),
            default: answer.get(row, "default").map(str::to_owned),
            computed_default: extra.contains("DEFAULT_GENERATED") || extra.contains("AUTO_INCREMENT"),
        }
    };
    (0..answer.rows.len()).map(column).collect()
}

/// A table's database and name: that of the session where the stream names none.
pub fn schema_and_table<'a>(stream: &'a StreamId, database: &'a str) -> Option<(&'a str, &'a str)> {
    match stream.namespace.as_slice() {
        [] => Some((database, &stream.name)),
        [schema] => Some((schema, &stream.name)),
        _ => None,
    }
}
