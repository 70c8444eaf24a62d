//! Hears every master, and follows who they are.
//!
//! Servers publish events once, to whoever listens then: what happens while nobody does is not told later.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use hub_plugin_api::{ErrorKind, Level, Result};
use tokio::{
    sync::mpsc::Sender,
    task::{JoinError, JoinSet},
    time,
};

use super::{options::KeyspaceOptions, publishing::Publishing};
use crate::{
    cluster::Master,
    connection::{Address, Server},
    keys::{Entry, KeysOptions, Scan, ScanFetch},
};

const TARGET: &str = "redis::keyspace";

/// Something that is to become a row.
#[derive(Debug)]
pub enum Heard {
    /// What happened to a key.
    Event {
        /// Where.
        node: Address,
        /// The event's name.
        event: String,
        /// The key.
        key: Vec<u8>,
    },
    /// A key that is there after an interruption.
    Found {
        /// What it holds.
        entry: Entry,
    },
    /// Nobody listened to a master for a while.
    Gap {
        /// Why, in words.
        reason: String,
    },
}

/// Listens until nobody takes what is heard.
pub struct Listener {
    /// Where.
    pub server: Server,
    /// To what.
    pub options: KeyspaceOptions,
    /// Takes what is heard.
    pub sender: Sender<Result<Heard>>,
    /// The most bytes of one value.
    pub max_value_bytes: u64,
    /// All keys are read first, because an earlier run ended some time ago.
    pub begins_with_gap: bool,
}

/// What became of reading all keys after a gap.
enum Reconciled {
    /// All were read, or that is not wanted.
    Done,
    /// Not all were read, for this reason.
    Failed(String),
    /// Nobody takes what is heard any more.
    Unheard,
}

/// A master that is listened to.
struct Ear {
    master: Master,
    task: tokio::task::AbortHandle,
}

impl Listener {
    /// Runs for as long as somebody takes what is heard.
    pub async fn run(self) {
        let mut ears: BTreeMap<Address, Ear> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut gap = self.begins_with_gap.then(|| "the run before ended".to_owned());
        let mut is_first = true;
        let mut failures = 0_u32;
        let mut publishing = Publishing::default();
        loop {
            match self.server.masters().await {
                Ok(masters) => {
                    failures = 0;
                    if let Err(error) = publishing.look(&self.server, &masters).await {
                        return drop(self.sender.send(Err(error)).await);
                    }
                    let changed = self.follow(&mut ears, &mut tasks, masters).await;
                    match changed {
                        Ok(false) => {}
                        Ok(true) => {
                            if !is_first {
                                gap.get_or_insert_with(|| "another node became master".to_owned());
                            }
                            is_first = false;
                        }
                        Err(error) if error.kind.is_retryable() => self.warn(error.to_string()),
                        Err(error) => return drop(self.sender.send(Err(error)).await),
                    }
                }
                Err(error) if error.kind.is_retryable() && failures < MOST_FAILURES => {
                    failures += 1;
                    self.warn(error.to_string());
                }
                Err(error) => return drop(self.sender.send(Err(error)).await),
            }
            // Only once all are listened to: what changes while the keys are read is heard.
            if !ears.is_empty()
                && let Some(reason) = gap.take()
            {
                match self.after_gap(reason).await {
                    Reconciled::Done => {}
                    // Once more at the next look: what was missed may be among the keys that were not read.
                    Reconciled::Failed(reason) => gap = Some(reason),
                    Reconciled::Unheard => return,
                }
            }
            let pause = time::sleep(Duration::from_millis(self.options.topology_ms));
            tokio::select! {
                () = pause => {}
                () = self.sender.closed() => return,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Some(reason) = forget(&mut ears, ended) {
                        self.warn(reason.clone());
                        gap.get_or_insert(reason);
                    }
                }
            }
        }
    }

    fn warn(&self, message: impl Into<String>) {
        self.server.context().log(Level::Warn, TARGET, message);
    }

    /// Listens to new masters, and no longer to nodes that are none; whether there was any of them.
    async fn follow(
        &self,
        ears: &mut BTreeMap<Address, Ear>,
        tasks: &mut JoinSet<(Address, String)>,
        masters: Vec<Master>,
    ) -> Result<bool> {
        let is_gone = |address: &Address| !masters.iter().any(|master| master.address == *address);
        let gone: Vec<Address> = ears.keys().filter(|address| is_gone(address)).cloned().collect();
        for address in gone {
            if let Some(ear) = ears.remove(&address) {
                ear.task.abort();
            }
        }
        let mut any = false;
        for master in masters {
            let address = master.address.clone();
            if let Some(ear) = ears.get_mut(&address) {
                // Slots that moved here were listened to where they were.
                ear.master = master;
                continue;
            }
            let mut subscriber = self.server.subscriber(&address).await?;
            let database = self.server.settings().database_index;
            for channel in self.options.channels(database) {
                subscriber.psubscribe(&channel).await.map_err(|error| {
                    crate::error::from_driver("Could not listen to the events of keys", &error)
                })?;
            }
            let (sender, node) = (self.sender.clone(), address.clone());
            let options = self.options.clone();
            let task = tasks.spawn(async move {
                let mut messages = subscriber.into_on_message();
                while let Some(message) = messages.next().await {
                    let key = message.get_payload_bytes().to_vec();
                    let channel = message.get_channel_name();
                    let event = channel.split_once("__:").map_or(channel, |(_, event)| event).to_owned();
                    if options.wants_key(&key) {
                        let heard = Heard::Event { node: node.clone(), event, key };
                        if sender.send(Ok(heard)).await.is_err() {
                            break;
                        }
                    }
                }
                let (host, port) = &node;
                let reason = format!("the session on `{host}` port `{port}` ended");
                (node, reason)
            });
            ears.insert(address, Ear { master, task });
            any = true;
        }
        Ok(any)
    }

    /// Tells of a gap, and reads all keys where that is wanted.
    async fn after_gap(&self, reason: String) -> Reconciled {
        if self.sender.send(Ok(Heard::Gap { reason })).await.is_err() {
            return Reconciled::Unheard;
        }
        if !self.options.reconcile {
            return Reconciled::Done;
        }
        let patterns = match self.options.patterns.as_slice() {
            [] => vec!["*".to_owned()],
            patterns => patterns.to_vec(),
        };
        let (pages, mut found) = tokio::sync::mpsc::channel(2);
        let scan = Scan {
            server: self.server.clone(),
            options: KeysOptions::of_patterns(patterns),
            fetcher: ScanFetch {
                only: None,
                filtered: false,
                ttl: true,
                together: None,
                max_value_bytes: self.max_value_bytes,
            },
            slots: vec![(0, crate::cluster::SLOTS - 1)],
            start: None,
            count: 1000,
        };
        let reading = tokio::spawn(scan.run(pages));
        while let Some(page) = found.recv().await {
            match page {
                Ok(page) => {
                    for entry in page.entries {
                        if self.sender.send(Ok(Heard::Found { entry })).await.is_err() {
                            reading.abort();
                            return Reconciled::Unheard;
                        }
                    }
                }
                Err(error) if error.kind.is_retryable() && error.kind != ErrorKind::TimedOut => {
                    return Reconciled::Failed(format!("not all keys were read: {error}"));
                }
                Err(error) => {
                    drop(self.sender.send(Err(error)).await);
                    return Reconciled::Unheard;
                }
            }
        }
        Reconciled::Done
    }
}

/// So many looks at who the masters are may fail one after another: an election takes some seconds.
const MOST_FAILURES: u32 = 60;

/// A session that ended by itself; nothing for one that was ended here.
fn forget(ears: &mut BTreeMap<Address, Ear>, ended: Result<(Address, String), JoinError>) -> Option<String> {
    let (address, reason) = ended.ok()?;
    ears.remove(&address).map(|ear| {
        let slots = ear.master.slots.len();
        format!("{reason}, which had {slots} ranges of slots")
    })
}
