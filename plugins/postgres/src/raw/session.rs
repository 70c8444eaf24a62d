use std::{
    future::poll_fn,
    io,
    task::{Context as TaskContext, Poll, ready},
};

use bytes::BytesMut;
use hub_plugin_api::{Canceller, Context, Error, ErrorKind, Result, Secret};
use postgres_protocol::message::{backend, frontend};
use tokio::time;

use super::{
    answer::{self, TextRows},
    bulk::Bulk,
    cancel::Cancel,
    copy::{CopyBoth, CopyOut},
    login::{Binding, Login},
    receive::{Message, Receiver},
    send::Sender,
    socket::{Socket, tls_of},
};
use crate::{config::Settings, connection, error, sql};

/// The server speaks both ways from here on; the message is not in the protocol crate.
const COPY_BOTH_RESPONSE_TAG: u8 = b'W';

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawMode {
    /// Statements.
    Query,
    /// Statements and the commands of replication, in a database: `replication=database`.
    Replication,
}

/// One session on the server, read by whoever waits for it: there is no task behind it.
///
/// Dropped while idle, it says good-bye to the server. Dropped while busy, it cancels what the server is doing and
/// closes the socket, so that nothing goes on behind it.
pub struct RawSession {
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    cancel: Cancel,
    bulk: Bulk,
    /// From a statement's start until the server is ready for the next.
    busy: bool,
    /// What the server answered, until it is ready again and the error can be told.
    failure: Option<Error>,
    /// The message of errors.
    doing: String,
}

impl RawSession {
    /// Opens a session in which values look the same whatever the server, the role or the database set.
    ///
    /// # Errors
    /// By kind: network, TLS, authentication, not found (database), timed out.
    pub async fn open(settings: &Settings, context: &Context, mode: RawMode) -> Result<Self> {
        let password = context.secret("password")?;
        let opening = Self::open_with(settings, password.as_ref(), mode);
        let timeout = || Err(connection::not_open_in_time(settings));
        time::timeout(settings.connect_timeout(), opening).await.unwrap_or_else(|_| timeout())
    }

    async fn open_with(settings: &Settings, password: Option<&Secret>, mode: RawMode) -> Result<Self> {
        let doing = connection::opening(settings);
        let opened = Self::log_in(settings, password, mode, &doing).await;
        let mut session = opened.map_err(|error| connection::refine(settings, error))?;
        let settings = sql::session_settings(settings.statement_timeout_ms);
        session.run(&settings, "Could not prepare the session").await?;
        Ok(session)
    }

    async fn log_in(
        settings: &Settings,
        password: Option<&Secret>,
        mode: RawMode,
        doing: &str,
    ) -> Result<Self> {
        let tls = tls_of(settings)?;
        let bulk = Bulk::default();
        let (socket, endpoint) = Socket::connect(settings, tls.as_ref(), &bulk, doing).await?;
        let binding = Binding::of(&socket);
        let (read, write) = tokio::io::split(socket);
        let (mut receiver, sender) = (Receiver::new(read), Sender::new(write));
        let login =
            Login { settings, password, mode, binding, doing, receiver: &mut receiver, sender: &sender };
        let key = login.run().await?;
        Ok(Self {
            receiver,
            sender,
            cancel: Cancel::new(settings, tls, endpoint, key),
            bulk,
            busy: false,
            failure: None,
            doing: String::new(),
        })
    }

    /// Runs statements whose rows nobody wants.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message. The session stays usable.
    pub async fn run(&mut self, statements: &str, doing: &str) -> Result<()> {
        self.simple_query(statements, doing).await.map(drop)
    }

    /// Runs statements; the rows of the last one that gave any.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message. The session stays usable.
    pub async fn simple_query(&mut self, statements: &str, doing: &str) -> Result<TextRows> {
        self.begin(|out| frontend::query(statements, out), doing).await?;
        let mut rows = TextRows::default();
        while let Some(message) = poll_fn(|context| self.poll_message(context)).await? {
            let tag = message.tag;
            let body = self.receiver.take(message);
            match tag {
                backend::ROW_DESCRIPTION_TAG => rows.describe(body)?,
                backend::DATA_ROW_TAG => rows.push(body)?,
                backend::COMMAND_COMPLETE_TAG | backend::EMPTY_QUERY_RESPONSE_TAG => {}
                tag => return Err(answer::unexpected(tag, "in answer to a statement")),
            }
        }
        Ok(rows)
    }

    /// Asks what columns a statement gives, as OID and modifier of their types. In a transaction, the locks that the
    /// answer rests on are held until its end.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message. The session stays usable.
    pub async fn describe(&mut self, statement: &str, doing: &str) -> Result<Vec<(u32, i32)>> {
        let ask = |out: &mut BytesMut| {
            frontend::parse("", statement, [], out)?;
            frontend::describe(b'S', "", out)?;
            frontend::sync(out);
            Ok(())
        };
        self.begin(ask, doing).await?;
        let mut columns = Vec::new();
        while let Some(message) = poll_fn(|context| self.poll_message(context)).await? {
            let tag = message.tag;
            let body = self.receiver.take(message);
            match tag {
                backend::ROW_DESCRIPTION_TAG => columns = answer::columns(body)?,
                backend::PARSE_COMPLETE_TAG | backend::PARAMETER_DESCRIPTION_TAG | backend::NO_DATA_TAG => {}
                tag => return Err(answer::unexpected(tag, "where a statement was to be described")),
            }
        }
        Ok(columns.into_iter().map(|column| (column.type_oid, column.type_modifier)).collect())
    }

    /// Starts a `COPY … TO STDOUT`.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn copy_out(mut self, statement: &str, doing: &str) -> Result<CopyOut> {
        self.start_copy(backend::COPY_OUT_RESPONSE_TAG, statement, doing).await?;
        self.bulk.begin();
        Ok(CopyOut::new(self))
    }

    /// Starts what sends in both directions: `START_REPLICATION`.
    ///
    /// # Errors
    /// As the server answers, with `doing` as the message.
    pub async fn copy_both(mut self, statement: &str, doing: &str) -> Result<CopyBoth> {
        self.start_copy(COPY_BOTH_RESPONSE_TAG, statement, doing).await?;
        Ok(CopyBoth::new(self))
    }

    async fn start_copy(&mut self, expected: u8, statement: &str, doing: &str) -> Result<()> {
        self.begin(|out| frontend::query(statement, out), doing).await?;
        match poll_fn(|context| self.poll_message(context)).await? {
            Some(message) if message.tag == expected => {
                self.receiver.take(message);
                Ok(())
            }
            Some(message) => Err(answer::unexpected(message.tag, "where a COPY was to start")),
            None => {
                Err(Error::new(ErrorKind::Protocol, "The server ran a statement that was to start a COPY"))
            }
        }
    }

    /// Ends on the server what the session is doing.
    pub fn canceller(&self) -> Canceller {
        self.cancel.canceller()
    }

    /// Whether a statement is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    async fn begin(&mut self, ask: impl FnOnce(&mut BytesMut) -> io::Result<()>, doing: &str) -> Result<()> {
        if self.busy {
            return Err(Error::new(ErrorKind::Poisoned, "The session was left in the middle of a statement"));
        }
        doing.clone_into(&mut self.doing);
        self.busy = true;
        self.sender.send(ask).await.map_err(|error| error::from_socket(doing, &error))
    }

    /// The next message that is part of an answer; ready with `None` when the server takes the next statement.
    ///
    /// # Errors
    /// What the server answered, once it is ready again, or has closed the connection.
    pub(super) fn poll_message(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<Option<Message>>> {
        loop {
            let Some(message) = self.receiver.peek()? else {
                if let Err(error) = ready!(self.receiver.poll_fill(context)) {
                    let lost = || error::from_socket(&self.doing, &error);
                    return Poll::Ready(Err(self.failure.take().unwrap_or_else(lost)));
                }
                continue;
            };
            match message.tag {
                backend::NOTICE_RESPONSE_TAG
                | backend::NOTIFICATION_RESPONSE_TAG
                | backend::PARAMETER_STATUS_TAG => {
                    self.receiver.take(message);
                }
                backend::ERROR_RESPONSE_TAG => {
                    let error = answer::error_response(&self.doing, self.receiver.take(message));
                    self.failure.get_or_insert(error);
                }
                backend::READY_FOR_QUERY_TAG => {
                    self.receiver.take(message);
                    self.busy = false;
                    return Poll::Ready(self.failure.take().map_or(Ok(None), Err));
                }
                _ => return Poll::Ready(Ok(Some(message))),
            }
        }
    }
}

impl Drop for RawSession {
    fn drop(&mut self) {
        if self.busy {
            self.cancel.send();
        } else {
            self.sender.send_now(frontend::terminate);
        }
    }
}
