//! What the decoder has collected becomes events.

use std::{sync::Arc, time::Instant};

use hub_plugin_api::{Boundary, Event, Result, Rows, StreamId, StreamSchema, arrow::array::RecordBatch};

use super::{Decoder, Table};
use crate::{
    connection::Session,
    types::Cast,
    wal::{
        convert::{Converter, OwnedValue},
        message::Value,
        position::StreamPosition,
        table::TableShape,
        window::Window,
    },
};

impl Decoder {
    /// Takes a table's columns; what waits of all tables is handed over first, as it may have the old ones.
    ///
    /// # Errors
    /// When a value cannot be carried, or the server cannot be asked.
    pub async fn describe(&mut self, session: &Session, shape: TableShape) -> Result<()> {
        self.hand_over(session).await?;
        let oid = shape.relation.oid;
        let Some(wanted) = self.wanted.get(&oid) else { return Ok(()) };
        let earlier = self.tables.get(&oid);
        let (change, announced) = match earlier {
            Some(earlier) => {
                let change = shape.difference(&earlier.shape);
                (change.or_else(|| Some("another replica identity".into())), earlier.announced)
            }
            None => (None, false),
        };
        let table = Table {
            schema_id: self.shapes,
            from: wanted.from,
            // A table that has sent nothing need not exist at the destination.
            announced: false,
            window: None,
            pending: Vec::new(),
            pending_bytes: 0,
            first: 0,
            shape: Arc::new(shape),
        };
        self.shapes += 1;
        self.tables.insert(oid, table);
        if announced {
            self.announce(oid, change);
        }
        Ok(())
    }

    pub(super) fn announce(&mut self, oid: u32, change: Option<String>) {
        let Some(table) = self.tables.get_mut(&oid) else { return };
        if std::mem::replace(&mut table.announced, true) {
            return;
        }
        let schema = StreamSchema {
            stream: table.shape.stream.clone(),
            id: table.schema_id,
            arrow: Arc::clone(&table.shape.changes),
            change,
        };
        self.ready.push_back(Event::Schema(schema));
    }

    /// Hands over the changes that wait, and a boundary where a transaction ended.
    ///
    /// # Errors
    /// When a value cannot be carried, or the server cannot be asked to convert it.
    pub async fn hand_over(&mut self, session: &Session) -> Result<()> {
        let mut waiting: Vec<(u64, u32)> = self
            .tables
            .iter()
            .filter(|(_, table)| table.has_changes())
            .map(|(oid, table)| (table.first, *oid))
            .collect();
        waiting.sort_unstable();
        for (_, oid) in &waiting {
            self.announce(*oid, None);
            let Some(table) = self.tables.get_mut(oid) else { continue };
            let stream = table.shape.stream.clone();
            let batch = table.batch(session, &mut self.converter, self.budgets.max_value_bytes).await;
            let batch = batch.map_err(|error| error.with_context("table", &stream))?;
            self.ready.push_back(Event::Rows(Rows { stream, schema_id: table.schema_id, batch }));
        }
        self.waiting = (0, 0);
        if self.is_between() && self.first_change.is_some() { self.push_boundary() } else { Ok(()) }
    }

    /// Tables were emptied; what waited was handed over.
    pub fn empty(&mut self, tables: &[u32]) {
        for oid in tables {
            self.announce(*oid, None);
        }
        let streams: Vec<StreamId> = tables
            .iter()
            .filter_map(|oid| self.tables.get(oid))
            .map(|table| table.shape.stream.clone())
            .collect();
        self.seq += 1;
        self.ready.push_back(Event::Truncate(streams));
        // There is something behind the last boundary that has to be followed by one soon.
        self.first_change.get_or_insert_with(Instant::now);
    }

    /// A boundary behind what is complete.
    ///
    /// # Errors
    /// When the position cannot be written.
    pub fn push_boundary(&mut self) -> Result<()> {
        self.first_change = None;
        self.owes_boundary = false;
        self.boundary = (self.boundary.0 + 1, self.complete, Instant::now());
        let snapshots = self.snapshots.clone();
        let position = StreamPosition { lsn: self.complete, seq: self.seq, snapshots }.to_position()?;
        self.ready.push_back(Event::Boundary(Boundary::at(self.boundary.0, position)));
        Ok(())
    }
}

impl Table {
    pub(super) fn has_changes(&self) -> bool {
        !self.pending.is_empty() || self.window.as_ref().is_some_and(|window| window.len() > 0)
    }

    pub(super) fn bytes(&self) -> usize {
        self.pending_bytes + self.window.as_ref().map_or(0, Window::bytes)
    }

    async fn batch(
        &mut self,
        session: &Session,
        converter: &mut Converter,
        max_value_bytes: u64,
    ) -> Result<RecordBatch> {
        let mut pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        for (place, column) in self.shape.columns.iter().enumerate() {
            if column.reading.cast == Cast::None {
                continue;
            }
            let values = pending.iter_mut().flat_map(|change| {
                let old = change.old.as_mut().and_then(|(_, old)| old.get_mut(place));
                let new = change.new.as_mut().and_then(|new| new.get_mut(place));
                old.into_iter().chain(new)
            });
            converter.convert(session, column, values.collect()).await?;
        }
        let window = match &mut self.window {
            Some(window) => window,
            none => none.insert(Window::new(Arc::clone(&self.shape), max_value_bytes)?),
        };
        fn values(owned: &[OwnedValue]) -> Vec<Value<'_>> {
            owned.iter().map(OwnedValue::as_value).collect()
        }
        for change in &pending {
            let old = change.old.as_ref().map(|(image, old)| (*image, values(old)));
            let new = change.new.as_deref().map(values);
            let old = old.as_ref().map(|(image, old)| (*image, old.as_slice()));
            window.push(change.stamp, old, new.as_deref())?;
        }
        window.finish()
    }
}
