use std::{path::Path, time::Duration};

use hub_plugin_api::{
    Error, ErrorKind, Guarantee, OpenRequest, Plan, PlanDescription, PlanRequest, Position, Reader, Result,
    Snapshot, Split, StartAt, StreamId, Value as Json, async_trait, json, types::Column,
};
use rusqlite::{Connection, OptionalExtension, Statement, types::Value};
use serde::{Deserialize, Serialize};

use super::{Bound, Parameters, QueryOptions, ReadRequest, Ties, open, resolve, resolve::Resolved};
use crate::{
    config::ConnectionConfig,
    database::{self, Interrupt},
    error::map,
    sql::{self, CursorColumn},
};

/// The version of positions and of what runs carry on.
pub const POSITION_VERSION: u32 = 1;

/// The name of a stream whose rows come from no single table.
const UNNAMED_STREAM: &str = "query";

/// What a split reads: everything that a later process needs to go on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SplitSpec {
    /// The user's statement.
    pub statement: String,
    /// Its parameters.
    pub parameters: Parameters,
    /// Its columns, decided once for all splits of a run.
    pub columns: Vec<Column>,
    /// The table that all columns are of, for messages.
    pub table: Option<String>,
    /// The cursor's columns, each with whether it is compared byte by byte against its own collation.
    pub cursor: Vec<(String, bool)>,
    /// What to do with ties and NULLs.
    pub ties: Ties,
    /// Only rows behind this tuple.
    pub after: Option<Vec<Bound>>,
    /// Only rows up to this tuple.
    pub upto: Option<Vec<Bound>>,
    /// Only rows whose first cursor column is at least this.
    pub from: Option<i64>,
    /// Only rows whose first cursor column is below this.
    pub below: Option<i64>,
    /// What the file looked like when the run was planned.
    pub state: String,
}

impl SplitSpec {
    /// The cursor as statements need it.
    pub fn cursor_columns(&self) -> Vec<CursorColumn> {
        self.cursor
            .iter()
            .map(|(name, binary)| CursorColumn { name: name.clone(), binary: *binary })
            .collect()
    }
}

/// A position, and what the next run continues from: the last tuple.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct After {
    /// The tuple's values; absent at the beginning.
    pub after: Option<Vec<Bound>>,
}

/// Splits of one statement.
pub struct QueryPlan {
    config: ConnectionConfig,
    description: PlanDescription,
}

impl QueryPlan {
    /// Plans a run: fixes its upper bound and cuts it into ranges.
    ///
    /// # Errors
    /// When the statement, the cursor or what earlier runs left do not fit.
    pub fn new(config: &ConnectionConfig, request: &PlanRequest, interrupt: &Interrupt) -> Result<Self> {
        let options = QueryOptions::new(&request.options)?;
        let parameters = Parameters::of_json(options.parameters.as_ref())?;
        if let Some(interrupted) = &request.interrupted {
            return Self::go_on(config, &options, &parameters, interrupted);
        }
        let state = settled_fingerprint(&config.file);
        let connection = database::open_read(config)?;
        interrupt.watch(&connection);
        interrupt.check()?;
        let snapshot = |error| map("A snapshot of the database could not be taken", error);
        connection.execute_batch("BEGIN").map_err(snapshot)?;
        let resolved = resolve(&connection, options.sql(), &parameters)?;
        let stream =
            options.stream.clone().or_else(|| options.table.clone()).or_else(|| resolved.table.clone());
        let whole = SplitSpec {
            statement: options.sql().to_owned(),
            parameters,
            cursor: cursor_of(&options, &resolved.columns, &resolved.collated)?,
            columns: resolved.columns,
            table: resolved.table,
            ties: options.cursor_ties,
            after: None,
            upto: None,
            from: None,
            below: None,
            state,
        };
        let planner = Planner {
            connection: &connection,
            request,
            stream: StreamId::named(stream.unwrap_or_else(|| UNNAMED_STREAM.into())),
            splits: options.splits.unwrap_or(request.parallel),
        };
        let description =
            if whole.cursor.is_empty() { planner.all(&whole)? } else { planner.by_cursor(whole)? };
        Ok(Self { config: config.clone(), description })
    }

    /// The same splits again: they know their statement and bounds.
    fn go_on(
        config: &ConnectionConfig,
        options: &QueryOptions,
        parameters: &Parameters,
        interrupted: &PlanDescription,
    ) -> Result<Self> {
        let mut description = interrupted.clone();
        let state = database::fingerprint(&config.file);
        let mut is_same = true;
        for split in &description.splits {
            let spec = spec_of(split)?;
            let cursor: Vec<_> = spec.cursor.iter().map(|(name, _)| name.as_str()).collect();
            if spec.statement != options.sql() || spec.parameters != *parameters || cursor != options.cursor {
                return Err(Error::new(
                    ErrorKind::PositionLost,
                    "The statement, its parameters or its cursor changed since the interrupted run",
                )
                .with_field("statement")
                .with_hint(
                    "Finish that run with the statement that it began with, or start with `--from-scratch`",
                ));
            }
            is_same &= spec.state == state && !state.is_empty();
        }
        description.snapshot = if is_same { Snapshot::Same } else { Snapshot::New };
        Ok(Self { config: config.clone(), description })
    }
}

/// Reads a split's own part.
///
/// # Errors
/// [`ErrorKind::PositionLost`] when it is not of this version.
pub fn spec_of(split: &Split) -> Result<SplitSpec> {
    serde_json::from_value(split.opaque.clone()).map_err(|error| {
        Error::new(ErrorKind::PositionLost, format!("The stored split `{}` cannot be read", split.id))
            .with_source(&error)
            .with_hint("Start again with `--from-scratch`, or use the version of the plugin that stored it")
    })
}

/// Files tell times in steps: a write within the same step as the last one would not be seen. So waits it out.
fn settled_fingerprint(file: &Path) -> String {
    let step = Duration::from_millis(50);
    let is_fresh = |path: &Path| {
        let age = path
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        age.is_some_and(|age| age < step)
    };
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    if is_fresh(file) || is_fresh(Path::new(&wal)) {
        std::thread::sleep(step);
    }
    database::fingerprint(file)
}

/// Fails when a statement does not return the cursor's columns.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] at `cursor`.
pub fn check_cursor(options: &QueryOptions, resolved: &Resolved) -> Result<()> {
    cursor_of(options, &resolved.columns, &resolved.collated).map(drop)
}

/// The cursor's columns as the statement spells them.
fn cursor_of(options: &QueryOptions, columns: &[Column], collated: &[bool]) -> Result<Vec<(String, bool)>> {
    let find = |name: &String| {
        let index = columns.iter().position(|column| column.name == *name).ok_or_else(|| {
            let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            Error::config("cursor", format!("The statement returns no column `{name}`"))
                .with_hint(format!("It returns: {}", known.join(", ")))
        })?;
        Ok((name.clone(), collated[index]))
    };
    options.cursor.iter().map(find).collect()
}

struct Planner<'a> {
    connection: &'a Connection,
    request: &'a PlanRequest,
    stream: StreamId,
    splits: u32,
}

impl Planner<'_> {
    /// Without a cursor: one split, which a restart begins again.
    fn all(&self, spec: &SplitSpec) -> Result<PlanDescription> {
        if self.request.start_at.as_ref().is_some_and(|start| *start != StartAt::Earliest) {
            return Err(Error::config("start_at", "A start needs option `cursor`"));
        }
        let id = format!("all-{}", self.request.run);
        Ok(PlanDescription {
            splits: vec![self.split(id, spec)?],
            snapshot: Snapshot::Same,
            guarantee: Guarantee::AtLeastOnce,
            reason: "Without a cursor every run reads all rows again, in one snapshot".into(),
            repeats_rows: true,
            carry: None,
        })
    }

    fn by_cursor(&self, mut spec: SplitSpec) -> Result<PlanDescription> {
        let cursor = spec.cursor_columns();
        let rereads = spec.ties == Ties::Reread;
        self.refuse_nulls(&spec, &cursor)?;
        let text = sql::select_upper_bound(&spec.statement, &cursor);
        let upto = self.tuple(&text, &spec, &[])?;
        spec.after = self.start(upto.as_ref())?;
        let (guarantee, reason) = match rereads {
            false => (
                Guarantee::EffectivelyOnce,
                "The cursor is unique, and the run ends at a bound fixed at its start",
            ),
            true => {
                (Guarantee::AtLeastOnce, "Rows whose cursor equals the last one, or is NULL, are read again")
            }
        };
        let carry = After { after: upto.clone().or_else(|| spec.after.clone()) };
        let mut splits = Vec::new();
        if let Some(upto) = upto {
            spec.upto = Some(upto);
            if rereads || self.has_rows(&spec, &cursor)? {
                splits = self.ranges(&spec, &cursor)?;
            }
        } else if rereads {
            // Nothing but rows whose cursor is NULL.
            splits = vec![self.split(format!("range-{}-0", self.request.run), &spec)?];
        }
        Ok(PlanDescription {
            snapshot: if splits.len() > 1 { Snapshot::New } else { Snapshot::Same },
            splits,
            guarantee,
            reason: reason.into(),
            repeats_rows: rereads,
            carry: Some(json!({ "v": POSITION_VERSION, "cursor": self.names(&spec), "after": carry.after })),
        })
    }

    fn names(&self, spec: &SplitSpec) -> Json {
        spec.cursor.iter().map(|(name, _)| Json::from(name.as_str())).collect()
    }

    /// The tuple behind which this run begins.
    fn start(&self, upto: Option<&Vec<Bound>>) -> Result<Option<Vec<Bound>>> {
        if let Some(carry) = &self.request.carry {
            let names: Vec<String> = self.request.options.list("cursor");
            let carried = carry.get("cursor").cloned().unwrap_or_default();
            if carried != Json::from(names) {
                return Err(Error::config("cursor", format!("The last run's cursor was {carried}"))
                    .with_hint("Keep the cursor, or start again with `--from-scratch`"));
            }
            return Ok(Position::from(carry.clone()).read::<After>(POSITION_VERSION)?.after);
        }
        match &self.request.start_at {
            None | Some(StartAt::Earliest) => Ok(None),
            Some(StartAt::Latest) => Ok(upto.cloned()),
            Some(StartAt::Position(position)) => {
                let after = position.read::<After>(POSITION_VERSION)?.after;
                let wanted = self.request.options.list("cursor").len();
                match after.as_ref().is_none_or(|tuple| tuple.len() == wanted) {
                    true => Ok(after),
                    false => Err(Error::config(
                        "start_at",
                        format!("`after` must have {wanted} values, as the cursor"),
                    )),
                }
            }
            Some(StartAt::Time(_)) => {
                Err(Error::config("start_at", "A query by cursor cannot start at a time")
                    .with_hint("Give a position: {\"v\": 1, \"after\": [...]}"))
            }
        }
    }

    fn refuse_nulls(&self, spec: &SplitSpec, cursor: &[CursorColumn]) -> Result<()> {
        let is_nullable = |(name, _): &(String, bool)| {
            spec.columns.iter().find(|column| column.name == *name).is_none_or(|column| column.nullable)
        };
        if spec.ties == Ties::Reread || !spec.cursor.iter().any(is_nullable) {
            return Ok(());
        }
        match self.tuple(&sql::select_null_cursor(&spec.statement, cursor), spec, &[])? {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::InvalidData,
                "A row has NULL in its cursor, so no run would ever find it",
            )
            .with_field("cursor")
            .with_context("cursor", self.names(spec))
            .with_hint("Take a NOT NULL column, or `cursor_ties: reread` with a destination in mode upsert")),
        }
    }

    fn has_rows(&self, spec: &SplitSpec, cursor: &[CursorColumn]) -> Result<bool> {
        Ok(self.least(spec, cursor)?.is_some())
    }

    fn least(&self, spec: &SplitSpec, cursor: &[CursorColumn]) -> Result<Option<Bound>> {
        let text = sql::select_first_value(&spec.statement, cursor, spec.after.is_some());
        let after = spec.after.as_deref().unwrap_or_default();
        Ok(self.tuple(&text, spec, after)?.and_then(|tuple| tuple.into_iter().next()))
    }

    /// Even ranges of the first column, where it is a whole number.
    fn ranges(&self, spec: &SplitSpec, cursor: &[CursorColumn]) -> Result<Vec<Split>> {
        let id = |index: u32| format!("range-{}-{index}", self.request.run);
        let first = spec.upto.as_ref().and_then(|tuple| tuple.first());
        let least = if self.splits > 1 { self.least(spec, cursor)? } else { None };
        let (Some(Bound::Integer(least)), Some(Bound::Integer(greatest)), Ties::Refuse) =
            (least, first, spec.ties)
        else {
            return Ok(vec![self.split(id(0), spec)?]);
        };
        let span = i128::from(*greatest) - i128::from(least) + 1;
        let count = i128::from(self.splits).min(span.max(1));
        let edge = |index: i128| (i128::from(least) + span * index / count) as i64;
        (0..count)
            .map(|index| {
                let from = (index > 0).then(|| edge(index));
                let below = (index + 1 < count).then(|| edge(index + 1));
                self.split(id(index as u32), &SplitSpec { from, below, ..spec.clone() })
            })
            .collect()
    }

    fn split(&self, id: String, spec: &SplitSpec) -> Result<Split> {
        let is_whole = spec.after.is_none() && spec.from.is_none() && spec.below.is_none();
        let table =
            spec.table.as_deref().filter(|table| is_whole && spec.statement == sql::select_table(table));
        Ok(Split {
            id,
            streams: vec![self.stream.clone()],
            bounded: true,
            after: Vec::new(),
            opaque: serde_json::to_value(spec)?,
            portable: true,
            estimated_rows: table.and_then(|table| crate::describe::estimated_rows(self.connection, table)),
        })
    }

    /// The first row of a statement of ours around the user's.
    fn tuple(&self, text: &str, spec: &SplitSpec, after: &[Bound]) -> Result<Option<Vec<Bound>>> {
        let failed = |error| map("The statement failed", error).with_field("statement");
        let mut statement = self.connection.prepare(text).map_err(failed)?;
        spec.parameters.bind(&mut statement)?;
        bind_tuple(&mut statement, "after", after)?;
        let count = statement.column_count();
        let row = statement
            .raw_query()
            .next()
            .and_then(|row| {
                row.map(|row| {
                    (0..count).map(|index| row.get::<_, Value>(index)).collect::<rusqlite::Result<Vec<_>>>()
                })
                .transpose()
            })
            .optional()
            .map_err(failed)?
            .flatten();
        row.map(|row| row.iter().map(|value| Bound::of(value.into())).collect()).transpose()
    }
}

/// Binds one side of the cursor's bounds.
///
/// # Errors
/// When a value cannot be read, or there are more than the cursor has columns.
pub fn bind_tuple(statement: &mut Statement<'_>, side: &str, tuple: &[Bound]) -> Result<()> {
    for (index, bound) in tuple.iter().enumerate() {
        let failed = |error| map("A bound of the cursor could not be bound", error);
        let name = sql::bound_name(side, index);
        let place = statement.parameter_index(&name).map_err(failed)?.ok_or_else(|| {
            Error::new(
                ErrorKind::PositionLost,
                "The stored position has more values than the cursor has columns",
            )
        })?;
        statement.raw_bind_parameter(place, bound.value()?).map_err(failed)?;
    }
    Ok(())
}

#[async_trait]
impl Plan for QueryPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let position =
            request.position.as_ref().map(|position| position.read::<After>(POSITION_VERSION)).transpose()?;
        let stream =
            request.split.streams.first().cloned().unwrap_or_else(|| StreamId::named(UNNAMED_STREAM));
        open(
            &self.config,
            ReadRequest {
                stream,
                spec: spec_of(&request.split)?,
                resume: position.and_then(|position| position.after),
                budgets: request.budgets,
            },
        )
    }
}
