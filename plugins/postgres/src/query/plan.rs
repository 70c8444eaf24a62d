use std::sync::Arc;

use hub_plugin_api::{
    Context, Error, ErrorKind, Guarantee, Level, OpenRequest, Plan, PlanDescription, PlanRequest, Position,
    Reader, Result, Snapshot, Split, StartAt, StreamId, Value, async_trait, json,
};

use super::{
    cursor::{Cursor, CursorPosition, CursorTracker, VERSION, null_in_cursor},
    options::{CursorTies, QueryOptions},
    prepare::{Prepared, ServerInfo},
    ranges::{Range, cut, histogram_bounds, whole_number_bounds},
    reader::{ReaderSetup, start, start_copy},
    snapshot::ReaderSessions,
};
use crate::{config::Settings, connection::Session, error, sql::read, types::Wire};

/// Replay lag from which a standby is worth a warning, in milliseconds.
const LAG_WARNING_MS: i64 = 60_000;

/// Plans a read: fixes what state of the database is read, what is new since the last run, and how it is cut.
///
/// # Errors
/// When the options do not fit the statement, or the server refuses.
pub async fn plan(settings: &Settings, context: &Context, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = QueryOptions::read(&request.options)?;
    let session = Session::open(settings, context).await?;
    let server = ServerInfo::of(&session).await?;
    report_standby(settings, context, server);
    session
        .run(&read::begin_snapshot(None, options.lock_timeout_ms, server.version), "Could not start reading")
        .await?;
    let prepared = Prepared::new(&session, &options, None).await?;
    let cursor = Cursor::of(&options, &prepared.shape)?;
    if cursor.is_some() && !prepared.text.is_query() {
        return Err(Error::config(
            "cursor",
            "Only a SELECT, VALUES, TABLE or WITH statement can have a cursor",
        ));
    }
    let planner = Planner {
        session: &session,
        options: &options,
        request,
        prepared: &prepared,
        cursor: cursor.as_ref(),
    };
    let description = planner.describe().await?;
    // A preview leaves nothing behind, and reads each split in a state of its own.
    let snapshot = if request.peek { None } else { Some(planner.export_snapshot().await?) };
    Ok(Box::new(QueryPlan {
        description,
        settings: settings.clone(),
        context: context.clone(),
        prepared: Arc::new(prepared),
        cursor,
        sessions: ReaderSessions {
            snapshot,
            lock_timeout_ms: options.lock_timeout_ms,
            version: server.version,
        },
        _session: session,
    }))
}

fn report_standby(settings: &Settings, context: &Context, server: ServerInfo) {
    const TARGET: &str = "connector_postgres::query";
    if let Some(lag_ms) = server.replay_lag_ms {
        context.metric("replay_lag_ms", lag_ms as f64);
        if lag_ms >= LAG_WARNING_MS {
            context.log(Level::Warn, TARGET, format!("The standby is {lag_ms} ms behind its primary"));
        }
    }
    if settings.connect_to_replica && !server.is_standby {
        context.log(Level::Warn, TARGET, "The server is no standby, although `connect_to_replica` is set");
    }
}

/// Everything that a description is made from.
struct Planner<'a> {
    session: &'a Session,
    options: &'a QueryOptions,
    request: &'a PlanRequest,
    prepared: &'a Prepared,
    cursor: Option<&'a Cursor>,
}

impl Planner<'_> {
    async fn describe(&self) -> Result<PlanDescription> {
        if let Some(interrupted) = &self.request.interrupted {
            return self.go_on(interrupted);
        }
        match self.cursor {
            Some(cursor) => self.with_cursor(cursor).await,
            None => self.without_cursor().await,
        }
    }

    /// The splits of a run that did not complete, as they were: their bounds do not move.
    fn go_on(&self, interrupted: &PlanDescription) -> Result<PlanDescription> {
        for split in &interrupted.splits {
            let range = Range::from_opaque(&split.opaque)?;
            let same = match self.cursor {
                Some(cursor) => range.columns == cursor.names,
                None => range.after.is_none() && range.through.is_none() && !range.nulls,
            };
            if !same {
                return Err(Error::config(
                    "cursor",
                    "The cursor has changed since the run that was interrupted",
                )
                .with_hint("Give the cursor of that run, or start again with `--from-scratch`"));
            }
        }
        let reason = format!("{}; the run goes on in a newer state of the database", self.promise().1);
        Ok(PlanDescription { snapshot: Snapshot::New, reason, ..interrupted.clone() })
    }

    async fn with_cursor(&self, cursor: &Cursor) -> Result<PlanDescription> {
        let last = self.start()?;
        let mut range = Range { columns: cursor.names.clone(), after: last.clone(), ..Range::default() };
        let has_nulls = self.has_nulls(cursor).await?;
        if has_nulls && cursor.ties == CursorTies::Refuse {
            return Err(null_in_cursor(&cursor.names));
        }
        range.through = self.greatest(cursor, &range).await?;
        let mut splits = Vec::new();
        if range.through.is_some() {
            let parts = cut(&range, &self.bounds(cursor.columns[0], &range).await?);
            splits.extend(parts.into_iter().enumerate().map(|(index, part)| ("range", index, part)));
        }
        if range.through.is_none() && last.is_none() && !has_nulls {
            splits.push(("range", 0, Range { empty: true, ..range.clone() }));
        }
        if has_nulls {
            let nulls = Range { columns: cursor.names.clone(), nulls: true, ..Range::default() };
            splits.push(("nulls", 0, nulls));
        }
        let after = range.through.or(last);
        let carry = after.map(|after| CursorPosition { cursor: cursor.names.clone(), after });
        let carry =
            carry.map(|carry| carry.to_position()).transpose()?.map(|position| position.as_value().clone());
        self.description(splits, carry)
    }

    async fn without_cursor(&self) -> Result<PlanDescription> {
        if self.request.start_at.as_ref().is_some_and(|start| *start != StartAt::Earliest) {
            return Err(Error::config(
                "cursor",
                "A read without a cursor can only start at the earliest row",
            ));
        }
        let key = self.prepared.shape.key();
        let columns = key.iter().map(|place| self.prepared.shape.columns[*place].column.name.clone());
        let all = Range { columns: columns.collect(), ..Range::default() };
        let bounds = match key.first() {
            Some(first) if self.prepared.text.is_query() => self.bounds(*first, &all).await?,
            _ => Vec::new(),
        };
        let parts = cut(&all, &bounds).into_iter().enumerate();
        self.description(parts.map(|(index, part)| ("range", index, part)).collect(), None)
    }

    fn description(&self, parts: Vec<(&str, usize, Range)>, carry: Option<Value>) -> Result<PlanDescription> {
        let count = parts.len() as u64;
        let estimated_rows = self.prepared.shape.estimated_rows.map(|rows| rows / count.max(1));
        let split = |(kind, index, range): (&str, usize, Range)| {
            Ok(Split {
                id: format!("{kind}-{}-{}", self.request.run, index + 1),
                streams: vec![self.stream()],
                bounded: true,
                after: Vec::new(),
                opaque: range.to_opaque()?,
                portable: false,
                estimated_rows,
            })
        };
        let splits = parts.into_iter().map(split).collect::<Result<_>>()?;
        let (guarantee, reason) = self.promise();
        Ok(PlanDescription {
            splits,
            snapshot: if self.request.peek { Snapshot::New } else { Snapshot::Same },
            guarantee,
            reason: reason.into(),
            repeats_rows: self.cursor.is_none_or(|cursor| cursor.ties == CursorTies::Reread),
            carry,
        })
    }

    fn promise(&self) -> (Guarantee, &'static str) {
        match self.cursor.map(|cursor| cursor.ties) {
            None => (Guarantee::AtLeastOnce, "Every run reads everything again"),
            Some(CursorTies::Refuse) => (
                Guarantee::EffectivelyOnce,
                "Reading goes on exactly behind the last row; rows that appear later in front of it are not read",
            ),
            Some(CursorTies::Reread) => (
                Guarantee::AtLeastOnce,
                "Rows with the last cursor value, or without one, are read again; rows that appear later in front of \
                 it are not read",
            ),
        }
    }

    fn stream(&self) -> StreamId {
        match (&self.options.stream, &self.prepared.shape.table) {
            (Some(name), _) => StreamId::named(name),
            (None, Some(table)) => table.clone(),
            (None, None) => StreamId::named("query"),
        }
    }

    /// Where the last completed run ended, or where the user wants to start.
    fn start(&self) -> Result<Option<Vec<String>>> {
        if let Some(carry) = &self.request.carry {
            return self.position(&Position::from(carry.clone())).map(Some);
        }
        match &self.request.start_at {
            None | Some(StartAt::Earliest) => Ok(None),
            Some(StartAt::Position(position)) => self.position(position).map(Some),
            Some(StartAt::Latest | StartAt::Time(_)) => Err(Error::unsupported(
                "A query that starts at the latest row or at a time",
            )
            .with_hint(format!(
                "Start at a position: {}",
                json!({ "v": VERSION, "cursor": self.options.cursor, "after": ["…"] })
            ))),
        }
    }

    fn position(&self, position: &Position) -> Result<Vec<String>> {
        let position: CursorPosition = position.read(VERSION)?;
        position.check(&self.options.cursor)?;
        Ok(position.after)
    }

    /// Whether some row has null in the cursor. Not asked where the table itself has none.
    async fn has_nulls(&self, cursor: &Cursor) -> Result<bool> {
        let columns = &self.prepared.shape.columns;
        let nullable: Vec<_> =
            cursor.columns.iter().copied().filter(|place| columns[*place].column.nullable).collect();
        if nullable.is_empty() {
            return Ok(false);
        }
        let query = read::any_null(self.prepared.text.as_str(), columns.len(), &nullable);
        let failed = |error| error::from_driver("Could not look for rows without a cursor value", &error);
        let row = self.session.work(self.session.client().query_one(&query, &[])).await.map_err(failed)?;
        row.try_get(0).map_err(failed)
    }

    /// The greatest tuple behind the start; `None` when there is no row.
    async fn greatest(&self, cursor: &Cursor, range: &Range) -> Result<Option<Vec<String>>> {
        let shape = &self.prepared.shape;
        let inclusive = cursor.ties == CursorTies::Reread;
        let conditions = range.selection(shape, false, inclusive)?.condition;
        let text = self.prepared.text.as_str();
        self.texts(&read::greatest(text, &shape.casts(), &cursor.columns, &conditions)).await
    }

    async fn texts(&self, query: &str) -> Result<Option<Vec<String>>> {
        let failed = |error| error::from_driver("Could not look for the bounds of the run", &error);
        let row = self.session.work(self.session.client().query_opt(query, &[])).await.map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        (0..row.len()).map(|index| row.try_get(index)).collect::<Result<_, _>>().map(Some).map_err(failed)
    }

    /// Where to cut a range for readers side by side.
    async fn bounds(&self, column: usize, range: &Range) -> Result<Vec<String>> {
        let parts = if self.options.splits > 0 { self.options.splits } else { self.request.parallel };
        if parts < 2 || self.request.peek {
            return Ok(Vec::new());
        }
        let shape = &self.prepared.shape;
        match shape.columns[column].reading.wire {
            Wire::Int2 | Wire::Int4 | Wire::Int8 | Wire::Oid => {
                let (text, casts) = (self.prepared.text.as_str(), shape.casts());
                let given = |tuple: &Option<Vec<String>>| tuple.as_ref().map(|tuple| vec![tuple[0].clone()]);
                let least = match given(&range.after) {
                    Some(least) => Some(least),
                    None => self.texts(&read::least(text, &casts, column)).await?,
                };
                let greatest = match given(&range.through) {
                    Some(greatest) => Some(greatest),
                    None => self.texts(&read::greatest(text, &casts, &[column], &[])).await?,
                };
                let number = |texts: Option<Vec<String>>| texts?.first()?.parse::<i128>().ok();
                Ok(match (number(least), number(greatest)) {
                    (Some(least), Some(greatest)) => whole_number_bounds(least, greatest, parts),
                    _ => Vec::new(),
                })
            }
            _ => self.histogram(column, parts).await,
        }
    }

    async fn histogram(&self, column: usize, parts: u32) -> Result<Vec<String>> {
        let shape = &self.prepared.shape;
        let Some(table) = &shape.table else { return Ok(Vec::new()) };
        let (schema, name) = (table.namespace.first(), &shape.columns[column].column.name);
        let failed = |error| error::from_driver("Could not read the server's statistics", &error);
        let client = self.session.client();
        let row = self.session.work(client.query_opt(read::HISTOGRAM, &[&schema, &table.name, name])).await;
        let row = row.map_err(failed)?;
        let Some(row) = row else { return Ok(Vec::new()) };
        Ok(histogram_bounds(&row.try_get::<_, Vec<String>>(0).map_err(failed)?, parts))
    }

    async fn export_snapshot(&self) -> Result<String> {
        let failed =
            |error| error::from_driver("Could not hold the state of the database for the readers", &error);
        let export = self.session.client().query_one("SELECT pg_catalog.pg_export_snapshot()", &[]);
        self.session.work(export).await.map_err(failed)?.try_get(0).map_err(failed)
    }
}

/// Holds the snapshot that all splits are read in.
struct QueryPlan {
    description: PlanDescription,
    settings: Settings,
    context: Context,
    prepared: Arc<Prepared>,
    cursor: Option<Cursor>,
    sessions: ReaderSessions,
    /// The snapshot lives as long as its transaction.
    _session: Session,
}

#[async_trait]
impl Plan for QueryPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let split = self.description.splits.iter().find(|split| split.id == request.split.id);
        let split = split
            .ok_or_else(|| Error::internal(format!("Split `{}` is not of this plan", request.split.id)))?;
        let mut range = Range::from_opaque(&split.opaque)?;
        let cursor = self.cursor.as_ref().filter(|_| !range.nulls && !range.empty);
        let end = match (cursor, &range.through) {
            (Some(cursor), Some(through)) => {
                // The last row of a range that ends inside the run is not known before it is read.
                let whole = range.to.is_none();
                let position = CursorPosition { cursor: cursor.names.clone(), after: through.clone() };
                if whole { Some(position.to_position()?) } else { None }
            }
            _ => None,
        };
        if let Some(position) = &request.position {
            let Some(cursor) = cursor else {
                return Err(Error::new(
                    ErrorKind::PositionLost,
                    "A split without a cursor is read from its beginning",
                ));
            };
            let position: CursorPosition = position.read(VERSION)?;
            position.check(&cursor.names)?;
            range.after = Some(position.after);
        }
        let inclusive = cursor.is_some_and(|cursor| cursor.ties == CursorTies::Reread);
        let setup = ReaderSetup {
            selection: range.selection(&self.prepared.shape, cursor.is_some(), inclusive)?,
            prepared: Arc::clone(&self.prepared),
            stream: split.streams.first().cloned().unwrap_or_default(),
            budgets: request.budgets,
            cursor: cursor.cloned().map(CursorTracker::new),
            end,
        };
        if self.prepared.text.is_query() {
            start_copy(self.sessions.open_raw(&self.settings, &self.context).await?, setup).await
        } else {
            start(self.sessions.open(&self.settings, &self.context).await?, setup).await
        }
    }
}
