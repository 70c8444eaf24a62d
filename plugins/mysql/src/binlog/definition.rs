//! Tables as they are declared: what the log does not say of them itself.

use std::collections::BTreeMap;

use hub_plugin_api::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{default::ColumnDefault, filter::TableFilter, server::LogServer};
use crate::{catalog::TableColumn, flavor::Vendor, sql, types::ServerType};

/// A table as it is declared. That of a database stands under an empty name: it has a character set only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Its columns, in order.
    pub columns: Vec<ColumnDefinition>,
    /// The character set of columns that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Kind::is_table")]
    pub kind: Kind,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A table.
    #[default]
    Table,
    /// MariaDB's sequence: the log has its state as rows.
    Sequence,
    /// A table of MariaDB's that keeps earlier rows: the log has them, too, and deletes as updates.
    Versioned,
    /// A table that was dropped, or got another name.
    Gone,
}

impl Kind {
    fn is_table(&self) -> bool {
        *self == Self::Table
    }
}

impl TableDefinition {
    /// A table that is not there any more.
    pub fn gone() -> Self {
        Self { kind: Kind::Gone, ..Self::default() }
    }

    /// Texts without a character set get the table's.
    pub fn inherit(&mut self) {
        for column in &mut self.columns {
            if column.charset.is_none() && column.is_text() {
                column.charset.clone_from(&self.charset);
            }
        }
    }
}

/// A column as it is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDefinition {
    /// The name.
    pub name: String,
    /// The type in the server's words.
    pub declared: String,
    /// Whether it may be null.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub nullable: bool,
    /// The character set of its texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Its place in the primary key, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u32>,
    /// What a row gets that leaves it out.
    #[serde(default, skip_serializing_if = "ColumnDefault::is_unknown")]
    pub default: ColumnDefault,
}

fn yes() -> bool {
    true
}

impl ColumnDefinition {
    /// Whether its values are of a character set.
    pub fn is_text(&self) -> bool {
        matches!(
            ServerType::of_declared(&self.declared),
            Some(ServerType::Text | ServerType::Enum(_) | ServerType::Set)
        )
    }

    fn of(column: &TableColumn, vendor: Vendor) -> Self {
        let charset = column.collation.as_deref().and_then(charset_of);
        Self {
            name: column.name.clone(),
            declared: column.declared.clone(),
            nullable: column.nullable,
            charset,
            key: column.key,
            default: ColumnDefault::of(column, vendor),
        }
    }
}

/// Definitions by database and table.
pub type Definitions = BTreeMap<String, BTreeMap<String, TableDefinition>>;

/// Names of followed tables: database and table.
pub type TableNames = Vec<(String, String)>;

/// The followed tables that are there now.
///
/// # Errors
/// As the server answers; [`hub_plugin_api::ErrorKind::Unsupported`] for one whose log says something else than its rows.
pub async fn tables(server: &mut LogServer, filter: &TableFilter) -> Result<TableNames> {
    let answer = server
        .ask(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES \
             WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') \
             ORDER BY TABLE_SCHEMA, TABLE_NAME",
        )
        .await?;
    let mut names = TableNames::new();
    for row in answer.rows {
        let [Some(database), Some(table), Some(kind)] = row.as_slice() else { continue };
        if filter.matches(database, table) {
            if kind != "BASE TABLE" {
                return Err(versioned(database, table));
            }
            names.push((database.clone(), table.clone()));
        }
    }
    Ok(names)
}

/// A table whose log says something else than its rows.
pub fn versioned(database: &str, table: &str) -> Error {
    let message =
        format!("Following table `{database}.{table}`, which keeps its earlier rows (SYSTEM VERSIONING),");
    Error::unsupported(message)
        .with_field("tables")
        .with_hint("Name it in `exclude_tables`: the log holds earlier rows as rows, and deletes as updates")
}

/// Holds tables against being altered until the session's transaction ends: reading nothing from each is enough.
///
/// # Errors
/// As the server answers; [`hub_plugin_api::ErrorKind::Busy`] for one that has just gone.
pub async fn hold(server: &mut LogServer, tables: &TableNames) -> Result<()> {
    for (database, table) in tables {
        let name = sql::qualified(Some(database), table);
        server.ask(&format!("SELECT 1 FROM {name} LIMIT 0")).await.map_err(altered)?;
    }
    Ok(())
}

/// A table or a column that has just gone: the next try knows that.
pub fn altered(error: Error) -> Error {
    match error.kind {
        ErrorKind::NotFound => Error { kind: ErrorKind::Busy, ..error }
            .with_hint("The table was altered or dropped meanwhile: the next try reads it as it is then"),
        _ => error,
    }
}

/// What the server declares of tables now.
///
/// # Errors
/// As the server answers.
pub async fn look_up(server: &mut LogServer, tables: &TableNames) -> Result<Definitions> {
    let mut definitions = Definitions::new();
    for part in tables.chunks(500) {
        for column in server.table_columns(part).await? {
            let database = definitions.entry(column.schema.clone()).or_default();
            let table = database.entry(column.table.clone()).or_default();
            table.columns.push(ColumnDefinition::of(&column, server.vendor()));
        }
    }
    note_charsets(server, &mut definitions).await?;
    if server.vendor() == Vendor::MariaDb {
        mark_json(server, &mut definitions).await?;
    }
    Ok(definitions)
}

/// What columns that are added later get, and MariaDB's sequences.
async fn note_charsets(server: &mut LogServer, definitions: &mut Definitions) -> Result<()> {
    let answer = server
        .ask(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_COLLATION, TABLE_TYPE FROM information_schema.TABLES \
             WHERE TABLE_TYPE IN ('BASE TABLE', 'SEQUENCE')",
        )
        .await?;
    for row in &answer.rows {
        let [Some(database), Some(table), collation, Some(kind)] = row.as_slice() else { continue };
        let of_database = definitions.get_mut(database);
        if kind == "SEQUENCE" {
            let sequence = TableDefinition { kind: Kind::Sequence, ..TableDefinition::default() };
            definitions.entry(database.clone()).or_default().insert(table.clone(), sequence);
        } else if let Some(table) = of_database.and_then(|tables| tables.get_mut(table)) {
            table.charset = collation.as_deref().and_then(charset_of);
        }
    }
    let answer =
        server.ask("SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA").await?;
    for row in answer.rows {
        let [Some(database), charset] = row.as_slice() else { continue };
        let own = TableDefinition { charset: charset.clone(), ..TableDefinition::default() };
        definitions.entry(database.clone()).or_default().insert(String::new(), own);
    }
    Ok(())
}

/// The character set that a collation is called after; MariaDB's newer ones are of several.
pub fn charset_of(collation: &str) -> Option<String> {
    let name = collation.split('_').next().unwrap_or(collation).to_lowercase();
    (name != "uca1400").then_some(name)
}

/// MariaDB's JSON is a text with a check.
async fn mark_json(server: &mut LogServer, definitions: &mut Definitions) -> Result<()> {
    let answer = server
        .ask(
            "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
             WHERE CHECK_CLAUSE LIKE 'json\\_valid(%'",
        )
        .await?;
    for row in &answer.rows {
        let [Some(database), Some(table), Some(clause)] = row.as_slice() else { continue };
        let Some(definition) = definitions.get_mut(database).and_then(|tables| tables.get_mut(table)) else {
            continue;
        };
        for column in &mut definition.columns {
            if *clause == format!("json_valid({})", sql::identifier(&column.name)) {
                column.declared = "json".into();
            }
        }
    }
    Ok(())
}
