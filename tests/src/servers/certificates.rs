//! Certificates made by `openssl` for the length of a test.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{NoServer, packages, process::run, user::User};

/// The names that a server here is reached by.
pub(super) const LOCAL_NAMES: &str = "DNS:localhost,IP:127.0.0.1";

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// A certificate authority in a folder.
#[derive(Debug)]
pub struct Authority {
    openssl: PathBuf,
    folder: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    /// Makes one; nothing where there is no `openssl`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(folder: &Path, name: &str) -> Result<Option<Self>, NoServer> {
        let Some(openssl) = packages::in_path("openssl") else { return Ok(None) };
        let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        run(Command::new(&openssl)
            .args(["req", "-x509"])
            .args(KEY)
            .args(["-days", "30", "-subj", &format!("/CN={name}"), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate))?;
        // Tests read it in a directory that is a server's own.
        fs::set_permissions(&certificate, PermissionsExt::from_mode(0o644))?;
        Ok(Some(Self { openssl, folder: folder.to_path_buf(), certificate, key }))
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Issues a certificate and its key, in files of this name; with negative days it has expired. `names` are
    /// alternative names such as `DNS:localhost,IP:127.0.0.1`.
    ///
    /// # Errors
    /// When `openssl` refuses.
    pub fn issue(
        &self,
        file: &str,
        common_name: &str,
        names: &str,
        days: i32,
    ) -> Result<(PathBuf, PathBuf), NoServer> {
        let path = |extension: &str| self.folder.join(format!("{file}.{extension}"));
        let (certificate, key, request, extensions) = (path("crt"), path("key"), path("csr"), path("ext"));
        run(Command::new(&self.openssl)
            .arg("req")
            .args(KEY)
            .args(["-subj", &format!("/CN={common_name}"), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&request))?;
        fs::write(&extensions, format!("subjectAltName={names}"))?;
        run(Command::new(&self.openssl)
            .args(["x509", "-req", "-CAcreateserial", "-days", &days.to_string(), "-extfile"])
            .arg(&extensions)
            .arg("-in")
            .arg(&request)
            .arg("-CA")
            .arg(&self.certificate)
            .arg("-CAkey")
            .arg(&self.key)
            .arg("-out")
            .arg(&certificate))?;
        Ok((certificate, key))
    }
}

/// Makes an authority and a certificate of localhost for a server, as `ca.crt`, `server.crt` and `server.key` in its
/// directory; returns the authority's certificate, or nothing where there is no `openssl`.
pub(super) fn for_localhost(home: &Path, user: User) -> Result<Option<PathBuf>, NoServer> {
    let Some(authority) = Authority::make(home, "Connector Hub tests")? else { return Ok(None) };
    let (certificate, key) = authority.issue("server", "localhost", LOCAL_NAMES, 30)?;
    user.own(&certificate)?;
    user.own(&key)?;
    Ok(Some(authority.certificate))
}
