//! TLS of sessions: rustls with ring.

mod verify;

use std::{io, path::Path, sync::Arc};

use hub_plugin_api::{Error, Result};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
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
        let provider = Arc::new(ring::default_provider());
        let unusable =
            |error: rustls::Error| Error::config("tls_mode", "TLS cannot be set up").with_source(&error);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let roots = || match &settings.ca_file {
            Some(path) => authorities(path),
            None => Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<RootCertStore>()),
        };
        let without_name = |roots| Arc::new(verify::WithoutName { provider, roots });
        let builder = match settings.tls_mode {
            TlsMode::VerifyIdentity => builder.with_root_certificates(roots()?),
            TlsMode::VerifyCa => {
                builder.dangerous().with_custom_certificate_verifier(without_name(Some(roots()?)))
            }
            TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => {
                builder.dangerous().with_custom_certificate_verifier(without_name(None))
            }
        };
        let config = match (&settings.client_certificate, &settings.client_key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates("client_certificate", certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unreadable("client_key", key, &error))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    Error::config("client_key", "The client certificate and its key do not fit")
                        .with_source(&error)
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
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

fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", path)? {
        roots.add(certificate).map_err(|error| {
            Error::config(
                "ca_file",
                format!("`{}` holds a certificate that cannot be trusted", path.display()),
            )
            .with_source(&error)
        })?;
    }
    Ok(roots)
}

fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(field, path, &error))?;
    if chain.is_empty() {
        return Err(Error::config(field, format!("`{}` holds no certificate", path.display()))
            .with_hint("The file must be PEM, with `BEGIN CERTIFICATE` lines"));
    }
    Ok(chain)
}

fn unreadable(field: &str, path: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::config(field, format!("`{}` cannot be read", path.display())).with_source(error)
}
