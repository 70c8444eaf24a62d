//! Connectors that live in the test's memory: a table of numbers, and a destination that remembers tokens. Both fail
//! where a test wants it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use hub_plugin_api::{Signal, prelude::*, types};
use serde_json::json;

use crate::{
    pipeline::{Catalog, Resolved},
    plugins::Supervisor,
};

pub(super) type Shared<T> = Arc<Mutex<T>>;

/// Where a side fails, at which call of the kind, and how.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) step: &'static str,
    pub(super) call: u32,
    pub(super) kind: ErrorKind,
}

#[derive(Default)]
pub(super) struct Faults {
    pub(super) planned: Vec<Fault>,
    seen: HashMap<&'static str, u32>,
}

impl Faults {
    /// Fails when this call of the step is a planned one.
    fn pass(&mut self, step: &'static str) -> Result<()> {
        let seen = self.seen.entry(step).or_default();
        *seen += 1;
        let Some(index) = self.planned.iter().position(|fault| fault.step == step && fault.call == *seen)
        else {
            return Ok(());
        };
        let fault = self.planned.remove(index);
        Err(Error::new(fault.kind, format!("Fault at `{step}` {}", fault.call)))
    }
}

/// A table of the numbers 1 to `rows`, cut into splits by remainder.
pub(super) struct Source {
    pub(super) rows: i64,
    pub(super) splits: i64,
    pub(super) batch: i64,
    /// Batches end at a boundary with a position, and a second run continues.
    pub(super) cursor: bool,
    pub(super) snapshot: Snapshot,
    /// After the table, numbers that come as they are put here.
    pub(super) stream: Option<Vec<i64>>,
    /// A stream's position moves on although there are no rows.
    pub(super) idle_positions: bool,
    pub(super) must_commit: bool,
    /// A run leaves where the next one continues.
    pub(super) carries: bool,
    /// A reader never returns from the call that would hand over this number.
    pub(super) hang_at: Option<i64>,
    pub(super) reject: Option<i64>,
    pub(super) identity: String,
    pub(super) schema: Option<arrow::datatypes::SchemaRef>,
    /// Shapes that the stream has, one after another, before its last one.
    pub(super) shapes: Vec<arrow::datatypes::SchemaRef>,
    pub(super) signals: Vec<Signal>,
    pub(super) faults: Faults,
    pub(super) acknowledged: Vec<(String, u64)>,
    pub(super) released: Vec<String>,
    pub(super) opened: Vec<String>,
    pub(super) on_acknowledge: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            rows: 100,
            splits: 1,
            batch: 10,
            cursor: true,
            snapshot: Snapshot::Same,
            stream: None,
            idle_positions: false,
            must_commit: false,
            carries: true,
            hang_at: None,
            reject: None,
            identity: "server 1".into(),
            schema: None,
            shapes: Vec::new(),
            signals: Vec::new(),
            faults: Faults::default(),
            acknowledged: Vec::new(),
            released: Vec::new(),
            opened: Vec::new(),
            on_acknowledge: None,
        }
    }
}

/// What is durable, and what the writers promise.
#[derive(Default)]
pub(super) struct Destination {
    pub(super) rows: Vec<i64>,
    pub(super) tokens: BTreeMap<u32, CommitToken>,
    pub(super) commits: u32,
    pub(super) finished: Vec<CommitToken>,
    pub(super) fence: BTreeMap<u32, u64>,
    pub(super) idempotent: bool,
    pub(super) refuse: BTreeSet<i64>,
    /// A writer that swaps at the end stores the token of that step.
    pub(super) stores_at_finish: bool,
    /// Every shape that a writer was told.
    pub(super) shapes: Vec<arrow::datatypes::SchemaRef>,
    pub(super) faults: Faults,
}

#[derive(Clone)]
pub(super) struct Memory {
    pub(super) source: Shared<Source>,
    pub(super) destination: Shared<Destination>,
    pub(super) supervisor: Supervisor,
}

impl Memory {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source: Arc::new(Mutex::new(source)),
            destination: Shared::default(),
            supervisor: Supervisor::with_grace("memory", Duration::from_millis(500)),
        }
    }
}

impl Catalog for Memory {
    fn find(&self, reference: &str) -> Result<Resolved> {
        let connector = Arc::new(self.clone());
        if reference != "memory" {
            return Err(Error::new(ErrorKind::NotFound, format!("No connector `{reference}`")));
        }
        Ok(Resolved {
            plugin: "memory".into(),
            plugin_version: "1.0.0".into(),
            spec: connector.spec(),
            connector,
            supervisor: self.supervisor.clone(),
        })
    }
}

#[async_trait]
impl Connector for Memory {
    fn spec(&self) -> ConnectorSpec {
        ConnectorSpec::new("memory", "Memory")
            .parameter(Parameter::password("password", "Password"))
            .strategy(Strategy::source("query", "By Query"))
            .strategy(Strategy::source("wal", "By WAL").streaming())
            .strategy(
                Strategy::destination("write", "Write")
                    .option(Parameter::text("mode", "Mode").default("append")),
            )
    }

    async fn connect(&self, config: &Config, context: &Context) -> Result<Box<dyn Connection>> {
        assert!(config.get("password").is_none(), "no secret crosses the boundary");
        context.host().spill()?;
        if let Some(password) = context.secret("password")? {
            self.source
                .lock()
                .unwrap()
                .faults
                .pass("connect")
                .map_err(|error| error.with_hint(format!("Could not use {}", password.expose())))?;
        }
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Connection for Memory {
    async fn identity(&self) -> Result<String> {
        Ok(self.source.lock().unwrap().identity.clone())
    }

    async fn check(&self, _request: &CheckRequest, reporter: &CheckReporter) -> Result<()> {
        reporter.report(CheckStep::passed("network", "It is here"));
        Ok(())
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Box<dyn Plan>> {
        let mut source = self.source.lock().unwrap();
        source.faults.pass("plan")?;
        if let Some(interrupted) = &request.interrupted {
            let description = PlanDescription { snapshot: source.snapshot, ..interrupted.clone() };
            return Ok(Box::new(MemoryPlan { source: Arc::clone(&self.source), description }));
        }
        let from = request.carry.as_ref().and_then(|carry| carry["to"].as_i64()).unwrap_or(0);
        let split = |id: String, bounded, after, opaque| Split {
            id,
            streams: vec![StreamId::named("t")],
            bounded,
            after,
            opaque,
            portable: false,
            estimated_rows: None,
        };
        let mut splits: Vec<_> = (0..source.splits)
            .map(|k| {
                split(
                    format!("s{k}-{}", request.run),
                    true,
                    Vec::new(),
                    json!({"from": from, "to": source.rows, "k": k}),
                )
            })
            .collect();
        if source.stream.is_some() {
            let after = splits.iter().map(|split| split.id.clone()).collect();
            splits.push(split("stream".into(), false, after, json!({"k": -1})));
        }
        let description = PlanDescription {
            splits,
            snapshot: source.snapshot,
            guarantee: Guarantee::EffectivelyOnce,
            reason: "It is a test".into(),
            repeats_rows: !source.cursor,
            carry: (source.cursor && source.carries).then(|| json!({"to": source.rows})),
        };
        Ok(Box::new(MemoryPlan { source: Arc::clone(&self.source), description }))
    }

    async fn writer(&self, request: &WriterRequest) -> Result<Box<dyn Writer>> {
        let mut destination = self.destination.lock().unwrap();
        destination.faults.pass("writer")?;
        let fence = destination.fence.entry(request.lane).or_default();
        *fence += 1;
        let fence = *fence;
        let start = WriterStart {
            last: destination.tokens.get(&request.lane).cloned(),
            guarantee: Guarantee::EffectivelyOnce,
            reason: "Rows and token are one".into(),
            idempotent: destination.idempotent,
        };
        Ok(Box::new(MemoryWriter {
            destination: Arc::clone(&self.destination),
            start,
            lane: request.lane,
            fence,
            unflushed: Vec::new(),
            rows: Vec::new(),
            shapes: BTreeSet::new(),
        }))
    }

    async fn release(&self, pipeline: &str) -> Result<()> {
        self.source.lock().unwrap().released.push(pipeline.into());
        Ok(())
    }
}

struct MemoryPlan {
    source: Shared<Source>,
    description: PlanDescription,
}

#[async_trait]
impl Plan for MemoryPlan {
    fn description(&self) -> PlanDescription {
        self.description.clone()
    }

    async fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>> {
        let mut source = self.source.lock().unwrap();
        source.faults.pass("open")?;
        source.opened.push(request.split.id.clone());
        let at = request.position.as_ref().and_then(|position| position.as_value()["at"].as_i64());
        let opaque = &request.split.opaque;
        let k = opaque["k"].as_i64().unwrap();
        let last = source.schema.clone().unwrap_or_else(schema);
        let shapes = source.shapes.iter().cloned().chain([last]).rev();
        let shape = |(number, arrow): (u32, _)| {
            Event::Schema(StreamSchema::new(StreamId::named("t"), 7 - number, arrow))
        };
        let pending = (0..).zip(shapes).map(shape).collect();
        let reader = MemoryReader {
            source: Arc::clone(&self.source),
            split: request.split.id.clone(),
            k,
            at: at.unwrap_or_else(|| opaque["from"].as_i64().unwrap_or(0)),
            to: opaque["to"].as_i64().unwrap_or(0),
            boundary: 0,
            pending,
            ended: false,
            wished: false,
        };
        Ok(Box::new(reader))
    }
}

pub(super) fn schema() -> arrow::datatypes::SchemaRef {
    types::schema_of(&[Column::new("id", LogicalType::Int64).key(0)])
}

fn rows(values: Vec<i64>) -> Event {
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(values))]).unwrap();
    Event::Rows(Rows { stream: StreamId::named("t"), schema_id: 7, batch })
}

struct MemoryReader {
    source: Shared<Source>,
    split: String,
    k: i64,
    at: i64,
    to: i64,
    boundary: u64,
    /// Last first.
    pending: Vec<Event>,
    ended: bool,
    /// A signal waits for a position that holds it.
    wished: bool,
}

impl MemoryReader {
    fn boundary(&mut self, with_position: bool, must_commit: bool) -> Event {
        self.boundary += 1;
        let position = with_position.then(|| Position::from(json!({"v": 1, "at": self.at})));
        Event::Boundary(Boundary { number: self.boundary, position, must_commit })
    }

    fn next_of_table(&mut self, source: &Source) -> Event {
        let values: Vec<i64> = (self.at + 1..=self.to)
            .filter(|value| value % source.splits == self.k)
            .take(usize::try_from(source.batch).unwrap())
            .collect();
        let Some(last) = values.last() else {
            self.ended = true;
            self.pending.push(Event::End);
            return self.boundary(source.cursor, false);
        };
        self.at = *last;
        if source.cursor {
            let boundary = self.boundary(true, source.must_commit);
            self.pending.push(boundary);
        }
        if let Some(rejected) = source.reject.filter(|rejected| values.contains(rejected)) {
            let (stream, reason) = (StreamId::named("t"), "it is odd".into());
            self.pending.push(Event::Rejected(Rejected { stream, payload: rejected.to_string(), reason }));
            return rows(values.into_iter().filter(|value| *value != rejected).collect());
        }
        rows(values)
    }

    /// A stream's numbers are negative, so that they are told apart from the table's.
    fn next_of_stream(&mut self, source: &Source) -> Event {
        let stream = source.stream.as_deref().unwrap_or_default();
        match stream.get(usize::try_from(self.at).unwrap()) {
            Some(value) => {
                self.at += 1;
                let boundary = self.boundary(true, false);
                self.pending.push(boundary);
                rows(vec![*value])
            }
            None if self.wished => {
                self.wished = false;
                self.at += 1;
                self.boundary(true, false)
            }
            None if source.idle_positions && self.at < 1000 => {
                self.at = 1000;
                self.boundary(true, false)
            }
            None => Event::Idle,
        }
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        if let Some(event) = self.pending.pop() {
            return Ok(event);
        }
        assert!(!self.ended, "nothing is asked after the end");
        let source = Arc::clone(&self.source);
        let mut source = source.lock().unwrap();
        if let Err(error) = source.faults.pass("next") {
            drop(source);
            assert!(error.kind != ErrorKind::PluginPanicked, "Panic of the reader");
            return Err(error);
        }
        let hangs = source.hang_at.is_some_and(|at| at <= self.at);
        if hangs {
            drop(source);
            loop {
                std::thread::park();
            }
        }
        let event = if self.k < 0 { self.next_of_stream(&source) } else { self.next_of_table(&source) };
        drop(source);
        if event == Event::Idle {
            std::thread::sleep(max_wait.min(Duration::from_millis(20)));
        }
        Ok(event)
    }

    async fn acknowledge(&mut self, number: u64) -> Result<()> {
        let mut source = self.source.lock().unwrap();
        source.faults.pass("acknowledge")?;
        assert!(number <= self.boundary, "only what was handed over is acknowledged");
        source.acknowledged.push((self.split.clone(), number));
        let check = source.on_acknowledge.clone();
        drop(source);
        if let Some(check) = check {
            check();
        }
        Ok(())
    }

    async fn signal(&mut self, signal: &Signal) -> Result<()> {
        if signal.kind != Signal::SNAPSHOT {
            return Err(Error::unsupported(format_args!("Signal `{}`", signal.kind)));
        }
        let mut source = self.source.lock().unwrap();
        source.signals.push(signal.clone());
        source.faults.pass("signal")?;
        self.wished = true;
        Ok(())
    }
}

struct MemoryWriter {
    destination: Shared<Destination>,
    start: WriterStart,
    lane: u32,
    fence: u64,
    /// With its number since the last flush.
    unflushed: Vec<i64>,
    rows: Vec<i64>,
    shapes: BTreeSet<u32>,
}

#[async_trait]
impl Writer for MemoryWriter {
    fn start(&self) -> WriterStart {
        self.start.clone()
    }

    async fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        assert!(self.shapes.insert(schema.id), "each has a number of its own");
        self.destination.lock().unwrap().shapes.push(schema.arrow.clone());
        Ok(())
    }

    async fn write(&mut self, rows: Rows) -> Result<()> {
        self.destination.lock().unwrap().faults.pass("write")?;
        assert!(self.shapes.contains(&rows.schema_id), "a shape comes before its rows");
        let values = rows.batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(values.null_count(), 0);
        self.unflushed.extend(values.values());
        Ok(())
    }

    async fn flush(&mut self) -> Result<FlushReport> {
        let mut destination = self.destination.lock().unwrap();
        destination.faults.pass("flush")?;
        let mut rejected = Vec::new();
        for (row, value) in self.unflushed.drain(..).enumerate() {
            if destination.refuse.contains(&value) {
                let (stream, reason) = (StreamId::named("t"), format!("{value} is not wanted"));
                rejected.push(RejectedRow {
                    stream,
                    row: row as u64,
                    kind: ErrorKind::ConstraintViolated,
                    reason,
                });
            } else {
                self.rows.push(value);
            }
        }
        Ok(FlushReport { rejected })
    }

    async fn commit(&mut self, token: &CommitToken) -> Result<()> {
        let mut destination = self.destination.lock().unwrap();
        destination.faults.pass("before commit")?;
        assert!(self.unflushed.is_empty(), "a flush comes before a commit");
        if destination.fence[&self.lane] != self.fence {
            return Err(Error::new(ErrorKind::Fenced, "Another writer took the lane"));
        }
        token.check_follows(destination.tokens.get(&self.lane))?;
        destination.rows.append(&mut self.rows);
        destination.tokens.insert(self.lane, token.clone());
        destination.commits += 1;
        destination.faults.pass("after commit")
    }

    async fn finish(&mut self, token: &CommitToken) -> Result<()> {
        let mut destination = self.destination.lock().unwrap();
        destination.faults.pass("before finish")?;
        token.check_follows(destination.tokens.get(&self.lane))?;
        if destination.stores_at_finish {
            destination.tokens.insert(self.lane, token.clone());
        }
        destination.finished.push(token.clone());
        destination.faults.pass("after finish")
    }
}
