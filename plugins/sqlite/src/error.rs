//! SQLite's result codes as the kinds of the boundary, in one place.

use hub_plugin_api::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// An error of SQLite's with what was being done; the extended result code is kept.
pub fn map(doing: &str, error: rusqlite::Error) -> Error {
    let mapped = Error::new(kind_of(&error), doing).with_source(&error);
    let mapped = match error.sqlite_error() {
        Some(failure) => mapped.with_code(format!("SQLite {}", failure.extended_code)),
        None => mapped,
    };
    match hint_of(&error) {
        Some(hint) => mapped.with_hint(hint),
        None => mapped,
    }
}

/// What decides on retry.
pub fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    match error {
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::MultipleStatement
        | rusqlite::Error::InvalidParameterCount(..)
        | rusqlite::Error::InvalidParameterName(_) => ErrorKind::InvalidStatement,
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ErrorKind::Busy,
            ErrorCode::OperationInterrupted => ErrorKind::Cancelled,
            ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::AuthorizationForStatementDenied => ErrorKind::PermissionDenied,
            ErrorCode::CannotOpen => ErrorKind::NotFound,
            ErrorCode::NotADatabase => ErrorKind::InvalidConfig,
            ErrorCode::ConstraintViolation => ErrorKind::ConstraintViolated,
            ErrorCode::DiskFull | ErrorCode::OutOfMemory => ErrorKind::ResourceExhausted,
            ErrorCode::TooBig | ErrorCode::TypeMismatch | ErrorCode::DatabaseCorrupt => {
                ErrorKind::InvalidData
            }
            ErrorCode::SchemaChanged => ErrorKind::SchemaMismatch,
            ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => ErrorKind::Unavailable,
            ErrorCode::Unknown => ErrorKind::InvalidStatement,
            _ => ErrorKind::Internal,
        },
        _ => ErrorKind::Internal,
    }
}

fn hint_of(error: &rusqlite::Error) -> Option<&'static str> {
    match error.sqlite_error_code()? {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(
            "Another connection holds the file's lock: raise `busy_timeout_ms`, or let readers and one writer \
             share it with `PRAGMA journal_mode = wal`",
        ),
        ErrorCode::NotADatabase => Some("The file is not a SQLite database, or it is encrypted"),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            Some("The user that runs the hub must be able to write the file and its directory")
        }
        ErrorCode::CannotOpen => Some("Check the path in `file` and the rights on it and its directory"),
        ErrorCode::DatabaseCorrupt => Some("Run `PRAGMA integrity_check` and restore the file from a backup"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_error_is_the_statement_and_constraint_is_the_row() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let syntax = map("The statement failed", connection.prepare("selec 1").unwrap_err());
        assert_eq!(syntax.kind, ErrorKind::InvalidStatement);
        connection.execute_batch("create table t (a integer not null)").unwrap();
        let constraint =
            map("The row was refused", connection.execute("insert into t values (null)", []).unwrap_err());
        assert_eq!(
            (constraint.kind, constraint.code.as_deref()),
            (ErrorKind::ConstraintViolated, Some("SQLite 1299"))
        );
        assert!(constraint.to_string().contains("NOT NULL constraint failed: t.a"), "{constraint}");
    }
}
