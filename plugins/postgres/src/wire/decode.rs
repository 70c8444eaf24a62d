use std::sync::Arc;

use hub_plugin_api::{
    Error, ErrorKind, Result,
    arrow::{
        array::{RecordBatch, RecordBatchOptions},
        datatypes::SchemaRef,
    },
};

use super::{
    decode_column::ColumnDecoder,
    input::{Field, Input},
};
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
            match fields.next().ok_or_else(too_few)? {
                None => column.append_null(),
                Some(value) => {
                    column.append_within(value, self.max_value_bytes)?;
                    self.bytes += value.len();
                }
            }
        }
        self.end_row(0);
        Ok(())
    }

    /// Takes the tuple that `bytes` begin with: a count of fields, and each field's length before its bytes. Says how
    /// many bytes it has; `None` when its end is not there, and nothing was taken.
    ///
    /// # Errors
    /// As [`RowDecoder::append`], and [`ErrorKind::Protocol`] when it is no tuple.
    pub fn append_tuple(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let mut input = Input(bytes);
        let Some(count) = input.i16() else { return Ok(None) };
        let further = usize::try_from(count).ok().and_then(|count| count.checked_sub(self.columns.len()));
        let further = further.ok_or_else(too_few)?;
        for column in &mut self.columns {
            match input.field() {
                Field::Value(value) => column.append_within(value, self.max_value_bytes)?,
                Field::Null => column.append_null(),
                Field::Incomplete => {
                    self.drop_started();
                    return Ok(None);
                }
                Field::Impossible => return Err(impossible()),
            }
        }
        for _ in 0..further {
            match input.field() {
                Field::Value(_) | Field::Null => {}
                Field::Incomplete => {
                    self.drop_started();
                    return Ok(None);
                }
                Field::Impossible => return Err(impossible()),
            }
        }
        let length = bytes.len() - input.0.len();
        // The lengths of the fields stand for what their row costs beside the values.
        self.end_row(length.saturating_sub(4 * self.columns.len()));
        Ok(Some(length))
    }

    fn end_row(&mut self, value_bytes: usize) {
        self.rows += 1;
        // What a row costs in memory beyond its values: offsets and validity.
        self.bytes += value_bytes + 4 * self.columns.len();
    }

    /// Drops the values of a row whose end has not come.
    #[cold]
    fn drop_started(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
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

#[cold]
fn too_few() -> Error {
    Error::new(ErrorKind::Protocol, "A row of the server has too few fields")
}

#[cold]
fn impossible() -> Error {
    Error::new(ErrorKind::Protocol, "A field of a row has a negative length")
}

#[cfg(test)]
mod tests {
    use hub_plugin_api::{
        arrow::{
            array::{Array, AsArray},
            datatypes::{Int64Type, TimestampMicrosecondType},
        },
        types::{Column, LogicalType, Unit, schema_of},
    };
    use proptest::prelude::*;

    use super::*;

    fn decoder(columns: &[(LogicalType, Wire)]) -> RowDecoder {
        let named = columns
            .iter()
            .enumerate()
            .map(|(index, (logical, _))| Column::new(format!("c{index}"), logical.clone()).with_infinity());
        let wires: Vec<_> = columns.iter().map(|(_, wire)| wire.clone()).collect();
        RowDecoder::new(schema_of(&named.collect::<Vec<_>>()), &wires, 1000).unwrap()
    }

    /// A row as a COPY has it.
    fn tuple(fields: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut bytes = (fields.len() as i16).to_be_bytes().to_vec();
        for field in fields {
            bytes.extend(field.as_ref().map_or(-1, |field| field.len() as i32).to_be_bytes());
            bytes.extend(field.iter().flatten());
        }
        bytes
    }

    /// An array of one dimension as `array_send` writes it.
    fn array(items: impl ExactSizeIterator<Item = Vec<u8>>) -> Vec<u8> {
        let head = [1, 0, 23, items.len() as i32, 1];
        let mut bytes: Vec<u8> = head.iter().flat_map(|part: &i32| part.to_be_bytes()).collect();
        for item in items {
            bytes.extend((item.len() as i32).to_be_bytes());
            bytes.extend(item);
        }
        bytes
    }

    proptest! {
        #[test]
        fn rows_become_columns_and_batches_start_anew(
            batches in prop::collection::vec(
                prop::collection::vec((any::<Option<i64>>(), any::<Option<String>>()), 0..50), 1..4,
            ),
        ) {
            let mut decoder = decoder(&[(LogicalType::Int64, Wire::Int8), (LogicalType::Text, Wire::Text)]);
            for rows in &batches {
                for (number, text) in rows {
                    let number = number.map(i64::to_be_bytes);
                    decoder.append([number.as_ref().map(|bytes| &bytes[..]), text.as_ref().map(|text| text.as_bytes())]).unwrap();
                }
                prop_assert_eq!(decoder.rows(), rows.len());
                let batch = decoder.finish().unwrap();
                let numbers = batch.column(0).as_primitive::<Int64Type>();
                let texts = batch.column(1).as_string::<i32>();
                for (index, (number, text)) in rows.iter().enumerate() {
                    prop_assert_eq!(numbers.is_valid(index).then(|| numbers.value(index)), *number);
                    prop_assert_eq!(texts.is_valid(index).then(|| texts.value(index)), text.as_deref());
                }
                prop_assert_eq!((batch.num_rows(), decoder.rows(), decoder.bytes()), (rows.len(), 0, 0));
            }
        }

        #[test]
        fn tuple_whose_end_is_missing_leaves_nothing_behind(
            rows in prop::collection::vec(
                (any::<Option<i64>>(), any::<Option<String>>(), any::<Option<Vec<bool>>>(), any::<Option<Vec<i32>>>()),
                1..8,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 8),
        ) {
            let list = |item: LogicalType, wire: Wire| (LogicalType::List(Box::new(item)), Wire::List(Box::new(wire)));
            let columns = [
                (LogicalType::Int64, Wire::Int8),
                (LogicalType::Text, Wire::Text),
                list(LogicalType::Boolean, Wire::Bool),
                list(LogicalType::Int32, Wire::Int4),
            ];
            let (mut whole, mut cut) = (decoder(&columns), decoder(&columns));
            for ((number, text, flags, numbers), at) in rows.iter().zip(&cuts) {
                let flags = flags.as_ref().map(|flags| array(flags.iter().map(|flag| vec![u8::from(*flag)])));
                let numbers =
                    numbers.as_ref().map(|numbers| array(numbers.iter().map(|one| one.to_be_bytes().to_vec())));
                let number = number.map(|number| number.to_be_bytes().to_vec());
                let fields = [number, text.as_ref().map(|text| text.clone().into_bytes()), flags, numbers];
                let bytes = tuple(&fields);
                prop_assert_eq!(cut.append_tuple(&bytes[..at.index(bytes.len())]).unwrap(), None);
                let more = [&bytes[..], b"more"].concat();
                prop_assert_eq!(cut.append_tuple(&more).unwrap(), Some(bytes.len()));
                whole.append(fields.iter().map(Option::as_deref)).unwrap();
            }
            prop_assert_eq!(cut.rows(), rows.len());
            prop_assert_eq!(cut.finish().unwrap(), whole.finish().unwrap());
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let timestamp = LogicalType::Timestamp { unit: Unit::Microsecond, utc: true };
            let list = LogicalType::List(Box::new(LogicalType::Int32));
            for column in [
                (LogicalType::Boolean, Wire::Bool),
                (LogicalType::Decimal { precision: 38, scale: 9 }, Wire::Decimal { precision: 38, scale: 9 }),
                (LogicalType::DecimalText { precision: None, scale: None }, Wire::DecimalText),
                (LogicalType::Json, Wire::Jsonb),
                (LogicalType::Date, Wire::Date),
                (LogicalType::Time(Unit::Microsecond), Wire::Time),
                (timestamp, Wire::Timestamp),
                (LogicalType::Interval, Wire::Interval),
                (LogicalType::Uuid, Wire::Uuid),
                (list, Wire::List(Box::new(Wire::Int4))),
            ] {
                let mut decoder = decoder(&[column]);
                let _ = decoder.append_tuple(&bytes);
                if decoder.append([Some(&bytes[..])]).is_ok() {
                    let _ = decoder.finish();
                }
            }
        }
    }

    #[test]
    fn value_that_cannot_be_carried_names_its_column() {
        let cases: [(LogicalType, Wire, Vec<u8>, &str); 6] = [
            (LogicalType::Text, Wire::Text, vec![b'a'; 1001], "A value of column `c0` has `1001` bytes"),
            (
                LogicalType::Time(Unit::Microsecond),
                Wire::Time,
                86_400_000_000i64.to_be_bytes().into(),
                "24:00:00",
            ),
            (LogicalType::Interval, Wire::Interval, [&[0x7f][..], &[0xff; 15]].concat(), "nanoseconds"),
            (
                LogicalType::Timestamp { unit: Unit::Microsecond, utc: false },
                Wire::Timestamp,
                (i64::MAX - 1).to_be_bytes().into(),
                "later than can be carried",
            ),
            (LogicalType::Int32, Wire::Int4, vec![1], "1 bytes where its type has 4"),
            (
                LogicalType::List(Box::new(LogicalType::Date)),
                Wire::List(Box::new(Wire::Date)),
                [1, 0, 1082, 1, 1, 4, i32::MAX].iter().flat_map(|part: &i32| part.to_be_bytes()).collect(),
                "infinite",
            ),
        ];
        for (logical, wire, bytes, text) in cases {
            let error = decoder(&[(logical, wire)]).append([Some(&bytes[..])]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidData);
            assert!(error.message.contains("`c0`") && error.message.contains(text), "{error}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_column() {
        let mut decoder = decoder(&[(LogicalType::Text, Wire::Text)]);
        decoder.append([Some(&[0xc3][..])]).unwrap();
        decoder.append([Some(&[0xa9][..])]).unwrap();
        let error = decoder.finish().unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::InvalidData, "Column `c0`: a text is not UTF-8")
        );
    }

    #[test]
    fn infinities_stay_the_extremes() {
        let timestamp = LogicalType::Timestamp { unit: Unit::Microsecond, utc: true };
        let mut decoder = decoder(&[(timestamp, Wire::Timestamp)]);
        for micros in [i64::MIN, i64::MAX, 0] {
            decoder.append([Some(&micros.to_be_bytes()[..])]).unwrap();
        }
        let batch = decoder.finish().unwrap();
        let values = batch.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec();
        assert_eq!(values, [i64::MIN, i64::MAX, 946_684_800_000_000]);
    }
}
