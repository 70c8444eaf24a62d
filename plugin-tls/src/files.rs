use std::path::Path;

use hub_plugin_api::{Error, Result};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// The authorities of a file, or those that browsers trust.
pub(crate) fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore> {
    let Some(path) = ca_file else { return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca_file", path)? {
        roots.add(certificate).map_err(|error| {
            let path = path.display();
            Error::config("ca_file", format!("`{path}` holds a certificate that cannot be trusted"))
                .with_source(&error)
        })?;
    }
    Ok(roots)
}

pub(crate) fn certificates(field: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(field, path, &error))?;
    if chain.is_empty() {
        return Err(Error::config(field, format!("`{}` holds no certificate", path.display()))
            .with_hint("The file must be PEM, with `BEGIN CERTIFICATE` lines"));
    }
    Ok(chain)
}

pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable("client_key", path, &error))
}

fn unreadable(field: &str, path: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::config(field, format!("`{}` cannot be read", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_certificate_is_refused_by_its_field() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = authorities(Some(file.path())).unwrap_err();
        assert!(error.to_string().contains("holds no certificate"), "{error}");
        assert_eq!(error.field.as_deref(), Some("ca_file"));
    }

    #[test]
    fn missing_key_is_refused_by_its_field() {
        let error = key(Path::new("no/such.key")).unwrap_err();
        assert!(error.to_string().contains("`no/such.key` cannot be read"), "{error}");
        assert_eq!(error.field.as_deref(), Some("client_key"));
    }
}
