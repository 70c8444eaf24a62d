//! TLS of sessions: rustls with ring.

use std::{io, sync::Arc};

use hub_plugin_api::Result;
use hub_plugin_tls::{Files, Verify, client_config};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::config::{Settings, TlsMode};

/// Makes the TLS half of sessions. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field of the file that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self> {
        let verify = match settings.tls_mode {
            TlsMode::VerifyIdentity => Verify::ChainAndName,
            TlsMode::VerifyCa => Verify::Chain,
            TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => Verify::Nothing,
        };
        let files = Files {
            ca_file: settings.ca_file.as_deref(),
            client_certificate: settings.client_certificate.as_deref(),
            client_key: settings.client_key.as_deref(),
        };
        client_config("tls_mode", verify, files).map(Self)
    }

    /// Agrees on TLS with a server that takes it.
    ///
    /// # Errors
    /// When the name is none, the server refuses, or its certificate is refused.
    pub async fn handshake(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}
