//! Option `statements`: the user's own statements, prepared once, run in order for each row.

use std::{future::Future, pin::Pin, task::Poll};

use hub_plugin_api::{
    Error, ErrorKind, Result, StreamSchema,
    arrow::{
        array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, make_array},
        buffer::NullBuffer,
        datatypes::{Field, Schema},
    },
    changes::{self, Changes, Op},
    settle::{RowPlace, Segment},
    types::Column,
};
use tokio_postgres::{Client, Statement};

use super::{
    bound::BoundRow,
    options::TemplateOption,
    settle::Refusal,
    template::{Placeholder, Template},
};
use crate::{
    error,
    wire::{encode::BoundRows, encode_plan::ColumnPlan, encode_target::Target, encode_target::Wire},
};

/// Statements on their way at the same time.
const PIPELINED: usize = 64;

/// A prepared statement and what it binds.
struct Ready {
    on: Op,
    statement: Statement,
    /// Columns of the batch, then those of the row as it was.
    plans: Vec<ColumnPlan>,
    /// The places in the row of the columns that are bound, for values that the source did not send.
    bound: Vec<usize>,
}

/// A stream's statements.
pub(super) struct Statements {
    ready: Vec<Ready>,
    changes: bool,
}

/// Takes the statements of the options apart.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] with what is wrong and where.
pub(super) fn parse(options: &[TemplateOption]) -> Result<Vec<(Op, Template)>> {
    let parse = |option: &TemplateOption| {
        let on = option.on.parse().map_err(|_| {
            let message = format!("`{}` is none of `insert`, `update`, `delete` and `snapshot`", option.on);
            Error::config("statements", message)
        })?;
        Ok((on, Template::parse(&option.statement)?))
    };
    options.iter().map(parse).collect()
}

impl Statements {
    /// Prepares them for a stream.
    ///
    /// # Errors
    /// When a placeholder names no column, the server refuses a statement, or a value has no place in a parameter.
    pub(super) async fn prepare(
        client: &Client,
        templates: &[(Op, Template)],
        schema: &StreamSchema,
    ) -> Result<Self> {
        let changes = changes::is_change_schema(&schema.arrow);
        let columns = hub_plugin_api::types::columns_of(&schema.arrow)?;
        let mut ready = Vec::with_capacity(templates.len());
        for (on, template) in templates {
            let statement = client.prepare(&template.statement).await.map_err(|error| {
                error::from_driver("The server refuses a statement of option `statements`", &error)
                    .with_field("statements")
                    .with_context("statement", &template.statement)
            })?;
            let mut plans = Vec::with_capacity(template.placeholders.len());
            let mut bound = Vec::new();
            for (placeholder, parameter) in template.placeholders.iter().zip(statement.params()) {
                let plan = plan_of(placeholder, schema, &columns, &Target::of_parameter(parameter))?;
                if !placeholder.before {
                    bound.extend(
                        changes::row_columns(&schema.arrow).iter().position(|place| *place == plan.index),
                    );
                }
                plans.push(plan);
            }
            ready.push(Ready { on: *on, statement, plans, bound });
        }
        Ok(Self { ready, changes })
    }

    /// Runs the statements of some rows, in order, until one is refused.
    ///
    /// # Errors
    /// What is not the rows' fault.
    pub(super) async fn run(
        &self,
        client: &Client,
        segment: &Segment,
        rows: &[RowPlace],
    ) -> Result<Result<(), Refusal>> {
        for part in rows.chunk_by(|a, b| a.0 == b.0) {
            let batch = &segment.chunks[part[0].0 as usize].batch;
            let view = if self.changes { Some(Changes::of(batch)?) } else { None };
            let wide = with_before(batch, view.as_ref())?;
            let bound: Vec<BoundRows<'_>> =
                self.ready.iter().map(|one| BoundRows::bind(&one.plans, &wide)).collect::<Result<_>>()?;
            let mut calls = Vec::with_capacity(PIPELINED);
            for (_, row) in part {
                let row = *row as usize;
                match self.calls(&bound, view.as_ref(), row) {
                    Ok(more) => calls.extend(more),
                    Err(error) if error.kind == ErrorKind::InvalidData => {
                        return Ok(Err(Refusal::of(&error)));
                    }
                    Err(error) => return Err(error),
                }
                if calls.len() >= PIPELINED
                    && let Err(refusal) = execute(client, std::mem::take(&mut calls)).await?
                {
                    return Ok(Err(refusal));
                }
            }
            if let Err(refusal) = execute(client, calls).await? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// One row's statements with their values.
    fn calls(
        &self,
        bound: &[BoundRows<'_>],
        view: Option<&Changes>,
        row: usize,
    ) -> Result<Vec<(&Statement, BoundRow)>> {
        let op = view.map_or(Ok(Op::Insert), |view| view.op(row))?;
        // Without statements of its own a snapshot's row is a new one.
        let own = |on: Op| self.ready.iter().any(|one| one.on == on);
        let on = if op == Op::Snapshot && !own(Op::Snapshot) { Op::Insert } else { op };
        let mut calls = Vec::new();
        for (one, bound) in self.ready.iter().zip(bound).filter(|(one, _)| one.on == on) {
            if let Some(view) = view
                && let Some(place) = one.bound.iter().find(|place| view.is_unchanged(row, **place))
            {
                let schema = view.rows().schema();
                let message = format!(
                    "The source did not send column `{}`, which a statement binds",
                    schema.field(*place).name()
                );
                return Err(Error::new(ErrorKind::InvalidData, message));
            }
            let values = BoundRow::of(bound, &one.plans, row)?.cast_by_server(&one.plans);
            calls.push((&one.statement, values));
        }
        if calls.is_empty() {
            return Err(Error::config(
                "statements",
                format!("A row came as `{op}`, for which there is no statement"),
            )
            .with_hint(format!("Add one with `on: {op}`; `select 1` leaves such rows out")));
        }
        Ok(calls)
    }
}

fn plan_of(
    placeholder: &Placeholder,
    schema: &StreamSchema,
    columns: &[Column],
    target: &Target,
) -> Result<ColumnPlan> {
    let Placeholder { column: name, before } = placeholder;
    let unknown = || {
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        Error::config("statements", format!("Stream `{}` has no column `{name}`", schema.stream))
            .with_hint(format!("It has: {}", names.join(", ")))
    };
    let row = changes::row_columns(&schema.arrow);
    let index = if *before {
        if !changes::is_change_schema(&schema.arrow) {
            return Err(Error::config("statements", format!("Stream `{}` brings no changes", schema.stream))
                .with_hint("`__before` is the row as it was before a change"));
        }
        let place = row.iter().position(|index| columns[*index].name == *name).ok_or_else(unknown)?;
        columns.len() + place
    } else {
        columns.iter().position(|column| column.name == *name).ok_or_else(unknown)?
    };
    let column = match index.checked_sub(columns.len()) {
        Some(place) => &columns[row[place]],
        None => &columns[index],
    };
    let plan = ColumnPlan::new(index, column, target)?;
    if plan.via_text.is_some() && matches!(target.wire, Wire::Array(_)) {
        let message =
            format!("Column `{name}`: an array of such values cannot be bound to a parameter of a statement");
        return Err(
            Error::new(ErrorKind::UnsupportedType, message).with_hint("Cast it: `{{column}}::text[]::…`")
        );
    }
    Ok(plan)
}

/// The batch, and behind its columns those of the rows as they were.
fn with_before(batch: &RecordBatch, view: Option<&Changes>) -> Result<RecordBatch> {
    let Some(before) = view.and_then(|view| view.before()) else { return Ok(batch.clone()) };
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut columns = batch.columns().to_vec();
    for (field, child) in before.fields().iter().zip(before.columns()) {
        fields.push(field.as_ref().clone().with_nullable(true));
        columns.push(under(child, before.nulls())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Schema::new(fields).into(), columns, &options)?)
}

/// A struct's column, null where the struct is.
fn under(child: &ArrayRef, nulls: Option<&NullBuffer>) -> Result<ArrayRef> {
    let nulls = NullBuffer::union(child.nulls(), nulls);
    Ok(make_array(child.to_data().into_builder().nulls(nulls).build()?))
}

/// Sends statements in order without waiting for answers in between.
async fn execute(client: &Client, calls: Vec<(&Statement, BoundRow)>) -> Result<Result<(), Refusal>> {
    let mut running: Vec<Running<'_>> = Vec::with_capacity(calls.len());
    for (statement, values) in &calls {
        running.push(Running {
            future: Box::pin(client.execute_raw(*statement, values.parameters())),
            done: None,
        });
    }
    // The driver sends a request when its future is polled for the first time, so the order is that of the rows.
    std::future::poll_fn(|context| {
        let mut pending = false;
        for one in running.iter_mut().filter(|one| one.done.is_none()) {
            match one.future.as_mut().poll(context) {
                Poll::Ready(result) => one.done = Some(result),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    for one in running {
        if let Some(Err(error)) = one.done {
            return Refusal::sort("the table of a statement", &error).map(Err);
        }
    }
    Ok(Ok(()))
}

struct Running<'a> {
    future: Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send + 'a>>,
    done: Option<Result<u64, tokio_postgres::Error>>,
}
