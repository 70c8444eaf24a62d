use std::sync::Arc;

use hub_plugin_api::{Budgets, Context, Reader, Result, StreamId, arrow::array::RecordBatch};

use super::{
    change::change,
    options::QueryOptions,
    parameters,
    reader::{ReaderSetup, start},
    shape::Shape,
    snapshot::open_now,
};
use crate::{
    config::Settings,
    error,
    sql::{read::Selection, statement::StatementText},
};

/// Reads a statement's rows once, without plan and positions. `values` is one row, a column a parameter. The session is
/// read-only; a statement without rows changes data where the user granted it.
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
    let offset_seconds = settings.offset_seconds();
    let values = values.as_ref().map(|values| parameters::from_batch(values, offset_seconds)).transpose()?;
    let values = values.unwrap_or_default();
    let text = StatementText::parse(statement)?.with_parameters(&values)?;
    let mut session = open_now(settings, context, options.lock_timeout_ms).await?;
    if !text.is_query() {
        let changes = match session.describe(text.as_str(), "The server refuses the statement").await {
            Ok(described) => described.columns.is_empty(),
            // MariaDB refuses already to prepare what a read-only session may not do.
            Err(error) if error.code.as_deref() == Some(error::READ_ONLY_SESSION) => true,
            Err(error) => return Err(error.with_field("statement")),
        };
        if changes {
            return change(settings, context, &text).await;
        }
    }
    let shape = Shape::of(&mut session, &options, Some(values)).await?;
    let setup = ReaderSetup {
        stream: shape.table.clone().unwrap_or_else(|| StreamId::named("query")),
        shape: Arc::new(shape),
        selection: Selection::default(),
        budgets: Budgets::default(),
        zero_dates: options.zero_dates,
        offset_seconds,
        cursor: None,
        end: None,
        pool: None,
    };
    start(session, setup).await
}
