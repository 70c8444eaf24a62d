use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{RecordBatch, RecordBatchOptions},
        datatypes::SchemaRef,
    },
};

use super::decode_column::ColumnDecoder;
use crate::types::Wire;

/// Collects binary rows into columns, and hands them over as batches.
pub struct RowDecoder {
    schema: SchemaRef,
    columns: Vec<ColumnDecoder>,
    /// Bytes that one value may have.
    max_value_bytes: usize,
    rows: usize,
    bytes: usize,
}

impl RowDecoder {
    /// A decoder of rows whose fields lie as `wires` say; there is a field of `schema` for each, in order. Rows may
    /// have further fields behind these, which are left alone.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when schema and wires do not fit.
    pub fn new(schema: SchemaRef, wires: &[Wire], max_value_bytes: u64) -> Result<Self> {
        if schema.fields().len() != wires.len() {
            return Err(Error::internal("The schema and the wire forms of its columns are not as many"));
        }
        let columns = schema.fields().iter().zip(wires).map(|(field, wire)| ColumnDecoder::new(field, wire));
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            schema,
            max_value_bytes: usize::try_from(max_value_bytes).unwrap_or(usize::MAX),
            rows: 0,
            bytes: 0,
        })
    }

    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows collected since the last batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of their fields on the wire.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one row: a slice a field, `None` for null.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when a value cannot be carried.
    pub fn append<'a>(&mut self, fields: impl IntoIterator<Item = Option<&'a [u8]>>) -> Result<()> {
        let mut fields = fields.into_iter();
        for column in &mut self.columns {
            let field = fields
                .next()
                .ok_or_else(|| Error::new(ErrorKind::Protocol, "A row of the server has too few fields"))?;
            match field {
                None => column.append_null(),
                Some(value) if value.len() <= self.max_value_bytes => {
                    self.bytes += value.len();
                    column.append(value)?;
                }
                Some(value) => return Err(too_large(column.name(), value.len(), self.max_value_bytes)),
            }
        }
        self.rows += 1;
        // What a row costs in memory beyond its values: offsets and validity.
        self.bytes += 4 * self.columns.len();
        Ok(())
    }

    /// The rows collected so far as a batch; the decoder is empty afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] with the column's name when text is not UTF-8.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let arrays = self.columns.iter_mut().map(ColumnDecoder::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

fn too_large(column: &str, bytes: usize, most: usize) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!(
            "A value of column `{column}` has `{bytes}` bytes, more than the `{most}` that one value may have"
        ),
    )
    .with_hint("Raise `max_value_bytes`, or leave the column out of the statement")
}
