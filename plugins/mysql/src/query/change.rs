//! A statement that changes data, where the user lets queries do that.

use hub_plugin_api::{Context, Error, ErrorKind, Reader, Result, simple};

use crate::{config::Settings, connection::Session, sql::statement::StatementText};

/// Runs a statement that gives no rows, in a transaction of its own. Its one row, `changed`, says how many rows it found
/// to change.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] unless the user granted it; when the server refuses.
pub async fn change(settings: &Settings, context: &Context, text: &StatementText) -> Result<Box<dyn Reader>> {
    if !context.queries_may_write() {
        let message = "The statement changes data, and queries of this connection only read";
        return Err(Error::new(ErrorKind::PermissionDenied, message).with_field("statement"));
    }
    let mut session = Session::open(settings, context).await?;
    let done = session
        .run(text.as_str(), "The statement failed")
        .await
        .map_err(|error| error.with_field("statement"))?;
    simple::changed(done.affected)
}
