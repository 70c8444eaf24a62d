//! Server sessions: how one is opened, and how what it does is ended.

use std::{
    future::{Future, poll_fn},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hub_plugin_api::{Canceller, Context, Error, ErrorKind, Result, Secret};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    sync::mpsc,
    task::JoinHandle,
    time,
};
use tokio_postgres::{
    AsyncMessage, CancelToken, Client, Connection, NoTls, Notification, config::SslMode as DriverSslMode,
};

use crate::{
    config::{Settings, SslMode},
    error, sql,
    tls::MakeTls,
};

/// How long a cancel request may take to reach the server.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// Notifications that wait to be taken, each of less than 8,100 bytes. When so many wait the session's socket is not
/// read any more, and further ones wait in the server's own queue.
const MAX_WAITING: usize = 1024;

/// What a session is told by others: each notification, and at the end why there will be none any more.
pub type Notifications = mpsc::Receiver<Result<Notification, tokio_postgres::Error>>;

/// One session on the server.
///
/// Dropped while idle, it says good-bye to the server. Dropped while busy (see [`Session::work`] and
/// [`Session::set_busy`]), it cancels what the server is doing and closes the socket, so that nothing goes on behind it.
pub struct Session {
    client: Client,
    task: JoinHandle<()>,
    cancel: CancelQuery,
    busy: AtomicBool,
}

impl Session {
    /// Opens a session in which values look the same whatever the server, the role or the database set.
    ///
    /// # Errors
    /// By kind: network, TLS, authentication, not found (database), timed out.
    pub async fn open(settings: &Settings, context: &Context) -> Result<Self> {
        Self::open_for(settings, context, None).await
    }

    /// Opens a session that hands over what it is notified of.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn open_listening(settings: &Settings, context: &Context) -> Result<(Self, Notifications)> {
        let (sender, notifications) = mpsc::channel(MAX_WAITING);
        Ok((Self::open_for(settings, context, Some(sender)).await?, notifications))
    }

    async fn open_for(settings: &Settings, context: &Context, sender: Option<Sender>) -> Result<Self> {
        let password = context.secret("password")?;
        let opening = Self::open_with(settings, password.as_ref(), sender);
        let timeout = || Err(not_open_in_time(settings));
        time::timeout(settings.connect_timeout(), opening).await.unwrap_or_else(|_| timeout())
    }

    async fn open_with(
        settings: &Settings,
        password: Option<&Secret>,
        sender: Option<Sender>,
    ) -> Result<Self> {
        let config = driver_config(settings, password);
        let doing = opening(settings);
        let failed = |error: tokio_postgres::Error| refine(settings, error::from_driver(&doing, &error));
        // A Unix socket does not leave the machine, and servers speak no TLS on it.
        let (client, task, tls) = if settings.ssl_mode == SslMode::Disable || settings.is_unix_socket() {
            let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
            (client, tokio::spawn(drive(connection, sender)), None)
        } else {
            let tls = MakeTls::new(settings)?;
            let (client, connection) = config.connect(tls.clone()).await.map_err(failed)?;
            (client, tokio::spawn(drive(connection, sender)), Some(tls))
        };
        let cancel = CancelQuery { token: client.cancel_token(), tls, runtime: Handle::current() };
        let session = Self { client, task, cancel, busy: AtomicBool::new(false) };
        session
            .run(&sql::session_settings(settings.statement_timeout_ms), "Could not prepare the session")
            .await?;
        Ok(session)
    }

    /// The driver's session.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs statements that give no rows back.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn run(&self, statements: &str, doing: &str) -> Result<()> {
        self.work(self.client.batch_execute(statements))
            .await
            .map_err(|error| error::from_driver(doing, &error))
    }

    /// Waits for something that the server does. When the wait is dropped before its end, the session stays busy.
    pub async fn work<T>(&self, work: impl Future<Output = T>) -> T {
        self.set_busy(true);
        let done = work.await;
        self.set_busy(false);
        done
    }

    /// Whether the server is at work for this session: decides what a drop does.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// Ends on the server what the session is doing.
    pub fn canceller(&self) -> Canceller {
        let cancel = self.cancel.clone();
        Canceller::new(move || cancel.send())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if *self.busy.get_mut() {
            self.cancel.send();
            self.task.abort();
        }
    }
}

type Sender = mpsc::Sender<Result<Notification, tokio_postgres::Error>>;

/// Moves a session's bytes until one side is gone.
async fn drive<S, T>(mut connection: Connection<S, T>, sender: Option<Sender>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        let notified = match message {
            Ok(AsyncMessage::Notification(notification)) => Ok(notification),
            Ok(_) => continue,
            Err(error) => Err(error),
        };
        let failed = notified.is_err();
        let Some(sender) = &sender else {
            // Whoever waits for an answer is told of the failure by the driver.
            if failed { return } else { continue }
        };
        if sender.send(notified).await.is_err() || failed {
            return;
        }
    }
}

/// What a cancel request needs: it goes over a connection of its own.
#[derive(Clone)]
struct CancelQuery {
    token: CancelToken,
    tls: Option<MakeTls>,
    runtime: Handle,
}

impl CancelQuery {
    /// Sends the request from the runtime, as drops and cancellers come from any thread. Nobody can be told of a
    /// failure: the request is a courtesy to the server, which also notices the closed socket.
    fn send(&self) {
        let Self { token, tls, .. } = self.clone();
        self.runtime.spawn(async move {
            let request = async {
                match tls {
                    Some(tls) => token.cancel_query(tls).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            drop(time::timeout(CANCEL_TIMEOUT, request).await);
        });
    }
}

fn driver_config(settings: &Settings, password: Option<&Secret>) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .user(&settings.username)
        .dbname(&settings.database)
        .application_name(&settings.application_name)
        .connect_timeout(settings.connect_timeout())
        // A server that has vanished is noticed within a minute and a half, not after hours.
        .keepalives_idle(Duration::from_secs(60))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3)
        .ssl_mode(match settings.ssl_mode {
            _ if settings.is_unix_socket() => DriverSslMode::Disable,
            SslMode::Disable => DriverSslMode::Disable,
            SslMode::Require | SslMode::VerifyFull => DriverSslMode::Require,
        });
    if let Some(password) = password {
        config.password(password.expose());
    }
    config
}

/// The message of every error of opening a session.
pub fn opening(settings: &Settings) -> String {
    format!("Could not open a session on `{}` port `{}`", settings.host, settings.port)
}

/// The error of a session that took too long to open.
pub fn not_open_in_time(settings: &Settings) -> Error {
    let message = format!("No session was open after {} ms", settings.connect_timeout_ms);
    Error::new(ErrorKind::TimedOut, message).with_hint("Raise `connect_timeout_ms`, or check host and port")
}

/// Adds the field at fault and what to do to an error of opening a session.
pub fn refine(settings: &Settings, error: Error) -> Error {
    let code = error.code.clone().unwrap_or_default();
    let text = error.source.clone().unwrap_or_default();
    match (error.kind, code.as_str()) {
        (_, "28P01") => error.with_field("password"),
        (_, "28000") if settings.ssl_mode == SslMode::Disable && text.contains("pg_hba.conf") => error
            .with_field("ssl_mode")
            .with_hint("No line of `pg_hba.conf` admits this role from here without TLS: try SSL mode `require`, or add a line"),
        (_, "28000") => error.with_field("username").with_hint("Check that the role exists, may log in, and that `pg_hba.conf` admits it"),
        (_, "3D000") => error.with_field("database"),
        (ErrorKind::PermissionDenied, _) => error.with_field("database"),
        (ErrorKind::Authentication, _) => error.with_field("password"),
        (ErrorKind::Tls, _) if text.contains("does not support TLS") => {
            error.with_field("ssl_mode").with_hint("The server has `ssl = off`: turn it on, or use SSL mode `disable`")
        }
        (ErrorKind::Tls, _) if settings.ca_file.is_none() && settings.ssl_mode == SslMode::VerifyFull => error
            .with_field("ssl_mode")
            .with_hint("A certificate of an authority of your own needs `ca_file`; its name must be that of `host`"),
        (ErrorKind::Tls, _) => match refused_certificate(&text) {
            Some(hint) => error.with_field("ssl_mode").with_hint(hint),
            None => error.with_field("ssl_mode"),
        },
        (ErrorKind::Network | ErrorKind::TimedOut, _) => error.with_field("host"),
        (ErrorKind::InvalidConfig, _) if text.contains("password") => {
            error.with_field("password").with_hint("The server asks for a password, and none is given")
        }
        _ => error,
    }
}

/// What to do about a certificate of the server's that was refused, by the words of rustls.
fn refused_certificate(text: &str) -> Option<&'static str> {
    let reasons = [
        ("Expired", "The server's certificate has expired, or the clock of this machine is wrong"),
        ("NotValidForName", "The certificate is of another name: `host` must be one that it holds"),
        ("not valid for name", "The certificate is of another name: `host` must be one that it holds"),
        ("UnknownIssuer", "The authorities of `ca_file` did not sign the server's certificate"),
    ];
    reasons.into_iter().find(|(words, _)| text.contains(words)).map(|(_, hint)| hint)
}
