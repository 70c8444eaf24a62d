//! Rows as files and statements.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use hub_plugin_api::{
    Result,
    arrow::array::RecordBatch,
    settle::{RowPlace, Segment},
};

use super::cell::ColumnPlan;

/// Bytes of a file that are written out at a time.
const PART_BYTES: usize = 128 << 10;
/// Bytes of a file that are sent at a time: a server takes no packet beyond its `max_allowed_packet`, and one row may
/// be much longer.
const MOST_PART_BYTES: usize = 256 << 10;

/// After how many bytes of rows a statement with many of them ends, on a server with this `max_allowed_packet`. The last
/// row, head and tail have as much room again.
pub(super) fn statement_bytes(max_allowed_packet: Option<usize>) -> usize {
    max_allowed_packet.map_or(1 << 20, |most| most / 2).min(1 << 20)
}

/// A row of a batch whose value cannot be stored.
#[derive(Debug)]
pub(super) struct BadRow {
    pub reason: String,
}

/// A file as LOAD DATA reads it, written out a part at a time while it is sent: the server stores the rows before while
/// the next ones are made, and the whole of it is never in memory.
pub(super) struct Lines {
    plan: Vec<ColumnPlan>,
    batches: Vec<RecordBatch>,
    rows: VecDeque<RowPlace>,
    scratch: String,
    /// Written out and not sent.
    part: Bytes,
    refused: Arc<OnceLock<BadRow>>,
}

impl Lines {
    /// Of some rows of a segment. The file ends before a row that cannot be stored, which is then told as `refused`.
    pub(super) fn new(
        plan: &[ColumnPlan],
        segment: &Segment,
        rows: &[RowPlace],
        refused: &Arc<OnceLock<BadRow>>,
    ) -> Self {
        Self {
            plan: plan.to_vec(),
            batches: segment.chunks.iter().map(|chunk| chunk.batch.clone()).collect(),
            rows: rows.iter().copied().collect(),
            scratch: String::new(),
            part: Bytes::new(),
            refused: Arc::clone(refused),
        }
    }

    fn put_line(&mut self, (chunk, row): RowPlace, out: &mut String) -> Result<(), BadRow> {
        let batch = &self.batches[chunk as usize];
        for (index, way) in self.plan.iter().enumerate() {
            if index > 0 {
                out.push('\t');
            }
            way.put_field(batch.column(way.index).as_ref(), row as usize, &mut self.scratch, out)
                .map_err(|reason| BadRow { reason })?;
        }
        out.push('\n');
        Ok(())
    }
}

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.part.is_empty() {
            let mut part = String::with_capacity(PART_BYTES + PART_BYTES / 8);
            while part.len() < PART_BYTES {
                let Some(place) = self.rows.pop_front() else { break };
                if let Err(bad) = self.put_line(place, &mut part) {
                    self.refused.get_or_init(|| bad);
                    self.rows.clear();
                    return None;
                }
            }
            self.part = part.into();
        }
        let part = self.part.split_to(self.part.len().min(MOST_PART_BYTES));
        (!part.is_empty()).then_some(part)
    }
}

/// Appends a text to a file, with what LOAD DATA would take for something else escaped.
pub(super) fn put_escaped(text: &str, out: &mut String) {
    // Most texts have nothing of the kind, and looking at whole texts is fastest without leaving half-way.
    let special = |special, byte: &u8| special | (*byte < b' ') | (*byte == b'\\');
    if !text.as_bytes().iter().fold(false, special) {
        return out.push_str(text);
    }
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'\\' => "\\\\",
            b'\t' => "\\t",
            b'\n' => "\\n",
            b'\r' => "\\r",
            0 => "\\0",
            _ => continue,
        };
        out.push_str(&text[copied..at]);
        out.push_str(escape);
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
}

/// Appends a row as a list of expressions in parentheses.
pub(super) fn put_tuple(
    plan: &[ColumnPlan],
    batch: &RecordBatch,
    row: usize,
    out: &mut String,
) -> Result<(), BadRow> {
    let mut scratch = String::new();
    out.push('(');
    for (index, way) in plan.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        way.put_literal(batch.column(way.index).as_ref(), row, &mut scratch, out)
            .map_err(|reason| BadRow { reason })?;
    }
    out.push(')');
    Ok(())
}

/// A row's values as expressions.
pub(super) fn values(plan: &[ColumnPlan], batch: &RecordBatch, row: usize) -> Result<Vec<String>, BadRow> {
    let value = |way: &ColumnPlan| way.literal(batch.column(way.index).as_ref(), row);
    plan.iter().map(value).collect::<Result<_, _>>().map_err(|reason| BadRow { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_leaves_room_in_the_servers_packets() {
        assert_eq!(statement_bytes(Some(16 << 20)), 1 << 20);
        assert_eq!(statement_bytes(Some(1 << 20)), 512 << 10);
        assert_eq!(statement_bytes(None), 1 << 20);
    }

    #[test]
    fn what_load_data_takes_for_something_else_is_escaped() {
        let escaped = |text: &str| {
            let mut out = String::from("|");
            put_escaped(text, &mut out);
            out
        };
        assert_eq!(escaped("a 'text' with \u{e4}"), "|a 'text' with \u{e4}");
        assert_eq!(escaped("\\N\t\n\r\0"), "|\\\\N\\t\\n\\r\\0");
        assert_eq!(escaped("\u{1}x\u{1f}"), "|\u{1}x\u{1f}");
    }
}
