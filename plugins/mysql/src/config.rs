//! The connection's parameters: as a form shows them, and as the code uses them.

use std::{path::PathBuf, time::Duration};

use hub_plugin_api::{Config, Error, Parameter, Result};
use serde::Deserialize;

/// How a session is protected on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No TLS.
    Disabled,
    /// TLS where the server offers it. Protects from nobody who can change what is sent.
    Preferred,
    /// TLS, whatever certificate the server has.
    Required,
    /// TLS; the certificate's chain is checked, its name is not.
    VerifyCa,
    /// TLS; chain and name are checked.
    VerifyIdentity,
}

/// The connection's parameters, all defaults filled in.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Host name, address, or the path of a Unix socket. Default `localhost`.
    pub host: String,
    /// Default 3306.
    pub port: u16,
    /// The account.
    pub username: String,
    /// The database that sessions are opened in.
    pub database: String,
    /// What the replication protocol calls us. Default 1.
    pub server_id: u32,
    /// Default `preferred`.
    pub tls_mode: TlsMode,
    /// What the servers of one replication group are called together, so that positions by GTID are good on each.
    #[serde(default)]
    pub server_group: Option<String>,
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
    /// Milliseconds that one SELECT may take; 0 leaves it to the server. Default 0.
    pub statement_timeout_ms: u64,
    /// Offset from UTC that statements are run in, as `+02:00`. Default `+00:00`.
    pub time_zone: String,
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
        for field in ["username", "database"] {
            complete.required_text(field)?;
        }
        let mut settings: Self = complete.parse()?;
        // A form leaves an empty text where nothing was written.
        settings.server_group.take_if(|group| group.is_empty());
        for path in [&mut settings.ca_file, &mut settings.client_certificate, &mut settings.client_key] {
            // A form leaves an empty text where no file was chosen.
            path.take_if(|path| path.as_os_str().is_empty());
        }
        for (field, text) in
            [("host", &settings.host), ("username", &settings.username), ("database", &settings.database)]
        {
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
        if settings.offset().is_none() {
            return Err(Error::config(
                "time_zone",
                format!("`{}` is no offset from UTC", settings.time_zone),
            )
            .with_hint("Give one such as `+00:00` or `-03:30`: a zone with summer time has hours that are there twice"));
        }
        Ok(settings)
    }

    /// How long until a session must be open.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Whether the host is the path of a Unix socket.
    pub fn is_unix_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// Seconds that `time_zone` is ahead of UTC.
    pub fn offset_seconds(&self) -> i64 {
        self.offset().unwrap_or_default()
    }

    fn offset(&self) -> Option<i64> {
        let (sign, rest) = match self.time_zone.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let number = |digits: &str| -> Option<i64> {
            let valid = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
            valid.then(|| digits.parse().ok())?
        };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        // The servers take offsets from -13:59 to +14:00.
        (hours <= 13 && minutes <= 59 || (hours, minutes) == (14, 0))
            .then_some(sign * (hours * 3600 + minutes * 60))
    }
}

/// The parameters of a connection, in the order in which a form shows them.
pub fn parameters() -> Vec<Parameter> {
    let modes = [
        ("disabled", "Disabled"),
        ("preferred", "Preferred"),
        ("required", "Required"),
        ("verify-ca", "Verify CA"),
        ("verify-identity", "Verify Identity"),
    ];
    vec![
        Parameter::text("host", "Host")
            .default("localhost")
            .describe("Name or address of the server, or the path of its Unix socket"),
        Parameter::number("port", "Port")
            .default(3306)
            .range(1, 65535)
            .describe("Port that the server listens on"),
        Parameter::text("username", "Username")
            .required()
            .describe("Account that sessions are opened as"),
        Parameter::password("password", "Password").describe("Password of the account"),
        Parameter::text("database", "Database")
            .required()
            .describe("Database that sessions are opened in"),
        Parameter::number("server_id", "Server ID")
            .default(1)
            .range(1, i64::from(u32::MAX))
            .describe("Number that no server and no other reader of this server's log has; used by By Bin Logs only"),
        Parameter::dropdown("tls_mode", "TLS mode", &modes)
            .default("preferred")
            .advanced()
            .describe("Whether sessions use TLS, and how much of the server's certificate is checked"),
        Parameter::text("server_group", "Server group").advanced().describe(
            "What the servers of one replication group are called together: a pipeline By Bin Logs then goes on at any of them, by GTID",
        ),
        Parameter::file("ca_file", "CA file").advanced().describe(
            "PEM file of the trusted authorities; without it the modes that verify trust the public ones",
        ),
        Parameter::file("client_certificate", "Client certificate")
            .advanced()
            .describe("PEM file of the certificate that the account logs in with"),
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
            .describe("Milliseconds that one SELECT may take; 0 leaves it to the server"),
        Parameter::text("time_zone", "Time zone").default("+00:00").advanced().describe(
            "Offset from UTC that statements are run in, such as +02:00: what NOW() and CURDATE() mean. Values of \
             TIMESTAMP columns arrive in UTC whatever it is",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Config {
        Config::new().with("username", "u").with("database", "d")
    }

    #[test]
    fn defaults_need_no_thought() {
        let settings = Settings::read(&given()).unwrap();
        assert_eq!((settings.host.as_str(), settings.port, settings.server_id), ("localhost", 3306, 1));
        assert_eq!((settings.tls_mode, settings.offset_seconds()), (TlsMode::Preferred, 0));
    }

    #[test]
    fn what_cannot_work_names_its_field() {
        for (config, field) in [
            (Config::new().with("database", "d"), "username"),
            (Config::new().with("username", "u"), "database"),
            (given().with("host", ""), "host"),
            (given().with("username", "a\0b"), "username"),
            (given().with("client_certificate", "c.pem"), "client_key"),
            (given().with("time_zone", "Europe/Paris"), "time_zone"),
            (given().with("time_zone", "+14:01"), "time_zone"),
            (given().with("time_zone", "+1:00"), "time_zone"),
        ] {
            assert_eq!(Settings::read(&config).unwrap_err().field.as_deref(), Some(field));
        }
        let offset = |zone: &str| Settings::read(&given().with("time_zone", zone)).unwrap().offset_seconds();
        assert_eq!((offset("+05:30"), offset("-00:30"), offset("+14:00")), (19_800, -1_800, 50_400));
    }
}
