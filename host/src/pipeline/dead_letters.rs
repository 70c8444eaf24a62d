use std::collections::BTreeMap;

use arrow::{array::RecordBatch, ipc::writer::StreamWriter, util::display::FormatOptions};
use hub_plugin_api::{
    Error, ErrorKind, FlushReport, Rejected, RejectedRow, Result, Rows, StreamId, types::cell_text,
};
use serde_json::{Map, Value};

use super::{Side, channel::batch_bytes, parked::Parked};
use crate::store::DeadLetter;

/// Rows are flushed when this many bytes of them are kept for the case that one is refused.
const MAX_KEPT_BYTES: u64 = 8 << 20;

/// Why a change is put aside that nobody refused.
pub(crate) const PARKED: &str = "An earlier change of this row was refused";

/// Collects refused rows until they are stored. Keeps what was written since the last flush: the destination names a
/// refused row only by its number.
#[derive(Default)]
pub(crate) struct DeadLetters {
    kept: BTreeMap<StreamId, Vec<RecordBatch>>,
    kept_bytes: u64,
    letters: Vec<DeadLetter>,
    parked: Parked,
    /// Since the last commit.
    ordinal: u64,
}

/// The token that a refused row would have been of.
#[derive(Clone, Copy)]
pub(crate) struct TokenNumber {
    pub(crate) lane: u32,
    pub(crate) generation: u64,
    pub(crate) n: u64,
}

impl DeadLetters {
    /// Keeps written rows until the next flush.
    pub(crate) fn keep(&mut self, rows: &Rows) {
        self.kept_bytes += batch_bytes(&rows.batch);
        self.kept.entry(rows.stream.clone()).or_default().push(rows.batch.clone());
    }

    /// Whether so much is kept that it is time to flush.
    pub(crate) fn wants_flush(&self) -> bool {
        self.kept_bytes > MAX_KEPT_BYTES
    }

    /// Takes what a flush refused, and keeps nothing any more.
    pub(crate) fn flushed(&mut self, report: &FlushReport, token: TokenNumber) -> Result<()> {
        for rejected in &report.rejected {
            let row = self.row(rejected)?;
            self.parked.park(&rejected.stream.to_string(), &row)?;
            self.keep_row(&rejected.stream, &row, rejected.kind, &rejected.reason, token)?;
        }
        self.kept.clear();
        self.kept_bytes = 0;
        Ok(())
    }

    /// Takes what an earlier attempt put aside: later changes of those rows are put aside too.
    pub(crate) fn restore(&mut self, letter: &DeadLetter) -> Result<()> {
        self.parked.restore(letter)
    }

    /// Takes the changes of rows that had one refused, and answers how many there were; `rows` keeps the others.
    pub(crate) fn park(&mut self, rows: &mut Rows, token: TokenNumber) -> Result<u64> {
        let (kept, parked) = self.parked.split(&rows.stream.to_string(), &rows.batch)?;
        rows.batch = kept;
        let Some(parked) = parked else { return Ok(0) };
        for row in 0..parked.num_rows() {
            let row = parked.slice(row, 1);
            self.keep_row(&rows.stream, &row, ErrorKind::ConstraintViolated, PARKED, token)?;
        }
        Ok(parked.num_rows() as u64)
    }

    fn keep_row(
        &mut self,
        stream: &StreamId,
        row: &RecordBatch,
        kind: ErrorKind,
        reason: &str,
        token: TokenNumber,
    ) -> Result<()> {
        let content = (row_json(row)?, Some(row_ipc(row)?));
        let letter = self.letter(token, (stream, Side::Destination, kind, reason), content);
        self.letters.push(letter);
        Ok(())
    }

    /// Takes a row that the source gave up on.
    pub(crate) fn refused_by_source(&mut self, rejected: &Rejected, token: TokenNumber) {
        let letter = self.letter(
            token,
            (&rejected.stream, Side::Source, ErrorKind::InvalidData, &rejected.reason),
            (rejected.payload.clone(), None),
        );
        self.letters.push(letter);
    }

    /// What is to be stored before the commit.
    pub(crate) fn take(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.letters)
    }

    /// The token is durable: the next refused row is of the next one.
    pub(crate) fn committed(&mut self) {
        self.ordinal = 0;
    }

    fn letter(
        &mut self,
        token: TokenNumber,
        (stream, side, kind, reason): (&StreamId, Side, ErrorKind, &str),
        (payload, arrow_ipc): (String, Option<Vec<u8>>),
    ) -> DeadLetter {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        DeadLetter {
            lane: token.lane,
            generation: token.generation,
            n: token.n,
            ordinal,
            stream: stream.to_string(),
            side: side.as_str().into(),
            kind: kind.as_str().into(),
            reason: reason.into(),
            payload,
            arrow_ipc,
        }
    }

    fn row(&self, rejected: &RejectedRow) -> Result<RecordBatch> {
        let mut left = rejected.row;
        for batch in self.kept.get(&rejected.stream).into_iter().flatten() {
            let rows = batch.num_rows() as u64;
            if left < rows {
                return Ok(batch.slice(usize::try_from(left).unwrap_or(usize::MAX), 1));
            }
            left -= rows;
        }
        Err(Error::new(
            ErrorKind::Protocol,
            format!(
                "The destination refused row {} of `{}`, which it was not given",
                rejected.row, rejected.stream
            ),
        ))
    }
}

/// The error of a run that stops at the first refused row.
pub(crate) fn refused(
    kind: ErrorKind,
    side: Side,
    stream: &StreamId,
    row: Option<u64>,
    reason: &str,
    more: usize,
) -> Error {
    let which = row.map_or_else(|| "a row".into(), |row| format!("row {row} since the last commit"));
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    Error::new(kind, format!("The {} refused {which} of `{stream}`{more}: {reason}", side.as_str())).with_hint(
        "Nothing after the last commit was kept. Correct the row, or set `on_rejected: dead_letter` to keep such rows \
         in the store and go on",
    )
}

fn row_json(row: &RecordBatch) -> Result<String> {
    let options = FormatOptions::default().with_null("");
    let mut object = Map::new();
    for (field, array) in row.schema_ref().fields().iter().zip(row.columns()) {
        let value = if array.is_null(0) {
            Value::Null
        } else {
            // The row itself is kept exactly beside this, also where a value has no text.
            cell_text(array, 0, &options).unwrap_or_else(|error| error.to_string()).into()
        };
        object.insert(field.name().clone(), value);
    }
    Ok(Value::Object(object).to_string())
}

fn row_ipc(row: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), row.schema_ref())?;
    writer.write(row)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array, StringArray, StructArray, TimestampMicrosecondArray, new_null_array},
        buffer::NullBuffer,
        datatypes::DataType,
        ipc::reader::StreamReader,
    };
    use hub_plugin_api::{
        changes::{BEFORE, OP, change_schema},
        types::{Column, LogicalType},
    };

    use super::*;

    fn rows(values: &[i64]) -> Rows {
        let array: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        Rows {
            stream: StreamId::named("t"),
            schema_id: 0,
            batch: RecordBatch::try_from_iter([("a", array)]).unwrap(),
        }
    }

    fn report(row: u64) -> FlushReport {
        let (stream, reason) = (StreamId::named("t"), "too large".into());
        FlushReport { rejected: vec![RejectedRow { stream, row, kind: ErrorKind::InvalidData, reason }] }
    }

    #[test]
    fn instants_of_a_refused_row_are_kept_as_text_too() {
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC"));
        let row = RecordBatch::try_from_iter([("at", at)]).unwrap();
        assert_eq!(row_json(&row).unwrap(), r#"{"at":"1970-01-01T00:00:01.500Z"}"#);
    }

    #[test]
    fn refused_row_is_found_over_batches_and_kept_exactly() {
        let token = TokenNumber { lane: 0, generation: 1, n: 3 };
        let mut letters = DeadLetters::default();
        letters.keep(&rows(&[1, 2]));
        letters.keep(&rows(&[3, 4]));
        letters.flushed(&report(2), token).unwrap();
        let taken = letters.take();
        assert_eq!((taken[0].payload.as_str(), taken[0].n, taken[0].ordinal), (r#"{"a":"3"}"#, 3, 0));
        let mut reader = StreamReader::try_new(taken[0].arrow_ipc.as_deref().unwrap(), None).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), rows(&[3]).batch);
        assert_eq!(letters.flushed(&report(0), token).unwrap_err().kind, ErrorKind::Protocol);
    }

    fn change(op: &str, key: i64, before: Option<i64>) -> Rows {
        let columns = [Column::new("id", LogicalType::Int64).key(0)];
        let schema = change_schema(&columns);
        let arrays = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "id" => Arc::new(Int64Array::from(vec![key])),
                OP => Arc::new(StringArray::from(vec![op])),
                BEFORE => {
                    let DataType::Struct(fields) = field.data_type() else { unreachable!() };
                    let ids: ArrayRef = Arc::new(Int64Array::from(vec![before]));
                    let valid = NullBuffer::from(vec![before.is_some()]);
                    Arc::new(StructArray::new(fields.clone(), vec![ids], Some(valid)))
                }
                _ => new_null_array(field.data_type(), 1),
            }
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).unwrap();
        Rows { stream: StreamId::named("t"), schema_id: 0, batch }
    }

    #[test]
    fn later_changes_of_a_refused_row_are_put_aside_also_after_a_restart() {
        let token = TokenNumber { lane: 0, generation: 1, n: 1 };
        let mut letters = DeadLetters::default();
        letters.keep(&change("insert", 7, None));
        letters.flushed(&report(0), token).unwrap();
        let mut after_restart = DeadLetters::default();
        for letter in letters.take() {
            after_restart.restore(&letter).unwrap();
        }
        for mut letters in [letters, after_restart] {
            // Key 7 becomes 8, so 8 is put aside as well; 9 is another row.
            for (mut rows, parked) in [
                (change("update", 8, Some(7)), 1),
                (change("update", 8, None), 1),
                (change("delete", 7, Some(7)), 1),
                (change("insert", 9, None), 0),
            ] {
                assert_eq!(letters.park(&mut rows, token).unwrap(), parked);
                assert_eq!(rows.batch.num_rows() as u64, 1 - parked);
            }
            let taken = letters.take();
            assert_eq!(taken.len(), 3);
            assert!(taken.iter().all(|letter| letter.reason == PARKED));
        }
    }

    #[test]
    fn rows_that_are_no_changes_are_never_put_aside_for_another() {
        let token = TokenNumber { lane: 0, generation: 1, n: 1 };
        let mut letters = DeadLetters::default();
        letters.keep(&rows(&[1]));
        letters.flushed(&report(0), token).unwrap();
        assert_eq!(letters.park(&mut rows(&[1]), token).unwrap(), 0);
    }
}
