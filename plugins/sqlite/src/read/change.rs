//! A statement that changes data, where the user lets queries do that.

use hub_plugin_api::{Reader, Result, simple};

use super::Parameters;
use crate::{
    config::ConnectionConfig,
    database::{self, Interrupt},
    error::map,
};

/// Whether a statement returns no rows but changes data: what [`change`] is for.
///
/// # Errors
/// When SQLite does not take the statement.
pub fn is_change(config: &ConnectionConfig, statement: &str) -> Result<bool> {
    let connection = database::open_read(config)?;
    let failed = |error| map("The statement was refused", error).with_field("statement");
    let prepared = connection.prepare(statement).map_err(failed)?;
    Ok(prepared.column_count() == 0 && !prepared.readonly())
}

/// Runs the statement in a transaction of its own. Its one row, `changed`, says how many rows it changed.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] unless the user granted it; when SQLite refuses.
pub fn change(
    config: &ConnectionConfig,
    statement: &str,
    parameters: &Parameters,
    interrupt: &Interrupt,
) -> Result<Box<dyn Reader>> {
    simple::check_may_change(config.queries_may_write)?;
    let connection = database::open_write(config)?;
    interrupt.watch(&connection);
    interrupt.check()?;
    let failed = |error| map("The statement failed", error).with_field("statement");
    let mut prepared = connection.prepare(statement).map_err(failed)?;
    parameters.check(&prepared)?;
    parameters.bind(&mut prepared)?;
    let changed = prepared.raw_execute().map_err(failed)?;
    simple::changed(changed as u64)
}
