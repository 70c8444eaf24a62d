use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use hub_plugin_api::{
    Budgets, Canceller, Connection, Error, ErrorKind, Event, OpenRequest, Plan, PlanRequest, Reader, Result,
    Split, Statement, StreamId, StreamSchema, types, types::Column,
};
use pollster::block_on;

use super::{
    EndpointSpec, Side, StopSignal,
    channel::{Channel, Doorbell, Item},
    endpoint::{Endpoint, Host, Purpose, strategy},
    reader::ReaderThread,
};

/// Bytes that may wait between a reader and whoever iterates.
const QUEUE_BYTES: u64 = 8 << 20;

/// How long a preview waits for rows of a source that has none at the moment.
const PREVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a wait for rows looks whether it was cancelled.
const NAP: Duration = Duration::from_millis(250);

static NEXT_READ: AtomicU64 = AtomicU64::new(0);

/// The batches of a source, read ahead on a thread of the hub's. Dropped early: the source is closed.
///
/// A row that the source rejects is an error here: there is nowhere to put it aside.
pub struct Batches {
    endpoint: Arc<Endpoint>,
    plan: Option<Arc<dyn Plan>>,
    waiting: Vec<Split>,
    finished: BTreeSet<String>,
    current: Option<(Option<String>, ReaderThread)>,
    /// What the plan made on the server goes when this is dropped.
    release: Option<String>,
    doorbell: Doorbell,
    peek: bool,
    budgets: Budgets,
    failed: bool,
}

impl Batches {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            plan: None,
            waiting: Vec::new(),
            finished: BTreeSet::new(),
            current: None,
            release: None,
            doorbell: Doorbell::default(),
            peek: false,
            budgets: Budgets::default(),
            failed: false,
        }
    }

    fn start(
        &mut self,
        split: Option<String>,
        what: &str,
        canceller: Canceller,
        open: impl FnOnce() -> Result<Box<dyn Reader>> + Send + 'static,
    ) {
        let channel = Channel::new(QUEUE_BYTES, self.doorbell.clone());
        let (supervisor, stop) = (&self.endpoint.resolved.supervisor, &self.endpoint.stop);
        self.current =
            Some((split, ReaderThread::start(supervisor, stop, what.into(), channel, canceller, open)));
    }

    /// Opens the next split whose predecessors are finished.
    fn open_next(&mut self) -> bool {
        let Some(plan) = self.plan.clone() else { return false };
        let is_ready = |split: &Split| split.after.iter().all(|id| self.finished.contains(id));
        let Some(index) = self.waiting.iter().position(is_ready) else { return false };
        let split = self.waiting.remove(index);
        let request =
            OpenRequest { split: split.clone(), position: None, budgets: self.budgets, peek: self.peek };
        let what = format!("read {}", split.id);
        self.start(Some(split.id), &what, plan.canceller(), move || block_on(plan.open(&request)));
        true
    }

    /// The next event other than the end of a split; `None` at the end of all, or at the deadline.
    fn next_event(&mut self, deadline: Option<Instant>) -> Result<Option<Event>> {
        loop {
            self.endpoint.stop.check()?;
            if self.current.is_none() && !self.open_next() {
                return Ok(None);
            }
            let Some((split, thread)) = &self.current else { return Ok(None) };
            let is_over = thread.is_finished();
            let nap = Instant::now() + NAP;
            match thread.channel.pop_until(deadline.map_or(nap, |deadline| deadline.min(nap))) {
                None if is_over => {
                    let closed = self.current.take().map_or(Ok(()), |(_, thread)| thread.close());
                    return Err(closed
                        .err()
                        .unwrap_or_else(|| Error::internal("A reader ended without a reason")));
                }
                None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => return Ok(None),
                None => {}
                Some((Item::Failed(error), _)) => return Err(self.endpoint.describe(error)),
                Some((Item::Event(Event::End), _)) => {
                    self.finished.extend(split.clone());
                    if let Some((_, thread)) = self.current.take() {
                        thread.close()?;
                    }
                }
                Some((Item::Event(Event::Rejected(rejected)), _)) => {
                    let reason = self.endpoint.masks.text(&rejected.reason);
                    let message = format!("The source refused a row of `{}`: {reason}", rejected.stream);
                    return Err(Error::new(ErrorKind::InvalidData, message));
                }
                Some((Item::Event(event), _)) => return Ok(Some(event)),
                // A read outside a pipeline is given none.
                Some((Item::Signalled(..), _)) => {}
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        loop {
            match self.next_event(None) {
                Ok(None) => return None,
                Ok(Some(Event::Rows(rows))) => return Some(Ok(rows.batch)),
                Ok(Some(Event::Schema(schema))) => {
                    if let Err(error) = columns(&schema) {
                        self.failed = true;
                        return Some(Err(error));
                    }
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if let Some((_, thread)) = self.current.take()
            && let Err(error) = thread.close()
        {
            tracing::warn!(%error, "A reader did not end well");
        }
        self.plan = None;
        if let Some(id) = self.release.take() {
            let released = self.endpoint.call("release", move |connection: Arc<dyn Connection>| async move {
                connection.release(&id).await
            });
            if let Err(error) = released {
                tracing::warn!(%error, "What a read made on the server could not be released");
            }
        }
    }
}

/// A statement's rows.
pub(crate) fn query(
    endpoint: &Arc<Endpoint>,
    statement: Statement,
    parameters: Option<RecordBatch>,
) -> Result<Batches> {
    let mut batches = Batches::new(endpoint);
    let connection = endpoint.connection()?;
    let canceller = connection.canceller();
    batches.start(None, "query", canceller, move || block_on(connection.query(&statement, parameters)));
    Ok(batches)
}

/// Everything that a strategy reads.
pub(crate) fn read(endpoint: &Arc<Endpoint>, spec: &EndpointSpec) -> Result<Batches> {
    let id = format!("read-{}-{}", std::process::id(), NEXT_READ.fetch_add(1, Ordering::Relaxed));
    let mut batches = Batches::new(endpoint);
    batches.release = Some(id.clone());
    batches.plan(spec, id, false)?;
    Ok(batches)
}

impl Batches {
    fn plan(&mut self, spec: &EndpointSpec, pipeline: String, peek: bool) -> Result<()> {
        let (strategy, options) = strategy(&self.endpoint.resolved.spec, spec, Side::Source)?;
        let request = PlanRequest {
            pipeline,
            generation: 1,
            run: 1,
            strategy: strategy.id.clone(),
            options,
            parallel: 1,
            start_at: None,
            carry: None,
            interrupted: None,
            peek,
        };
        let plan =
            self.endpoint.call("plan", move |connection| async move { connection.plan(&request).await })?;
        self.peek = peek;
        self.waiting = plan.description().splits;
        self.plan = Some(Arc::from(plan));
        Ok(())
    }
}

/// The first rows of a source, by stream and shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preview {
    /// In the order in which they came.
    pub streams: Vec<PreviewStream>,
    /// There are more rows.
    pub more: bool,
}

/// The first rows of one shape of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviewStream {
    /// The stream.
    pub stream: StreamId,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
    shape: u32,
}

/// The first `rows` rows of a source. Makes nothing on the server and consumes nothing.
pub(crate) fn preview(host: &Host, spec: &EndpointSpec, rows: u64) -> Result<Preview> {
    let stop = StopSignal::new();
    let purpose = Purpose::standalone(&stop);
    let named = (!spec.strategy.is_empty()).then_some(spec.strategy.as_str());
    let endpoint = Arc::new(host.connect(spec, named, &purpose)?);
    let mut batches = Batches::new(&endpoint);
    batches.budgets.max_batch_rows = rows.clamp(1, batches.budgets.max_batch_rows);
    batches.plan(spec, "preview".into(), true)?;
    collect(&mut batches, rows)
}

fn collect(batches: &mut Batches, mut left: u64) -> Result<Preview> {
    let mut preview = Preview::default();
    let deadline = Instant::now() + PREVIEW_TIMEOUT;
    while let Some(event) = batches.next_event(Some(deadline))? {
        match event {
            Event::Schema(schema) => preview.streams.push(PreviewStream {
                columns: columns(&schema)?,
                stream: schema.stream,
                shape: schema.id,
                batches: Vec::new(),
            }),
            Event::Rows(found) => {
                let count = (found.batch.num_rows() as u64).min(left);
                let into = preview
                    .streams
                    .iter_mut()
                    .rev()
                    .find(|one| one.stream == found.stream && one.shape == found.schema_id);
                let Some(into) = into else {
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        format!("The source sent rows of stream `{}` before their schema", found.stream),
                    ));
                };
                into.batches.push(found.batch.slice(0, usize::try_from(count).unwrap_or(usize::MAX)));
                left -= count;
                preview.more |= count < found.batch.num_rows() as u64;
                if preview.more {
                    break;
                }
            }
            _ => {}
        }
    }
    Ok(preview)
}

fn columns(schema: &StreamSchema) -> Result<Vec<Column>> {
    types::columns_of(&schema.arrow).map_err(|error| error.with_context("stream", &schema.stream))
}
