use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Boundary, Budgets, Event, Level, Position, Reader, Rejected, Result, Rows, StreamId, StreamSchema,
    async_trait,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::{Receiver, channel},
    task::JoinHandle,
    time,
};

use super::{
    listen::{Heard, Listener},
    options::KeyspaceOptions,
    rows::{Happened, KeyspaceRows, payload},
};
use crate::{
    cluster::slot_of,
    connection::{Address, Server, Session},
    keys::{Entry, ScanFetch},
};

/// Version of the position.
pub const POSITION: u32 = 1;
/// Events that wait for whoever takes them; beyond them the server's own buffer fills.
const EVENTS_AHEAD: usize = 10_000;
const TARGET: &str = "redis::keyspace";

/// Says only that there was an earlier run: events cannot be asked for again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyspacePosition {
    /// Events of all runs.
    pub events: u64,
}

/// Starts listening.
pub fn start(
    server: Server,
    options: KeyspaceOptions,
    position: Option<KeyspacePosition>,
    budgets: Budgets,
) -> Box<dyn Reader> {
    let (sender, heard) = channel(EVENTS_AHEAD);
    let listener = Listener {
        server: server.clone(),
        options: options.clone(),
        sender,
        max_value_bytes: budgets.max_value_bytes,
        begins_with_gap: position.is_some(),
    };
    Box::new(KeyspaceReader {
        task: tokio::spawn(listener.run()),
        heard,
        server,
        sessions: BTreeMap::new(),
        rows: KeyspaceRows::new(&options),
        stream: StreamId::named(&options.stream),
        options,
        budgets,
        events: position.map_or(0, |position| position.events),
        boundaries: 0,
        queue: VecDeque::new(),
        is_opened: false,
    })
}

struct KeyspaceReader {
    task: JoinHandle<()>,
    heard: Receiver<Result<Heard>>,
    server: Server,
    /// For values, by node.
    sessions: BTreeMap<Address, Session>,
    rows: KeyspaceRows,
    stream: StreamId,
    options: KeyspaceOptions,
    budgets: Budgets,
    events: u64,
    boundaries: u64,
    queue: VecDeque<Event>,
    is_opened: bool,
}

impl KeyspaceReader {
    /// Makes rows of what was heard, and reads what the keys hold where that is wanted.
    async fn take(&mut self, heard: Vec<Heard>) -> Result<()> {
        let values = self.values(&heard).await?;
        for one in heard {
            let happened = match one {
                Heard::Event { node, event, key } => Happened {
                    entry: values.get(&key).cloned(),
                    node: Some(format!("{}:{}", node.0, node.1)),
                    event,
                    key,
                },
                Heard::Found { entry } => Happened {
                    event: "reconcile".into(),
                    key: entry.key.clone(),
                    node: None,
                    entry: Some(entry),
                },
                Heard::Gap { reason } => {
                    let message = format!("Events may have been missed, because {reason}");
                    self.server.context().log(Level::Warn, TARGET, message);
                    continue;
                }
            };
            self.events += 1;
            if let Err(reason) = self.rows.push(&happened) {
                let rejected = Rejected { stream: self.stream.clone(), payload: payload(&happened), reason };
                self.queue.push_back(Event::Rejected(rejected));
            }
            let is_full = self.rows.rows() as u64 >= self.budgets.max_batch_rows
                || self.rows.bytes() as u64 >= self.budgets.max_batch_bytes;
            if is_full {
                self.take_rows()?;
            }
        }
        self.take_rows()?;
        if !self.queue.is_empty() {
            self.boundaries += 1;
            let position = Position::new(POSITION, &KeyspacePosition { events: self.events })?;
            self.queue.push_back(Event::Boundary(Boundary::at(self.boundaries, position)));
        }
        Ok(())
    }

    fn take_rows(&mut self) -> Result<()> {
        if self.rows.rows() > 0 {
            let batch = self.rows.take()?;
            self.queue.push_back(Event::Rows(Rows { stream: self.stream.clone(), schema_id: 0, batch }));
        }
        Ok(())
    }

    /// What the keys hold now.
    async fn values(&mut self, heard: &[Heard]) -> Result<std::collections::HashMap<Vec<u8>, Entry>> {
        let mut values = std::collections::HashMap::new();
        if !self.options.fetch_value {
            return Ok(values);
        }
        let fetcher = ScanFetch {
            only: None,
            filtered: false,
            ttl: true,
            together: None,
            max_value_bytes: self.budgets.max_value_bytes,
        };
        let mut keys: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
        for one in heard {
            if let Heard::Event { key, .. } = one {
                keys.insert(key.clone(), ());
            }
        }
        if keys.is_empty() {
            return Ok(values);
        }
        // A node that said so may not have the key any more.
        let masters = self.server.masters().await?;
        for master in masters {
            let here: Vec<Vec<u8>> = keys.keys().filter(|key| master.has(slot_of(key))).cloned().collect();
            if here.is_empty() {
                continue;
            }
            let mut session = match self.sessions.remove(&master.address) {
                Some(session) => session,
                None => self.server.node(&master.address).await?,
            };
            for entry in fetcher.fetch(&mut session, here).await? {
                values.insert(entry.key.clone(), entry);
            }
            self.sessions.insert(master.address, session);
        }
        Ok(values)
    }
}

#[async_trait]
impl Reader for KeyspaceReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        if !self.is_opened {
            self.is_opened = true;
            return Ok(Event::Schema(StreamSchema::new(self.stream.clone(), 0, self.rows.schema())));
        }
        let deadline = Instant::now() + max_wait;
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut heard = Vec::new();
            let most = usize::try_from(self.budgets.max_batch_rows).unwrap_or(usize::MAX).clamp(1, 1000);
            match time::timeout(left, self.heard.recv()).await {
                Ok(Some(first)) => heard.push(first?),
                // The listener ends only with an error, which came before.
                Ok(None) | Err(_) => return Ok(Event::Idle),
            }
            while heard.len() < most
                && let Ok(more) = self.heard.try_recv()
            {
                heard.push(more?);
            }
            self.take(heard).await?;
        }
    }
}

impl Drop for KeyspaceReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
