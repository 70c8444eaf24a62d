//! The servers' error numbers as errors of the boundary: mapped once, here.

use std::io;

use hub_plugin_api::{Error, ErrorKind};
use mysql_async::{DriverError, IoError};

use crate::config::{Settings, TlsMode};

/// The code of a statement that would change data in a read-only session (ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION).
pub const READ_ONLY_SESSION: &str = "1792";

/// The kind of an error number (MySQL manual, "Server Error Message Reference"; MariaDB knowledge base, "MariaDB Error
/// Codes"). SQLSTATE decides where the number is not known.
pub fn kind_of(code: u16, sqlstate: &str) -> ErrorKind {
    match code {
        // Access to the account, or to what it may do.
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 | 1419 | 3530 | 3879 => ErrorKind::PermissionDenied,
        1045 | 1698 | 1130 | 1251 | 1275 | 1524 | 1820 | 1862 | 2059 | 3118 | 4151 => {
            ErrorKind::Authentication
        }
        1049 | 1051 | 1054 | 1091 | 1109 | 1146 | 1305 | 1356 | 1360 => ErrorKind::NotFound,
        1040 | 1041 | 1114 | 1021 | 1037 | 1038 | 1153 | 1203 | 1206 | 1226 | 1461 => {
            ErrorKind::ResourceExhausted
        }
        // Also a table that was altered since the transaction began: a new one sees it as it is.
        1205 | 1213 | 1412 | 1614 | 1637 | 3572 => ErrorKind::Busy,
        1053 | 1077 | 1079 | 1152 | 1836 | 3169 | 1927 | 4031 => ErrorKind::Unavailable,
        1158 | 1159 | 1160 | 1161 | 1184 | 1429 => ErrorKind::Network,
        1317 => ErrorKind::Cancelled,
        1969 | 3024 => ErrorKind::TimedOut,
        1236 => ErrorKind::PositionLost,
        // Among them a row that no partition, or a view's condition, takes.
        1048 | 1062 | 1169 | 1216 | 1217 | 1364 | 1369 | 1451 | 1452 | 1526 | 1557 | 1586 | 1748 | 1761
        | 1762 | 3819 | 4025 => ErrorKind::ConstraintViolated,
        1264 | 1265 | 1292 | 1300 | 1366 | 1367 | 1406 | 1411 | 1416 | 1690 | 3140 | 3141 | 3156 | 3854
        | 3903 => ErrorKind::InvalidData,
        1148 | 1235 | 1290 | 1295 | 1289 | 3948 | 4166 => ErrorKind::Unsupported,
        1792 => ErrorKind::InvalidStatement,
        _ => match sqlstate.get(..2).unwrap_or_default() {
            "08" => ErrorKind::Network,
            "0A" => ErrorKind::Unsupported,
            "21" | "42" => ErrorKind::InvalidStatement,
            "22" => ErrorKind::InvalidData,
            "23" => ErrorKind::ConstraintViolated,
            "28" => ErrorKind::Authentication,
            "40" => ErrorKind::Busy,
            // What a trigger or a procedure raises by itself.
            "45" => ErrorKind::ConstraintViolated,
            "70" => ErrorKind::Cancelled,
            _ => ErrorKind::Internal,
        },
    }
}

/// An error that the server answered with, said of what was being done: `Could not read the rows`.
pub fn from_server(doing: &str, code: u16, sqlstate: &str, text: &str) -> Error {
    let mut error = Error::new(kind_of(code, sqlstate), doing).with_code(code.to_string());
    error.source = Some(text.to_owned());
    match hint_of(code) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// An error of the driver, said of what was being done.
pub fn from_driver(doing: &str, error: &mysql_async::Error) -> Error {
    match error {
        mysql_async::Error::Server(answer) => from_server(doing, answer.code, &answer.state, &answer.message),
        mysql_async::Error::Io(IoError::Io(error)) => {
            let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let error = from_io(doing, error);
            Error { kind: if tls { ErrorKind::Tls } else { error.kind }, ..error }
        }
        mysql_async::Error::Io(error) => Error::new(ErrorKind::Tls, doing).with_source(error),
        mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { name }) => {
            unknown_plugin(name.as_bytes())
        }
        mysql_async::Error::Driver(error) => Error::new(kind_of_driver(error), doing).with_source(error),
        mysql_async::Error::Url(_) | mysql_async::Error::Other(_) => {
            Error::new(ErrorKind::Protocol, doing).with_source(error)
        }
    }
}

fn kind_of_driver(error: &DriverError) -> ErrorKind {
    match error {
        DriverError::ConnectionClosed | DriverError::PoolDisconnected => ErrorKind::Network,
        DriverError::NoClientSslFlagFromServer => ErrorKind::Tls,
        DriverError::MysqlOldPasswordDisabled
        | DriverError::CleartextPluginDisabled
        | DriverError::InvalidParsecSalt => ErrorKind::Authentication,
        DriverError::PacketTooLarge => ErrorKind::ResourceExhausted,
        DriverError::NoKeyFound => ErrorKind::InvalidConfig,
        DriverError::LocalInfile(_) => ErrorKind::InvalidStatement,
        _ => ErrorKind::Protocol,
    }
}

/// The network, said of what was being done.
pub fn from_io(doing: &str, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => ErrorKind::Protocol,
        _ => ErrorKind::Network,
    };
    Error::new(kind, doing).with_source(error)
}

/// The server does not speak the protocol as documented.
pub fn protocol(what: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("The server's answer cannot be read: {what}"))
        .with_hint("Check that a MySQL or MariaDB server answers at this address")
}

/// A way to log in that is not spoken here.
pub fn unknown_plugin(name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name);
    let message = format!("The server wants a login by the plugin `{name}`, which is not supported");
    // MySQL tells nobody that an account is not there: it asks for some plugin of its choice.
    Error::new(ErrorKind::Authentication, message).with_field("username").with_hint(
        "Check the name, and that the account is for this host: MySQL asks so for accounts that it does not know, too. \
         An account needs caching_sha2_password, mysql_native_password, ed25519 or parsec",
    )
}

/// What to do about it, where the number says enough.
fn hint_of(code: u16) -> Option<&'static str> {
    Some(match code {
        1040 | 1203 => "Raise `max_connections`, or read with fewer splits",
        1226 => "Raise the account's limit with ALTER USER, or read with fewer splits",
        1148 | 3948 => "Set `local_infile = ON` on the server, or choose `load: insert`",
        1153 => "Raise `max_allowed_packet` on the server",
        1205 | 3572 => "Wait until the other session has released its lock, or raise the lock timeout",
        1290 => "The server runs with an option such as `--read-only` that forbids this",
        1524 => "The account uses an authentication plugin that this server has not loaded",
        1130 => "Make an account for this host, or for `%`",
        1792 => "The session is read-only: sources do not change the database they read",
        1820 | 1862 => "The account's password has expired: set a new one with ALTER USER",
        1969 | 3024 => "Raise `statement_timeout_ms`, or the server's own limit",
        3118 | 4151 => "The account is locked: ALTER USER … ACCOUNT UNLOCK",
        1698 => "The account may log in through the server's Unix socket only: give its path as `host`",
        _ => return None,
    })
}

/// Adds the field at fault and what to do to an error of opening a session.
pub fn refine(settings: &Settings, error: Error) -> Error {
    if error.field.is_some() {
        return error;
    }
    match (error.kind, error.code.as_deref()) {
        (_, Some("3159")) => {
            error.with_field("tls_mode").with_hint("The server takes sessions only under TLS")
        }
        (_, Some("1045")) => error
            .with_field("password")
            .with_hint("Check name and password; an account may also demand TLS, a client certificate, or a host that this is not"),
        (_, Some("1044" | "1049")) => error.with_field("database"),
        (_, Some("1130")) => error.with_field("host"),
        (ErrorKind::Authentication, _) => error.with_field("username"),
        (ErrorKind::Tls, _) => {
            let verifies = matches!(settings.tls_mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
            let hint = match (verifies, &settings.ca_file) {
                (true, None) => "A certificate of an authority of your own needs `ca_file`",
                (true, Some(_)) => {
                    "The certificate must come from an authority in `ca_file`, and in TLS mode \
                                    `verify-identity` name the host"
                }
                (false, _) => "The server may speak only old versions of TLS",
            };
            error.with_field("tls_mode").with_hint(hint)
        }
        (ErrorKind::Network | ErrorKind::TimedOut | ErrorKind::Protocol, _) => error.with_field("host"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_kind_that_decides_what_happens_next() {
        for (code, sqlstate, kind) in [
            (1045, "28000", ErrorKind::Authentication),
            (1044, "42000", ErrorKind::PermissionDenied),
            (1049, "42000", ErrorKind::NotFound),
            (1146, "42S02", ErrorKind::NotFound),
            (1064, "42000", ErrorKind::InvalidStatement),
            (1062, "23000", ErrorKind::ConstraintViolated),
            (1264, "22003", ErrorKind::InvalidData),
            (1205, "HY000", ErrorKind::Busy),
            (1213, "40001", ErrorKind::Busy),
            (1412, "HY000", ErrorKind::Busy),
            (1644, "45000", ErrorKind::ConstraintViolated),
            (30_001, "45000", ErrorKind::ConstraintViolated),
            (1644, "HY000", ErrorKind::Internal),
            (1317, "70100", ErrorKind::Cancelled),
            (1236, "HY000", ErrorKind::PositionLost),
            (3948, "42000", ErrorKind::Unsupported),
            (9999, "42000", ErrorKind::InvalidStatement),
            (9999, "", ErrorKind::Internal),
        ] {
            assert_eq!(kind_of(code, sqlstate), kind, "{code}");
        }
    }
}
