use std::collections::BTreeMap;

use arrow::{
    array::RecordBatch,
    ipc::writer::StreamWriter,
    util::display::{ArrayFormatter, FormatOptions},
};
use hub_plugin_api::{Error, ErrorKind, FlushReport, Rejected, RejectedRow, Result, Rows, StreamId};
use serde_json::{Map, Value};

use super::{Side, channel::batch_bytes};
use crate::store::DeadLetter;

/// Rows are flushed when this many bytes of them are kept for the case that one is refused.
const MAX_KEPT_BYTES: u64 = 8 << 20;

/// Collects refused rows until they are stored. Keeps what was written since the last flush: the destination names a
/// refused row only by its number.
#[derive(Default)]
pub(crate) struct DeadLetters {
    kept: BTreeMap<StreamId, Vec<RecordBatch>>,
    kept_bytes: u64,
    letters: Vec<DeadLetter>,
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
            let letter = self.letter(
                token,
                (&rejected.stream, Side::Destination, rejected.kind, &rejected.reason),
                (row_json(&row)?, Some(row_ipc(&row)?)),
            );
            self.letters.push(letter);
        }
        self.kept.clear();
        self.kept_bytes = 0;
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
            ArrayFormatter::try_new(array, &options)?.value(0).to_string().into()
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
        array::{ArrayRef, Int64Array},
        ipc::reader::StreamReader,
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
}
