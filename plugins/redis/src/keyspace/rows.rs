//! Rows made of what was heard.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use hub_plugin_api::{
    Error, Result, Value,
    arrow::{
        array::{ArrayRef, RecordBatch, TimestampMicrosecondBuilder},
        datatypes::SchemaRef,
    },
    json,
    types::{Column, LogicalType, Unit, schema_of},
};

use super::options::KeyspaceOptions;
use crate::{
    keys::{Entry, text_or_hex, value_json},
    types::{Cell, ColumnBuilder, ENGINE, FieldType},
};

/// Makes rows.
pub struct KeyspaceRows {
    options: KeyspaceOptions,
    text: Vec<ColumnBuilder>,
    heard_at: TimestampMicrosecondBuilder,
    rows: usize,
    bytes: usize,
}

/// What happened to a key.
pub struct Happened {
    /// The event's name.
    pub event: String,
    /// The key.
    pub key: Vec<u8>,
    /// `host:port`; none for what a scan found.
    pub node: Option<String>,
    /// What it holds now, where that was asked for and is there.
    pub entry: Option<Entry>,
}

const EVENT: usize = 0;
const KEY: usize = 1;
const NODE: usize = 2;
const KIND: usize = 3;
const TTL: usize = 4;
const VALUE: usize = 5;

impl KeyspaceRows {
    /// None yet.
    pub fn new(options: &KeyspaceOptions) -> Self {
        let encoded = options.encoding.field_type();
        let mut text = vec![FieldType::Text, encoded, FieldType::Text];
        if has_values(options) {
            text.extend([FieldType::Text, FieldType::Int64, FieldType::Json]);
        }
        Self {
            options: options.clone(),
            text: text.into_iter().map(ColumnBuilder::new).collect(),
            heard_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            rows: 0,
            bytes: 0,
        }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        let of = |field: FieldType, name: &str| field.column(name).declared(ENGINE, name);
        let moment = LogicalType::Timestamp { unit: Unit::Microsecond, utc: true };
        let mut columns = vec![
            of(FieldType::Text, "event").not_null(),
            of(self.options.encoding.field_type(), "key").not_null(),
            of(FieldType::Text, "node"),
            Column::new("heard_at", moment).not_null(),
        ];
        if has_values(&self.options) {
            columns.extend([
                of(FieldType::Text, "type"),
                of(FieldType::Int64, "ttl_ms"),
                of(FieldType::Json, "value"),
            ]);
        }
        schema_of(&columns)
    }

    /// Rows that wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Their bytes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub fn push(&mut self, happened: &Happened) -> Result<(), String> {
        let mut cells = vec![Cell::Null; self.text.len()];
        cells[EVENT] = Cell::Text(&happened.event);
        cells[KEY] = self
            .options
            .encoding
            .field_type()
            .read(&happened.key)
            .map_err(|reason| format!("The key {reason}; `encoding: binary` takes it"))?;
        if let Some(node) = &happened.node {
            cells[NODE] = Cell::Text(node);
        }
        if let Some(entry) = happened.entry.as_ref().filter(|_| has_values(&self.options)) {
            cells[KIND] = Cell::Owned(entry.kind.name().to_owned());
            cells[TTL] = entry.ttl_ms.map_or(Cell::Null, Cell::Integer);
            cells[VALUE] = Cell::Owned(value_json(entry, self.options.encoding)?.to_string());
        }
        for (builder, cell) in self.text.iter_mut().zip(&cells) {
            builder.push(cell);
            self.bytes += cell.bytes();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.heard_at.append_value(i64::try_from(now).unwrap_or(i64::MAX));
        self.rows += 1;
        Ok(())
    }

    /// The rows that wait.
    ///
    /// # Errors
    /// When the columns do not fit together, which is a defect.
    pub fn take(&mut self) -> Result<RecordBatch> {
        (self.rows, self.bytes) = (0, 0);
        let mut arrays: Vec<ArrayRef> = self.text.iter_mut().map(ColumnBuilder::finish).collect();
        arrays.insert(NODE + 1, Arc::new(self.heard_at.finish()));
        RecordBatch::try_new(self.schema(), arrays).map_err(Error::from)
    }
}

fn has_values(options: &KeyspaceOptions) -> bool {
    options.fetch_value || options.reconcile
}

/// What happened, for whoever looks at a rejected row.
pub fn payload(happened: &Happened) -> String {
    let value: Value =
        json!({ "event": happened.event, "key": text_or_hex(&happened.key), "node": happened.node });
    value.to_string()
}
