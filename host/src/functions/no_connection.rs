//! The connection of a function that is only tried out.

use hub_plugin_api::{
    CheckReporter, CheckRequest, Connection, Error, Reader, Result, Statement, arrow::array::RecordBatch,
    async_trait,
};

/// A connection without a database behind it.
pub(super) struct NoConnection;

#[async_trait]
impl Connection for NoConnection {
    async fn identity(&self) -> Result<String> {
        Ok("none".into())
    }

    async fn check(&self, _: &CheckRequest, _: &CheckReporter) -> Result<()> {
        Ok(())
    }

    async fn query(&self, _: &Statement, _: Option<RecordBatch>) -> Result<Box<dyn Reader>> {
        Err(Error::unsupported("A query while the function is only tried out"))
    }
}
