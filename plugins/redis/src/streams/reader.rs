//! Follows streams. With a group, in this order: what this consumer was given before and has not acknowledged, what
//! others have left lying, and what is new.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::{Duration, Instant},
};

use hub_plugin_api::{Boundary, Budgets, Event, Level, Position, Reader, Result, async_trait};
use tokio::time;

use super::{
    group::{self, Entry, Group},
    id::EntryId,
    options::StreamsOptions,
    position::{POSITION, StreamPosition, StreamsPosition},
    rows::{Limits, StreamRows},
    trimmed::{self, Delivered, Known},
};
use crate::{
    config::Deployment,
    connection::{Server, Session},
};

const TARGET: &str = "redis::streams";
/// How often a cluster's streams, which are on several nodes, are asked for new entries.
const POLL: Duration = Duration::from_millis(50);
/// How often entries of other consumers are looked for, at most.
const LEAST_CLAIM_INTERVAL: Duration = Duration::from_millis(500);

/// What a reader is to do.
pub struct Setup {
    /// Where.
    pub server: Server,
    /// What.
    pub options: StreamsOptions,
    /// As whom.
    pub group: Option<Group>,
    /// From where on.
    pub position: StreamsPosition,
    /// How much may be collected.
    pub budgets: Budgets,
}

/// Starts reading.
///
/// # Errors
/// When no session can be opened.
pub async fn open(mut setup: Setup) -> Result<Box<dyn Reader>> {
    let mut session = setup.server.session().await?;
    find_groups(&mut session, &mut setup).await?;
    let rows = setup.options.streams.iter().map(|stream| StreamRows::new(stream, &setup.options)).collect();
    let recovering = if setup.group.is_some() { setup.options.streams.len() } else { 0 };
    Ok(Box::new(StreamsReader {
        session,
        rows,
        recovered: setup.options.streams.len() - recovering,
        setup,
        handed: BTreeMap::new(),
        waiting: VecDeque::new(),
        in_flight: HashSet::new(),
        last_claim: None,
        next_schema: 0,
        boundaries: 0,
        queue: VecDeque::new(),
    }))
}

/// Makes groups that are gone, each where this pipeline is in its stream.
async fn find_groups(session: &mut Session, setup: &mut Setup) -> Result<()> {
    let Some(group) = &setup.group else { return Ok(()) };
    let context = setup.server.context();
    for stream in &setup.options.streams {
        let position = setup.position.streams.entry(stream.clone()).or_default();
        let known = trimmed::known(session, stream).await?.unwrap_or_default();
        if known.newest < position.last {
            let message = format!(
                "Stream `{stream}` was deleted and made anew, or set back: `{}` was read, and its newest entry is `{}`",
                position.last, known.newest
            );
            context.log(Level::Warn, TARGET, message);
            *position = StreamPosition { removed: known.newest_deleted, ..StreamPosition::default() };
        }
        if !setup.options.create_group {
            continue;
        }
        let was_made = group::create(session, stream, &group.name, &position.last.to_string()).await?;
        if was_made {
            let message = format!(
                "Group `{}` of stream `{stream}` was gone, with what was pending in it: it is made again behind `{}`",
                group.name, position.last
            );
            context.log(Level::Warn, TARGET, message);
            position.claimed.clear();
        }
    }
    Ok(())
}

/// Entries of one stream, by its place.
type Ids = BTreeMap<usize, Vec<EntryId>>;

struct StreamsReader {
    session: Session,
    setup: Setup,
    rows: Vec<StreamRows>,
    /// How many streams have no entries of an earlier run any more.
    recovered: usize,
    /// Entries that were handed over since the last boundary.
    handed: Ids,
    /// Entries before each boundary that is not acknowledged.
    waiting: VecDeque<(u64, Ids)>,
    /// All entries that were handed over and not acknowledged.
    in_flight: HashSet<(usize, EntryId)>,
    last_claim: Option<Instant>,
    next_schema: u32,
    boundaries: u64,
    queue: VecDeque<Event>,
}

impl StreamsReader {
    fn name(&self, place: usize) -> String {
        self.setup.options.streams[place].clone()
    }

    fn limits(&self) -> Limits {
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX).max(1);
        let budgets = &self.setup.budgets;
        Limits {
            rows: size(budgets.max_batch_rows),
            bytes: size(budgets.max_batch_bytes),
            value: budgets.max_value_bytes,
        }
    }

    fn count(&self) -> u64 {
        self.setup.options.count.min(self.setup.budgets.max_batch_rows.max(1))
    }

    /// Hands over entries of a stream.
    fn hand_over(&mut self, place: usize, entries: Vec<(Entry, u64)>) -> Result<()> {
        let limits = self.limits();
        let most = self.setup.options.max_deliveries;
        for ((id, fields), deliveries) in entries {
            let rows = &mut self.rows[place];
            rows.say_schema(&mut self.next_schema, &mut self.queue);
            match fields {
                Some(fields) if most > 0 && deliveries > most => {
                    let reason = format!(
                        "It was delivered {deliveries} times, over `max_deliveries`, which is {most}"
                    );
                    rows.reject(id, &fields, reason, &mut self.queue);
                }
                Some(fields) => rows.push(id, &fields, limits, &mut self.next_schema, &mut self.queue)?,
                None => {
                    let reason = "It was removed from the stream before it was read".to_owned();
                    rows.reject(id, &Vec::new(), reason, &mut self.queue);
                }
            }
            if self.setup.group.is_some() {
                self.handed.entry(place).or_default().push(id);
                self.in_flight.insert((place, id));
            }
        }
        Ok(())
    }

    /// Everything that was handed over may become visible.
    fn boundary(&mut self) -> Result<()> {
        for rows in &mut self.rows {
            rows.take(&mut self.queue)?;
        }
        self.boundaries += 1;
        let position = Position::new(POSITION, &self.setup.position)?;
        self.queue.push_back(Event::Boundary(Boundary::at(self.boundaries, position)));
        let handed = std::mem::take(&mut self.handed);
        if !handed.is_empty() {
            self.waiting.push_back((self.boundaries, handed));
        }
        Ok(())
    }

    /// What this consumer was given in an earlier run. What the destination has already is only acknowledged.
    async fn recover(&mut self, group: &Group) -> Result<()> {
        let place = self.recovered;
        let stream = self.name(place);
        let known = self.setup.position.streams.entry(stream.clone()).or_default().clone();
        let count = self.count();
        for (consumer, is_claims) in [(&group.consumer, false), (&group.claims, true)] {
            let mut from = EntryId::default();
            loop {
                let entries =
                    group::pending(&mut self.session, &stream, group, consumer, from, count).await?;
                let Some((last, _)) = entries.last() else { break };
                from = *last;
                let is_durable = |id: &EntryId| match is_claims {
                    true => known.claimed.contains(id),
                    false => *id <= known.last,
                };
                let (durable, left): (Vec<Entry>, Vec<Entry>) =
                    entries.into_iter().partition(|(id, _)| is_durable(id));
                let durable: Vec<EntryId> = durable.into_iter().map(|(id, _)| id).collect();
                group::acknowledge(&mut self.session, &stream, group, &durable).await?;
                self.note_acknowledged(&stream, &durable);
                let left = self.with_deliveries(&stream, group, left).await?;
                self.note(&stream, &left, is_claims);
                self.hand_over(place, left)?;
                if !self.handed.is_empty() {
                    self.boundary()?;
                }
            }
        }
        self.recovered += 1;
        Ok(())
    }

    async fn with_deliveries(
        &mut self,
        stream: &str,
        group: &Group,
        entries: Vec<Entry>,
    ) -> Result<Vec<(Entry, u64)>> {
        if self.setup.options.max_deliveries == 0 || entries.is_empty() {
            return Ok(entries.into_iter().map(|entry| (entry, 0)).collect());
        }
        let ids: Vec<EntryId> = entries.iter().map(|(id, _)| *id).collect();
        let counts = group::deliveries(&mut self.session, stream, group, &ids).await?;
        Ok(entries.into_iter().zip(counts).collect())
    }

    /// Moves the position over entries that are handed over.
    fn note(&mut self, stream: &str, entries: &[(Entry, u64)], is_claims: bool) {
        let position = self.setup.position.streams.entry(stream.to_owned()).or_default();
        for ((id, _), _) in entries {
            if is_claims {
                position.claimed.insert(*id);
            } else {
                position.last = position.last.max(*id);
                position.read += 1;
            }
        }
    }

    fn note_acknowledged(&mut self, stream: &str, ids: &[EntryId]) {
        if let Some(position) = self.setup.position.streams.get_mut(stream) {
            let ids: BTreeSet<EntryId> = ids.iter().copied().collect();
            position.claimed.retain(|id| !ids.contains(id));
        }
    }

    /// Takes over what other consumers have left lying.
    async fn claim(&mut self, group: &Group) -> Result<()> {
        let idle_ms = self.setup.options.claim_idle_ms;
        let interval = Duration::from_millis(idle_ms / 2).max(LEAST_CLAIM_INTERVAL);
        if idle_ms == 0 || self.last_claim.is_some_and(|last| last.elapsed() < interval) {
            return Ok(());
        }
        self.last_claim = Some(Instant::now());
        for place in 0..self.rows.len() {
            let (stream, mut cursor) = (self.name(place), String::from("0-0"));
            loop {
                let count = self.count();
                let entries =
                    group::claim(&mut self.session, &stream, group, idle_ms, &mut cursor, count).await?;
                // Our own that take long at the destination are not handed over twice.
                let entries: Vec<Entry> =
                    entries.into_iter().filter(|(id, _)| !self.in_flight.contains(&(place, *id))).collect();
                let entries = self.with_deliveries(&stream, group, entries).await?;
                self.note(&stream, &entries, true);
                self.hand_over(place, entries)?;
                if cursor == "0-0" {
                    break;
                }
                if !self.handed.is_empty() {
                    self.boundary()?;
                }
            }
        }
        if !self.handed.is_empty() {
            self.boundary()?;
        }
        Ok(())
    }

    /// What is new, of every stream; whether there was anything.
    async fn read_new(&mut self) -> Result<bool> {
        let mut any = false;
        for place in 0..self.rows.len() {
            let stream = self.name(place);
            let position = self.setup.position.streams.entry(stream.clone()).or_default().clone();
            let group = self.setup.group.clone();
            let from = match &group {
                Some(_) => ">".to_owned(),
                None => position.last.to_string(),
            };
            let count = self.count();
            let answer = group::read(&mut self.session, &stream, group.as_ref(), &from, count).await?;
            let delivered = match (&group, answer.groups) {
                (Some(group), Some(groups)) => Delivered::of(groups, &group.name)?,
                _ => None,
            };
            if let Some(info) = &answer.stream
                && (group.is_none() || delivered.is_some())
            {
                let known = Known::of(info)?;
                let position = self.setup.position.streams.entry(stream.clone()).or_default();
                if group.is_none() && known.newest < position.last {
                    trimmed::tell_set_back(
                        &self.setup.server,
                        &self.setup.options,
                        &stream,
                        position,
                        &known,
                    )?;
                    // What was asked for lay behind another place.
                    any = true;
                    continue;
                }
                trimmed::tell(&self.setup.server, &self.setup.options, &stream, position, &known, delivered)?;
            }
            any |= self.take_new(place, &stream, answer.entries)?;
        }
        Ok(any)
    }

    fn take_new(&mut self, place: usize, stream: &str, entries: Vec<Entry>) -> Result<bool> {
        let entries: Vec<(Entry, u64)> = entries.into_iter().map(|entry| (entry, 1)).collect();
        self.note(stream, &entries, false);
        let any = !entries.is_empty();
        self.hand_over(place, entries)?;
        Ok(any)
    }

    /// Waits for what is new; on one node the server does.
    async fn wait(&mut self, limit: Duration) -> Result<bool> {
        if self.setup.server.settings().deployment == Deployment::Cluster {
            time::sleep(limit.min(POLL)).await;
            return Ok(false);
        }
        let froms: Vec<(String, String)> = self
            .setup
            .options
            .streams
            .iter()
            .map(|stream| {
                let last =
                    self.setup.position.streams.get(stream).map(|position| position.last).unwrap_or_default();
                let from = if self.setup.group.is_some() { ">".into() } else { last.to_string() };
                (stream.clone(), from)
            })
            .collect();
        let streams: Vec<(&str, &str)> =
            froms.iter().map(|(stream, from)| (stream.as_str(), from.as_str())).collect();
        let (group, count) = (self.setup.group.clone(), self.count());
        let found =
            group::wait(&mut self.session, &streams, group.as_ref(), count, limit.as_millis()).await?;
        let mut any = false;
        for (stream, entries) in found {
            if let Some(place) = self.setup.options.streams.iter().position(|one| *one == stream) {
                any |= self.take_new(place, &stream, entries)?;
            }
        }
        Ok(any)
    }
}

#[async_trait]
impl Reader for StreamsReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        let deadline = Instant::now() + max_wait;
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            let group = self.setup.group.clone();
            if let Some(group) = &group {
                if self.recovered < self.rows.len() {
                    self.recover(group).await?;
                    continue;
                }
                self.claim(group).await?;
                if !self.queue.is_empty() {
                    continue;
                }
            }
            if self.read_new().await? {
                self.boundary()?;
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Event::Idle);
            }
            if self.wait(left).await? {
                self.boundary()?;
            }
        }
    }

    async fn acknowledge(&mut self, number: u64) -> Result<()> {
        let Some(group) = self.setup.group.clone() else { return Ok(()) };
        while self.waiting.front().is_some_and(|(boundary, _)| *boundary <= number) {
            let Some((_, handed)) = self.waiting.pop_front() else { break };
            for (place, ids) in handed {
                let stream = self.name(place);
                group::acknowledge(&mut self.session, &stream, &group, &ids).await?;
                self.note_acknowledged(&stream, &ids);
                for id in ids {
                    self.in_flight.remove(&(place, id));
                }
            }
        }
        Ok(())
    }
}
