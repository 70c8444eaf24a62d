//! A session over our own packets.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use hub_plugin_api::{Canceller, Context, Error, ErrorKind, Result, Secret};
use tokio::{runtime::Handle, time};

use super::{
    channel::{Channel, Payload},
    handshake::{Connected, connect},
    result::{ColumnDefinition, Done, Reader, is_end, is_error, server_error},
};
use crate::{config::Settings, connection::TextRows, error, flavor::Server, sql};

/// How long a kill may take to reach the server.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// First bytes of commands (MySQL internals manual, "Command Phase").
mod command {
    pub const QUIT: u8 = 0x01;
    pub const QUERY: u8 = 0x03;
    pub const PREPARE: u8 = 0x16;
    pub const CLOSE_STATEMENT: u8 = 0x19;
}

/// One session on the server, for the paths where rows and events are read in place.
///
/// Dropped while idle, it says good-bye to the server. Dropped while busy, it has the server end it and closes the
/// socket, so that nothing goes on behind it.
pub struct RawSession {
    channel: Channel,
    server: Server,
    extended_metadata: bool,
    kill: Kill,
    busy: bool,
}

/// What the server says of a statement without running it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// How many `?` it has.
    pub parameters: u16,
    /// The columns of its rows.
    pub columns: Vec<ColumnDefinition>,
}

impl RawSession {
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
        let Connected { channel, server, id, extended_metadata } =
            connect(settings, password.as_ref()).await?;
        let settings_sql = sql::session_settings(&server, settings);
        let kill = Kill { id, settings: Arc::new(settings.clone()), password, runtime: Handle::current() };
        let mut session = Self { channel, server, extended_metadata, kill, busy: false };
        let prepared = session.run(&settings_sql, "Could not prepare the session").await;
        prepared.map_err(|error| error::refine(settings, error))?;
        Ok(session)
    }

    /// Who answers.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Runs a statement that gives no rows back; rows that come all the same are dropped.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn run(&mut self, statement: &str, doing: &str) -> Result<Done> {
        self.start_statement(statement, doing).await?;
        loop {
            let done = match self.receive_head(doing).await? {
                Head::Done(done) => done,
                Head::Columns(count) => {
                    self.receive_columns(count, doing).await?;
                    loop {
                        let row = poll_fn(|context| self.poll_row(context, doing)).await?;
                        if let Row::End(done) = row {
                            break done;
                        }
                    }
                }
                Head::Load => return Err(self.refuse_load(doing).await),
            };
            if !done.more {
                self.busy = false;
                return Ok(done);
            }
        }
    }

    /// The rows of a statement whose answer is small.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn ask(&mut self, statement: &str, doing: &str) -> Result<TextRows> {
        let columns = self.start_rows(statement, doing).await?;
        let mut answer =
            TextRows { columns: columns.into_iter().map(|column| column.name).collect(), rows: Vec::new() };
        loop {
            match poll_fn(|context| self.poll_row(context, doing)).await? {
                Row::Row(payload) => {
                    let mut reader = Reader(self.channel.bytes(payload));
                    let fields = (0..answer.columns.len()).map(|_| {
                        let field = reader.field().ok_or_else(|| error::protocol("a row is too short"))?;
                        Ok(field.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
                    });
                    answer.rows.push(fields.collect::<Result<_>>()?);
                }
                Row::End(_) => return Ok(answer),
            }
        }
    }

    /// Starts a statement whose rows [`RawSession::poll_row`] then gives.
    ///
    /// # Errors
    /// As the server answers; also when the statement gives no rows.
    pub async fn start_rows(&mut self, statement: &str, doing: &str) -> Result<Vec<ColumnDefinition>> {
        self.start_statement(statement, doing).await?;
        match self.receive_head(doing).await? {
            Head::Columns(count) => self.receive_columns(count, doing).await,
            Head::Done(_) => {
                self.busy = false;
                Err(Error::new(ErrorKind::InvalidStatement, "The statement gives no rows"))
            }
            Head::Load => Err(self.refuse_load(doing).await),
        }
    }

    /// The next row. Given up, nothing is lost.
    ///
    /// # Errors
    /// As the server answers; also when a second result follows, which nobody asked for.
    pub fn poll_row(&mut self, context: &mut TaskContext<'_>, doing: &str) -> Poll<Result<Row>> {
        loop {
            if let Some(row) = self.take_row(doing)? {
                return Poll::Ready(Ok(row));
            }
            ready!(self.poll_receive(context, doing))?;
        }
    }

    /// The next row, where it is received already.
    ///
    /// # Errors
    /// As [`RawSession::poll_row`].
    #[inline]
    pub fn take_row(&mut self, doing: &str) -> Result<Option<Row>> {
        let Some(payload) = self.channel.take()? else { return Ok(None) };
        let bytes = self.channel.bytes(payload);
        if is_end(bytes) {
            let done = Done::read(bytes)?;
            self.busy = done.more;
            return Ok(Some(Row::End(done)));
        }
        if is_error(bytes) {
            self.busy = false;
            return Err(server_error(doing, bytes));
        }
        Ok(Some(Row::Row(payload)))
    }

    /// The bytes of the row or packet that was taken last.
    #[inline]
    pub fn bytes(&self, payload: Payload) -> &[u8] {
        self.channel.bytes(payload)
    }

    /// Waits for more bytes of the server.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn poll_receive(&mut self, context: &mut TaskContext<'_>, doing: &str) -> Poll<Result<()>> {
        self.channel.poll_receive(context).map_err(|error| error::from_io(doing, &error))
    }

    /// Has the server look at a statement without running it.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn describe(&mut self, statement: &str, doing: &str) -> Result<Described> {
        self.start_command(&[&[command::PREPARE], statement.as_bytes()].concat(), doing).await?;
        let payload = self.receive_answer(doing).await?;
        let mut reader = Reader(self.channel.bytes(payload));
        let read = || Some((reader.u8()?, reader.u32()?, reader.u16()?, reader.u16()?));
        let mut read = read;
        let Some((0, id, columns, parameters)) = read() else {
            return Err(error::protocol("the answer to a prepared statement is too short"));
        };
        self.receive_columns(usize::from(parameters), doing).await?;
        let columns = self.receive_columns(usize::from(columns), doing).await?;
        // Nothing comes back.
        self.channel.restart_sequence();
        let close = [&[command::CLOSE_STATEMENT], id.to_le_bytes().as_slice()].concat();
        self.channel.send(&close).await.map_err(|error| error::from_io(doing, &error))?;
        self.busy = false;
        Ok(Described { parameters, columns })
    }

    /// A file that the server asks for on its own account: it gets nothing.
    async fn refuse_load(&mut self, doing: &str) -> Error {
        let refused =
            Error::new(ErrorKind::InvalidStatement, "The statement asks for a file of this machine");
        let ended = match self.channel.send(&[]).await {
            Ok(()) => self.receive_answer(doing).await.map(drop),
            Err(error) => Err(error::from_io(doing, &error)),
        };
        self.busy = false;
        ended.err().map_or(refused.clone(), |error| refused.with_source(&error))
    }

    async fn start_statement(&mut self, statement: &str, doing: &str) -> Result<()> {
        self.start_command(&[&[command::QUERY], statement.as_bytes()].concat(), doing).await
    }

    /// Sends a command, whose first byte says which. The session is busy until its answer is taken.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn start_command(&mut self, payload: &[u8], doing: &str) -> Result<()> {
        self.busy = true;
        self.channel.restart_sequence();
        self.channel.send(payload).await.map_err(|error| error::from_io(doing, &error))
    }

    /// The next payload. Given up, nothing is lost.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn receive(&mut self, doing: &str) -> Result<Payload> {
        poll_fn(|context| {
            loop {
                if let Some(payload) = self.channel.take()? {
                    return Poll::Ready(Ok(payload));
                }
                ready!(self.poll_receive(context, doing))?;
            }
        })
        .await
    }

    async fn receive_answer(&mut self, doing: &str) -> Result<Payload> {
        let payload = self.receive(doing).await?;
        let bytes = self.channel.bytes(payload);
        if is_error(bytes) {
            self.busy = false;
            return Err(server_error(doing, bytes));
        }
        Ok(payload)
    }

    async fn receive_head(&mut self, doing: &str) -> Result<Head> {
        let payload = self.receive_answer(doing).await?;
        let bytes = self.channel.bytes(payload);
        match bytes.first() {
            Some(0x00) => Ok(Head::Done(Done::read(bytes)?)),
            Some(0xfb) => Ok(Head::Load),
            _ => {
                let count = Reader(bytes).integer().and_then(|count| usize::try_from(count).ok());
                count.map(Head::Columns).ok_or_else(|| error::protocol("a result has no number of columns"))
            }
        }
    }

    async fn receive_columns(&mut self, count: usize, doing: &str) -> Result<Vec<ColumnDefinition>> {
        let mut columns = Vec::with_capacity(count.min(4096));
        for _ in 0..count {
            let payload = self.receive(doing).await?;
            columns.push(ColumnDefinition::read(self.channel.bytes(payload), self.extended_metadata)?);
        }
        Ok(columns)
    }

    /// Ends on the server what the session is doing.
    pub fn canceller(&self) -> Canceller {
        let kill = self.kill.clone();
        Canceller::new(move || kill.send("KILL QUERY"))
    }
}

/// What an answer begins with.
enum Head {
    Done(Done),
    Columns(usize),
    Load,
}

/// What comes behind the columns.
#[derive(Clone, Debug)]
pub enum Row {
    /// A row; see [`RawSession::bytes`].
    Row(Payload),
    /// The rows are over.
    End(Done),
}

impl Drop for RawSession {
    fn drop(&mut self) {
        if self.busy {
            return self.kill.send("KILL");
        }
        let mut channel = std::mem::replace(&mut self.channel, Channel::closed());
        // The server counts a session that goes without a word as an aborted one.
        self.kill.runtime.spawn(async move {
            channel.restart_sequence();
            drop(time::timeout(KILL_TIMEOUT, channel.send(&[command::QUIT])).await);
        });
    }
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
                let mut connected = connect(&settings, password.as_ref()).await.ok()?;
                let statement = format!("{verb} {id}");
                connected.channel.restart_sequence();
                let query = [&[command::QUERY], statement.as_bytes()].concat();
                connected.channel.send(&query).await.ok()?;
                // The answer, so that the statement is not cut off by the socket's end.
                poll_fn(|context| connected.channel.poll_receive(context)).await.ok()
            };
            drop(time::timeout(KILL_TIMEOUT, request).await);
        });
    }
}
