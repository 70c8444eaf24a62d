//! What there is to read: tables and views, and what they are made of.

use hub_plugin_api::{
    Context, DiscoverRequest, Error, ErrorKind, Result, StreamDescription, StreamId, StreamPage,
};

use crate::{
    catalog::schema_and_table,
    config::Settings,
    connection::Session,
    query::{QueryOptions, Shape},
    raw::RawSession,
    sql::{catalog, qualified},
};

/// Streams of a page, where the request leaves it open.
const PAGE: u32 = 1000;

/// Lists tables and views by database and name.
///
/// # Errors
/// When the server cannot be asked, or `after` is not what a page gave.
pub async fn discover(session: &mut Session, request: &DiscoverRequest) -> Result<StreamPage> {
    let (schema, name): (String, String) = match &request.after {
        None => Default::default(),
        Some(after) => serde_json::from_str(after)
            .map_err(|_| Error::config("after", format!("`{after}` is not the `next` of an earlier page")))?,
    };
    let limit = if request.limit == 0 { PAGE } else { request.limit };
    let filter = request.filter.as_deref().unwrap_or_default();
    // One more than asked for, to know whether there is a next page.
    let query = catalog::tables(filter, &schema, &name, u64::from(limit) + 1);
    let answer = session.ask(&query, "Could not list the tables").await?;
    let text = |row, column| answer.get(row, column).unwrap_or_default().to_owned();
    let mut streams: Vec<_> =
        (0..answer.rows.len()).map(|row| StreamId::new([text(row, "schema")], text(row, "table"))).collect();
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
    context: &Context,
    streams: &[StreamId],
) -> Result<Vec<StreamDescription>> {
    let mut session = RawSession::open(settings, context).await?;
    let mut descriptions = Vec::with_capacity(streams.len());
    for stream in streams {
        descriptions.push(describe_one(settings, &mut session, stream).await?);
    }
    Ok(descriptions)
}

async fn describe_one(
    settings: &Settings,
    session: &mut RawSession,
    stream: &StreamId,
) -> Result<StreamDescription> {
    let missing = || Error::new(ErrorKind::NotFound, format!("There is no table `{stream}`"));
    let (schema, table) = schema_and_table(stream, &settings.database)
        .ok_or_else(|| missing().with_hint("A table's namespace is its database and nothing else"))?;
    let statement = format!("SELECT * FROM {}", qualified(Some(schema), table));
    let options = QueryOptions::of_statement(&statement)?;
    let shape = Shape::of(session, &options, None).await.map_err(|error| match error.kind {
        ErrorKind::NotFound => {
            Error { field: None, message: format!("There is no table `{stream}`"), ..error }
        }
        _ => error,
    })?;
    let size = session.ask(&catalog::table(schema, table), "Could not ask for the table's size").await?;
    let number = |column| size.get(0, column)?.parse::<u64>().ok();
    let kind = match size.get(0, "kind") {
        Some("VIEW") => "view",
        Some("SYSTEM VIEW") => "system view",
        Some("SEQUENCE") => "sequence",
        _ => "table",
    };
    Ok(StreamDescription {
        stream: stream.clone(),
        columns: shape.columns.into_iter().map(|column| column.column).collect(),
        kind: kind.into(),
        estimated_rows: number("rows").or(shape.estimated_rows),
        estimated_bytes: number("bytes").filter(|bytes| *bytes > 0),
    })
}
