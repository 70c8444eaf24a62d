//! The half of a connection that is written.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncWrite as _, WriteHalf},
    sync::Mutex,
};

use super::socket::Socket;

/// Writes messages. Clones write to the same connection, from whatever task.
#[derive(Clone)]
pub(super) struct Sender(Arc<Mutex<Outgoing>>);

struct Outgoing {
    half: WriteHalf<Socket>,
    /// Kept between calls: when a call is dropped half-way, the rest of its messages goes out before the next.
    pending: BytesMut,
}

impl Sender {
    pub(super) fn new(half: WriteHalf<Socket>) -> Self {
        Self(Arc::new(Mutex::new(Outgoing { half, pending: BytesMut::new() })))
    }

    /// Sends the messages that `put` appends. Nothing of them is kept when it fails.
    pub(super) async fn send(&self, put: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> io::Result<()> {
        let mut outgoing = self.0.lock().await;
        let before = outgoing.pending.len();
        if let Err(error) = put(&mut outgoing.pending) {
            outgoing.pending.truncate(before);
            return Err(error);
        }
        poll_fn(|context| outgoing.poll_out(context)).await
    }

    /// Sends as much as the system takes without waiting: a good-bye that nobody waits for.
    pub(super) fn send_now(&self, put: impl FnOnce(&mut BytesMut)) {
        if let Ok(mut outgoing) = self.0.try_lock() {
            put(&mut outgoing.pending);
            let _ = outgoing.poll_out(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl Outgoing {
    fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.half).poll_write(context, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.advance(written);
        }
        Pin::new(&mut self.half).poll_flush(context)
    }
}
