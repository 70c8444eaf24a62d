//! What SQLite knows of its tables.

use std::collections::HashMap;

use hub_plugin_api::{ErrorKind, Result, types::Column};
use rusqlite::{Connection, OptionalExtension};

use crate::{error::map, sql, types};

/// The connector's id, as the `hub:engine` of its columns.
pub const ENGINE: &str = "sqlite";

/// A table or view.
#[derive(Clone, Debug)]
pub struct Table {
    /// `table`, `view`, `virtual` or `shadow`.
    pub kind: String,
    /// Its columns in their order.
    pub columns: Vec<TableColumn>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct TableColumn {
    /// What it means; where only the values can tell, that is none.
    pub logical: Option<hub_plugin_api::types::LogicalType>,
    /// Everything else that is known of it; its `logical` counts only where there is one above.
    pub column: Column,
    /// Its declared type.
    pub declared: String,
    /// Computed by the table: not written.
    pub generated: bool,
}

impl Table {
    /// A column by name, as SQLite compares names.
    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.column.name.eq_ignore_ascii_case(name))
    }

    /// The primary key's columns in their order.
    pub fn key(&self) -> Vec<&str> {
        let mut key: Vec<_> =
            self.columns.iter().filter_map(|one| Some((one.column.key?, one.column.name.as_str()))).collect();
        key.sort_unstable();
        key.into_iter().map(|(_, name)| name).collect()
    }
}

/// A table by name; none when it does not exist.
pub fn table(connection: &Connection, name: &str) -> Result<Option<Table>> {
    let failed = |error| map("The table could not be described", error).with_context("table", name);
    let found = connection
        .query_row(sql::TABLE_KIND, [name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))
        .optional()
        .map_err(failed)?;
    let Some((kind, without_rowid)) = found else { return Ok(None) };
    let true_types = true_types(connection, name)?;
    let mut statement = connection.prepare_cached(sql::TABLE_COLUMNS).map_err(failed)?;
    let rows = statement
        .query_map([name], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, bool>(2)?,
                row.get::<_, u32>(3)?,
                row.get::<_, u8>(4)?,
            ))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(failed)?;
    let key_length = rows.iter().filter(|(.., key, _)| *key > 0).count();
    let columns = rows
        .into_iter()
        .filter(|(.., hidden)| *hidden != 1)
        .map(|(name, declared, not_null, key, hidden)| {
            // The one column that is the rowid itself is never NULL, whatever it was declared.
            let is_rowid = key == 1 && key_length == 1 && declared.eq_ignore_ascii_case("INTEGER");
            let noted = true_types
                .get(&name)
                .filter(|(noted, _)| *noted == declared)
                .map(|(_, column)| column.clone());
            let logical =
                noted.as_ref().map(|column| column.logical.clone()).or_else(|| types::logical_of(&declared));
            let mut column = noted.unwrap_or_else(|| {
                let logical = logical.clone().unwrap_or(hub_plugin_api::types::LogicalType::Text);
                let column = Column::new(&name, logical);
                if declared.is_empty() { column } else { column.declared(ENGINE, &declared) }
            });
            column.nullable = !(not_null || key > 0 && (is_rowid || without_rowid));
            column.key = key.checked_sub(1);
            column.name = name;
            TableColumn { logical, column, declared, generated: hidden > 1 }
        })
        .collect();
    Ok(Some(Table { kind, columns }))
}

/// The true types that the hub noted for a table that it made, with the declared type that each was noted for.
fn true_types(connection: &Connection, table: &str) -> Result<HashMap<String, (String, Column)>> {
    let failed =
        |error| map("The true types of a table could not be read", error).with_context("table", table);
    if !connection.table_exists(Some("main"), sql::COLUMNS_TABLE).map_err(failed)? {
        return Ok(HashMap::new());
    }
    let mut statement = connection.prepare_cached(sql::TRUE_TYPES).map_err(failed)?;
    let rows = statement
        .query_map([table], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(failed)?;
    rows.into_iter()
        .map(|(name, declared, field)| {
            let column = serde_json::from_str(&field).map_err(|error| {
                hub_plugin_api::Error::new(
                    ErrorKind::InvalidData,
                    format!(
                        "The note on column `{name}` of table `{table}` in `{}` cannot be read",
                        sql::COLUMNS_TABLE
                    ),
                )
                .with_source(&error)
                .with_hint(
                    "It was changed, or made by a newer version: delete the row to go by the declared type",
                )
            })?;
            Ok((name, (declared, column)))
        })
        .collect()
}

/// Rows of a table by the last ANALYZE.
pub fn estimated_rows(connection: &Connection, table: &str) -> Option<u64> {
    if !connection.table_exists(Some("main"), "sqlite_stat1").ok()? {
        return None;
    }
    let stat: String = connection.query_row(sql::TABLE_ESTIMATE, [table], |row| row.get(0)).ok()?;
    stat.split_ascii_whitespace().next()?.parse().ok()
}
