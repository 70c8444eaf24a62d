//! Collects rows of the text protocol into columns.

use std::sync::Arc;

use hub_plugin_api::{
    Result,
    arrow::{
        array::{RecordBatch, RecordBatchOptions},
        datatypes::SchemaRef,
    },
};

use super::{
    column::{ColumnDecoder, Reading},
    result::Reader,
};
use crate::{error, types::ServerType};

/// Collects rows, and hands them over as batches.
pub struct RowDecoder {
    schema: SchemaRef,
    columns: Vec<ColumnDecoder>,
    rows: usize,
    bytes: usize,
}

impl RowDecoder {
    /// A decoder of rows with these columns: a type for each field of `schema`, in order.
    pub fn new(schema: SchemaRef, types: &[ServerType], reading: Reading) -> Self {
        let fields = schema.fields().iter().zip(types);
        let columns = fields.map(|(field, of)| ColumnDecoder::new(field, of, reading)).collect();
        Self { columns, schema, rows: 0, bytes: 0 }
    }

    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows collected since the last batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of their values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one row as it was received.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidData`] with the column's name when a value cannot be carried.
    #[inline]
    pub fn append(&mut self, row: &[u8]) -> Result<()> {
        let mut reader = Reader(row);
        for column in &mut self.columns {
            match reader.field() {
                Some(Some(value)) => column.append(value)?,
                Some(None) => column.append_null(),
                None => return Err(error::protocol("a row has too few fields")),
            }
        }
        self.rows += 1;
        // What a row costs in memory beyond its values: offsets and validity.
        self.bytes += row.len() + 4 * self.columns.len();
        Ok(())
    }

    /// The rows collected so far as a batch; the decoder is empty afterwards.
    ///
    /// # Errors
    /// As [`ColumnDecoder::finish`].
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let arrays = self.columns.iter_mut().map(ColumnDecoder::finish).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{
        ErrorKind,
        arrow::array::{Array, AsArray},
        types::{Column, schema_of},
    };

    use super::*;
    use crate::{flavor::Vendor, raw::column::ZeroDates};

    fn decoder(types: &[ServerType], zero_dates: ZeroDates) -> RowDecoder {
        let columns = types.iter().enumerate();
        let columns: Vec<_> =
            columns.map(|(at, of)| Column::new(format!("c{at}"), of.logical(Vendor::MySql))).collect();
        let reading = Reading { zero_dates, offset_seconds: 3600, max_value_bytes: 100 };
        RowDecoder::new(schema_of(&columns), types, reading)
    }

    fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut row = Vec::new();
        for field in fields {
            match field {
                Some(bytes) => {
                    row.push(bytes.len() as u8);
                    row.extend_from_slice(bytes);
                }
                None => row.push(0xfb),
            }
        }
        row
    }

    #[test]
    fn values_that_cannot_be_carried_name_their_column() {
        let unsigned = ServerType::Integer { bytes: 1, unsigned: true };
        for (of, value) in [
            (unsigned, &b"256"[..]),
            (ServerType::Decimal { precision: 5, scale: 2 }, b"1000.00"),
            (ServerType::Decimal { precision: 65, scale: 30 }, b"1.5x"),
            (ServerType::Date, b"0000-00-00"),
            (ServerType::Text, &[b'a'; 101]),
            (ServerType::Geometry, b"\x01\x00\x00\x00\x00"),
            (ServerType::Vector, b"\x01\x00\x00"),
        ] {
            let mut decoder = decoder(&[of], ZeroDates::Error);
            let error = decoder.append(&row(&[Some(value)])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidData);
            assert!(error.message.contains("`c0`"), "{error}");
        }
        let mut text = decoder(&[ServerType::Text], ZeroDates::Error);
        text.append(&row(&[Some(b"\xff")])).unwrap();
        assert!(text.finish().unwrap_err().message.contains("`c0` holds text that is not UTF-8"));
    }

    #[test]
    fn zero_dates_become_null_where_that_is_wanted() {
        let mut decoder = decoder(&[ServerType::Date, ServerType::Timestamp], ZeroDates::Null);
        decoder.append(&row(&[Some(b"2024-01-00"), Some(b"0000-00-00 00:00:00")])).unwrap();
        decoder.append(&row(&[Some(b"1970-01-02"), Some(b"1970-01-01 01:00:01")])).unwrap();
        decoder.append(&row(&[None, None])).unwrap();
        let batch = decoder.finish().unwrap();
        assert_eq!((batch.column(0).null_count(), batch.column(1).null_count()), (2, 2));
        let instants =
            batch.column(1).as_primitive::<hub_plugin_api::arrow::datatypes::TimestampMicrosecondType>();
        assert_eq!(instants.value(1), 1_000_000, "the session's offset is taken off");
        assert_eq!((decoder.rows(), decoder.bytes()), (0, 0));
    }

    #[test]
    fn bits_that_come_as_a_number_are_the_bytes_of_the_type() {
        let mut decoder = decoder(&[ServerType::BitNumber(1), ServerType::BitNumber(10)], ZeroDates::Error);
        decoder.append(&row(&[Some(b"0"), Some(b"513")])).unwrap();
        decoder.append(&row(&[Some(b"1"), None])).unwrap();
        assert!(decoder.append(&row(&[Some(b"1"), Some(b"65536")])).is_err());
        let error = |value: &[u8]| decoder_of_bits().append(&row(&[Some(value)])).is_err();
        assert!(error(b"-1") && error(b"18446744073709551616") && !error(b"18446744073709551615"));
    }

    fn decoder_of_bits() -> RowDecoder {
        decoder(&[ServerType::BitNumber(64)], ZeroDates::Error)
    }

    #[test]
    fn an_srid_moves_into_the_geometry() {
        let mut decoder = decoder(&[ServerType::Geometry], ZeroDates::Error);
        let point = [&[1, 1, 0, 0, 0][..], &1.5_f64.to_le_bytes(), &2.5_f64.to_le_bytes()].concat();
        decoder.append(&row(&[Some(&[&[0; 4], &point[..]].concat())])).unwrap();
        decoder.append(&row(&[Some(&[&4326_u32.to_le_bytes(), &point[..]].concat())])).unwrap();
        let batch = decoder.finish().unwrap();
        let values = batch.column(0).as_binary::<i32>();
        assert_eq!(values.value(0), point);
        let expected = [&[1, 1, 0, 0, 0x20, 0xe6, 0x10, 0, 0][..], &point[5..]].concat();
        assert_eq!(values.value(1), expected);
    }
}
