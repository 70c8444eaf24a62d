use serde::{Serialize, de::DeserializeOwned};

use crate::{Batch, Columns, Failure, Result, Rows};

/// What yields the rows of one stream. Calls come one after another.
pub trait Function: Sized + 'static {
    /// The JSON object that the user gave.
    type Arguments: DeserializeOwned;
    /// Where the function can go on: becomes a JSON object. Never secrets.
    type Position: Serialize + DeserializeOwned;
    /// Raised when the shape of [`Function::Position`] changes. A stored position of another version never comes to
    /// [`Function::open`]; one that an older build gave with the same version does.
    const POSITION_VERSION: u32 = 1;

    /// Called once, first. The position is one that an earlier [`Event::Boundary`] had.
    ///
    /// # Errors
    /// The run stops with the failure.
    fn open(arguments: Self::Arguments, position: Option<Self::Position>) -> Result<Self>;

    /// The next event.
    ///
    /// # Errors
    /// The run stops with the failure, or is tried again from the last boundary when the failure is retryable.
    fn next(&mut self) -> Result<Event<Self::Position>>;
}

/// What a function hands over.
pub enum Event<P> {
    /// Rows. Every batch of a run has the same columns.
    Rows(Batch),
    /// All before it may become visible together. With a position a later run resumes exactly there.
    Boundary(Option<P>),
    /// There is nothing more.
    End,
}

impl<P> From<Rows> for Event<P> {
    fn from(rows: Rows) -> Self {
        Self::Rows(rows.into())
    }
}

impl<P> From<Columns> for Event<P> {
    fn from(columns: Columns) -> Self {
        Self::Rows(columns.into())
    }
}

/// Reads the arguments or a position.
pub(crate) fn read<T: DeserializeOwned>(what: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        Failure::new("invalid-config", format!("The function's {what} cannot be read: {error}"))
    })
}
