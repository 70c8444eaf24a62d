//! Reading as the host does it.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::{
    block_on,
    report::{Stop, failed, require},
    session::{Run, Session},
    subject::{Source, Table},
};
use crate::{
    Boundary, Budgets, Event, OpenRequest, Plan, PlanDescription, Position, Reader, Split,
    changes::{is_change_schema, row_columns},
};

/// What came out of one split.
#[derive(Default)]
pub(super) struct Read {
    /// The rows, without change columns.
    pub(super) batches: Vec<RecordBatch>,
    /// Each boundary, and how many batches lay before it.
    pub(super) boundaries: Vec<(usize, Boundary)>,
}

impl Read {
    pub(super) fn lines(&self, names: &[&str], batches: std::ops::Range<usize>) -> Result<Vec<String>, Stop> {
        lines_of(&self.batches[batches], names)
    }
}

pub(super) fn lines_of(batches: &[RecordBatch], names: &[&str]) -> Result<Vec<String>, Stop> {
    let lines = batches.iter().map(|batch| super::lines(batch, names)).collect::<crate::Result<Vec<_>>>()?;
    Ok(lines.into_iter().flatten().collect())
}

/// Reads a split up to its end; a stream up to the boundary behind `expected` rows.
pub(super) fn read_split(reader: &mut dyn Reader, split: &Split, expected: usize) -> Result<Read, Stop> {
    let (mut read, mut shapes, mut rows) = (Read::default(), Vec::new(), 0);
    let started = Instant::now();
    let mut last = None;
    loop {
        let event = block_on(reader.next(Duration::from_millis(200)))?;
        match &event {
            Event::Schema(schema) => {
                require(split.streams.contains(&schema.stream), || {
                    format!("Stream `{}` is not one of split `{}`", schema.stream, split.id)
                })?;
                shapes.push((schema.stream.clone(), schema.id, schema.arrow.clone()));
            }
            Event::Rows(batch) => {
                let shape =
                    shapes.iter().rfind(|(stream, id, _)| *stream == batch.stream && *id == batch.schema_id);
                let Some((.., shape)) = shape else {
                    return failed(format!("Rows of `{}` came before their schema", batch.stream));
                };
                require(batch.batch.schema_ref() == shape, || "Rows are not of their schema".into())?;
                rows += batch.batch.num_rows();
                read.batches.push(if is_change_schema(shape) {
                    batch.batch.project(&row_columns(shape)).map_err(crate::Error::from)?
                } else {
                    batch.batch.clone()
                });
            }
            Event::Boundary(boundary) => {
                let earlier = read.boundaries.last().map(|(_, earlier)| earlier.number);
                require(earlier.is_none_or(|earlier| earlier < boundary.number), || {
                    format!("Boundary {} does not follow {earlier:?}", boundary.number)
                })?;
                require(boundary.position.as_ref().is_none_or(|at| at.version().is_some()), || {
                    format!("The position of boundary {} has no version `v`", boundary.number)
                })?;
                read.boundaries.push((read.batches.len(), boundary.clone()));
                if !split.bounded && rows >= expected {
                    return Ok(read);
                }
            }
            Event::End => {
                require(split.bounded, || format!("Split `{}` is unbounded and ended", split.id))?;
                require(matches!(last, Some(Event::Boundary(_))), || {
                    "The end came without a boundary before it".into()
                })?;
                return Ok(read);
            }
            Event::Rejected(row) => return failed(format!("A good row was rejected: {}", row.reason)),
            Event::Truncate(_) => return failed("The table was never emptied, but a truncate came"),
            Event::Idle => {
                require(started.elapsed() < Duration::from_secs(60), || {
                    format!("Only {rows} of {expected} rows came within 60 s")
                })?;
                continue;
            }
        }
        last = Some(event);
    }
}

/// A plan, its connection, and what it says.
pub(super) struct Planned {
    pub(super) plan: Box<dyn Plan>,
    pub(super) description: PlanDescription,
    pub(super) session: Session,
}

impl Run {
    pub(super) fn plan(
        &self,
        source: &Source,
        pipeline: &str,
        interrupted: Option<PlanDescription>,
    ) -> Result<Planned, Stop> {
        let session = self.connect()?;
        let request = self.plan_request(source, pipeline, interrupted)?;
        let plan = block_on(session.connection.plan(&request))
            .map_err(|error| Stop::from(error).during("Planning"))?;
        let description = plan.description();
        Ok(Planned { plan, description, session })
    }

    /// Reads a whole table through a plan of its own, and cleans up after it.
    pub(super) fn read_table(
        &self,
        source: &Source,
        budgets: Budgets,
        expected: usize,
    ) -> Result<Vec<Read>, Stop> {
        let pipeline = self.pipeline();
        let planned = self.plan(source, &pipeline, None)?;
        let mut reads = Vec::new();
        for split in planned.in_order()? {
            reads.push(planned.read(&split, None, budgets, expected, true)?);
        }
        planned.release(&pipeline)?;
        Ok(reads)
    }
}

impl Planned {
    /// The splits, each behind those that it comes after.
    pub(super) fn in_order(&self) -> Result<Vec<Split>, Stop> {
        let mut waiting = self.description.splits.clone();
        let mut ordered: Vec<Split> = Vec::new();
        while !waiting.is_empty() {
            let ready = waiting.iter().position(|split| {
                split.after.iter().all(|id| ordered.iter().any(|earlier| earlier.id == *id))
            });
            let Some(ready) = ready else {
                return failed("The splits wait for each other, or for one that is not there");
            };
            ordered.push(waiting.remove(ready));
        }
        Ok(ordered)
    }

    pub(super) fn open(
        &self,
        split: &Split,
        position: Option<Position>,
        budgets: Budgets,
    ) -> crate::Result<Box<dyn Reader>> {
        block_on(self.plan.open(&OpenRequest { split: split.clone(), position, budgets, peek: false }))
    }

    /// Reads a split; what was read is acknowledged when it is to count as durable.
    pub(super) fn read(
        &self,
        split: &Split,
        position: Option<Position>,
        budgets: Budgets,
        expected: usize,
        durable: bool,
    ) -> Result<Read, Stop> {
        let mut reader = self.open(split, position, budgets)?;
        let read = read_split(&mut *reader, split, expected)?;
        if let Some((_, boundary)) = read.boundaries.last().filter(|_| durable) {
            block_on(reader.acknowledge(boundary.number))?;
        }
        Ok(read)
    }

    /// Drops what the plan made on the server.
    pub(super) fn release(self, pipeline: &str) -> Result<(), Stop> {
        drop(self.plan);
        Ok(block_on(self.session.connection.release(pipeline))?)
    }
}

/// Fails unless the same rows are there, each as often, in any order.
pub(super) fn require_same_rows(
    what: &str,
    mut expected: Vec<String>,
    mut found: Vec<String>,
) -> Result<(), Stop> {
    expected.sort_unstable();
    found.sort_unstable();
    if expected == found {
        return Ok(());
    }
    let (lost, added) = (without(&expected, &found), without(&found, &expected));
    let show = |rows: &[&String]| {
        let shown: Vec<_> = rows.iter().take(3).map(|row| format!("`{}`", short(row))).collect();
        format!("{}{}", shown.join(", "), if rows.len() > 3 { " …" } else { "" })
    };
    let mut parts = vec![format!("{what}: {} rows expected, {} found", expected.len(), found.len())];
    if !lost.is_empty() {
        parts.push(format!("{} lost: {}", lost.len(), show(&lost)));
    }
    if !added.is_empty() {
        parts.push(format!("{} not expected: {}", added.len(), show(&added)));
    }
    failed(parts.join("; "))
}

/// The elements of sorted `left` that sorted `right` does not have, as often as they are missing.
fn without<'a>(left: &'a [String], right: &[String]) -> Vec<&'a String> {
    let mut rest = right;
    left.iter()
        .filter(|row| {
            rest = &rest[rest.partition_point(|other| other < *row)..];
            let there = rest.first() == Some(row);
            rest = &rest[usize::from(there)..];
            !there
        })
        .collect()
}

/// What a table's rows must read as.
pub(super) fn expected_lines(table: &Table) -> Result<Vec<String>, Stop> {
    lines_of(std::slice::from_ref(&table.rows), &table.names())
}

fn short(text: &str) -> String {
    if text.chars().count() <= 100 {
        text.into()
    } else {
        text.chars().take(97).chain("…".chars()).collect()
    }
}
