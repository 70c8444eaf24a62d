//! What there is to read: tables and views, and what they are made of.

use hub_plugin_api::{DiscoverRequest, Error, ErrorKind, Result, StreamDescription, StreamId, StreamPage};

use crate::{
    config::Settings,
    connection::Session,
    error,
    query::{Prepared, QueryOptions},
    sql::{catalog, qualified},
};

/// Streams of a page, where the request leaves it open.
const PAGE: u32 = 1000;

/// Lists tables and views by schema and name.
///
/// # Errors
/// When the server cannot be asked, or `after` is not what a page gave.
pub async fn discover(session: &Session, request: &DiscoverRequest) -> Result<StreamPage> {
    let failed = |error| error::from_driver("Could not list the tables", &error);
    let (schema, name): (String, String) = match &request.after {
        None => Default::default(),
        Some(after) => serde_json::from_str(after)
            .map_err(|_| Error::config("after", format!("`{after}` is not the `next` of an earlier page")))?,
    };
    let limit = if request.limit == 0 { PAGE } else { request.limit };
    let filter = request.filter.as_deref().unwrap_or_default().to_lowercase();
    let client = session.client();
    // One more than asked for, to know whether there is a next page.
    let rows = session
        .work(client.query(catalog::TABLES, &[&filter, &schema, &name, &(i64::from(limit) + 1)]))
        .await
        .map_err(failed)?;
    let mut streams = Vec::with_capacity(rows.len());
    for row in &rows {
        let schema: String = row.try_get(0).map_err(failed)?;
        let name: String = row.try_get(1).map_err(failed)?;
        streams.push(StreamId::new([schema], name));
    }
    let more = streams.len() > limit as usize;
    streams.truncate(limit as usize);
    let last = streams.last().filter(|_| more).map(|last| (&last.namespace[0], &last.name));
    Ok(StreamPage { next: last.map(|last| serde_json::to_string(&last)).transpose()?, streams })
}

/// Describes tables and views.
///
/// # Errors
/// [`ErrorKind::NotFound`] when one does not exist.
pub async fn describe(
    settings: &Settings,
    session: &Session,
    streams: &[StreamId],
) -> Result<Vec<StreamDescription>> {
    let mut descriptions = Vec::with_capacity(streams.len());
    for stream in streams {
        descriptions.push(describe_one(settings, session, stream).await?);
    }
    Ok(descriptions)
}

async fn describe_one(
    settings: &Settings,
    session: &Session,
    stream: &StreamId,
) -> Result<StreamDescription> {
    let schema = match stream.namespace.as_slice() {
        [] => None,
        [schema] => Some(schema.as_str()),
        [database, schema] if *database == settings.database => Some(schema.as_str()),
        _ => {
            let message = format!("`{stream}` is not in database `{}`", settings.database);
            return Err(Error::new(ErrorKind::NotFound, message).with_hint(
                "A table's namespace is its schema, or the connection's database and its schema",
            ));
        }
    };
    let statement = format!("SELECT * FROM {}", qualified(schema, &stream.name));
    let options = QueryOptions::of_statement(&statement)?;
    let prepared = Prepared::new(session, &options, None).await.map_err(|error| match error.kind {
        ErrorKind::NotFound => {
            Error { field: None, message: format!("There is no table `{stream}`"), ..error }
        }
        _ => error,
    })?;
    let shape = prepared.shape;
    let (kind, bytes) = match &shape.table {
        Some(table) => size(session, table).await?,
        None => ("view".into(), None),
    };
    Ok(StreamDescription {
        stream: stream.clone(),
        columns: shape.columns.into_iter().map(|column| column.column).collect(),
        kind,
        estimated_rows: shape.estimated_rows,
        estimated_bytes: bytes,
    })
}

async fn size(session: &Session, table: &StreamId) -> Result<(String, Option<u64>)> {
    let failed = |error| error::from_driver("Could not ask for the table's size", &error);
    let schema = table.namespace.first();
    let client = session.client();
    let row =
        session.work(client.query_opt(catalog::TABLE_SIZE, &[&schema, &table.name])).await.map_err(failed)?;
    let Some(row) = row else { return Ok(Default::default()) };
    let kind: String = row.try_get(0).map_err(failed)?;
    let bytes: Option<i64> = row.try_get(1).map_err(failed)?;
    let kind = match kind.as_str() {
        "p" => "partitioned table",
        "v" => "view",
        "m" => "materialized view",
        "f" => "foreign table",
        _ => "table",
    };
    Ok((kind.into(), bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0)))
}
