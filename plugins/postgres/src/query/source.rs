//! Where a reader's binary rows come from.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use hub_plugin_api::{Canceller, Error, Result};
use tokio_postgres::RowStream;

use super::{collector::Collector, prepare::refused};
use crate::{
    connection::Session,
    error,
    raw::{CopyOut, RawSession},
    sql::read,
    wire::{
        decode_copy::{CopyFrames, Tuple},
        field::FieldBytes,
    },
};

const READING: &str = "Could not read the rows";
const REFUSED: &str = "The server refuses the statement";

/// A running statement, and the session that it runs in.
pub enum Source {
    /// The fast way, for every query.
    Copy(CopyOut, CopyFrames),
    /// For what cannot stand inside a COPY (SHOW, EXPLAIN and the like), and what is asked once.
    Rows(Pin<Box<RowStream>>, Session),
}

impl Source {
    /// Starts to copy a query's rows.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn copy(session: RawSession, query: &str) -> Result<Self> {
        let copy = session.copy_out(&read::copy_out(query), REFUSED).await;
        copy.map(|copy| Self::Copy(copy, CopyFrames::default())).map_err(refused)
    }

    /// Starts any statement.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn rows(session: Session, statement: &str) -> Result<Self> {
        let failed = |error| error::from_driver(REFUSED, &error).with_field("statement");
        let nothing: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
        let rows = session.work(session.client().query_raw(statement, nothing)).await.map_err(failed)?;
        session.set_busy(true);
        Ok(Self::Rows(Box::pin(rows), session))
    }

    /// Collects rows until there are enough (ready with `true`) or there are no more (ready with `false`).
    pub fn poll_rows(&mut self, context: &mut Context<'_>, collector: &mut Collector) -> Poll<Result<bool>> {
        let more = match self {
            Self::Copy(copy, frames) => ready!(poll_copy(copy, frames, context, collector))?,
            Self::Rows(rows, session) => {
                let more = ready!(poll_driver(rows, context, collector))?;
                session.set_busy(more);
                more
            }
        };
        Poll::Ready(Ok(more))
    }

    /// Ends the statement on the server.
    pub fn canceller(&self) -> Canceller {
        match self {
            Self::Copy(copy, _) => copy.canceller(),
            Self::Rows(_, session) => session.canceller(),
        }
    }
}

/// Rows are decoded out of the socket's buffer.
fn poll_copy(
    copy: &mut CopyOut,
    frames: &mut CopyFrames,
    context: &mut Context<'_>,
    collector: &mut Collector,
) -> Poll<Result<bool>> {
    loop {
        while !collector.is_full() {
            let Some(message) = copy.take()? else { break };
            frames.feed(message, |bytes| collector.take_tuple(bytes))?;
        }
        if collector.is_full() {
            return Poll::Ready(Ok(true));
        }
        collector.note_first_row();
        if !ready!(copy.poll_wait(context)).map_err(reading)? {
            return Poll::Ready(frames.end().map(|()| false));
        }
    }
}

/// The statement runs: what fails now is the reading.
fn reading(error: Error) -> Error {
    Error { message: READING.into(), ..error }
}

fn poll_driver(
    rows: &mut Pin<Box<RowStream>>,
    context: &mut Context<'_>,
    collector: &mut Collector,
) -> Poll<Result<bool>> {
    let failed = |error| error::from_driver(READING, &error);
    while !collector.is_full() {
        collector.note_first_row();
        let Some(row) = ready!(rows.as_mut().poll_next(context)) else { return Poll::Ready(Ok(false)) };
        let row = row.map_err(failed)?;
        let field = |index| row.try_get::<_, Option<FieldBytes<'_>>>(index).map_err(failed);
        let fields: Vec<_> = (0..row.len()).map(field).collect::<Result<_>>()?;
        let fields: Vec<_> = fields.into_iter().map(|field| field.map(|FieldBytes(bytes)| bytes)).collect();
        collector.take_row(&fields)?;
    }
    Poll::Ready(Ok(true))
}

/// The fields of one row.
pub enum Fields<'a> {
    /// Of a COPY.
    Tuple(Tuple<'a>),
    /// Of a row.
    List(&'a [Option<&'a [u8]>]),
}

impl<'a> Fields<'a> {
    /// One field; `None` is null.
    pub fn field(&self, index: usize) -> Option<&'a [u8]> {
        match self {
            Self::Tuple(tuple) => tuple.field(index),
            Self::List(fields) => fields.get(index).copied().flatten(),
        }
    }
}
