//! Where a reader's binary rows come from.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use hub_plugin_api::Result;
use tokio_postgres::{
    CopyOutStream, RowStream,
    types::{FromSql, Type},
};

use crate::{
    connection::Session,
    error,
    sql::read,
    wire::decode_copy::{CopyFrames, Tuple},
};

const READING: &str = "Could not read the rows";

/// A running statement.
pub enum Source {
    /// The fast way, for every query.
    Copy(Pin<Box<CopyOutStream>>, CopyFrames),
    /// For what cannot stand inside a COPY: SHOW, EXPLAIN and the like.
    Rows(Pin<Box<RowStream>>),
}

impl Source {
    /// Starts a statement in a session.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn start(session: &Session, statement: &str, is_query: bool) -> Result<Self> {
        let failed =
            |error| error::from_driver("The server refuses the statement", &error).with_field("statement");
        let client = session.client();
        if is_query {
            let copy = session.work(client.copy_out(&read::copy_out(statement))).await.map_err(failed)?;
            return Ok(Self::Copy(Box::pin(copy), CopyFrames::default()));
        }
        let nothing: [&(dyn tokio_postgres::types::ToSql + Sync); 0] = [];
        let rows = session.work(client.query_raw(statement, nothing)).await.map_err(failed)?;
        Ok(Self::Rows(Box::pin(rows)))
    }

    /// Hands the rows of the next message to `each`: ready with `false` at the end.
    pub fn poll_rows(
        &mut self,
        context: &mut Context<'_>,
        mut each: impl FnMut(&Fields<'_>) -> Result<()>,
    ) -> Poll<Result<bool>> {
        let failed = |error| error::from_driver(READING, &error);
        match self {
            Self::Copy(stream, frames) => Poll::Ready(match ready!(stream.as_mut().poll_next(context)) {
                Some(message) => {
                    frames.feed(&message.map_err(failed)?, |tuple| each(&Fields::Tuple(tuple))).map(|()| true)
                }
                None => frames.end().map(|()| false),
            }),
            Self::Rows(stream) => Poll::Ready(match ready!(stream.as_mut().poll_next(context)) {
                Some(row) => {
                    let row = row.map_err(failed)?;
                    let field = |index| row.try_get::<_, Option<Raw<'_>>>(index).map_err(failed);
                    let fields: Vec<_> = (0..row.len()).map(field).collect::<Result<_>>()?;
                    let fields: Vec<_> =
                        fields.into_iter().map(|field| field.map(|Raw(bytes)| bytes)).collect();
                    each(&Fields::List(&fields)).map(|()| true)
                }
                None => Ok(false),
            }),
        }
    }
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

/// A field's bytes as they are.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
