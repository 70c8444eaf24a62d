//! Mode `apply-changes`: a window of changes is folded to a few statements over sets of rows.
//!
//! A folded window that meets a unique or foreign key is taken back and halved, in the order of the source over all
//! streams, down to single changes: only a change that is refused on its own is an error.

use hub_plugin_api::{
    Error, ErrorKind, RejectedRow, Result,
    arrow::{array::RecordBatch, datatypes::Schema},
    changes::{self, Changes, Folded, Input, Moves, Run, Step, fold},
    settle::{Halves, RowPlace, Segment},
    types::META_KEY,
};

use super::{
    bound::BoundRow,
    copy::CopyRows,
    settle::{KEEP, Refusal, SAVE, UNDO, reason},
    table::Shape,
    writer::{PostgresWriter, sending},
};
use crate::{
    sql::{self, Staged},
    wire::encode_plan::ColumnPlan,
};

/// Has the server look at the constraints that it put off.
const CHECK_DEFERRED: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// A table's part of a window.
struct Part {
    table: usize,
    segment: Segment,
}

/// A change: the part, and its place there.
type Place = (usize, RowPlace);

impl PostgresWriter {
    /// Applies all changes that wait.
    pub(super) async fn settle_changes(&mut self) -> Result<()> {
        let mut parts = Vec::new();
        for (table, one) in self.tables.iter_mut().enumerate() {
            if one.shape.changes && !one.waiting.is_empty() {
                let segment = std::mem::take(&mut one.waiting);
                self.waiting_bytes -= segment.bytes;
                parts.push(Part { table, segment });
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
            self.make_stage(part.table).await?;
        }
        let whole: Vec<(usize, Vec<RecordBatch>)> = parts
            .iter()
            .map(|part| (part.table, part.segment.chunks.iter().map(|chunk| chunk.batch.clone()).collect()))
            .collect();
        if self.try_changes(&whole, true).await?.is_ok() {
            return Ok(());
        }
        let places = in_order(&parts)?;
        self.bisect_changes(&parts, &places).await?;
        // Refused only now, and nobody can say for which row: nothing of the transaction is kept.
        let doing = "Could not apply changes: a constraint that may be deferred does not hold at their end";
        self.session.run(CHECK_DEFERRED, doing).await
    }

    async fn bisect_changes(&mut self, parts: &[Part], places: &[Place]) -> Result<()> {
        let mut halves = Halves::of_refused(places.len());
        while let Some(range) = halves.next() {
            let Err(refusal) = self.try_changes(&cut(parts, &places[range.clone()]), false).await? else {
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

    /// Applies changes, all or nothing. Constraints that may be deferred are not looked at in between, as rows that swap
    /// a unique value violate it: `whole` says that everything that is needed for them to hold is there.
    async fn try_changes(
        &self,
        tables: &[(usize, Vec<RecordBatch>)],
        whole: bool,
    ) -> Result<Result<(), Refusal>> {
        let begin = format!("{SAVE}; SET CONSTRAINTS ALL DEFERRED");
        self.session.run(&begin, "Could not set a savepoint").await?;
        let mut result = Ok(());
        for (table, batches) in tables {
            result = self.apply(*table, batches).await?;
            if result.is_err() {
                break;
            }
        }
        if let (true, Ok(()), Some((last, _))) = (whole, &result, tables.last()) {
            let check = self.session.client().batch_execute(CHECK_DEFERRED);
            if let Err(error) = self.session.work(check).await {
                result = Err(Refusal::sort(&self.tables[*last].shape.destination, &error)?);
            }
        }
        let end = if result.is_ok() { KEEP } else { UNDO };
        self.session.run(end, "Could not settle changes").await?;
        Ok(result)
    }

    async fn apply(&self, table: usize, batches: &[RecordBatch]) -> Result<Result<(), Refusal>> {
        let inputs: Vec<_> = batches.iter().map(Input::Rows).collect();
        let folded: Folded = match fold(&inputs) {
            Ok(folded) => folded,
            Err(error) if error.kind == ErrorKind::InvalidData => return Ok(Err(Refusal::of(&error))),
            Err(error) => return Err(error),
        };
        let Some(first) = batches.first() else { return Ok(Ok(())) };
        let shape = &self.tables[table].shape;
        let ways = Ways::new(shape, first.schema_ref());
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

    async fn apply_run(&self, table: usize, ways: &Ways<'_>, run: &Run) -> Result<Result<(), Refusal>> {
        let shape = &self.tables[table].shape;
        let stage = self.tables[table].stage.as_deref().unwrap_or_default();
        let key = ways.key();
        let staged = |plans: &[ColumnPlan]| plans.iter().map(Staged::of).collect::<Vec<_>>();
        if let Some(rows) = &run.deletes {
            let statement = sql::delete_staged(&shape.destination, stage, &staged(&key));
            if let Err(refusal) = self.merge(table, stage, &key, rows, &statement).await? {
                return Ok(Err(refusal));
            }
        }
        if let Some(rows) = &run.upserts {
            let plans = ways.of(&(0..rows.num_columns()).collect::<Vec<_>>());
            let statement = sql::upsert_staged(&shape.destination, stage, &staged(&plans), &shape.key);
            match self.merge(table, stage, &plans, rows, &statement).await? {
                Ok(taken) if shape.has_more_than_key() => shape.check_taken(taken, rows.num_rows() as u64)?,
                Ok(_) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        for updates in &run.updates {
            let plans = ways.of(&updates.columns);
            let statement = sql::update_staged(&shape.destination, stage, &staged(&plans), &staged(&key));
            match self.merge(table, stage, &plans, &updates.rows, &statement).await? {
                Ok(updated) if updated == updates.rows.num_rows() as u64 => {}
                Ok(_) => return Ok(Err(Refusal::of(&missing_row(shape)))),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        for moves in &run.moves {
            if let Err(refusal) = self.apply_moves(shape, ways, moves).await? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// Stages rows and runs a statement over them; returns the rows that it changed.
    async fn merge(
        &self,
        table: usize,
        stage: &str,
        plans: &[ColumnPlan],
        rows: &RecordBatch,
        statement: &str,
    ) -> Result<Result<u64, Refusal>> {
        let shape = &self.tables[table].shape;
        let refuse = |error| Refusal::sort(&shape.destination, &error).map(Err);
        let names = plans.iter().map(|plan| plan.name.as_str());
        let copy = sql::copy_into(stage, std::iter::once(sql::ORDER).chain(names));
        let client = self.session.client();
        let mut copy = match self.session.work(CopyRows::start(client, &copy)).await {
            Ok(copy) => copy,
            Err(error) => return refuse(error),
        };
        let mut refused = None;
        let put = copy.put(plans, rows, 0..rows.num_rows(), Some(0), |_, error| {
            refused.get_or_insert(error);
        });
        self.session.work(put).await?.map_err(|error| sending(&shape.destination, &error))?;
        if let Err(error) = self.session.work(copy.finish()).await {
            return refuse(error);
        }
        if let Some(error) = refused {
            let error = Error::new(ErrorKind::InvalidData, reason(plans, error));
            return Ok(Err(Refusal::of(&error)));
        }
        let changed = match self.session.work(client.execute(statement, &[])).await {
            Ok(changed) => changed,
            Err(error) => return refuse(error),
        };
        self.session.run(&format!("TRUNCATE {stage}"), "Could not empty a staging table").await?;
        Ok(Ok(changed))
    }

    /// Moves rows to another key, one by one: they are rare.
    async fn apply_moves(
        &self,
        shape: &Shape,
        ways: &Ways<'_>,
        moves: &Moves,
    ) -> Result<Result<(), Refusal>> {
        let (plans, key) = (ways.of(&moves.columns), ways.key());
        let typed = |plans: &[ColumnPlan]| -> Vec<(Staged, String)> {
            plans.iter().map(|plan| (Staged::of(plan), plan.wire_type().to_owned())).collect()
        };
        let (columns, old) = (typed(&plans), typed(&key));
        fn borrowed(typed: &[(Staged, String)]) -> Vec<(Staged, &str)> {
            typed.iter().map(|(staged, wire)| (staged.clone(), wire.as_str())).collect()
        }
        let new_key: Vec<ColumnPlan> = shape
            .key
            .iter()
            .filter_map(|name| plans.iter().find(|plan| plan.name == *name).cloned())
            .collect();
        let move_row = sql::move_row(&shape.destination, &borrowed(&columns), &borrowed(&old));
        let complete = plans.len() == shape.plan.len();
        let otherwise = if complete {
            sql::upsert_row(&shape.destination, &borrowed(&columns), &shape.key)
        } else {
            sql::move_row(&shape.destination, &borrowed(&columns), &borrowed(&typed(&new_key)))
        };
        for row in 0..moves.rows.num_rows() {
            let values = match BoundRow::new(&plans, &moves.rows, row) {
                Ok(values) => values,
                Err(error) => return Ok(Err(Refusal::of(&error))),
            };
            let old = match BoundRow::new(&key, &moves.old_keys, row) {
                Ok(values) => values,
                Err(error) => return Ok(Err(Refusal::of(&error))),
            };
            match self.execute(shape, &move_row, &values.with(&old)).await? {
                Ok(0) => {}
                Ok(_) => continue,
                Err(refusal) => return Ok(Err(refusal)),
            }
            let outcome = if complete {
                self.execute(shape, &otherwise, &values).await?
            } else {
                let key = match BoundRow::new(&new_key, &moves.rows, row) {
                    Ok(values) => values,
                    Err(error) => return Ok(Err(Refusal::of(&error))),
                };
                self.execute(shape, &otherwise, &values.with(&key)).await?
            };
            match outcome {
                // With nothing but a key, an upsert of what is there changes nothing.
                Ok(0) if !complete => return Ok(Err(Refusal::of(&missing_row(shape)))),
                Ok(_) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(()))
    }

    async fn execute(&self, shape: &Shape, statement: &str, row: &BoundRow) -> Result<Result<u64, Refusal>> {
        let client = self.session.client();
        match self.session.work(client.execute_raw(statement, row.parameters())).await {
            Ok(changed) => Ok(Ok(changed)),
            Err(error) => Refusal::sort(&shape.destination, &error).map(Err),
        }
    }
}

fn missing_row(shape: &Shape) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("{} does not have a row that a change keeps values of", shape.destination),
    )
    .with_hint("Take a new snapshot of the table")
}

/// The ways of a table's columns by their place in the row, without the change columns.
struct Ways<'a> {
    by_place: Vec<Option<&'a ColumnPlan>>,
    key: &'a [String],
}

impl<'a> Ways<'a> {
    fn new(shape: &'a Shape, schema: &Schema) -> Self {
        let places = changes::row_columns(schema);
        let by_place =
            places.iter().map(|index| shape.plan.iter().find(|plan| plan.index == *index)).collect();
        Self { by_place, key: &shape.key }
    }

    /// Of a batch that has these columns of the row.
    fn of(&self, columns: &[usize]) -> Vec<ColumnPlan> {
        let places = columns.iter().enumerate();
        places.filter_map(|(index, column)| self.by_place[*column].map(|plan| plan.at(index))).collect()
    }

    /// Of a batch that has the key's columns.
    fn key(&self) -> Vec<ColumnPlan> {
        let find = |name: &String| self.by_place.iter().flatten().find(|plan| plan.name == *name);
        self.key
            .iter()
            .enumerate()
            .filter_map(|(index, name)| find(name).map(|plan| plan.at(index)))
            .collect()
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
