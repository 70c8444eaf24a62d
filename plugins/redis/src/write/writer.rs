//! The writer of one lane.
//!
//! On one node everything up to a commit is one transaction: the lane's key is watched, then MULTI, then the commands as
//! they come, which the server keeps, and last the token and EXEC. A session that ends before has written nothing, and
//! one whose lane was taken writes nothing. In a cluster there are no transactions over nodes: there commands are carried
//! out as they come, and the token follows.

use std::collections::{HashMap, HashSet};

use hub_plugin_api::{
    CommitToken, Error, ErrorKind, FlushReport, Guarantee, RejectedRow, Result, Rows, StreamId, StreamSchema,
    Writer, WriterRequest, WriterStart, async_trait, changes::Changes,
};
use redis::{Cmd, Pipeline, Value};
use tokio::task::JoinHandle;

use super::{
    lane::Lane,
    options::WriteOptions,
    row::Batch,
    target::{Action, Target},
    template::{self, CommandTemplate},
};
use crate::{
    cluster::{Master, slot_of},
    config::Deployment,
    connection::{Server, Session},
    error, reply,
};

const DOING: &str = "Could not write the rows";
const COMMITTING: &str = "Could not commit the rows";
/// Bytes of commands that are sent at once.
const PART_BYTES: usize = 512 << 10;
/// Strings that one MSET sets.
const SET_KEYS: usize = 256;
/// How long replicas may take for a commit.
const WAIT_MS: u64 = 10_000;

/// A stream, what its rows become, and how many came since the last flush.
struct Stream {
    id: StreamId,
    target: Target,
    next_row: u64,
}

/// The commands of a row that has not been sent.
struct Waiting {
    stream: usize,
    row: u64,
    actions: Vec<Action>,
}

struct RedisWriter {
    session: Session,
    /// Asks for types while the transaction is open.
    side: Session,
    /// In a cluster, who has which slots.
    masters: Option<Vec<Master>>,
    options: WriteOptions,
    commands: Vec<CommandTemplate>,
    lane: Lane,
    start: WriterStart,
    streams: Vec<Stream>,
    by_stream: HashMap<StreamId, usize>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    in_transaction: bool,
    /// Commands that are on their way to the transaction; their answers are looked at later.
    sent: Option<JoinHandle<Result<()>>>,
    rejected: Vec<RejectedRow>,
    failed: bool,
}

/// Takes a lane.
///
/// # Errors
/// When the options do not fit, or the server refuses.
pub async fn writer(server: &Server, request: &WriterRequest) -> Result<Box<dyn Writer>> {
    let options = WriteOptions::read(&request.options)?;
    let commands = template::commands(&options.commands)?;
    let mut session = server.session().await?;
    let side = server.session().await?;
    let is_cluster = server.settings().deployment == Deployment::Cluster;
    let masters = if is_cluster { Some(server.masters().await?) } else { None };
    let lane = Lane::take(&mut session, request).await?;
    let idempotent = commands.is_empty() && options.kind.is_keyed();
    let (guarantee, reason) = if is_cluster {
        (
            Guarantee::AtLeastOnce,
            "A cluster has no transaction over its nodes: rows are there before the token is",
        )
    } else {
        (Guarantee::EffectivelyOnce, "Rows and commit token are stored by one transaction")
    };
    let start = WriterStart { last: lane.last().cloned(), guarantee, reason: reason.into(), idempotent };
    Ok(Box::new(RedisWriter {
        session,
        side,
        masters,
        options,
        commands,
        lane,
        start,
        streams: Vec::new(),
        by_stream: HashMap::new(),
        waiting: Vec::new(),
        waiting_bytes: 0,
        in_transaction: false,
        sent: None,
        rejected: Vec::new(),
        failed: false,
    }))
}

impl RedisWriter {
    fn take_schema(&mut self, schema: &StreamSchema) -> Result<()> {
        let target = Target::new(schema, &self.options, &self.commands)?;
        match self.by_stream.get(&schema.stream) {
            Some(place) => self.streams[*place].target = target,
            None => {
                self.by_stream.insert(schema.stream.clone(), self.streams.len());
                self.streams.push(Stream { id: schema.stream.clone(), target, next_row: 0 });
            }
        }
        Ok(())
    }

    async fn take_rows(&mut self, rows: Rows) -> Result<()> {
        let protocol = |message: String| Error::new(ErrorKind::Protocol, message);
        let Some(&place) = self.by_stream.get(&rows.stream) else {
            return Err(protocol(format!("Stream `{}` sent rows before its shape", rows.stream)));
        };
        let Stream { target, .. } = &self.streams[place];
        if target.schema_id != rows.schema_id {
            return Err(protocol(format!("Stream `{}` sent rows of shape {}", rows.stream, rows.schema_id)));
        }
        let changes = target.changes.then(|| Changes::of(&rows.batch)).transpose()?;
        let count = rows.batch.num_rows();
        for row in 0..count {
            let Stream { id, target, next_row } = &mut self.streams[place];
            let batch = Batch {
                rows: changes.as_ref().map_or(&rows.batch, Changes::rows),
                changes: changes.as_ref(),
                columns: &target.columns,
            };
            let number = *next_row;
            *next_row += 1;
            let mut actions = Vec::with_capacity(1);
            match target.actions(&batch, row, &mut actions) {
                Ok(()) => {
                    self.waiting_bytes += actions.iter().map(Action::bytes).sum::<usize>();
                    self.waiting.push(Waiting { stream: place, row: number, actions });
                }
                Err(refused) => self.rejected.push(RejectedRow {
                    stream: id.clone(),
                    row: number,
                    kind: refused.kind,
                    reason: refused.reason,
                }),
            }
            if self.waiting_bytes >= PART_BYTES {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Sends what waits. On one node it does not wait for the answers: the next part is made meanwhile.
    async fn send(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if waiting.is_empty() {
            return Ok(());
        }
        let wrong = self.wrong_types(&waiting).await?;
        let mut actions = Vec::with_capacity(waiting.len());
        for row in waiting {
            let conflict = row.actions.iter().find_map(|action| {
                let Action::Run { key, expects: Some(expects), .. } = action else { return None };
                let found = wrong.get(key).filter(|found| found != expects)?;
                let key = String::from_utf8_lossy(key);
                Some(format!("Key `{key}` holds a {found}, where a {expects} is to be written"))
            });
            match conflict {
                None => actions.extend(row.actions),
                Some(reason) => self.rejected.push(RejectedRow {
                    stream: self.streams[row.stream].id.clone(),
                    row: row.row,
                    kind: ErrorKind::ConstraintViolated,
                    reason,
                }),
            }
        }
        match &self.masters {
            Some(masters) => {
                for pipeline in by_node(masters, actions)? {
                    let (key, pipeline) = pipeline;
                    for answer in self.session.pipeline(DOING, &key, &pipeline).await? {
                        reply::checked(DOING, answer)?;
                    }
                }
                Ok(())
            }
            None => {
                self.begin().await?;
                self.settle_sent().await?;
                let pipeline = in_one(actions);
                let Session::Node(node) = &self.session else {
                    return Err(Error::internal("A session on one node is none"));
                };
                let mut session = Session::Node(node.clone());
                self.sent = Some(tokio::spawn(async move {
                    for answer in session.pipeline(DOING, b"", &pipeline).await? {
                        reply::checked(DOING, answer)?;
                    }
                    Ok(())
                }));
                Ok(())
            }
        }
    }

    async fn settle_sent(&mut self) -> Result<()> {
        match self.sent.as_mut() {
            None => Ok(()),
            Some(task) => {
                let result = task.await.map_err(|error| Error::internal("Sending ended").with_source(&error));
                self.sent = None;
                result?
            }
        }
    }

    /// The types of keys that are there, where a command is refused by any but one. The server finds that out only when
    /// the transaction is carried out, and takes nothing back then.
    async fn wrong_types(&mut self, waiting: &[Waiting]) -> Result<HashMap<Vec<u8>, String>> {
        let mut keys = HashSet::new();
        for action in waiting.iter().flat_map(|row| &row.actions) {
            if let Action::Run { key, expects: Some(_), .. } = action {
                keys.insert(key.as_slice());
            }
        }
        let mut found = HashMap::new();
        let mut groups: HashMap<usize, Vec<&[u8]>> = HashMap::new();
        for key in keys {
            let node = self.masters.as_ref().map_or(Ok(0), |masters| node_of(masters, key))?;
            groups.entry(node).or_default().push(key);
        }
        for keys in groups.into_values() {
            let mut pipeline = Pipeline::with_capacity(keys.len());
            keys.iter().for_each(|key| {
                pipeline.cmd("TYPE").arg(key);
            });
            let answers = self.side.pipeline(DOING, keys[0], &pipeline).await?;
            for (key, answer) in keys.into_iter().zip(answers) {
                let kind = reply::text(DOING, answer)?;
                if kind != "none" {
                    found.insert(key.to_vec(), kind);
                }
            }
        }
        Ok(found)
    }

    /// Opens the transaction unless it is open.
    async fn begin(&mut self) -> Result<()> {
        if !self.in_transaction {
            self.lane.watch(&mut self.session).await?;
            self.session.call("Could not begin a transaction", &redis::cmd("MULTI")).await?;
            self.in_transaction = true;
        }
        Ok(())
    }

    async fn flush_all(&mut self) -> Result<()> {
        self.send().await?;
        self.settle_sent().await
    }

    async fn commit_with(&mut self, token: &CommitToken) -> Result<()> {
        self.flush_all().await?;
        if let Some(first) = self.rejected.first() {
            return Err(Error::new(
                first.kind,
                format!("Rows were refused and not asked for: {}", first.reason),
            ));
        }
        let store = self.lane.store(token)?;
        if self.masters.is_some() {
            self.store_alone(&store).await?;
        } else {
            self.begin().await?;
            self.session.call(DOING, &store).await?;
            // One at a time, so that errors stay where they stand among the answers.
            let mut exec = Pipeline::new();
            exec.cmd("EXEC");
            let mut answers = self.session.pipeline(COMMITTING, b"", &exec).await?;
            let answers = reply::checked(COMMITTING, answers.pop().unwrap_or(Value::Nil))?;
            self.in_transaction = false;
            self.check_carried_out(answers)?;
        }
        self.wait_for_replicas().await?;
        self.lane.advance(token);
        Ok(())
    }

    /// The token by itself, on its own node, behind the rows. An earlier writer that is late may still have written rows.
    async fn store_alone(&mut self, store: &Cmd) -> Result<()> {
        let mut check = redis::cmd("HGET");
        check.arg(self.lane.key()).arg("fence");
        let fence = self.session.call(DOING, &check).await?;
        if reply::bytes(DOING, fence)?.as_deref() != Some(self.lane.fence().to_string().as_bytes()) {
            return Err(self.lane.fenced());
        }
        self.session.call(DOING, store).await.map(drop)
    }

    fn check_carried_out(&self, answers: Value) -> Result<()> {
        let answers = match answers {
            Value::Nil => return Err(self.lane.fenced()),
            answers => reply::items(DOING, answers)?,
        };
        let refused = answers.iter().filter_map(|answer| match answer {
            Value::ServerError(refusal) => Some(refusal),
            _ => None,
        });
        let refused: Vec<_> = refused.collect();
        let Some(first) = refused.first() else { return Ok(()) };
        let doing =
            format!("The transaction was carried out, but {} of its commands were refused", refused.len());
        Err(Error { kind: ErrorKind::InvalidData, ..error::from_answer(&doing, first) }.with_hint(
            "Redis takes nothing back: write those rows again once the keys are of the right type",
        ))
    }

    async fn wait_for_replicas(&mut self) -> Result<()> {
        let wanted = self.options.wait_replicas;
        if wanted == 0 {
            return Ok(());
        }
        let mut wait = redis::cmd("WAIT");
        wait.arg(wanted).arg(WAIT_MS);
        let have = reply::integer(DOING, self.session.call(DOING, &wait).await?)?;
        if have >= i64::from(wanted) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, format!("Only {have} of {wanted} replicas have the commit"))
            .with_field("wait_replicas"))
    }

    /// After an error nothing but a drop is accepted. Set first, so that a cancelled call counts as failed.
    fn guard(&mut self) -> Result<()> {
        if self.failed {
            return Err(Error::new(
                ErrorKind::Poisoned,
                "The writer failed before and accepts nothing any more",
            ));
        }
        self.failed = true;
        Ok(())
    }

    fn settled<T>(&mut self, result: Result<T>) -> Result<T> {
        self.failed = result.is_err();
        result
    }
}

impl Action {
    /// What it takes on the wire, about.
    fn bytes(&self) -> usize {
        match self {
            Self::Set { key, value } => key.len() + value.len() + 24,
            Self::Run { command, .. } => command
                .args_iter()
                .map(|argument| match argument {
                    redis::Arg::Simple(bytes) => bytes.len() + 12,
                    _ => 12,
                })
                .sum(),
        }
    }
}

/// Commands in their order; strings that follow each other are set together.
fn in_one(actions: Vec<Action>) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(actions.len().min(4096));
    let mut set: Option<(Cmd, usize)> = None;
    for action in actions {
        match action {
            Action::Set { key, value } => {
                let (command, keys) = set.get_or_insert_with(|| (redis::cmd("MSET"), 0));
                command.arg(key).arg(value);
                *keys += 1;
                if *keys == SET_KEYS {
                    set.take().into_iter().for_each(|(command, _)| {
                        pipeline.add_command(command);
                    });
                }
            }
            Action::Run { command, .. } => {
                set.take().into_iter().for_each(|(command, _)| {
                    pipeline.add_command(command);
                });
                pipeline.add_command(command);
            }
        }
    }
    set.into_iter().for_each(|(command, _)| {
        pipeline.add_command(command);
    });
    pipeline
}

/// Commands by the node that has their key, each node's in their order.
fn by_node(masters: &[Master], actions: Vec<Action>) -> Result<Vec<(Vec<u8>, Pipeline)>> {
    let mut nodes: HashMap<usize, (Vec<u8>, Pipeline)> = HashMap::new();
    for action in actions {
        let (key, command) = match action {
            Action::Set { key, value } => {
                let mut command = redis::cmd("SET");
                command.arg(&key).arg(value);
                (key, command)
            }
            Action::Run { key, command, .. } => (key, command),
        };
        let node = node_of(masters, &key)?;
        nodes.entry(node).or_insert_with(|| (key, Pipeline::new())).1.add_command(command);
    }
    Ok(nodes.into_values().collect())
}

fn node_of(masters: &[Master], key: &[u8]) -> Result<usize> {
    let slot = slot_of(key);
    masters.iter().position(|master| master.has(slot)).ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("Slot {slot} of the cluster has no master"))
    })
}

#[async_trait]
impl Writer for RedisWriter {
    fn start(&self) -> WriterStart {
        self.start.clone()
    }

    async fn schema(&mut self, schema: &StreamSchema) -> Result<()> {
        self.guard()?;
        let result = self.take_schema(schema);
        self.settled(result)
    }

    async fn write(&mut self, rows: Rows) -> Result<()> {
        self.guard()?;
        let result = self.take_rows(rows).await;
        self.settled(result)
    }

    async fn flush(&mut self) -> Result<FlushReport> {
        self.guard()?;
        let result = self.flush_all().await;
        self.settled(result)?;
        for stream in &mut self.streams {
            stream.next_row = 0;
        }
        let mut rejected = std::mem::take(&mut self.rejected);
        rejected.sort_by(|a, b| (&a.stream, a.row).cmp(&(&b.stream, b.row)));
        Ok(FlushReport { rejected })
    }

    async fn commit(&mut self, token: &CommitToken) -> Result<()> {
        self.guard()?;
        let result = self.commit_with(token).await;
        self.settled(result)
    }
}

impl Drop for RedisWriter {
    fn drop(&mut self) {
        // It holds the session: the server forgets the transaction when that ends.
        if let Some(task) = &self.sent {
            task.abort();
        }
    }
}
