//! The reader of the stream of changes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hub_plugin_api::{
    Budgets, Canceller, Context, Error, ErrorKind, Event, Reader, Result, Signal, async_trait,
};
use tokio::{task::JoinHandle, time};

use super::{
    again::Again,
    decoder::{Decoder, Step, Wanted},
    facts::Facts,
    lsn::Lsn,
    message::{self, Envelope, Relation},
    options::WalOptions,
    position::StreamPosition,
    slot,
    table::TableShape,
    watch::Watch,
};
use crate::{
    config::Settings,
    connection::Session,
    error,
    raw::{CopyBoth, CopySender, RawMode, RawSession},
    sql,
};

/// The longest silence towards the server.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// How long the server may take to hear that something is durable.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a stream is read from.
pub struct StreamSetup {
    /// The slot's name.
    pub slot: String,
    /// The publication's name.
    pub publication: String,
    /// The tables that are wanted, by OID.
    pub wanted: HashMap<u32, Wanted>,
    /// Where to go on.
    pub at: StreamPosition,
    /// How much may be collected.
    pub budgets: Budgets,
    /// The strategy's options.
    pub options: WalOptions,
}

/// How far the stream was read and is durable, shared with the task that tells the server.
#[derive(Default)]
struct Progress {
    received: AtomicU64,
    durable: AtomicU64,
}

impl Progress {
    fn message(&self) -> [u8; 34] {
        let load = |place: &AtomicU64| Lsn(place.load(Ordering::Relaxed));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let durable = load(&self.durable);
        message::status_update(load(&self.received).max(durable), durable, i64::try_from(now).unwrap_or(0))
    }
}

struct StreamReader {
    slot: String,
    copy: CopyBoth,
    sender: CopySender,
    /// For the catalog.
    session: Session,
    decoder: Decoder,
    progress: Arc<Progress>,
    /// Boundaries that are not acknowledged yet.
    boundaries: VecDeque<(u64, Lsn)>,
    again: Again,
    watch: Watch,
    telling: JoinHandle<()>,
}

/// Starts the stream.
///
/// # Errors
/// By kind: [`ErrorKind::PositionLost`] when the slot is gone or has moved on, [`ErrorKind::Busy`] when it is in use.
pub async fn open_stream(
    settings: &Settings,
    context: &Context,
    setup: StreamSetup,
) -> Result<Box<dyn Reader>> {
    let session = Session::open(settings, context).await?;
    // It lies idle as long as no table changes its columns.
    session.run("SET idle_session_timeout = 0", "Could not prepare the session").await?;
    let facts = Facts::of(&session).await?;
    slot::check(&session, &setup.slot, Some(setup.at.lsn)).await?;
    let mut raw = RawSession::open(settings, context, RawMode::Replication).await?;
    // What has no binary form comes as text, which looks the same whatever the server, the role or the database set.
    raw.run(&sql::session_settings(0), "Could not prepare the session").await?;
    let start = sql::wal::start_replication(
        &setup.slot,
        &setup.at.lsn.to_string(),
        &setup.publication,
        facts.version,
    );
    let copy = raw
        .copy_both(&start, "Could not read the stream of changes")
        .await
        .map_err(|error| slot::refine(&setup.slot, error))?;
    let lsn = setup.at.lsn;
    let progress = Arc::new(Progress::default());
    progress.received.store(lsn.0, Ordering::Relaxed);
    progress.durable.store(lsn.0, Ordering::Relaxed);
    let sender = copy.sender();
    let every = facts.sender_timeout.map_or(STATUS_EVERY, |most| (most / 4).min(STATUS_EVERY));
    let telling = tokio::spawn(tell(sender.clone(), Arc::clone(&progress), every));
    let again = Again::new(settings, context, &setup, facts);
    let watch = Watch::new(context, &setup.publication, &setup.wanted);
    Ok(Box::new(StreamReader {
        slot: setup.slot,
        copy,
        sender,
        session,
        decoder: Decoder::new(context, setup.budgets, setup.wanted, setup.at),
        progress,
        boundaries: VecDeque::new(),
        again,
        watch,
        telling,
    }))
}

/// Tells the server how far we are, also while nobody asks the reader for anything: a silent client is given up.
async fn tell(sender: CopySender, progress: Arc<Progress>, every: Duration) {
    loop {
        time::sleep(every.max(Duration::from_millis(100))).await;
        if sender.send(&progress.message()).await.is_err() {
            // The reader meets the same broken connection, and says so.
            return;
        }
    }
}

impl StreamReader {
    /// Decodes what lies in the buffer, until something else has to happen.
    fn take_buffered(&mut self) -> Result<(Step, bool)> {
        let Self { copy, decoder, progress, .. } = self;
        let mut wants_reply = false;
        while let Some(payload) = copy.take()? {
            match message::open(payload)? {
                Envelope::Data(data) => {
                    let step = decoder.take(data)?;
                    if !matches!(step, Step::Continue) {
                        return Ok((step, wants_reply));
                    }
                }
                Envelope::KeepAlive { end, wants_reply: wants } => {
                    progress.received.fetch_max(end.0, Ordering::Relaxed);
                    wants_reply |= wants;
                    let step = decoder.keep_alive(end);
                    if !matches!(step, Step::Continue) {
                        return Ok((step, wants_reply));
                    }
                }
            }
        }
        Ok((Step::Continue, wants_reply))
    }

    async fn carry_out(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Continue | Step::Replay => Ok(()),
            Step::HandOver => self.decoder.hand_over(&self.session).await,
            Step::Describe(relation) => {
                let relation = self.by_its_name(relation).await?;
                if self.decoder.knows(&relation) {
                    return Ok(());
                }
                let shape = self.describe(relation).await?;
                self.decoder.describe(&self.session, shape).await
            }
            Step::Empty(tables) => {
                self.decoder.hand_over(&self.session).await?;
                self.decoder.empty(&tables);
                Ok(())
            }
            Step::Barrier => {
                self.decoder.hand_over(&self.session).await?;
                self.decoder.set_barrier(None);
                self.again.begin();
                Ok(())
            }
        }
    }

    /// A relation under the name that it is captured by. The server sends the name that it had when a change was made;
    /// one that was given back since is as if it had never been another.
    async fn by_its_name(&mut self, relation: Relation) -> Result<Relation> {
        let Some(wanted) = self.decoder.wanted(relation.oid) else { return Ok(relation) };
        if (&wanted.schema, &wanted.name) == (&relation.schema, &relation.name) {
            return Ok(relation);
        }
        let failed = |error| error::from_driver("Could not look up a table's name", &error);
        let now = self.session.work(self.session.client().query_opt(sql::wal::NAME, &[&relation.oid])).await;
        let now: Option<sql::wal::Table> = now
            .map_err(failed)?
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .transpose()
            .map_err(failed)?;
        if now.is_some_and(|(schema, name)| (&schema, &name) == (&wanted.schema, &wanted.name)) {
            return Ok(Relation { schema: wanted.schema.clone(), name: wanted.name.clone(), ..relation });
        }
        let message = format!(
            "Table `{}.{}` is now called `{}.{}`",
            wanted.schema, wanted.name, relation.schema, relation.name
        );
        Err(Error::new(ErrorKind::SchemaMismatch, message).with_field("tables").with_hint(
            "Give it its old name back until the stream is through, or read everything again under the new one with \
             `--from-scratch`",
        ))
    }

    async fn describe(&mut self, relation: Relation) -> Result<TableShape> {
        let stream = format!("{}.{}", relation.schema, relation.name);
        TableShape::of(&self.session, relation, &self.again.as_text()?)
            .await
            .map_err(|error| error.with_context("table", stream))
    }

    async fn reply(&mut self) -> Result<()> {
        self.sender.send(&self.progress.message()).await
    }

    fn note(&mut self, event: Event) -> Event {
        if let Event::Boundary(_) = &event {
            self.boundaries.push_back(self.decoder.last_boundary());
        }
        event
    }
}

#[async_trait]
impl Reader for StreamReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        let deadline = Instant::now() + max_wait;
        loop {
            if let Some(event) = self.decoder.next_event() {
                return Ok(self.note(event));
            }
            // Messages without an event may come without an end: a server that shuts down asks again and again how far
            // we are, which the host can only tell us in between.
            if Instant::now() >= deadline {
                return Ok(Event::Idle);
            }
            if self.watch.is_due() {
                self.watch.look(&self.session).await?;
            }
            if self.again.is_reading() {
                if !self.again.read(&mut self.decoder, &self.session, max_wait).await? {
                    return Ok(Event::Idle);
                }
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.again.prepare(&mut self.decoder, &self.session, left).await? {
                // A position with the wish need not wait until it can be fulfilled.
                self.decoder.idle(false)?;
                continue;
            }
            if self.decoder.is_replaying() {
                let step = self.decoder.replay()?;
                self.carry_out(step).await?;
                continue;
            }
            let (step, wants_reply) = self.take_buffered()?;
            if wants_reply {
                self.reply().await?;
            }
            if !matches!(step, Step::Continue) {
                self.carry_out(step).await?;
                continue;
            }
            self.decoder.idle(wants_reply)?;
            if self.decoder.has_events() {
                continue;
            }
            let patience = self.decoder.patience();
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = patience.map_or(left, |patience| patience.min(left));
            match time::timeout(wait, self.copy.wait()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    return Err(Error::new(ErrorKind::Unavailable, "The server ended the stream of changes"));
                }
                Ok(Err(error)) => return Err(slot::refine(&self.slot, error)),
                Err(_) if self.decoder.patience() == Some(Duration::ZERO) => {
                    self.decoder.hand_over(&self.session).await?;
                }
                Err(_) => return Ok(Event::Idle),
            }
        }
    }

    async fn acknowledge(&mut self, number: u64) -> Result<()> {
        let mut durable = None;
        while let Some((_, lsn)) = self.boundaries.pop_front_if(|(boundary, _)| *boundary <= number) {
            durable = Some(lsn);
        }
        let Some(Lsn(durable)) = durable else { return Ok(()) };
        self.progress.durable.fetch_max(durable, Ordering::Relaxed);
        // A server that does not listen hears it from the next status: what is durable does not depend on it.
        match time::timeout(TELL_TIMEOUT, self.reply()).await {
            Ok(told) => told,
            Err(_) => Ok(()),
        }
    }

    async fn signal(&mut self, signal: &Signal) -> Result<()> {
        if signal.kind != Signal::SNAPSHOT {
            return Err(Error::unsupported(format_args!("Signal `{}`", signal.kind)));
        }
        self.again.wish(&mut self.decoder, &signal.arguments)
    }

    fn canceller(&self) -> Canceller {
        let (copy, session) = (self.copy.canceller(), self.session.canceller());
        Canceller::new(move || {
            copy.cancel();
            session.cancel();
        })
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.telling.abort();
    }
}
