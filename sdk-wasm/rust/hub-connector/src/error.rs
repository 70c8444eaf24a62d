use std::fmt;

use serde::Serialize;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the hub's terms.
#[derive(Clone, Debug, Serialize)]
pub struct Error {
    /// One of the hub's kinds: `invalid-config`, `invalid-data`, `not-found`, `network` …
    pub kind: String,
    /// One sentence: starts with a capital, no final period.
    pub message: String,
    /// The parameter or option at fault, by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Error {
    /// An error of a kind.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), field: None, hint: None }
    }

    /// A configuration error that names its field.
    pub fn config(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new("invalid-config", message).with_field(field)
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

    /// As it crosses the boundary.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| self.message.clone())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::new("internal", format!("Rows could not be put together: {error}"))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new("protocol", format!("A JSON document does not have the expected shape: {error}"))
    }
}
