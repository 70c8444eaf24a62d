//! TLS of sessions: rustls with ring, as the driver wants it.

use std::{fs, path::Path};

use hub_plugin_api::{Error, Result};
use redis::{ClientTlsConfig, TlsCertificates};

use crate::config::{Settings, TlsMode};

/// What the driver needs for TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The authorities and our own certificate.
    pub certificates: TlsCertificates,
    /// Nothing of the server's certificate is checked.
    pub insecure: bool,
    /// The chain is checked, the name is not.
    pub any_name: bool,
}

impl Tls {
    /// Reads the files that the settings name; nothing where TLS is not wanted.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field of the file that cannot be used.
    pub fn read(settings: &Settings) -> Result<Option<Self>> {
        if settings.tls_mode == TlsMode::Disable {
            return Ok(None);
        }
        // The driver takes the provider of the process. A library has a copy of that of its own, so nobody else's
        // choice is touched; a second call finds the first one's.
        drop(rustls::crypto::ring::default_provider().install_default());
        let root_cert = settings.ca_file.as_deref().map(|path| pem("ca_file", path)).transpose()?;
        let client_tls = match (&settings.client_certificate, &settings.client_key) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: pem("client_certificate", certificate)?,
                client_key: pem("client_key", key)?,
            }),
            _ => None,
        };
        let require = settings.tls_mode == TlsMode::Require;
        let has_authority = root_cert.is_some();
        Ok(Some(Self {
            certificates: TlsCertificates { client_tls, root_cert },
            insecure: require && !has_authority,
            any_name: require && has_authority,
        }))
    }
}

fn pem(field: &str, path: &Path) -> Result<Vec<u8>> {
    let text = fs::read(path).map_err(|error| {
        Error::config(field, format!("`{}` cannot be read", path.display())).with_source(&error)
    })?;
    if !text.windows(10).any(|part| part == b"-----BEGIN") {
        return Err(Error::config(field, format!("`{}` holds no certificate or key", path.display()))
            .with_hint("The file must be PEM, with `BEGIN` lines"));
    }
    Ok(text)
}
