use std::collections::HashSet;

use arrow::array::{Array, RecordBatch};

/// A row of a segment: the chunk and the row in it.
pub type RowPlace = (u32, u32);

/// A batch, and which row of the stream it starts with, counted since the last flush.
#[derive(Debug)]
pub struct Chunk {
    /// The rows.
    pub batch: RecordBatch,
    /// The number of the first of them in the stream.
    pub first_row: u64,
}

/// Batches of one stream, in order.
#[derive(Debug, Default)]
pub struct Segment {
    /// The batches.
    pub chunks: Vec<Chunk>,
    /// Their bytes.
    pub bytes: usize,
    /// Rows that were refused already.
    pub refused: HashSet<RowPlace>,
}

impl Segment {
    /// Takes a batch in; returns its bytes.
    pub fn push(&mut self, chunk: Chunk) -> usize {
        let bytes = bytes_of(&chunk.batch);
        self.bytes += bytes;
        self.chunks.push(chunk);
        bytes
    }

    /// Whether nothing was taken in.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// All rows that are not refused.
    pub fn rows(&self) -> Vec<RowPlace> {
        let mut rows = Vec::new();
        for (index, chunk) in self.chunks.iter().enumerate() {
            let places = (0..chunk.batch.num_rows()).map(|row| (index as u32, row as u32));
            rows.extend(places.filter(|place| !self.refused.contains(place)));
        }
        rows
    }

    /// The row's number in its stream.
    pub fn number(&self, (chunk, row): RowPlace) -> u64 {
        self.chunks[chunk as usize].first_row + u64::from(row)
    }
}

/// What a batch holds, without what its buffers share with others.
pub fn bytes_of(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| {
        let data = column.to_data();
        data.get_slice_memory_size().unwrap_or_else(|_| data.get_buffer_memory_size())
    });
    sizes.sum()
}
