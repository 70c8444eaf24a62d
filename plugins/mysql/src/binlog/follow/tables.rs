//! The tables that are followed, and what waits of them to be handed over.

use std::{sync::Arc, time::Instant};

use hub_plugin_api::{Boundary, Event, Result, Rows, StreamId, StreamSchema, arrow::array::RecordBatch};

use super::{Follower, Table};
use crate::binlog::{
    cursor::malformed,
    definition::{Kind, TableNames, versioned},
    position::LogPosition,
    rows::{ChangedRows, Moment},
    shape::Shape,
    table_map::{self, TableMap},
};

impl Follower {
    pub(super) fn is_full(&self) -> bool {
        let budgets = &self.wishes.budgets;
        let (rows, bytes) = self
            .tables
            .iter()
            .fold((0, 0), |(rows, bytes), table| (rows + table.rows.rows(), bytes + table.rows.bytes()));
        rows as u64 >= budgets.max_batch_rows || bytes as u64 >= budgets.max_batch_bytes
    }

    pub(super) fn table_map(&mut self, body: &[u8]) -> Result<()> {
        let (id, map) = table_map::table_id(body)?;
        let (database, name) = TableMap::name(map)?;
        let known = self.by_name.get(&(database.to_vec(), name.to_vec())).copied();
        let place = match known {
            Some(None) => None,
            Some(Some(place)) if self.tables[place].map == map => Some(place),
            found => {
                let wanted = found.is_some() || {
                    let text = String::from_utf8_lossy;
                    self.wishes.filter.matches(&text(database), &text(name))
                };
                let place = if wanted { self.shape(map, found.flatten())? } else { None };
                if place.is_some() || !wanted {
                    self.by_name.insert((database.to_vec(), name.to_vec()), place);
                }
                place
            }
        };
        self.by_id.insert(id, place);
        Ok(())
    }

    /// Takes a table's new shape, and answers its place; none where its rows are none of a table's.
    fn shape(&mut self, map: &[u8], known: Option<usize>) -> Result<Option<usize>> {
        let read = TableMap::parse(map)?;
        let definition = self.history.table(&read.database, &read.table);
        let kind = definition.map_or(Kind::Table, |definition| definition.kind);
        if kind == Kind::Sequence || is_sequence(&read) {
            return Ok(None);
        }
        if kind == Kind::Versioned || is_versioned(&read) {
            return Err(versioned(&read.database, &read.table));
        }
        let shape = Arc::new(Shape::of(&read, definition, self.vendor, &self.charsets)?);
        if let Some(place) = known {
            let table = &mut self.tables[place];
            let same = **table.rows.shape() == *shape;
            table.map = map.to_vec();
            if same {
                return Ok(Some(place));
            }
            self.flush_table(place)?;
            let table = &mut self.tables[place];
            if table.rows.shape().is_like(&shape) {
                table.rows = ChangedRows::new(shape, self.wishes.zero_dates)?;
                return Ok(Some(place));
            }
        }
        let table = Table {
            map: map.to_vec(),
            rows: ChangedRows::new(shape, self.wishes.zero_dates)?,
            schema_id: self.next_schema,
            announced: false,
            change: known.map(|_| "The table was altered".to_owned()),
        };
        self.next_schema += 1;
        match known {
            Some(place) => {
                self.tables[place] = table;
                Ok(Some(place))
            }
            None => {
                self.tables.push(table);
                Ok(Some(self.tables.len() - 1))
            }
        }
    }

    pub(super) fn rows(&mut self, of: u8, body: &[u8]) -> Result<()> {
        let (id, rest) = table_map::table_id(body)?;
        let place = match self.by_id.get(&id) {
            Some(Some(place)) => *place,
            Some(None) => return Ok(()),
            None => return Err(malformed("Rows come without the map of their table")),
        };
        let budgets = self.wishes.budgets;
        let Some(open) = &mut self.open else {
            return Err(malformed("Rows come outside of a transaction"));
        };
        if open.xa && self.settling.is_none() {
            open.has_prepared_rows = true;
            return Ok(());
        }
        let moment = Moment {
            committed_micros: open.committed_micros,
            max_value_bytes: usize::try_from(budgets.max_value_bytes).unwrap_or(usize::MAX),
            whole_before: self.wishes.whole_before,
        };
        let table = &mut self.tables[place];
        open.rows += table.rows.append(of, rest, &mut self.position.changes, moment)?;
        self.waiting_since.get_or_insert_with(Instant::now);
        self.uncommitted = true;
        if self.is_full() {
            // A large transaction goes on in the next batches, without a boundary between.
            self.flush_rows()?;
        }
        Ok(())
    }

    fn flush_table(&mut self, place: usize) -> Result<()> {
        let table = &mut self.tables[place];
        if table.rows.rows() == 0 {
            return Ok(());
        }
        let shape = Arc::clone(table.rows.shape());
        if !std::mem::replace(&mut table.announced, true) {
            let mut schema =
                StreamSchema::new(shape.stream.clone(), table.schema_id, Arc::clone(&shape.schema));
            schema.change = table.change.take();
            self.out.push_back(Event::Schema(schema));
        }
        let (schema_id, batch) = (table.schema_id, table.rows.finish()?);
        self.out.push_back(Event::Rows(Rows { stream: shape.stream.clone(), schema_id, batch }));
        Ok(())
    }

    pub(super) fn flush_rows(&mut self) -> Result<()> {
        (0..self.tables.len()).try_for_each(|place| self.flush_table(place))
    }

    /// Hands over what waits, and the boundary behind it.
    ///
    /// # Errors
    /// When a batch cannot be put together.
    pub fn hand_over(&mut self) -> Result<()> {
        self.flush_rows()?;
        self.waiting_since = None;
        self.moved = false;
        self.boundaries += 1;
        self.declared_at.push_back((self.boundaries, self.position.schema));
        self.position.gtids = self.gtids.as_ref().map(ToString::to_string);
        self.out.push_back(Event::Boundary(Boundary::at(self.boundaries, self.position.to_position()?)));
        self.last_boundary = Instant::now();
        Ok(())
    }

    /// Tables are to be read again: from now on every position says so, also those that wait to be handed over.
    ///
    /// # Errors
    /// When a position cannot be written.
    pub fn wish(&mut self, tables: TableNames) -> Result<()> {
        for table in tables {
            if !self.position.snapshots.contains(&table) {
                self.position.snapshots.push(table);
            }
        }
        for event in &mut self.out {
            if let Event::Boundary(Boundary { position: Some(position), .. }) = event {
                let mut held = LogPosition::of(position)?;
                held.snapshots.clone_from(&self.position.snapshots);
                *position = held.to_position()?;
            }
        }
        self.moved = true;
        if self.is_between() { self.hand_over() } else { Ok(()) }
    }

    /// The shape that a table is read again in; answers its number.
    pub fn push_schema(&mut self, schema: StreamSchema) -> u32 {
        let id = self.next_schema;
        self.next_schema += 1;
        self.out.push_back(Event::Schema(StreamSchema { id, ..schema }));
        id
    }

    /// Rows of a table that is read again, numbered behind the last change.
    ///
    /// # Errors
    /// When the position cannot be written.
    pub fn push_snapshot(&mut self, stream: StreamId, schema_id: u32, batch: RecordBatch) -> Result<()> {
        self.position.changes += batch.num_rows() as u64;
        self.uncommitted = true;
        self.out.push_back(Event::Rows(Rows { stream, schema_id, batch }));
        self.hand_over()
    }
}

/// The columns of a sequence of MariaDB's.
const SEQUENCE: [&str; 8] = [
    "next_not_cached_value",
    "minimum_value",
    "maximum_value",
    "start_value",
    "increment",
    "cache_size",
    "cycle_option",
    "cycle_count",
];

fn is_sequence(map: &TableMap) -> bool {
    map.columns.iter().map(|column| column.name.as_str()).eq(SEQUENCE)
}

/// Whether a table keeps its earlier rows, as far as the log tells: in columns that nobody declared.
fn is_versioned(map: &TableMap) -> bool {
    let [.., start, end] = map.columns.as_slice() else { return false };
    let in_key = map.key.as_ref().is_some_and(|key| key.contains(&(map.columns.len() - 1)));
    start.name == "row_start" && end.name == "row_end" && in_key
}
