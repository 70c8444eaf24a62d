//! The connection's parameters: as a form shows them, and as the code uses them.

use std::{path::PathBuf, time::Duration};

use hub_plugin_api::{Config, Error, Parameter, Result};
use serde::Deserialize;

/// How a session is protected on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS; the certificate's chain is checked only against a given `ca_file`.
    Require,
    /// TLS with chain and host name checked.
    VerifyFull,
}

/// The connection's parameters, all defaults filled in.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Host name, address, or the directory of a Unix socket. Default `localhost`.
    pub host: String,
    /// Default 5432.
    pub port: u16,
    /// Default `postgres`.
    pub username: String,
    /// Default `postgres`.
    pub database: String,
    /// Default `disable`.
    pub ssl_mode: SslMode,
    /// Reads from a standby. Default no.
    pub connect_to_replica: bool,
    /// PEM file of the authorities that are trusted; absent: the public ones.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate that the server may ask for.
    #[serde(default)]
    pub client_certificate: Option<PathBuf>,
    /// PEM file of that certificate's key.
    #[serde(default)]
    pub client_key: Option<PathBuf>,
    /// Milliseconds until a session must be open. Default 10,000.
    pub connect_timeout_ms: u64,
    /// Milliseconds that one statement may take; 0 leaves it to the server. Default 0.
    pub statement_timeout_ms: u64,
    /// What `pg_stat_activity` shows. Default `connector-hub`.
    pub application_name: String,
}

impl Settings {
    /// Reads and checks a connection's parameters.
    ///
    /// # Errors
    /// [`hub_plugin_api::ErrorKind::InvalidConfig`] with the field.
    pub fn read(config: &Config) -> Result<Self> {
        let mut complete = Config::new();
        for parameter in parameters() {
            if let Some(value) = config.get(&parameter.id).or(parameter.default.as_ref()) {
                complete.set(parameter.id, value.clone());
            }
        }
        let mut settings: Self = complete.parse()?;
        for path in [&mut settings.ca_file, &mut settings.client_certificate, &mut settings.client_key] {
            // A form leaves an empty text where no file was chosen.
            path.take_if(|path| path.as_os_str().is_empty());
        }
        for (field, text) in [
            ("host", &settings.host),
            ("username", &settings.username),
            ("database", &settings.database),
            ("application_name", &settings.application_name),
        ] {
            if text.is_empty() {
                return Err(Error::config(field, format!("`{field}` is empty")));
            }
            if text.contains('\0') {
                return Err(Error::config(field, format!("`{field}` holds a NUL character")));
            }
        }
        if settings.client_certificate.is_some() != settings.client_key.is_some() {
            return Err(Error::config(
                "client_key",
                "A client certificate and its key are given together or not at all",
            ));
        }
        Ok(settings)
    }

    /// How long until a session must be open.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Whether the host is the directory of a Unix socket.
    pub fn is_unix_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// The parameters of a connection, in the order in which a form shows them.
pub fn parameters() -> Vec<Parameter> {
    let modes = [("disable", "Disable"), ("require", "Require"), ("verify-full", "Verify Full")];
    vec![
        Parameter::text("host", "Host")
            .default("localhost")
            .describe("Name or address of the server, or the directory of its Unix socket"),
        Parameter::number("port", "Port")
            .default(5432)
            .range(1, 65535)
            .describe("Port that the server listens on"),
        Parameter::text("username", "Username")
            .default("postgres")
            .describe("Role that sessions are opened as"),
        Parameter::password("password", "Password")
            .describe("Password of the role; none for trust and certificates"),
        Parameter::text("database", "Database")
            .default("postgres")
            .describe("Database that sessions are opened in"),
        Parameter::dropdown("ssl_mode", "SSL Mode", &modes)
            .default("disable")
            .describe("Whether sessions use TLS, and how much of the server's certificate is checked"),
        Parameter::boolean("connect_to_replica", "Connect To Replica")
            .default(false)
            .describe(
                "The server is a standby, which is only read and says how far it is behind. Never required; recommended \
                 for By WAL from PostgreSQL 16 on, so that the primary need not decode",
            ),
        Parameter::file("ca_file", "CA file")
            .advanced()
            .describe("PEM file of the trusted authorities; without it Verify Full trusts the public ones"),
        Parameter::file("client_certificate", "Client certificate")
            .advanced()
            .describe("PEM file of the certificate that the role logs in with"),
        Parameter::file("client_key", "Client key")
            .advanced()
            .describe("PEM file of the client certificate's key"),
        Parameter::number("connect_timeout_ms", "Connect timeout")
            .default(10_000)
            .range(1, 600_000)
            .advanced()
            .describe("Milliseconds until a session must be open"),
        Parameter::number("statement_timeout_ms", "Statement timeout")
            .default(0)
            .range(0, i64::from(i32::MAX))
            .advanced()
            .describe("Milliseconds that one statement may take; 0 leaves it to the server"),
        Parameter::text("application_name", "Application name")
            .default("connector-hub")
            .advanced()
            .describe("Name that `pg_stat_activity` shows for the sessions"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_need_no_thought() {
        let settings = Settings::read(&Config::new()).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("localhost", 5432));
        assert_eq!((settings.username.as_str(), settings.database.as_str()), ("postgres", "postgres"));
        assert_eq!((settings.ssl_mode, settings.connect_to_replica), (SslMode::Disable, false));
    }

    #[test]
    fn empty_host_and_half_a_certificate_name_their_field() {
        for (config, field) in [
            (Config::new().with("host", ""), "host"),
            (Config::new().with("username", "a\0b"), "username"),
            (Config::new().with("client_certificate", "c.pem"), "client_key"),
        ] {
            assert_eq!(Settings::read(&config).unwrap_err().field.as_deref(), Some(field));
        }
    }
}
