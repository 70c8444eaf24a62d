use hub_plugin_api::{
    Result,
    arrow::array::{Array, RecordBatch},
    changes::{Changes, Op},
    types::Column,
};
use rusqlite::{CachedStatement, Connection, types::Value};

use super::{
    rows::{Encoded, Refusal, RowResult, accepted, execute},
    target::Target,
};
use crate::{error::map, sql};

/// Applies changes one after another, each as it happened.
pub struct Applier<'a> {
    connection: &'a Connection,
    target: &'a Target,
    changes: Changes,
    rows: Encoded<'a>,
    before: Option<Encoded<'a>>,
    /// The places of the key's columns among the target's.
    key: Vec<usize>,
}

impl<'a> Applier<'a> {
    /// For a batch of changes of a table with `columns`.
    pub fn new(
        connection: &'a Connection,
        target: &'a Target,
        columns: &[Column],
        batch: &RecordBatch,
    ) -> Result<Self> {
        let changes = Changes::of(batch)?;
        let rows = Encoded::new(target, columns, changes.rows())?;
        let before = changes
            .before()
            .map(|before| Encoded::of_arrays(target, columns, before.columns()))
            .transpose()?;
        let key = target
            .key
            .iter()
            .filter_map(|name| target.columns.iter().position(|column| column.name == *name));
        Ok(Self { connection, target, key: key.collect(), changes, rows, before })
    }

    /// Applies one change.
    pub fn apply(&mut self, row: usize) -> RowResult {
        if self.changes.patch(row).is_some() {
            return Ok(Err(Refusal::constraint("A document's difference cannot be applied to a table")));
        }
        match self.changes.op(row)? {
            Op::Insert | Op::Snapshot => self.put(row),
            Op::Delete => self.delete(row),
            Op::Update => {
                let old_key = accepted!(self.moved_from(row)?);
                let is_whole = (0..self.target.columns.len()).all(|index| self.is_sent(row, index));
                if old_key.is_none() && is_whole {
                    return self.put(row);
                }
                let changed = accepted!(self.update(row, old_key.as_deref())?);
                if changed > 0 {
                    return Ok(Ok(()));
                }
                // Nothing at the old key: the same change is one at the new key.
                if is_whole {
                    return self.put(row);
                }
                let changed = if old_key.is_some() { accepted!(self.update(row, None)?) } else { 0 };
                Ok(match changed {
                    0 => Err(Refusal::constraint(
                        "The row that the change updates is not there, and the source did not send all of its values",
                    )),
                    _ => Ok(()),
                })
            }
        }
    }

    fn is_sent(&self, row: usize, index: usize) -> bool {
        !self.changes.is_unchanged(row, self.target.columns[index].place)
    }

    fn put(&mut self, row: usize) -> RowResult {
        let text = sql::upsert(&self.target.table, &self.target.names(), &self.target.key_names());
        let mut statement = prepare(self.connection, &text)?;
        accepted!(self.rows.bind(row, &mut statement)?);
        Ok(execute(&mut statement)?.map(drop))
    }

    fn delete(&mut self, row: usize) -> RowResult {
        let mut statement =
            prepare(self.connection, &sql::delete(&self.target.table, &self.target.key_names()))?;
        for (parameter, index) in self.key.iter().enumerate() {
            accepted!(self.rows.bind_one(*index, row, parameter + 1, &mut statement)?);
        }
        Ok(execute(&mut statement)?.map(drop))
    }

    /// Sets the values that were sent, in the row with the old key or, without one, with its own.
    fn update(&mut self, row: usize, old_key: Option<&[Value]>) -> RowResult<usize> {
        let sent: Vec<_> = (0..self.target.columns.len()).filter(|index| self.is_sent(row, *index)).collect();
        let names: Vec<_> = sent.iter().map(|index| self.target.columns[*index].name.as_str()).collect();
        let text = sql::update(&self.target.table, &names, &self.target.key_names());
        let mut statement = prepare(self.connection, &text)?;
        for (parameter, index) in sent.iter().enumerate() {
            accepted!(self.rows.bind_one(*index, row, parameter + 1, &mut statement)?);
        }
        for (place, index) in self.key.iter().enumerate() {
            let parameter = sent.len() + place + 1;
            match old_key {
                Some(values) => statement
                    .raw_bind_parameter(parameter, &values[place])
                    .map_err(|error| map("A value could not be bound", error))?,
                None => accepted!(self.rows.bind_one(*index, row, parameter, &mut statement)?),
            }
        }
        execute(&mut statement)
    }

    /// The old key, where it is another one.
    fn moved_from(&mut self, row: usize) -> RowResult<Option<Vec<Value>>> {
        let is_there = self.changes.before().is_some_and(|before| before.is_valid(row));
        let Some(before) = self.before.as_mut().filter(|_| is_there) else { return Ok(Ok(None)) };
        let mut old_key = Vec::new();
        let mut is_other = false;
        for index in &self.key {
            let old = owned(accepted!(before.value(*index, row)?))?;
            is_other |= old != owned(accepted!(self.rows.value(*index, row)?))?;
            old_key.push(old);
        }
        Ok(Ok(is_other.then_some(old_key)))
    }
}

fn owned(value: rusqlite::types::ValueRef<'_>) -> Result<Value> {
    Value::try_from(value).map_err(|error| {
        hub_plugin_api::Error::new(
            hub_plugin_api::ErrorKind::InvalidData,
            "A value of the key cannot be kept",
        )
        .with_source(&error)
    })
}

fn prepare<'a>(connection: &'a Connection, text: &str) -> Result<CachedStatement<'a>> {
    connection.prepare_cached(text).map_err(|error| map("The table does not take the change", error))
}
