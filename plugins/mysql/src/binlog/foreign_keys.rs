//! Foreign keys whose actions the log does not hold.
//!
//! InnoDB itself deletes and changes the rows of the child's table, behind the log's back. MySQL 9.6 and newer have the
//! server do it, which logs it, unless `innodb_native_foreign_keys` is set.

use hub_plugin_api::Result;

use super::definition::TableNames;
use crate::connection::Session;

const ASKING: &str = "Could not ask the server about foreign keys";

/// The tables whose rows a foreign key deletes or changes without a word in the log.
///
/// # Errors
/// As the server answers.
pub async fn silent_children(session: &mut Session) -> Result<TableNames> {
    let native = "SHOW GLOBAL VARIABLES WHERE Variable_name = 'innodb_native_foreign_keys'";
    if session.ask(native, ASKING).await?.get(0, "Value").is_some_and(|native| matches!(native, "OFF" | "0"))
    {
        return Ok(TableNames::new());
    }
    let answer = session
        .ask(
            "SELECT DISTINCT CONSTRAINT_SCHEMA, TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS \
             WHERE DELETE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT') \
             OR UPDATE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT') ORDER BY 1, 2",
            ASKING,
        )
        .await?;
    let name = |row: Vec<Option<String>>| match <[Option<String>; 2]>::try_from(row) {
        Ok([Some(database), Some(table)]) => Some((database, table)),
        _ => None,
    };
    Ok(answer.rows.into_iter().filter_map(name).collect())
}

/// Their names as a message writes them.
pub fn listed(children: &TableNames) -> String {
    let names: Vec<_> =
        children.iter().take(5).map(|(database, table)| format!("`{database}.{table}`")).collect();
    let more = if children.len() > names.len() { " and others" } else { "" };
    format!("{}{more}", names.join(", "))
}
