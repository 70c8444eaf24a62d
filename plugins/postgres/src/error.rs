//! Driver errors and SQLSTATEs as errors of the boundary: mapped once, here.

use std::{error::Error as _, io};

use hub_plugin_api::{Error, ErrorKind};
use tokio_postgres::error::{DbError, ErrorPosition};

/// The kind of an SQLSTATE (PostgreSQL manual, appendix "PostgreSQL Error Codes").
pub fn kind_of_sqlstate(code: &str) -> ErrorKind {
    match code {
        "08P01" => ErrorKind::Protocol,
        "25006" | "2BP01" => ErrorKind::InvalidStatement,
        // The idle and transaction time-outs end the session; a new one may do the same work.
        "25P03" | "25P04" | "57014" => ErrorKind::TimedOut,
        // A prepared statement that is not there: a pooler gave this session another server process.
        "26000" => ErrorKind::Unsupported,
        "3D000" | "3F000" | "42P01" | "42704" | "57P04" => ErrorKind::NotFound,
        "42501" => ErrorKind::PermissionDenied,
        "44000" | "P0001" => ErrorKind::ConstraintViolated,
        "55006" | "55P03" => ErrorKind::Busy,
        "57P01" | "57P02" | "57P03" | "57P05" | "58000" | "58030" => ErrorKind::Unavailable,
        "XX001" | "XX002" => ErrorKind::InvalidData,
        _ => match code.get(..2).unwrap_or_default() {
            "08" => ErrorKind::Network,
            "0A" => ErrorKind::Unsupported,
            "22" => ErrorKind::InvalidData,
            "23" => ErrorKind::ConstraintViolated,
            "28" => ErrorKind::Authentication,
            "40" => ErrorKind::Busy,
            "42" | "26" | "34" | "54" => ErrorKind::InvalidStatement,
            "53" => ErrorKind::ResourceExhausted,
            _ => ErrorKind::Internal,
        },
    }
}

/// An error of the driver, said of what was being done: `Could not open the session`.
pub fn from_driver(doing: &str, error: &tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(answer) => from_server(doing, &answer.into()),
        None => Error::new(kind_of_driver(error), doing).with_source(error),
    }
}

/// An error that the server answered with, whichever way it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer<'a> {
    /// SQLSTATE.
    pub code: &'a str,
    /// What it says, in one line.
    pub message: &'a str,
    /// More of it.
    pub detail: Option<&'a str>,
    /// What the server says to do about it.
    pub hint: Option<&'a str>,
    /// Which character of the statement is at fault, from 1.
    pub character: Option<u32>,
    /// The table at fault.
    pub table: Option<&'a str>,
    /// The column at fault.
    pub column: Option<&'a str>,
    /// The constraint at fault.
    pub constraint: Option<&'a str>,
}

impl<'a> From<&'a DbError> for Answer<'a> {
    fn from(answer: &'a DbError) -> Self {
        Self {
            code: answer.code().code(),
            message: answer.message(),
            detail: answer.detail(),
            hint: answer.hint(),
            character: match answer.position() {
                Some(ErrorPosition::Original(position)) => Some(*position),
                _ => None,
            },
            table: answer.table(),
            column: answer.column(),
            constraint: answer.constraint(),
        }
    }
}

/// An error that the server answered with, said of what was being done.
pub fn from_server(doing: &str, answer: &Answer<'_>) -> Error {
    let mut text = answer.message.to_owned();
    if let Some(detail) = answer.detail {
        text = format!("{text} ({detail})");
    }
    let mut error = Error::new(kind_of_sqlstate(answer.code), doing).with_code(answer.code);
    error.source = Some(text);
    if let Some(character) = answer.character {
        error = error.with_context("character", character);
    }
    for (name, value) in
        [("table", answer.table), ("column", answer.column), ("constraint", answer.constraint)]
    {
        if let Some(value) = value {
            error = error.with_context(name, value);
        }
    }
    match answer.hint.or_else(|| hint_of_sqlstate(answer.code)) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// An error of the socket, said of what was being done.
pub fn from_socket(doing: &str, error: &io::Error) -> Error {
    let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    let kind = match error.kind() {
        _ if tls => ErrorKind::Tls,
        io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        _ => ErrorKind::Network,
    };
    Error::new(kind, doing).with_source(error)
}

/// What to do about it, where the server itself gives no hint.
fn hint_of_sqlstate(code: &str) -> Option<&'static str> {
    Some(match code {
        "25006" => {
            "The session is read-only: sources do not change the database they read, and a function's statements do \
             only where the option `grants` lists `write`"
        }
        "26000" => "A pooler in transaction mode cannot carry this session: connect to the server itself",
        "428C9" => "Let the column take values: `ALTER TABLE … ALTER COLUMN … SET GENERATED BY DEFAULT`",
        "53300" => "Raise `max_connections`, or read with fewer splits",
        "57014" => "Raise `statement_timeout_ms`, or the server's own `statement_timeout`",
        "55P03" => "Raise `lock_timeout_ms`, or wait until the other session has released its lock",
        _ => return None,
    })
}

/// The kind of an error that no server answered. The driver's own kinds are private, but their texts are fixed.
fn kind_of_driver(error: &tokio_postgres::Error) -> ErrorKind {
    let text = error.to_string();
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_closed() || text.starts_with("error communicating") {
        return ErrorKind::Network;
    }
    if text.starts_with("error performing TLS") {
        return ErrorKind::Tls;
    }
    if text.starts_with("authentication error") {
        return ErrorKind::Authentication;
    }
    if text.starts_with("invalid configuration") {
        return ErrorKind::InvalidConfig;
    }
    if text.starts_with("timeout") || io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) {
        return ErrorKind::TimedOut;
    }
    if text.starts_with("error connecting") || io.is_some() {
        return ErrorKind::Network;
    }
    if text.starts_with("error serializing") || text.starts_with("error deserializing") {
        return ErrorKind::InvalidData;
    }
    ErrorKind::Protocol
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_have_the_kind_that_decides_what_happens_next() {
        for (code, kind) in [
            ("28P01", ErrorKind::Authentication),
            ("28000", ErrorKind::Authentication),
            ("3D000", ErrorKind::NotFound),
            ("42P01", ErrorKind::NotFound),
            ("42601", ErrorKind::InvalidStatement),
            ("42501", ErrorKind::PermissionDenied),
            ("22003", ErrorKind::InvalidData),
            ("23505", ErrorKind::ConstraintViolated),
            ("40001", ErrorKind::Busy),
            ("40P01", ErrorKind::Busy),
            ("53300", ErrorKind::ResourceExhausted),
            ("57014", ErrorKind::TimedOut),
            ("57P03", ErrorKind::Unavailable),
            ("0A000", ErrorKind::Unsupported),
            ("08006", ErrorKind::Network),
            ("", ErrorKind::Internal),
        ] {
            assert_eq!(kind_of_sqlstate(code), kind, "{code}");
        }
    }
}
