use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use hub_plugin_api::{Canceller, Error, ErrorKind, Result};
use postgres_protocol::message::{backend, frontend::CopyData};

use super::{answer, send::Sender, session::RawSession};
use crate::error;

/// A `COPY … TO STDOUT` under way.
pub struct CopyOut(Incoming);

impl CopyOut {
    pub(super) fn new(session: RawSession) -> Self {
        Self(Incoming { session, done: false, completed: false })
    }

    /// Waits until [`CopyOut::take`] has something (`true`), or everything was sent (`false`).
    ///
    /// # Errors
    /// As the server answers, and when the connection is gone.
    pub fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Result<bool>> {
        loop {
            if ready!(self.0.poll_data(context))? {
                return Poll::Ready(Ok(true));
            }
            if !self.0.session.is_busy() {
                return Poll::Ready(Ok(false));
            }
        }
    }

    /// The next data that has come whole, where it lies in the buffer; `None` when [`CopyOut::poll_wait`] is to be asked.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when a message is not as documented.
    #[inline]
    pub fn take(&mut self) -> Result<Option<&[u8]>> {
        self.0.take()
    }

    /// Ends on the server what is under way.
    pub fn canceller(&self) -> Canceller {
        self.0.session.canceller()
    }
}

/// A stream in both directions under way: what replication is made of.
pub struct CopyBoth(Incoming);

impl CopyBoth {
    pub(super) fn new(session: RawSession) -> Self {
        Self(Incoming { session, done: false, completed: false })
    }

    /// Waits until [`CopyBoth::take`] has something (`true`), or the server has ended the stream (`false`).
    ///
    /// # Errors
    /// As the server answers, and when the connection is gone: [`ErrorKind::Unavailable`] when the server shut down.
    pub fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Result<bool>> {
        self.0.poll_data(context)
    }

    /// As [`CopyBoth::poll_wait`]. May be dropped and asked again.
    ///
    /// # Errors
    /// As [`CopyBoth::poll_wait`].
    pub async fn wait(&mut self) -> Result<bool> {
        poll_fn(|context| self.poll_wait(context)).await
    }

    /// The next data that has come whole, where it lies in the buffer; `None` when [`CopyBoth::wait`] is to be asked.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when a message is not as documented.
    #[inline]
    pub fn take(&mut self) -> Result<Option<&[u8]>> {
        self.0.take()
    }

    /// Sends from another task while nobody reads here.
    pub fn sender(&self) -> CopySender {
        CopySender(self.0.session.sender.clone())
    }

    /// Ends on the server what is under way.
    pub fn canceller(&self) -> Canceller {
        self.0.session.canceller()
    }
}

/// Sends data of a [`CopyBoth`] from whatever task.
#[derive(Clone)]
pub struct CopySender(Sender);

impl CopySender {
    /// Sends data. When it is dropped half-way, the rest goes out with the next.
    ///
    /// # Errors
    /// [`ErrorKind::Network`] when the connection is gone.
    pub async fn send(&self, payload: &[u8]) -> Result<()> {
        let put = |out: &mut _| {
            CopyData::new(payload)?.write(out);
            Ok(())
        };
        self.0.send(put).await.map_err(|error| error::from_socket("Could not answer the server", &error))
    }
}

/// Data that the server sends.
struct Incoming {
    session: RawSession,
    /// The server has said that no more data comes.
    done: bool,
    /// It has also said that the statement is complete.
    completed: bool,
}

impl Incoming {
    #[inline]
    fn take(&mut self) -> Result<Option<&[u8]>> {
        let receiver = &mut self.session.receiver;
        Ok(match receiver.peek()? {
            Some(message) if message.tag == backend::COPY_DATA_TAG => Some(receiver.take(message)),
            _ => None,
        })
    }

    /// Ready with `true` when data is there, with `false` at each further step of the stream's end.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<bool>> {
        let message = match ready!(self.session.poll_message(context)) {
            Ok(Some(message)) => message,
            Ok(None) if self.done => return Poll::Ready(Ok(false)),
            Ok(None) => {
                let message = "The server ended a stream of data without saying so";
                return Poll::Ready(Err(Error::new(ErrorKind::Protocol, message)));
            }
            // A server that shuts down ends the statement and then closes the connection.
            Err(error) if self.completed && error.kind == ErrorKind::Network => {
                return Poll::Ready(Err(
                    Error { kind: ErrorKind::Unavailable, ..error }.with_hint("The server is shutting down")
                ));
            }
            Err(error) => return Poll::Ready(Err(error)),
        };
        match message.tag {
            backend::COPY_DATA_TAG if !self.done => return Poll::Ready(Ok(true)),
            backend::COPY_DONE_TAG => self.done = true,
            backend::COMMAND_COMPLETE_TAG => (self.done, self.completed) = (true, true),
            tag => return Poll::Ready(Err(answer::unexpected(tag, "in a stream of data"))),
        }
        self.session.receiver.take(message);
        Poll::Ready(Ok(false))
    }
}
