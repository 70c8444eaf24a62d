use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch},
    datatypes::SchemaRef,
};
use async_trait::async_trait;

use super::{BatchSource, batch_reader};
use crate::{
    Position, Reader, Result, StreamId,
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
