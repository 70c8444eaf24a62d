//! TLS of sessions: rustls with ring, for our own protocol and as `tokio_postgres` wants it.

mod binding;

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hub_plugin_api::Result;
use hub_plugin_tls::{Files, Verify, client_config};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::{TlsConnector, client};

use crate::config::{Settings, SslMode};

/// Makes the TLS half of a session. Cheap to clone.
#[derive(Clone)]
pub struct MakeTls(Arc<ClientConfig>);

impl MakeTls {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field of the file that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self> {
        let verify = match settings.ssl_mode {
            SslMode::VerifyFull => Verify::ChainAndName,
            SslMode::Require | SslMode::Disable if settings.ca_file.is_some() => Verify::Chain,
            SslMode::Require | SslMode::Disable => Verify::Nothing,
        };
        let files = Files {
            ca_file: settings.ca_file.as_deref(),
            client_certificate: settings.client_certificate.as_deref(),
            client_key: settings.client_key.as_deref(),
        };
        client_config("ssl_mode", verify, files).map(Self)
    }

    /// Agrees on TLS with a server that was asked for it and takes it.
    ///
    /// # Errors
    /// When the name is none, the server refuses, or its certificate is refused.
    pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        stream: S,
    ) -> io::Result<Stream<S>> {
        let connector = TlsConnector::from(Arc::clone(&self.0));
        connector.connect(server_name(host)?, stream).await.map(Stream)
    }
}

fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for MakeTls {
    type Stream = Stream<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connect> {
        Ok(Connect { connector: TlsConnector::from(Arc::clone(&self.0)), name: server_name(domain)? })
    }
}

/// One handshake to be made.
pub struct Connect {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connect {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, stream).await.map(Stream) })
    }
}

/// A session's bytes under TLS.
pub struct Stream<S>(client::TlsStream<S>);

impl<S> Stream<S> {
    /// What a SCRAM login is bound to; `None` where the server's certificate binds nothing.
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        let certificate = self.0.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        certificate.and_then(|certificate| binding::server_end_point(certificate))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.server_end_point().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
