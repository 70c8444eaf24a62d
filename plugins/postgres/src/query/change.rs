//! A statement that changes data, where the user lets queries do that.

use hub_plugin_api::{Context, Reader, Result, simple};

use super::{parameters, prepare::refused};
use crate::{
    config::Settings, connection::Session, error, sql::read::settings_of_changes,
    sql::statement::StatementText,
};

/// Opens a session in which every statement is a transaction of its own and may change data.
///
/// # Errors
/// When the session cannot be opened.
pub async fn open_to_change(settings: &Settings, context: &Context, lock_timeout_ms: u64) -> Result<Session> {
    let session = Session::open(settings, context).await?;
    session.run(&settings_of_changes(lock_timeout_ms), "Could not prepare the session").await?;
    Ok(session)
}

/// Runs a statement that gives no rows. Its one row, `changed`, says how many rows it changed.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] unless the user granted it; when the server refuses.
pub async fn change(
    session: &Session,
    context: &Context,
    text: &StatementText,
    statement: &tokio_postgres::Statement,
    values: &[Option<String>],
) -> Result<Box<dyn Reader>> {
    simple::check_may_change(context.queries_may_write())?;
    let text = text.with_parameters(&parameters::expressions(values, statement.params())?)?;
    let done = session.work(session.client().execute(text.as_str(), &[])).await;
    let changed = done.map_err(|error| refused(error::from_driver("The statement failed", &error)))?;
    simple::changed(changed)
}
