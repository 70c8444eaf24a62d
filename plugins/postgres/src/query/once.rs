use std::sync::Arc;

use hub_plugin_api::{Budgets, Context, Reader, Result, StreamId, arrow::array::RecordBatch};

use super::{
    options::QueryOptions,
    parameters,
    prepare::Prepared,
    reader::{ReaderSetup, start},
    snapshot::open_now,
};
use crate::{config::Settings, sql::read::Selection};

/// Reads a statement's rows once, without plan and positions. `values` is one row, a column a parameter.
///
/// # Errors
/// When the server refuses the statement, or values and parameters do not fit.
pub async fn read_once(
    settings: &Settings,
    context: &Context,
    statement: &str,
    values: Option<RecordBatch>,
) -> Result<Box<dyn Reader>> {
    let options = QueryOptions::of_statement(statement)?;
    let values = values.as_ref().map(parameters::from_batch).transpose()?;
    let session = open_now(settings, context, options.lock_timeout_ms).await?;
    let prepared = Prepared::new(&session, &options, values).await?;
    let setup = ReaderSetup {
        stream: prepared.shape.table.clone().unwrap_or_else(|| StreamId::named("query")),
        prepared: Arc::new(prepared),
        selection: Selection::default(),
        budgets: Budgets::default(),
        cursor: None,
        end: None,
    };
    start(session, setup).await
}
