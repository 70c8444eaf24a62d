use std::sync::Arc;

use hub_plugin_api::{Budgets, Context, Reader, Result, StreamId, arrow::array::RecordBatch};

use super::{
    change::{change, open_to_change},
    options::QueryOptions,
    parameters,
    prepare::{Prepared, prepare},
    reader::{ReaderSetup, start},
    snapshot::open_now,
};
use crate::{
    config::Settings,
    sql::{read::Selection, statement::StatementText},
};

/// Reads a statement's rows once, without plan and positions. `values` is one row, a column a parameter. The session is
/// read-only, unless the user granted more: then the statement is a transaction of its own, which is committed when its
/// rows were read to the end, and one without rows says how many it changed.
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
    let session = match context.queries_may_write() {
        true => open_to_change(settings, context, options.lock_timeout_ms).await?,
        false => open_now(settings, context, options.lock_timeout_ms).await?,
    };
    let text = StatementText::parse(statement)?;
    if !text.is_query() {
        let described = prepare(&session, &text).await?;
        if described.columns().is_empty() {
            return change(&session, context, &text, &described, &values.unwrap_or_default()).await;
        }
    }
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
