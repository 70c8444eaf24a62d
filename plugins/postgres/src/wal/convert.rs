//! Values of types that are carried as text: the stream has their binary form, and the server turns it into the text
//! that a query would give.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use hub_plugin_api::{Error, ErrorKind, Result};
use tokio_postgres::{
    Statement,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{message::Value, table::TableColumn};
use crate::{connection::Session, error, sql::wal, types::Cast, wire::field::FieldBytes};

/// Values that are under way to the server at a time.
const TOGETHER: usize = 256;

/// A value that outlives its message.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// Null.
    Null,
    /// Not sent.
    Unchanged,
    /// As the type's output function writes it.
    Text(Vec<u8>),
    /// As the type's send function writes it.
    Binary(Vec<u8>),
}

impl OwnedValue {
    /// Bytes of the value.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
            Self::Null | Self::Unchanged => 0,
        }
    }

    /// As a message has it.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Unchanged => Value::Unchanged,
            Self::Text(bytes) => Value::Text(bytes),
            Self::Binary(bytes) => Value::Binary(bytes),
        }
    }
}

impl From<Value<'_>> for OwnedValue {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Unchanged => Self::Unchanged,
            Value::Text(bytes) => Self::Text(bytes.to_vec()),
            Value::Binary(bytes) => Self::Binary(bytes.to_vec()),
        }
    }
}

/// Has the server convert values, with one prepared statement a type.
#[derive(Default)]
pub struct Converter {
    statements: HashMap<(u32, Cast), Statement>,
}

impl Converter {
    /// Converts the values of one column in place. Equal values are converted once.
    ///
    /// # Errors
    /// When the server refuses, because the type has changed since.
    pub async fn convert(
        &mut self,
        session: &Session,
        column: &TableColumn,
        values: Vec<&mut OwnedValue>,
    ) -> Result<()> {
        let cast = column.reading.cast;
        let Some(text) = wal::convert(cast) else { return Ok(()) };
        let name = &column.column.name;
        let failed = |error| {
            let doing = format!("Could not turn a value of column `{name}` into text");
            let error = error::from_driver(&doing, &error);
            match error.kind {
                ErrorKind::InvalidData | ErrorKind::InvalidStatement | ErrorKind::NotFound => error
                    .with_hint(
                        "Its type has changed since the change was made: take a new snapshot of the table",
                    ),
                _ => error,
            }
        };
        let mut distinct: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let mut places = Vec::new();
        for value in values {
            if let OwnedValue::Binary(bytes) = &*value {
                let place = *distinct.entry(bytes.clone()).or_insert_with(|| {
                    sent.push(bytes.clone());
                    sent.len() - 1
                });
                places.push((value, place));
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let key = (column.server_type.oid(), cast);
        let statement = match self.statements.get(&key) {
            Some(statement) => statement.clone(),
            None => {
                let types = [column.server_type.clone()];
                let prepared = session.work(session.client().prepare_typed(text, &types)).await;
                self.statements.entry(key).or_insert(prepared.map_err(failed)?).clone()
            }
        };
        let mut converted: Vec<Vec<u8>> = Vec::with_capacity(sent.len());
        for part in sent.chunks(TOGETHER) {
            let part: Vec<_> = part.iter().map(|bytes| RawParameter(bytes)).collect();
            let queries = part.iter().map(|bytes| {
                let statement = &statement;
                async move {
                    let row = session.client().query_one(statement, &[bytes]).await?;
                    row.try_get::<_, FieldBytes<'_>>(0).map(|FieldBytes(bytes)| bytes.to_vec())
                }
            });
            converted.extend(session.work(try_join_all(queries)).await.map_err(failed)?);
        }
        for (value, place) in places {
            let bytes =
                converted.get(place).ok_or_else(|| Error::internal("A converted value is missing"))?.clone();
            *value = if cast == Cast::TextList { OwnedValue::Binary(bytes) } else { OwnedValue::Text(bytes) };
        }
        Ok(())
    }
}

/// A value in its type's binary form.
#[derive(Debug)]
struct RawParameter<'a>(&'a [u8]);

impl ToSql for RawParameter<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
