//! The reader: waits for events, and hands over windows of changes.

use std::{
    future::poll_fn,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use hub_plugin_api::{
    Canceller, Context, Error, ErrorKind, Event, Level, Reader, Result, Signal, async_trait,
};
use tokio::time;

use super::{TARGET, again::Again, dump::Dump, event::Format, follow::Follower, prepared::PreparedReader};

/// How often a position is handed over that moved without rows.
const POSITION_EVERY: Duration = Duration::from_secs(1);

/// Follows the log of one server.
pub struct LogReader {
    context: Context,
    dump: Dump,
    follower: Follower,
    again: Again,
    prepared: PreparedReader,
    format: Format,
    /// How long rows may wait for their batch to fill.
    max_delay: Duration,
    /// A server that says nothing for so long is not there any more.
    silence: Duration,
    last_event: Instant,
    last_metric: Instant,
}

impl LogReader {
    /// Hands over what `dump` sends.
    pub fn new(
        context: Context,
        dump: Dump,
        follower: Follower,
        again: Again,
        prepared: PreparedReader,
        max_delay: Duration,
        heartbeat: Duration,
    ) -> Self {
        let now = Instant::now();
        let silence = heartbeat * 3 + Duration::from_secs(30);
        Self {
            context,
            dump,
            follower,
            again,
            prepared,
            format: Format::default(),
            max_delay,
            silence,
            last_event: now,
            last_metric: now,
        }
    }

    /// Whether what waits is to be handed over now.
    fn is_due(&self) -> bool {
        self.follower.stands_at_news()
            && match self.follower.waiting_since() {
                Some(since) => since.elapsed() >= self.max_delay,
                None => self.follower.last_boundary().elapsed() >= POSITION_EVERY,
            }
    }

    /// How long to wait for more before looking at the clock.
    fn patience(&self, max_wait: Duration) -> Duration {
        let rows = self.follower.waiting_since().map(|since| self.max_delay.saturating_sub(since.elapsed()));
        let left = rows.unwrap_or(POSITION_EVERY).max(Duration::from_millis(1));
        if self.follower.stands_at_news() { left.min(max_wait) } else { max_wait }
    }

    fn report(&mut self) {
        if self.last_metric.elapsed() < Duration::from_secs(5) {
            return;
        }
        self.last_metric = Instant::now();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let lag = now.as_micros() as f64 - self.follower.last_committed_micros as f64;
        if self.follower.last_committed_micros > 0 {
            self.context.metric("lag_ms", (lag / 1000.0).max(0.0));
        }
    }
}

#[async_trait]
impl Reader for LogReader {
    async fn next(&mut self, max_wait: Duration) -> Result<Event> {
        let deadline = Instant::now() + max_wait;
        loop {
            for notice in self.follower.take_notices() {
                self.context.log(Level::Warn, TARGET, &notice);
            }
            if let Some(event) = self.follower.take() {
                return Ok(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.follower.is_settling() {
                // The stream waits, and is not silent.
                self.last_event = Instant::now();
                if !self.prepared.read(&mut self.follower, left).await? {
                    return Ok(Event::Idle);
                }
                continue;
            }
            if self.follower.is_at_barrier() {
                self.follower.hand_over()?;
                self.follower.set_barrier(None);
                self.again.begin();
                continue;
            }
            if self.is_due() {
                self.follower.hand_over()?;
                continue;
            }
            if self.again.is_reading() {
                // The server waits as long as it takes, and is not silent.
                self.last_event = Instant::now();
                if !self.again.read(&mut self.follower, left).await? {
                    return Ok(Event::Idle);
                }
                continue;
            }
            if !self.again.prepare(&mut self.follower, left).await? {
                self.last_event = Instant::now();
                return Ok(Event::Idle);
            }
            if self.follower.is_ready() || self.follower.is_at_barrier() {
                continue;
            }
            if left.is_zero() {
                self.report();
                return Ok(Event::Idle);
            }
            let wait = self.patience(left);
            let stood = self.follower.stands_at_news();
            let Self { dump, follower, format, last_event, max_delay, .. } = self;
            let filling = poll_fn(|context| {
                loop {
                    while let Some(event) = dump.take()? {
                        let (head, body) = format.open(event)?;
                        follower.apply(head, body)?;
                        if follower.is_ready() || follower.is_at_barrier() || follower.is_settling() {
                            *last_event = Instant::now();
                            return Poll::Ready(Ok::<(), Error>(()));
                        }
                    }
                    *last_event = Instant::now();
                    let waited = follower.waiting_since().is_some_and(|since| since.elapsed() >= *max_delay);
                    if waited && follower.stands_at_news() {
                        return Poll::Ready(Ok::<(), Error>(()));
                    }
                    // What waits since now has less patience.
                    if !stood && follower.stands_at_news() {
                        return Poll::Ready(Ok(()));
                    }
                    ready!(dump.poll_receive(context))?;
                }
            });
            match time::timeout(wait, filling).await {
                Ok(result) => result?,
                Err(_) if self.last_event.elapsed() > self.silence => {
                    return Err(Error::new(
                        ErrorKind::Network,
                        format!(
                            "The server sent nothing for {} s, not even a heartbeat",
                            self.silence.as_secs()
                        ),
                    ));
                }
                Err(_) => {}
            }
        }
    }

    async fn acknowledge(&mut self, number: u64) -> Result<()> {
        self.follower.acknowledge(number)
    }

    async fn signal(&mut self, signal: &Signal) -> Result<()> {
        if signal.kind != Signal::SNAPSHOT {
            return Err(Error::unsupported(format_args!("Signal `{}`", signal.kind)));
        }
        self.again.wish(&mut self.follower, &signal.arguments).await
    }

    fn canceller(&self) -> Canceller {
        self.dump.canceller()
    }
}
