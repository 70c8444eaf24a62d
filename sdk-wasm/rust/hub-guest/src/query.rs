use crate::{
    Batch, ColumnPage, Failure, Level, Result, RowPage, Value,
    bindings::connector_hub::plugin::{connection, log as hub_log},
};

pub use connection::{Cursor, Encoding, Statement};

/// Runs a statement. Its batches come in the encoding that is asked for.
///
/// # Errors
/// The database's, with the hub's kinds.
pub fn query(statement: &Statement, parameters: &[Value], encoding: Encoding) -> Result<Cursor> {
    connection::query(statement, parameters, encoding)
}

/// All rows of a statement in text, such as SQL: for pages that fit into memory.
///
/// # Errors
/// The database's.
pub fn query_rows(statement: &str, parameters: &[Value]) -> Result<RowPage> {
    rows_of(&Statement::Text(statement.into()), parameters)
}

/// All rows that a command answers, for databases that speak commands and their arguments: for answers that fit into
/// memory.
///
/// # Errors
/// The database's.
pub fn query_command(parts: Vec<Value>) -> Result<RowPage> {
    rows_of(&Statement::Command(parts), &[])
}

fn rows_of(statement: &Statement, parameters: &[Value]) -> Result<RowPage> {
    let cursor = query(statement, parameters, Encoding::Rows)?;
    let mut page = RowPage::default();
    while let Some(batch) = cursor.next()? {
        match batch {
            Batch::Rows(batch) => page.append(batch),
            _ => return Err(other_encoding()),
        }
    }
    Ok(page)
}

/// All rows of a statement in text as columns, a page a batch.
///
/// # Errors
/// The database's.
pub fn query_columns(statement: &str, parameters: &[Value]) -> Result<Vec<ColumnPage>> {
    let cursor = query(&Statement::Text(statement.into()), parameters, Encoding::Columns)?;
    let mut pages = Vec::new();
    while let Some(batch) = cursor.next()? {
        match batch {
            Batch::Columns(batch) => pages.push(ColumnPage(batch)),
            _ => return Err(other_encoding()),
        }
    }
    Ok(pages)
}

fn other_encoding() -> Failure {
    Failure::new("protocol", "The hub answered in another encoding than was asked for")
}

/// Writes a line into the hub's log. Never values of cells, never secrets.
pub fn log(level: Level, message: &str) {
    hub_log::write(level, message);
}
