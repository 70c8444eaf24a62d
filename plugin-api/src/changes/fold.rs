//! Folding: many changes of a table become few set-wise statements with the same effect.
//!
//! The rules, change by change, on a table with a key:
//! - `insert`, `snapshot` and an `update` with every value put the row, whether or not there was one.
//! - An `update` with values that the source did not send keeps those of the row, which must be there.
//! - `delete` removes the row, if it is there.
//! - An `update` whose `__before` has another key moves the row: what was at the old key is at the new one afterwards.
//!   Without a row at the old key it is an update at the new one. A row in the way at the new key is an error.
//!
//! Changes of different keys commute, so only the order of changes of one key has to be kept. A move ties two keys:
//! a later change of either begins a new [`Run`].

use std::collections::{HashMap, HashSet};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::interleave,
    datatypes::{Schema, SchemaRef},
    row::{RowConverter, Rows, SortField},
};

use super::{
    Changes, Op,
    view::{bit, malformed},
};
use crate::{Error, ErrorKind, Result};

/// What happened to one table, in order.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Changes; see [`super::change_schema`].
    Rows(&'a RecordBatch),
    /// The table was emptied.
    Truncate,
}

/// What to do to the table, step by step, for the same effect.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// In the order in which they must be applied.
    pub steps: Vec<Step>,
    /// How many changes went in.
    pub changes: usize,
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Empty the table. Whatever came before in the same input is left out.
    Truncate,
    /// Statements over sets of rows.
    Run(Run),
    /// Changes as they came, whose `__patch` is to be applied to the row: one after another.
    Patches(RecordBatch),
}

/// Statements over sets of rows. First deletes, upserts and updates, in any order, because no key is in two of them;
/// then the moves, in any order, because no key is in two of them either, be it as the old one or the new one.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Rows to remove, if they are there: the columns of the key, in its order.
    pub deletes: Option<RecordBatch>,
    /// Rows to put in the place of what has their key: every column of the row.
    pub upserts: Option<RecordBatch>,
    /// Values to set in rows that must be there, by the columns that are known.
    pub updates: Vec<Updates>,
    /// Rows to move to another key.
    pub moves: Vec<Moves>,
}

/// Values to set in rows that must be there: a writer that finds fewer of them fails.
#[derive(Clone, Debug)]
pub struct Updates {
    /// The places of the known columns in the row, the key's among them.
    pub columns: Vec<usize>,
    /// Those columns.
    pub rows: RecordBatch,
}

/// Rows to move to another key. Where there is none at the old key, the values are put or set at the new one.
#[derive(Clone, Debug)]
pub struct Moves {
    /// The places of the known columns in the row, the key's among them.
    pub columns: Vec<usize>,
    /// The key's columns, in its order, as they were.
    pub old_keys: RecordBatch,
    /// The known columns as they are now.
    pub rows: RecordBatch,
}

/// Folds changes of one table to the last row of each key, column by column: a value that the source did not send
/// keeps the earlier one of the same input, or stays unknown. The input is one window of a stream, in memory.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`] for a table without a key, [`ErrorKind::InvalidData`] for a change without its key or
/// with a value that nothing can supply, [`ErrorKind::Protocol`] for batches that are not changes of one shape.
pub fn fold(inputs: &[Input<'_>]) -> Result<Folded> {
    // Whatever came before the last truncate has no effect.
    let last = inputs.iter().rposition(|input| matches!(input, Input::Truncate));
    let batches: Vec<_> = inputs[last.map_or(0, |place| place + 1)..]
        .iter()
        .filter_map(|input| if let Input::Rows(batch) = input { Some(*batch) } else { None })
        .collect();
    let changes =
        inputs.iter().map(|input| if let Input::Rows(batch) = input { batch.num_rows() } else { 0 }).sum();
    let mut steps = if last.is_some() { vec![Step::Truncate] } else { Vec::new() };
    if let Some(first) = batches.first() {
        if batches.iter().any(|batch| batch.schema_ref() != first.schema_ref()) {
            return Err(malformed("Changes of two shapes cannot be folded together"));
        }
        let views = batches.iter().map(|batch| Changes::of(batch)).collect::<Result<Vec<_>>>()?;
        let keys = encode_keys(&views)?;
        fold_batches(&batches, &views, &keys, &mut steps)?;
    }
    Ok(Folded { steps, changes })
}

/// A batch's keys as bytes that are equal where the keys are: of the rows, and of the rows as they were.
struct Keys {
    now: Rows,
    before: Option<Rows>,
}

fn encode_keys(views: &[Changes]) -> Result<Vec<Keys>> {
    let table = views[0].rows().schema();
    let key_fields = views[0].keys().iter().map(|place| table.field(*place));
    let fields: Vec<_> = key_fields.map(|field| SortField::new(field.data_type().clone())).collect();
    if fields.is_empty() {
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            "Changes of a table without a key cannot be applied",
        )
        .with_hint("Give the table a key, or use the mode `append`"));
    }
    let converter = RowConverter::new(fields).map_err(|error| {
        Error::new(ErrorKind::UnsupportedType, "A type of the key's columns has no order").with_source(&error)
    })?;
    views.iter().map(|view| encode(&converter, view)).collect()
}

fn encode(converter: &RowConverter, view: &Changes) -> Result<Keys> {
    let arrays = view.key_arrays();
    for (array, place) in arrays.iter().zip(view.keys()) {
        if let Some(row) = (0..array.len()).find(|row| array.null_count() > 0 && array.is_null(*row)) {
            let name = view.rows().schema_ref().field(*place).name();
            return Err(broken(view, row, &format!("column `{name}` of the key is null")));
        }
    }
    let before = view.before().filter(|before| before.null_count() < before.len());
    let before = before.map(|before| {
        let arrays: Vec<_> = view.keys().iter().map(|place| before.column(*place).clone()).collect();
        converter.convert_columns(&arrays)
    });
    Ok(Keys { now: converter.convert_columns(&arrays)?, before: before.transpose()? })
}

fn broken(view: &Changes, row: usize, what: &str) -> Error {
    let seq = view.seq(row).map_or_else(|| "unknown".into(), |seq| seq.to_string());
    Error::new(ErrorKind::InvalidData, format!("A change cannot be applied: {what}")).with_context("seq", seq)
}

/// A row of a batch.
type Source = (usize, usize);

/// What is known of a key at the end of the changes so far.
enum Last {
    Deleted(Source),
    /// Every column comes from one change.
    Row(Source),
    /// Each column comes from a change of its own, or is not known.
    Columns(Vec<Option<Source>>),
}

struct Move {
    /// The row whose `__before` holds the old key.
    source: Source,
    known: Vec<usize>,
}

#[derive(Default)]
struct Pending<'a> {
    slots: Vec<Last>,
    places: HashMap<&'a [u8], usize>,
    moves: Vec<Move>,
    moved: HashSet<&'a [u8]>,
}

fn fold_batches(
    batches: &[&RecordBatch],
    views: &[Changes],
    keys: &[Keys],
    steps: &mut Vec<Step>,
) -> Result<()> {
    let width = views[0].rows().num_columns();
    let mut pending = Pending::default();
    for (index, (view, keys)) in views.iter().zip(keys).enumerate() {
        for row in 0..view.rows().num_rows() {
            let key = keys.now.row(row).data();
            if view.patch(row).is_some() {
                if row == 0 || view.patch(row - 1).is_none() {
                    let rows =
                        (row..view.rows().num_rows()).take_while(|row| view.patch(*row).is_some()).count();
                    close(&mut pending, views, steps)?;
                    steps.push(Step::Patches(batches[index].slice(row, rows)));
                }
                continue;
            }
            let op = view.op(row)?;
            let unchanged = view.unchanged(row);
            let known = (0..width).any(|column| bit(unchanged, column)).then(|| known(unchanged, width));
            if let Some(known) = &known {
                if op != Op::Update {
                    return Err(broken(view, row, &format!("an `{op}` must have every value")));
                }
                if view.keys().iter().any(|place| !known.contains(place)) {
                    return Err(broken(view, row, "the key's new values were not sent"));
                }
            }
            let old = match (op, view.before(), &keys.before) {
                (Op::Update, Some(before), Some(rows)) if before.is_valid(row) => {
                    if view.keys().iter().any(|place| before.column(*place).is_null(row)) {
                        return Err(broken(view, row, "the key in `__before` is null"));
                    }
                    Some(rows.row(row).data()).filter(|old| *old != key)
                }
                _ => None,
            };
            if pending.moved.contains(key) || old.is_some_and(|old| pending.moved.contains(old)) {
                close(&mut pending, views, steps)?;
            }
            let source = (index, row);
            if let Some(old) = old {
                pending.moved.extend([old, key]);
                pending.moves.push(Move { source, known: known.unwrap_or_else(|| (0..width).collect()) });
                continue;
            }
            let next = match (op, known) {
                (Op::Delete, _) => Last::Deleted(source),
                (_, None) => Last::Row(source),
                (_, Some(known)) => {
                    let earlier = pending.places.get(key).map(|slot| &pending.slots[*slot]);
                    let mut columns = match earlier {
                        None => vec![None; width],
                        Some(Last::Row(earlier)) => vec![Some(*earlier); width],
                        Some(Last::Columns(columns)) => columns.clone(),
                        Some(Last::Deleted(_)) => {
                            return Err(broken(
                                view,
                                row,
                                "the row that it keeps values of was deleted before",
                            ));
                        }
                    };
                    known.into_iter().for_each(|column| columns[column] = Some(source));
                    Last::Columns(columns)
                }
            };
            let slots = &mut pending.slots;
            let slot = *pending.places.entry(key).or_insert(slots.len());
            if slot == slots.len() {
                slots.push(next);
            } else {
                slots[slot] = next;
            }
        }
    }
    close(&mut pending, views, steps)
}

fn known(unchanged: &[u8], width: usize) -> Vec<usize> {
    (0..width).filter(|column| !bit(unchanged, *column)).collect()
}

/// Makes the pending changes a run.
fn close(pending: &mut Pending<'_>, views: &[Changes], steps: &mut Vec<Step>) -> Result<()> {
    let Pending { slots, moves, .. } = std::mem::take(pending);
    if slots.is_empty() && moves.is_empty() {
        return Ok(());
    }
    let table = views[0].rows().schema();
    let every: Vec<usize> = (0..table.fields().len()).collect();
    let (mut deletes, mut rows, mut updates) = (Vec::new(), Vec::new(), Groups::default());
    for slot in &slots {
        match slot {
            Last::Deleted(source) => deletes.push(*source),
            Last::Columns(columns) if columns.iter().any(Option::is_none) => {
                updates
                    .add(every.iter().copied().filter(|column| columns[*column].is_some()).collect(), slot);
            }
            _ => rows.push(slot),
        }
    }
    let mut run = Run::default();
    if !deletes.is_empty() {
        let keys = views[0].keys();
        run.deletes = Some(take(&table, keys, |column| gather(views, column, &deletes))?);
    }
    if !rows.is_empty() {
        run.upserts = Some(take_slots(&table, &every, &rows, views)?);
    }
    for (columns, slots) in updates.0 {
        run.updates.push(Updates { rows: take_slots(&table, &columns, &slots, views)?, columns });
    }
    let mut groups = Groups::default();
    moves.into_iter().for_each(|one| groups.add(one.known, one.source));
    for (columns, sources) in groups.0 {
        run.moves.push(Moves {
            old_keys: take(&table, views[0].keys(), |column| gather_before(views, column, &sources))?,
            rows: take(&table, &columns, |column| gather(views, column, &sources))?,
            columns,
        });
    }
    steps.push(Step::Run(run));
    Ok(())
}

/// Values by the columns that they know, in the order in which each set of columns came first.
struct Groups<T>(Vec<(Vec<usize>, Vec<T>)>);

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Groups<T> {
    /// Few sets of columns are ever there: the columns that a server keeps apart from their row.
    fn add(&mut self, columns: Vec<usize>, value: T) {
        match self.0.iter_mut().rev().find(|(known, _)| *known == columns) {
            Some((_, values)) => values.push(value),
            None => self.0.push((columns, vec![value])),
        }
    }
}

fn take(
    table: &SchemaRef,
    columns: &[usize],
    mut gather: impl FnMut(usize) -> Result<ArrayRef>,
) -> Result<RecordBatch> {
    let arrays = columns.iter().map(|column| gather(*column)).collect::<Result<Vec<_>>>()?;
    let fields: Vec<_> = columns.iter().map(|column| table.fields()[*column].clone()).collect();
    Ok(RecordBatch::try_new(Schema::new(fields).into(), arrays)?)
}

fn take_slots(
    table: &SchemaRef,
    columns: &[usize],
    slots: &[&Last],
    views: &[Changes],
) -> Result<RecordBatch> {
    let source = |slot: &Last, column: usize| match slot {
        Last::Deleted(source) | Last::Row(source) => Some(*source),
        Last::Columns(columns) => columns[column],
    };
    take(table, columns, |column| {
        gather(views, column, &slots.iter().filter_map(|slot| source(slot, column)).collect::<Vec<_>>())
    })
}

fn gather(views: &[Changes], column: usize, sources: &[Source]) -> Result<ArrayRef> {
    let arrays: Vec<_> = views.iter().map(|view| view.rows().column(column).as_ref()).collect();
    gather_from(&arrays, sources)
}

fn gather_before(views: &[Changes], column: usize, sources: &[Source]) -> Result<ArrayRef> {
    let empty = arrow::array::new_empty_array(views[0].rows().column(column).data_type());
    let array =
        |view: &Changes| view.before().map_or_else(|| empty.clone(), |before| before.column(column).clone());
    let arrays: Vec<_> = views.iter().map(array).collect();
    gather_from(&arrays.iter().map(AsRef::as_ref).collect::<Vec<_>>(), sources)
}

/// Values by batch and row. Rows that already lie one behind the other are not copied.
fn gather_from(arrays: &[&dyn Array], sources: &[Source]) -> Result<ArrayRef> {
    let (batch, row) = sources.first().copied().unwrap_or_default();
    if sources.iter().enumerate().all(|(index, source)| *source == (batch, row + index)) {
        return Ok(arrays[batch].slice(row, sources.len()));
    }
    Ok(interleave(arrays, sources)?)
}
