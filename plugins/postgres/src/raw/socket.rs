//! A connection's bytes: TCP, Unix socket, or TLS over TCP.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use hub_plugin_api::{Error, ErrorKind, Result};
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
};

use super::bulk::{Bulk, BulkTcp};
use crate::{
    config::{Settings, SslMode},
    error,
    tls::{MakeTls, Stream},
};

/// A server that has vanished is noticed within a minute and a half, not after hours.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Where a connection leads, for a second one to the same server.
#[derive(Clone, Debug)]
pub(super) enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection's bytes.
pub(super) enum Socket {
    Tcp(BulkTcp),
    Unix(UnixStream),
    Tls(Box<Stream<BulkTcp>>),
}

/// What TLS is made with; `None` where there is none. A Unix socket does not leave the machine, and servers speak no
/// TLS on it.
pub(super) fn tls_of(settings: &Settings) -> Result<Option<MakeTls>> {
    if settings.ssl_mode == SslMode::Disable || settings.is_unix_socket() {
        return Ok(None);
    }
    MakeTls::new(settings).map(Some)
}

impl Socket {
    /// Connects to the first of the host's addresses that answers.
    pub(super) async fn connect(
        settings: &Settings,
        tls: Option<&MakeTls>,
        bulk: &Bulk,
        doing: &str,
    ) -> Result<(Self, Endpoint)> {
        let failed = |error: io::Error| error::from_socket(doing, &error);
        if settings.is_unix_socket() {
            let path = PathBuf::from(&settings.host).join(format!(".s.PGSQL.{}", settings.port));
            let endpoint = Endpoint::Unix(path);
            return Ok((Self::connect_to(&endpoint, settings, tls, bulk, doing).await?, endpoint));
        }
        let addresses = lookup_host((settings.host.as_str(), settings.port)).await.map_err(failed)?;
        let mut last = Error::new(ErrorKind::Network, doing);
        last.source = Some("the name has no address".into());
        for address in addresses {
            let endpoint = Endpoint::Tcp(address);
            match Self::connect_to(&endpoint, settings, tls, bulk, doing).await {
                Ok(socket) => return Ok((socket, endpoint)),
                Err(error) if error.kind == ErrorKind::Network => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Connects to a server that was found before.
    pub(super) async fn connect_to(
        endpoint: &Endpoint,
        settings: &Settings,
        tls: Option<&MakeTls>,
        bulk: &Bulk,
        doing: &str,
    ) -> Result<Self> {
        let failed = |error: io::Error| error::from_socket(doing, &error);
        match endpoint {
            Endpoint::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await.map_err(failed)?)),
            Endpoint::Tcp(address) => {
                let mut stream = TcpStream::connect(address).await.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE).map_err(failed)?;
                let Some(tls) = tls else { return Ok(Self::Tcp(BulkTcp::new(stream, bulk.clone()))) };
                if !takes_tls(&mut stream).await.map_err(failed)? {
                    let mut refused = Error::new(ErrorKind::Tls, doing);
                    refused.source = Some("the server does not support TLS".into());
                    return Err(refused);
                }
                let stream = tls
                    .handshake(&settings.host, BulkTcp::new(stream, bulk.clone()))
                    .await
                    .map_err(|error| Error { kind: ErrorKind::Tls, ..error::from_socket(doing, &error) })?;
                Ok(Self::Tls(Box::new(stream)))
            }
        }
    }

    /// What a SCRAM login is bound to; `None` without TLS, and for certificates that bind nothing.
    pub(super) fn server_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tls(stream) => stream.server_end_point(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// Whether the login could be bound to the connection, had the certificate something to bind to.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// Asks for TLS. The answer is one byte, and no more is read: whatever someone put behind it in clear text is taken
/// for TLS, and fails.
async fn takes_tls(stream: &mut TcpStream) -> io::Result<bool> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match stream.read_u8().await? {
        b'S' => Ok(true),
        _ => Ok(false),
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
