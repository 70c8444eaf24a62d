use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::SchemaRef,
};
use async_trait::async_trait;

use super::{BatchSource, batch_reader};
use crate::{
    Error, ErrorKind, Position, Reader, Result, StreamId,
    types::{Column, LogicalType, schema_of},
};

/// What a statement answers that gives no rows: one row, whose `changed` says how many rows it changed.
///
/// # Errors
/// None that rows can cause.
pub fn changed(rows: u64) -> Result<Box<dyn Reader>> {
    let changed: ArrayRef = Arc::new(Int64Array::from(vec![i64::try_from(rows).unwrap_or(i64::MAX)]));
    let schema = schema_of(&[Column::new("changed", LogicalType::Int64).not_null()]);
    let batch = RecordBatch::try_new(schema, vec![changed])?;
    Ok(batch_reader(StreamId::named("change"), Once(batch.schema(), Some(batch))))
}

/// What lets the statements of a function change data.
pub const HOW_TO_GRANT: &str =
    "List `write` under the option `grants` of a function to let its statements change data";

/// Fails where a statement changes data and the user did not grant that, which [`crate::Context::queries_may_write`]
/// tells.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] of field `statement`, with how to grant it.
pub fn check_may_change(granted: bool) -> Result<()> {
    if granted {
        return Ok(());
    }
    let message = "The statement changes data, and queries of this connection only read";
    Err(Error::new(ErrorKind::PermissionDenied, message).with_field("statement").with_hint(HOW_TO_GRANT))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_without_the_grant_says_where_to_grant_it() {
        assert!(check_may_change(true).is_ok());
        let error = check_may_change(false).unwrap_err();
        assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::PermissionDenied, Some("statement")));
        assert!(error.hint.is_some_and(|hint| hint.contains("`grants`")));
    }
}
