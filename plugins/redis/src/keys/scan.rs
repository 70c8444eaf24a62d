//! Finds keys and reads their values, page by page, ahead of whoever takes them.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use hub_plugin_api::{Level, Result};
use serde::{Deserialize, Serialize};
use tokio::{
    select,
    sync::mpsc::{Receiver, Sender, channel},
    try_join,
};

use super::{
    fetch::{Entry, Fetcher},
    options::KeysOptions,
    seen::Seen,
};
use crate::{
    cluster::{Master, slot_of},
    commands,
    config::Deployment,
    connection::{Server, Session},
    reply,
};

const DOING: &str = "Could not look for keys";
const TARGET: &str = "redis::keys";

/// Bytes of values that are asked for at once, as far as the last ones tell.
const PAGE_BYTES: usize = 512 << 10;
/// Keys whose values are asked for at once, at least, and the first time.
const LEAST_KEYS: usize = 16;
/// And at most.
const MOST_KEYS: usize = 256;
/// What SCAN brought waits for this many others: the server looks for keys while values are on their way.
const FOUND_AHEAD: usize = 2;
/// Questions for values that the server has before it is done with the first: it has work while answers are read.
const PAGES_AT_ONCE: usize = 6;
/// And where values are large, or nothing is known of them yet.
const LARGE_PAGES_AT_ONCE: usize = 2;

/// How far a split is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanPosition {
    /// Which processes have which slots: a cursor means something to the process that gave it, and to no other.
    /// Empty where that is not known.
    pub layout: String,
    /// How many of the keys that were named are done.
    pub keys: usize,
    /// How many masters are done.
    pub master: usize,
    /// The cursor of SCAN on the one after them.
    pub cursor: u64,
}

/// Some keys with their values.
#[derive(Debug)]
pub struct Page {
    /// In no order.
    pub entries: Vec<Entry>,
    /// Where reading goes on behind them; absent in the middle of what one cursor brought.
    pub position: Option<ScanPosition>,
}

/// Keys that one question of SCAN brought.
struct Found {
    keys: Vec<Vec<u8>>,
    /// Where looking goes on.
    behind: ScanPosition,
}

/// What is to be read.
pub struct Scan {
    /// Where.
    pub server: Server,
    /// What.
    pub options: KeysOptions,
    /// How.
    pub fetcher: Fetcher,
    /// Only keys of these slots.
    pub slots: Vec<(u16, u16)>,
    /// From here on.
    pub start: Option<ScanPosition>,
    /// The most keys that one question of SCAN is for.
    pub count: u64,
}

/// Those who have the keys, with sessions as they are needed.
struct Nodes {
    masters: Vec<Master>,
    sessions: Vec<Option<Session>>,
    layout: String,
}

impl Scan {
    /// Sends pages until all keys are through, or an error; ends early when nobody takes them any more.
    pub async fn run(self, sender: Sender<Result<Page>>) {
        if let Err(error) = self.pages(&sender).await {
            // Nobody waits for it when the reader is gone.
            drop(sender.send(Err(error)).await);
        }
    }

    async fn pages(&self, sender: &Sender<Result<Page>>) -> Result<()> {
        let mut seen = self.options.unique_keys.then(|| Seen::new(self.server.context()));
        let named: HashSet<&[u8]> = self.options.keys.iter().map(String::as_bytes).collect();
        let mut start = self.start.clone();
        loop {
            let mut nodes = self.nodes().await?;
            let at = match start.take() {
                Some(position) if !nodes.layout.is_empty() && position.layout == nodes.layout => position,
                Some(_) => {
                    let message = "The server was restarted or slots moved: all keys are read again";
                    self.server.context().log(Level::Warn, TARGET, message);
                    ScanPosition::default()
                }
                None => ScanPosition::default(),
            };
            let mut at = ScanPosition { layout: nodes.layout.clone(), ..at };
            while at.keys < self.options.keys.len() {
                let upto = self.options.keys.len().min(at.keys + MOST_KEYS);
                let keys: Vec<Vec<u8>> =
                    self.options.keys[at.keys..upto].iter().map(|key| key.clone().into_bytes()).collect();
                at.keys = upto;
                let mut entries = Vec::new();
                for master in 0..nodes.masters.len() {
                    let mut here = Vec::new();
                    for key in &keys {
                        let slot = self.is_cluster().then(|| slot_of(key));
                        let is_here =
                            slot.is_none_or(|slot| nodes.masters[master].has(slot) && self.takes(slot));
                        if is_here && new(&mut seen, key)? {
                            here.push(key.clone());
                        }
                    }
                    let session = nodes.session(&self.server, master).await?;
                    entries.extend(self.fetcher.fetch(session, here).await?);
                }
                if !send(sender, entries, Some(at.clone())).await {
                    return Ok(());
                }
            }
            while at.master < nodes.masters.len() && !self.options.patterns.is_empty() {
                let session = nodes.session(&self.server, at.master).await?.clone();
                let next = ScanPosition { master: at.master + 1, cursor: 0, ..at.clone() };
                let (finder, found) = channel(FOUND_AHEAD);
                let finding = self.find(session.clone(), at, &mut seen, &named, finder);
                let ((), is_taken) = try_join!(finding, self.read(session, found, sender))?;
                if !is_taken {
                    return Ok(());
                }
                at = next;
            }
            // Keys that moved while they were looked for may have been missed: all are looked for again. Those that
            // were handed over are known.
            if self.nodes().await?.layout == nodes.layout {
                return Ok(());
            }
        }
    }

    /// Looks for the keys of one master, ahead of whoever reads their values.
    async fn find(
        &self,
        mut session: Session,
        mut at: ScanPosition,
        seen: &mut Option<Seen>,
        named: &HashSet<&[u8]>,
        finder: Sender<Found>,
    ) -> Result<()> {
        let master = at.master;
        while at.master == master {
            let (cursor, keys) = self.scan(&mut session, at.cursor).await?;
            at.cursor = cursor;
            if cursor == 0 {
                at.master += 1;
            }
            let mut wanted = Vec::with_capacity(keys.len());
            for key in keys {
                if self.is_wanted(&key) && !named.contains(key.as_slice()) && new(seen, &key)? {
                    wanted.push(key);
                }
            }
            if finder.send(Found { keys: wanted, behind: at.clone() }).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Reads the values of what was found and hands them on; whether there is anybody who takes them.
    async fn read(
        &self,
        session: Session,
        mut found: Receiver<Found>,
        sender: &Sender<Result<Page>>,
    ) -> Result<bool> {
        let mut per_page = LEAST_KEYS;
        let mut rest: Option<Found> = None;
        let mut is_searched = false;
        let mut pages = FuturesOrdered::new();
        while !is_searched || !pages.is_empty() {
            let at_once = if per_page == MOST_KEYS { PAGES_AT_ONCE } else { LARGE_PAGES_AT_ONCE };
            if pages.len() < at_once
                && let Some(mut part) = rest.take()
            {
                let is_more = part.keys.len() > per_page;
                let later = if is_more { part.keys.split_off(per_page) } else { Vec::new() };
                let position = (!is_more).then(|| part.behind.clone());
                pages.push_back(self.page(session.clone(), part.keys, position));
                rest = is_more.then_some(Found { keys: later, behind: part.behind });
                continue;
            }
            select! {
                Some(page) = pages.next() => {
                    let (count, page) = page?;
                    let bytes: usize =
                        page.entries.iter().map(|entry| entry.content.bytes() + entry.key.len()).sum();
                    if count > 0 {
                        let fitting = PAGE_BYTES * count / bytes.max(1);
                        per_page = fitting.min(4 * per_page).clamp(LEAST_KEYS, MOST_KEYS);
                    }
                    if sender.send(Ok(page)).await.is_err() {
                        return Ok(false);
                    }
                }
                next = found.recv(), if rest.is_none() && !is_searched => match next {
                    Some(next) => rest = Some(next),
                    None => is_searched = true,
                },
            }
        }
        Ok(true)
    }

    async fn page(
        &self,
        mut session: Session,
        keys: Vec<Vec<u8>>,
        position: Option<ScanPosition>,
    ) -> Result<(usize, Page)> {
        let count = keys.len();
        Ok((count, Page { entries: self.fetcher.fetch(&mut session, keys).await?, position }))
    }

    fn is_cluster(&self) -> bool {
        self.server.settings().deployment == Deployment::Cluster
    }

    fn takes(&self, slot: u16) -> bool {
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }

    fn is_wanted(&self, key: &[u8]) -> bool {
        let patterns = &self.options.patterns;
        (patterns.len() < 2 || patterns.iter().any(|pattern| commands::matches(pattern.as_bytes(), key)))
            && (!self.is_cluster() || self.takes(slot_of(key)))
    }

    async fn scan(&self, session: &mut Session, cursor: u64) -> Result<(u64, Vec<Vec<u8>>)> {
        let is_typed = self.fetcher.together.as_ref().is_none_or(|together| together.are_others_many());
        let kind = self.options.kind().filter(|_| is_typed);
        let kind = kind.as_ref().map(|kind| kind.server_name());
        let command = commands::scan(cursor, self.options.scan_pattern(), self.count, kind);
        reply::cursor(DOING, session.call(DOING, &command).await?)
    }

    /// Who has keys of the split now.
    async fn nodes(&self) -> Result<Nodes> {
        let mut masters = self.server.masters().await?;
        masters.retain(|master| {
            let overlaps = |(first, last): &(u16, u16)| {
                self.slots.iter().any(|(low, high)| first.max(low) <= last.min(high))
            };
            master.slots.iter().any(overlaps)
        });
        let sessions = masters.iter().map(|_| None).collect();
        let mut nodes = Nodes { masters, sessions, layout: String::new() };
        let mut layout = Vec::new();
        for place in 0..nodes.masters.len() {
            let session = nodes.session(&self.server, place).await?;
            let info = session.call(DOING, redis::cmd("INFO").arg("server")).await;
            let info = match info {
                Ok(info) => reply::text(DOING, info)?,
                Err(error) if error.kind == hub_plugin_api::ErrorKind::PermissionDenied => return Ok(nodes),
                Err(error) => return Err(error),
            };
            let Some(process) = info.lines().find_map(|line| line.strip_prefix("run_id:")) else {
                return Ok(nodes);
            };
            layout.push(format!("{}{:?}", process.trim(), nodes.masters[place].slots));
        }
        nodes.layout = layout.join(" ");
        Ok(nodes)
    }
}

impl Nodes {
    async fn session(&mut self, server: &Server, place: usize) -> Result<&mut Session> {
        let session = match self.sessions[place].take() {
            Some(session) => session,
            None => server.node(&self.masters[place].address).await?,
        };
        Ok(self.sessions[place].insert(session))
    }
}

fn new(seen: &mut Option<Seen>, key: &[u8]) -> Result<bool> {
    seen.as_mut().map_or(Ok(true), |seen| seen.insert(key))
}

/// Whether there is anybody who takes it.
async fn send(sender: &Sender<Result<Page>>, entries: Vec<Entry>, position: Option<ScanPosition>) -> bool {
    sender.send(Ok(Page { entries, position })).await.is_ok()
}
