use std::{
    fmt,
    path::{Path, PathBuf},
};

use hub_plugin_api::{Error, ErrorKind};
use serde::Serialize;

/// A place in a file, both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character in the line.
    pub column: u64,
}

impl Place {
    /// Where a file begins.
    pub const START: Self = Self { line: 1, column: 1 };

    pub(super) fn new(line: u64, column: u64) -> Self {
        Self { line: line.max(1), column: column.max(1) }
    }
}

/// One thing that is wrong in a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where; absent for a file that cannot be read.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// The path of the field, `source.config.port`; empty for the file as a whole.
    pub field: String,
    /// What: one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    pub(super) fn new(
        place: impl Into<Option<Place>>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), field: field.into(), message: message.into(), hint: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(formatter, "{line}:{column}: ")?;
        }
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        formatter.write_str(&self.message)
    }
}

/// Everything that is wrong in a pipeline file, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl FileError {
    pub(super) fn new(file: &Path, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        problems.dedup();
        Self { file: file.to_owned(), problems }
    }

    /// Fails when there is a problem.
    pub(super) fn unless_empty(file: &Path, problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self::new(file, problems)) }
    }

    /// One line a problem, and its hint: `FILE:LINE:COLUMN: FIELD: MESSAGE`.
    pub fn lines(&self) -> impl Iterator<Item = (String, Option<&str>)> {
        self.problems.iter().map(|problem| {
            let space = if problem.place.is_some() { "" } else { " " };
            (format!("{}:{space}{problem}", self.file.display()), problem.hint.as_deref())
        })
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (line, _)) in self.lines().enumerate() {
            write!(formatter, "{}{line}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for FileError {}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let mut result = Self::new(ErrorKind::InvalidConfig, error.to_string());
        if let Some(first) = error.problems.first() {
            result.field = Some(first.field.clone()).filter(|field| !field.is_empty());
            result.hint.clone_from(&first.hint);
        }
        result
    }
}
