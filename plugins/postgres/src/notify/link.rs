//! A session that listens, and is opened again when it is lost.

use std::time::{Duration, Instant};

use hub_plugin_api::{Context, Error, ErrorKind, Level, Result};
use tokio::{sync::mpsc, task::JoinHandle, time};
use tokio_postgres::Notification;

use super::NotifyOptions;
use crate::{
    config::Settings,
    connection::{Notifications, Session},
    error,
    identity::identity,
    sql::notify as sql,
};

const TARGET: &str = "connector_postgres::notify";
/// How long the first attempt to open a lost session waits.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The most that later attempts wait.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// What sessions are opened with.
#[derive(Clone)]
pub struct Link {
    pub settings: Settings,
    pub context: Context,
    pub options: NotifyOptions,
    /// Which server and database the run is about.
    pub identity: String,
}

impl Link {
    /// Opens a session that listens on every channel.
    ///
    /// # Errors
    /// When the session cannot be opened, or the server is no longer the one that it was.
    pub async fn listen(&self) -> Result<Listener> {
        let (session, notifications) = Session::open_listening(&self.settings, &self.context).await?;
        if self.options.outbox().is_some() {
            self.check_identity(&session).await?;
        }
        session.run(&sql::listen(&self.options.channels), "Could not listen on the channels").await?;
        Ok(Listener { session, notifications })
    }

    /// Keys of one server's outbox say nothing about another's.
    async fn check_identity(&self, session: &Session) -> Result<()> {
        let now = identity(&self.settings, session).await?;
        if now == self.identity {
            return Ok(());
        }
        let message = format!("The server is another one: `{now}`, no longer `{}`", self.identity);
        Err(Error::new(ErrorKind::PositionLost, message)
            .with_hint("Run again to compare it with the stored position"))
    }

    /// Starts to open again what was lost.
    pub fn retry(&self, lost: &Error) -> Retry<'_> {
        self.context.log(Level::Warn, TARGET, format!("The session is lost, and is opened again: {lost}"));
        Retry { link: self, started: Instant::now(), delay: FIRST_DELAY }
    }

    /// Writes a line into the log.
    pub fn warn(&self, message: String) {
        self.context.log(Level::Warn, TARGET, message);
    }
}

/// Attempts with growing pauses.
pub struct Retry<'a> {
    link: &'a Link,
    started: Instant,
    delay: Duration,
}

impl Retry<'_> {
    /// The pause before an attempt.
    pub async fn pause(&mut self) {
        time::sleep(self.delay).await;
        self.delay = (self.delay * 2).min(MAX_DELAY);
    }

    /// Takes note of an attempt that failed.
    ///
    /// # Errors
    /// The same error, when the time is over or no repetition mends it.
    pub fn failed(&self, error: Error) -> Result<()> {
        let is_late = self.started.elapsed() + self.delay > self.link.options.reconnect_timeout();
        if is_late || !is_passing(&error) {
            return Err(error);
        }
        let seconds = self.delay.as_secs_f64();
        let message = format!("The next attempt is in {seconds:.1} s: {error}");
        self.link.context.log(Level::Info, TARGET, message);
        Ok(())
    }

    /// How long it has taken.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Whether opening again may help: the server is away, starting, or has no session to spare.
pub fn is_passing(error: &Error) -> bool {
    error.kind.is_retryable() || error.kind == ErrorKind::ResourceExhausted
}

/// A session that listens.
pub struct Listener {
    session: Session,
    notifications: Notifications,
}

impl Listener {
    /// The next notification. Cancel-safe.
    ///
    /// # Errors
    /// When the session is lost.
    pub async fn next(&mut self) -> Result<Notification> {
        match self.notifications.recv().await {
            Some(Ok(notification)) => Ok(notification),
            Some(Err(error)) => Err(Error {
                // Whatever ended the session, a new one may be opened.
                kind: ErrorKind::Network,
                ..error::from_driver("The session that listens has ended", &error)
            }),
            None => Err(Error::new(ErrorKind::Network, "The session that listens has ended")),
        }
    }

    /// The session, for statements beside the listening.
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// Tells that there were notifications, and drops them: however slowly it is asked, none waits on the server.
pub struct Bell {
    rings: mpsc::Receiver<Result<()>>,
    task: JoinHandle<()>,
}

impl Bell {
    /// Takes over a session that listens.
    pub fn new(mut listener: Listener) -> Self {
        let (sender, rings) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            loop {
                match listener.next().await {
                    // One that has not been heard yet is enough.
                    Ok(_) => drop(sender.try_send(Ok(()))),
                    Err(error) => return drop(sender.send(Err(error)).await),
                }
            }
        });
        Self { rings, task }
    }

    /// Waits until there has been a notification since the last one that was heard. Cancel-safe.
    ///
    /// # Errors
    /// When the session is lost.
    pub async fn rings(&mut self) -> Result<()> {
        let ended = || Err(Error::new(ErrorKind::Network, "The session that listens has ended"));
        self.rings.recv().await.unwrap_or_else(ended)
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.task.abort();
    }
}
