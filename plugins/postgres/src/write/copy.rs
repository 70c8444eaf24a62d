//! One COPY in binary form: rows are encoded in the calling thread while the runtime sends what was encoded before.
//!
//! The driver sends, unlike where rows are read: its part was 0.035 s of processor time for a million rows of `lineitem`,
//! the encoding 0.12 s, and the server's own 1.6 s. Neither larger messages nor a timer instead of a watched socket made
//! the server wait less.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt as _;
use hub_plugin_api::{Result, arrow::array::RecordBatch};
use tokio_postgres::{Client, CopyInSink, ToStatement};

use crate::wire::{
    encode::{BoundRows, COPY_HEADER, COPY_TRAILER, CellError},
    encode_plan::ColumnPlan,
};

/// Bytes of one message: large enough that sending costs little, small enough that the server starts early.
const MESSAGE_BYTES: usize = 128 << 10;
/// A row beyond the limit of a message grows it; this much room is there from the start.
const ROOM: usize = MESSAGE_BYTES + (16 << 10);

/// A COPY that is under way.
pub(super) struct CopyRows {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    buffer: Vec<u8>,
    rows: u64,
}

impl CopyRows {
    /// Starts it.
    pub(super) async fn start<T: ?Sized + ToStatement>(
        client: &Client,
        statement: &T,
    ) -> Result<Self, tokio_postgres::Error> {
        let sink = Box::pin(client.copy_in(statement).await?);
        let mut buffer = Vec::with_capacity(ROOM);
        buffer.extend_from_slice(COPY_HEADER);
        Ok(Self { sink, buffer, rows: 0 })
    }

    /// Encodes rows and sends what is full. Rows that do not fit are told to `refused` and left out; `order` numbers
    /// the first row for a staging table.
    ///
    /// # Errors
    /// When the session is gone. What the server has against the rows comes from [`CopyRows::finish`].
    pub(super) async fn put(
        &mut self,
        plan: &[ColumnPlan],
        batch: &RecordBatch,
        rows: impl Iterator<Item = usize>,
        mut order: Option<i64>,
        mut refused: impl FnMut(usize, CellError),
    ) -> Result<Result<(), tokio_postgres::Error>> {
        let bound = BoundRows::bind(plan, batch)?;
        for row in rows {
            match bound.put_row(row, order, &mut self.buffer) {
                Ok(()) => self.rows += 1,
                Err(error) => refused(row, error),
            }
            order = order.map(|order| order + 1);
            if self.buffer.len() >= MESSAGE_BYTES {
                let message = std::mem::replace(&mut self.buffer, Vec::with_capacity(ROOM));
                if let Err(error) = self.sink.feed(Bytes::from(message)).await {
                    return Ok(Err(error));
                }
            }
        }
        Ok(Ok(()))
    }

    /// Ends it, and returns the rows that were sent and those that the server says it took.
    ///
    /// # Errors
    /// What the server has against the rows.
    pub(super) async fn finish(mut self) -> Result<(u64, u64), tokio_postgres::Error> {
        self.buffer.extend_from_slice(&COPY_TRAILER);
        self.sink.feed(Bytes::from(std::mem::take(&mut self.buffer))).await?;
        let taken = self.sink.as_mut().finish().await?;
        Ok((self.rows, taken))
    }
}
