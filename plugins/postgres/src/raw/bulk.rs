//! A TCP connection that takes its time while data pours in.
//!
//! A server sends 8 KiB at a time, and a socket that is watched wakes two threads of ours for each: the runtime's, which
//! watches, and the reader's. That costs more than decoding does, on both sides. So while data pours in nobody watches:
//! a socket that has run dry is looked at again after a moment, in which much has come. Two readers of `lineitem` side
//! by side, on two cores, went from 0.88 to 1.03 of the speed of two `psql`.

use std::{
    io::{self, Read as _, Write as _},
    mem::replace,
    net,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    runtime::Handle,
};

/// How long data gathers. The reader's thread sleeps through it: a timer of the runtime's would wake as many threads as
/// the socket does. What a server sends meanwhile fits the system's buffers.
const MOMENT: Duration = Duration::from_micros(300);
/// After so many moments without data the connection is watched again.
const PATIENCE: u32 = 4;
/// Data that comes in such portions pours: half of what a server sends at a time.
const PORTION: usize = 4 << 10;

/// Says from outside whether much is to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Bulk(Arc<AtomicBool>);

impl Bulk {
    /// From here on data may gather. Whoever reads must be on a thread that may sleep for a moment.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A TCP connection, watched or not.
pub(super) struct BulkTcp {
    state: State,
    bulk: Bulk,
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
    pub(super) fn new(stream: TcpStream, bulk: Bulk) -> Self {
        Self { state: State::Watched(stream), bulk, sender_waits: false }
    }

    fn watch(&mut self) -> io::Result<&mut TcpStream> {
        self.state = match replace(&mut self.state, State::Lost) {
            // Outside of a runtime there is nobody to watch: a session that is dropped says a good-bye at most.
            State::Unwatched(stream, _) if Handle::try_current().is_ok() => {
                State::Watched(TcpStream::from_std(stream)?)
            }
            State::Unwatched(..) => State::Lost,
            other => other,
        };
        match &mut self.state {
            State::Watched(stream) => Ok(stream),
            State::Unwatched(..) | State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn unwatch(&mut self) -> io::Result<()> {
        self.state = match replace(&mut self.state, State::Lost) {
            State::Watched(stream) => State::Unwatched(stream.into_std()?, 0),
            other => other,
        };
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
        if buffer.filled().len() - before >= PORTION && self.bulk.is_on() && !self.sender_waits {
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
