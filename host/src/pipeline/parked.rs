use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch},
    compute::{filter_record_batch, not},
    ipc::reader::StreamReader,
    util::display::FormatOptions,
};
use hub_plugin_api::{
    Result,
    changes::{Changes, is_change_schema},
    types::cell_text,
};
use serde_json::Value;

use crate::store::DeadLetter;

/// Keys whose change was refused: every later change of the same row is put aside too, or the destination would
/// apply a change to a row that it does not have.
#[derive(Default)]
pub(crate) struct Parked(BTreeMap<String, BTreeSet<String>>);

impl Parked {
    /// Remembers the row of a letter of an earlier attempt.
    pub(crate) fn restore(&mut self, letter: &DeadLetter) -> Result<()> {
        let Some(bytes) = &letter.arrow_ipc else { return Ok(()) };
        for batch in StreamReader::try_new(bytes.as_slice(), None)? {
            self.park(&letter.stream, &batch?)?;
        }
        Ok(())
    }

    /// Remembers the key of a refused row, when it is a change of a row that has one.
    pub(crate) fn park(&mut self, stream: &str, row: &RecordBatch) -> Result<()> {
        if is_change_schema(row.schema_ref()) {
            let keys = keys(&Changes::of(row)?, 0)?;
            self.0.entry(stream.to_owned()).or_default().extend(keys);
        }
        Ok(())
    }

    /// The changes that go on, and those of parked rows. A row that changes its key takes the new one along.
    pub(crate) fn split(
        &mut self,
        stream: &str,
        batch: &RecordBatch,
    ) -> Result<(RecordBatch, Option<RecordBatch>)> {
        let parked = self.0.get_mut(stream).filter(|_| is_change_schema(batch.schema_ref()));
        let Some(parked) = parked else { return Ok((batch.clone(), None)) };
        let changes = Changes::of(batch)?;
        let mut is_parked = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let keys = keys(&changes, row)?;
            let found = keys.iter().any(|key| parked.contains(key));
            if found {
                parked.extend(keys);
            }
            is_parked.push(found);
        }
        if !is_parked.contains(&true) {
            return Ok((batch.clone(), None));
        }
        let is_parked = BooleanArray::from(is_parked);
        let kept = filter_record_batch(batch, &not(&is_parked)?)?;
        Ok((kept, Some(filter_record_batch(batch, &is_parked)?)))
    }
}

/// The key of a change's row as it is, and as it was.
fn keys(changes: &Changes, row: usize) -> Result<Vec<String>> {
    let before = changes.before().filter(|before| before.is_valid(row));
    let sides = [Some(changes.rows().columns()), before.map(|before| before.columns())];
    let mut keys = Vec::new();
    for columns in sides.into_iter().flatten() {
        keys.extend(key(columns, changes.keys(), row)?);
    }
    Ok(keys)
}

/// Absent without a key, or where the source did not send it.
fn key(columns: &[ArrayRef], places: &[usize], row: usize) -> Result<Option<String>> {
    let options = FormatOptions::default();
    let mut parts = Vec::with_capacity(places.len());
    for place in places {
        let column = &columns[*place];
        if column.is_null(row) {
            return Ok(None);
        }
        let text = cell_text(column, row, &options).unwrap_or_else(|error| error.to_string());
        parts.push(Value::from(text));
    }
    Ok((!parts.is_empty()).then(|| Value::from(parts).to_string()))
}
