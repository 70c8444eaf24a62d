//! Server sessions: how one is opened, what it can be asked, and how what it does is ended.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hub_plugin_api::{Canceller, Context, Error, ErrorKind, Result, Secret};
use mysql_async::{
    ClientIdentity, Conn, DriverError, IoError, Opts, OptsBuilder, SslOpts, Value, prelude::Queryable,
};
use rustls::{CertificateError, crypto::ring};
use tokio::{runtime::Handle, time};

use crate::{
    config::{Settings, TlsMode},
    error,
    flavor::Server,
    sql,
};

/// How long a kill may take to reach the server.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// One session on the server.
///
/// Dropped while idle, it says good-bye to the server. Dropped while busy, it has the server end what it does, so that
/// nothing goes on behind it.
pub struct Session {
    conn: Conn,
    server: Server,
    tls: bool,
    kill: Kill,
    busy: bool,
}

/// The whole of a small answer, every value as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextRows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows; bytes that are not UTF-8 are replaced.
    pub rows: Vec<Vec<Option<String>>>,
}

impl TextRows {
    /// A value; none where there is no such row or column, or it is null.
    pub fn get(&self, row: usize, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        self.rows.get(row)?.get(place)?.as_deref()
    }

    /// The first value of the first row.
    pub fn first(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }
}

/// What became of a statement that gives no rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that the statement found, whether they changed or not.
    pub affected: u64,
    /// How many warnings `SHOW WARNINGS` lists.
    pub warnings: u16,
}

impl Session {
    /// Opens a session in which values look the same whatever the server or the account set.
    ///
    /// # Errors
    /// By kind: network, TLS, authentication, not found (database), timed out.
    pub async fn open(settings: &Settings, context: &Context) -> Result<Self> {
        let password = context.secret("password")?;
        time::timeout(settings.connect_timeout(), Self::open_with(settings, password)).await.unwrap_or_else(
            |_| {
                let message = format!("No session was open after {} ms", settings.connect_timeout_ms);
                Err(Error::new(ErrorKind::TimedOut, message)
                    .with_field("host")
                    .with_hint("Raise `connect_timeout_ms`, or check host and port"))
            },
        )
    }

    async fn open_with(settings: &Settings, password: Option<Secret>) -> Result<Self> {
        let doing = format!("Could not open a session on `{}` port `{}`", settings.host, settings.port);
        let (conn, tls) = connect(settings, password.as_ref())
            .await
            .map_err(|error| error::refine(settings, error::from_driver(&doing, &error)))?;
        let kill = Kill {
            id: conn.id(),
            settings: Arc::new(settings.clone()),
            password,
            runtime: Handle::current(),
        };
        let mut session = Self { conn, server: Server::of_handshake("MariaDB"), tls, kill, busy: false };
        let refine = |error| error::refine(settings, error);
        let version = session.ask("SELECT @@version", "Could not ask the server what it is");
        session.server = Server::of_handshake(version.await.map_err(refine)?.first().unwrap_or_default());
        let prepare = sql::session_settings(&session.server, settings);
        session.run(&prepare, "Could not prepare the session").await.map_err(refine)?;
        Ok(session)
    }

    /// Who answers.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Whether what is sent is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Runs a statement that gives no rows back; rows that come all the same are dropped.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn run(&mut self, statement: &str, doing: &str) -> Result<Outcome> {
        self.busy = true;
        let outcome = async {
            let result = self.conn.query_iter(statement).await?;
            let outcome = Outcome { affected: result.affected_rows(), warnings: result.warnings() };
            result.drop_result().await?;
            Ok(outcome)
        };
        let outcome = outcome.await;
        self.busy = matches!(&outcome, Err(error) if is_lost(error));
        outcome.map_err(|error| error::from_driver(doing, &error))
    }

    /// The rows of a statement whose answer is small.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn ask(&mut self, statement: &str, doing: &str) -> Result<TextRows> {
        self.busy = true;
        let answer = async {
            let result = self.conn.query_iter(statement).await?;
            let columns = result.columns();
            let columns = columns.iter().flat_map(|columns| columns.iter());
            let columns = columns.map(|column| column.name_str().into_owned()).collect();
            let rows: Vec<mysql_async::Row> = result.collect_and_drop().await?;
            Ok((columns, rows))
        };
        let answer = answer.await;
        self.busy = matches!(&answer, Err(error) if is_lost(error));
        let (columns, rows) = answer.map_err(|error| error::from_driver(doing, &error))?;
        let text = |value| match value {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            other => Some(other.as_sql(true)),
        };
        let rows = rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect();
        Ok(TextRows { columns, rows })
    }

    /// Runs a LOAD DATA LOCAL with these parts as its file. They are taken one by one, as the server takes them.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn load(
        &mut self,
        statement: &str,
        parts: impl Iterator<Item = Bytes> + Send + Sync + 'static,
        doing: &str,
    ) -> Result<Outcome> {
        self.conn.set_infile_handler(async move { Ok(stream::iter(parts.map(Ok::<_, io::Error>)).boxed()) });
        self.run(statement, doing).await
    }

    /// Ends on the server what the session is doing.
    pub fn canceller(&self) -> Canceller {
        let kill = self.kill.clone();
        Canceller::new(move || kill.send("KILL QUERY"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.busy {
            self.kill.send("KILL");
        }
    }
}

/// After such an error nothing more can be asked.
fn is_lost(error: &mysql_async::Error) -> bool {
    error.is_fatal()
}

/// What a kill needs: it goes over a session of its own.
#[derive(Clone)]
struct Kill {
    id: u32,
    settings: Arc<Settings>,
    password: Option<Secret>,
    runtime: Handle,
}

impl Kill {
    /// Sends it from the runtime, as drops and cancellers come from any thread. Nobody can be told of a failure: it is a
    /// courtesy to the server, which also notices the closed socket.
    fn send(&self, verb: &'static str) {
        let Self { id, settings, password, runtime } = self.clone();
        runtime.spawn(async move {
            let request = async {
                let (mut conn, _) = connect(&settings, password.as_ref()).await.ok()?;
                conn.query_drop(format!("{verb} {id}")).await.ok()?;
                conn.disconnect().await.ok()
            };
            drop(time::timeout(KILL_TIMEOUT, request).await);
        });
    }
}

/// Reaches the server; whether under TLS comes back too.
async fn connect(settings: &Settings, password: Option<&Secret>) -> mysql_async::Result<(Conn, bool)> {
    // The driver takes the process's provider; which one that is must not depend on other crates' features.
    drop(ring::default_provider().install_default());
    let tls = settings.tls_mode != TlsMode::Disabled && !settings.is_unix_socket();
    let first = Conn::new(driver_options(settings, password, tls, None)).await;
    match first {
        Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
            if settings.tls_mode == TlsMode::Preferred =>
        {
            Ok((Conn::new(driver_options(settings, password, false, None)).await?, false))
        }
        Err(error) if settings.tls_mode == TlsMode::VerifyCa => {
            // The driver knows no check of the chain alone. This error comes after the chain has passed it, so the
            // second try asks for a name that the certificate has, and checks all of it again.
            let Some(name) = presented_name(&error) else { return Err(error) };
            Ok((Conn::new(driver_options(settings, password, true, Some(name))).await?, true))
        }
        other => Ok((other?, tls)),
    }
}

/// A name of a certificate that was refused for its name alone.
fn presented_name(error: &mysql_async::Error) -> Option<String> {
    let mysql_async::Error::Io(IoError::Io(error)) = error else { return None };
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) => {
            let name = presented.first()?;
            // Written as `DnsName("localhost")` or `IpAddress(127.0.0.1)`.
            let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
            Some(inner.trim_matches('"').replace("*.", "any."))
        }
        _ => None,
    }
}

/// The driver's options.
fn driver_options(settings: &Settings, password: Option<&Secret>, tls: bool, name: Option<String>) -> Opts {
    let ssl = tls.then(|| {
        let checks = matches!(settings.tls_mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
        let mut ssl = SslOpts::default().with_danger_accept_invalid_certs(!checks);
        if let Some(authorities) = &settings.ca_file {
            ssl = ssl.with_root_certs(vec![authorities.clone().into()]).with_disable_built_in_roots(true);
        }
        if let (Some(certificate), Some(key)) = (&settings.client_certificate, &settings.client_key) {
            ssl = ssl.with_client_identity(Some(ClientIdentity::new(
                certificate.clone().into(),
                key.clone().into(),
            )));
        }
        if let Some(name) = name {
            ssl = ssl.with_danger_tls_hostname_override(Some(name));
        }
        ssl
    });
    let options = OptsBuilder::default()
        .user(Some(&settings.username))
        .pass(password.map(Secret::expose))
        .db_name(Some(&settings.database))
        .client_found_rows(true)
        .prefer_socket(false)
        .max_allowed_packet(Some(1 << 30))
        .wait_timeout(Some(28_800))
        .tcp_keepalive(Some(Duration::from_secs(60)))
        .ssl_opts(ssl);
    if settings.is_unix_socket() {
        options.socket(Some(&settings.host)).into()
    } else {
        options.ip_or_hostname(&settings.host).tcp_port(settings.port).into()
    }
}
