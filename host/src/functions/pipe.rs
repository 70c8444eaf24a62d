//! Where the text of a guest goes: its standard output to whoever reads it, its standard error to the log.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as Task, Poll},
};

use bytes::Bytes;
use hub_plugin_api::{Context, Level};
use tokio::{io::AsyncWrite, sync::Notify};
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::shell::LogBudget;

/// The most bytes that one write may have.
const WRITE_BYTES: usize = 64 << 10;

/// Bytes of standard error that an error may quote.
const QUOTED_BYTES: usize = 2 << 10;

/// A bounded queue of bytes between a guest that prints and the hub that reads.
#[derive(Clone)]
pub(super) struct Pipe(Arc<PipeState>);

struct PipeState {
    capacity: usize,
    bytes: Mutex<Vec<u8>>,
    written: Notify,
    taken: Notify,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Self {
        let (written, taken) = (Notify::new(), Notify::new());
        Self(Arc::new(PipeState { capacity, bytes: Mutex::default(), written, taken }))
    }

    /// Waits until at least `count` bytes are there, or as many as fit.
    pub(super) async fn filled(&self, count: usize) {
        let count = count.min(self.0.capacity);
        loop {
            let written = self.0.written.notified();
            if self.bytes().len() >= count {
                return;
            }
            written.await;
        }
    }

    /// Takes what is there.
    pub(super) fn take(&self) -> Vec<u8> {
        let bytes = std::mem::take(&mut *self.bytes());
        self.0.taken.notify_waiters();
        bytes
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> usize {
        self.0.capacity.saturating_sub(self.bytes().len()).min(WRITE_BYTES)
    }

    fn put(&self, bytes: &[u8]) {
        self.bytes().extend_from_slice(bytes);
        self.0.written.notify_waiters();
    }
}

#[async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {
        loop {
            let taken = self.0.taken.notified();
            if self.room() > 0 {
                return;
            }
            taken.await;
        }
    }
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.room())
    }
}

/// Standard error: lines for the log, the last of which an error quotes.
#[derive(Clone)]
pub(crate) struct Complaints(Arc<Mutex<ComplaintState>>);

struct ComplaintState {
    context: Context,
    budget: LogBudget,
    line: Vec<u8>,
    quoted: String,
}

impl Complaints {
    pub(super) fn new(context: Context, budget: LogBudget) -> Self {
        Self(Arc::new(Mutex::new(ComplaintState {
            context,
            budget,
            line: Vec::new(),
            quoted: String::new(),
        })))
    }

    /// The last lines, when there are any.
    pub(crate) fn quoted(&self) -> Option<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.end_line();
        (!state.quoted.is_empty()).then(|| state.quoted.clone())
    }
}

/// Whether a line tells to set a variable of the environment, which a guest does not have: what Rust prints behind a panic.
fn is_advice(line: &str) -> bool {
    line.starts_with("note: run with `RUST_BACKTRACE=")
}

impl ComplaintState {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = QUOTED_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() || is_advice(line) {
            return;
        }
        self.budget.log(&self.context, Level::Warn, line.to_owned());
        if !self.quoted.is_empty() {
            self.quoted.push_str(" · ");
        }
        self.quoted.push_str(line);
        let excess = self.quoted.len().saturating_sub(QUOTED_BYTES);
        let start = (excess..self.quoted.len()).find(|at| self.quoted.is_char_boundary(*at)).unwrap_or(0);
        self.quoted.drain(..start);
    }
}

#[async_trait]
impl Pollable for Complaints {
    async fn ready(&mut self) {}
}

impl OutputStream for Complaints {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

/// What the older interface writes to; guests of WASI 0.2 never do.
struct Older<T>(T);

impl<T: OutputStream + Unpin> AsyncWrite for Older<T> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let room = self.0.check_write().map_err(io::Error::other)?;
        let count = room.min(bytes.len());
        self.0.write(Bytes::copy_from_slice(&bytes[..count])).map_err(io::Error::other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

macro_rules! standard_stream {
    ($kind:ty) => {
        impl IsTerminal for $kind {
            fn is_terminal(&self) -> bool {
                false
            }
        }

        impl StdoutStream for $kind {
            fn p2_stream(&self) -> Box<dyn OutputStream> {
                Box::new(self.clone())
            }

            fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
                Box::new(Older(self.clone()))
            }
        }
    };
}

standard_stream!(Pipe);
standard_stream!(Complaints);
