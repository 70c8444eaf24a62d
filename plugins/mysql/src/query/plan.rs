use std::sync::Arc;

use hub_plugin_api::{
    Context, Error, ErrorKind, Guarantee, OpenRequest, Plan, PlanDescription, PlanRequest, Position, Reader,
    Result, Snapshot, Split, StartAt, StreamId, Value, async_trait, json,
};

use super::{
    cursor::{Cursor, CursorPosition, CursorTracker, VERSION, null_in_cursor},
    options::{CursorTies, QueryOptions},
    ranges::{Range, cut, whole_number_bounds},
    reader::{ReaderSetup, start},
    shape::Shape,
    snapshot::{Agreement, Pool, open_now, open_together},
};
use crate::{
    config::Settings,
    raw::{RawSession, column::ZeroDates},
    sql::read,
    types::ServerType,
};

/// Plans a read: fixes what state of the database is read, what is new since the last run, and how it is cut.
///
/// # Errors
/// When the options do not fit the statement, or the server refuses.
pub async fn plan(settings: &Settings, context: &Context, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = QueryOptions::read(&request.options)?;
    let mut session = RawSession::open(settings, context).await?;
    session.run(&read::lock_timeout(options.lock_timeout_ms), "Could not start reading").await?;
    let shape = Shape::of(&mut session, &options, None).await?;
    let cursor = Cursor::of(&options, &shape, &settings.time_zone)?;
    if cursor.is_some() && !shape.text.is_query() {
        return Err(Error::config(
            "cursor",
            "Only a SELECT, VALUES, TABLE or WITH statement can have a cursor",
        ));
    }
    // A preview locks nothing, and reads each split in a state of its own.
    let count = if request.peek { 1 } else { readers(&options, request, &shape, cursor.as_ref()) };
    let (pool, agreement) =
        open_together(settings, context, &shape, session, count, options.lock_timeout_ms).await?;
    let Some(mut session) = pool.take() else { return Err(Error::internal("A plan has no session")) };
    let mut planner = Planner {
        session: &mut session,
        options: &options,
        request,
        shape: &shape,
        cursor: cursor.as_ref(),
        time_zone: &settings.time_zone,
        agreement,
    };
    let description = planner.describe().await?;
    if !request.peek {
        pool.give_back(session);
    }
    Ok(Box::new(QueryPlan {
        description,
        settings: settings.clone(),
        context: context.clone(),
        shape: Arc::new(shape),
        cursor,
        zero_dates: options.zero_dates,
        lock_timeout_ms: options.lock_timeout_ms,
        pool: (!request.peek).then_some(pool),
    }))
}

/// How many readers may be at work at the same time.
fn readers(options: &QueryOptions, request: &PlanRequest, shape: &Shape, cursor: Option<&Cursor>) -> u32 {
    let parallel = request.parallel.max(1);
    let ranges = match cut_column(shape, cursor) {
        Some(_) if options.splits > 0 => options.splits.min(parallel),
        Some(_) => parallel,
        None => 1,
    };
    // A split of its own for the rows without a cursor value.
    let nulls = cursor.is_some_and(|cursor| cursor.ties == CursorTies::Reread);
    if nulls { (ranges + 1).min(parallel) } else { ranges }
}

/// The column whose whole numbers a read is cut at.
fn cut_column(shape: &Shape, cursor: Option<&Cursor>) -> Option<usize> {
    let column = match cursor {
        Some(cursor) => cursor.columns.first().copied(),
        None => shape.key().first().copied(),
    };
    let is_whole = |place: &usize| matches!(shape.columns[*place].server_type, ServerType::Integer { .. });
    column.filter(is_whole).filter(|_| shape.text.is_query())
}

/// Everything that a description is made from.
struct Planner<'a> {
    session: &'a mut RawSession,
    options: &'a QueryOptions,
    request: &'a PlanRequest,
    shape: &'a Shape,
    cursor: Option<&'a Cursor>,
    time_zone: &'a str,
    agreement: Agreement,
}

impl Planner<'_> {
    async fn describe(&mut self) -> Result<PlanDescription> {
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

    async fn with_cursor(&mut self, cursor: &Cursor) -> Result<PlanDescription> {
        let last = self.start()?;
        let mut range = Range { columns: cursor.names.clone(), after: last.clone(), ..Range::default() };
        let has_nulls = self.has_nulls(cursor).await?;
        if has_nulls && cursor.ties == CursorTies::Refuse {
            return Err(null_in_cursor(&cursor.names));
        }
        range.through = self.greatest(cursor, &range).await?;
        let mut splits = Vec::new();
        if range.through.is_some() {
            let bounds = self.bounds(&range).await?;
            let parts = cut(&range, &bounds);
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
        let carry = after.map(|after| cursor.position(after));
        let carry =
            carry.map(|carry| carry.to_position()).transpose()?.map(|position| position.as_value().clone());
        self.description(splits, carry)
    }

    async fn without_cursor(&mut self) -> Result<PlanDescription> {
        if self.request.start_at.as_ref().is_some_and(|start| *start != StartAt::Earliest) {
            return Err(Error::config(
                "cursor",
                "A read without a cursor can only start at the earliest row",
            ));
        }
        let key = self.shape.key();
        let columns = key.iter().map(|place| self.shape.columns[*place].column.name.clone());
        let all = Range { columns: columns.collect(), ..Range::default() };
        let bounds = self.bounds(&all).await?;
        let parts = cut(&all, &bounds).into_iter().enumerate();
        self.description(parts.map(|(index, part)| ("range", index, part)).collect(), None)
    }

    fn description(&self, parts: Vec<(&str, usize, Range)>, carry: Option<Value>) -> Result<PlanDescription> {
        let count = parts.len() as u64;
        let estimated_rows = self.shape.estimated_rows.map(|rows| rows / count.max(1));
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
            snapshot: match self.agreement {
                Agreement::One | Agreement::Locked if !self.request.peek => Snapshot::Same,
                _ => Snapshot::New,
            },
            guarantee,
            reason: match self.agreement {
                Agreement::None => format!(
                    "{reason}; the ranges are read in different states of the database, because the account may \
                     neither FLUSH TABLES WITH READ LOCK nor LOCK TABLES"
                ),
                _ => reason.to_owned(),
            },
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
        match (&self.options.stream, &self.shape.table) {
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
                json!({ "v": VERSION, "cursor": self.options.cursor, "after": ["…"], "time_zone": self.time_zone })
            ))),
        }
    }

    fn position(&self, position: &Position) -> Result<Vec<String>> {
        let position: CursorPosition = position.read(VERSION)?;
        position.check(&self.options.cursor, self.time_zone)?;
        Ok(position.after)
    }

    /// Whether some row has null in the cursor. Not asked where the table itself has none.
    async fn has_nulls(&mut self, cursor: &Cursor) -> Result<bool> {
        let columns = &self.shape.columns;
        let nullable: Vec<_> =
            cursor.columns.iter().copied().filter(|place| columns[*place].column.nullable).collect();
        if nullable.is_empty() {
            return Ok(false);
        }
        let query = read::any_null(self.shape.text.as_str(), columns.len(), &nullable);
        let answer = self.session.ask(&query, "Could not look for rows without a cursor value").await?;
        Ok(answer.first() == Some("1"))
    }

    /// The greatest tuple behind the start; `None` when there is no row.
    async fn greatest(&mut self, cursor: &Cursor, range: &Range) -> Result<Option<Vec<String>>> {
        let inclusive = cursor.ties == CursorTies::Reread;
        let conditions = range.selection(self.shape, false, inclusive)?.condition;
        let text = self.shape.text.as_str();
        let query = read::greatest(text, self.shape.columns.len(), &cursor.columns, &conditions);
        self.texts(&query).await
    }

    /// The first row of an answer; `None` where it has none, or a null.
    async fn texts(&mut self, query: &str) -> Result<Option<Vec<String>>> {
        let answer = self.session.ask(query, "Could not look for the bounds of the run").await?;
        Ok(answer.rows.into_iter().next().and_then(|row| row.into_iter().collect()))
    }

    /// Where to cut a range for readers side by side.
    async fn bounds(&mut self, range: &Range) -> Result<Vec<String>> {
        let parts = if self.options.splits > 0 { self.options.splits } else { self.request.parallel };
        let Some(column) = cut_column(self.shape, self.cursor) else { return Ok(Vec::new()) };
        if parts < 2 || self.request.peek {
            return Ok(Vec::new());
        }
        let text = self.shape.text.as_str();
        let extremes = self.texts(&read::extremes(text, self.shape.columns.len(), column)).await?;
        let number = |text: Option<&String>| text?.parse::<i128>().ok();
        let first = |tuple: &Option<Vec<String>>| number(tuple.as_ref().and_then(|tuple| tuple.first()));
        let least = number(extremes.as_ref().and_then(|extremes| extremes.first()));
        let greatest = number(extremes.as_ref().and_then(|extremes| extremes.get(1)));
        let least = least.max(first(&range.after));
        let greatest = first(&range.through).or(greatest);
        Ok(match (least, greatest) {
            (Some(least), Some(greatest)) if greatest > least => whole_number_bounds(least, greatest, parts),
            _ => Vec::new(),
        })
    }
}

/// Holds the sessions that all splits are read in.
struct QueryPlan {
    description: PlanDescription,
    settings: Settings,
    context: Context,
    shape: Arc<Shape>,
    cursor: Option<Cursor>,
    zero_dates: ZeroDates,
    lock_timeout_ms: u64,
    /// Absent for a preview.
    pool: Option<Pool>,
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
                let position = cursor.position(through.clone());
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
            position.check(&cursor.names, &self.settings.time_zone)?;
            range.after = Some(position.after);
        }
        let inclusive = cursor.is_some_and(|cursor| cursor.ties == CursorTies::Reread);
        let session = match &self.pool {
            Some(pool) => pool.take().ok_or_else(|| {
                Error::new(ErrorKind::SnapshotLost, "The session that sees the plan's state is gone")
            })?,
            None => open_now(&self.settings, &self.context, self.lock_timeout_ms).await?,
        };
        let setup = ReaderSetup {
            selection: range.selection(&self.shape, cursor.is_some(), inclusive)?,
            shape: Arc::clone(&self.shape),
            stream: split.streams.first().cloned().unwrap_or_default(),
            budgets: request.budgets,
            zero_dates: self.zero_dates,
            offset_seconds: self.settings.offset_seconds(),
            cursor: cursor.cloned().map(CursorTracker::new),
            end,
            pool: self.pool.clone(),
        };
        start(session, setup).await
    }
}
