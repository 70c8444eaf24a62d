//! What a run reads: a split for each table's rows, and one for the stream that follows upon all of them.

use std::collections::{BTreeMap, HashMap};

use hub_plugin_api::{
    Context, Error, ErrorKind, Guarantee, Level, OpenRequest, Plan, PlanDescription, PlanRequest, Reader,
    Result, Snapshot, Split, StartAt, StreamId, Value, async_trait,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    decoder::Wanted,
    facts::Facts,
    lsn::Lsn,
    names::Names,
    options::{Capture, WalOptions},
    position::{StreamPosition, VERSION},
    publication,
    slot::{self, NewSlot},
    snapshot::{SnapshotSetup, open_table},
    stream::{StreamSetup, open_stream},
    tables::{self, Captured},
};
use crate::{
    config::Settings,
    connection::Session,
    error,
    query::{ReaderSessions, open_now},
    sql::wal::Table,
};

/// The id of the split that never ends.
const STREAM: &str = "stream";

/// What the stream's split keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StreamPart {
    slot: String,
    publication: String,
    /// Where the slot began.
    from: Lsn,
    /// The tables, by OID.
    tables: BTreeMap<u32, Wanted>,
    /// How often tables were added since.
    #[serde(default)]
    additions: u32,
}

/// What the split of a table's rows keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TablePart {
    schema: String,
    name: String,
    oid: u32,
}

/// The state of the database that rows are read in, for as long as there are rows to read.
enum Held {
    /// No split was opened yet that needs one.
    None,
    /// Of the slot that was just made, or of one that only lives as long as this.
    Slot(NewSlot),
    /// Without a slot: rows alone are read.
    Session { _session: Session, snapshot: String },
}

/// Plans a capture; makes publication and slot where they are not there.
///
/// # Errors
/// When the options do not fit, the server cannot decode, or what an earlier run left is gone.
pub async fn plan(settings: &Settings, context: &Context, request: &PlanRequest) -> Result<Box<dyn Plan>> {
    let options = WalOptions::read(&request.options)?;
    let session = Session::open(settings, context).await?;
    let facts = Facts::of(&session).await?;
    let mut planner = Planner { settings, context, request, options, session, facts, held: Held::None };
    let description = planner.describe().await?;
    let Planner { options, facts, held, .. } = planner;
    Ok(Box::new(WalPlan {
        description,
        settings: settings.clone(),
        context: context.clone(),
        options,
        facts,
        generation: request.generation,
        is_first: request.interrupted.is_none(),
        peek: request.peek,
        held: Mutex::new(held),
    }))
}

struct Planner<'a> {
    settings: &'a Settings,
    context: &'a Context,
    request: &'a PlanRequest,
    options: WalOptions,
    session: Session,
    facts: Facts,
    held: Held,
}

impl Planner<'_> {
    async fn describe(&mut self) -> Result<PlanDescription> {
        if matches!(self.request.start_at, Some(StartAt::Time(_))) {
            return Err(Error::unsupported("A start of the WAL at a time"));
        }
        if self.request.peek || self.options.capture == Capture::SnapshotOnly {
            return self.rows_alone().await;
        }
        self.facts.check()?;
        match &self.request.interrupted {
            Some(interrupted) => self.go_on(interrupted).await,
            None => self.begin().await,
        }
    }

    /// The rows of every table in one state, and nothing made on the server.
    async fn rows_alone(&mut self) -> Result<PlanDescription> {
        let captured = tables::select(&self.session, &self.options, false).await?;
        let again = self.request.interrupted.is_some();
        if !self.request.peek {
            self.held = export(self.settings, self.context, &self.options).await?;
        }
        let splits = self.table_splits(&captured, 0)?;
        Ok(PlanDescription {
            splits,
            snapshot: if self.request.peek || again { Snapshot::New } else { Snapshot::Same },
            guarantee: Guarantee::AtLeastOnce,
            reason: "Every run reads everything again".into(),
            repeats_rows: true,
            carry: None,
        })
    }

    /// The first plan of a generation.
    async fn begin(&mut self) -> Result<PlanDescription> {
        let names = Names::of(&self.request.pipeline, self.request.generation);
        if let Some(publication) = &self.options.publication {
            publication::find(&self.session, publication).await?;
        }
        let captured = tables::select(&self.session, &self.options, false).await?;
        let publication = match self.options.publication.clone() {
            Some(publication) => {
                publication::check(&self.session, &publication, &captured).await?;
                publication
            }
            None => {
                tables::check_identities(&captured)?;
                let tables: Vec<_> = captured.iter().map(|one| one.table.clone()).collect();
                publication::make(&self.session, &self.facts, &names.object, &tables).await?;
                names.object.clone()
            }
        };
        let (slot, from) = match self.options.slot.clone() {
            Some(slot) => {
                let confirmed = slot::check(&self.session, &slot, None).await?;
                (slot, confirmed)
            }
            None => {
                // A run that died before the hub knew of its plan left it.
                if slot::exists(&self.session, &names.object).await? {
                    slot::drop_slot(&self.session, &names.object).await?;
                }
                let export = self.options.capture.snapshot();
                let (settings, context) = (self.settings, self.context);
                let made = slot::create(settings, context, &self.facts, &names.object, false, export).await?;
                let from = made.from;
                if export {
                    self.held = Held::Slot(made);
                }
                (names.object.clone(), from)
            }
        };
        let from = match &self.request.start_at {
            Some(StartAt::Position(position)) => {
                let at = position.read::<StreamPosition>(VERSION)?.lsn;
                slot::check(&self.session, &slot, Some(at)).await?;
                at
            }
            _ => from,
        };
        let splits =
            if self.options.capture.snapshot() { self.table_splits(&captured, 0)? } else { Vec::new() };
        let tables = wanted(&captured, from);
        let part = StreamPart { slot, publication, from, tables, additions: 0 };
        self.description(splits, part, Snapshot::Same)
    }

    /// The plan of the generation, gone on with: tables that are named now and were not then are added.
    async fn go_on(&mut self, interrupted: &PlanDescription) -> Result<PlanDescription> {
        let split = interrupted.splits.iter().find(|split| split.id == STREAM);
        let split = split.ok_or_else(|| {
            Error::config("capture", "The run that was interrupted read no changes, and this one is to")
                .with_hint("Start again with `--from-scratch`")
        })?;
        let mut part: StreamPart = serde_json::from_value(split.opaque.clone())?;
        slot::check(&self.session, &part.slot, None).await?;
        publication::find(&self.session, &part.publication).await?;
        let captured = tables::select(&self.session, &self.options, false).await?;
        let own = self.options.publication.is_none();
        let known = |one: &&Captured| part.tables.contains_key(&one.oid);
        let new: Vec<Captured> = captured.iter().filter(|one| !known(one)).cloned().collect();
        let old: Vec<Captured> = captured.iter().filter(known).cloned().collect();
        publication::check(&self.session, &part.publication, &old).await?;
        if own && !new.is_empty() {
            tables::check_identities(&new)?;
            let tables: Vec<_> = new.iter().map(|one| one.table.clone()).collect();
            publication::add(&self.session, &self.facts, &part.publication, &tables).await?;
        }
        for gone in part.tables.iter().filter(|(oid, _)| !captured.iter().any(|one| one.oid == **oid)) {
            let (schema, name) = (&gone.1.schema, &gone.1.name);
            let message = if new.iter().any(|one| (&one.table.0, &one.table.1) == (schema, name)) {
                format!(
                    "Table `{schema}.{name}` was dropped and made anew: its rows are read like those of a table that is \
                     added, and what only the old one had stays at the destination"
                )
            } else {
                format!("Table `{schema}.{name}` is no longer captured: its changes from now on are left out")
            };
            self.context.log(Level::Warn, "postgres", message);
        }
        part.tables.retain(|oid, _| captured.iter().any(|one| one.oid == *oid));
        let mut splits: Vec<_> = interrupted.splits.iter().filter(|split| split.bounded).cloned().collect();
        let is_captured = |split: &Split| {
            serde_json::from_value::<TablePart>(split.opaque.clone())
                .is_ok_and(|table| part.tables.contains_key(&table.oid))
        };
        splits.retain(is_captured);
        let ids: Vec<_> = splits.iter().map(|split| split.id.clone()).collect();
        splits.iter_mut().for_each(|split| split.after.retain(|id| ids.contains(id)));
        if self.options.capture.snapshot() && !new.is_empty() {
            part.additions += 1;
            splits.extend(self.table_splits(&new, part.additions)?);
        }
        part.tables.extend(wanted(&new, part.from));
        self.description(splits, part, Snapshot::New)
    }

    fn description(
        &self,
        mut splits: Vec<Split>,
        part: StreamPart,
        snapshot: Snapshot,
    ) -> Result<PlanDescription> {
        let after = splits.iter().map(|split| split.id.clone()).collect();
        let streams = part.tables.values().map(|one| StreamId::new([one.schema.as_str()], one.name.as_str()));
        splits.push(Split {
            id: STREAM.into(),
            streams: streams.collect(),
            bounded: false,
            after,
            opaque: serde_json::to_value(&part)?,
            portable: false,
            estimated_rows: None,
        });
        Ok(PlanDescription {
            splits,
            snapshot,
            guarantee: Guarantee::EffectivelyOnce,
            reason:
                "The stream goes on exactly behind the last transaction that is committed at the destination"
                    .into(),
            repeats_rows: false,
            carry: None,
        })
    }

    /// Splits of the rows of tables. `addition`: the how-manieth time that tables are added to a stream that was begun
    /// without them, as a table may have been read before, left out and added again, or dropped and made anew.
    fn table_splits(&self, captured: &[Captured], addition: u32) -> Result<Vec<Split>> {
        let run = match addition {
            0 => self.request.run.to_string(),
            addition => format!("{}.{addition}", self.request.run),
        };
        let id = |one: &Captured| {
            let (schema, name) = &one.table;
            // A dot inside a name must not make two tables one.
            let id = if format!("{schema}{name}").contains('.') {
                crate::sql::qualified(Some(schema), name)
            } else {
                format!("{schema}.{name}")
            };
            format!("snapshot-{run}-{id}")
        };
        let split = |one: &Captured| {
            let (schema, name) = &one.table;
            let part = TablePart { schema: schema.clone(), name: name.clone(), oid: one.oid };
            let before = captured.iter().filter(|other| one.after.contains(&other.oid));
            Ok(Split {
                id: id(one),
                streams: vec![StreamId::new([schema.as_str()], name.as_str())],
                bounded: true,
                after: before.map(id).collect(),
                opaque: serde_json::to_value(&part)?,
                portable: false,
                estimated_rows: one.estimated_rows,
            })
        };
        captured.iter().map(split).collect()
    }
}

fn wanted(captured: &[Captured], from: Lsn) -> BTreeMap<u32, Wanted> {
    let one =
        |one: &Captured| (one.oid, Wanted { schema: one.table.0.clone(), name: one.table.1.clone(), from });
    captured.iter().map(one).collect()
}

/// Holds the state of now, without a slot.
async fn export(settings: &Settings, context: &Context, options: &WalOptions) -> Result<Held> {
    let session = open_now(settings, context, options.lock_timeout_ms).await?;
    let failed =
        |error| error::from_driver("Could not hold the state of the database for the readers", &error);
    let exported =
        session.work(session.client().query_one("SELECT pg_catalog.pg_export_snapshot()", &[])).await;
    let snapshot = exported.map_err(failed)?.try_get(0).map_err(failed)?;
    Ok(Held::Session { _session: session, snapshot })
}

struct WalPlan {
    description: PlanDescription,
    settings: Settings,
    context: Context,
    options: WalOptions,
    facts: Facts,
    generation: u64,
    /// Nothing of this generation was planned before.
    is_first: bool,
    peek: bool,
    held: Mutex<Held>,
}

impl WalPlan {
    /// Where the host keeps the place that a table's rows were read at, when that is not the slot's beginning.
    fn blob(&self, oid: u32) -> String {
        format!("snapshot-{}-{oid}", self.generation)
    }

    fn stream_part(&self) -> Result<Option<StreamPart>> {
        let split = self.description.splits.iter().find(|split| split.id == STREAM);
        Ok(split.map(|split| serde_json::from_value(split.opaque.clone())).transpose()?)
    }

    async fn open_rows(&self, table: TablePart, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let stream = self.stream_part()?;
        let snapshot = self.snapshot(&table, stream.as_ref()).await?;
        let names: Table = (table.schema, table.name);
        let publication = match &stream {
            Some(stream) => Some(stream.publication.as_str()),
            None => self.options.publication.as_deref(),
        };
        let setup = SnapshotSetup {
            table: &names,
            publication,
            sessions: ReaderSessions {
                snapshot,
                lock_timeout_ms: self.options.lock_timeout_ms,
                version: self.facts.version,
            },
            options: &self.options,
            budgets: request.budgets,
        };
        match open_table(&self.settings, &self.context, setup).await {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) => Err(error.with_context("table", format!("{}.{}", names.0, names.1))),
        }
    }

    /// The state that a table's rows are read in. When it is not the slot's own, because that went with an earlier
    /// process, the stream must leave out what the newer state already holds: the place is durable before a row is
    /// read, and counts only if the rows are committed.
    async fn snapshot(&self, table: &TablePart, stream: Option<&StreamPart>) -> Result<Option<String>> {
        if self.peek {
            return Ok(None);
        }
        let mut held = self.held.lock().await;
        if matches!(&*held, Held::None) {
            let name = slot::temporary_name();
            let (settings, context) = (&self.settings, &self.context);
            *held = Held::Slot(slot::create(settings, context, &self.facts, &name, true, true).await?);
        }
        match &*held {
            Held::None => Err(Error::internal("There is no state to read")),
            Held::Session { snapshot, .. } => Ok(Some(snapshot.clone())),
            Held::Slot(made) => {
                if stream.is_some_and(|stream| stream.from != made.from) || !self.is_first {
                    let place = made.from.to_string();
                    self.context.host().state_put(&self.blob(table.oid), Some(&place))?;
                }
                Ok(made.snapshot.clone())
            }
        }
    }

    async fn open_changes(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let part = self.stream_part()?.ok_or_else(|| Error::internal("The plan has no stream"))?;
        // All rows are read: the state is no longer held, which would keep the server from cleaning up.
        *self.held.lock().await = Held::None;
        let mut wanted: HashMap<u32, Wanted> = part.tables.into_iter().collect();
        for (oid, one) in &mut wanted {
            match self.context.host().state_get(&self.blob(*oid)) {
                Ok(Some(place)) => one.from = one.from.max(place.parse()?),
                Ok(None) => {}
                // Outside a pipeline nothing is kept, and nothing is resumed.
                Err(error) if error.kind == ErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        let at = match &request.position {
            Some(position) => position.read(VERSION)?,
            None => StreamPosition { lsn: part.from, seq: 0, snapshots: Vec::new() },
        };
        let setup = StreamSetup {
            slot: part.slot,
            publication: part.publication,
            wanted,
            at,
            budgets: request.budgets,
            options: self.options.clone(),
        };
        open_stream(&self.settings, &self.context, setup).await
    }
}

#[async_trait]
impl Plan for WalPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let split = self.description.splits.iter().find(|split| split.id == request.split.id);
        let split = split
            .ok_or_else(|| Error::internal(format!("Split `{}` is not of this plan", request.split.id)))?;
        if !split.bounded {
            return self.open_changes(request).await;
        }
        if request.position.is_some() {
            return Err(Error::new(ErrorKind::PositionLost, "A table's rows are read from their beginning"));
        }
        self.open_rows(serde_json::from_value::<TablePart>(Value::clone(&split.opaque))?, request).await
    }
}
