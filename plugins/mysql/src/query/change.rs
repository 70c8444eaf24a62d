//! A statement that changes data, where the user lets queries do that.

use hub_plugin_api::{Context, Reader, Result, simple};

use crate::{config::Settings, connection::Session, sql::statement::StatementText};

/// Runs a statement that gives no rows, in a transaction of its own. Its one row, `changed`, says how many rows it found
/// to change.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::PermissionDenied`] unless the user granted it; when the server refuses.
pub async fn change(settings: &Settings, context: &Context, text: &StatementText) -> Result<Box<dyn Reader>> {
    simple::check_may_change(context.queries_may_write())?;
    let mut session = Session::open(settings, context).await?;
    let done = session
        .run(text.as_str(), "The statement failed")
        .await
        .map_err(|error| error.with_field("statement"))?;
    simple::changed(done.affected)
}
