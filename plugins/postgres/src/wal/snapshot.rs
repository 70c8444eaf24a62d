//! The rows that are there, as changes of their own kind.

use std::{sync::Arc, time::Duration};

use hub_plugin_api::{
    Budgets, Canceller, Config, Context, Error, Event, Level, Reader, Result, Rows, StreamSchema,
    arrow::{
        array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array, new_null_array},
        datatypes::DataType,
    },
    async_trait,
    changes::Op,
    json,
};

use super::{
    options::WalOptions,
    table::TableShape,
    tables::{self, Published},
};
use crate::{
    config::Settings,
    query::{Prepared, QueryOptions, ReaderSessions, ReaderSetup, start_copy},
    sql::{
        read::Selection,
        wal::{self, Table},
    },
};

/// What a table's rows are read from.
pub struct SnapshotSetup<'a> {
    /// The table.
    pub table: &'a Table,
    /// The publication whose rows and columns are read; none: all of them.
    pub publication: Option<&'a str>,
    /// Sessions that see the state of the database to read.
    pub sessions: ReaderSessions,
    /// The strategy's options.
    pub options: &'a WalOptions,
    /// How much may be collected.
    pub budgets: Budgets,
}

/// Starts reading the rows of a table.
///
/// # Errors
/// When the snapshot is gone, the table has changed, or the server refuses.
pub async fn open_table(
    settings: &Settings,
    context: &Context,
    setup: SnapshotSetup<'_>,
) -> Result<SnapshotReader> {
    let options = setup.options;
    let session = setup.sessions.open(settings, context).await?;
    session.run(wal::SHOW_EVERY_ROW, "Could not prepare the session").await?;
    let version = setup.sessions.version;
    let published = tables::published(&session, setup.publication, setup.table, version).await?;
    say_generated(context, setup.table, &published);
    let names: Vec<_> = published.relation.columns.iter().map(|column| column.name.clone()).collect();
    let filter = published.filter.as_deref();
    let statement = wal::published_rows(setup.table, published.is_partitioned, &names, filter);
    let as_text = options.as_text()?;
    let shape = TableShape::of(&session, published.relation, &as_text).await?;
    let (schema, table) = setup.table;
    let of_text: Vec<_> = names.iter().filter(|name| as_text.names(schema, table, name)).collect();
    let query = Config::new()
        .with("statement", statement)
        .with("decimals", if as_text.decimals { "text" } else { "number" })
        .with("as_text", json!(of_text));
    let prepared = Prepared::new(&session, &QueryOptions::read(&query)?, None).await.map_err(hidden_rows)?;
    let reader_setup = ReaderSetup {
        prepared: Arc::new(prepared),
        selection: Selection::default(),
        stream: shape.stream.clone(),
        budgets: setup.budgets,
        cursor: None,
        end: None,
    };
    let rows = start_copy(setup.sessions.open_raw(settings, context).await?, reader_setup).await?;
    Ok(SnapshotReader { rows, shape, seq: 0 })
}

/// Says what to do about policies that hide rows.
fn hidden_rows(error: Error) -> Error {
    match error.source.as_deref() {
        Some(text) if text.contains("row-level security") => error.with_hint(
            "A policy hides rows of the table from the role, and the stream sends all of them: run `ALTER ROLE … \
             BYPASSRLS`, or connect as the table's owner",
        ),
        _ => error,
    }
}

/// Columns that the server computes are not among the changes, so neither are they among the rows.
fn say_generated(context: &Context, table: &Table, published: &Published) {
    if !published.generated.is_empty() {
        let message = format!(
            "Generated columns of `{}.{}` are not sent: `{}`",
            table.0,
            table.1,
            published.generated.join("`, `")
        );
        context.log(Level::Warn, "postgres", message);
    }
}

/// Reads the rows of a table as changes.
pub struct SnapshotReader {
    rows: Box<dyn Reader>,
    /// The table's columns.
    pub shape: TableShape,
    /// The number of the last row.
    pub seq: u64,
}

#[async_trait]
impl Reader for SnapshotReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        Ok(match self.rows.next(max_wait).await? {
            Event::Schema(schema) => {
                Event::Schema(StreamSchema { arrow: Arc::clone(&self.shape.changes), ..schema })
            }
            Event::Rows(rows) => {
                let batch = as_changes(&self.shape, &rows.batch, self.seq)?;
                self.seq += batch.num_rows() as u64;
                Event::Rows(Rows { batch, ..rows })
            }
            other => other,
        })
    }

    async fn acknowledge(&mut self, number: u64) -> Result<()> {
        self.rows.acknowledge(number).await
    }

    fn canceller(&self) -> Canceller {
        self.rows.canceller()
    }
}

/// Rows with the change columns behind them.
fn as_changes(shape: &TableShape, rows: &RecordBatch, seq: u64) -> Result<RecordBatch> {
    let count = rows.num_rows();
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(Op::Snapshot.as_str(), count))));
    columns.push(Arc::new(TimestampMicrosecondArray::new_null(count).with_timezone("UTC")));
    columns.push(Arc::new(UInt64Array::from_iter_values(seq + 1..=seq + count as u64)));
    columns.push(new_null_array(&DataType::Struct(shape.row.fields().clone()), count));
    columns.push(new_null_array(&DataType::Binary, count));
    Ok(RecordBatch::try_new(Arc::clone(&shape.changes), columns)?)
}
