//! Rows that were sent but are not settled: kept so that a refused one can be found.

use std::collections::HashSet;

use hub_plugin_api::arrow::array::{Array, RecordBatch};

/// A row of a segment: the chunk and the row in it.
pub(super) type RowPlace = (u32, u32);

/// A batch, and which row of the stream it starts with, counted since the last flush.
pub(super) struct Chunk {
    pub batch: RecordBatch,
    pub first_row: u64,
}

/// Batches of one stream, in order.
#[derive(Default)]
pub(super) struct Segment {
    pub chunks: Vec<Chunk>,
    pub bytes: usize,
    /// Rows that were refused already.
    pub refused: HashSet<RowPlace>,
}

impl Segment {
    /// Takes a batch in; returns its bytes.
    pub(super) fn push(&mut self, chunk: Chunk) -> usize {
        let bytes = bytes_of(&chunk.batch);
        self.bytes += bytes;
        self.chunks.push(chunk);
        bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// All rows that are not refused.
    pub(super) fn rows(&self) -> Vec<RowPlace> {
        let mut rows = Vec::new();
        for (index, chunk) in self.chunks.iter().enumerate() {
            let places = (0..chunk.batch.num_rows()).map(|row| (index as u32, row as u32));
            rows.extend(places.filter(|place| !self.refused.contains(place)));
        }
        rows
    }

    /// The row's number in its stream.
    pub(super) fn number(&self, (chunk, row): RowPlace) -> u64 {
        self.chunks[chunk as usize].first_row + u64::from(row)
    }
}

/// What a batch holds, without what its buffers share with others.
pub(super) fn bytes_of(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| {
        let data = column.to_data();
        data.get_slice_memory_size().unwrap_or_else(|_| data.get_buffer_memory_size())
    });
    sizes.sum()
}
