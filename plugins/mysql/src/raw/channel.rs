//! Packets over a socket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hub_plugin_api::{Error, ErrorKind, Result};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

use crate::{error, tls::Tls};

/// The bytes of one packet at most; a payload of this length goes on in the next one.
const MAX_PACKET: usize = 0xff_ffff;
/// What is read from the socket at a time.
const READ_BYTES: usize = 256 << 10;
/// The largest payload that is taken: as large as a server sends one, `max_allowed_packet`.
const MAX_PAYLOAD: usize = 1 << 30;

/// What carries the bytes.
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
    /// Between two others.
    None,
}

/// A payload that lies in the channel until the next one is taken.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    start: usize,
    end: usize,
    joined: bool,
}

/// Sends and receives payloads. A receive that is dropped loses nothing.
pub struct Channel {
    transport: Transport,
    input: Vec<u8>,
    /// What of `input` is received and not taken.
    start: usize,
    end: usize,
    /// A payload of several packets.
    joined: Vec<u8>,
    joining: bool,
    sequence: u8,
}

impl Channel {
    /// Over TCP.
    pub fn tcp(stream: TcpStream) -> Self {
        Self::over(Transport::Plain(stream))
    }

    /// Over a Unix socket.
    pub fn unix(stream: UnixStream) -> Self {
        Self::over(Transport::Unix(stream))
    }

    /// Over nothing.
    pub fn closed() -> Self {
        Self { input: Vec::new(), ..Self::over(Transport::None) }
    }

    fn over(transport: Transport) -> Self {
        Self {
            transport,
            input: vec![0; 16 << 10],
            start: 0,
            end: 0,
            joined: Vec::new(),
            joining: false,
            sequence: 0,
        }
    }

    /// Whether nobody in between can read or change what is sent.
    pub fn is_private(&self) -> bool {
        matches!(self.transport, Transport::Tls(_) | Transport::Unix(_))
    }

    /// Goes on under TLS.
    ///
    /// # Errors
    /// When the two do not agree.
    pub async fn secure(&mut self, tls: &Tls, host: &str) -> io::Result<()> {
        match std::mem::replace(&mut self.transport, Transport::None) {
            Transport::Plain(stream) => {
                self.transport = Transport::Tls(Box::new(tls.handshake(host, stream).await?));
                Ok(())
            }
            other => {
                self.transport = other;
                Err(io::Error::new(io::ErrorKind::InvalidInput, "Only TCP goes on under TLS"))
            }
        }
    }

    /// The next payload begins an exchange.
    pub fn restart_sequence(&mut self) {
        self.sequence = 0;
    }

    /// Sends a payload, in several packets where it is long. Not to be given up half-way.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut rest = payload;
        loop {
            let (part, behind) = rest.split_at(rest.len().min(MAX_PACKET));
            let length = (part.len() as u32).to_le_bytes();
            let header = [length[0], length[1], length[2], self.sequence];
            self.sequence = self.sequence.wrapping_add(1);
            if part.len() < 16 << 10 {
                let mut packet = Vec::with_capacity(4 + part.len());
                packet.extend_from_slice(&header);
                packet.extend_from_slice(part);
                self.transport.write_all(&packet).await?;
            } else {
                self.transport.write_all(&header).await?;
                self.transport.write_all(part).await?;
            }
            // A payload that fills its last packet is ended by an empty one.
            if part.len() < MAX_PACKET {
                return self.transport.flush().await;
            }
            rest = behind;
        }
    }

    /// The next payload, if it is received whole.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when packets are missing or too long.
    pub fn take(&mut self) -> Result<Option<Payload>> {
        loop {
            let received = &self.input[self.start..self.end];
            let Some(&[low, middle, high, sequence]) = received.first_chunk::<4>() else { return Ok(None) };
            let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
            if received.len() < 4 + length {
                return Ok(None);
            }
            if sequence != self.sequence {
                return Err(error::protocol(&format!(
                    "Packet `{sequence}` came instead of `{}`",
                    self.sequence
                )));
            }
            self.sequence = self.sequence.wrapping_add(1);
            let (start, end) = (self.start + 4, self.start + 4 + length);
            self.start = end;
            if !self.joining && length < MAX_PACKET {
                return Ok(Some(Payload { start, end, joined: false }));
            }
            if !self.joining {
                self.joined.clear();
            }
            self.joining = length == MAX_PACKET;
            if self.joined.len() + length > MAX_PAYLOAD {
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    "The server sends more than 1 GiB as one row",
                ));
            }
            self.joined.extend_from_slice(&self.input[start..end]);
            if !self.joining {
                return Ok(Some(Payload { start: 0, end: self.joined.len(), joined: true }));
            }
        }
    }

    /// The bytes of the payload that was taken last.
    pub fn bytes(&self, payload: Payload) -> &[u8] {
        let buffer = if payload.joined { &self.joined } else { &self.input };
        &buffer[payload.start..payload.end]
    }

    /// Receives more. Payloads that were taken are gone then.
    ///
    /// # Errors
    /// When the socket fails, or the server has closed it.
    pub fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = self.end - self.start;
        let wanted = match self.input[self.start..self.end].first_chunk::<3>() {
            Some(&[low, middle, high]) => {
                4 + (usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16)
            }
            None => 4,
        };
        if self.start > 0 && (waiting == 0 || self.input.len() - self.start < wanted.max(READ_BYTES / 2)) {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, waiting);
        }
        if self.end == self.input.len() || self.input.len() - self.start < wanted {
            let length = (self.input.len() * 2).min(READ_BYTES).max(wanted + 4);
            self.input.resize(length.max(self.end + 1), 0);
        } else if waiting == 0 && self.input.len() > READ_BYTES {
            // One large row does not keep its memory for good.
            self.input.truncate(READ_BYTES);
            self.input.shrink_to_fit();
        }
        let mut buffer = ReadBuf::new(&mut self.input[self.end..]);
        ready!(self.transport.poll_read(context, &mut buffer))?;
        let received = buffer.filled().len();
        if received == 0 {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "The server has closed the connection",
            )));
        }
        self.end += received;
        if self.joining && self.joined.capacity() < self.joined.len() + received {
            self.joined.reserve(MAX_PACKET);
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::None => Poll::Ready(Err(gone())),
        }
    }

    fn as_write(&mut self) -> io::Result<Pin<Box<dyn AsyncWrite + Send + '_>>> {
        Ok(match self {
            Self::Plain(stream) => Box::pin(stream),
            Self::Tls(stream) => Box::pin(stream.as_mut()),
            Self::Unix(stream) => Box::pin(stream),
            Self::None => return Err(gone()),
        })
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.as_write()?.write_all(bytes).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.as_write()?.flush().await
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "TLS could not be agreed on")
}
