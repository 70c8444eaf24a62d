//! The rows of the guest `bench`, as a native plugin yields them. Row `i` holds `4 * i + c`, `0.5 * i + c` and
//! `value-c-i`.

use std::{fmt::Write, sync::Arc};

use hub_plugin_api::{
    Position, StreamId,
    arrow::{
        array::{ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder},
        datatypes::SchemaRef,
    },
    prelude::*,
    simple::{BatchSource, SingleSplit, batch_reader},
    types::schema_of,
};

/// How the rows come about.
#[derive(Clone, Copy)]
pub(crate) enum Rows {
    /// Every value is made and appended by itself, as a driver hands them over; texts by the standard library.
    ValueByValue,
    /// As [`Rows::ValueByValue`], with the digits of texts by the crate that the guest uses.
    FastDigits,
    /// One batch is made, and yielded again and again.
    MadeOnce,
}

/// The columns of the rows.
pub(crate) fn columns() -> Vec<Column> {
    let named = |range: std::ops::Range<usize>, logical: LogicalType| {
        range.map(move |c| Column::new(format!("c{c}"), logical.clone()).not_null())
    };
    named(0..4, LogicalType::Int64)
        .chain(named(4..6, LogicalType::Float64))
        .chain(named(6..8, LogicalType::Text))
        .collect()
}

/// The connector.
pub(crate) struct MadeUp(pub(crate) Rows);

impl MadeUp {
    /// A connection of it.
    pub(crate) fn connection(rows: Rows) -> impl Connection {
        MadeUpConnection(rows)
    }
}

#[async_trait]
impl Connector for MadeUp {
    fn spec(&self) -> ConnectorSpec {
        ConnectorSpec::new("made-up", "Made-up rows").strategy(Strategy::source("query", "By Query"))
    }

    async fn connect(&self, _: &Config, _: &Context) -> Result<Box<dyn Connection>> {
        Ok(Box::new(MadeUpConnection(self.0)))
    }
}

struct MadeUpConnection(Rows);

#[async_trait]
impl Connection for MadeUpConnection {
    async fn identity(&self) -> Result<String> {
        Ok("made-up".into())
    }

    async fn check(&self, _: &CheckRequest, _: &CheckReporter) -> Result<()> {
        Ok(())
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        let number = |id: &str| request.options.integer(id).unwrap_or_default();
        let (kind, end, batch_rows) = (self.0, number("rows"), number("batch_rows"));
        let stream = StreamId::named("made-up");
        Ok(Box::new(SingleSplit::new(request.run, stream.clone(), move |_| {
            let schema = schema_of(&columns());
            let made = match kind {
                Rows::ValueByValue | Rows::FastDigits => None,
                Rows::MadeOnce => Some(build(&schema, 0, batch_rows, false)?),
            };
            Ok(batch_reader(
                stream.clone(),
                Source {
                    schema,
                    at: 0,
                    end,
                    batch_rows,
                    fast_digits: matches!(kind, Rows::FastDigits),
                    made,
                },
            ))
        })))
    }
}

struct Source {
    schema: SchemaRef,
    at: i64,
    end: i64,
    batch_rows: i64,
    fast_digits: bool,
    made: Option<RecordBatch>,
}

#[async_trait]
impl BatchSource for Source {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next_batch(&mut self) -> Result<Option<(RecordBatch, Option<Position>)>> {
        let (first, end) = (self.at, self.end.min(self.at + self.batch_rows));
        if first >= end {
            return Ok(None);
        }
        self.at = end;
        let batch = match &self.made {
            Some(made) => made.clone(),
            None => build(&self.schema, first, end, self.fast_digits)?,
        };
        Ok(Some((batch, None)))
    }
}

fn build(schema: &SchemaRef, first: i64, end: i64, fast_digits: bool) -> Result<RecordBatch> {
    let length = usize::try_from(end - first).unwrap_or_default();
    let mut whole: Vec<_> = (0..4).map(|_| Int64Builder::with_capacity(length)).collect();
    let mut floats: Vec<_> = (0..2).map(|_| Float64Builder::with_capacity(length)).collect();
    let mut texts: Vec<_> = (0..2).map(|_| StringBuilder::with_capacity(length, length * 16)).collect();
    let (mut text, mut digits) = (String::new(), itoa::Buffer::new());
    for i in first..end {
        for (c, values) in (0..).zip(&mut whole) {
            values.append_value(4 * i + c);
        }
        for (c, values) in [0.0, 1.0].into_iter().zip(&mut floats) {
            values.append_value(0.5 * i as f64 + c);
        }
        for (c, values) in texts.iter_mut().enumerate() {
            text.clear();
            if fast_digits {
                for part in ["value-", digits.format(c), "-", itoa::Buffer::new().format(i)] {
                    text.push_str(part);
                }
            } else {
                // Writing into a text does not fail.
                let _ = write!(text, "value-{c}-{i}");
            }
            values.append_value(&text);
        }
    }
    let whole = whole.into_iter().map(|mut values| Arc::new(values.finish()) as ArrayRef);
    let floats = floats.into_iter().map(|mut values| Arc::new(values.finish()) as ArrayRef);
    let texts = texts.into_iter().map(|mut values| Arc::new(values.finish()) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::clone(schema), whole.chain(floats).chain(texts).collect())?)
}
