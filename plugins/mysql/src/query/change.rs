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
    let changed = i64::try_from(done.affected).unwrap_or(i64::MAX);
    let changed: ArrayRef = Arc::new(Int64Array::from(vec![changed]));
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
