use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of everything that can fail at this boundary.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms that decide what happens next. Retry is decided by this kind, never by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A parameter, an option or a pipeline file is wrong; `field` names it.
    InvalidConfig,
    /// The plugin, the server or this version of either cannot do that.
    Unsupported,
    /// The server was not reached.
    Network,
    /// TLS could not be agreed on, or a certificate was refused.
    Tls,
    /// The server refused the credentials.
    Authentication,
    /// The server refused a right.
    PermissionDenied,
    /// A database, table, file or key does not exist.
    NotFound,
    /// The statement is wrong.
    InvalidStatement,
    /// A value cannot be carried or stored as it is.
    InvalidData,
    /// A type cannot be carried or stored.
    UnsupportedType,
    /// A stream's shape does not fit the destination's.
    SchemaMismatch,
    /// The destination refused a row because of a constraint.
    ConstraintViolated,
    /// What the stored position names is gone from the server.
    PositionLost,
    /// The snapshot that a plan promised is gone.
    SnapshotLost,
    /// Another writer has taken the lane.
    Fenced,
    /// The commit token does not follow the last one.
    TokenConflict,
    /// The call was cancelled.
    Cancelled,
    /// The server did not answer in time.
    TimedOut,
    /// A lock, a serialisation failure or a deadlock: the same work may succeed later.
    Busy,
    /// The server is starting, stopping or failing over.
    Unavailable,
    /// A limit was reached: memory, disk, connections, quota.
    ResourceExhausted,
    /// The other side does not speak the protocol as documented.
    Protocol,
    /// A plugin panicked.
    PluginPanicked,
    /// A plugin did not return after it was cancelled.
    PluginHung,
    /// The object failed before and accepts nothing but being dropped.
    Poisoned,
    /// A kind of a newer API, or a defect of ours.
    #[serde(other)]
    Internal,
}

impl ErrorKind {
    /// Whether the same work may succeed when it is tried again from the last durable position.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Network | Self::TimedOut | Self::Busy | Self::Unavailable)
    }

    /// The kind as it is written in messages and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid-config",
            Self::Unsupported => "unsupported",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Authentication => "authentication",
            Self::PermissionDenied => "permission-denied",
            Self::NotFound => "not-found",
            Self::InvalidStatement => "invalid-statement",
            Self::InvalidData => "invalid-data",
            Self::UnsupportedType => "unsupported-type",
            Self::SchemaMismatch => "schema-mismatch",
            Self::ConstraintViolated => "constraint-violated",
            Self::PositionLost => "position-lost",
            Self::SnapshotLost => "snapshot-lost",
            Self::Fenced => "fenced",
            Self::TokenConflict => "token-conflict",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Protocol => "protocol",
            Self::PluginPanicked => "plugin-panicked",
            Self::PluginHung => "plugin-hung",
            Self::Poisoned => "poisoned",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The one error of this boundary: kind, message, the field at fault, context, hint, the server's own code, source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What decides on retry and exit code.
    pub kind: ErrorKind,
    /// One sentence: starts with a capital, no final period, values in backticks.
    pub message: String,
    /// The parameter or option at fault, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The server's own code (SQLSTATE, ORA-, errno).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where it happened: pairs of a name and a value, outermost last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub context: Vec<(String, String)>,
    /// The text of the error beneath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Error {
    /// An error of a kind with its message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            field: None,
            hint: None,
            code: None,
            context: Vec::new(),
            source: None,
        }
    }

    /// A configuration error that names its field.
    pub fn config(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message).with_field(field)
    }

    /// Something that this plugin does not do.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unsupported, format!("{what} is not supported"))
    }

    /// A defect of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error with the field at fault.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with the server's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The same error with one more pair of context.
    #[must_use]
    pub fn with_context(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.context.push((name.into(), value.to_string()));
        self
    }

    /// The same error with the text of the error beneath, whole chain.
    #[must_use]
    pub fn with_source(mut self, source: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = source.to_string();
        let mut next = source.source();
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            next = cause.source();
        }
        self.source = Some(text);
        self
    }

    /// The error as it crosses the boundary.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|_| String::from("{\"kind\":\"internal\",\"message\":\"\"}"))
    }

    /// The error that crossed the boundary; text that is none becomes the message of an internal error.
    pub fn from_json(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self::internal(text))
    }
}

impl fmt::Display for Error {
    /// One line: message, source, code and context; the hint is the caller's to show on a line of its own.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(formatter, ": {source}")?;
        }
        if let Some(code) = &self.code {
            write!(formatter, " [{code}]")?;
        }
        for (index, (name, value)) in self.context.iter().enumerate() {
            let (before, after) = (
                if index == 0 { " (" } else { ", " },
                if index + 1 == self.context.len() { ")" } else { "" },
            );
            write!(formatter, "{before}{name} `{value}`{after}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::new(ErrorKind::Internal, "Rows could not be put together").with_source(&error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(ErrorKind::Protocol, "A JSON document does not have the expected shape").with_source(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_holds_message_source_code_and_context() {
        let error = Error::new(ErrorKind::Network, "Could not reach `db`")
            .with_code("08006")
            .with_context("port", 5432)
            .with_context("step", "network");
        assert_eq!(error.to_string(), "Could not reach `db` [08006] (port `5432`, step `network`)");
        assert_eq!(Error::from_json(&error.to_json()), error);
    }

    #[test]
    fn kind_of_a_newer_api_becomes_internal() {
        let error = Error::from_json("{\"kind\":\"of-tomorrow\",\"message\":\"M\"}");
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Internal, "M"));
    }

    #[test]
    fn kinds_are_written_as_serde_writes_them() {
        for kind in [ErrorKind::InvalidConfig, ErrorKind::PluginHung, ErrorKind::Tls, ErrorKind::Internal] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
