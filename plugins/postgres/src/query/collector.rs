use std::time::{Duration, Instant};

use hub_plugin_api::{
    Budgets, Position, Result,
    arrow::{array::RecordBatch, datatypes::SchemaRef},
};

use super::{cursor::CursorTracker, shape::Shape, source::Fields};
use crate::wire::{decode::RowDecoder, decode_copy::Tuple};

/// Collects rows into batches within the budgets, and follows the cursor.
pub struct Collector {
    decoder: RowDecoder,
    cursor: Option<CursorTracker>,
    budgets: Budgets,
    /// When the first row of the batch in the making came.
    first_row: Option<Instant>,
}

impl Collector {
    /// One for rows of a shape.
    ///
    /// # Errors
    /// When the shape's parts do not fit each other.
    pub fn new(shape: &Shape, budgets: Budgets, cursor: Option<CursorTracker>) -> Result<Self> {
        let decoder = RowDecoder::new(shape.schema(), &shape.wires(), budgets.max_value_bytes)?;
        Ok(Self { decoder, cursor, budgets, first_row: None })
    }

    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        self.decoder.schema()
    }

    /// Takes the tuple that the bytes begin with, and says how long it is; `None` when it is not there whole.
    ///
    /// # Errors
    /// When a value cannot be carried, or the cursor cannot stand where the row is.
    #[inline]
    pub fn take_tuple(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let length = self.decoder.append_tuple(bytes)?;
        if let (Some(length), Some(cursor)) = (length, &mut self.cursor) {
            cursor.note(&Fields::Tuple(Tuple(&bytes[..length])))?;
        }
        Ok(length)
    }

    /// Takes a row.
    ///
    /// # Errors
    /// As [`Collector::take_tuple`].
    pub fn take_row(&mut self, fields: &[Option<&[u8]>]) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.note(&Fields::List(fields))?;
        }
        self.decoder.append(fields.iter().copied())
    }

    /// Whether a budget is used up.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.decoder.rows() as u64 >= self.budgets.max_batch_rows
            || self.decoder.bytes() as u64 >= self.budgets.max_batch_bytes
    }

    /// Whether there is a row.
    pub fn has_rows(&self) -> bool {
        self.decoder.rows() > 0
    }

    /// Begins to count how long rows wait. To be called before every wait.
    pub fn note_first_row(&mut self) {
        if self.first_row.is_none() && self.has_rows() {
            self.first_row = Some(Instant::now());
        }
    }

    /// How long the rows may still wait for their batch to fill; `None` when there are none.
    pub fn patience(&self) -> Option<Duration> {
        let max_delay = Duration::from_millis(self.budgets.max_delay_ms);
        self.first_row.map(|since| max_delay.saturating_sub(since.elapsed()))
    }

    /// The rows collected so far.
    ///
    /// # Errors
    /// When a text is not UTF-8.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        self.first_row = None;
        self.decoder.finish()
    }

    /// The position behind the last row; `None` without cursor, and before the first row.
    ///
    /// # Errors
    /// When a value has no text, or the position is too long.
    pub fn position(&self) -> Result<Option<Position>> {
        self.cursor.as_ref().map_or(Ok(None), CursorTracker::position)
    }
}
