//! From messages to events: transactions are collected into windows, and each window becomes one batch a table.
//!
//! A stream that has no changes of its own goes on all the same: the server's keep-alives say how far it has read for us,
//! a boundary takes that to the destination, and the slot follows what is durable there. So no message need be written
//! into the WAL for it, which a standby could not do, and which takes a right that a role may lack.

mod hand_over;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Budgets, Context, Error, ErrorKind, Event, Level, Result, Rows, arrow::array::RecordBatch, changes::Op,
};
use serde::{Deserialize, Serialize};

use super::{
    convert::{Converter, OwnedValue},
    lsn::Lsn,
    message::{self, Image, Message, Relation, Tuple},
    position::{StreamPosition, VERSION},
    spill::{Replay, Spills},
    table::TableShape,
    window::{Stamp, Window},
};
use crate::sql::wal;

/// How often a stream without changes of its own says how far it is.
const IDLE_BOUNDARY: Duration = Duration::from_secs(1);

/// A table that is wanted, by its OID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Changes of transactions that were committed before this place are in the table's snapshot.
    pub from: Lsn,
}

/// What has to happen before the next message.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Continue,
    /// The table's columns must be looked up.
    Describe(Relation),
    /// What waits must be handed over.
    HandOver,
    /// What waits must be handed over, then tables were emptied.
    Empty(Vec<u32>),
    /// A transaction that was kept in a file is to be read.
    Replay,
    /// Everything in front of a barrier has come: what waits must be handed over, then what the barrier is for.
    Barrier,
}

struct Table {
    shape: Arc<TableShape>,
    schema_id: u32,
    from: Lsn,
    announced: bool,
    window: Option<Window>,
    /// Changes with values that the server must convert first.
    pending: Vec<Pending>,
    pending_bytes: usize,
    /// The number of the first change that waits.
    first: u64,
}

struct Pending {
    stamp: Stamp,
    old: Option<(Image, Vec<OwnedValue>)>,
    new: Option<Vec<OwnedValue>>,
}

#[derive(Clone, Copy)]
struct Transaction {
    commit_lsn: Lsn,
    time: i64,
}

/// The state of a stream.
pub struct Decoder {
    context: Context,
    budgets: Budgets,
    wanted: HashMap<u32, Wanted>,
    tables: HashMap<u32, Table>,
    /// Published tables that nobody wants: their names, until that was said. Partitions whose changes come under the
    /// name of their root are described as well.
    unwanted: HashMap<u32, Option<String>>,
    converter: Converter,
    spills: Spills,
    replay: Option<(Replay, Lsn)>,
    transaction: Option<Transaction>,
    /// The transaction of which a part is coming.
    streaming: Option<u32>,
    ready: VecDeque<Event>,
    seq: u64,
    /// Changes that wait, and their bytes.
    waiting: (u64, usize),
    /// When the first change since the last boundary came.
    first_change: Option<Instant>,
    /// Behind the last complete transaction.
    complete: Lsn,
    /// The last boundary.
    boundary: (u64, Lsn, Instant),
    shapes: u32,
    /// No change of a transaction that was committed behind this place goes past it.
    barrier: Option<Lsn>,
    /// For the position: tables whose rows are still to be read.
    snapshots: Vec<wal::Table>,
    /// The next boundary must come although the stream has not moved.
    owes_boundary: bool,
}

impl Decoder {
    /// A stream that goes on at a position.
    pub fn new(
        context: &Context,
        budgets: Budgets,
        wanted: HashMap<u32, Wanted>,
        at: StreamPosition,
    ) -> Self {
        Self {
            context: context.clone(),
            budgets,
            wanted,
            tables: HashMap::new(),
            unwanted: HashMap::new(),
            converter: Converter::default(),
            spills: Spills::new(context),
            replay: None,
            transaction: None,
            streaming: None,
            ready: VecDeque::new(),
            seq: at.seq,
            waiting: (0, 0),
            first_change: None,
            complete: at.lsn,
            boundary: (0, at.lsn, Instant::now()),
            shapes: 0,
            barrier: None,
            snapshots: at.snapshots,
            owes_boundary: false,
        }
    }

    /// The table whose rows are to be read next.
    pub fn first_snapshot(&self) -> Option<&wal::Table> {
        self.snapshots.first()
    }

    /// Adds tables whose rows are to be read: from now on every position names them, also one that waits to be handed
    /// over.
    ///
    /// # Errors
    /// When a position cannot be written.
    pub fn add_snapshots(&mut self, mut tables: Vec<wal::Table>) -> Result<()> {
        tables.retain(|table| !self.snapshots.contains(table));
        self.snapshots.append(&mut tables);
        for event in &mut self.ready {
            let Event::Boundary(boundary) = event else { continue };
            if let Some(position) = &boundary.position {
                let at = position.read::<StreamPosition>(VERSION)?;
                let at = StreamPosition { snapshots: self.snapshots.clone(), ..at };
                boundary.position = Some(at.to_position()?);
            }
        }
        self.owes_boundary = true;
        Ok(())
    }

    /// The rows of the first of those tables were all handed over, or are not to be had.
    pub fn end_snapshot(&mut self) {
        self.snapshots.remove(0);
    }

    /// Sets the place that no change goes past, or takes it away.
    pub fn set_barrier(&mut self, barrier: Option<Lsn>) {
        self.barrier = barrier;
    }

    fn is_behind_barrier(&self, place: Lsn) -> bool {
        self.barrier.is_some_and(|barrier| place >= barrier)
    }

    /// The tables that are captured.
    pub fn captured(&self) -> impl Iterator<Item = wal::Table> {
        self.wanted.values().map(|one| (one.schema.clone(), one.name.clone()))
    }

    /// The next event that is complete.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Whether there is an event to hand over.
    pub fn has_events(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether a file is to be read before the next message.
    pub fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// The last boundary's number and place.
    pub fn last_boundary(&self) -> (u64, Lsn) {
        (self.boundary.0, self.boundary.1)
    }

    /// How long the changes that wait may still do so; none when there are none.
    pub fn patience(&self) -> Option<Duration> {
        let delay = Duration::from_millis(self.budgets.max_delay_ms);
        if self.waiting.0 == 0 && !self.is_between() {
            return None;
        }
        self.first_change.map(|since| delay.saturating_sub(since.elapsed()))
    }

    /// Whether the stream stands between two transactions.
    pub fn is_between(&self) -> bool {
        self.transaction.is_none() && self.replay.is_none()
    }

    /// Takes a message of pgoutput's.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when it is not as documented, [`ErrorKind::InvalidData`] for a value that cannot be
    /// carried.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Step> {
        let (part, message) = message::parse(bytes, self.streaming.is_some())?;
        if let Some(xid) = self.streaming {
            match message {
                Message::StreamStop => self.streaming = None,
                Message::Other => {}
                _ => self.spills.keep(xid, part.unwrap_or(xid), bytes)?,
            }
            return Ok(Step::Continue);
        }
        match message {
            Message::Begin { commit_lsn, time } => {
                self.transaction = Some(Transaction { commit_lsn, time });
                Ok(if self.is_behind_barrier(commit_lsn) { Step::Barrier } else { Step::Continue })
            }
            Message::Commit { end_lsn } => {
                self.end_transaction(end_lsn);
                Ok(if self.is_due() { Step::HandOver } else { Step::Continue })
            }
            Message::StreamStart { xid } => {
                self.streaming = Some(xid);
                Ok(Step::Continue)
            }
            Message::StreamAbort { xid, subtransaction } => {
                self.spills.abort(xid, subtransaction);
                Ok(Step::Continue)
            }
            Message::StreamCommit { xid, commit_lsn, end_lsn, time } => {
                let Some(replay) = self.spills.commit(xid)? else {
                    self.end_transaction(end_lsn);
                    return Ok(Step::Continue);
                };
                self.transaction = Some(Transaction { commit_lsn, time });
                self.replay = Some((replay, end_lsn));
                Ok(if self.is_behind_barrier(commit_lsn) { Step::Barrier } else { Step::Replay })
            }
            change => self.change(change),
        }
    }

    /// Takes messages of the file until something has to happen, or the end of its transaction.
    ///
    /// # Errors
    /// As [`Decoder::take`].
    pub fn replay(&mut self) -> Result<Step> {
        let Some((mut replay, end)) = self.replay.take() else { return Ok(Step::Continue) };
        while let Some(bytes) = replay.next()? {
            let (_, message) = message::parse(bytes, true)?;
            let step = self.change(message)?;
            if !matches!(step, Step::Continue) {
                self.replay = Some((replay, end));
                return Ok(step);
            }
        }
        self.end_transaction(end);
        Ok(if self.is_due() { Step::HandOver } else { Step::Continue })
    }

    /// The server has sent everything up to `end`.
    pub fn keep_alive(&mut self, end: Lsn) -> Step {
        if !self.is_between() || self.streaming.is_some() {
            return Step::Continue;
        }
        self.complete = self.complete.max(end);
        if self.is_behind_barrier(end) { Step::Barrier } else { Step::Continue }
    }

    /// Rows of a table that are read in the middle of the stream, numbered as `seq` and on.
    ///
    /// # Errors
    /// When the position cannot be written.
    pub fn push_snapshot(&mut self, oid: u32, batch: RecordBatch) -> Result<()> {
        self.announce(oid, None);
        let Some(table) = self.tables.get(&oid) else {
            return Err(Error::internal("Rows came of a table that was not described"));
        };
        self.seq += batch.num_rows() as u64;
        let (stream, schema_id) = (table.shape.stream.clone(), table.schema_id);
        self.ready.push_back(Event::Rows(Rows { stream, schema_id, batch }));
        self.push_boundary()
    }

    /// The number of the last change.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// A table by its OID, where it is captured.
    pub fn wanted(&self, oid: u32) -> Option<&Wanted> {
        self.wanted.get(&oid)
    }

    /// Whether a table's shape is known as it is.
    pub fn knows(&self, relation: &Relation) -> bool {
        self.tables.get(&relation.oid).is_some_and(|table| table.shape.relation == *relation)
    }

    /// Says how far the stream is when there is nothing else to say; at once when the server waits for it, as it does
    /// when it shuts down.
    ///
    /// # Errors
    /// When the position cannot be written.
    pub fn idle(&mut self, is_awaited: bool) -> Result<()> {
        let is_time = is_awaited || self.boundary.2.elapsed() >= IDLE_BOUNDARY;
        let moved = self.complete > self.boundary.1;
        let is_due = (moved && is_time) || self.owes_boundary;
        if is_due && self.first_change.is_none() && self.ready.is_empty() && self.is_between() {
            self.push_boundary()?;
        }
        Ok(())
    }

    fn end_transaction(&mut self, end: Lsn) {
        self.transaction = None;
        self.complete = self.complete.max(end);
    }

    fn change(&mut self, message: Message<'_>) -> Result<Step> {
        match message {
            Message::Relation(relation) => return self.relation(relation),
            Message::Insert { relation, new } => self.row(relation, Op::Insert, None, Some(new))?,
            Message::Update { relation, old, new } => self.row(relation, Op::Update, old, Some(new))?,
            Message::Delete { relation, old } => self.row(relation, Op::Delete, Some(old), None)?,
            Message::Truncate { relations } => {
                let wanted = relations.into_iter().filter(|oid| self.applies(*oid)).collect::<Vec<_>>();
                return Ok(if wanted.is_empty() { Step::Continue } else { Step::Empty(wanted) });
            }
            Message::Other => {}
            other => {
                return Err(Error::new(
                    ErrorKind::Protocol,
                    format!("The change stream holds a message in a place where it cannot be: `{other:?}`"),
                ));
            }
        }
        let full =
            self.waiting.1 as u64 >= self.most_bytes() || self.waiting.0 >= self.budgets.max_batch_rows;
        Ok(if full { Step::HandOver } else { Step::Continue })
    }

    /// Batches of all tables together: a window of the writer holds all of them.
    fn most_bytes(&self) -> u64 {
        (self.budgets.max_batch_bytes / 2).max(1)
    }

    fn is_due(&self) -> bool {
        self.patience() == Some(Duration::ZERO)
            || self.waiting.1 as u64 >= self.most_bytes()
            || self.waiting.0 >= self.budgets.max_batch_rows
    }

    fn relation(&mut self, relation: Relation) -> Result<Step> {
        if !self.wanted.contains_key(&relation.oid) {
            let name = format!("{}.{}", relation.schema, relation.name);
            self.unwanted.entry(relation.oid).or_insert(Some(name));
            return Ok(Step::Continue);
        }
        Ok(if self.knows(&relation) { Step::Continue } else { Step::Describe(relation) })
    }

    /// Whether changes of a table in this transaction are wanted.
    fn applies(&self, oid: u32) -> bool {
        let Some(table) = self.tables.get(&oid) else { return false };
        self.transaction.is_some_and(|transaction| transaction.commit_lsn >= table.from)
    }

    fn row(
        &mut self,
        oid: u32,
        op: Op,
        old: Option<(Image, Tuple<'_>)>,
        new: Option<Tuple<'_>>,
    ) -> Result<()> {
        let Some(transaction) = self.transaction else {
            return Err(Error::new(ErrorKind::Protocol, "A change came outside a transaction"));
        };
        let Some(table) = self.tables.get_mut(&oid) else {
            if let Some(name) = self.unwanted.get_mut(&oid) {
                if let Some(name) = name.take() {
                    let message = format!(
                        "Table `{name}` is published and not part of the plan: its changes are left out until a run is \
                         planned anew"
                    );
                    self.context.log(Level::Warn, "postgres", message);
                }
                return Ok(());
            }
            return Err(Error::new(ErrorKind::Protocol, "A change came before its table was described"));
        };
        if transaction.commit_lsn < table.from {
            return Ok(());
        }
        self.seq += 1;
        let stamp = Stamp { op, time: Some(transaction.time), seq: self.seq };
        let before = table.bytes();
        if table.pending.is_empty() && table.window.as_ref().is_none_or(|window| window.len() == 0) {
            table.first = self.seq;
        }
        if table.shape.needs_conversion() {
            let owned = |tuple: Tuple<'_>| tuple.values().map(OwnedValue::from).collect::<Vec<_>>();
            let pending =
                Pending { stamp, old: old.map(|(image, old)| (image, owned(old))), new: new.map(owned) };
            let values = pending.old.iter().flat_map(|(_, old)| old).chain(pending.new.iter().flatten());
            table.pending_bytes += values.map(|value| value.len() + 32).sum::<usize>() + 96;
            table.pending.push(pending);
        } else {
            let old = old.map(|(image, old)| (image, old.values().collect::<Vec<_>>()));
            let new = new.map(|new| new.values().collect::<Vec<_>>());
            let old = old.as_ref().map(|(image, old)| (*image, old.as_slice()));
            let shape = &table.shape;
            let window = match &mut table.window {
                Some(window) => window,
                none => none.insert(Window::new(Arc::clone(shape), self.budgets.max_value_bytes)?),
            };
            window
                .push(stamp, old, new.as_deref())
                .map_err(|error| error.with_context("table", &table.shape.stream))?;
        }
        self.waiting.0 += 1;
        self.waiting.1 += table.bytes() - before;
        self.first_change.get_or_insert_with(Instant::now);
        Ok(())
    }
}
