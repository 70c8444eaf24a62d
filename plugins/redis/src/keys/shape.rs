//! Rows made of keys with their values.

use std::sync::Arc;

use hub_plugin_api::{
    Error, Result,
    arrow::{
        array::{ArrayRef, RecordBatch, RecordBatchOptions},
        datatypes::SchemaRef,
    },
    types::{Column, schema_of},
};

use super::{
    fetch::{Content, Entry, too_large},
    json,
    options::{KeysOptions, Shape},
};
use crate::{
    fields::FieldColumns,
    types::{Cell, ColumnBuilder, ENGINE, FieldType, Kind},
};

/// Makes rows.
pub struct Shaper {
    options: KeysOptions,
    /// The columns that are no fields.
    own: Vec<(Column, ColumnBuilder)>,
    fields: FieldColumns,
    max_value_bytes: u64,
    rows: usize,
    bytes: usize,
}

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// All of it is in the rows.
    Done,
    /// Its elements from this one on are still to come.
    Part(usize),
    /// It cannot be a row, for this reason.
    Rejected(String),
    /// It has a field that no column is there for: take the rows, then [`Shaper::grow`].
    Grows,
}

impl Shaper {
    /// Of the options of a request.
    pub fn new(options: &KeysOptions, max_value_bytes: u64) -> Self {
        let encoded = options.encoding.field_type();
        let mut own: Vec<(Column, FieldType)> = Vec::new();
        let mut add = |name: &str, field: FieldType, declared: &str| {
            own.push((field.column(name).declared(ENGINE, declared), field));
        };
        match options.shape {
            Shape::Fields => {
                if !options.key_column.is_empty() {
                    add(&options.key_column, encoded, "key");
                }
            }
            Shape::Value | Shape::Elements => {
                add("key", encoded, "key");
                add("type", FieldType::Text, "type");
            }
        }
        if options.ttl {
            add("ttl_ms", FieldType::Int64, "ttl");
        }
        match options.shape {
            Shape::Fields => {}
            Shape::Value => match options.kind() {
                Some(Kind::String) => add("value", encoded, "string"),
                kind => add("value", FieldType::Json, kind.as_ref().map_or("any", Kind::name)),
            },
            Shape::Elements => {
                add("index", FieldType::Int64, "index");
                add("field", encoded, "field");
                add("value", encoded, "value");
                add("score", FieldType::Float64, "score");
                add("entry_id", FieldType::Text, "entry id");
            }
        }
        let is_key = |name: &str| match options.shape {
            Shape::Value => name == "key",
            Shape::Fields => name == options.key_column,
            Shape::Elements => false,
        };
        let own = own.into_iter().map(|(column, field)| {
            let required = matches!(column.name.as_str(), "key" | "type") || is_key(&column.name);
            let column = if required && options.shape != Shape::Fields || is_key(&column.name) {
                column.not_null()
            } else {
                column
            };
            let column = if is_key(&column.name) { column.key(0) } else { column };
            (column, ColumnBuilder::new(field))
        });
        Self {
            own: own.collect(),
            fields: FieldColumns::new(&options.fields, encoded),
            options: options.clone(),
            max_value_bytes,
            rows: 0,
            bytes: 0,
        }
    }

    /// The columns as they are now.
    pub fn schema(&self) -> SchemaRef {
        let mut columns: Vec<Column> = self.own.iter().map(|(column, _)| column.clone()).collect();
        let fields = self.fields.fields().iter();
        columns.extend(fields.map(|field| field.field.column(&field.name).declared(ENGINE, "field")));
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

    /// Adds an entry, from one of its elements on, until there are so many rows or bytes.
    ///
    /// # Errors
    /// For a value of more than `max_value_bytes`.
    pub fn push(&mut self, entry: &Entry, from: usize, rows: usize, bytes: usize) -> Result<Pushed> {
        match self.options.shape {
            Shape::Value => self.push_value(entry),
            Shape::Fields => self.push_fields(entry),
            Shape::Elements => self.push_elements(entry, from, rows, bytes),
        }
    }

    fn push_value(&mut self, entry: &Entry) -> Result<Pushed> {
        let length = entry.content.bytes() as u64;
        if length > self.max_value_bytes {
            return Err(too_large(&entry.key, "value", length, self.max_value_bytes));
        }
        let encoded = self.options.encoding.field_type();
        let value = match (&entry.content, self.options.kind()) {
            (Content::Bytes(bytes), Some(Kind::String)) => encoded
                .read(bytes)
                .map_err(|reason| format!("The value {reason}; `encoding: binary` takes it")),
            _ => json::value_json(entry, self.options.encoding).map(|value| Cell::Owned(value.to_string())),
        };
        let cells = value.and_then(|value| {
            let mut cells = self.head(entry)?;
            cells.push(value);
            Ok(cells)
        });
        Ok(self.push_cells(cells, &[]))
    }

    fn push_fields(&mut self, entry: &Entry) -> Result<Pushed> {
        let Content::Pairs(pairs) = &entry.content else {
            return Ok(Pushed::Rejected(format!("A `{}` has no fields", entry.kind.name())));
        };
        if self.fields.missing(pairs).is_some() {
            return Ok(Pushed::Grows);
        }
        for (name, value) in pairs {
            let length = value.len() as u64;
            if length > self.max_value_bytes {
                let name = String::from_utf8_lossy(name);
                return Err(too_large(&entry.key, &name, length, self.max_value_bytes));
            }
        }
        let fields = match self.fields.cells(pairs) {
            Ok(cells) => cells,
            Err(reason) => return Ok(Pushed::Rejected(reason)),
        };
        let head = self.head(entry);
        Ok(self.push_cells(head, &fields))
    }

    /// Gives each field of an entry a column. The rows must have been taken.
    ///
    /// # Errors
    /// Why a field can have none.
    pub fn grow(&mut self, entry: &Entry) -> Result<(), String> {
        let Content::Pairs(pairs) = &entry.content else { return Ok(()) };
        let own: Vec<&str> = self.own.iter().map(|(column, _)| column.name.as_str()).collect();
        self.fields.grow(pairs, &own)
    }

    fn push_elements(&mut self, entry: &Entry, from: usize, rows: usize, bytes: usize) -> Result<Pushed> {
        let mut element = 0;
        let mut each = |shaper: &mut Self, cells: [Cell<'_>; 5]| -> Result<Option<Pushed>> {
            element += 1;
            if element <= from {
                return Ok(None);
            }
            let length = cells.iter().map(Cell::bytes).sum::<usize>() as u64;
            if length > shaper.max_value_bytes.saturating_add(64) {
                return Err(too_large(&entry.key, "value", length, shaper.max_value_bytes));
            }
            if shaper.rows >= rows || shaper.bytes >= bytes {
                return Ok(Some(Pushed::Part(element - 1)));
            }
            let cells = shaper.head(entry).map(|mut head| {
                head.extend(cells);
                head
            });
            Ok(match shaper.push_cells(cells, &[]) {
                Pushed::Done => None,
                other => Some(other),
            })
        };
        let encoded = self.options.encoding.field_type();
        let read = |bytes| encoded.read(bytes).map_err(|reason| format!("An element {reason}"));
        let index = |place: usize| Cell::Integer(i64::try_from(place).unwrap_or(i64::MAX));
        macro_rules! row {
            ($cells:expr) => {{
                let cells: Result<[Cell<'_>; 5], String> = (|| Ok($cells))();
                match cells {
                    Err(reason) => return Ok(Pushed::Rejected(reason)),
                    Ok(cells) => {
                        if let Some(stop) = each(self, cells)? {
                            return Ok(stop);
                        }
                    }
                }
            }};
        }
        match &entry.content {
            Content::Bytes(bytes) => row!([Cell::Null, Cell::Null, read(bytes)?, Cell::Null, Cell::Null]),
            Content::Pairs(pairs) => {
                for (name, value) in pairs {
                    row!([Cell::Null, read(name)?, read(value)?, Cell::Null, Cell::Null]);
                }
            }
            Content::Items(items) => {
                let ordered = entry.kind == Kind::List;
                for (place, item) in items.iter().enumerate() {
                    let place = if ordered { index(place) } else { Cell::Null };
                    row!([place, Cell::Null, read(item)?, Cell::Null, Cell::Null]);
                }
            }
            Content::Scored(items) => {
                for (place, (member, score)) in items.iter().enumerate() {
                    row!([index(place), Cell::Null, read(member)?, Cell::Float(*score), Cell::Null]);
                }
            }
            Content::Entries(entries) => {
                for (place, (id, pairs)) in entries.iter().enumerate() {
                    let id = std::str::from_utf8(id).unwrap_or_default();
                    for (name, value) in pairs {
                        row!([index(place), read(name)?, read(value)?, Cell::Null, Cell::Text(id)]);
                    }
                }
            }
            Content::Unknown => {
                let reason = json::value_json(entry, self.options.encoding).err().unwrap_or_default();
                return Ok(Pushed::Rejected(reason));
            }
        }
        Ok(Pushed::Done)
    }

    /// Key, type and time to live, as far as there are columns for them.
    fn head<'a>(&self, entry: &'a Entry) -> Result<Vec<Cell<'a>>, String> {
        let mut cells = Vec::with_capacity(self.own.len());
        if self.options.shape != Shape::Fields || !self.options.key_column.is_empty() {
            let key = self.options.encoding.field_type().read(&entry.key);
            cells.push(key.map_err(|reason| format!("The key {reason}; `encoding: binary` takes it"))?);
        }
        if self.options.shape != Shape::Fields {
            cells.push(Cell::Text(entry.kind.name()));
        }
        if self.options.ttl {
            cells.push(entry.ttl_ms.map_or(Cell::Null, Cell::Integer));
        }
        Ok(cells)
    }

    fn push_cells(&mut self, own: Result<Vec<Cell<'_>>, String>, fields: &[Cell<'_>]) -> Pushed {
        let own = match own {
            Ok(cells) => cells,
            Err(reason) => return Pushed::Rejected(reason),
        };
        for ((_, builder), cell) in self.own.iter_mut().zip(&own) {
            builder.push(cell);
            self.bytes += cell.bytes();
        }
        self.fields.push(fields);
        self.bytes += fields.iter().map(Cell::bytes).sum::<usize>();
        self.rows += 1;
        Pushed::Done
    }

    /// The rows that wait.
    ///
    /// # Errors
    /// When the columns do not fit together, which is a defect.
    pub fn take(&mut self) -> Result<RecordBatch> {
        let schema = self.schema();
        let mut arrays: Vec<ArrayRef> = self.own.iter_mut().map(|(_, builder)| builder.finish()).collect();
        arrays.extend(self.fields.finish());
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).map_err(Error::from)
    }
}
