//! The TLS half of sessions, made from a connection's parameters: rustls with ring.
#![forbid(unsafe_code)]

mod files;
mod without_name;

use std::{path::Path, sync::Arc};

use hub_plugin_api::{Error, Result};
use rustls::{ClientConfig, crypto::ring};

use without_name::WithoutName;

/// What of the server's certificate is checked. That the server holds the certificate's key always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing more.
    Nothing,
    /// That an authority signed it.
    Chain,
    /// That an authority signed it, and that it is for the host.
    ChainAndName,
}

/// The files that a connection's parameters `ca_file`, `client_certificate` and `client_key` name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// Authorities, PEM; those that browsers trust where there is none.
    pub ca_file: Option<&'a Path>,
    /// The client's certificate and those between it and an authority, PEM.
    pub client_certificate: Option<&'a Path>,
    /// The key of the client's certificate, PEM.
    pub client_key: Option<&'a Path>,
}

/// What sessions are opened with. `mode_field` is the parameter that asked for TLS.
///
/// # Errors
/// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field of the file that cannot be used.
pub fn client_config(mode_field: &str, verify: Verify, files: Files<'_>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config(mode_field, "TLS cannot be set up").with_source(&error))?;
    let without_name = |roots| Arc::new(WithoutName { provider, roots });
    let builder = match verify {
        Verify::ChainAndName => builder.with_root_certificates(files::authorities(files.ca_file)?),
        Verify::Chain => {
            let roots = files::authorities(files.ca_file)?;
            builder.dangerous().with_custom_certificate_verifier(without_name(Some(roots)))
        }
        Verify::Nothing => builder.dangerous().with_custom_certificate_verifier(without_name(None)),
    };
    let config = match (files.client_certificate, files.client_key) {
        (Some(certificate), Some(key)) => {
            let chain = files::certificates("client_certificate", certificate)?;
            builder.with_client_auth_cert(chain, files::key(key)?).map_err(|error| {
                Error::config("client_key", "The client certificate and its key do not fit")
                    .with_source(&error)
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}
