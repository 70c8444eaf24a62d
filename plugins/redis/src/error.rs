//! Driver errors and the server's error codes as errors of the boundary: mapped once, here.

use std::error::Error as _;

use hub_plugin_api::{Error, ErrorKind};
use redis::{ErrorKind as DriverKind, RedisError, ServerError, ServerErrorKind};

/// The kind of an error that the server answered, by its first word.
pub fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        "WRONGPASS" | "NOAUTH" => ErrorKind::Authentication,
        "NOPERM" => ErrorKind::PermissionDenied,
        "WRONGTYPE" => ErrorKind::ConstraintViolated,
        "OOM" => ErrorKind::ResourceExhausted,
        "NOGROUP" => ErrorKind::NotFound,
        // Another node is to be asked, or this one is not ready: a new session finds the right one.
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "READONLY" | "MOVED" | "ASK" | "TRYAGAIN"
        | "UNBLOCKED" | "FAILOVER" | "NOREPLICAS" | "MISCONF" => ErrorKind::Unavailable,
        "BUSY" => ErrorKind::Busy,
        "CROSSSLOT" => ErrorKind::InvalidStatement,
        "NOPROTO" => ErrorKind::Protocol,
        _ => ErrorKind::InvalidStatement,
    }
}

/// What to do about it, where that is known.
fn hint_of_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "WRONGPASS" => "Check `username` and `password`, and that the ACL user is on",
        "NOAUTH" => "The server wants a password: give `password`, and `username` for an ACL user",
        "OOM" => "The server has reached `maxmemory` and evicts nothing: raise it, or set `maxmemory-policy`",
        "READONLY" => {
            "The server is a replica: give the master, or set `deployment` to `sentinel` or `cluster`"
        }
        "MOVED" | "CROSSSLOT" => "The server is part of a cluster: set `deployment` to `cluster`",
        "NOGROUP" => {
            "The group was removed while it was read: run again, and with `create_group` it is made anew where this \
             pipeline is"
        }
        "MISCONF" => "The server cannot write its snapshot to disk; its log says why",
        "WRONGTYPE" => "The key holds another type than the command is for",
        _ => return None,
    })
}

/// An error of the driver, said of what was being done: `Could not open the session`.
pub fn from_driver(doing: &str, error: &RedisError) -> Error {
    let code = match error.kind() {
        DriverKind::AuthenticationFailed => None,
        _ => error.code(),
    };
    if let Some(code) = code {
        return of_server(doing, code, error.detail().unwrap_or_default());
    }
    let kind = kind_of_driver(error);
    let mapped = Error::new(kind, doing).with_source(error);
    match kind {
        // The driver wraps the server's answer to AUTH into a text of its own.
        ErrorKind::Authentication => {
            let hint = hint_of_code("WRONGPASS").unwrap_or_default();
            mapped.with_code("WRONGPASS").with_field("password").with_hint(hint)
        }
        _ => mapped,
    }
}

/// An error that stands among the answers of a pipeline.
pub fn from_answer(doing: &str, error: &ServerError) -> Error {
    of_server(doing, error.code(), error.details().unwrap_or_default())
}

fn of_server(doing: &str, code: &str, text: &str) -> Error {
    let mut error = Error::new(kind_of_code(code), doing).with_code(code);
    error.source = Some(text.to_owned()).filter(|text| !text.is_empty());
    // The generic code says nothing; the texts are fixed in the server's source.
    if code == "ERR" {
        if text.starts_with("DB index is out of range") || text.starts_with("invalid DB index") {
            error.kind = ErrorKind::NotFound;
            return error.with_field("database_index").with_hint(
                "The server's `databases` says how many there are; Redis has 16 unless it was changed",
            );
        }
        // What a session's first command meets when there was no password to log in with.
        if text.contains("Authentication required") {
            error.kind = ErrorKind::Authentication;
            return error.with_field("password").with_hint(hint_of_code("NOAUTH").unwrap_or_default());
        }
        if text.contains("max number of clients reached") {
            error.kind = ErrorKind::ResourceExhausted;
            return error.with_hint("Raise `maxclients`, or close idle clients");
        }
        if text.starts_with("unknown command") || text.starts_with("unknown subcommand") {
            error.kind = ErrorKind::Unsupported;
        }
    }
    if let Some(right) = missing_right(code, text) {
        return error.with_hint(format!("Run `ACL SETUSER … {right}` with the user's name"));
    }
    if kind_of_code(code) == ErrorKind::Authentication {
        error = error.with_field("password");
    }
    match hint_of_code(code) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The right that a user lacks, as `ACL SETUSER` takes it, where the server says which.
fn missing_right(code: &str, text: &str) -> Option<String> {
    if code != "NOPERM" {
        return None;
    }
    let command = text.split_once("run the '").and_then(|(_, rest)| rest.split_once('\''));
    match command {
        Some((command, _)) => Some(format!("+{}", command.to_lowercase())),
        None if text.contains("channel") => Some("&PATTERN".into()),
        None if text.contains("key") => Some("~PATTERN".into()),
        None => None,
    }
}

fn kind_of_driver(error: &RedisError) -> ErrorKind {
    match error.kind() {
        DriverKind::AuthenticationFailed => ErrorKind::Authentication,
        DriverKind::InvalidClientConfig | DriverKind::EmptySentinelList => ErrorKind::InvalidConfig,
        DriverKind::MasterNameNotFoundBySentinel => ErrorKind::NotFound,
        DriverKind::NoValidReplicasFoundBySentinel | DriverKind::ClusterConnectionNotFound => {
            ErrorKind::Unavailable
        }
        DriverKind::Server(ServerErrorKind::NoPerm) => ErrorKind::PermissionDenied,
        DriverKind::Io if error.is_timeout() => ErrorKind::TimedOut,
        DriverKind::Io if is_tls(error) => ErrorKind::Tls,
        DriverKind::Io => ErrorKind::Network,
        _ => ErrorKind::Protocol,
    }
}

/// TLS fails inside an error of input and output.
fn is_tls(error: &RedisError) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<rustls::Error>().is_some() {
            return true;
        }
        source = match cause.downcast_ref::<std::io::Error>() {
            Some(io) if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => return true,
            _ => cause.source(),
        };
    }
    let text = error.to_string();
    text.contains("invalid peer certificate") || text.contains("received corrupt message")
}

/// An answer that is not of the documented shape.
pub fn unexpected(doing: &str, answer: &redis::Value) -> Error {
    let mut shown = format!("{answer:?}");
    if shown.len() > 200 {
        shown.truncate((0..=200).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or_default());
    }
    Error::new(ErrorKind::Protocol, format!("{doing}: the server's answer is not of the documented shape"))
        .with_context("answer", shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_that_a_user_lacks_are_named_as_they_are_granted() {
        for (text, right) in [
            ("this user has no permissions to run the 'scan' command", "+scan"),
            ("User low has no permissions to run the 'config|get' command", "+config|get"),
            ("this user has no permissions to access one of the keys used as arguments", "~PATTERN"),
            ("this user has no permissions to access one of the channels used as arguments", "&PATTERN"),
        ] {
            let error = of_server("Could not look", "NOPERM", text);
            assert_eq!(error.kind, ErrorKind::PermissionDenied);
            assert!(
                error.hint.is_some_and(|hint| hint.contains(&format!("ACL SETUSER … {right}`"))),
                "{text}"
            );
        }
    }

    #[test]
    fn codes_have_the_kind_that_decides_what_happens_next() {
        for (code, kind) in [
            ("WRONGPASS", ErrorKind::Authentication),
            ("NOPERM", ErrorKind::PermissionDenied),
            ("OOM", ErrorKind::ResourceExhausted),
            ("LOADING", ErrorKind::Unavailable),
            ("MOVED", ErrorKind::Unavailable),
            ("READONLY", ErrorKind::Unavailable),
            ("WRONGTYPE", ErrorKind::ConstraintViolated),
            ("ERR", ErrorKind::InvalidStatement),
        ] {
            assert_eq!(kind_of_code(code), kind, "{code}");
        }
    }

    #[test]
    fn index_of_a_database_that_is_not_there_names_its_field() {
        let error = of_server("Could not open a session", "ERR", "DB index is out of range");
        assert_eq!((error.kind, error.field.as_deref()), (ErrorKind::NotFound, Some("database_index")));
    }
}
