//! The half of a connection that is read: one large buffer, out of which messages are cut.

use std::{
    future::poll_fn,
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hub_plugin_api::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead as _, ReadBuf, ReadHalf};

use super::socket::Socket;

/// Tag and length.
const HEAD: usize = 5;
/// Room for messages: many rows with one call to the system, and small enough to stay in the processor's cache.
const BUFFER_BYTES: usize = 256 << 10;
/// No message of a login is as long as this.
const LOGIN_BYTES: usize = 1 << 20;
/// A message is asked for room piece by piece, whatever length it claims to have.
const GROWTH_BYTES: usize = 4 << 20;

/// One message: its tag, and where its contents lie.
pub(super) struct Message {
    pub tag: u8,
    pub body: Range<usize>,
}

/// Reads messages.
pub(super) struct Receiver {
    half: ReadHalf<Socket>,
    buffer: Vec<u8>,
    /// What was read and not taken.
    filled: Range<usize>,
}

impl Receiver {
    pub(super) fn new(half: ReadHalf<Socket>) -> Self {
        Self { half, buffer: vec![0; BUFFER_BYTES], filled: 0..0 }
    }

    /// Tag and length of the next message; the length counts itself, and not the tag.
    #[inline]
    fn head(&self) -> Result<Option<(u8, usize)>> {
        let Some((&[tag, a, b, c, d], _)) = self.buffer[self.filled.clone()].split_first_chunk::<HEAD>()
        else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length < 4 || length > i32::MAX as usize {
            return Err(impossible(tag, length));
        }
        Ok(Some((tag, length)))
    }

    /// The next message, when it is there whole.
    #[inline]
    pub(super) fn peek(&self) -> Result<Option<Message>> {
        let Some((tag, length)) = self.head()? else { return Ok(None) };
        let end = self.filled.start + 1 + length;
        if end > self.filled.end {
            return Ok(None);
        }
        Ok(Some(Message { tag, body: self.filled.start + HEAD..end }))
    }

    /// Takes a message that was peeked at.
    #[inline]
    pub(super) fn take(&mut self, message: Message) -> &[u8] {
        self.filled.start = message.body.end;
        &self.buffer[message.body]
    }

    /// Reads what is there, at least one byte.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.make_room();
        let mut room = ReadBuf::new(&mut self.buffer[self.filled.end..]);
        ready!(Pin::new(&mut self.half).poll_read(context, &mut room))?;
        let read = room.filled().len();
        self.filled.end += read;
        Poll::Ready(if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
    }

    /// The next message of a login, waited for. What speaks another protocol claims lengths of another kind.
    pub(super) async fn next_of_login(&mut self) -> Result<io::Result<Message>> {
        loop {
            if let Some((tag, length @ LOGIN_BYTES..)) = self.head()? {
                return Err(impossible(tag, length));
            }
            if let Some(message) = self.peek()? {
                return Ok(Ok(message));
            }
            if let Err(error) = poll_fn(|context| self.poll_fill(context)).await {
                return Ok(Err(error));
            }
        }
    }

    /// Moves what is left to the front where the end is near, and grows where one message fills everything.
    fn make_room(&mut self) {
        if self.filled.is_empty() {
            self.filled = 0..0;
            if self.buffer.len() > BUFFER_BYTES {
                // After a message of many megabytes.
                self.buffer = vec![0; BUFFER_BYTES];
            }
        }
        // Less room than a quarter would mean many small reads.
        if self.buffer.len() - self.filled.end >= self.buffer.len() / 4 {
            return;
        }
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        if self.buffer.len() - self.filled.end < self.buffer.len() / 4 {
            let more = self.buffer.len().min(GROWTH_BYTES);
            self.buffer.resize(self.buffer.len() + more, 0);
        }
    }
}

#[cold]
fn impossible(tag: u8, length: usize) -> Error {
    let tag = tag.escape_ascii();
    Error::new(ErrorKind::Protocol, format!("The server sent a message `{tag}` of `{length}` bytes"))
        .with_hint("Check that host and port are those of a PostgreSQL server")
}
