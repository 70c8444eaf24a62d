mod letters;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, mpsc::SyncSender},
    time::{Duration, Instant},
};

use arrow::datatypes::SchemaRef;
use hub_plugin_api::{
    CommitToken, Error, ErrorKind, Event, OpenRequest, Plan, Result, Rows, SplitProgress, StreamId,
    StreamSchema, Writer, types,
};
use pollster::block_on;

use super::{
    OnRejected, PipelineSpec, RunEvent, StopSignal,
    channel::{Channel, Doorbell, Item},
    dead_letters::DeadLetters,
    endpoint::Endpoint,
    lane_reader::{LaneReader, State},
    progress::{CommitCount, Progress},
    reader::ReaderThread,
    schedule::{Job, Schedule},
    signals::Signals,
};
use crate::store::{LaneState, SourceIdentity, Store};

/// How long a lane sleeps at most before it looks at the clock and the stop signal.
const NAP: Duration = Duration::from_millis(100);

/// How long a stopped run waits for its readers to reach a boundary, before it rolls back instead.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an ended split may hold its place while others wait for it.
const ENDED_WAIT: Duration = Duration::from_secs(1);

/// What all lanes of one attempt share.
pub(crate) struct Attempt {
    pub(crate) spec: PipelineSpec,
    pub(crate) generation: u64,
    pub(crate) run: u64,
    pub(crate) plan: Arc<dyn Plan>,
    pub(crate) source: Arc<Endpoint>,
    pub(crate) destination: Arc<Endpoint>,
    pub(crate) store: Arc<Store>,
    pub(crate) identity: SourceIdentity,
    pub(crate) schedule: Schedule,
    pub(crate) signals: Signals,
    pub(crate) stop: StopSignal,
    pub(crate) progress: Arc<Progress>,
    pub(crate) events: SyncSender<RunEvent>,
    /// Bytes that may wait between one reader and its lane.
    pub(crate) queue_bytes: u64,
}

impl Attempt {
    pub(crate) fn emit(&self, event: RunEvent) {
        // Nobody listens any more when the run gave this thread up.
        let _ = self.events.send(event);
    }
}

/// How a lane ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneEnd {
    Completed,
    Stopped,
}

/// One writer, and the readers whose rows it takes.
pub(crate) struct Lane {
    attempt: Arc<Attempt>,
    lane: u32,
    writer: Box<dyn Writer>,
    doorbell: Doorbell,
    readers: Vec<LaneReader>,
    closing: Vec<ReaderThread>,
    /// The last token that is durable.
    token: CommitToken,
    splits: BTreeMap<String, SplitProgress>,
    /// The last shape that the writer was told of each stream. Readers number theirs each for itself.
    shapes: HashMap<StreamId, (u32, SchemaRef)>,
    next_shape: u32,
    letters: DeadLetters,
    count: CommitCount,
    /// The destination has something to make durable.
    needs_commit: bool,
    must_commit: bool,
    last_commit: Instant,
}

impl Lane {
    /// A lane that goes on after `state`.
    pub(crate) fn new(
        attempt: Arc<Attempt>,
        lane: u32,
        writer: Box<dyn Writer>,
        state: LaneState,
        doorbell: Doorbell,
    ) -> Self {
        Self {
            attempt,
            lane,
            writer,
            doorbell,
            readers: Vec::new(),
            closing: Vec::new(),
            token: state.token,
            splits: state.splits,
            shapes: HashMap::new(),
            next_shape: 0,
            letters: DeadLetters::default(),
            count: CommitCount::default(),
            needs_commit: false,
            must_commit: false,
            last_commit: Instant::now(),
        }
    }

    /// Reads, writes and commits until every split of the plan is finished, or the run is stopped.
    pub(crate) fn run(mut self) -> Result<LaneEnd> {
        let result = self.move_rows();
        for reader in self.readers.drain(..) {
            self.closing.push(reader.thread);
        }
        self.closing.iter().for_each(|thread| thread.channel.close());
        if result.is_err() {
            self.closing.iter().for_each(ReaderThread::cancel);
            // Roll back first: a writer may hold locks that others wait for.
            drop(self.writer);
        }
        for thread in self.closing.drain(..) {
            match thread.close() {
                // Its call was cancelled right here, because something else failed.
                Err(error) if result.is_err() && error.kind == ErrorKind::Cancelled => {}
                Err(error) => tracing::warn!(%error, "A reader did not end well"),
                Ok(()) => {}
            }
        }
        result
    }

    fn move_rows(&mut self) -> Result<LaneEnd> {
        let attempt = Arc::clone(&self.attempt);
        if attempt.spec.on_rejected == OnRejected::DeadLetter {
            self.restore_letters()?;
        }
        let mut stopping_since = None;
        loop {
            attempt.stop.check()?;
            let stopping = attempt.stop.is_requested();
            if stopping && stopping_since.get_or_insert_with(Instant::now).elapsed() > DRAIN_TIMEOUT {
                attempt.emit(RunEvent::Warning {
                    message:
                        "No boundary was reached in time: what was read since the last commit is rolled back"
                            .into(),
                });
                return Ok(LaneEnd::Stopped);
            }
            self.closing.retain(|thread| !thread.is_finished());
            if !stopping && !self.is_due() {
                while let Some(job) = attempt.schedule.take(self.lane) {
                    self.open(job);
                }
            }
            if self.readers.is_empty() {
                if stopping {
                    return Ok(LaneEnd::Stopped);
                }
                if attempt.schedule.is_complete() {
                    self.finish()?;
                    return Ok(LaneEnd::Completed);
                }
                self.doorbell.wait(NAP);
                continue;
            }
            self.give_signals();
            let due = stopping || self.is_due();
            if due && self.readers.iter().all(LaneReader::can_commit) {
                self.commit()?;
                if stopping {
                    return Ok(LaneEnd::Stopped);
                }
                continue;
            }
            if !self.pull(due)? {
                self.doorbell.wait(NAP);
            }
        }
    }

    /// Readers of streams are given what the user wishes of them.
    fn give_signals(&self) {
        for reader in self.readers.iter().filter(|reader| !reader.split.bounded) {
            for (id, signal) in self.attempt.signals.take(&reader.split.id) {
                reader.thread.channel.signal(id, signal);
            }
        }
    }

    fn open(&mut self, job: Job) {
        let attempt = &self.attempt;
        let request = OpenRequest {
            split: job.split.clone(),
            position: job.progress.position.clone(),
            budgets: hub_plugin_api::Budgets::default(),
            peek: false,
        };
        let plan = Arc::clone(&attempt.plan);
        let thread = ReaderThread::start(
            &attempt.source.resolved.supervisor,
            &attempt.stop,
            format!("read {}", job.split.id),
            Channel::new(attempt.queue_bytes, self.doorbell.clone()),
            plan.canceller(),
            move || block_on(plan.open(&request)),
        );
        attempt.progress.opened(&job.split);
        attempt
            .emit(RunEvent::Opened { split: job.split.id.clone(), position: job.progress.position.clone() });
        self.readers.push(LaneReader::new(thread, job));
    }

    /// Whether a commit is due as soon as every reader stands at a boundary.
    fn is_due(&self) -> bool {
        let commit = &self.attempt.spec.commit;
        let elapsed = self.last_commit.elapsed();
        let ended = self.readers.iter().filter(|reader| reader.state == State::Ended).count();
        let has_news = self.needs_commit || self.readers.iter().any(|reader| reader.moved);
        self.must_commit
            || (ended > 0 && (ended == self.readers.len() || elapsed >= ENDED_WAIT))
            || (has_news && elapsed >= Duration::from_millis(commit.every_ms))
            || self.count.bytes >= commit.bytes
            || commit.rows.is_some_and(|rows| self.count.rows >= rows)
    }

    /// Takes one item of each reader; when a commit is due, only of those that do not yet stand at a boundary.
    fn pull(&mut self, due: bool) -> Result<bool> {
        let mut moved = false;
        for index in 0..self.readers.len() {
            let reader = &self.readers[index];
            if reader.state == State::Ended || (due && reader.can_commit()) {
                continue;
            }
            // Asked before the queue: what the thread handed over at last is taken first.
            let is_over = reader.thread.is_finished();
            let Some((item, bytes)) = reader.thread.channel.pop() else {
                if is_over {
                    return Err(self.reader_is_gone(index));
                }
                continue;
            };
            moved = true;
            let split = reader.split.id.clone();
            match item {
                Item::Event(event) => {
                    self.take(index, event, bytes).map_err(|error| error.with_context("split", split))?
                }
                Item::Signalled(id, Ok(())) => self.readers[index].take_signal(id),
                Item::Signalled(id, Err(error)) => {
                    self.attempt.refuse_signal(id, &self.attempt.source.describe(error))?
                }
                Item::Failed(error) => {
                    return Err(self.attempt.source.describe(error).with_context("split", split));
                }
            }
        }
        Ok(moved)
    }

    /// The error of a reader whose thread ended before its split did.
    fn reader_is_gone(&mut self, index: usize) -> Error {
        let reader = self.readers.remove(index);
        let error =
            reader.thread.close().err().unwrap_or_else(|| Error::internal("A reader ended without a reason"));
        self.attempt.source.describe(error).with_context("split", reader.split.id)
    }

    fn take(&mut self, index: usize, event: Event, bytes: u64) -> Result<()> {
        match event {
            Event::Schema(schema) => self.take_schema(index, schema),
            Event::Rows(rows) => self.take_rows(index, rows, bytes),
            Event::Truncate(streams) => {
                self.readers[index].state = State::Open;
                self.needs_commit = true;
                block_on(self.writer.truncate(&streams))
                    .map_err(|error| self.attempt.destination.describe(error))
            }
            Event::Rejected(rejected) => self.take_rejected(index, &rejected),
            Event::Boundary(boundary) => {
                self.must_commit |= self.readers[index].take_boundary(boundary);
                Ok(())
            }
            Event::End => {
                self.readers[index].take_end();
                Ok(())
            }
            Event::Idle => Ok(()),
            other => Err(Error::new(
                ErrorKind::Protocol,
                format!("The source sent an event that this hub does not know: `{}`", event_name(&other)),
            )
            .with_hint("Update the hub, or use an older version of the plugin")),
        }
    }

    fn take_schema(&mut self, index: usize, schema: StreamSchema) -> Result<()> {
        let at_stream = |error: Error| error.with_context("stream", &schema.stream);
        let columns = types::columns_of(&schema.arrow).map_err(at_stream)?;
        let shape = match self.shapes.get(&schema.stream) {
            Some((shape, arrow)) if *arrow == schema.arrow => *shape,
            // Also one that was there before: the destination has followed the last one since.
            _ => {
                let shape = self.next_shape;
                self.next_shape += 1;
                self.shapes.insert(schema.stream.clone(), (shape, Arc::clone(&schema.arrow)));
                let for_writer = StreamSchema { id: shape, ..schema.clone() };
                block_on(self.writer.schema(&for_writer))
                    .map_err(|error| at_stream(self.attempt.destination.describe(error)))?;
                self.needs_commit = true;
                self.attempt.emit(RunEvent::Schema {
                    split: self.readers[index].split.id.clone(),
                    stream: schema.stream.clone(),
                    columns,
                    change: schema.change.as_deref().map(|text| self.attempt.source.masks.text(text)),
                });
                shape
            }
        };
        self.readers[index].take_schema(&schema, shape)
    }

    fn take_rows(&mut self, index: usize, rows: Rows, bytes: u64) -> Result<()> {
        let reader = &mut self.readers[index];
        let schema_id = reader.shape_of(&rows)?;
        let count = rows.batch.num_rows() as u64;
        if count == 0 {
            return Ok(());
        }
        reader.state = State::Open;
        self.needs_commit = true;
        self.attempt.progress.read(&reader.split.id, count, bytes);
        let mut rows = Rows { schema_id, ..rows };
        let keep = self.attempt.spec.on_rejected == OnRejected::DeadLetter;
        let parked = if keep { self.park(&mut rows)? } else { 0 };
        self.count.rows += count - parked;
        self.count.bytes += bytes;
        *self.count.streams.entry(rows.stream.clone()).or_default() += count - parked;
        if parked == count {
            return Ok(());
        }
        if keep {
            self.letters.keep(&rows);
        }
        block_on(self.writer.write(rows)).map_err(|error| self.attempt.destination.describe(error))?;
        if keep && self.letters.wants_flush() {
            self.flush()?;
        }
        Ok(())
    }

    /// Every reader stands at a boundary: rows and token become durable, then the store learns the positions, and
    /// only then the source.
    fn commit(&mut self) -> Result<()> {
        let attempt = Arc::clone(&self.attempt);
        let mut splits = self.splits.clone();
        for reader in self.readers.iter().filter(|reader| reader.moved) {
            splits.insert(reader.split.id.clone(), reader.progress.clone());
        }
        if self.needs_commit {
            self.flush()?;
            let token = self.next_token(splits.clone());
            block_on(self.writer.commit(&token)).map_err(|error| attempt.destination.describe(error))?;
            self.token = token;
            self.letters.committed();
        }
        if self.needs_commit || splits != self.splits {
            let state = LaneState { token: self.token.clone(), splits: splits.clone() };
            attempt.store.save_lane(&attempt.spec.name, self.lane, &state, &attempt.identity)?;
            self.splits = splits;
        }
        if self.needs_commit {
            let count = std::mem::take(&mut self.count);
            attempt.progress.committed(&count);
            attempt.emit(RunEvent::Committed {
                lane: self.lane,
                n: self.token.n,
                rows: count.rows,
                bytes: count.bytes,
                splits: self.splits.clone(),
            });
        }
        (self.needs_commit, self.must_commit, self.last_commit) = (false, false, Instant::now());
        for mut reader in std::mem::take(&mut self.readers) {
            for id in reader.signals_held() {
                attempt.confirm_signal(id, &reader.split.id)?;
            }
            if let Some(number) = reader.take_acknowledgement() {
                reader.thread.channel.acknowledge(number);
            }
            if reader.state != State::Ended {
                self.readers.push(reader);
                continue;
            }
            attempt.progress.finished(&reader.split.id);
            reader.thread.channel.close();
            self.closing.push(reader.thread);
            attempt.schedule.finish(self.lane, &reader.split);
        }
        Ok(())
    }

    fn next_token(&self, splits: BTreeMap<String, SplitProgress>) -> CommitToken {
        CommitToken {
            pipeline: self.attempt.spec.name.clone(),
            lane: self.lane,
            generation: self.attempt.generation,
            run: self.attempt.run,
            n: self.token.n + 1,
            splits,
            applied_seq: None,
        }
    }

    /// All lanes are done. The store keeps the last commit's number: a writer that has nothing to do at the end does
    /// not store the token, and one that has is found one ahead.
    fn finish(&mut self) -> Result<()> {
        let token = self.next_token(self.splits.clone());
        block_on(self.writer.finish(&token)).map_err(|error| self.attempt.destination.describe(error))
    }
}

/// The variant's name, without its content.
fn event_name(event: &Event) -> String {
    let text = format!("{event:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}
