//! Mode `apply-changes`: a window of changes is folded to a few statements over sets of rows.
//!
//! A folded window that meets a unique or foreign key is taken back and halved, in the order of the source over all
//! streams, down to single changes: only a change that is refused on its own is an error.

use hub_plugin_api::{
    Error, ErrorKind, RejectedRow, Result,
    arrow::{array::RecordBatch, datatypes::Schema},
    changes::{self, Changes, Input, Moves, Run, Step, fold},
    settle::{Halves, RowPlace, Segment},
    types::META_KEY,
};

use super::{
    cell::ColumnPlan,
    rows,
    settle::{KEEP, PutRow, Refusal, SAVE, UNDO, write_rows},
    table::Shape,
    writer::TableWriter,
};
use crate::sql::write as sql;

/// A table's part of a window.
struct Part {
    table: usize,
    segment: Segment,
}

/// A change: the part, and its place there.
type Place = (usize, RowPlace);

impl TableWriter {
    /// Applies all changes that wait.
    pub(super) async fn settle_changes(&mut self) -> Result<()> {
        let mut parts = Vec::new();
        for (table, one) in self.tables.iter_mut().enumerate() {
            if one.shape.changes && !one.waiting.is_empty() {
                parts.push(Part { table, segment: std::mem::take(&mut one.waiting) });
            }
        }
        self.waiting_seq = 0;
        if parts.is_empty() {
            return Ok(());
        }
        for part in &mut parts {
            let key = &self.tables[part.table].shape.key;
            for chunk in &mut part.segment.chunks {
                chunk.batch = with_key(&chunk.batch, key)?;
            }
        }
        self.begin().await?;
        let whole: Vec<(usize, Vec<RecordBatch>)> = parts
            .iter()
            .map(|part| (part.table, part.segment.chunks.iter().map(|chunk| chunk.batch.clone()).collect()))
            .collect();
        if self.try_changes(&whole).await?.is_ok() {
            return Ok(());
        }
        let places = in_order(&parts)?;
        let mut halves = Halves::of_refused(places.len());
        while let Some(range) = halves.next() {
            let Err(refusal) = self.try_changes(&cut(&parts, &places[range.clone()])).await? else {
                continue;
            };
            if let Some(change) = halves.refused(range) {
                let (part, place) = places[change];
                self.rejected.push(RejectedRow {
                    stream: self.tables[parts[part].table].stream.clone(),
                    row: parts[part].segment.number(place),
                    kind: refusal.kind,
                    reason: refusal.reason,
                });
            }
        }
        Ok(())
    }

    /// Applies changes, all or nothing.
    async fn try_changes(&mut self, tables: &[(usize, Vec<RecordBatch>)]) -> Result<Result<(), Refusal>> {
        self.session.run(SAVE, "Could not set a savepoint").await?;
        let mut result = Ok(());
        for (table, batches) in tables {
            result = self.apply(*table, batches).await?;
            if result.is_err() {
                break;
            }
        }
        let end = if result.is_ok() { KEEP } else { UNDO };
        self.session.run(end, "Could not settle changes").await?;
        Ok(result)
    }

    async fn apply(&mut self, table: usize, batches: &[RecordBatch]) -> Result<Result<(), Refusal>> {
        let inputs: Vec<_> = batches.iter().map(Input::Rows).collect();
        let folded = match fold(&inputs) {
            Ok(folded) => folded,
            Err(error) if error.kind == ErrorKind::InvalidData => {
                return Ok(Err(Refusal::of(error.to_string())));
            }
            Err(error) => return Err(error),
        };
        let Some(first) = batches.first() else { return Ok(Ok(())) };
        let ways = Ways::new(&self.tables[table].shape, first.schema_ref());
        for step in &folded.steps {
            let result = match step {
                Step::Run(run) => self.apply_run(table, &ways, run).await?,
                Step::Truncate => return Err(Error::internal("A window of rows holds a truncate")),
                Step::Patches(_) => {
                    return Err(Error::unsupported("A difference of a document, in place of its row,"));
                }
            };
            if result.is_err() {
                return Ok(result);
            }
        }
        Ok(Ok(()))
    }

    async fn apply_run(&mut self, table: usize, ways: &Ways, run: &Run) -> Result<Result<(), Refusal>> {
        let shape = &self.tables[table].shape;
        let (destination, key) = (shape.destination.clone(), shape.key.clone());
        if let Some(rows) = &run.deletes {
            let head = |tuples: &str| sql::delete(&destination, &key, tuples);
            if let Err(refusal) = self.in_parts(&ways.key(), rows, &destination, head).await? {
                return Ok(Err(refusal));
            }
        }
        if let Some(rows) = &run.upserts {
            let plans = ways.of(&(0..rows.num_columns()).collect::<Vec<_>>());
            let shape = &self.tables[table].shape;
            if shape.other_unique.is_some() {
                for row in 0..rows.num_rows() {
                    let values = match rows::values(&plans, rows, row) {
                        Ok(values) => values,
                        Err(bad) => return Ok(Err(bad.into())),
                    };
                    let put = PutRow::of(&self.tables[table].shape, &values);
                    if let Err(refusal) = self.put_row(&put).await? {
                        return Ok(Err(refusal));
                    }
                }
            } else {
                let tail = sql::upsert_tail(self.session.server(), &shape.written, &shape.key);
                let head = sql::insert_head(&destination, &shape.written);
                let statement = |tuples: &str| format!("{head}{tuples}{tail}");
                if let Err(refusal) = self.in_parts(&plans, rows, &destination, statement).await? {
                    return Ok(Err(refusal));
                }
            }
        }
        for updates in &run.updates {
            let plans = ways.of(&updates.columns);
            for row in 0..updates.rows.num_rows() {
                match self.set_row(table, &plans, &updates.rows, row, None).await? {
                    Ok(0) => return Ok(Err(missing_row(&self.tables[table].shape))),
                    Ok(_) => {}
                    Err(refusal) => return Ok(Err(refusal)),
                }
            }
        }
        for moves in &run.moves {
            if let Err(refusal) = self.apply_moves(table, ways, moves).await? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// Runs a statement over many rows, as many at a time as a statement may have.
    async fn in_parts(
        &mut self,
        plans: &[ColumnPlan],
        rows: &RecordBatch,
        destination: &str,
        statement: impl Fn(&str) -> String,
    ) -> Result<Result<(), Refusal>> {
        let doing = format!("Could not write to {destination}");
        let mut tuples = String::new();
        for row in 0..rows.num_rows() {
            if !tuples.is_empty() {
                tuples.push_str(", ");
            }
            if let Err(bad) = rows::put_tuple(plans, rows, row, &mut tuples) {
                return Ok(Err(bad.into()));
            }
            if tuples.len() >= self.statement_bytes || row + 1 == rows.num_rows() {
                if let Err(refusal) = write_rows(&mut self.session, &statement(&tuples), &doing).await? {
                    return Ok(Err(refusal));
                }
                tuples.clear();
            }
        }
        Ok(Ok(()))
    }

    /// Sets values in the row with a key: that of the row itself, or an old one. Answers how many there are.
    async fn set_row(
        &mut self,
        table: usize,
        plans: &[ColumnPlan],
        rows: &RecordBatch,
        row: usize,
        old_key: Option<&[String]>,
    ) -> Result<Result<u64, Refusal>> {
        let shape = &self.tables[table].shape;
        let values = match rows::values(plans, rows, row) {
            Ok(values) => values,
            Err(bad) => return Ok(Err(bad.into())),
        };
        let of_key = |name: &String| Some(values[plans.iter().position(|way| way.name == *name)?].clone());
        let own: Vec<_> = shape.key.iter().filter_map(of_key).collect();
        let condition = sql::same_key(&shape.key, old_key.unwrap_or(&own));
        let pairs: Vec<_> = plans.iter().map(|way| way.name.clone()).zip(values).collect();
        let statement = sql::update(&shape.destination, &pairs, &condition);
        let doing = format!("Could not write to {}", shape.destination);
        write_rows(&mut self.session, &statement, &doing).await
    }

    /// Moves rows to another key, one by one: they are rare.
    async fn apply_moves(&mut self, table: usize, ways: &Ways, moves: &Moves) -> Result<Result<(), Refusal>> {
        let plans = ways.of(&moves.columns);
        let complete = plans.len() == self.tables[table].shape.plan.len();
        for row in 0..moves.rows.num_rows() {
            let old = match rows::values(&ways.key(), &moves.old_keys, row) {
                Ok(values) => values,
                Err(bad) => return Ok(Err(bad.into())),
            };
            match self.set_row(table, &plans, &moves.rows, row, Some(&old)).await? {
                Ok(0) => {}
                Ok(_) => continue,
                Err(refusal) => return Ok(Err(refusal)),
            }
            if complete {
                let values = match rows::values(&plans, &moves.rows, row) {
                    Ok(values) => values,
                    Err(bad) => return Ok(Err(bad.into())),
                };
                let put = PutRow::of(&self.tables[table].shape, &values);
                if let Err(refusal) = self.put_row(&put).await? {
                    return Ok(Err(refusal));
                }
                continue;
            }
            match self.set_row(table, &plans, &moves.rows, row, None).await? {
                Ok(0) => return Ok(Err(missing_row(&self.tables[table].shape))),
                Ok(_) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(()))
    }
}

fn missing_row(shape: &Shape) -> Refusal {
    Refusal::of(format!(
        "{} does not have a row that a change keeps values of: take a new snapshot of the table",
        shape.destination
    ))
}

/// The ways of a table's columns by their place in the row, without the change columns.
struct Ways {
    by_place: Vec<Option<ColumnPlan>>,
    key: Vec<String>,
}

impl Ways {
    fn new(shape: &Shape, schema: &Schema) -> Self {
        let find = |index: &usize| shape.plan.iter().find(|plan| plan.index == *index).cloned();
        Self { by_place: changes::row_columns(schema).iter().map(find).collect(), key: shape.key.clone() }
    }

    /// Of a batch that has these columns of the row.
    fn of(&self, columns: &[usize]) -> Vec<ColumnPlan> {
        let places = columns.iter().enumerate();
        places.filter_map(|(index, column)| Some(self.by_place[*column].as_ref()?.at(index))).collect()
    }

    /// Of a batch that has the key's columns.
    fn key(&self) -> Vec<ColumnPlan> {
        let find = |name: &String| self.by_place.iter().flatten().find(|plan| plan.name == *name);
        self.key.iter().enumerate().filter_map(|(index, name)| Some(find(name)?.at(index))).collect()
    }
}

/// The batch with the key that the writer goes by in its schema.
fn with_key(batch: &RecordBatch, key: &[String]) -> Result<RecordBatch> {
    let schema = batch.schema();
    if hub_plugin_api::types::key_columns(&schema) == *key {
        return Ok(batch.clone());
    }
    let fields = schema.fields().iter().map(|field| {
        let mut metadata = field.metadata().clone();
        metadata.remove(META_KEY);
        let role = metadata.contains_key(hub_plugin_api::types::META_CHANGE);
        if let Some(place) = key.iter().position(|name| name == field.name()).filter(|_| !role) {
            metadata.insert(META_KEY.into(), place.to_string());
        }
        field.as_ref().clone().with_metadata(metadata)
    });
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    Ok(RecordBatch::try_new(schema.into(), batch.columns().to_vec())?)
}

/// Every change in the order of the source: by `__seq` where all have it, else stream by stream.
fn in_order(parts: &[Part]) -> Result<Vec<Place>> {
    let mut places: Vec<(u64, Place)> = Vec::new();
    let mut numbered = true;
    for (index, part) in parts.iter().enumerate() {
        for (chunk, one) in part.segment.chunks.iter().enumerate() {
            let view = Changes::of(&one.batch)?;
            for row in 0..one.batch.num_rows() {
                numbered &= view.seq(row).is_some();
                places.push((view.seq(row).unwrap_or(0), (index, (chunk as u32, row as u32))));
            }
        }
    }
    if numbered {
        // Stable: each stream's own order is the source's already.
        places.sort_by_key(|(seq, _)| *seq);
    }
    Ok(places.into_iter().map(|(_, place)| place).collect())
}

/// The batches that hold some changes, each table's in order.
fn cut(parts: &[Part], places: &[Place]) -> Vec<(usize, Vec<RecordBatch>)> {
    let mut cut = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let rows: Vec<RowPlace> =
            places.iter().filter(|(one, _)| *one == index).map(|(_, place)| *place).collect();
        let runs = rows.chunk_by(|a, b| a.0 == b.0 && a.1 + 1 == b.1);
        let slice = |run: &[RowPlace]| {
            part.segment.chunks[run[0].0 as usize].batch.slice(run[0].1 as usize, run.len())
        };
        let batches: Vec<_> = runs.map(slice).collect();
        if !batches.is_empty() {
            cut.push((part.table, batches));
        }
    }
    cut
}
