//! Rows made of entries.

use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Event, Rejected, Result, Rows, StreamId, StreamSchema,
    arrow::{
        array::{ArrayRef, RecordBatch},
        datatypes::SchemaRef,
    },
    json,
    types::{Column, schema_of},
};

use super::{
    id::EntryId,
    options::{Shape, StreamsOptions},
};
use crate::{
    fields::FieldColumns,
    keys::{fields_json, fields_payload},
    types::{Cell, ColumnBuilder, ENGINE, FieldType},
};

/// Fields of an entry.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Makes rows of one stream's entries.
pub struct StreamRows {
    stream: StreamId,
    options: StreamsOptions,
    schema_id: Option<u32>,
    ids: ColumnBuilder,
    documents: ColumnBuilder,
    fields: FieldColumns,
    rows: usize,
    bytes: usize,
}

/// How much a batch may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows: usize,
    /// Bytes.
    pub bytes: usize,
    /// Bytes of one value.
    pub value: u64,
}

impl StreamRows {
    /// None yet.
    pub fn new(stream: &str, options: &StreamsOptions) -> Self {
        Self {
            stream: StreamId::named(stream),
            options: options.clone(),
            schema_id: None,
            ids: ColumnBuilder::new(FieldType::Text),
            documents: ColumnBuilder::new(FieldType::Json),
            fields: FieldColumns::new(&options.fields, options.encoding.field_type()),
            rows: 0,
            bytes: 0,
        }
    }

    fn schema(&self) -> SchemaRef {
        let id = FieldType::Text.column(&self.options.id_column).declared(ENGINE, "entry id");
        let mut columns = vec![id.not_null().key(0)];
        match self.options.shape {
            Shape::Json => {
                columns.push(FieldType::Json.column("fields").declared(ENGINE, "fields").not_null())
            }
            Shape::Fields => columns.extend(self.columns_of_fields()),
        }
        schema_of(&columns)
    }

    fn columns_of_fields(&self) -> impl Iterator<Item = Column> {
        self.fields.fields().iter().map(|field| field.field.column(&field.name).declared(ENGINE, "field"))
    }

    /// Says what the columns are, unless it was said.
    pub fn say_schema(&mut self, next_schema: &mut u32, out: &mut impl Extend<Event>) {
        if self.schema_id.is_none() {
            self.new_schema(next_schema, None, out);
        }
    }

    fn new_schema(&mut self, next_schema: &mut u32, change: Option<String>, out: &mut impl Extend<Event>) {
        self.schema_id = Some(*next_schema);
        let schema = StreamSchema::new(self.stream.clone(), *next_schema, self.schema());
        *next_schema += 1;
        out.extend([Event::Schema(StreamSchema { change, ..schema })]);
    }

    /// Adds an entry. Events come out when the batch is full, the columns change, or it cannot be a row.
    ///
    /// # Errors
    /// For a value of more than is allowed.
    pub fn push(
        &mut self,
        id: EntryId,
        fields: &Fields,
        limits: Limits,
        next_schema: &mut u32,
        out: &mut impl Extend<Event>,
    ) -> Result<()> {
        for (name, value) in fields {
            if value.len() as u64 > limits.value {
                let name = String::from_utf8_lossy(name);
                let message = format!(
                    "Column `{name}`: a value has {} bytes, over `max_value_bytes`, which is {}",
                    value.len(),
                    limits.value
                );
                return Err(Error::new(ErrorKind::InvalidData, message).with_context("entry", id));
            }
        }
        if self.rows >= limits.rows || self.bytes >= limits.bytes {
            self.take(out)?;
        }
        let length: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        match self.options.shape {
            Shape::Json => match fields_json(fields, self.options.encoding) {
                Ok(document) => {
                    self.documents.push(&Cell::Owned(document.to_string()));
                }
                Err(reason) => {
                    self.reject(id, fields, reason, out);
                    return Ok(());
                }
            },
            Shape::Fields => {
                if self.fields.missing(fields).is_some() {
                    self.take(out)?;
                    let own = [self.options.id_column.as_str()];
                    if let Err(reason) = self.fields.grow(fields, &own) {
                        self.reject(id, fields, reason, out);
                        return Ok(());
                    }
                    self.new_schema(next_schema, Some("Fields came that had no column".into()), out);
                }
                match self.fields.cells(fields) {
                    Ok(cells) => self.fields.push(&cells),
                    Err(reason) => {
                        self.reject(id, fields, reason, out);
                        return Ok(());
                    }
                }
            }
        }
        self.ids.push(&Cell::Owned(id.to_string()));
        self.rows += 1;
        self.bytes += length + 24;
        Ok(())
    }

    /// Says that an entry cannot be a row.
    pub fn reject(&self, id: EntryId, fields: &Fields, reason: String, out: &mut impl Extend<Event>) {
        let payload = json!({ "stream": self.stream.name, "id": id, "fields": fields_payload(fields) });
        let rejected = Rejected { stream: self.stream.clone(), payload: payload.to_string(), reason };
        out.extend([Event::Rejected(rejected)]);
    }

    /// The rows that wait, as an event.
    ///
    /// # Errors
    /// When the columns do not fit together, which is a defect.
    pub fn take(&mut self, out: &mut impl Extend<Event>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        (self.rows, self.bytes) = (0, 0);
        let schema = self.schema();
        let mut arrays: Vec<ArrayRef> = vec![self.ids.finish()];
        match self.options.shape {
            Shape::Json => arrays.push(self.documents.finish()),
            Shape::Fields => arrays.extend(self.fields.finish()),
        }
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
        let schema_id = self.schema_id.unwrap_or_default();
        out.extend([Event::Rows(Rows { stream: self.stream.clone(), schema_id, batch })]);
        Ok(())
    }
}
