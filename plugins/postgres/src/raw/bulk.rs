//! A TCP connection that takes its time while data pours in.
//!
//! A server sends 8 KiB at a time, and a socket that is watched wakes two threads of ours for each: the runtime's, which
//! watches, and the reader's. That costs more than decoding does, on both sides. So while data pours in nobody watches:
//! a socket that has run dry is looked at again after a moment, in which much has come.

use std::{
    io::{self, Read as _, Write as _},
    mem::replace,
    net,
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How long data gathers. A thread sleeps through it, as it would be busy for about as long with decoding a buffer; a
/// timer of the runtime's would wake as many threads as the socket.
const MOMENT: Duration = Duration::from_micros(300);
/// After so many moments without data the connection is watched again.
const PATIENCE: u32 = 4;
/// Data that comes in such portions pours.
const PORTION: usize = 16 << 10;

/// A TCP connection, watched or not.
pub(super) struct BulkTcp {
    state: State,
    /// Somebody waits for room to send, and would never hear of it from a connection that nobody watches.
    sender_waits: bool,
}

enum State {
    Watched(TcpStream),
    /// And how many moments brought nothing.
    Unwatched(net::TcpStream, u32),
    /// Between the two; the connection is gone where it stays.
    Lost,
}

impl BulkTcp {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { state: State::Watched(stream), sender_waits: false }
    }

    fn watch(&mut self) -> io::Result<&mut TcpStream> {
        self.state = match replace(&mut self.state, State::Lost) {
            State::Unwatched(stream, _) => State::Watched(TcpStream::from_std(stream)?),
            other => other,
        };
        match &mut self.state {
            State::Watched(stream) => Ok(stream),
            State::Unwatched(..) | State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn unwatch(&mut self) -> io::Result<()> {
        if !self.sender_waits {
            self.state = match replace(&mut self.state, State::Lost) {
                State::Watched(stream) => State::Unwatched(stream.into_std()?, 0),
                other => other,
            };
        }
        Ok(())
    }
}

impl AsyncRead for BulkTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while let State::Unwatched(stream, empty) = &mut self.state {
            match stream.read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    *empty = 0;
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if *empty == PATIENCE {
                        self.watch()?;
                    } else {
                        *empty += 1;
                        thread::sleep(MOMENT);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let before = buffer.filled().len();
        ready!(Pin::new(self.watch()?).poll_read(context, buffer))?;
        if buffer.filled().len() - before >= PORTION {
            self.unwatch()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BulkTcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let State::Unwatched(stream, _) = &mut self.state {
            match stream.write(bytes) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                other => return Poll::Ready(other),
            }
        }
        let written = Pin::new(self.watch()?).poll_write(context, bytes);
        self.sender_waits = written.is_pending();
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The system's buffer is no buffer of ours.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.watch()?).poll_shutdown(context)
    }
}
