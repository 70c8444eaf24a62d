//! What is to be followed, and from where.

use std::sync::Arc;

use hub_plugin_api::{
    Context, Error, ErrorKind, Guarantee, Level, OpenRequest, Plan, PlanDescription, PlanRequest, Position,
    Reader, Result, Snapshot, Split, StartAt, StreamId, async_trait, json,
};
use tokio::sync::Mutex;

use super::{
    TARGET,
    again::Again,
    definition::{Definitions, TableNames, hold, look_up, tables},
    dump::Dump,
    follow::Follower,
    foreign_keys::listed,
    gtid::{GtidPosition, Gtids},
    history::History,
    log::LogAccess,
    options::{Options, SnapshotMode},
    position::LogPosition,
    prepared::PreparedReader,
    reader::LogReader,
    server::LogServer,
    snapshot::{SnapshotReader, SnapshotSession, begin, begin_again},
    start_time,
};
use crate::{config::Settings, flavor::Vendor};

/// The id of the split that follows the log.
const STREAM: &str = "binlog";

/// What the ids of a snapshot's splits begin with.
const SNAPSHOT: &str = "snapshot:";

/// Plans following the log, behind a snapshot where one is wanted.
///
/// # Errors
/// When the options do not fit, or the server refuses.
pub async fn plan(settings: &Settings, context: &Context, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = Options::read(&request.options)?;
    let wishes = options.wishes(&settings.database, hub_plugin_api::Budgets::default())?;
    let mut snapshot = SnapshotSession::default();
    let (splits, exact) = match &request.interrupted {
        // The start was fixed when the pipeline began, and so were the tables of the snapshot.
        Some(before) => (before.splits.clone(), before.guarantee == Guarantee::EffectivelyOnce),
        None => {
            let mut server = LogServer::open(settings, context).await?;
            let filter = server.fold(wishes.filter);
            let tables = tables(&mut server, &filter).await?;
            let unmatched = filter.unmatched(&tables);
            if !unmatched.is_empty() {
                let message = format!(
                    "No table is called `{}` yet: one that gets the name later is followed from then on",
                    unmatched.join("`, `")
                );
                context.log(Level::Warn, TARGET, &message);
            }
            let mut children = server.silent_children().await?;
            children.retain(|child| tables.contains(child));
            if !children.is_empty() {
                let message = format!(
                    "Rows that foreign keys delete or change (CASCADE, SET NULL) are not in this server's log: those of \
                     {} stay in the copy as they were",
                    listed(&children)
                );
                context.log(Level::Warn, TARGET, &message);
            }
            let wants_rows = options.snapshot == SnapshotMode::Initial && request.start_at.is_none();
            let (start, definitions, exact) = if wants_rows && !request.peek && !tables.is_empty() {
                let start = begin(settings, context, &mut server, &tables).await?;
                snapshot = start.session;
                (start.position, start.definitions, start.exact)
            } else {
                let access = LogAccess::new(settings, context, &options, server.vendor());
                let (start, definitions) =
                    start(&mut server, &tables, request.start_at.as_ref(), &access).await?;
                (start, definitions, true)
            };
            History::begin(context, request.generation, definitions)?;
            let mut splits = Vec::new();
            if wants_rows {
                for (database, table) in tables {
                    splits.push(Split {
                        id: format!("{SNAPSHOT}{database}.{table}"),
                        streams: vec![StreamId::new([database.clone()], table.clone())],
                        bounded: true,
                        after: Vec::new(),
                        opaque: json!({ "database": database, "table": table }),
                        portable: false,
                        estimated_rows: None,
                    });
                }
            }
            splits.push(Split {
                id: STREAM.into(),
                streams: Vec::new(),
                bounded: false,
                after: splits.iter().map(|split| split.id.clone()).collect(),
                opaque: json!({ "start": start.to_position()? }),
                portable: true,
                estimated_rows: None,
            });
            (splits, exact)
        }
    };
    let (guarantee, reason) = if exact {
        (
            Guarantee::EffectivelyOnce,
            "the log is followed from one transaction to the next, and a position is exact",
        )
    } else {
        (
            Guarantee::AtLeastOnce,
            "the account may not run FLUSH TABLES WITH READ LOCK, so what was committed while the snapshot began comes \
             once more behind it",
        )
    };
    let description = PlanDescription {
        splits,
        snapshot: if request.interrupted.is_some() { Snapshot::New } else { Snapshot::Same },
        guarantee,
        reason: reason.into(),
        repeats_rows: false,
        carry: None,
    };
    Ok(Box::new(LogPlan {
        settings: settings.clone(),
        context: context.clone(),
        options,
        pipeline: request.pipeline.clone(),
        generation: request.generation,
        snapshot: Mutex::new(request.interrupted.is_none().then_some((snapshot, None))),
        description,
    }))
}

/// Where following begins, and what tables look like there, where that is known.
async fn start(
    server: &mut LogServer,
    tables: &TableNames,
    wish: Option<&StartAt>,
    access: &LogAccess,
) -> Result<(LogPosition, Definitions)> {
    match wish {
        None | Some(StartAt::Latest) => {
            server.run("START TRANSACTION").await?;
            hold(server, tables).await?;
            let start = (server.end_of_log().await?, look_up(server, tables).await?);
            server.run("COMMIT").await?;
            Ok(start)
        }
        // What tables looked like then only the log itself can tell.
        Some(StartAt::Earliest) => Ok((server.start_of_log().await?, Definitions::new())),
        Some(StartAt::Position(position)) => {
            let position = LogPosition::of(position)?;
            server.check_position(&position).await?;
            Ok((position, Definitions::new()))
        }
        Some(StartAt::Time(time)) => Ok((start_time::at(access, server, time).await?, Definitions::new())),
    }
}

struct LogPlan {
    settings: Settings,
    context: Context,
    options: Options,
    pipeline: String,
    generation: u64,
    /// Of a plan that goes on it is taken anew when it is needed, with what the tables look like then.
    snapshot: Mutex<Option<(SnapshotSession, Option<Arc<Definitions>>)>>,
    description: PlanDescription,
}

#[async_trait]
impl Plan for LogPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        if request.split.id.starts_with(SNAPSHOT) {
            return self.open_snapshot(request).await;
        }
        if let Some((snapshot, _)) = self.snapshot.lock().await.take() {
            snapshot.end();
        }
        let position = match &request.position {
            Some(position) => LogPosition::of(position)?,
            None => {
                let start = request.split.opaque.get("start").cloned().unwrap_or_default();
                LogPosition::of(&serde_json::from_value::<Position>(start)?)?
            }
        };
        let mut server = LogServer::open(&self.settings, &self.context).await?;
        server.check_position(&position).await?;
        let vendor = server.vendor();
        let charsets = server.charsets().await?;
        let mut position = LogPosition { server: server.id.clone(), ..position };
        if vendor == Vendor::MySql && !server.counts {
            // Transactions had ids, and have none any more: the file and the place in it are still right.
            position.gtids = None;
        }
        let mut gtids = position.gtids(vendor)?;
        if gtids.is_none() && vendor == Vendor::MariaDb {
            // Followed by file, but from here on every domain is known.
            let here = server.position_at(position.file.clone(), position.offset).await?;
            gtids = here.gtids(vendor)?.or_else(|| Some(Gtids::MariaDb(GtidPosition::default())));
        }
        position.gtids = position.gtids.filter(|gtids| !gtids.is_empty() || vendor == Vendor::MySql);
        let dump =
            Dump::open(&self.settings, &self.context, &self.options, vendor, Some(&self.pipeline), &position)
                .await?;
        let mut wishes = self.options.wishes(&self.settings.database, request.budgets)?;
        wishes.filter = server.fold(wishes.filter);
        let history = History::open(&self.context, self.generation, position.schema)?;
        let follower = Follower::new(vendor, charsets, wishes, history, position, gtids)
            .in_small_letters(server.small_letters);
        let max_delay = std::time::Duration::from_millis(request.budgets.max_delay_ms);
        let heartbeat = self.options.heartbeat();
        let again = Again::new(&self.settings, &self.context);
        let prepared =
            PreparedReader::new(LogAccess::new(&self.settings, &self.context, &self.options, vendor));
        let context = self.context.clone();
        Ok(Box::new(LogReader::new(context, dump, follower, again, prepared, max_delay, heartbeat)))
    }
}

impl LogPlan {
    async fn open_snapshot(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let (database, table) = table_of(&request.split)?;
        let mut snapshot = self.snapshot.lock().await;
        let (session, now) = match &*snapshot {
            Some(held) => held.clone(),
            None => {
                let tables =
                    self.description.splits.iter().filter_map(|split| table_of(split).ok()).collect();
                let (session, now) = begin_again(&self.settings, &self.context, &tables).await?;
                snapshot.insert((session, Some(Arc::new(now)))).clone()
            }
        };
        drop(snapshot);
        let vendor = LogServer::open(&self.settings, &self.context).await?.vendor();
        let history = History::open(&self.context, self.generation, 0)?;
        let declared = match &now {
            Some(now) => now.get(&database).and_then(|tables| tables.get(&table)),
            None => history.table(&database, &table),
        };
        let definition = declared.or(history.table(&database, &table)).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("Table `{database}.{table}` of the snapshot is not known"),
            )
        })?;
        let reader = SnapshotReader::new(
            session,
            vendor,
            &self.settings,
            (&database, &table),
            definition,
            self.options.zero_dates,
            request.budgets,
        )?;
        Ok(Box::new(if declared.is_some() { reader } else { reader.without_rows() }))
    }
}

/// The table that a split of a snapshot reads.
fn table_of(split: &Split) -> Result<(String, String)> {
    let name = |field: &str| {
        let found = split.opaque.get(field).and_then(|value| value.as_str());
        found.map(str::to_owned).ok_or_else(|| Error::internal("A split of a snapshot names no table"))
    };
    Ok((name("database")?, name("table")?))
}
