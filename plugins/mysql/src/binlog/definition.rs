//! Tables as they are declared: what the log does not say of them itself.

use std::collections::BTreeMap;

use hub_plugin_api::Result;
use serde::{Deserialize, Serialize};

use super::{default::ColumnDefault, filter::TableFilter, server::LogServer};
use crate::{catalog::TableColumn, flavor::Vendor, sql};

/// A table as it is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Its columns, in order.
    pub columns: Vec<ColumnDefinition>,
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
    fn of(column: &TableColumn, vendor: Vendor) -> Self {
        // A collation is called after its character set.
        let charset = column.collation.as_ref().map(|name| name.split('_').next().unwrap_or(name).to_owned());
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
/// As the server answers.
pub async fn tables(server: &mut LogServer, filter: &TableFilter) -> Result<TableNames> {
    let answer = server
        .ask(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' \
             AND TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') \
             ORDER BY TABLE_SCHEMA, TABLE_NAME",
        )
        .await?;
    let names = answer.rows.iter().filter_map(|row| match row.as_slice() {
        [Some(database), Some(table)] => Some((database.clone(), table.clone())),
        _ => None,
    });
    Ok(names.filter(|(database, table)| filter.matches(database, table)).collect())
}

/// Holds tables against being altered until the session's transaction ends: reading nothing from each is enough.
///
/// # Errors
/// As the server answers.
pub async fn hold(server: &mut LogServer, tables: &TableNames) -> Result<()> {
    for (database, table) in tables {
        let name = sql::qualified(Some(database), table);
        server.ask(&format!("SELECT 1 FROM {name} LIMIT 0")).await?;
    }
    Ok(())
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
    if server.vendor() == Vendor::MariaDb {
        mark_json(server, &mut definitions).await?;
    }
    Ok(definitions)
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
