use std::sync::Arc;

use hub_plugin_api::{Budgets, Context, Reader, Result, StreamId, arrow::array::RecordBatch};

use super::{
    options::QueryOptions,
    parameters,
    reader::{ReaderSetup, start},
    shape::Shape,
    snapshot::open_now,
};
use crate::{config::Settings, raw::RawSession, sql::read::Selection};

/// Reads a statement's rows once, without plan and positions. `values` is one row, a column a parameter. The session is
/// read-only unless the user granted otherwise.
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
    let mut session = if context.queries_may_write() {
        RawSession::open(settings, context).await?
    } else {
        open_now(settings, context, options.lock_timeout_ms).await?
    };
    let shape = Shape::of(&mut session, &options, values.or_else(|| Some(Vec::new()))).await?;
    let setup = ReaderSetup {
        stream: shape.table.clone().unwrap_or_else(|| StreamId::named("query")),
        shape: Arc::new(shape),
        selection: Selection::default(),
        budgets: Budgets::default(),
        zero_dates: options.zero_dates,
        offset_seconds: settings.offset_seconds(),
        cursor: None,
        end: None,
        pool: None,
    };
    start(session, setup).await
}
