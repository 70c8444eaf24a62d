//! A statement that changes data, where the user lets queries do that.

use std::sync::Arc;

use hub_plugin_api::{
    Context, Error, ErrorKind, Position, Reader, Result, StreamId,
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch},
        datatypes::SchemaRef,
    },
    async_trait,
    simple::{BatchSource, batch_reader},
    types::{Column, LogicalType, schema_of},
};

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
    if !context.queries_may_write() {
        let message = "The statement changes data, and queries of this connection only read";
        return Err(Error::new(ErrorKind::PermissionDenied, message).with_field("statement").with_hint(
            "List `write` under the option `grants` of a function to let its statements change data",
        ));
    }
    let text = text.with_parameters(&parameters::expressions(values, statement.params())?)?;
    let done = session.work(session.client().execute(text.as_str(), &[])).await;
    let changed = done.map_err(|error| refused(error::from_driver("The statement failed", &error)))?;
    let changed: ArrayRef = Arc::new(Int64Array::from(vec![i64::try_from(changed).unwrap_or(i64::MAX)]));
    let schema = schema_of(&[Column::new("changed", LogicalType::Int64).not_null()]);
    let batch = RecordBatch::try_new(schema, vec![changed])?;
    Ok(batch_reader(StreamId::named("change"), Once(batch.schema(), Some(batch))))
}

/// One batch.
struct Once(SchemaRef, Option<RecordBatch>);

#[async_trait]
impl BatchSource for Once {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    async fn next_batch(&mut self) -> Result<Option<(RecordBatch, Option<Position>)>> {
        Ok(self.1.take().map(|batch| (batch, None)))
    }
}
